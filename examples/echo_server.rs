//! Sends back what it receives: a goroutine per connection, plain blocking code.
//!
//!     cargo run --release --example echo_server -- 127.0.0.1:7000
//!     nc 127.0.0.1 7000                                              in a second terminal

use narrowboat::net::{TcpListener, TcpStream};
use narrowboat::{go, time};
use std::io::{self, Read, Write};
use std::time::Duration;

/// Returns when the client has closed its half, or with the error that broke the connection.
fn echo(mut stream: TcpStream) -> io::Result<()> {
    // On the heap, not on the stack: a parked goroutine is as large as its live stack. It starts
    // small, because most connections are idle most of the time, and grows on connections that send
    // a lot.
    let mut buffer = vec![0; 256];
    loop {
        let received = stream.read(&mut buffer)?;
        if received == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..received])?;
        if received == buffer.len() && received < 64 * 1024 {
            buffer.resize(2 * received, 0);
        }
    }
}

fn serve(address: String) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    let mut pause = Duration::from_millis(10);
    loop {
        match listener.accept() {
            Ok((stream, _peer)) => {
                pause = Duration::from_millis(10);
                // A broken connection concerns only its client.
                go!(move || drop(echo(stream)));
            }
            Err(error) => {
                // Most likely the process has no descriptors left. Open connections are still
                // served, and some of them will close.
                eprintln!("cannot accept: {error}; trying again in {pause:?}");
                time::sleep(pause);
                pause = (2 * pause).min(Duration::from_millis(100));
            }
        }
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".into());
    narrowboat::run(|| serve(address))
}
