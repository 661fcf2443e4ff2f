//! Every example, run as a real process and used by a real client.
//!
//! `cargo test` builds the examples; `cargo test --test examples` alone does not, so a missing one is named.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{eventually, sized};

/// The example, as a command. It stands beside the directory of this test binary.
fn example(name: &str) -> Command {
    let mut path: PathBuf = std::env::current_exe().expect("a test knows its binary");
    path.pop();
    path.pop();
    path.extend(["examples", name]);
    assert!(
        path.exists(),
        "{} is missing: `cargo build --examples` (same profile) builds it",
        path.display()
    );
    Command::new(path)
}

/// Runs a program to its end, which must be a success, and returns what it printed on stdout.
fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// A tool that is not Rust's. If it is not installed the test says so on the real stderr, which the test harness does
/// not capture; where `NARROWBOAT_REQUIRE_TOOLS` is set, as in the project's own checks, that is a failure.
fn tool(name: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(name).is_file()) {
        return Some(Command::new(name));
    }
    assert!(std::env::var_os("NARROWBOAT_REQUIRE_TOOLS").is_none(), "{name} is required and not installed");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {name} not found");
    None
}

/// An example that listens, killed when the test is over.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(name: &str) -> Server {
        Server::start_as(&mut example(name))
    }

    fn start_as(command: &mut Command) -> Server {
        let mut process = command.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().expect("starts");
        let mut lines = BufReader::new(process.stdout.take().expect("is piped"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("says something");
        // Kept empty from here on, or the server would block in a full pipe.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let address = first.trim().strip_prefix("listening on ").and_then(|address| address.parse().ok());
        let Some(address) = address else {
            let _ = process.kill();
            panic!("{command:?} should say where it listens, not {first:?}");
        };
        Server { process, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("accepts");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes a timeout");
        stream
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn threads(&self) -> usize {
        self.proc("status")
            .lines()
            .find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok())
            .expect("is there")
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).expect("the server runs")
    }

    /// Every trace of activity that the kernel keeps: processor time, and how often each thread slept or was preempted.
    fn activity(&self) -> Vec<String> {
        let stat = self.proc("stat");
        let after_name = stat.rsplit(')').next().expect("stat has a name");
        let mut trace: Vec<String> =
            after_name.split_whitespace().skip(11).take(2).map(String::from).collect();
        for task in std::fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("the server runs") {
            let status = task.and_then(|task| std::fs::read_to_string(task.path().join("status")));
            let status = status.unwrap_or_default();
            trace.extend(status.lines().filter(|line| line.contains("ctxt_switches")).map(String::from));
        }
        trace
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One reply of an HTTP server: status line and headers, then a body of the length that they give.
struct Reply {
    head: String,
    body: String,
}

fn read_head(stream: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = stream.read_line(&mut head).expect("a reply comes");
        assert_ne!(read, 0, "closed in the middle of a head: {head:?}");
    }
    head
}

fn read_reply(stream: &mut impl BufRead) -> Reply {
    let head = read_head(stream);
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("has a length");
    let mut body = vec![0; length.parse().expect("is a number")];
    stream.read_exact(&mut body).expect("the whole body comes");
    Reply { head, body: String::from_utf8(body).expect("is text") }
}

const HELLO: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";

#[track_caller]
fn assert_hello(reply: &Reply) {
    assert!(reply.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", reply.head);
    assert_eq!(reply.body, "Hello from a goroutine!\n");
}

/// Sends `request` on a connection of its own, and returns the reply and whether the server then closed.
fn request(server: &Server, request: &[u8]) -> (Reply, bool) {
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
fn hello_prints_its_result() {
    assert_eq!(output_of(&mut example("hello")), "hello from goroutines: 23 letters\n");
}

#[test]
fn hello_stands_in_the_readme_as_it_is() {
    let (_, program) =
        include_str!("../examples/hello.rs").split_once("\n").expect("a comment, then the program");
    assert!(
        include_str!("../README.md").contains(program),
        "README.md shows another program than examples/hello.rs"
    );
}

#[test]
fn sieve_finds_the_2000th_prime() {
    assert_eq!(output_of(example("sieve").arg("2000")), "17389\n");
}

#[test]
fn sieve_refuses_nonsense() {
    for nonsense in ["0", "-1", "prime"] {
        let status = example("sieve").arg(nonsense).stderr(Stdio::null()).status().expect("starts");
        assert_eq!(status.code(), Some(2), "{nonsense}");
    }
}

#[test]
fn million_wakes_them_all() {
    let count = sized(20_000, 20_000) as u64;
    let output = output_of(example("million").arg(count.to_string()));
    assert!(output.contains(&format!("sum {}, right", count * (count + 1) / 2)), "{output}");
    assert!(output.contains("bytes each"), "{output}");
}

#[test]
fn echo_serves_200_connections_at_once() {
    let server = Server::start("echo_server");
    let mut streams: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
    for round in 0..3 {
        for (i, stream) in streams.iter_mut().enumerate() {
            write!(stream, "{round} from {i:03}").expect("takes a message");
        }
        for (i, stream) in streams.iter_mut().enumerate() {
            let expected = format!("{round} from {i:03}");
            let mut received = vec![0; expected.len()];
            stream.read_exact(&mut received).expect("echoes");
            assert_eq!(String::from_utf8_lossy(&received), expected);
        }
    }
    assert!(server.threads() < 64, "{} threads", server.threads());
}

#[test]
fn echo_returns_a_megabyte_and_then_the_end() {
    let server = Server::start("echo_server");
    let mut stream = server.connect();
    let sent: Vec<u8> = (0..1 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut writer = stream.try_clone().expect("a socket clones");
    let outgoing = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&outgoing).expect("takes it all");
        writer.shutdown(Shutdown::Write).expect("half-closes");
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).expect("comes back");
    writing.join().expect("the writer ends");
    assert!(received == sent, "{} bytes came back, {} were sent", received.len(), sent.len());
}

#[test]
fn http_keeps_a_connection_alive() {
    let server = Server::start("http_server");
    let mut stream = BufReader::new(server.connect());
    for _ in 0..50 {
        stream.get_mut().write_all(HELLO).expect("takes a request");
        assert_hello(&read_reply(&mut stream));
    }
    stream.get_mut().write_all(b"GET /stats HTTP/1.1\r\nHost: test\r\n\r\n").expect("takes a request");
    let stats = read_reply(&mut stream).body;
    assert!(stats.starts_with("50 in all, 1 connections, "), "{stats}");
}

#[test]
fn http_answers_ten_pipelined_requests() {
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
fn http_takes_a_request_cut_at_any_byte() {
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
fn http_takes_a_request_byte_by_byte() {
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
fn http_head_has_no_body() {
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
fn http_closes_when_it_should_and_only_then() {
    let server = Server::start("http_server");
    let cases: [(&[u8], &str, bool); 12] = [
        (b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", "200", false),
        (b"GET /?query HTTP/1.1\r\nHost: test\r\n\r\n", "200", false),
        (b"GET /nowhere HTTP/1.1\r\nHost: test\r\n\r\n", "404", false),
        (b"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, close\r\n\r\n", "200", true),
        (b"GET / HTTP/1.0\r\n\r\n", "200", true),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200", false),
        (b"GET / HTTP/1.1\r\n\r\n", "400", true),
        (b"nonsense\x01\r\n\r\n", "400", true),
        (b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: +5\r\n\r\nhello", "400", true),
        (
            b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "400",
            true,
        ),
        (b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "501", true),
        (b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1048577\r\n\r\n", "413", true),
    ];
    for (sent, status, closes) in cases {
        let (reply, closed) = request(&server, sent);
        let text = String::from_utf8_lossy(sent);
        assert!(reply.head.starts_with(&format!("HTTP/1.1 {status} ")), "{text}: {}", reply.head);
        let said = reply.head.contains("\r\nConnection: close\r\n");
        assert_eq!((closed, said), (closes, closes), "{text}: closed, and said so");
    }
}

#[test]
fn http_refuses_an_oversized_head_and_hurts_nobody() {
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
fn http_reads_a_body_to_its_limit() {
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
fn http_asks_for_a_body_that_waits_to_be_asked_for() {
    let server = Server::start("http_server");
    let mut stream = BufReader::new(server.connect());
    let head = b"PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    stream.get_mut().write_all(head).expect("takes a head");
    assert_eq!(read_head(&mut stream), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.get_mut().write_all(b"abc").expect("takes a body");
    assert_eq!(read_reply(&mut stream).body, "dropped 3 bytes\n");
}

#[test]
fn http_serves_500_connections_on_few_threads() {
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
fn http_sleeps_while_its_connections_are_idle() {
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
fn servers_survive_running_out_of_descriptors() {
    for name in ["echo_server", "http_server"] {
        let mut limited = Command::new("sh");
        let server = example(name).get_program().to_owned();
        limited.args(["-c", "ulimit -n 50 && exec \"$0\" \"$1\" 2>/dev/null"]).arg(server);
        let server = Server::start_as(&mut limited);
        // The kernel completes the handshakes; the server can accept only the first of them.
        let mut streams: Vec<_> = (0..100).map(|_| BufReader::new(server.connect())).collect();
        for stream in &mut streams {
            stream.get_mut().write_all(HELLO).expect("takes a request");
        }
        assert!(
            streams[0].fill_buf().is_ok_and(|reply| !reply.is_empty()),
            "{name} serves those that it has"
        );
        // Each one that goes makes room for one that waits, to the last.
        for mut stream in streams {
            assert!(stream.fill_buf().is_ok_and(|reply| !reply.is_empty()), "{name} serves all in the end");
        }
    }
}

#[test]
fn http_counts_connections_that_end() {
    let server = Server::start("http_server");
    drop((0..50).map(|_| server.connect()).collect::<Vec<_>>());
    eventually("only our own connection is open", || {
        let (reply, _) = request(&server, b"GET /stats HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        reply.body.contains(" 1 connections, ")
    });
}

#[test]
fn http_talks_to_curl() {
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
    let again = curl(&[&url, &url, "-w", "%{num_connects} new\n"]).expect("is there");
    assert!(
        again.ends_with("Hello from a goroutine!\n0 new\n"),
        "the second request reuses the connection: {again}"
    );
}

#[test]
fn http_stands_up_to_wrk() {
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
