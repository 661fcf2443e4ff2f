//! `proxy`, `tls_echo` and `websocket_chat`, each by a client of its kind.

use crate::http::{HELLO, assert_hello, read_reply};
use crate::server::Server;
use crate::{example, output_of};
use narrowboat_testing::{eventually, tool};
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;
use tungstenite::{Message, WebSocket};

/// A proxy to `target`. It takes its own address first, so it is started by a shell that turns them around.
fn proxy(target: &str) -> Server {
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "exec \"$0\" \"$2\" \"$1\" 2>/dev/null"])
        .arg(example("proxy").get_program())
        .arg(target);
    Server::start_as(&mut command)
}

#[test]
fn a_proxy_serves_what_its_target_serves() {
    let target = Server::start("http_server");
    let proxy = proxy(&target.address.to_string());
    let mut streams: Vec<_> = (0..50).map(|_| BufReader::new(proxy.connect())).collect();
    for _ in 0..3 {
        for stream in &mut streams {
            stream.get_mut().write_all(HELLO).expect("takes a request");
        }
        for stream in &mut streams {
            assert_hello(&read_reply(stream));
        }
    }
}

#[test]
fn a_proxy_passes_a_half_close_on_and_the_answer_back() {
    let target = Server::start("echo_server");
    let proxy = proxy(&target.address.to_string());
    let mut stream = proxy.connect();
    let sent: Vec<u8> = (0..3 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (mut writer, outgoing) = (stream.try_clone().expect("a socket clones"), sent.clone());
    let writing = std::thread::spawn(move || {
        writer.write_all(&outgoing).expect("takes it all");
        writer.shutdown(Shutdown::Write).expect("half-closes");
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).expect("comes back");
    writing.join().expect("the writer ends");
    assert!(received == sent, "{} bytes came back, {} were sent", received.len(), sent.len());
    drop(stream);
    eventually("only the listener is left", || proxy.sockets() == 1);
}

#[test]
fn a_proxy_stores_nothing_for_a_side_that_does_not_read() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
    let proxy = proxy(&listener.local_addr().expect("has one").to_string());
    let mut client = proxy.connect();
    let (mut target, _) = listener.accept().expect("is asked");
    client.set_write_timeout(Some(Duration::from_millis(300))).expect("a socket takes a timeout");
    let before = proxy.resident();
    let (block, mut sent) = (vec![7; 64 << 10], 0);
    // Until the sockets on the way are full.
    while let Ok(written) = client.write(&block) {
        sent += written;
        assert!(sent < 1 << 30, "something stores it all");
    }
    assert!(proxy.resident() < before + (4 << 10), "{} KiB became {}", before, proxy.resident());
    client.shutdown(Shutdown::Write).expect("half-closes");
    let received = std::io::copy(&mut target, &mut std::io::sink()).expect("is passed on");
    assert_eq!(received as usize, sent);
}

#[test]
fn a_proxy_without_its_target_closes_and_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
    let target = listener.local_addr().expect("has one").to_string();
    drop(listener);
    let proxy = proxy(&target);
    for _ in 0..3 {
        assert_eq!(proxy.connect().read(&mut [0; 1]).unwrap_or(0), 0);
    }
    let listener = TcpListener::bind(&target).expect("listens again");
    let mut client = proxy.connect();
    // The target breaks the connection, with data unread: the client learns of it.
    client.write_all(b"unread").expect("takes it");
    let (mut accepted, _) = listener.accept().expect("is asked");
    accepted.read_exact(&mut [0; 1]).expect("has come");
    drop(accepted);
    assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
}

#[test]
fn examples_with_wrong_arguments_say_how_they_are_used() {
    let wrong: [(&str, &[&str]); 5] = [
        ("proxy", &["127.0.0.1:0"]),
        ("tls_echo", &["127.0.0.1:0", "certificate"]),
        ("resolver", &[]),
        ("resolver", &["127.0.0.1:0", "boat.test"]),
        ("resolver", &["127.0.0.1:0", "boat.test=nowhere"]),
    ];
    for (name, arguments) in wrong {
        let output = example(name).args(arguments).output().expect("starts");
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage: "), "{output:?}");
    }
}

/// Says a line to the TLS server by `openssl s_client`, which must get it back.
fn s_client(server: &Server, trusted: Option<&str>) -> bool {
    let Some(mut openssl) = tool("openssl") else { return false };
    openssl.args(["s_client", "-quiet", "-no_ign_eof", "-servername", "localhost"]);
    openssl.args(["-connect", &server.address.to_string()]);
    if let Some(trusted) = trusted {
        openssl.args(["-verify_return_error", "-CAfile", trusted]);
    }
    let mut process =
        openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let (mut input, mut output) =
        (process.stdin.take().expect("is piped"), process.stdout.take().expect("is piped"));
    input.write_all(b"over TLS and back\n").expect("takes a line");
    let mut line = [0; 18];
    let read = output.read_exact(&mut line);
    drop(input);
    let ended = process.wait_with_output().expect("ends");
    assert!(read.is_ok() && &line == b"over TLS and back\n", "{}", String::from_utf8_lossy(&ended.stderr));
    true
}

#[test]
fn tls_echo_talks_to_openssl_with_its_own_certificate_and_with_one_from_files() {
    let server = Server::start("tls_echo");
    if !s_client(&server, None) {
        return;
    }
    let directory = std::env::temp_dir().join(format!("narrowboat-tls-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("there is room");
    let file = |name: &str| directory.join(name).to_string_lossy().into_owned();
    let (certificate, key) = (file("certificate.pem"), file("key.pem"));
    let mut openssl = tool("openssl").expect("was just used");
    let made =
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    output_of(made.args(["-subj", "/CN=localhost", "-days", "2", "-out", &certificate, "-keyout", &key]));
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$3\" \"$1\" \"$2\""]).arg(example("tls_echo").get_program());
    let server = Server::start_as(command.args([&certificate, &key]));
    s_client(&server, Some(&certificate));
    let _ = std::fs::remove_dir_all(&directory);
}

#[test]
fn tls_echo_survives_clients_that_do_not_speak_tls() {
    let server = Server::start("tls_echo");
    for garbage in [HELLO, b"", b"\x16\x03\x01"] {
        let mut stream = server.connect();
        stream.write_all(garbage).expect("takes it");
        stream.shutdown(Shutdown::Write).expect("half-closes");
        let _ = stream.read_to_end(&mut Vec::new());
    }
    s_client(&server, None);
}

type Guest = WebSocket<TcpStream>;

fn join(server: &Server) -> Guest {
    let url = format!("ws://{}/", server.address);
    let (mut guest, _) = tungstenite::client(url, server.connect()).expect("is welcome");
    assert!(hear(&mut guest).contains(" has joined, "));
    guest
}

fn hear(guest: &mut Guest) -> String {
    loop {
        match guest.read().expect("something is said") {
            Message::Text(text) => return text.as_str().to_owned(),
            _ => continue,
        }
    }
}

#[test]
fn a_chat_tells_all_guests() {
    let server = Server::start("websocket_chat");
    let mut guests: Vec<_> = (0..20).map(|_| join(&server)).collect();
    for (i, guest) in guests.iter_mut().enumerate() {
        for _ in i + 1..20 {
            assert!(hear(guest).contains(" has joined, "));
        }
    }
    guests[7].send(Message::text("hello, all")).expect("takes it");
    for guest in &mut guests {
        assert_eq!(hear(guest), "guest 8: hello, all");
    }
    guests[3].send(Message::Ping("there?".into())).expect("takes it");
    assert_eq!(guests[3].read().expect("answers"), Message::Pong("there?".into()));
    let mut leaver = guests.pop().expect("there are some");
    leaver.close(None).expect("says good-bye");
    while leaver.read().is_ok() {}
    for guest in &mut guests {
        assert_eq!(hear(guest), "* guest 20 has left");
    }
    // Not a word more than is allowed, and then without that guest.
    guests[0].send(Message::text("x".repeat(100_000))).expect("takes it");
    for guest in &mut guests[1..] {
        assert_eq!(hear(guest), "* guest 1 has left");
    }
}

#[test]
fn a_guest_that_does_not_read_stalls_no_other() {
    let server = Server::start("websocket_chat");
    let mut talker = join(&server);
    let slow = join(&server);
    assert!(hear(&mut talker).contains("guest 2 has joined"));
    let text = "x".repeat(32 << 10);
    // Far more than sockets and the outbox hold.
    for _ in 0..20_000 {
        talker.send(Message::text(text.clone())).expect("takes it");
        let heard = hear(&mut talker);
        if heard == "* guest 2 has left" {
            return;
        }
        assert!(heard.starts_with("guest 1: x"), "{heard:.100}");
    }
    drop(slow);
    panic!("the slow one should have been shown the door");
}

/// What the server says at the end of a connection on which a guest sent this: the code of its close
/// frame.
fn close_code(server: &Server, bytes: &[u8]) -> u16 {
    let mut guest = join(server);
    guest.get_mut().write_all(bytes).expect("takes it");
    loop {
        match guest.read() {
            Ok(Message::Close(frame)) => return frame.expect("says why").code.into(),
            Ok(_) => {}
            Err(error) => panic!("no close frame: {error}"),
        }
    }
}

#[test]
fn a_guest_that_breaks_the_rules_is_told_which() {
    let server = Server::start("websocket_chat");
    // A frame without a mask, an opcode that does not exist, and a ping in pieces.
    for frame in [&b"\x81\x01x"[..], b"\x83\x81\0\0\0\0x", b"\x09\x81\0\0\0\0x"] {
        assert_eq!(close_code(&server, frame), 1002, "{frame:?}");
    }
    assert_eq!(close_code(&server, b"\x81\x81\0\0\0\0\xff"), 1007, "text that is not UTF-8");
    // A message of 100,000 bytes, all of which are sent.
    let mut large = b"\x81\xff\0\0\0\0\0\x01\x86\xa0\0\0\0\0".to_vec();
    large.resize(large.len() + 100_000, b'x');
    assert_eq!(close_code(&server, &large), 1009);
    // The others go on.
    let mut guest = join(&server);
    guest.send(Message::text("still here")).expect("takes it");
    loop {
        if hear(&mut guest).ends_with(": still here") {
            return;
        }
    }
}
