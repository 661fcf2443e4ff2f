//! The servers among the examples: how each is started, and how to have a word with it.

use crate::example;
use crate::http::HELLO;
use crate::server::Server;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// Every example that serves. Those that need another one come after it.
pub const SERVERS: [&str; 8] =
    ["echo_server", "http_server", "redis_like", "tls_echo", "websocket_chat", "resolver", "actors", "proxy"];

/// A server, as its clients know it.
pub struct Subject {
    pub name: &'static str,
    pub address: SocketAddr,
    pub request: &'static [u8],
    /// What a reply to `request` ends with. `None`: the words are not plain, or there are too few
    /// of them for a reply.
    pub tail: Option<&'static [u8]>,
}

impl Subject {
    /// Starts it at a free port.
    pub fn start(name: &'static str) -> (Subject, Server) {
        let server = Server::start(name);
        (Subject::at(name, server.address), server)
    }

    /// What is known of a server of this name.
    pub fn at(name: &'static str, address: SocketAddr) -> Subject {
        let (request, tail): (&[u8], &[u8]) = match name {
            "echo_server" | "proxy" => (b"a word and back again\n", b"back again\n"),
            "http_server" => (HELLO, b"a goroutine!\n"),
            "redis_like" => (b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n", b"+OK\r\n"),
            // The beginning of a handshake that goes wrong.
            "tls_echo" => (b"\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00", b""),
            "websocket_chat" => (
                b"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                b"",
            ),
            "resolver" => {
                (b"\0\x1b\0\x07\x01\0\0\x01\0\0\0\0\0\0\x04boat\x04test\0\0\x01\0\x01", &[0, 4, 192, 0, 2, 7])
            }
            "actors" => (b"info lobby\n", b"<CMD OK>\n"),
            _ => panic!("{name} is no server"),
        };
        Subject { name, address, request, tail: (!tail.is_empty()).then_some(tail) }
    }

    /// The command that starts it at this address. A proxy relays to `target`.
    pub fn command(name: &str, address: SocketAddr, target: Option<SocketAddr>) -> Command {
        let mut command = example(name);
        if name == "actors" {
            command.arg("1000");
        }
        command.arg(address.to_string());
        if name == "resolver" {
            command.arg("boat.test=192.0.2.7");
        }
        command.args(target.map(|target| target.to_string()));
        command
    }

    /// Waits for a free port if there is none: closed connections hold theirs for a while.
    pub fn connect(&self) -> io::Result<TcpStream> {
        let start = Instant::now();
        loop {
            match TcpStream::connect(self.address) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
                    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                    assert!(start.elapsed() < Duration::from_secs(120), "no port becomes free");
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads the reply to `request`, of which `tail` is known.
    pub fn read_reply(&self, stream: &mut TcpStream) -> io::Result<()> {
        let tail = self.tail.expect("is known");
        let (mut reply, mut buffer) = (Vec::new(), [0; 512]);
        while !reply.ends_with(tail) {
            let received = stream.read(&mut buffer)?;
            if received == 0 {
                let what = format!("closed after {:?}", String::from_utf8_lossy(&reply));
                return Err(io::Error::new(ErrorKind::UnexpectedEof, what));
            }
            reply.extend_from_slice(&buffer[..received]);
        }
        Ok(())
    }

    /// A request and its reply.
    pub fn converse(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(self.request)?;
        self.read_reply(stream)
    }
}
