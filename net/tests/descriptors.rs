//! Out of descriptors. A program of its own, because the limit belongs to the whole process.

mod loopback;

use loopback::{listener, pair};
use narrowboat_testing::{bounded, one_site::go};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

fn limit_descriptors(soft: libc::rlim_t) -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls fill in and read a live structure.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        let before = limit.rlim_cur;
        limit.rlim_cur = soft;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        before
    }
}

#[test]
fn a_connection_that_could_not_be_taken_is_taken_later() {
    bounded(|| {
        const CLIENTS: usize = 3;
        let listener = listener();
        // The netpoller opens descriptors of its own, at the first wait.
        let (mut one, mut other) = pair();
        let echo = go(move || {
            let mut byte = [0; 1];
            while other.read(&mut byte).unwrap() == 1 {
                other.write_all(&byte).unwrap();
            }
        });
        one.write_all(b"x").unwrap();
        one.read_exact(&mut [0; 1]).unwrap();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap())
            .collect();
        let next_free = listener.local_addr().map(|_| std::fs::File::open("/dev/null").unwrap().as_raw_fd());
        let before = limit_descriptors(next_free.unwrap() as libc::rlim_t);
        let began = Instant::now();
        for _ in 0..6 {
            let error = listener.accept().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            // What is open goes on working.
            one.write_all(b"x").unwrap();
            one.read_exact(&mut [0; 1]).unwrap();
        }
        // The first said so at once, the others took their time: a loop that only tries again is not a busy one.
        assert!(began.elapsed() >= Duration::from_millis(4 + 8 + 16 + 32 + 64));
        limit_descriptors(before);
        for client in &clients {
            let (_, peer) = listener.accept().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
        drop(one);
        echo.join();
    });
}
