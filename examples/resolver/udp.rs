//! Queries in datagrams.

use super::answer::{Resolver, Step};
use super::message::LONGEST_OVER_UDP;
use narrowboat::net::UdpSocket;
use narrowboat::{go, time};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

fn send(socket: &UdpSocket, reply: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(reply, client) {
        eprintln!("cannot answer {client}: {error}");
    }
}

pub fn serve(socket: &Arc<UdpSocket>, resolver: &Resolver) -> io::Result<()> {
    // On the heap, not on the stack: a parked goroutine is as large as its live stack.
    let mut datagram = vec![0; LONGEST_OVER_UDP];
    loop {
        let (query, client) = match socket.recv_from(&mut datagram) {
            Ok((length, client)) => (&datagram[..length], client),
            Err(error) => {
                eprintln!("cannot receive: {error}; trying again");
                time::sleep(Duration::from_millis(50));
                continue;
            }
        };
        match resolver.begin(query, LONGEST_OVER_UDP) {
            Step::Reply(reply) => send(socket, &reply, client),
            Step::LookUp(lookup) => {
                let socket = socket.clone();
                go!(move || send(&socket, &lookup.finish(), client));
            }
            Step::Nothing => {}
        }
    }
}
