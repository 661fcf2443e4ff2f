//! Every example, run as a real process and used by a real client.
//!
//! `cargo test` builds the examples; `cargo test --test examples` alone does not, so a missing one is named.

#[cfg(feature = "actor")]
mod actors;
mod browser;
mod faults;
mod holdings;
mod http;
#[path = "../../examples/trace_picture/reader.rs"]
mod reader;
mod redis;
mod redis_sessions;
mod redis_values;
mod relays;
mod resolver;
mod server;
mod soak;
mod stuck;
mod subject;
mod talk;
mod target;
mod window;

use narrowboat_testing::{own_stacks, sized};
use server::Server;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

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

#[test]
fn hello_prints_its_result() {
    assert_eq!(output_of(&mut example("hello")), "hello from goroutines: 23 letters\n");
}

#[test]
fn trace_picture_draws_what_hello_did() {
    let place =
        |end: &str| std::env::temp_dir().join(format!("narrowboat-hello-{}.{end}", std::process::id()));
    let (trace, picture) = (place("perfetto-trace"), place("svg"));
    output_of(example("hello").env("NARROWBOAT_TRACE", &trace));
    output_of(example("trace_picture").args([&trace, &picture]));
    let svg = std::fs::read_to_string(&picture).expect("is there");
    for part in ["<svg", "processor ", "worker ", "marker-end", "</svg>"] {
        assert!(svg.contains(part), "no {part} in {svg}");
    }
    for path in [trace, picture] {
        std::fs::remove_file(path).expect("was ours");
    }
}

#[test]
fn hello_stands_in_the_readme_as_it_is() {
    let (_, program) =
        include_str!("../../examples/hello.rs").split_once("\n").expect("a comment, then the program");
    assert!(
        include_str!("../../README.md").contains(program),
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
fn echo_holds_idle_connections_in_a_kilobyte_each() {
    let server = Server::start("echo_server");
    let talk = |stream: &mut TcpStream| {
        stream.write_all(b"a word").expect("takes a message");
        stream.read_exact(&mut [0; 6]).expect("echoes");
    };
    // What a server needs for the first is not counted: processors, the allocator's arenas, the
    // stacks of their own that the first 1,024 goroutines of a spawn site have, and the slots that
    // those after them share.
    let mut streams: Vec<TcpStream> = (0..1_500).map(|_| server.connect()).collect();
    streams.iter_mut().for_each(talk);
    let before = server.resident();
    // Not fewer in a quick run: what a process needs besides would be seen.
    let count = if cfg!(debug_assertions) { 1_500 } else { 8_000 };
    let mut streams: Vec<TcpStream> = (0..count).map(|_| server.connect()).collect();
    streams.iter_mut().for_each(talk);
    let each = (server.resident() - before) * 1024 / count;
    println!("{each} bytes each");
    // Without optimisation the stacks that are kept aside are several times as deep. A stack of its
    // own is a page at least.
    let bound = if own_stacks() { 6 << 10 } else { 1 << 10 };
    assert!(cfg!(debug_assertions) || each <= bound, "{each} bytes each");
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
