//! `reqwest` without `blocking`: its connections are tasks of the tokio runtime in the background.

use super::Setting;
use crate::server::Server;
use crate::work::{Failure, Open, PATIENCE, expect};
use narrowboat::future::FutureExt;
use std::sync::Arc;

pub fn get(setting: &Setting) -> Result<Open, Failure> {
    let server = setting.addresses.part(Server::Own, 0)?.to_string();
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    Ok(Arc::new(move |id| {
        let (client, server) = (client.clone(), server.clone());
        Ok(Box::new(move |n| {
            let path = format!("/{id}/{n}");
            let url = format!("http://{server}{path}");
            // With a time limit, `send` needs the context already when it is called.
            let response = async { client.get(url).send().await }.wait()?;
            expect(response.text().wait()?, path)
        }))
    }))
}
