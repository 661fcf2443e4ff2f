//! The debug console, with real clients.

use crate::{Append, Fail, List, reporting};
use narrowboat::actor::{Handle, Turn};
use narrowboat::chan::never;
use narrowboat_testing::{LONG, eventually, program};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A client of std's, on a thread of its own.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut client = Client(BufReader::new(stream));
        assert_eq!(client.line(), "Welcome to the console");
        client
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The reply, and whether it is one of success.
    fn ask(&mut self, command: &str) -> (String, bool) {
        writeln!(self.0.get_mut(), "{command}").unwrap();
        let mut text = String::new();
        loop {
            match &*self.line() {
                "<CMD OK>" => return (text, true),
                "<CMD Error>" => return (text, false),
                "" => panic!("the connection is closed after {text}"),
                line => text.push_str(&format!("{line}\n")),
            }
        }
    }

    #[track_caller]
    fn ok(&mut self, command: &str, parts: &[&str]) {
        let (text, ok) = self.ask(command);
        assert!(ok && parts.iter().all(|part| text.contains(part)), "{command}: {text}");
    }
}

#[test]
fn commands_show_and_end_services() {
    program(|| {
        let (system, _reports) = reporting();
        let supervisor = system.supervisor(3, LONG);
        let list = supervisor.spawn_named("list", List::default).unwrap();
        list.call(Append(5)).unwrap();
        let console = system.console("127.0.0.1:0").unwrap();
        let mut client = Client::connect(console.local_addr());
        client.ok("help", &["kill SERVICE"]);
        client.ok("list", &[":00000001\tlist\t", "List"]);
        client.ok("stat", &["list\tmailbox 0\thandled "]);
        client.ok("info list", &["1 entries", "restarts 0", "memory"]);
        client.ok("info :00000001", &["1 entries"]);
        client.ok("task 1", &["at rest"]);
        client.ok("mem", &["1 services", "bytes"]);
        client.ok("ping list", &["s"]);
        client.ok("restart list", &[]);
        client.ok("info list", &["0 entries", "restarts 1"]);
        for wrong in ["info", "info nothing", "info :99", "dance", "kill"] {
            assert!(!client.ask(wrong).1, "{wrong}");
        }
        client.ok("kill list", &[]);
        assert!(list.service_info().ended);
        assert!(!client.ask("ping list").1);
        client.ok("list", &[]);
        writeln!(client.0.get_mut(), "quit").unwrap();
        assert_eq!(client.line(), "");
    });
}

#[test]
fn a_service_that_does_not_answer_is_shown_with_what_it_does() {
    struct Hang;
    impl Handle<Hang> for List {
        type Reply = ();
        fn handle(_: &mut Turn<Self>, _: Hang) {
            let _ = never::<()>().recv();
        }
    }
    program(|| {
        let (system, _reports) = reporting();
        let list = system.spawn_named("list", List::default()).unwrap();
        let console = system.console("127.0.0.1:0").unwrap();
        let mut client = Client::connect(console.local_addr());
        list.send(Hang).unwrap();
        client.ok("task list", &["busy with", "Hang"]);
        let (text, ok) = client.ask("info list");
        assert!(!ok && text.contains("it does not answer") && text.contains("Hang"), "{text}");
        client.ok("kill list", &[]);
    });
}

#[test]
fn a_browser_and_too_long_a_line_are_cut_off() {
    program(|| {
        let (system, _reports) = reporting();
        let list = system.spawn_named("list", List::default()).unwrap();
        let console = system.console("127.0.0.1:0").unwrap();
        let request = "POST / HTTP/1.1\r\nHost: localhost\r\n\r\nkill list\n";
        for text in [request.to_owned(), "x".repeat(10_000), format!("{}\n", "x".repeat(5_000))] {
            let mut client = Client::connect(console.local_addr());
            client.0.get_mut().write_all(text.as_bytes()).unwrap();
            let mut rest = String::new();
            // It may be reset, because not all was read.
            let _ = client.0.read_to_string(&mut rest);
            assert_eq!(rest, "");
        }
        assert!(!list.service_info().ended);
        drop(console);
    });
}

#[test]
fn a_console_closes_and_admits_a_limited_number() {
    program(|| {
        let (system, _reports) = reporting();
        let failed = system.spawn(List::default());
        failed.call(Fail).unwrap_err();
        let console = system.console("127.0.0.1:0").unwrap();
        let address = console.local_addr();
        let clients: Vec<_> = (0..16).map(|_| Client::connect(address)).collect();
        let mut refused = TcpStream::connect(address).unwrap();
        assert_eq!(refused.read(&mut [0]).unwrap_or(0), 0);
        drop(clients);
        eventually("there is room again", || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.read(&mut [0]).unwrap_or(0) == 1
        });
        drop(console);
        eventually("it is closed", || TcpStream::connect(address).is_err());
    });
}
