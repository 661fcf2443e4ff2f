//! How many calls of the system a source makes, and when it is registered.

use super::*;
use narrowboat_runtime::park::Reason;
use std::cell::Cell;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::panic::Location;
use std::thread;

fn pair() -> (TcpStream, Source) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_nodelay(true).unwrap();
    (peer, Source::adopt(listener.accept().unwrap().0.into(), false))
}

/// Reads at most `buffer` bytes; returns how many came, and how many calls it took.
fn read(source: &Source, buffer: usize) -> (usize, u32) {
    let calls = Cell::new(0);
    let mut buffer = vec![0; buffer];
    let asked = buffer.len();
    let call = |socket: Handle<'_>| {
        calls.set(calls.get() + 1);
        let read = socket.receive(&mut buffer, 0)?;
        Ok((read, 0 < read && read < asked))
    };
    let operation = Operation::new(Reason::Read, Location::caller());
    let read = source.operate(operation, call).unwrap();
    (read, calls.get())
}

/// Registers the source, waits until its first events are handled, and finds its input empty.
fn settle(source: &Source) {
    source.set_timeout(Direction::Input, Some(Duration::from_millis(50))).unwrap();
    let call = |socket: Handle<'_>| socket.receive(&mut [0; 1], 0);
    let error = source.io(Operation::new(Reason::Read, Location::caller()), call).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    source.set_timeout(Direction::Input, None).unwrap();
}

#[test]
fn a_socket_that_never_waits_is_never_registered() {
    let (mut peer, source) = pair();
    peer.write_all(b"data").unwrap();
    assert_eq!(read(&source, 8), (4, 1));
    assert!(source.registration.get().is_none());
}

#[test]
#[cfg_attr(
    feature = "portable-poller",
    ignore = "that selector cannot tell the end of a stream, and asks again"
)]
fn a_read_after_a_short_one_waits_without_asking() {
    let (mut peer, source) = pair();
    settle(&source);
    thread::scope(|scope| {
        for _ in 0..20 {
            let reader = scope.spawn(|| read(&source, 8));
            thread::sleep(Duration::from_millis(5));
            peer.write_all(b"data").unwrap();
            assert_eq!(reader.join().unwrap(), (4, 1));
        }
    });
}

#[test]
fn a_read_that_filled_its_buffer_is_followed_by_a_call() {
    let (mut peer, source) = pair();
    settle(&source);
    peer.write_all(b"more than that").unwrap();
    assert_eq!(read(&source, 4).0, 4);
    assert_eq!(read(&source, 4), (4, 1));
    assert_eq!(read(&source, 400), (6, 1));
}

#[test]
fn after_the_end_no_call_is_left_out() {
    let (mut peer, source) = pair();
    settle(&source);
    peer.write_all(b"last").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read(&source, 8).0, 4);
    for _ in 0..3 {
        assert_eq!(read(&source, 8).0, 0);
    }
}

#[test]
fn what_came_in_time_is_read_even_without_a_poll() {
    let (mut peer, source) = pair();
    // SAFETY: the registration goes into the field that is dropped before the descriptor.
    let registration = unsafe { NetPoller::unpolled().register(source.handle().fd()) }.unwrap();
    assert!(source.registration.set(registration).is_ok());
    source.set_timeout(Direction::Input, Some(Duration::from_millis(200))).unwrap();
    thread::scope(|scope| {
        let reader = scope.spawn(|| read(&source, 8));
        thread::sleep(Duration::from_millis(20));
        peer.write_all(b"data").unwrap();
        assert_eq!(reader.join().unwrap().0, 4);
    });
}

#[test]
fn a_registration_is_made_once_for_all_first_waiters() {
    let (peer, source) = pair();
    thread::scope(|scope| {
        let readers: Vec<_> = (0..8).map(|_| scope.spawn(|| read(&source, 8).0)).collect();
        thread::sleep(Duration::from_millis(20));
        drop(peer);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), 0);
        }
    });
    assert!(source.registration.get().is_some());
}
