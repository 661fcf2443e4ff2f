//! A small DNS server over UDP: it answers for the names that it was given, and asks the system's
//! resolver for all other names.
//!
//!     cargo run --release --example resolver -- 127.0.0.1:5353 boat.test=192.0.2.7
//!     dig @127.0.0.1 -p 5353 boat.test                                in a second terminal
//!
//! A name that takes long to resolve delays no other query: each has a goroutine of its own, which
//! is parked meanwhile.

mod message;

use message::Code;
use narrowboat::go;
use narrowboat::net::{UdpSocket, lookup_host};
use narrowboat::sync::Semaphore;
use narrowboat::time;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How many names are resolved at once. Further queries are dropped; their clients ask again.
const MAX_LOOKUPS: usize = 1_000;

type Names = HashMap<String, Vec<IpAddr>>;

/// Asks the system's resolver for a name. The resolver does not distinguish a name that does not
/// exist from one that it could not look up.
fn look_up(name: &str) -> Result<Vec<IpAddr>, Code> {
    let found = lookup_host(&format!("{name}:0")).map_err(|_| Code::ServerFailure)?;
    Ok(found.map(|address| address.ip()).collect())
}

fn send(socket: &UdpSocket, reply: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(reply, client) {
        eprintln!("cannot answer {client}: {error}");
    }
}

fn serve(address: &str, names: &Names) -> io::Result<()> {
    let socket = Arc::new(UdpSocket::bind(address)?);
    println!("listening on {}", socket.local_addr()?);
    let permits = Arc::new(Semaphore::new(MAX_LOOKUPS));
    // On the heap, not on the stack: a parked goroutine is as large as its live stack.
    let mut datagram = vec![0; message::LONGEST];
    loop {
        let (query, client) = match socket.recv_from(&mut datagram) {
            Ok((length, client)) => (&datagram[..length], client),
            Err(error) => {
                eprintln!("cannot receive: {error}; trying again");
                time::sleep(Duration::from_millis(50));
                continue;
            }
        };
        if !message::is_query(query) {
            continue;
        }
        let question = match message::question(query) {
            Ok(question) => question,
            Err(code) => {
                send(&socket, &message::reply(query, None, code, &[]), client);
                continue;
            }
        };
        if let Some(addresses) = names.get(&question.name) {
            send(&socket, &message::reply(query, Some(&question), Code::NoError, addresses), client);
        } else if let Ok(permit) = permits.clone().try_acquire_owned() {
            let (socket, query) = (socket.clone(), query.to_vec());
            go!(move || {
                let _permit = permit;
                let reply = match look_up(&question.name) {
                    Ok(addresses) => message::reply(&query, Some(&question), Code::NoError, &addresses),
                    Err(code) => message::reply(&query, Some(&question), code, &[]),
                };
                send(&socket, &reply, client);
            });
        }
    }
}

/// Parses arguments of the form `NAME=IP`, and collects the addresses of each name.
fn names(arguments: &[String]) -> Option<Names> {
    let mut names = Names::new();
    for argument in arguments {
        let (name, address) = argument.split_once('=')?;
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        names.entry(name).or_default().push(address.parse().ok()?);
    }
    Some(names)
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (names, address) = match &arguments[..] {
        [address, rest @ ..] => (names(rest), address.clone()),
        [] => (None, String::new()),
    };
    let Some(names) = names else {
        eprintln!("usage: resolver HOST:PORT [NAME=IP]...");
        std::process::exit(2);
    };
    narrowboat::run(move || serve(&address, &names))
}
