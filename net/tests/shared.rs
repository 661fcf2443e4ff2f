//! Open files that others have as well: the standard streams and what else was inherited. Whatever
//! waits for them, nothing else notices. A program of its own, and one test, because it changes its
//! standard input.

use narrowboat_net::fd::Async;
use narrowboat_net::unix::{UnixDatagram, UnixStream};
use narrowboat_testing::{bounded, one_site::go, settle};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

fn is_nonblocking(fd: &impl AsFd) -> bool {
    // SAFETY: a plain query.
    unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFL) & libc::O_NONBLOCK != 0 }
}

/// A terminal: what a person holds, and what a program is given.
fn terminal() -> (OwnedFd, OwnedFd) {
    let (mut master, mut slave) = (-1, -1);
    use std::ptr::{null, null_mut};
    // SAFETY: two live integers are written; the defaults are taken of the rest. Both descriptors
    // are new.
    unsafe {
        assert_eq!(libc::openpty(&mut master, &mut slave, null_mut(), null(), null()), 0);
        (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
    }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = std::io::pipe().unwrap();
    (writer.into(), reader.into())
}

fn sockets() -> (OwnedFd, OwnedFd) {
    let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
    (one.into(), other.into())
}

/// As after an exec: the standard input is `fd`, which some other process has, too.
fn becomes_stdin(fd: &OwnedFd) {
    // SAFETY: plain system calls. Nothing else in this program uses the standard input.
    assert_eq!(unsafe { libc::dup2(fd.as_raw_fd(), 0) }, 0);
}

fn inherited(fd: &impl AsFd) -> OwnedFd {
    // SAFETY: a new descriptor, which nothing else knows of.
    unsafe { OwnedFd::from_raw_fd(libc::dup(fd.as_fd().as_raw_fd())) }
}

fn read_from_stdin(kind: &str, (there, here): (OwnedFd, OwnedFd)) {
    becomes_stdin(&here);
    let mut there = File::from(there);
    // The stream itself, and a duplicate of it, which has the mark close-on-exec.
    let stdin = Async::new(std::io::stdin()).unwrap();
    let limit = Duration::from_millis(20);
    stdin.set_read_deadline(Some(Instant::now() + limit)).unwrap();
    assert_eq!((&stdin).read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut, "{kind}");
    stdin.set_read_deadline(None).unwrap();
    let mut reading = stdin.try_clone().unwrap();
    let waiting = go(move || {
        let mut text = [0; 5];
        reading.read_exact(&mut text).unwrap();
        text
    });
    settle();
    assert!(!waiting.is_finished());
    there.write_all(b"line\n").unwrap();
    assert_eq!(&waiting.join(), b"line\n", "{kind}");
    assert!(!is_nonblocking(&here), "{kind}");
    drop(stdin);

    let duplicate = Async::new(File::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap())).unwrap();
    // Many wait; each line goes to one of them, and the others go on waiting.
    let many: Vec<_> = (0..4)
        .map(|_| {
            let mut reading = duplicate.try_clone().unwrap();
            go(move || reading.read(&mut [0; 5]).unwrap())
        })
        .collect();
    for round in 1..=4 {
        settle();
        assert!(many.iter().filter(|reader| reader.is_finished()).count() < round, "{kind}");
        there.write_all(b"line\n").unwrap();
    }
    assert_eq!(many.into_iter().map(|reader| reader.join()).sum::<usize>(), 20, "{kind}");
    assert!(!is_nonblocking(&here) && !is_nonblocking(&duplicate), "{kind}");
    let file = duplicate.into_inner().unwrap();
    assert!(!is_nonblocking(&file), "{kind}");
}

/// Writing waits for room in the netpoller and not in the kernel, where no deadline would end it.
/// (Of a terminal the kernel does not say how much room it has.)
fn write_to_inherited(kind: &str, (here, there): (OwnedFd, OwnedFd)) {
    let mut writer = Async::new(File::from(inherited(&here))).unwrap();
    if kind == "terminal" {
        writer.write_all(b"text").unwrap();
        let mut text = [0; 4];
        File::from(there).read_exact(&mut text).unwrap();
        assert!(&text == b"text" && !is_nonblocking(&here));
        return;
    }
    writer.set_write_deadline(Some(Instant::now() + Duration::from_millis(100))).unwrap();
    let mut written = 0;
    let error = loop {
        match writer.write(&[b'x'; 100_000]) {
            Ok(n) => written += n,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{kind} after {written}");
    writer.set_write_deadline(None).unwrap();
    let writing = go(move || writer.write_all(&[b'x'; 300_000]).unwrap());
    settle();
    let mut there = Async::new(File::from(there)).unwrap();
    let mut all = vec![0; written + 300_000];
    there.read_exact(&mut all).unwrap();
    assert!(all.iter().all(|byte| *byte == b'x'));
    writing.join();
    assert!(!is_nonblocking(&here), "{kind}");
}

/// Sockets of this crate that are made of what others have, too.
fn adopt() {
    let (here, there) = sockets();
    let (mut one, mut other) = (UnixStream::from(inherited(&here)), File::from(there));
    let reading = go(move || one.read(&mut [0; 8]).map(|n| (one, n)).unwrap());
    settle();
    other.write_all(b"text").unwrap();
    let (one, n) = reading.join();
    assert!(n == 4 && !is_nonblocking(&here));
    one.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
    let error = std::iter::repeat_with(|| (&one).write(&[0; 65_536])).find_map(Result::err).unwrap();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(!is_nonblocking(&OwnedFd::from(one)) && !is_nonblocking(&here));

    let (here, other) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let one = UnixDatagram::from(inherited(&here));
    let reading = go(move || one.recv(&mut [0; 8]).unwrap());
    settle();
    other.send(b"text").unwrap();
    assert!(reading.join() == 4 && !is_nonblocking(&here));
}

/// What is this program's alone becomes non-blocking, and what was so before stays so.
fn modes() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let reader = Async::new(reader).unwrap();
    assert!(is_nonblocking(&reader));
    let reader = reader.into_inner().unwrap();
    assert!(!is_nonblocking(&reader));
    let duplicate = inherited(&reader);
    // SAFETY: open until the end of this function, after all that borrows it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(duplicate.as_raw_fd()) };
    assert!(!is_nonblocking(&Async::new(borrowed).unwrap()));
    socket2::SockRef::from(&duplicate).set_nonblocking(true).unwrap();
    drop(Async::new(borrowed).unwrap().into_inner());
    assert!(is_nonblocking(&reader));
}

#[test]
fn no_other_process_notices_a_wait_for_a_shared_open_file() {
    bounded(|| {
        read_from_stdin("terminal", terminal());
        read_from_stdin("pipe", pipe());
        read_from_stdin("socket", sockets());
        write_to_inherited("pipe", pipe());
        write_to_inherited("socket", sockets());
        let (master, slave) = terminal();
        write_to_inherited("terminal", (slave, master));
        adopt();
        modes();
    });
}
