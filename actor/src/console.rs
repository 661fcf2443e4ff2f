//! The debug console: a line protocol over TCP, after skynet's.
//!
//! A client sends a command a line. The reply is some lines, the last of which is `<CMD OK>` or
//! `<CMD Error>`.

use crate::info::ServiceInfo;
use crate::system::System;
use crate::table::AnyService;
use narrowboat_net::{TcpListener, TcpStream, ToSocketAddrs};
use narrowboat_runtime::{Builder, sleep};
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Clients at the same time; further ones are closed.
const CLIENTS: usize = 16;

/// A longer line closes the connection.
const LINE: u64 = 4096;

/// For how long a service may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long to wait when a connection cannot be accepted.
const PAUSE: Duration = Duration::from_millis(50);

/// How many services `list`, `mem` and the like show at most.
const SHOWN: usize = 1000;

const HELP: &str = "\
help             this list
list             the services: number, name, type
stat             mailbox, messages and time of each, the busiest first
info SERVICE     what a service says of itself, and its figures
task SERVICE     its message, and its handlers that wait
mem              memory of each, the largest first
ping SERVICE     how long a message takes through its mailbox
kill SERVICE     end a service
restart SERVICE  start a service anew, if it has a supervisor
quit             close this connection
SERVICE is a number, as in `list`, or a name
";

/// An open debug console, from [`System::console`]. It closes when this is dropped.
///
/// ```
/// let system = narrowboat::actor::System::new();
/// let console = system.console("127.0.0.1:0")?;
/// println!("nc {} {}", console.local_addr().ip(), console.local_addr().port());
/// # std::io::Result::Ok(())
/// ```
#[must_use = "the console closes when it is dropped"]
#[derive(Debug)]
pub struct Console {
    listener: Arc<TcpListener>,
    address: SocketAddr,
}

impl Console {
    pub(crate) fn open<A: ToSocketAddrs>(system: System, address: A) -> io::Result<Console> {
        let listener = Arc::new(TcpListener::bind(address)?);
        let console = Console { listener: listener.clone(), address: listener.local_addr()? };
        Builder::new().name("actor console").spawn(move || accept(&system, &listener))?;
        Ok(console)
    }

    /// Where it listens: with the port that the system chose, if the given one was 0.
    ///
    /// ```
    /// let console = narrowboat::actor::System::new().console("127.0.0.1:0")?;
    /// assert_ne!(console.local_addr().port(), 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.listener.close();
    }
}

fn accept(system: &System, listener: &TcpListener) {
    let clients = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // It has been closed.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return,
            Err(_) if listener.local_addr().is_err() => return,
            // Most likely there are no descriptors left.
            Err(_) => {
                sleep(PAUSE);
                continue;
            }
        };
        // Relaxed: a number and nothing else. Only this goroutine adds to it.
        if clients.load(Ordering::Relaxed) >= CLIENTS {
            continue;
        }
        clients.fetch_add(1, Ordering::Relaxed);
        let place = Place(clients.clone());
        let system = system.clone();
        // Without memory for a goroutine the client finds its connection closed.
        let _ = Builder::new().name("actor console: a client").spawn(move || {
            let _place = place;
            // A broken connection concerns only its client.
            let _ = serve(&system, &stream);
        });
    }
}

/// The place of a client among those that are admitted.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn serve(system: &System, stream: &TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut out = stream;
    out.write_all(b"Welcome to the console\n")?;
    loop {
        let mut line = String::new();
        (&mut reader).take(LINE).read_line(&mut line)?;
        let line = line.strip_suffix('\n').ok_or(io::ErrorKind::UnexpectedEof)?.trim();
        if line == "quit" || is_of_a_browser(line) {
            return Ok(());
        }
        if line.is_empty() {
            continue;
        }
        let (mut reply, end) = match command(system, line) {
            Ok(reply) => (reply, "<CMD OK>\n"),
            Err(reply) => (reply, "<CMD Error>\n"),
        };
        if !reply.is_empty() && !reply.ends_with('\n') {
            reply.push('\n');
        }
        reply.push_str(end);
        out.write_all(reply.as_bytes())?;
    }
}

/// Whether a line is of a request over HTTP. A page of the web could otherwise have the browser of
/// this machine send commands.
fn is_of_a_browser(line: &str) -> bool {
    let is_version = |word: &str| word.starts_with("HTTP/");
    line.split_whitespace().next_back().is_some_and(is_version) || line.to_lowercase().starts_with("host:")
}

/// Carries out a command. Returns the lines of its reply.
fn command(system: &System, line: &str) -> Result<String, String> {
    let mut words = line.split_whitespace();
    let command = words.next().unwrap_or_default();
    let argument = words.next();
    let service = || {
        let name = argument.ok_or_else(|| format!("usage: {command} SERVICE"))?;
        system.named_or_numbered(name).ok_or_else(|| format!("no service {name}"))
    };
    match command {
        "help" => Ok(HELP.to_owned()),
        "list" => Ok(table(system, |_| 0, |info| info.kind.to_owned())),
        "stat" => Ok(table(system, |info| info.busy.as_nanos(), figures)),
        "mem" => Ok(memory(system)),
        "info" => info(service()?),
        "task" => Ok(task(&service()?.snapshot())),
        "ping" => ping(service()?),
        "kill" => {
            service()?.end();
            Ok(String::new())
        }
        "restart" => match service()?.restart() {
            true => Ok(String::new()),
            false => Err("it has no supervisor".to_owned()),
        },
        _ => Err("unknown command; `help` lists them".to_owned()),
    }
}

/// A line for each service: those with the largest key first, and of the same key by number.
fn table(
    system: &System,
    key: impl Fn(&ServiceInfo) -> u128,
    columns: impl Fn(&ServiceInfo) -> String,
) -> String {
    let mut services = system.services();
    services.sort_by_key(|info| std::cmp::Reverse(key(info)));
    let mut text = String::new();
    for info in services.iter().take(SHOWN) {
        let name = info.name.as_deref().unwrap_or("-");
        let _ = writeln!(text, "{}\t{name}\t{}", info.id, columns(info));
    }
    if services.len() > SHOWN {
        let _ = writeln!(text, "and {} more", services.len() - SHOWN);
    }
    text
}

fn figures(info: &ServiceInfo) -> String {
    format!(
        "mailbox {}\thandled {}\twaiting {}\tbusy {:.1?}\tmean {:.1?}\tlongest {:.1?}",
        info.mailbox,
        info.handled,
        info.waiting.len(),
        info.busy,
        info.mean(),
        info.longest
    )
}

fn memory(system: &System) -> String {
    let lines = table(system, |info| info.memory as u128, |info| format!("{} bytes", info.memory));
    let all = system.info();
    format!("{} services\t{} bytes\n{lines}", all.services, all.memory)
}

fn info(service: Arc<dyn AnyService>) -> Result<String, String> {
    let answer = service.clone().ask().map_err(|error| error.to_string())?;
    let answer = answer.recv_timeout(PATIENCE);
    let of_service = service.snapshot();
    let mut text = format!(
        "service\t{}\nname\t{}\ntype\t{}\n{}\nlongest mailbox {}\tfailures {}\trestarts {}\n",
        of_service.id,
        of_service.name.as_deref().unwrap_or("-"),
        of_service.kind,
        figures(&of_service),
        of_service.longest_mailbox,
        of_service.failures,
        of_service.restarts
    );
    match answer {
        Ok(answer) => {
            let _ = writeln!(text, "memory\t{} bytes", of_service.memory + answer.memory);
            text.push_str(&answer.info);
            Ok(text)
        }
        Err(_) => Err(format!("{text}it does not answer\n{}", task(&of_service))),
    }
}

fn task(info: &ServiceInfo) -> String {
    let mut text = match info.busy_with {
        Some((message, lasted)) => format!("busy with {message} for {lasted:.1?}\n"),
        None => "at rest\n".to_owned(),
    };
    for waiting in &info.waiting {
        let _ = write!(text, "session {} waits for {:.1?}", waiting.session, waiting.since);
        if let Some(target) = waiting.target {
            let _ = write!(text, " for {target}");
        }
        let _ = writeln!(text, " at {}", waiting.at);
    }
    text
}

fn ping(service: Arc<dyn AnyService>) -> Result<String, String> {
    let begun = Instant::now();
    let answer = service.ask().map_err(|error| error.to_string())?;
    answer.recv_timeout(PATIENCE).map_err(|_| "it does not answer".to_owned())?;
    Ok(format!("{:.1?}", begun.elapsed()))
}
