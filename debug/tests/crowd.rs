//! Many clients, slow ones and wrong ones: the program that they look at has to go on as if nothing
//! were.

mod client;

use client::get;
use narrowboat::chan::bounded;
use narrowboat::diag::serve;
use narrowboat::net::TcpStream;
use narrowboat::{go, run, sleep, spawn};
use narrowboat_testing::memory;
use narrowboat_testing::{assert_passed, in_child};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PAGES: usize = 100;
const SLOW: usize = 50;
const WRONG: usize = 1000;
/// What all of them together may cost.
const MEMORY: usize = 96 << 20;

fn request(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    stream
}

/// What a page does: it follows the figures, and looks at groups every two seconds.
fn page(address: SocketAddr, end: &AtomicBool) {
    assert_eq!(get(address, "/").status, 200);
    let mut figures = request(address, "/api/figures");
    let mut piece = [0; 4096];
    while !end.load(Ordering::Relaxed) {
        assert!(figures.read(&mut piece).unwrap() > 0);
        assert_eq!(get(address, "/api/goroutines?q=").status, 200);
        sleep(Duration::from_secs(1));
    }
}

/// Asks for much, again and again, and reads nothing.
fn slow_reader(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let asks = b"GET /debug/pprof/goroutine?debug=2 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2000);
    // The buffers are full before all has been written.
    let _ = stream.write_all(&asks);
    stream
}

/// Something that is no request, of a kind that depends on the number.
fn wrong(address: SocketAddr, number: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    let text = match number % 6 {
        0 => "\0\u{1}\u{2}\r\n\r\n".to_owned(),
        1 => format!("GET /{} HTTP/1.1\r\n", "x".repeat(1 << 20)),
        2 => "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n".to_owned(),
        3 => format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1000)),
        4 => "GET /debug/pprof/profile?seconds=99999999999999999999 HTTP/1.0\r\n\r\n".to_owned(),
        _ => "GET /api/goroutine?id=-1 HTTP/1.0\r\n\r\n".to_owned(),
    };
    // It may be cut off in the middle.
    let _ = stream.write_all(text.as_bytes());
    let _ = stream.read(&mut [0; 64]);
}

#[test]
fn a_hundred_pages_slow_readers_and_wrong_requests_take_bounded_memory() {
    let Some(output) = in_child("a_hundred_pages_slow_readers_and_wrong_requests_take_bounded_memory") else {
        return run(|| {
            let window = serve("127.0.0.1:0").unwrap();
            let at = window.local_addr();
            let (tx, rx) = bounded::<()>(0);
            for _ in 0..2000 {
                let rx = rx.clone();
                go!(move || rx.recv().is_err());
            }
            // Names are read once.
            assert_eq!(get(at, "/api/goroutines?q=").status, 200);
            let before = memory("VmRSS");

            let end = Arc::new(AtomicBool::new(false));
            let pages: Vec<_> = (0..PAGES)
                .map(|_| {
                    let end = end.clone();
                    spawn(move || page(at, &end))
                })
                .collect();
            let slow: Vec<_> = (0..SLOW).map(|_| spawn(move || slow_reader(at))).collect();
            // The program's own work: how late its turns come.
            let mut late = Vec::new();
            let wrong = spawn(move || (0..WRONG).for_each(|number| wrong(at, number)));
            let until = Instant::now() + Duration::from_secs(5);
            while Instant::now() < until {
                let begun = Instant::now();
                sleep(Duration::from_millis(2));
                late.push(begun.elapsed().saturating_sub(Duration::from_millis(2)));
            }
            wrong.join().unwrap();
            let most = memory("VmHWM").saturating_sub(before);
            end.store(true, Ordering::Relaxed);
            pages.into_iter().for_each(|page| page.join().unwrap());
            drop(slow);
            late.sort();
            println!(
                "memory: {} MiB more; a turn is late by {:?} at the median",
                most >> 20,
                late[late.len() / 2]
            );
            assert!(most < MEMORY, "{} MiB", most >> 20);
            assert!(late[late.len() / 2] < Duration::from_millis(50));
            // And others can look.
            assert_eq!(get(at, "/metrics").status, 200);
            drop(tx);
            window.close();
        });
    };
    assert_passed(&output, 1);
    print!("{}", String::from_utf8_lossy(&output.stdout));
}
