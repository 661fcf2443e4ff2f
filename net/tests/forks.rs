//! A fork without exec shares every descriptor with its parent, the netpoller's too. A program of
//! its own, because it forks.

mod loopback;
#[path = "loopback/registered.rs"]
mod registered;

use narrowboat_net::fd::Async;
use narrowboat_net::unix::UnixStream;
use narrowboat_net::{TcpListener, TcpStream};
use narrowboat_testing::{FORKED, bounded, settle, works_in_fork};
use registered::register;
use std::io::{Read, Write};

fn try_sockets() {
    let (mut one, mut other) = loopback::pair();
    register(&one);
    other.write_all(b"x").unwrap();
    let mut fresh = UnixStream::pair().unwrap();
    works_in_fork(|| {
        assert_eq!(one.read(&mut [0; 8]).unwrap(), 1);
        one.write_all(b"y").unwrap();
        // What would have to wait says so, whether the parent's netpoller knows the descriptor or not.
        for error in [one.read(&mut [0; 8]).unwrap_err(), fresh.0.read(&mut [0; 8]).unwrap_err()] {
            assert!(error.to_string().contains(FORKED), "{error}");
        }
        let error = Async::new(std::io::pipe().unwrap().0).unwrap_err();
        assert!(error.to_string().contains(FORKED), "{error}");
        assert!(one.readable().try_recv().is_err());
        other.set_nonblocking(true).unwrap();
        assert_eq!(other.read(&mut [0; 8]).unwrap(), 1);
        // Gone here, and only here.
        drop((one, other, fresh));
    });
}

/// A child that closes what it has inherited takes nothing away from its parent.
fn close_in_the_child() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let (mut served, _) = listener.accept().unwrap();
    register(&client);
    register(&served);
    works_in_fork(|| {
        // SAFETY: these are the child's copies, and neither the child nor anything that it does
        // uses them again.
        unsafe {
            drop(std::ptr::read(&client));
            drop(std::ptr::read(&served));
            drop(std::ptr::read(&listener));
        }
    });
    let mut reader = client.try_clone().unwrap();
    let reading = narrowboat_runtime::spawn(move || reader.read(&mut [0; 8]).unwrap());
    settle();
    served.write_all(b"text").unwrap();
    assert_eq!(reading.join().unwrap(), 4);
    let accepting = narrowboat_runtime::spawn(move || listener.accept().map(drop).unwrap());
    settle();
    let _another = TcpStream::connect(address).unwrap();
    accepting.join().unwrap();
}

#[test]
fn a_fork_uses_sockets_without_waiting_and_leaves_the_parents_alone() {
    bounded(|| {
        try_sockets();
        close_in_the_child();
        narrowboat_runtime::spawn(try_sockets).join().unwrap();
        narrowboat_runtime::spawn(close_in_the_child).join().unwrap();
    });
}
