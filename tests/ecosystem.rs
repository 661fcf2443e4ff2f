//! Crates that were written for blocking streams run over ours unchanged: TLS, WebSocket, an HTTP client.

use narrowboat::chan;
use narrowboat::go;
use narrowboat::net::{TcpListener, TcpStream};
use narrowboat_testing::{program, sized, within};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tungstenite::Message;
use ureq::Agent;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

/// Serves every connection in a goroutine of its own, for as long as the process lives.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    go!(move || {
        for stream in listener.incoming() {
            let (serve, stream) = (serve.clone(), stream.unwrap());
            go!(move || serve(stream));
        }
    });
    address
}

/// Both ends of a TLS session for `localhost`.
fn tls() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let server =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

type ClientStream = StreamOwned<ClientConnection, TcpStream>;

fn tls_connect(address: SocketAddr, config: Arc<ClientConfig>) -> ClientStream {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), TcpStream::connect(address).unwrap())
}

#[test]
fn rustls_carries_data_both_ways_for_many_sessions_at_once() {
    program(|| {
        let (server, client) = tls();
        let address = listen(move |stream| {
            let mut stream = StreamOwned::new(ServerConnection::new(server.clone()).unwrap(), stream);
            let mut buffer = vec![0; 4096];
            while let Ok(received @ 1..) = stream.read(&mut buffer) {
                stream.write_all(&buffer[..received]).unwrap();
            }
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        });
        let sessions: Vec<_> = (0..sized(100, 20))
            .map(|i| {
                let client = client.clone();
                go!(move || {
                    let mut stream = tls_connect(address, client);
                    for round in 0..20 {
                        let text = format!("session {i}, round {round}, {}", "x".repeat(round * 300));
                        stream.write_all(text.as_bytes()).unwrap();
                        let mut echo = vec![0; text.len()];
                        stream.read_exact(&mut echo).unwrap();
                        assert!(echo == text.as_bytes(), "session {i}, round {round}");
                    }
                    stream.conn.send_close_notify();
                    stream.flush().unwrap();
                    // The farewell comes, and not just the end of the connection.
                    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
                })
            })
            .collect();
        for session in sessions {
            session.join().unwrap();
        }
    });
}

#[test]
fn rustls_refuses_a_stranger_over_our_streams_too() {
    program(|| {
        let (server, _) = tls();
        let (_, stranger) = tls();
        let (told, result) = chan::bounded(1);
        let address = listen(move |stream| {
            let mut stream = StreamOwned::new(ServerConnection::new(server.clone()).unwrap(), stream);
            told.send(stream.read(&mut [0; 1]).map_err(|error| error.kind())).unwrap();
        });
        let mut stream = tls_connect(address, stranger);
        assert_eq!(stream.write_all(b"x").unwrap_err().kind(), io::ErrorKind::InvalidData);
        drop(stream);
        assert!(result.recv().unwrap().is_err());
    });
}

#[test]
fn tungstenite_talks_over_our_streams_and_over_tls_on_them() {
    program(|| {
        let (server, client) = tls();
        fn echo(stream: impl Read + Write) {
            let mut socket = tungstenite::accept(stream).map_err(|_| "no handshake").unwrap();
            while let Ok(message) = socket.read() {
                if message.is_text() || message.is_binary() {
                    socket.send(message).unwrap();
                }
            }
        }
        fn converse(stream: impl Read + Write, address: SocketAddr) {
            let (mut socket, _) = tungstenite::client(format!("ws://{address}/chat"), stream)
                .map_err(|_| "no handshake")
                .unwrap();
            for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
                let message = Message::binary(vec![7; size]);
                socket.send(message.clone()).unwrap();
                assert!(socket.read().unwrap() == message, "{size} bytes");
            }
            socket.send(Message::Ping("still there?".into())).unwrap();
            assert_eq!(socket.read().unwrap(), Message::Pong("still there?".into()));
            socket.close(None).unwrap();
            while socket.read().is_ok() {}
        }
        let plain = listen(echo);
        let secret = listen(move |stream| {
            echo(StreamOwned::new(ServerConnection::new(server.clone()).unwrap(), stream));
        });
        let clients: Vec<_> = (0..sized(20, 5))
            .flat_map(|_| {
                let client = client.clone();
                [
                    go!(move || converse(TcpStream::connect(plain).unwrap(), plain)),
                    go!(move || converse(tls_connect(secret, client), secret)),
                ]
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
    });
}

/// What ureq asks of a stream that is not std's: how to connect, to send a buffer, and to wait for input.
#[derive(Debug)]
struct Connect;

impl Connector for Connect {
    type Out = Connection;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Connection>, ureq::Error> {
        let stream = TcpStream::connect(&details.addrs[..])?;
        stream.set_nodelay(details.config.no_delay())?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Connection { stream, buffers }))
    }
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    buffers: LazyBuffers,
}

impl Connection {
    fn limit(timeout: NextTimeout) -> Option<Duration> {
        timeout.not_zero().map(|limit| *limit)
    }

    fn explain(error: io::Error, timeout: NextTimeout) -> ureq::Error {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ureq::Error::Timeout(timeout.reason),
            _ => error.into(),
        }
    }
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.set_write_timeout(Self::limit(timeout))?;
        let output = &self.buffers.output()[..amount];
        self.stream.write_all(output).map_err(|error| Self::explain(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.set_read_timeout(Self::limit(timeout))?;
        let read = self.stream.read(self.buffers.input_append_buf());
        let received = read.map_err(|error| Self::explain(error, timeout))?;
        self.buffers.input_appended(received);
        Ok(received > 0)
    }

    /// Nothing has come on a connection that is to be used again, and not its end either.
    fn is_open(&mut self) -> bool {
        let _ = self.stream.set_nonblocking(true);
        let nothing =
            matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        let _ = self.stream.set_nonblocking(false);
        nothing
    }
}

fn agent() -> Agent {
    let config = Agent::config_builder().timeout_global(Some(Duration::from_secs(60))).build();
    Agent::with_parts(config, Connect, DefaultResolver::default())
}

/// Answers each request with its first line and its body's length; `/slow` with nothing at all.
fn serve_http(stream: TcpStream) {
    let mut reader = BufReader::new(&stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line == "\r\n" {
                break;
            }
            if let Some(number) = line.to_lowercase().strip_prefix("content-length:") {
                length = number.trim().parse().unwrap();
            }
        }
        io::copy(&mut (&mut reader).take(length), &mut io::sink()).unwrap();
        if first.starts_with("GET /slow ") {
            continue;
        }
        let body = format!("{} with {length} bytes from {}", first.trim(), stream.peer_addr().unwrap());
        write!(&stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    }
}

#[test]
fn ureq_asks_and_posts_and_keeps_its_connection() {
    program(|| {
        let address = listen(serve_http);
        let clients: Vec<_> = (0..sized(50, 10))
            .map(|_| {
                go!(move || {
                    let agent = agent();
                    let url = format!("http://{address}/here");
                    let first = agent.get(&url).call().unwrap().into_body().read_to_string().unwrap();
                    assert!(first.starts_with("GET /here HTTP/1.1 with 0 bytes from "), "{first}");
                    let body = vec![b'x'; 300_000];
                    let second =
                        agent.post(&url).send(&body[..]).unwrap().into_body().read_to_string().unwrap();
                    assert!(second.starts_with("POST /here HTTP/1.1 with 300000 bytes from "), "{second}");
                    let peer = |text: &str| text.rsplit(' ').next().map(String::from);
                    assert_eq!(peer(&first), peer(&second), "the connection is used again");
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
    });
}

#[test]
fn ureq_gives_up_when_its_time_is_over() {
    program(|| {
        let address = listen(serve_http);
        let config = Agent::config_builder().timeout_global(Some(Duration::from_millis(100))).build();
        let agent = Agent::with_parts(config, Connect, DefaultResolver::default());
        let error = agent.get(format!("http://{address}/slow")).call().unwrap_err();
        assert!(matches!(error, ureq::Error::Timeout(_)), "{error}");
    });
}

#[test]
fn the_same_crates_run_on_plain_threads() {
    let address = listen(serve_http);
    let (server, client) = tls();
    let secret = listen(move |stream| {
        let mut stream = StreamOwned::new(ServerConnection::new(server.clone()).unwrap(), stream);
        stream.write_all(b"welcome").unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    });
    within(Duration::from_secs(60), move || {
        let text = agent().get(format!("http://{address}/")).call().unwrap().into_body().read_to_string();
        assert!(text.unwrap().starts_with("GET / HTTP/1.1 with 0 bytes"));
        let mut text = String::new();
        tls_connect(secret, client).read_to_string(&mut text).unwrap();
        assert_eq!(text, "welcome");
    });
}
