//! `curl` over libcurl, a library of C.

use super::Setting;
use crate::server::Server;
use crate::work::{Failure, Open, PATIENCE, expect};
use curl::easy::Easy;
use std::sync::Arc;

pub fn get(setting: &Setting) -> Result<Open, Failure> {
    curl::init();
    let server = setting.addresses.part(Server::Own, 0)?.to_string();
    Ok(Arc::new(move |id| {
        let mut easy = Easy::new();
        easy.timeout(PATIENCE)?;
        easy.noproxy("*")?;
        let server = server.clone();
        Ok(Box::new(move |n| {
            let path = format!("/{id}/{n}");
            easy.url(&format!("http://{server}{path}"))?;
            let mut body = Vec::new();
            let mut transfer = easy.transfer();
            transfer.write_function(|part| {
                body.extend_from_slice(part);
                Ok(part.len())
            })?;
            transfer.perform()?;
            drop(transfer);
            expect(String::from_utf8(body)?, path)
        }))
    }))
}
