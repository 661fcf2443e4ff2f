//! Descriptors that are no sockets of ours.

use narrowboat_net::fd::Async;
use narrowboat_testing::{bounded, one_site::go, settle};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

#[test]
fn a_pipe_carries_bytes_both_ends_waiting() {
    bounded(|| {
        const BYTES: usize = 1 << 20;
        let (reader, writer) = std::io::pipe().unwrap();
        let (mut reader, mut writer) = (Async::new(reader).unwrap(), Async::new(writer).unwrap());
        let writing = go(move || writer.write_all(&[7; BYTES]).unwrap());
        settle();
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        writing.join();
        assert!(all.len() == BYTES && all.iter().all(|&byte| byte == 7));
    });
}

#[test]
fn a_borrowed_descriptor_is_given_back_as_it_was() {
    bounded(|| {
        let (one, mut other) = std::os::unix::net::UnixStream::pair().unwrap();
        // SAFETY: open until the end of the test, after all that borrows it.
        let borrowed = unsafe { BorrowedFd::borrow_raw(one.as_raw_fd()) };
        let library = Async::new(borrowed).unwrap();
        assert!(Async::new(borrowed).is_err(), "it is watched already");
        let waiting = go({
            let library = library.try_clone().unwrap();
            move || library.readable().recv()
        });
        settle();
        other.write_all(b"x").unwrap();
        assert_eq!(waiting.join(), Ok(()));
        let borrowed = library.into_inner().unwrap();
        assert!(!socket2::SockRef::from(&borrowed).nonblocking().unwrap());
        assert_eq!((&one).read(&mut [0; 8]).unwrap(), 1);
        // It can be watched again.
        Async::new(borrowed).unwrap();
    });
}

/// Many wait for one counter; each count goes to one of them.
#[test]
fn an_event_counter_wakes_those_that_wait_for_it() {
    bounded(|| {
        // SAFETY: `eventfd` makes a descriptor that is ours alone.
        let counter = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_SEMAPHORE)) };
        let counter = Async::new(counter).unwrap();
        let takers: Vec<_> = (0..10)
            .map(|_| {
                let counter = counter.try_clone().unwrap();
                go(move || counter.read_with(take).unwrap())
            })
            .collect();
        settle();
        for _ in 0..10 {
            counter.write_with(put).unwrap();
        }
        assert_eq!(takers.into_iter().map(|taker| taker.join()).sum::<u64>(), 10);
    });
}

fn take(counter: &OwnedFd) -> std::io::Result<u64> {
    let mut count = 0u64;
    // SAFETY: eight bytes are written to a live integer.
    let read = unsafe { libc::read(counter.as_raw_fd(), (&raw mut count).cast(), 8) };
    if read == 8 { Ok(count) } else { Err(std::io::Error::last_os_error()) }
}

fn put(counter: &OwnedFd) -> std::io::Result<()> {
    let count = 1u64;
    // SAFETY: eight bytes are read from a live integer.
    let written = unsafe { libc::write(counter.as_raw_fd(), (&raw const count).cast(), 8) };
    if written == 8 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[test]
fn what_cannot_be_watched_says_so() {
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert_eq!(Async::new(file).unwrap_err().kind(), ErrorKind::PermissionDenied);
}
