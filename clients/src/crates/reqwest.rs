//! `reqwest::blocking`, whose client has a thread with a tokio runtime; callers wait in `thread::park`.

use super::Setting;
use crate::server::Server;
use crate::work::{Failure, Open, PATIENCE, expect};
use reqwest::blocking::Client;
use std::sync::Arc;

pub fn get(setting: &Setting) -> Result<Open, Failure> {
    let server = setting.addresses.part(Server::Own, 0)?.to_string();
    let client = Client::builder().no_proxy().timeout(PATIENCE).build()?;
    Ok(Arc::new(move |id| {
        let (client, server) = (client.clone(), server.clone());
        Ok(Box::new(move |n| {
            let path = format!("/{id}/{n}");
            expect(client.get(format!("http://{server}{path}")).send()?.text()?, path)
        }))
    }))
}
