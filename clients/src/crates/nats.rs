//! `async-nats`: requests, and a goroutine or thread that answers them from a `select!`.

use super::Setting;
use crate::server::Server;
use crate::work::{Failure, Open, PATIENCE, expect};
use narrowboat::chan;
use narrowboat::future::{FutureExt, StreamExt};
use std::sync::Arc;

pub fn request(setting: &Setting) -> Result<Open, Failure> {
    let client = async_nats::connect(setting.addresses.of(Server::Nats)?).wait()?;
    let requests = client.subscribe("double").wait()?.into_receiver();
    let responder = client.clone();
    setting.mode.spawn(move || {
        let never = chan::never::<()>();
        loop {
            narrowboat::select! {
                recv(requests) -> request => {
                    let Ok(request) = request else { return };
                    let payload = [&request.payload[..], &request.payload[..]].concat();
                    // An error is the caller's to see.
                    let _ = request.reply.map(|to| responder.publish(to, payload.into()).wait());
                }
                recv(never) -> _ => {}
            }
        }
    });
    client.flush().wait()?;
    Ok(Arc::new(move |id| {
        let client = client.clone();
        Ok(Box::new(move |n| {
            let text = format!("{id}/{n} ");
            let reply = client.request("double", text.clone().into()).wait_timeout(PATIENCE)??;
            expect(std::str::from_utf8(&reply.payload)?, text.repeat(2).as_str())
        }))
    }))
}
