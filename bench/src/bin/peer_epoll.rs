//! A bare epoll loop, one thread per poller and no runtime at all: the limit for the network rows.
//!
//! The first poller also watches the listener, and deals connections out to the pollers in turn, so that each has the
//! same number. A connection stays with its poller. Replies are short, and a client has few requests under way on a
//! connection, which fit any socket buffer: a write that would block is a broken client, and ends the connection.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::thread;

use narrowboat_bench::cli::{Arguments, fail, listen, unknown, workers};
use narrowboat_bench::disturbance::Disturbance;
use narrowboat_bench::epoll::{Epoll, Events};
use narrowboat_bench::http::{REPLY, RequestCounter};

/// The token of the listener; connections have their descriptor's number.
const LISTENER: u64 = u64::MAX;

/// Bytes read at once, into a buffer that all connections of a poller share.
const BUFFER: usize = 1024;

fn main() {
    let arguments = Arguments::read();
    let (reply, address): (Reply, usize) = match arguments.case() {
        "echo" => (echo, 1),
        "http" => (http, 1),
        "disturbed" => {
            disturb(arguments.parse(1), arguments.parse(2));
            (echo, 3)
        }
        case => unknown(case),
    };
    let address: String = arguments.parse(address);
    if let Err(error) = narrowboat_bench::limits::raise_descriptors().and_then(|_| serve(&address, reply)) {
        fail(&format!("the epoll loop failed: {error}"));
    }
}

/// Starts threads that disturb the pollers: the kernel divides the cores between them.
fn disturb(disturbance: Disturbance, count: usize) {
    for number in 0..count {
        thread::spawn(move || {
            for time in 0.. {
                thread::sleep(disturbance.rest(number, time));
                disturbance.once();
            }
        });
    }
}

type Reply = fn(&mut Connection, &[u8]) -> io::Result<()>;

struct Connection {
    stream: TcpStream,
    requests: RequestCounter,
}

fn echo(connection: &mut Connection, bytes: &[u8]) -> io::Result<()> {
    connection.stream.write_all(bytes)
}

fn http(connection: &mut Connection, bytes: &[u8]) -> io::Result<()> {
    for _ in 0..connection.requests.feed(bytes) {
        connection.stream.write_all(REPLY)?;
    }
    Ok(())
}

/// One thread's epoll instance, and the connections dealt to it that it has not seen yet.
struct Poller {
    epoll: Epoll,
    dealt: Mutex<Vec<Connection>>,
}

fn serve(address: &str, reply: Reply) -> io::Result<()> {
    let mut pollers = Vec::new();
    for _ in 0..workers() {
        pollers.push(Poller { epoll: Epoll::new()?, dealt: Mutex::new(Vec::new()) });
    }
    let pollers = Arc::new(pollers);
    let listener = listen(address);
    listener.set_nonblocking(true)?;
    pollers[0].epoll.watch(&listener, LISTENER)?;

    for index in 1..pollers.len() {
        let pollers = pollers.clone();
        thread::spawn(move || {
            if let Err(error) = poll(&pollers, index, None, reply) {
                fail(&format!("poller {index} failed: {error}"));
            }
        });
    }
    poll(&pollers, 0, Some(&listener), reply)
}

fn poll(pollers: &[Poller], index: usize, listener: Option<&TcpListener>, reply: Reply) -> io::Result<()> {
    let own = &pollers[index];
    let mut events = Events::new();
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = [0; BUFFER];
    let mut next = 0;
    loop {
        for token in own.epoll.wait(&mut events, None)? {
            if token == LISTENER {
                accept(pollers, listener.expect("only its poller watches it"), &mut next)?;
                continue;
            }
            let index = token as usize;
            if connections.get(index).is_none_or(Option::is_none) {
                for new in std::mem::take(&mut *own.dealt.lock().unwrap()) {
                    let index = new.stream.as_raw_fd() as usize;
                    connections.resize_with(connections.len().max(index + 1), || None);
                    connections[index] = Some(new);
                }
            }
            let connection = connections[index].as_mut().expect("dealt before it is watched");
            if !answer(connection, &mut buffer, reply) {
                connections[index] = None;
            }
        }
    }
}

fn accept(pollers: &[Poller], listener: &TcpListener, next: &mut usize) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let poller = &pollers[*next % pollers.len()];
        *next += 1;
        // Watched under the lock: its poller can only look it up once it is in the list.
        let mut dealt = poller.dealt.lock().unwrap();
        poller.epoll.watch(&stream, stream.as_raw_fd() as u64)?;
        dealt.push(Connection { stream, requests: RequestCounter::default() });
    }
}

/// Reads once and answers. False once the connection is to be closed.
fn answer(connection: &mut Connection, buffer: &mut [u8], reply: Reply) -> bool {
    match connection.stream.read(buffer) {
        Ok(0) => false,
        Ok(n) => reply(connection, &buffer[..n]).is_ok(),
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}
