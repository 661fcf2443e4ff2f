//! Writing to a connection that is gone, in a process that would die of `SIGPIPE`. A program of its own,
//! because the disposition of a signal belongs to the whole process.

mod loopback;

use loopback::pair;
use narrowboat_testing::bounded;
use std::io::{ErrorKind, IoSlice, Write};

#[test]
fn writing_to_a_peer_that_has_gone_is_an_error_and_no_signal() {
    // SAFETY: no handler is involved; the default action of the signal ends the process.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    bounded(|| {
        for vectored in [false, true] {
            let (mut one, other) = pair();
            drop(other);
            let error = std::iter::repeat_with(|| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                if vectored { one.write_vectored(&[IoSlice::new(b"text")]) } else { one.write(b"text") }
            });
            let mut errors = error.filter_map(Result::err).map(|error| error.kind());
            let first = errors.next().unwrap();
            assert!(matches!(first, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{first:?}");
            assert_eq!(errors.next().unwrap(), ErrorKind::BrokenPipe);
        }
    });
}
