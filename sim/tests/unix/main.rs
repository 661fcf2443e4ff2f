//! Unix sockets in a world are those of the kernel: each body here runs with real ones and in
//! worlds, and says the same in both.

#![cfg(target_os = "linux")]

mod datagrams;
mod names;
mod streams;
mod waits;

use narrowboat::net::unix::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use narrowboat::sim::{self, net};
use narrowboat_testing::within;
use std::fmt::Debug;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Long enough for others to come to where they wait, on a busy machine too.
const SETTLE: Duration = Duration::from_millis(30);

/// Where a body runs: paths and names of its own, the same in a world as outside.
#[derive(Clone)]
struct Place {
    directory: PathBuf,
    is_real: bool,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn named(&self, name: &str) -> SocketAddr {
        let name = format!("{}-{name}", self.directory.display());
        SocketAddr::from_abstract_name(name).unwrap()
    }

    /// A listener with room for one connection that waits.
    fn narrow_listener(&self, name: &str) -> UnixListener {
        if !self.is_real {
            drop(net::here().backlog(1));
        }
        let listener = UnixListener::bind(self.path(name)).unwrap();
        if self.is_real {
            // SAFETY: a plain call for a descriptor that is open. The kernel takes one more.
            assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        }
        listener
    }
}

/// What a body says.
#[derive(Default)]
struct Log(Vec<String>);

impl Log {
    fn note<T: Debug>(&mut self, what: &str, result: io::Result<T>) {
        self.0.push(match result {
            Ok(value) => format!("{what}: {value:?}"),
            Err(e) => format!("{what}: {:?} {:?}", e.kind(), e.raw_os_error()),
        });
    }

    fn say(&mut self, what: &str, value: impl Debug) {
        self.note(what, Ok(value));
    }
}

/// Runs a body with real sockets and in worlds. A wait that has no end fails.
#[track_caller]
fn alike(body: fn(&Place, &mut Log)) {
    within(Duration::from_secs(120), move || compare(body));
}

fn compare(body: fn(&Place, &mut Log)) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("narrowboat-unix-{}-{number}", std::process::id());
    let place = Place { directory: std::env::temp_dir().join(name), is_real: true };
    let run = move |place: Place| {
        let mut log = Log::default();
        body(&place, &mut log);
        log.0
    };
    // A run that was killed has left it, if it had the same number.
    let _ = std::fs::remove_dir_all(&place.directory);
    std::fs::create_dir(&place.directory).unwrap();
    let real = place.clone();
    let expected = narrowboat::spawn(move || run(real)).join();
    std::fs::remove_dir_all(&place.directory).unwrap();
    let expected = expected.unwrap();
    assert!(!expected.is_empty());
    for seed in 0..20 {
        let world = Place { is_real: false, ..place.clone() };
        let seen = sim::run(seed, move || run(world));
        assert_eq!(seen, expected, "seed {seed}: in a world, and really");
        assert!(!place.directory.exists(), "a world makes no files");
    }
}

fn read(mut stream: &UnixStream) -> io::Result<String> {
    let mut buffer = [0; 64];
    let read = stream.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..read]).into_owned())
}

fn receive(socket: &UnixDatagram) -> io::Result<(String, SocketAddr)> {
    let mut buffer = [0; 64];
    let (length, from) = socket.recv_from(&mut buffer)?;
    Ok((String::from_utf8_lossy(&buffer[..length]).into_owned(), from))
}

/// A connection by way of a listener.
fn connected(listener: &UnixListener) -> (UnixStream, UnixStream) {
    let one = UnixStream::connect_addr(&listener.local_addr().unwrap()).unwrap();
    (one, listener.accept().unwrap().0)
}

/// Sends until that would have to wait, and returns how often.
fn fill(socket: &UnixDatagram) -> (usize, io::Error) {
    socket.set_nonblocking(true).unwrap();
    let mut count = 0;
    let error = loop {
        match socket.send(b"filler") {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    socket.set_nonblocking(false).unwrap();
    (count, error)
}

/// Sends datagrams to a path until its receiver has no room for more, and returns how many.
///
/// How many a receiver takes is a setting of the machine, and can be more than one sender may have
/// under way. So many send, a few each.
fn crowd(path: &Path) -> usize {
    let mut count = 0;
    loop {
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        for _ in 0..16 {
            match sender.send_to(b"filler", path) {
                Ok(_) => count += 1,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    return count;
                }
            }
        }
    }
}
