//! `ureq`, by a name that has to be resolved.

use super::Setting;
use crate::server::Server;
use crate::work::{Failure, Open, PATIENCE, expect};
use std::net::SocketAddr;
use std::sync::Arc;
use ureq::Agent;

pub fn get(setting: &Setting) -> Result<Open, Failure> {
    let server: SocketAddr = setting.addresses.part(Server::Own, 0)?.parse()?;
    Ok(Arc::new(move |id| {
        let agent = Agent::from(Agent::config_builder().timeout_global(Some(PATIENCE)).build());
        Ok(Box::new(move |n| {
            let path = format!("/{id}/{n}");
            let mut reply = agent.get(format!("http://localhost:{}{path}", server.port())).call()?;
            expect(reply.body_mut().read_to_string()?, path)
        }))
    }))
}
