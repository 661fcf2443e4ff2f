//! Three processes on one NATS server, each of which sends work and does that of the others. Each
//! second one of them is killed and started again. At the end all that was acknowledged must have
//! been received.
//!
//!     cargo run --release -p narrowboat-remote --features nats --example survivors -- 60
//!
//! A process writes a number into a file before it sends it, into another when the stream has
//! acknowledged it, and into a third when it has received it, before it acknowledges that. A killed
//! process has left in its files what it had written.

#[path = "../../tests/bus/server.rs"]
mod server;

use narrowboat::remote::{Bus, Error, Stream, StreamOptions};
use server::Server;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio, exit};
use std::time::{Duration, Instant};

/// How many processes there are.
const NODES: u64 = 3;

/// How many goroutines of each send, and how many receive.
const SENDERS: u64 = 4;
const RECEIVERS: u64 = 8;

/// How long the processes may take to finish the work that is left.
const REST: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["node", url, directory, node, life] => {
            let (url, directory) = (url.to_owned(), directory.to_owned());
            let (node, life) = (node.parse().expect("a number"), life.parse().expect("a number"));
            narrowboat::run(move || run_node(&url, Path::new(&directory), node, life));
        }
        [seconds] if seconds.parse::<u64>().is_ok_and(|seconds| seconds > 0) => {
            let seconds = seconds.parse().expect("it is a number");
            exit(if narrowboat::run(move || supervise(seconds)) { 0 } else { 1 });
        }
        _ => {
            eprintln!("usage: survivors SECONDS");
            exit(2);
        }
    }
}

fn options() -> StreamOptions {
    // A killed process has some messages without an acknowledgement: others get them after this time.
    StreamOptions { ack_wait: Duration::from_secs(2), max_messages: 10_000, ..StreamOptions::default() }
}

/// Starts the server and the processes, kills one each second, and looks at what they have written.
/// Returns whether all that was acknowledged was received.
fn supervise(seconds: u64) -> bool {
    let Some(server) = Server::start() else { exit(2) };
    let directory = std::env::temp_dir().join(format!("narrowboat-survivors-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory can be made");
    let start = |node: u64, life: u64| -> Child {
        let mut command = Command::new(std::env::current_exe().expect("it is a program"));
        command.arg("node").arg(server.url()).arg(&directory);
        command.args([node.to_string(), life.to_string()]);
        // It ends with this process, which holds the other end.
        command.stdin(Stdio::piped()).spawn().expect("a process can be started")
    };
    let mut nodes: Vec<Child> = (0..NODES).map(|node| start(node, 0)).collect();
    for second in 1..=seconds {
        narrowboat::sleep(Duration::from_secs(1));
        let victim = second % NODES;
        let node = &mut nodes[victim as usize];
        node.kill().expect("it runs");
        node.wait().expect("it ends");
        *node = start(victim, second);
    }
    // The senders see this file and end. The receivers go on until nothing is left.
    File::create(directory.join("stop")).expect("a file can be made");
    let stream = server.connect().stream::<u64>("work", options()).expect("the server runs");
    let begun = Instant::now();
    while stream.count() != Ok(0) && begun.elapsed() < REST {
        narrowboat::sleep(Duration::from_millis(100));
    }
    for node in &mut nodes {
        node.kill().expect("it runs");
        node.wait().expect("it ends");
    }
    let ok = report(&directory, seconds);
    let _ = std::fs::remove_dir_all(&directory);
    ok
}

/// Prints what the files have.
fn report(directory: &Path, kills: u64) -> bool {
    let (sent, acknowledged, received) =
        (read(directory, "sent"), read(directory, "acknowledged"), read(directory, "received"));
    let unique: HashSet<u64> = received.iter().copied().collect();
    let lost = acknowledged.iter().filter(|number| !unique.contains(number)).count();
    let all: HashSet<u64> = sent.iter().copied().collect();
    let unknown = unique.difference(&all).count();
    println!("{kills} processes were killed");
    println!("sent: {}, acknowledged: {}", sent.len(), acknowledged.len());
    println!("received: {}, of these again: {}", received.len(), received.len() - unique.len());
    println!(
        "received without an acknowledgement of the send: {}",
        unique.len() - (acknowledged.len() - lost)
    );
    match lost {
        0 => println!("lost: none of the acknowledged"),
        lost => println!("LOST: {lost} of the acknowledged"),
    }
    lost == 0 && unknown == 0 && acknowledged.len() as u64 > kills
}

/// The numbers in all files of a kind.
fn read(directory: &Path, kind: &str) -> Vec<u64> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(directory).expect("it is there") {
        let path = entry.expect("it can be read").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(kind)) {
            let bytes = std::fs::read(path).expect("it can be read");
            // A write is of eight bytes, and is done or not.
            numbers.extend(
                bytes.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().expect("eight"))),
            );
        }
    }
    numbers
}

/// A process: sends and receives until it is killed.
fn run_node(url: &str, directory: &Path, node: u64, life: u64) {
    narrowboat::go!(|| {
        let _ = std::io::stdin().read(&mut [0]);
        exit(1);
    });
    let bus = Bus::connect(url).expect("the server runs");
    let stream = bus.stream::<u64>("work", options()).expect("the server has streams");
    let file = |kind: &str, part: u64| {
        let path = directory.join(format!("{kind}-{node}-{life}-{part}"));
        OpenOptions::new().create(true).append(true).open(path).expect("a file can be made")
    };
    let stop = directory.join("stop");
    for part in 0..SENDERS {
        let (stream, stop, first) = (stream.clone(), stop.clone(), number(node, life, part));
        let (sent, acknowledged) = (file("sent", part), file("acknowledged", part));
        narrowboat::go!(move || send(&stream, &stop, first, sent, acknowledged));
    }
    let receiving: Vec<_> = (0..RECEIVERS)
        .map(|part| {
            let (stream, received) = (stream.clone(), file("received", part));
            narrowboat::go!(move || receive(&stream, received))
        })
        .collect();
    receiving.into_iter().for_each(|receiving| receiving.join().expect("no panic"));
}

/// The first number of a sender. No two have the same numbers.
fn number(node: u64, life: u64, part: u64) -> u64 {
    ((life * NODES + node) * SENDERS + part) << 32
}

fn write(mut file: &File, number: u64) {
    file.write_all(&number.to_le_bytes()).expect("the disk has room");
}

fn send(stream: &Stream<u64>, stop: &Path, first: u64, sent: File, acknowledged: File) {
    for number in first.. {
        if stop.exists() {
            return;
        }
        write(&sent, number);
        match stream.send_timeout(&number, Duration::from_secs(30)) {
            Ok(()) => write(&acknowledged, number),
            // The receivers are behind, or the server is away.
            Err(Error::Full | Error::Timeout) => {}
            Err(error) => eprintln!("{number} was not sent: {error}"),
        }
    }
}

fn receive(stream: &Stream<u64>, received: File) {
    let receiver = stream.receiver().expect("the server has streams");
    loop {
        match receiver.recv() {
            Ok(delivery) => {
                write(&received, *delivery);
                if let Err(error) = delivery.ack() {
                    eprintln!("a message comes again: {error}");
                }
            }
            Err(error) => eprintln!("a receive failed: {error}"),
        }
    }
}
