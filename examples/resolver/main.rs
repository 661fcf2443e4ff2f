//! A small DNS server over UDP and TCP: it answers for the names that it was given, and asks the
//! system's resolver for the addresses of all other names.
//!
//!     cargo run --release --example resolver -- 127.0.0.1:5353 boat.test=192.0.2.7
//!     dig @127.0.0.1 -p 5353 boat.test                                in a second terminal
//!
//! A name that takes long to resolve delays no other query: each has a goroutine of its own, which
//! is parked meanwhile.

mod answer;
mod message;
mod tcp;
mod udp;

pub(crate) use answer::Resolver;
use narrowboat::go;
use narrowboat::net::{TcpListener, UdpSocket};
use std::io;
use std::sync::Arc;

/// Answers queries at this address, for ever.
pub(crate) fn serve(address: &str, resolver: Resolver) -> io::Result<()> {
    // A client whose reply does not fit in a datagram comes to the same port over TCP.
    let listener = TcpListener::bind(address)?;
    let socket = UdpSocket::bind(listener.local_addr()?)?;
    println!("listening on {}", socket.local_addr()?);
    let resolver = Arc::new(resolver);
    let same = resolver.clone();
    go!(move || tcp::serve(&listener, &same));
    udp::serve(&Arc::new(socket), &resolver)
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (resolver, address) = match &arguments[..] {
        [address, rest @ ..] => (Resolver::of(rest), address.clone()),
        [] => (None, String::new()),
    };
    let Some(resolver) = resolver else {
        eprintln!("usage: resolver HOST:PORT [NAME=IP]...");
        std::process::exit(2);
    };
    narrowboat::run(move || serve(&address, resolver))
}
