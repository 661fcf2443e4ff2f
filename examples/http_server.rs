//! A small HTTP/1.1 server: keep-alive, pipelining, limits, and a line of statistics each second while there is traffic.
//!
//!     cargo run --release --example http_server -- 127.0.0.1:8080
//!     curl -i http://127.0.0.1:8080/                                  in a second terminal
//!     wrk -c 1000 -d 10 http://127.0.0.1:8080/
//!
//! `/` says hello, `/stats` counts; a body (Content-Length, up to 1 MiB) is read and dropped, a chunked one refused.

use narrowboat::chan::{self, Receiver, Sender};
use narrowboat::net::{TcpListener, TcpStream};
use narrowboat::{go, num_goroutines, time};
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const MAX_HEAD: usize = 16 * 1024;
const MAX_BODY: usize = 1024 * 1024;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    narrowboat::run(|| serve(address))
}

fn serve(address: String) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    println!("listening on {address}\ntry: curl -i http://{address}/");
    let (traffic, seen) = chan::bounded(1);
    let stats = Arc::new(Stats { requests: 0.into(), open: 0.into(), watched: false.into(), traffic });
    go!(print_statistics(stats.clone(), seen));
    let mut pause = Duration::from_millis(10);
    loop {
        match listener.accept() {
            Ok((stream, _peer)) => {
                pause = Duration::from_millis(10);
                let stats = stats.clone();
                go!(move || {
                    stats.open.fetch_add(1, SeqCst);
                    // A connection that breaks is its client's business.
                    let _ = serve_connection(stream, &stats);
                    stats.open.fetch_sub(1, SeqCst);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely. Those that are open are served on; some of them will close.
                eprintln!("cannot accept: {error}; trying again in {pause:?}");
                time::sleep(pause);
                pause = (2 * pause).min(Duration::from_millis(100));
            }
        }
    }
}

/// One goroutine: reads what has come, answers every request that is complete in it with one write, and parks in
/// the next read. Meanwhile it holds no buffer on its stack, because a parked goroutine is as large as its live stack.
fn serve_connection(mut stream: TcpStream, stats: &Stats) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut dialogue = Dialogue::default();
    loop {
        let received = stream.read(dialogue.room())?;
        if received == 0 {
            return Ok(());
        }
        let go_on = dialogue.answer(received, stats);
        stream.write_all(&dialogue.output)?;
        dialogue.output.clear();
        if !go_on {
            return hang_up(stream);
        }
    }
}

/// Closes, but not in the face of a client that is still sending: unread input would reset the connection, and the
/// reset could overtake our answer.
fn hang_up(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut rest = vec![0; 4096];
    for _ in 0..256 {
        if stream.read(&mut rest)? == 0 {
            break;
        }
    }
    Ok(())
}

/// The bytes of one connection: `input[start..end]` is not answered yet, `output` not yet written.
#[derive(Default)]
struct Dialogue {
    input: Vec<u8>,
    start: usize,
    end: usize,
    output: Vec<u8>,
    /// The answer to the request whose body is being read.
    current: Option<Answer>,
}

impl Dialogue {
    /// Where the next bytes go. Starts at 512 bytes, since most connections idle; doubles as far as a head may reach.
    fn room(&mut self) -> &mut [u8] {
        self.input.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.input.len() {
            self.input.resize((2 * self.end).clamp(512, MAX_HEAD), 0);
        }
        &mut self.input[self.end..]
    }

    /// Answers all that can be answered after `received` more bytes; false if the connection is to be closed then.
    // Not inlined: its frame is large, and the caller parks.
    #[inline(never)]
    fn answer(&mut self, received: usize, stats: &Stats) -> bool {
        self.end += received;
        let (mut answered, mut go_on) = (0, true);
        while go_on {
            let Some(mut answer) = self.current.take().or_else(|| self.next(stats)) else { break };
            let here = answer.unread.min(self.end - self.start);
            self.start += here;
            answer.unread -= here;
            if answer.unread > 0 {
                self.current = Some(answer);
                break;
            }
            answered += 1;
            go_on = answer.keep_alive;
            answer.write(&mut self.output);
        }
        stats.count(answered);
        go_on
    }

    /// The answer to the next request, once its head is complete or hopeless.
    fn next(&mut self, stats: &Stats) -> Option<Answer> {
        let (head, answer) = match parse(&self.input[self.start..self.end], stats) {
            Ok(complete) => complete?,
            Err(status) => (0, Answer { status, text: status.into(), ..Answer::default() }),
        };
        self.start += head;
        if answer.body_on_demand && self.start == self.end {
            self.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        Some(answer)
    }
}

/// An answer, to be written when the `unread` bytes left of its request's body have come and gone.
#[derive(Default)]
struct Answer {
    status: &'static str,
    text: Cow<'static, str>,
    head_only: bool,
    keep_alive: bool,
    body_on_demand: bool,
    unread: usize,
}

impl Answer {
    fn write(self, output: &mut Vec<u8>) {
        let (status, length) = (self.status, self.text.len() + 1);
        let connection = if self.keep_alive { "keep-alive" } else { "close" };
        write!(output, "HTTP/1.1 {status}\r\nConnection: {connection}\r\nContent-Length: {length}\r\n")
            .and_then(|()| output.write_all(b"Content-Type: text/plain\r\n\r\n"))
            .and_then(|()| if self.head_only { Ok(()) } else { writeln!(output, "{}", self.text) })
            .expect("a vector takes everything");
    }
}

/// Reads the head at the start of `bytes`: its length and the answer, `None` if more must come, or the refusing status.
fn parse(bytes: &[u8], stats: &Stats) -> Result<Option<(usize, Answer)>, &'static str> {
    const BAD: &str = "400 Bad Request";
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut headers);
    let head_length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err("431 Request Header Fields Too Large"),
        Err(_) => return Err(BAD),
    };
    let modern = head.version == Some(1);
    let (mut hosts, mut length, mut close, mut keep, mut expect) = (0, None, false, modern, false);
    for header in head.headers.iter() {
        let is = |name| header.name.eq_ignore_ascii_case(name);
        if is("Host") {
            hosts += 1;
        } else if is("Content-Length") {
            let digits =
                str::from_utf8(header.value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            let number: usize = digits.and_then(|text| text.parse().ok()).ok_or(BAD)?;
            // With two lengths that differ, a proxy before us may see other requests than we do.
            if length.replace(number).is_some_and(|other| other != number) {
                return Err(BAD);
            }
        } else if is("Transfer-Encoding") {
            return Err("501 Not Implemented");
        } else if is("Expect") {
            expect = modern && header.value.eq_ignore_ascii_case(b"100-continue");
        } else if is("Connection") {
            for option in header.value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                close |= option.eq_ignore_ascii_case(b"close");
                keep |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
    }
    let (method, target) = (head.method.unwrap_or_default(), head.path.unwrap_or_default());
    let unread = length.unwrap_or(0);
    let (status, text) = match (method, target.split('?').next()) {
        _ if modern && hosts != 1 => return Err(BAD),
        _ if unread > MAX_BODY => return Err("413 Content Too Large"),
        ("GET" | "HEAD", Some("/")) => ("200 OK", "Hello from a goroutine!".into()),
        ("GET" | "HEAD", Some("/stats")) => ("200 OK", stats.to_string().into()),
        ("POST" | "PUT", Some("/")) => ("200 OK", format!("dropped {unread} bytes").into()),
        _ => ("404 Not Found", "404 Not Found".into()),
    };
    let (head_only, keep_alive, body_on_demand) = (method == "HEAD", keep && !close, expect && unread > 0);
    Ok(Some((head_length, Answer { status, text, head_only, keep_alive, body_on_demand, unread })))
}

struct Stats {
    requests: AtomicU64,
    open: AtomicUsize,
    /// Whether the printer is awake, and so will see a request counted now.
    watched: AtomicBool,
    traffic: Sender<()>,
}

impl Stats {
    /// Counts first and looks second; the printer clears the flag first and looks second. So one of them sees the other.
    fn count(&self, requests: u64) {
        self.requests.fetch_add(requests, SeqCst);
        if requests > 0 && !self.watched.load(SeqCst) && !self.watched.swap(true, SeqCst) {
            let _ = self.traffic.try_send(());
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
        let (open, goroutines) = (self.open.load(SeqCst), num_goroutines());
        let requests = self.requests.load(SeqCst);
        write!(f, "{requests} in all, {open} connections, {goroutines} goroutines, {threads} threads")
    }
}

/// A line each second in which there was a request. Without any it is parked in the receive: an idle server sleeps.
fn print_statistics(stats: Arc<Stats>, traffic: Receiver<()>) {
    let mut before = 0;
    while traffic.recv().is_ok() {
        let start = Instant::now();
        time::sleep(Duration::from_secs(1));
        stats.watched.store(false, SeqCst);
        let requests = stats.requests.load(SeqCst);
        println!("{:.0} requests/s; {stats}", (requests - before) as f64 / start.elapsed().as_secs_f64());
        before = requests;
    }
}
