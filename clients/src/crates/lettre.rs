//! `lettre`: a message by SMTP to a server that answers with its subject.

use super::Setting;
use crate::server::Server;
use crate::work::{Failure, Open, PATIENCE};
use lettre::{Message, SmtpTransport, Transport};
use std::net::SocketAddr;
use std::sync::Arc;

pub fn send(setting: &Setting) -> Result<Open, Failure> {
    let server: SocketAddr = setting.addresses.part(Server::Own, 1)?.parse()?;
    Ok(Arc::new(move |id| {
        let transport = SmtpTransport::builder_dangerous(server.ip().to_string())
            .port(server.port())
            .timeout(Some(PATIENCE))
            .build();
        Ok(Box::new(move |n| {
            let subject = format!("message {n} of {id}.");
            let message = Message::builder()
                .from("goroutine@localhost".parse()?)
                .to("thread@localhost".parse()?)
                .subject(&subject)
                .body("Good day.\r\n".repeat(20))?;
            let reply = transport.send(&message)?;
            if reply.message().any(|line| line.contains(&subject)) {
                Ok(())
            } else {
                Err(format!("wrong reply: {reply:?}").into())
            }
        }))
    }))
}
