//! A fork without exec shares every descriptor with its parent, the netpoller's too. A program of
//! its own, because it forks.

mod common;

use common::{bounded, moment, settle};
use narrowboat_net::fd::Async;
use narrowboat_net::unix::UnixStream;
use narrowboat_net::{TcpListener, TcpStream};
use std::io::{Read, Write};

const SENTENCE: &str = "this process was forked from one in which Narrowboat had started its threads";

/// Runs `f` in a forked process, and says with which code that ended.
fn fork(f: impl FnOnce()) -> i32 {
    // SAFETY: the child uses nothing but what `f` has, and ends here.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::alarm(60);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
            libc::_exit(if outcome.is_ok() { 0 } else { 101 })
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        assert!(libc::WIFEXITED(status), "signal {}", libc::WTERMSIG(status));
        libc::WEXITSTATUS(status)
    }
}

fn try_sockets() {
    let (mut one, mut other) = common::pair();
    settle(&one);
    other.write_all(b"x").unwrap();
    let mut fresh = UnixStream::pair().unwrap();
    let said = fork(|| {
        assert_eq!(one.read(&mut [0; 8]).unwrap(), 1);
        one.write_all(b"y").unwrap();
        // What would have to wait says so, whether the parent's netpoller knows the descriptor or not.
        for error in [one.read(&mut [0; 8]).unwrap_err(), fresh.0.read(&mut [0; 8]).unwrap_err()] {
            assert!(error.to_string().contains(SENTENCE), "{error}");
        }
        let error = Async::new(std::io::pipe().unwrap().0).unwrap_err();
        assert!(error.to_string().contains(SENTENCE), "{error}");
        assert!(one.readable().try_recv().is_err());
        other.set_nonblocking(true).unwrap();
        assert_eq!(other.read(&mut [0; 8]).unwrap(), 1);
        // Gone here, and only here.
        drop((one, other, fresh));
    });
    assert_eq!(said, 0);
}

/// A child that closes what it has inherited takes nothing away from its parent.
fn close_in_the_child() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let (mut served, _) = listener.accept().unwrap();
    settle(&client);
    settle(&served);
    let said = fork(|| {
        // SAFETY: these are the child's copies, and neither the child nor anything that it does
        // uses them again.
        unsafe {
            drop(std::ptr::read(&client));
            drop(std::ptr::read(&served));
            drop(std::ptr::read(&listener));
        }
    });
    assert_eq!(said, 0);
    let mut reader = client.try_clone().unwrap();
    let reading = narrowboat_runtime::spawn(move || reader.read(&mut [0; 8]).unwrap());
    moment();
    served.write_all(b"text").unwrap();
    assert_eq!(reading.join().unwrap(), 4);
    let accepting = narrowboat_runtime::spawn(move || listener.accept().map(drop).unwrap());
    moment();
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
