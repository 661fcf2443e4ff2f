//! Realistic handlers: an echo server whose every connection has its buffer on its goroutine's stack.

use std::hint::black_box;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use narrowboat::net::{TcpListener, TcpStream};
use narrowboat::{Builder, spawn};
use narrowboat_bench::cli::{fail, listening};
use narrowboat_bench::harness::process::{Failure, Server, run};

use crate::plan::CONNECTIONS;
use crate::strategy::{OWN_STACK, Strategy};

/// The server: buffers of `live` bytes.
pub fn serve(strategy: Strategy, live: usize, address: &str) {
    let connection = match live {
        0x100 => echo::<0x100>,
        0x1000 => echo::<0x1000>,
        0x4000 => echo::<0x4000>,
        _ => fail("buffers: 256, 4096 or 16384 bytes"),
    };
    let listener = TcpListener::bind(address).unwrap_or_else(|error| fail(&error.to_string()));
    listening(listener.local_addr().expect("a bound socket has an address"));
    loop {
        let (stream, _) = listener.accept().unwrap_or_else(|error| fail(&error.to_string()));
        // How a connection ended is the client's to judge: it checks every reply.
        let handle = move || drop(connection(stream));
        let spawned = match strategy {
            Strategy::Slots => Ok(spawn(handle)),
            Strategy::Own => Builder::new().own_stack(OWN_STACK).spawn(handle),
            _ => fail("that strategy has no server here"),
        };
        if let Err(error) = spawned {
            fail(&error.to_string());
        }
    }
}

fn echo<const LIVE: usize>(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0u8; LIVE];
    loop {
        match stream.read(black_box(&mut buffer))? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n])?,
        }
    }
}

/// Puts a server under the load of the load generator: all connections are busy.
pub fn measure(server: &mut Command, load: &Path, quick: bool) -> Result<Vec<String>, Failure> {
    let server = Server::start(server.arg("127.0.0.1:0"))?;
    let mut client = Command::new(load);
    client.args(["echo", &server.address.to_string(), "--open", CONNECTIONS, "--busy", CONNECTIONS]);
    client.args(["--seconds", if quick { "1" } else { "3" }, "--pid", &server.id().to_string()]);
    let lines = run(&mut client, Duration::from_secs(60));
    match lines {
        Ok(lines) if lines.iter().any(|line| line.starts_with("errors 0.0")) => Ok(lines),
        Ok(_) => Err(server.explain(Failure("wrong or missing replies".into()))),
        Err(failure) => Err(server.explain(failure)),
    }
}
