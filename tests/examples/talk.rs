//! Clients of each server that check every reply, and connect again when they are told to.

use crate::http;
use crate::subject::Subject;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tungstenite::error::ProtocolError;
use tungstenite::{Message, WebSocket};

/// A client with one connection at a time.
///
/// An error of the kind `InvalidData` is a wrong reply. Any other is a connection that broke.
pub trait Talk: Send {
    /// Connects, in the place of the connection that there was. `anew`: the server may have been
    /// started anew since then.
    fn open(&mut self, anew: bool) -> io::Result<()>;

    /// Asks something, and compares the reply with what it must be.
    fn ask(&mut self) -> io::Result<()>;

    /// Ends the connection.
    fn close(&mut self);
}

/// A client of the server. Each has another `key`.
pub fn client(subject: &Arc<Subject>, key: usize) -> Box<dyn Talk> {
    let subject = subject.clone();
    match subject.name {
        "echo_server" | "proxy" => Box::new(Echo { subject, key, asked: 0, stream: None }),
        "http_server" => Box::new(Http { subject, asked: 0, stream: None }),
        "redis_like" => {
            Box::new(Redis { subject, key, acknowledged: 0, unknown: false, anew: true, stream: None })
        }
        "tls_echo" => Box::new(Tls { subject, key, asked: 0, stream: None }),
        "websocket_chat" => Box::new(Chat { subject, key, asked: 0, guest: String::new(), socket: None }),
        "resolver" => Box::new(Dns { subject, asked: key as u16, stream: None, socket: None }),
        "actors" => Box::new(Console { subject, asked: key, stream: None }),
        name => panic!("{name} is no server"),
    }
}

fn wrong(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("wrong reply: {what}"))
}

/// A connection that there must be.
fn opened<T>(stream: &mut Option<T>) -> &mut T {
    stream.as_mut().expect("was opened")
}

fn exchange(stream: &mut (impl Read + Write), request: &[u8], reply: &[u8]) -> io::Result<()> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut received = vec![0; reply.len()];
    stream.read_exact(&mut received)?;
    match received == reply {
        true => Ok(()),
        false => Err(wrong(format_args!(
            "{:?} instead of {:?}",
            String::from_utf8_lossy(&received),
            String::from_utf8_lossy(reply)
        ))),
    }
}

/// Some words that no other client says, of another length each time.
fn words(key: usize, asked: &mut usize) -> Vec<u8> {
    *asked += 1;
    let mut words = format!("{key}, {asked}: ").into_bytes();
    words.resize(words.len() + *asked * 37 % 2_000, b'x');
    words
}

struct Echo {
    subject: Arc<Subject>,
    key: usize,
    asked: usize,
    stream: Option<TcpStream>,
}

impl Talk for Echo {
    fn open(&mut self, _anew: bool) -> io::Result<()> {
        self.stream = Some(self.subject.connect()?);
        Ok(())
    }

    fn ask(&mut self) -> io::Result<()> {
        let words = words(self.key, &mut self.asked);
        exchange(opened(&mut self.stream), &words, &words)
    }

    fn close(&mut self) {
        self.stream = None;
    }
}

struct Http {
    subject: Arc<Subject>,
    asked: usize,
    stream: Option<BufReader<TcpStream>>,
}

impl Talk for Http {
    fn open(&mut self, _anew: bool) -> io::Result<()> {
        self.stream = Some(BufReader::new(self.subject.connect()?));
        Ok(())
    }

    fn ask(&mut self) -> io::Result<()> {
        let stream = opened(&mut self.stream);
        let words = words(0, &mut self.asked);
        let body = match self.asked % 2 {
            0 => {
                stream.get_mut().write_all(http::HELLO)?;
                b"Hello from a goroutine!\n".to_vec()
            }
            _ => {
                let mut request =
                    format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", words.len())
                        .into_bytes();
                request.extend(&words);
                stream.get_mut().write_all(&request)?;
                words
            }
        };
        let reply = http::try_read_reply(stream)?;
        match reply.head.starts_with("HTTP/1.1 200 OK\r\n") && reply.body.as_bytes() == body {
            true => Ok(()),
            false => Err(wrong(format_args!("{}{}", reply.head, reply.body))),
        }
    }

    fn close(&mut self) {
        self.stream = None;
    }
}

/// Counts at the server. As long as that is the same, each increment that was acknowledged has been
/// made once.
struct Redis {
    subject: Arc<Subject>,
    key: usize,
    acknowledged: u64,
    /// Whether the last increment was sent, and no reply came.
    unknown: bool,
    /// Whether the server may have forgotten all.
    anew: bool,
    stream: Option<BufReader<TcpStream>>,
}

impl Talk for Redis {
    fn open(&mut self, anew: bool) -> io::Result<()> {
        self.anew |= anew;
        self.stream = Some(BufReader::new(self.subject.connect()?));
        Ok(())
    }

    fn ask(&mut self) -> io::Result<()> {
        let stream = opened(&mut self.stream);
        let unknown = std::mem::replace(&mut self.unknown, true);
        let (key, value) = (format!("counter:{}", self.key), self.acknowledged.to_string());
        // Three in one piece.
        let request = format!(
            "*2\r\n$4\r\nINCR\r\n${}\r\n{key}\r\n*3\r\n$3\r\nSET\r\n$5\r\nvalue\r\n${}\r\n{value}\r\n\
             *2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n",
            key.len(),
            value.len(),
            key.len()
        );
        stream.get_mut().write_all(request.as_bytes())?;
        let mut lines = [const { String::new() }; 4];
        for line in &mut lines {
            if stream.read_line(line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let count = lines[0].trim().strip_prefix(':').and_then(|count| count.parse().ok());
        let count: u64 = count.ok_or_else(|| wrong(&lines[0]))?;
        let is_next = count == self.acknowledged + 1 || unknown && count == self.acknowledged + 2;
        let same = format!("{count}");
        let agree =
            lines[1] == "+OK\r\n" && lines[2] == format!("${}\r\n", same.len()) && lines[3].trim() == same;
        let is_first = self.anew && count == 1;
        if !(agree && (is_next || is_first)) {
            return Err(wrong(format_args!("{lines:?} after {}", self.acknowledged)));
        }
        (self.acknowledged, self.unknown, self.anew) = (count, false, false);
        Ok(())
    }

    fn close(&mut self) {
        self.stream = None;
    }
}

struct Tls {
    subject: Arc<Subject>,
    key: usize,
    asked: usize,
    stream: Option<StreamOwned<ClientConnection, TcpStream>>,
}

/// Takes every certificate, because the server makes its own, and still checks that it has the key.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

impl Talk for Tls {
    fn open(&mut self, _anew: bool) -> io::Result<()> {
        let verifier = Arc::new(AnyCertificate);
        let config = ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier);
        let name = ServerName::try_from("localhost").expect("is a name");
        let session =
            ClientConnection::new(Arc::new(config.with_no_client_auth()), name).expect("is complete");
        self.stream = Some(StreamOwned::new(session, self.subject.connect()?));
        Ok(())
    }

    fn ask(&mut self) -> io::Result<()> {
        let words = words(self.key, &mut self.asked);
        exchange(opened(&mut self.stream), &words, &words)
    }

    fn close(&mut self) {
        if let Some(mut stream) = self.stream.take() {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    }
}

struct Chat {
    subject: Arc<Subject>,
    key: usize,
    asked: usize,
    /// What the room calls it.
    guest: String,
    socket: Option<WebSocket<TcpStream>>,
}

/// What is no error of the connection is a wrong reply.
fn of_chat(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        tungstenite::Error::ConnectionClosed
        | tungstenite::Error::AlreadyClosed
        | tungstenite::Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::HandshakeIncomplete,
        ) => io::Error::new(ErrorKind::UnexpectedEof, error),
        error => wrong(error),
    }
}

impl Chat {
    fn hear(&mut self) -> io::Result<String> {
        loop {
            if let Message::Text(text) = opened(&mut self.socket).read().map_err(of_chat)? {
                return Ok(text.as_str().to_owned());
            }
        }
    }
}

impl Talk for Chat {
    fn open(&mut self, _anew: bool) -> io::Result<()> {
        let (stream, url) = (self.subject.connect()?, format!("ws://{}/", self.subject.address));
        let socket = tungstenite::client(url, stream).map_err(|error| match error {
            tungstenite::HandshakeError::Failure(error) => of_chat(error),
            tungstenite::HandshakeError::Interrupted(_) => ErrorKind::TimedOut.into(),
        });
        self.socket = Some(socket?.0);
        // The first that a guest hears is that it has come.
        let first = self.hear()?;
        let guest = first.strip_prefix("* ").and_then(|rest| rest.split_once(" has joined, "));
        self.guest = guest.ok_or_else(|| wrong(&first))?.0.to_owned();
        Ok(())
    }

    fn ask(&mut self) -> io::Result<()> {
        let words = String::from_utf8(words(self.key, &mut self.asked)).expect("is text");
        let expected = format!("{}: {words}", self.guest);
        opened(&mut self.socket).send(Message::text(words)).map_err(of_chat)?;
        loop {
            let heard = self.hear()?;
            if heard == expected {
                return Ok(());
            }
            // Others talk, come and go.
            if heard.starts_with(&format!("{}: ", self.guest)) || !heard.contains("guest ") {
                return Err(wrong(heard));
            }
        }
    }

    fn close(&mut self) {
        if let Some(mut socket) = self.socket.take() {
            let _ = socket.close(None);
            let _ = socket.flush();
        }
    }
}

/// Asks by turns over UDP and TCP, now and then for a name that the server has to ask of the
/// system.
struct Dns {
    subject: Arc<Subject>,
    asked: u16,
    stream: Option<TcpStream>,
    socket: Option<UdpSocket>,
}

impl Talk for Dns {
    fn open(&mut self, _anew: bool) -> io::Result<()> {
        self.close();
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(self.subject.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        self.socket = Some(socket);
        Ok(())
    }

    fn ask(&mut self) -> io::Result<()> {
        self.asked = self.asked.wrapping_add(1);
        let of_system = self.asked.is_multiple_of(16);
        let (name, address): (&[u8], [u8; 4]) = match of_system {
            true => (b"\x09localhost", [127, 0, 0, 1]),
            false => (b"\x04boat\x04test", [192, 0, 2, 7]),
        };
        let id = self.asked.to_be_bytes();
        let mut query = [&id[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0], name, &[0, 0, 1, 0, 1]].concat();
        let mut reply = vec![0; 512];
        if self.asked.is_multiple_of(2) {
            query.splice(0..0, (query.len() as u16).to_be_bytes());
            // For this question alone: the server gives up one that is silent for long.
            let mut stream = self.subject.connect()?;
            stream.write_all(&query)?;
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            reply.resize(usize::from(u16::from_be_bytes(length)), 0);
            stream.read_exact(&mut reply)?;
            self.stream = Some(stream);
        } else {
            let length = self.ask_by_datagram(&query, &mut reply)?;
            reply.truncate(length);
        }
        let is_right = reply.len() > 12
            && reply[..2] == id
            && reply[3] & 0xf == 0
            && reply[6..8] == [0, 1]
            && reply.ends_with(&address);
        if is_right { Ok(()) } else { Err(wrong(format_args!("{reply:?} to {query:?}"))) }
    }

    fn close(&mut self) {
        (self.stream, self.socket) = (None, None);
    }
}

impl Dns {
    /// Asks again if there is no reply: datagrams may be lost.
    fn ask_by_datagram(&mut self, query: &[u8], reply: &mut [u8]) -> io::Result<usize> {
        let socket = opened(&mut self.socket);
        for _ in 0..3 {
            socket.send(query)?;
            loop {
                match socket.recv(reply) {
                    // One to a question that was asked again.
                    Ok(length) if length >= 2 && reply[..2] != query[..2] => {}
                    Ok(length) => return Ok(length),
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Err(ErrorKind::TimedOut.into())
    }
}

/// What the lobby says after the game.
const ALL_PLAYED: &str = "0 wait for a room, 250 games were played\n";

/// Looks at the services of a game that is over, and has one of them started anew now and then.
struct Console {
    subject: Arc<Subject>,
    asked: usize,
    stream: Option<BufReader<TcpStream>>,
}

impl Console {
    fn command(&mut self, command: &str) -> io::Result<String> {
        let stream = opened(&mut self.stream);
        stream.get_mut().write_all(command.as_bytes())?;
        let mut reply = String::new();
        while !reply.ends_with("<CMD OK>\n") {
            if stream.read_line(&mut reply)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if reply.ends_with("<CMD Error>\n") {
                return Err(wrong(reply));
            }
        }
        Ok(reply)
    }
}

impl Talk for Console {
    fn open(&mut self, anew: bool) -> io::Result<()> {
        let mut stream = BufReader::new(self.subject.connect()?);
        let mut welcome = String::new();
        if stream.read_line(&mut welcome)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.stream = Some(stream);
        if welcome != "Welcome to the console\n" {
            return Err(wrong(welcome));
        }
        // The console is there before the game is over.
        while anew && self.command("task lobby\n")? != "at rest\n<CMD OK>\n"
            || !self.command("info lobby\n")?.contains(ALL_PLAYED)
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn ask(&mut self) -> io::Result<()> {
        self.asked += 1;
        let (command, part) = match self.asked % 16 {
            0 => ("restart store\n", ""),
            1..8 => ("info lobby\n", ALL_PLAYED),
            8..12 => ("ping lobby\n", ""),
            _ => ("mem\n", "services"),
        };
        let reply = self.command(command)?;
        if reply.contains(part) { Ok(()) } else { Err(wrong(reply)) }
    }

    fn close(&mut self) {
        self.stream = None;
    }
}
