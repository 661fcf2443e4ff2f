//! The window as its clients see it: over HTTP.

mod client;

use client::{Answer, answer, get, pprof, profile, unpacked};
use narrowboat::chan::{Receiver, bounded};
use narrowboat::diag::{Window, serve};
use narrowboat::net::TcpStream;
use narrowboat::{Builder, Config, labels, run, trace};
use narrowboat_testing::{again, assert_passed, eventually, in_child_with, program, tool};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn window() -> Window {
    serve("127.0.0.1:0").unwrap()
}

/// Sends bytes, and returns what comes until the server closes.
fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    answer(stream)
}

#[inline(never)]
fn waits_here(messages: &Receiver<()>) {
    let _ = messages.recv();
    // Not a tail call, which would have no frame.
    std::hint::black_box(());
}

/// Goroutines that wait in [`waits_here`] until the sender is dropped: a group for each caller.
#[track_caller]
fn waiting(name: &str, count: usize) -> narrowboat::chan::Sender<()> {
    let (tx, rx) = bounded::<()>(0);
    for n in 0..count {
        let rx = rx.clone();
        Builder::new().name(format!("{name} {n}")).spawn(move || waits_here(&rx)).unwrap();
    }
    tx
}

#[test]
fn every_path_answers() {
    program(|| {
        let window = window();
        let at = window.local_addr();
        let _tx = waiting("clerk", 30);
        let text = |path: &str| {
            let answer = get(at, path);
            assert_eq!(answer.status, 200, "{path}");
            answer.text()
        };
        assert!(text("/metrics").contains("# TYPE narrowboat_goroutines gauge"));
        let page = text("/");
        assert!(page.starts_with("<!doctype html>"));
        // It works without a network.
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src="));
        let index = text("/debug/pprof/");
        for link in index.split("href=\"").skip(1).map(|link| link.split('"').next().unwrap()) {
            // Another test may be taking a trace.
            if !link.starts_with("..") && !link.starts_with("trace") && !link.starts_with("profile") {
                let link = link.replace("seconds=5", "seconds=1");
                assert_eq!(get(at, &format!("/debug/pprof/{link}")).status, 200, "{link}");
            }
        }
        assert_eq!(get(at, "/debug/pprof").header("Location"), Some("/debug/pprof/"));
        eventually("all wait", || {
            let dump = text("/debug/pprof/goroutine?debug=2");
            dump.contains("30 goroutines (") && dump.contains("waits_here")
        });
        eventually("all wait", || {
            let go = text("/debug/pprof/goroutine?debug=1");
            // A debug build has the function with its path.
            let group = go.split("\n30 @\n#\t").nth(1).unwrap_or_default();
            go.starts_with("goroutine profile: total ")
                && group.lines().next().is_some_and(|first| first.contains("waits_here\t"))
        });
        eventually("all wait", || {
            let found = text("/api/goroutines?q=CLERK");
            found.contains("\"found\":30,\"all_groups\":1,")
                && found.contains("\"reason\":\"Receive\"")
                && found.contains("waits_here")
                && found.contains("{\"id\":")
        });
        assert!(text("/api/goroutines?q=no+such+goroutine").contains("\"found\":0,"));
        assert!(text("/api/reports").starts_with("{\"reports\":["));
        assert_eq!(get(at, "/nothing").status, 404);
        window.close();
    });
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    program(|| {
        let window = window();
        let both = b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n\
                     GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let answer = exchange(window.local_addr(), both);
        assert_eq!(answer.status, 200);
        // The first has no body, so the second follows at once.
        assert!(answer.text().starts_with("HTTP/1.1 404 Not Found\r\n"), "{}", answer.text());
        window.close();
    });
}

#[test]
fn what_is_no_request_is_answered_so() {
    program(|| {
        let window = window();
        let status = |request: &str| exchange(window.local_addr(), request.as_bytes()).status;
        assert_eq!(status("what?\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"), 405);
        assert_eq!(status(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(100_000))), 431);
        assert_eq!(status("GET /debug/pprof/trace?seconds=x HTTP/1.0\r\n\r\n"), 400);
        assert_eq!(status("GET /debug/pprof/trace?mebibytes=0 HTTP/1.0\r\n\r\n"), 400);
        assert_eq!(status("HEAD /api/figures HTTP/1.0\r\n\r\n"), 405);
        // From another site, in a browser on this machine.
        assert_eq!(status("GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n"), 403);
        let cross = "GET / HTTP/1.0\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n";
        assert_eq!(status(cross), 403);
        window.close();
    });
}

#[test]
fn figures_come_again_and_again() {
    program(|| {
        let window = window();
        let mut stream = TcpStream::connect(window.local_addr()).unwrap();
        stream.write_all(b"GET /api/figures HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut text = String::new();
        while text.matches("data: {").count() < 2 || !text.ends_with("\n\n") {
            let mut piece = [0; 4096];
            let n = stream.read(&mut piece).unwrap();
            assert!(n > 0, "{text}");
            text += std::str::from_utf8(&piece[..n]).unwrap();
        }
        assert!(text.contains("Content-Type: text/event-stream\r\n"), "{text}");
        assert!(text.contains("\"switches\":[") && text.contains("\"searching\":["), "{text}");
        window.close();
    });
}

#[test]
fn a_trace_is_downloaded_by_one_client_at_a_time() {
    program(|| {
        let window = window();
        let at = window.local_addr();
        let ask = |seconds: u64| {
            let mut stream = TcpStream::connect(at).unwrap();
            let request = format!("GET /debug/pprof/trace?seconds={seconds} HTTP/1.0\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            stream
        };
        // The first one to begin records; the other is told so at once.
        let (one, other) = (ask(2), ask(2));
        let mut answers = [answer(one), answer(other)];
        answers.sort_by_key(|answer| answer.status);
        let [trace, refused] = answers;
        assert_eq!((trace.status, refused.status), (200, 409), "{}", refused.text());
        assert_eq!(trace.header("Content-Length"), Some(trace.body.len().to_string().as_str()));
        // `Trace.packet`, and a name that each trace has.
        assert_eq!(trace.body[0], 0x0a);
        assert!(trace.body.windows(9).any(|piece| piece == b"processor"));

        // A client that goes ends its trace.
        let gone = ask(600);
        narrowboat::sleep(Duration::from_millis(50));
        drop(gone);
        let begun = Instant::now();
        eventually("the trace has ended", || answer(ask(1)).status == 200);
        assert!(begun.elapsed() < Duration::from_secs(30));

        // It ends early when its file is long enough.
        let done = Arc::new(AtomicBool::new(false));
        let until = done.clone();
        let busy = narrowboat::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                narrowboat::yield_now();
            }
        });
        let trace = exchange(at, b"GET /debug/pprof/trace?seconds=600&mebibytes=1 HTTP/1.0\r\n\r\n");
        done.store(true, Ordering::Relaxed);
        busy.join().unwrap();
        assert_eq!(trace.status, 200, "{}", trace.text());
        assert!(trace.body.len() >= 1 << 20, "{} bytes", trace.body.len());
        window.close();
    });
}

#[test]
fn a_profile_of_goroutines_names_functions_and_lines() {
    program(|| {
        let window = window();
        let at = window.local_addr();
        let _tx = waiting("guest", 7);
        let mut packed = Vec::new();
        eventually("all wait", || {
            packed = get(at, "/debug/pprof/goroutine").body;
            let samples = client::samples(&unpacked(&packed));
            samples.iter().any(|sample| {
                sample.value == 7
                    && sample.frames[0].0.contains("waits_here")
                    && sample.frames[0].1.ends_with("tests/window.rs")
                    && sample.frames[0].2 > 0
            })
        });
        if tool("go").is_some() {
            let text = pprof(&packed, &["-traces"]);
            assert!(text.contains("Type: goroutine") && text.contains("waits_here"), "{text}");
        }
        window.close();
    });
}

#[test]
fn one_goroutine_and_what_most_wait_for_are_shown() {
    program(|| {
        let window = window();
        let at = window.local_addr();
        let tx = waiting("customer", 12);
        let mut found = String::new();
        eventually("all wait", || {
            found = get(at, "/api/goroutines?q=customer").text();
            found.contains("\"waited_for\":[{\"text\":\"channel #1, unbuffered")
                && found.contains("\"waiters\":12,")
        });
        let id = found.split("{\"id\":").nth(1).and_then(|rest| rest.split(',').next()).expect("a number");
        let one = get(at, &format!("/api/goroutine?id={id}")).text();
        assert!(
            one.contains("\"count\":1,") && one.contains("waits_here") && one.contains("customer "),
            "{one}"
        );
        drop(tx);
        eventually("it has ended", || {
            get(at, &format!("/api/goroutine?id={id}")).text() == "{\"goroutine\":null}"
        });
        assert_eq!(get(at, "/api/goroutine?id=x").status, 400);
        window.close();
    });
}

#[test]
fn the_last_second_is_drawn_and_the_recorder_is_downloaded() {
    const TEST: &str = "the_last_second_is_drawn_and_the_recorder_is_downloaded";
    let Some(output) = in_child_with(TEST, &[]) else {
        return run(|| {
            let window = window();
            let at = window.local_addr();
            assert_eq!(get(at, "/debug/pprof/trace?recorded").status, 404);
            let end = Arc::new(AtomicBool::new(false));
            let until = end.clone();
            let works = Builder::new().name("works").spawn(move || {
                while !until.load(Ordering::Relaxed) {
                    narrowboat::sleep(Duration::from_millis(5));
                }
            });
            let drawn = get(at, "/api/timeline").text();
            assert!(drawn.contains("\"works\"") && drawn.contains("\"length\":1000000,"), "{drawn}");
            // Nothing has been left on.
            assert!(trace::write_recorded("/dev/null").is_err());
            trace::start_recorder().unwrap();
            narrowboat::sleep(Duration::from_millis(1100));
            let begun = Instant::now();
            assert!(get(at, "/api/timeline").text().contains("\"works\""));
            assert!(begun.elapsed() < Duration::from_millis(900), "it was there");
            let recorded = get(at, "/debug/pprof/trace?recorded");
            assert_eq!((recorded.status, recorded.body[0]), (200, 0x0a));
            end.store(true, Ordering::Relaxed);
            works.unwrap().join().unwrap();
            window.close();
        });
    };
    assert_passed(&output, 1);
}

#[test]
fn labels_are_in_every_view() {
    program(|| {
        let window = window();
        let at = window.local_addr();
        let _tx = labels!(request = 4711 => { waiting("labelled", 5) });
        eventually("all wait", || {
            let found = get(at, "/api/goroutines?q=request%3D4711").text();
            found.contains("\"found\":5,") && found.contains("{\"text\":\"request=4711\",\"count\":5}")
        });
        eventually("all wait", || {
            let go = get(at, "/debug/pprof/goroutine?debug=1").text();
            go.contains("# labels: {\"request\": \"4711\"} (5 of them)")
        });
        let dump = get(at, "/debug/pprof/goroutine?debug=2").text();
        assert!(dump.contains("    labels  request=4711 (5 of them)"), "{dump}");
        eventually("all wait", || {
            let samples = profile(at, "/debug/pprof/goroutine");
            samples
                .iter()
                .any(|sample| sample.value == 5 && sample.labels.contains(&("request".into(), "4711".into())))
        });
        window.close();
    });
}

#[test]
fn the_environment_opens_a_window() {
    const TEST: &str = "the_environment_opens_a_window";
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some(output) = in_child_with(TEST, &[("NARROWBOAT_DEBUG", &port.to_string())]) else {
        let address = std::env::var("NARROWBOAT_DEBUG").unwrap();
        let address = format!("127.0.0.1:{address}").parse().unwrap();
        return run(move || assert_eq!(get(address, "/metrics").status, 200));
    };
    assert_passed(&output, 1);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("look at http://127.0.0.1:{port}/")), "{said}");
}

#[test]
fn a_port_that_is_taken_is_said_and_nothing_else() {
    const TEST: &str = "a_port_that_is_taken_is_said_and_nothing_else";
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let Some(output) = in_child_with(TEST, &[("NARROWBOAT_DEBUG", &address)]) else {
        return run(|| ());
    };
    assert_passed(&output, 1);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("opens no window"), "{said}");
}

#[test]
fn a_variable_that_makes_no_sense_is_an_error_of_the_start() {
    if std::env::var_os("NARROWBOAT_DEBUG").is_none() {
        return again(
            "a_variable_that_makes_no_sense_is_an_error_of_the_start",
            &[("NARROWBOAT_DEBUG", "yes")],
        );
    }
    let error = Config::new().start().unwrap_err().to_string();
    assert!(error.contains("NARROWBOAT_DEBUG=yes"), "{error}");
}
