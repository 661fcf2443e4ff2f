//! The echo and HTTP servers, for every peer with blocking-style sockets. The peer's own names come from
//! `super::backend`.

use std::io::{Read, Write};

use narrowboat_bench::cli::{fail, listening};
use narrowboat_bench::disturbance::Disturbance;
use narrowboat_bench::http::{REPLY, RequestCounter};

use super::backend::{TcpListener, TcpStream, sleep, spawn};

/// Bytes of a connection's buffer. It is on the heap, as Go's escapes to: neither side's stacks carry it.
const BUFFER: usize = 1024;

/// Serves `connection` on every stream that comes to `address`, for ever.
pub fn serve(address: &str, connection: fn(TcpStream) -> std::io::Result<()>) {
    let listener =
        TcpListener::bind(address).unwrap_or_else(|error| fail(&format!("cannot listen: {error}")));
    listening(listener.local_addr().expect("a bound socket has an address"));
    loop {
        match listener.accept() {
            Ok((stream, _)) => spawn(move || {
                // How a connection ended is the client's to judge: it checks every reply.
                let _ = connection(stream);
            }),
            Err(error) => fail(&format!("cannot accept: {error}")),
        }
    }
}

/// The echo server, and beside it `count` goroutines that disturb it. `how` runs one disturbance: right there, or on a pool.
pub fn disturbed(address: &str, disturbance: Disturbance, count: usize, how: fn(Disturbance)) {
    for number in 0..count {
        spawn(move || {
            for time in 0.. {
                sleep(disturbance.rest(number, time));
                how(disturbance);
            }
        });
    }
    serve(address, echo);
}

/// Sends back what comes.
pub fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}

/// Answers each request with the fixed reply.
pub fn http(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    let mut requests = RequestCounter::default();
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            n => {
                for _ in 0..requests.feed(&buffer[..n]) {
                    stream.write_all(REPLY)?;
                }
            }
        }
    }
}
