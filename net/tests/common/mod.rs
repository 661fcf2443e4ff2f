//! What the tests share. `go` is the one place that decides what a body runs on.
#![allow(dead_code, reason = "each test program uses a part of it")]

use narrowboat_net::{TcpListener, TcpStream};
use std::env::VarError;
use std::io::ErrorKind;
use std::panic::resume_unwind;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Where the bodies of the tests and the work that they start run, by `NARROWBOAT_TEST_ON`: all on `threads`; bodies on
/// threads and their work on goroutines (`both`, or unset); all on `goroutines`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    Threads,
    Both,
    Goroutines,
}

fn on() -> On {
    match std::env::var("NARROWBOAT_TEST_ON").as_deref() {
        Ok("threads") => On::Threads,
        Ok("both") | Err(VarError::NotPresent) => On::Both,
        Ok("goroutines") => On::Goroutines,
        other => {
            panic!("NARROWBOAT_TEST_ON is {other:?}: set it to threads, both or goroutines, or unset it")
        }
    }
}

/// The size of a heavy test: `NARROWBOAT_TEST_SCALE` per cent of it.
pub fn scaled(size: usize) -> usize {
    let percent = match std::env::var("NARROWBOAT_TEST_SCALE") {
        Ok(text) => {
            text.parse().unwrap_or_else(|_| panic!("NARROWBOAT_TEST_SCALE should be a number, not {text:?}"))
        }
        Err(_) => 100,
    };
    (size * percent / 100).max(1)
}

/// Work that was started.
pub enum Work<T> {
    Goroutine(narrowboat_runtime::JoinHandle<T>),
    Thread(thread::JoinHandle<T>),
}

/// Starts `f` beside the caller.
pub fn go<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Work<T> {
    match on() {
        On::Threads => Work::Thread(thread::Builder::new().stack_size(256 << 10).spawn(f).expect("a thread")),
        On::Both | On::Goroutines => Work::Goroutine(narrowboat_runtime::spawn(f)),
    }
}

impl<T> Work<T> {
    pub fn join(self) -> thread::Result<T> {
        match self {
            Work::Goroutine(handle) => handle.join(),
            Work::Thread(handle) => handle.join(),
        }
    }

    pub fn is_finished(&self) -> bool {
        match self {
            Work::Goroutine(handle) => handle.is_finished(),
            Work::Thread(handle) => handle.is_finished(),
        }
    }
}

/// Runs the body of a test and fails if it does not end: a lost wake-up is a failure, not a test that hangs.
pub fn bounded(f: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let body = thread::spawn(move || {
        match on() {
            On::Threads | On::Both => f(),
            On::Goroutines => {
                narrowboat_runtime::spawn(f).join().unwrap_or_else(|panic| resume_unwind(panic))
            }
        }
        let _ = done.send(());
    });
    match ended.recv_timeout(Duration::from_secs(120)) {
        // Without a message the body panicked, and joining it says so.
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {
            if let Err(panic) = body.join() {
                resume_unwind(panic);
            }
        }
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("stuck"),
    }
}

/// A listener on loopback.
pub fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a listener")
}

/// Both ends of a connection: who asked for it, and who took it.
pub fn pair() -> (TcpStream, TcpStream) {
    let listener = listener();
    let one = TcpStream::connect(listener.local_addr().unwrap()).expect("a connection");
    let (other, peer) = listener.accept().expect("its other end");
    assert_eq!(peer, one.local_addr().unwrap());
    (one, other)
}

/// Has a stream wait once, so that the netpoller knows it and has reported what there was to report.
pub fn settle(stream: &TcpStream) {
    let before = stream.read_timeout().unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    assert_eq!(stream.peek(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
    stream.set_read_timeout(before).unwrap();
}

/// Long enough for whoever was started to block, on most days. Nothing may depend on it.
pub fn moment() {
    narrowboat_runtime::sleep(Duration::from_millis(20));
}

/// Numbers that look random and are the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.next().to_ne_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}
