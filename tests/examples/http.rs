//! `http_server`, byte for byte and by curl and wrk.

use crate::reader::{Slice, Trace};
use crate::server::Server;
use crate::{example, output_of};
use narrowboat_testing::{eventually, tool};
use std::io::{self, BufRead, BufReader, Write};
use std::time::{Duration, Instant};

/// One reply of an HTTP server: status line and headers, then a body of the length that they give.
pub struct Reply {
    pub head: String,
    pub body: String,
}

/// Reads until the empty line, or fails if the connection breaks before.
fn try_read_head(stream: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("closed after {head:?}")));
        }
    }
    Ok(head)
}

pub fn read_head(stream: &mut impl BufRead) -> String {
    try_read_head(stream).expect("a reply comes")
}

/// Reads a reply, or fails if the connection breaks before its end.
pub fn try_read_reply(stream: &mut impl BufRead) -> io::Result<Reply> {
    let head = try_read_head(stream)?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("has a length");
    let mut body = vec![0; length.parse().expect("is a number")];
    stream.read_exact(&mut body)?;
    Ok(Reply { head, body: String::from_utf8(body).expect("is text") })
}

pub fn read_reply(stream: &mut impl BufRead) -> Reply {
    try_read_reply(stream).expect("a reply comes")
}

pub const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";

#[track_caller]
pub fn assert_hello(reply: &Reply) {
    assert!(reply.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", reply.head);
    assert_eq!(reply.body, "Hello from a goroutine!\n");
}

/// Sends `request` on a connection of its own, and returns the reply and whether the server then closed.
pub fn request(server: &Server, request: &[u8]) -> (Reply, bool) {
    let mut stream = BufReader::new(server.connect());
    stream.get_mut().write_all(request).expect("takes a request");
    let reply = read_reply(&mut stream);
    // A server that keeps the connection answers this; one that closes sends its end of file.
    let _ = stream.get_mut().write_all(HELLO);
    let closed = match stream.fill_buf() {
        Ok(more) => more.is_empty(),
        Err(_) => true,
    };
    (reply, closed)
}

#[test]
fn keeps_a_connection_alive() {
    let server = Server::start("http_server");
    let mut stream = BufReader::new(server.connect());
    for _ in 0..50 {
        stream.get_mut().write_all(HELLO).expect("takes a request");
        assert_hello(&read_reply(&mut stream));
    }
    stream.get_mut().write_all(b"GET /stats HTTP/1.1\r\nHost: test\r\n\r\n").expect("takes a request");
    let stats = read_reply(&mut stream).body;
    assert!(stats.starts_with("50 requests in all, ") && stats.ends_with(", 1 connections\n"), "{stats}");
}

#[test]
fn answers_ten_pipelined_requests() {
    let server = Server::start("http_server");
    let mut stream = BufReader::new(server.connect());
    let mut requests = Vec::new();
    for i in 0..10 {
        if i % 2 == 0 {
            requests.extend_from_slice(HELLO);
        } else {
            write!(requests, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {i}\r\n\r\n{}", "x".repeat(i))
                .unwrap();
        }
    }
    stream.get_mut().write_all(&requests).expect("takes them");
    for i in 0..10 {
        let reply = read_reply(&mut stream);
        if i % 2 == 0 {
            assert_hello(&reply);
        } else {
            assert_eq!(reply.body, format!("dropped {i} bytes\n"));
        }
    }
}

#[test]
fn takes_a_request_cut_at_any_byte() {
    let server = Server::start("http_server");
    let whole = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nab\r\nc";
    // All at once, because each has to wait between its halves.
    let mut streams: Vec<_> = (1..whole.len()).map(|cut| (cut, BufReader::new(server.connect()))).collect();
    for (cut, stream) in &mut streams {
        stream.get_mut().set_nodelay(true).expect("a socket takes options");
        stream.get_mut().write_all(&whole[..*cut]).expect("takes the first half");
    }
    std::thread::sleep(Duration::from_millis(100));
    for (cut, stream) in &mut streams {
        stream.get_mut().write_all(&whole[*cut..]).expect("takes the second half");
        stream.get_mut().write_all(HELLO).expect("takes another request");
        assert_eq!(read_reply(stream).body, "dropped 5 bytes\n", "cut at {cut}");
        assert_hello(&read_reply(stream));
    }
}

#[test]
fn takes_a_request_byte_by_byte() {
    let server = Server::start("http_server");
    let mut stream = BufReader::new(server.connect());
    stream.get_mut().set_nodelay(true).expect("a socket takes options");
    for byte in HELLO {
        stream.get_mut().write_all(&[*byte]).expect("takes a byte");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_hello(&read_reply(&mut stream));
}

#[test]
fn head_has_no_body() {
    let server = Server::start("http_server");
    let mut stream = BufReader::new(server.connect());
    stream.get_mut().write_all(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n").expect("takes a request");
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("\r\nContent-Length: 24\r\n"), "{head}");
    // Were there a body, it would stand where the next reply begins.
    stream.get_mut().write_all(HELLO).expect("takes another request");
    assert_hello(&read_reply(&mut stream));
}

#[test]
fn closes_when_it_should_and_only_then() {
    let server = Server::start("http_server");
    let get = |rest: &str| format!("GET / HTTP/1.1\r\nHost: test\r\n{rest}\r\n");
    let post = |rest: &str| format!("POST / HTTP/1.1\r\nHost: test\r\n{rest}");
    let chunked = |rest: &str| post(&format!("Transfer-Encoding: chunked\r\n{rest}"));
    let cases = [
        (get(""), "200", false),
        (get("").replace("/ H", "/?query H"), "200", false),
        (get("").replace("/ H", "http://test/?query H"), "200", false),
        (get("").replace("/ H", "/nowhere H"), "404", false),
        (get("").replace("GET", "DELETE"), "405", false),
        (get("").replace("/ H", "/echo H"), "405", false),
        (get("Connection: Upgrade, close\r\n"), "200", true),
        ("GET / HTTP/1.0\r\n\r\n".into(), "200", true),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".into(), "200", false),
        ("GET / HTTP/1.1\r\n\r\n".into(), "400", true),
        (get("Host: twice\r\n"), "400", true),
        ("nonsense\x01\r\n\r\n".into(), "400", true),
        (get("").replace("1.1", "3.0"), "505", true),
        (format!("GET /{}", "x".repeat(40_000)), "414", true),
        (get("Expect: wonders\r\n"), "417", true),
        (post("Content-Length: +5\r\n\r\nhello"), "400", true),
        (post("Content-Length: \r\n\r\n"), "400", true),
        (post("Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), "400", true),
        (post("Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"), "200", false),
        (post("Content-Length: 1048577\r\n\r\n"), "413", true),
        (post("Content-Length: 99999999999999999999999\r\n\r\n"), "413", true),
        (post("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), "501", true),
        (chunked("\r\n0\r\n\r\n"), "200", false),
        (chunked("\r\n0\r\nX-Trailer: dropped\r\n\r\n"), "200", false),
        (chunked("Content-Length: 5\r\n\r\n0\r\n\r\n"), "400", true),
        (chunked("\r\n0\r\n\r\n").replace("1.1", "1.0"), "400", true),
        (chunked("\r\nxyz\r\n"), "400", true),
        (chunked("\r\n3\r\nabcdef\r\n"), "400", true),
        (chunked("\r\n100001\r\n"), "413", true),
        (chunked("\r\nfffffffffffffffff\r\n"), "400", true),
        (chunked(&format!("\r\n1;{}", "x".repeat(4_000))), "400", true),
        (chunked(&format!("\r\n0\r\nX: {}", "x".repeat(20_000))), "431", true),
    ];
    for (sent, status, closes) in cases {
        let (reply, closed) = request(&server, sent.as_bytes());
        let text = &sent[..sent.len().min(200)];
        assert!(reply.head.starts_with(&format!("HTTP/1.1 {status} ")), "{text}: {}", reply.head);
        let said = reply.head.contains("\r\nConnection: close\r\n");
        assert_eq!((closed, said), (closes, closes), "{text}: closed, and said so");
    }
}

#[test]
fn refuses_an_oversized_head_and_hurts_no_other() {
    let server = Server::start("http_server");
    let mut bystander = BufReader::new(server.connect());
    bystander.get_mut().write_all(&HELLO[..10]).expect("takes half a request");

    let oversized = format!("GET / HTTP/1.1\r\nHost: test\r\nX-Padding: {}\r\n\r\n", "x".repeat(40_000));
    let too_many = format!("GET / HTTP/1.1\r\nHost: test\r\n{}\r\n", "X: y\r\n".repeat(100));
    for head in [oversized, too_many] {
        let (reply, closed) = request(&server, head.as_bytes());
        assert!(reply.head.starts_with("HTTP/1.1 431 "), "{}", reply.head);
        assert!(closed);
    }
    let (reply, closed) = request(&server, b"\x16\x03\x01\x02\x00 what is this");
    assert!(reply.head.starts_with("HTTP/1.1 400 ") && closed, "{}", reply.head);
    // One that goes away in the middle.
    drop(bystander.get_ref().try_clone().map(|_| server.connect().write_all(&HELLO[..5])));

    bystander.get_mut().write_all(&HELLO[10..]).expect("takes the other half");
    assert_hello(&read_reply(&mut bystander));
}

#[test]
fn reads_a_body_to_its_limit() {
    let server = Server::start("http_server");
    let mut stream = BufReader::new(server.connect());
    let body = vec![b'x'; 1024 * 1024];
    for _ in 0..3 {
        let head = format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.get_mut().write_all(head.as_bytes()).expect("takes a head");
        stream.get_mut().write_all(&body).expect("takes a body");
        assert_eq!(read_reply(&mut stream).body, "dropped 1048576 bytes\n");
    }
}

#[test]
fn asks_for_a_body_that_waits_to_be_asked_for() {
    let server = Server::start("http_server");
    let mut stream = BufReader::new(server.connect());
    let head = b"PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    stream.get_mut().write_all(head).expect("takes a head");
    assert_eq!(read_head(&mut stream), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.get_mut().write_all(b"abc").expect("takes a body");
    assert_eq!(read_reply(&mut stream).body, "dropped 3 bytes\n");
}

#[test]
fn takes_chunks_cut_at_any_byte() {
    let server = Server::start("http_server");
    let whole = b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
        5;why=not\r\nhello\r\n0A\r\n, chunks\r\n\r\n1\r\n!\r\n000\r\nX-Trailer: x\r\n\r\n";
    let mut streams: Vec<_> = (1..whole.len()).map(|cut| (cut, BufReader::new(server.connect()))).collect();
    for (cut, stream) in &mut streams {
        stream.get_mut().set_nodelay(true).expect("a socket takes options");
        stream.get_mut().write_all(&whole[..*cut]).expect("takes the first half");
    }
    std::thread::sleep(Duration::from_millis(100));
    for (cut, stream) in &mut streams {
        stream.get_mut().write_all(&whole[*cut..]).expect("takes the second half");
        stream.get_mut().write_all(HELLO).expect("takes another request");
        assert_eq!(read_reply(stream).body, "hello, chunks\r\n!", "cut at {cut}");
        assert_hello(&read_reply(stream));
    }
}

#[test]
fn echoes_a_megabyte_in_chunks_many_times() {
    let server = Server::start("http_server");
    let mut stream = BufReader::new(server.connect());
    let text: String = (0..1 << 20).map(|i: u32| char::from(b'a' + (i % 26) as u8)).collect();
    let mut request = b"PUT /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in text.as_bytes().chunks(10_007) {
        write!(request, "{:x}\r\n", chunk.len()).expect("a vector takes everything");
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    for _ in 0..3 {
        stream.get_mut().write_all(&request).expect("takes a request");
        assert!(read_reply(&mut stream).body == text, "another text came back");
    }
}

/// Starts a server of which `options` make something short.
fn impatient(options: &[&str]) -> (Server, Instant) {
    (Server::start_with("http_server", options), Instant::now())
}

#[test]
fn closes_a_connection_that_idles() {
    let (server, start) = impatient(&["--idle-timeout", "0.2"]);
    let mut stream = BufReader::new(server.connect());
    stream.get_mut().write_all(HELLO).expect("takes a request");
    assert_hello(&read_reply(&mut stream));
    assert!(stream.fill_buf().expect("ends in order").is_empty());
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[test]
fn gives_up_a_request_that_drips() {
    let (server, start) = impatient(&["--request-timeout", "0.5"]);
    let mut stream = BufReader::new(server.connect());
    stream.get_mut().set_nodelay(true).expect("a socket takes options");
    let mut dripping = stream.get_ref().try_clone().expect("a socket clones");
    let drip = std::thread::spawn(move || {
        // More bytes than there is time for; they stop when the server has hung up.
        let head = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n";
        let drops = head.bytes().chain(std::iter::repeat(b'x'));
        for byte in drops {
            if dripping.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    assert!(read_reply(&mut stream).head.starts_with("HTTP/1.1 408 "));
    assert!(start.elapsed() >= Duration::from_millis(500));
    drop(stream);
    drip.join().expect("the drip ends");
}

#[test]
fn lets_a_busy_connection_live_whatever_is_half_sent_behind_each_request() {
    let (server, start) = impatient(&["--request-timeout", "0.5"]);
    let mut stream = BufReader::new(server.connect());
    stream.get_mut().write_all(&HELLO[..10]).expect("takes half a request");
    while start.elapsed() < Duration::from_millis(1500) {
        stream.get_mut().write_all(&HELLO[10..]).expect("takes the other half");
        stream.get_mut().write_all(&HELLO[..10]).expect("takes half a request");
        assert_hello(&read_reply(&mut stream));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn tells_one_connection_too_many() {
    let server = Server::start_with("http_server", &["--max-connections", "3"]);
    let mut streams: Vec<_> = (0..3).map(|_| BufReader::new(server.connect())).collect();
    for stream in &mut streams {
        stream.get_mut().write_all(HELLO).expect("takes a request");
        assert_hello(&read_reply(stream));
    }
    let (reply, closed) = request(&server, HELLO);
    assert!(reply.head.starts_with("HTTP/1.1 503 ") && reply.head.contains("\r\nRetry-After: 1\r\n"));
    assert!(closed);
    streams.pop();
    eventually("there is room again", || request(&server, HELLO).0.head.starts_with("HTTP/1.1 200 "));
    for stream in &mut streams {
        stream.get_mut().write_all(HELLO).expect("takes a request");
        assert_hello(&read_reply(stream));
    }
}

/// Asks for a nap, and returns when it has begun: the answer to what stands before it is written then.
fn fall_asleep(stream: &mut BufReader<std::net::TcpStream>, milliseconds: u32) {
    let mut requests = HELLO.to_vec();
    write!(requests, "GET /sleep/{milliseconds} HTTP/1.1\r\nHost: test\r\n\r\n").expect("a vector takes all");
    stream.get_mut().write_all(&requests).expect("takes two requests");
    assert_hello(&read_reply(stream));
}

#[test]
fn finishes_what_is_under_way_when_told_to_end() {
    for signal in ["INT", "TERM"] {
        let mut server = Server::start("http_server");
        let mut idle = BufReader::new(server.connect());
        let mut sleeping = BufReader::new(server.connect());
        let mut sending = BufReader::new(server.connect());
        idle.get_mut().write_all(HELLO).expect("takes a request");
        assert_hello(&read_reply(&mut idle));
        fall_asleep(&mut sleeping, 1000);
        let half = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
        sending.get_mut().write_all(half).expect("takes half a request");
        assert!(read_head(&mut sending).starts_with("HTTP/1.1 100 "));

        server.signal(signal);
        assert!(idle.fill_buf().expect("ends in order").is_empty(), "an idle connection is closed");
        eventually("nothing listens any more", || std::net::TcpStream::connect(server.address).is_err());
        sending.get_mut().write_all(b"hello").expect("takes the other half");
        for (stream, body) in [(&mut sending, "dropped 5 bytes\n"), (&mut sleeping, "slept 1s\n")] {
            let reply = read_reply(stream);
            assert_eq!(reply.body, body);
            assert!(reply.head.contains("\r\nConnection: close\r\n"), "{}", reply.head);
        }
        drop((sending, sleeping));
        assert!(server.wait().success());
        eventually("says so", || server.output().contains("every connection has ended"));
    }
}

#[test]
fn ends_without_those_that_take_too_long() {
    let mut server = Server::start_with("http_server", &["--grace", "0.2"]);
    let mut stream = BufReader::new(server.connect());
    fall_asleep(&mut stream, 60_000);
    server.signal("TERM");
    assert!(server.wait().success());
    eventually("says so", || server.output().contains("cut off 1 connections"));

    let mut server = Server::start("http_server");
    let mut stream = BufReader::new(server.connect());
    fall_asleep(&mut stream, 60_000);
    server.signal("TERM");
    eventually("says what it waits for", || server.output().contains("a second signal"));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(1));
}

#[test]
fn refuses_options_that_it_does_not_know() {
    for arguments in [&["--nonsense"][..], &["--idle-timeout"], &["--idle-timeout", "0"], &["--grace", "x"]] {
        let status =
            crate::example("http_server").args(arguments).stderr(std::process::Stdio::null()).status();
        assert_eq!(status.expect("starts").code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn serves_500_connections_on_few_threads() {
    let server = Server::start("http_server");
    let mut streams: Vec<_> = (0..500).map(|_| BufReader::new(server.connect())).collect();
    for _ in 0..3 {
        for stream in &mut streams {
            stream.get_mut().write_all(HELLO).expect("takes a request");
        }
        for stream in &mut streams {
            assert_hello(&read_reply(stream));
        }
    }
    assert!(server.threads() < 64, "{} threads", server.threads());
}

#[test]
fn sleeps_while_its_connections_are_idle() {
    let server = Server::start("http_server");
    let mut streams: Vec<_> = (0..100).map(|_| BufReader::new(server.connect())).collect();
    for stream in &mut streams {
        stream.get_mut().write_all(HELLO).expect("takes a request");
        assert_hello(&read_reply(stream));
    }
    // The line of statistics about these requests comes within about a second. After that: nothing at all.
    let start = Instant::now();
    let mut before = server.activity();
    loop {
        std::thread::sleep(Duration::from_secs(2));
        let after = server.activity();
        if after == before {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "still awake: {before:?} became {after:?}");
        before = after;
    }
    for stream in &mut streams {
        stream.get_mut().write_all(HELLO).expect("takes a request");
        assert_hello(&read_reply(stream));
    }
}

#[test]
fn counts_connections_that_end() {
    let server = Server::start("http_server");
    drop((0..50).map(|_| server.connect()).collect::<Vec<_>>());
    eventually("only our own connection is open", || {
        let (reply, _) = request(&server, b"GET /stats HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        reply.body.contains(", 1 connections\n")
    });
}

#[test]
fn talks_to_curl() {
    let server = Server::start("http_server");
    let curl = |arguments: &[&str]| {
        let command =
            tool("curl")?.args(["-sS", "--max-time", "20", "--noproxy", "*"]).args(arguments).output();
        let output = command.expect("curl runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let url = server.url("/");
    let Some(reply) = curl(&["-i", &url]) else { return };
    assert!(
        reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("\r\n\r\nHello from a goroutine!\n"),
        "{reply}"
    );
    let head = curl(&["-I", &url]).expect("is there");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(curl(&["--http1.0", &url]).expect("is there"), "Hello from a goroutine!\n");
    assert_eq!(curl(&["--data", "abc", &url]).expect("is there"), "dropped 3 bytes\n");
    let echo = curl(&["--data", "in chunks", "-H", "Transfer-Encoding: chunked", &server.url("/echo")]);
    assert_eq!(echo.expect("is there"), "in chunks");
    let again = curl(&[&url, &url, "-w", "%{num_connects} new\n"]).expect("is there");
    assert!(
        again.ends_with("Hello from a goroutine!\n0 new\n"),
        "the second request reuses the connection: {again}"
    );
}

#[test]
fn serves_clients_of_its_own() {
    let output = output_of(example("http_server").args(["127.0.0.1:0", "--load", "200", "--load-for", "1"]));
    // The line that is printed each second may come after it.
    let replies: Option<u64> = output.lines().find_map(|line| {
        let (replies, _) = line.strip_prefix("200 clients: ")?.split_once(" replies, each of them right")?;
        replies.parse().ok()
    });
    // A client stops when its time is over, and that is after its first reply at the earliest.
    assert!(replies.is_some_and(|replies| replies >= 200), "{output}");
    assert!(output.contains("every connection has ended"), "{output}");
}

/// The server's own scheduler under load, as the trace viewer would see it. The reader refuses what is not well formed.
#[test]
fn writes_a_trace_under_load() {
    let path = std::env::temp_dir().join(format!("narrowboat-http-{}.perfetto-trace", std::process::id()));
    let mut server = Server::start_as(example("http_server").env("NARROWBOAT_TRACE", &path));
    let Some(mut wrk) = tool("wrk") else { return };
    output_of(wrk.args(["-t", "1", "-c", "64", "-d", "1s", "--timeout", "20s"]).arg(server.url("/")));
    server.signal("INT");
    assert!(server.wait().success());
    let trace = Trace::read(&std::fs::read(&path).expect("the trace is there")).expect("is well formed");
    std::fs::remove_file(&path).expect("was ours");
    assert_eq!(trace.left_over, 0);
    // Every reply is a turn of a connection's goroutine, which waits for the next request at its end.
    let waits = |slice: &&Slice| slice.texts.get("then").is_some_and(|then| then.contains("(read)"));
    let replies = trace.slices.iter().filter(waits).count();
    let woken = trace.slices.iter().filter(|slice| slice.arrow_to.is_some()).count();
    let lost: u64 = trace.named("events lost").map(|slice| slice.numbers["events"]).sum();
    assert!(lost > 0 || (replies > 500 && woken > 500), "{replies} waits, {woken} arrows");
    assert!(trace.named("polls").any(|poll| poll.numbers["events found"] > 0));
}

#[test]
fn stands_up_to_wrk() {
    let server = Server::start("http_server");
    let Some(mut wrk) = tool("wrk") else { return };
    let report =
        output_of(wrk.args(["-t", "2", "-c", "1000", "-d", "2s", "--timeout", "20s"]).arg(server.url("/")));
    let requests =
        report.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<u64>().ok());
    assert!(requests.is_some_and(|requests| requests > 1_000), "{report}");
    assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
    assert!(
        cfg!(not(target_os = "linux")) || server.threads() < 64,
        "{} threads\n{report}",
        server.threads()
    );
}
