//! Blocking calls of libc in a process that has no descriptor left to watch theirs with. They wait
//! all the same, and not by blocking the processor: what they wait for may be on it.

use narrowboat::{sleep, spawn};
use narrowboat_testing::{assert_passed, in_child, limit_resource, program_on_one_processor};
use std::io::{Read, Write, pipe};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Runs `f` in a process of its own, on one processor, with no more descriptors than are open now.
fn without_descriptors(
    test: &str,
    f: impl FnOnce(std::io::PipeReader, std::io::PipeWriter) + Send + 'static,
) {
    if let Some(output) = in_child(test) {
        return assert_passed(&output, 1);
    }
    program_on_one_processor(|| {
        let (reader, writer) = pipe().unwrap();
        let next_free = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
        limit_resource(libc::RLIMIT_NOFILE, next_free as u64);
        f(reader, writer);
    });
}

#[test]
fn a_pipe_between_two_goroutines_carries_all() {
    without_descriptors("a_pipe_between_two_goroutines_carries_all", |mut reader, mut writer| {
        let sent = spawn(move || writer.write_all(&[7; 200_000]));
        let mut received = Vec::new();
        reader.read_to_end(&mut received).unwrap();
        sent.join().unwrap().unwrap();
        assert!(received == [7; 200_000]);
    });
}

#[test]
fn a_poll_ends_with_the_event_or_in_time() {
    without_descriptors("a_poll_ends_with_the_event_or_in_time", |reader, mut writer| {
        let mut one = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut poll = |timeout| {
            // SAFETY: there is one descriptor.
            unsafe { libc::poll(&mut one, 1, timeout) }
        };
        let began = Instant::now();
        assert_eq!(poll(30), 0);
        assert!(began.elapsed() >= Duration::from_millis(30));
        let writes = spawn(move || {
            sleep(Duration::from_millis(10));
            writer.write_all(b"x").map(|()| writer)
        });
        assert_eq!(poll(60_000), 1);
        assert!(began.elapsed() < Duration::from_secs(30));
        writes.join().unwrap().unwrap();
    });
}
