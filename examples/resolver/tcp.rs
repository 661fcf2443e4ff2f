//! Queries over connections (RFC 7766): two bytes that say how long a message is, then the message.

use super::answer::{Resolver, Step};
use super::message::LONGEST_OVER_TCP;
use narrowboat::net::{TcpListener, TcpStream};
use narrowboat::sync::Semaphore;
use narrowboat::{go, time};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

/// How many connections are open at once. Further clients wait.
const MAX_CONNECTIONS: usize = 1_000;
/// How long a client may take for a query, and for a reply.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn serve(listener: &TcpListener, resolver: &Arc<Resolver>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = permits.clone().acquire_owned();
        match listener.accept() {
            Ok((stream, _client)) => {
                let resolver = resolver.clone();
                go!(move || {
                    let _permit = permit;
                    // A broken connection concerns only its client.
                    drop(answer_all(stream, &resolver));
                });
            }
            Err(error) => {
                eprintln!("cannot accept: {error}; trying again");
                time::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Answers the queries of a connection in their order, until the client ends it.
fn answer_all(mut stream: TcpStream, resolver: &Resolver) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut message = Vec::new();
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        message.resize(usize::from(u16::from_be_bytes(length)), 0);
        stream.read_exact(&mut message)?;
        let reply = match resolver.begin(&message, LONGEST_OVER_TCP) {
            Step::Reply(reply) => reply,
            Step::LookUp(lookup) => lookup.finish(),
            // No reply would come, and the client would wait for one.
            Step::Nothing => return Ok(()),
        };
        message.clear();
        message.extend((reply.len() as u16).to_be_bytes());
        message.extend(reply);
        stream.write_all(&message)?;
    }
}
