//! A TCP relay: it connects every client of LISTEN to TARGET. Half-close passes through, and so
//! does back-pressure: if one side does not read, nothing is read from the other side.
//!
//!     cargo run --release --example proxy -- 127.0.0.1:9000 127.0.0.1:8080
//!     curl -i http://127.0.0.1:9000/
//!
//! The second command is for another terminal, with an HTTP server at port 8080.

use narrowboat::net::{TcpListener, TcpStream};
use narrowboat::{go, time};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

/// Copies one direction until its end, and passes the end on.
fn copy(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    // One buffer and no queue: nothing more is read before this is written. On the heap, because a
    // parked goroutine is as large as its live stack (std's `io::copy` would keep 8 KiB there).
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let received = from.read(&mut buffer)?;
        if received == 0 {
            return to.shutdown(Shutdown::Write);
        }
        to.write_all(&buffer[..received])?;
    }
}

/// Runs [`copy`]. If the connection breaks on one side, closes both sides, because each would wait
/// for the other for ever.
fn relay(from: &TcpStream, to: &TcpStream) {
    if copy(from, to).is_err() {
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

fn serve(client: TcpStream, target: &str) -> io::Result<()> {
    let server = Arc::new(TcpStream::connect(target)?);
    let client = Arc::new(client);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (there, back) = ((client.clone(), server.clone()), (server, client));
    // Two goroutines, one for each direction. Both sides are closed when both have ended.
    go!(move || relay(&there.0, &there.1));
    relay(&back.0, &back.1);
    Ok(())
}

/// Relays every client of an address to the target, for ever.
pub(crate) fn listen(address: &str, target: Arc<str>) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept() {
            Ok((client, peer)) => {
                let target = target.clone();
                go!(move || {
                    if let Err(error) = serve(client, &target) {
                        eprintln!("cannot relay {peer} to {target}: {error}");
                    }
                });
            }
            Err(error) => {
                // Most likely the process has no descriptors left. Open connections are still
                // served, and some of them will close.
                eprintln!("cannot accept: {error}; trying again");
                time::sleep(Duration::from_millis(50));
            }
        }
    }
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, target] = &arguments[..] else {
        eprintln!("usage: proxy LISTEN TARGET, both as HOST:PORT");
        std::process::exit(2);
    };
    let (address, target) = (address.clone(), Arc::from(&target[..]));
    narrowboat::run(move || listen(&address, target))
}
