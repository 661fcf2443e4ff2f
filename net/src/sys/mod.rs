//! Everything that depends on the operating system: waiting for events, and the system calls of
//! sockets.
//!
//! A selector offers `new`, `add` (both directions, edge-triggered), `confirm`, `add_selector`,
//! `delete`, `wait` and `interrupt`, and promises:
//!
//! - A later `wait` reports an edge that comes after `add`; the next `wait` reports one that was
//!   there before.
//! - Only one thread waits at a time; a second one returns at once.
//! - `interrupt` ends a wait early, even if it came before the wait.
//! - One wait handles a bounded number of events.

pub(crate) mod address;
pub(crate) mod socket;

// The `polling` crate as it is: the selector of every system. Linux is the exception; `epoll` says
// what that saves.
#[cfg(any(not(target_os = "linux"), feature = "portable-poller"))]
mod portable;
#[cfg(any(not(target_os = "linux"), feature = "portable-poller"))]
pub(crate) use portable::Selector;

#[cfg(all(target_os = "linux", not(feature = "portable-poller")))]
mod epoll;
#[cfg(all(target_os = "linux", not(feature = "portable-poller")))]
pub(crate) use epoll::Selector;

use crate::poller::readiness::Signal;

/// How many events one wait handles at most, so that input never keeps the goroutines that it made
/// ready from running.
const BATCH: usize = 256;

/// What a selector reports about one descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) key: u64,
    pub(crate) read: Option<Signal>,
    pub(crate) write: Option<Signal>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    const LONG: Option<Duration> = Some(Duration::from_secs(20));
    const NOW: Option<Duration> = Some(Duration::ZERO);

    fn keys(selector: &Selector, timeout: Option<Duration>) -> Vec<u64> {
        let mut keys = Vec::new();
        let count = selector.wait(timeout, |event| keys.push(event.key));
        assert_eq!(count, keys.len());
        keys
    }

    #[test]
    fn what_was_there_before_is_reported_and_edges_are_reported_once() {
        let selector = Selector::new().unwrap();
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(b"x").unwrap();
        // SAFETY: the descriptor is deleted below, before it is closed.
        unsafe { selector.add(there.as_fd(), 7) }.unwrap();
        assert_eq!(keys(&selector, LONG), [7]);
        assert_eq!(keys(&selector, NOW), []);
        here.write_all(b"y").unwrap();
        assert_eq!(keys(&selector, LONG), [7]);
        selector.delete(there.as_fd()).unwrap();
        here.write_all(b"z").unwrap();
        assert_eq!(keys(&selector, NOW), []);
    }

    #[test]
    fn a_wait_lasts_as_long_as_asked_and_not_less() {
        let selector = Selector::new().unwrap();
        let began = Instant::now();
        let limit = Duration::from_micros(2_300);
        assert_eq!(keys(&selector, Some(limit)), []);
        assert!(began.elapsed() >= limit);
    }

    #[test]
    fn an_interrupt_ends_the_wait_under_way_or_the_next_one() {
        let selector = Selector::new().unwrap();
        let began = Instant::now();
        for _ in 0..3 {
            selector.interrupt();
            assert_eq!(keys(&selector, LONG), []);
        }
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| keys(&selector, LONG));
            std::thread::sleep(Duration::from_millis(10));
            selector.interrupt();
            assert_eq!(waiting.join().unwrap(), []);
        });
        assert!(began.elapsed() < LONG.unwrap());
    }

    #[test]
    fn an_interrupt_ends_one_wait_only() {
        let selector = Selector::new().unwrap();
        selector.interrupt();
        keys(&selector, LONG);
        let began = Instant::now();
        let limit = Duration::from_millis(5);
        keys(&selector, Some(limit));
        assert!(began.elapsed() >= limit);
    }

    #[test]
    fn a_second_waiter_does_not_wait() {
        let selector = Selector::new().unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| keys(&selector, LONG));
            let began = Instant::now();
            // Until the other thread waits, this one may wait for a moment in its place. It returns
            // in both cases.
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(keys(&selector, Some(Duration::from_millis(1))), []);
            assert!(began.elapsed() < LONG.unwrap());
            selector.interrupt();
            waiting.join().unwrap();
        });
    }

    #[test]
    fn a_burst_is_handled_in_bounded_batches_and_nothing_is_lost() {
        let selector = Selector::new().unwrap();
        let pairs: Vec<_> = (0..BATCH + 50).map(|_| UnixStream::pair().unwrap()).collect();
        for (key, (_, there)) in pairs.iter().enumerate() {
            // SAFETY: the selector is not used any more when the descriptors are closed.
            unsafe { selector.add(there.as_fd(), key as u64) }.unwrap();
        }
        let mut seen = Vec::new();
        while seen.len() < pairs.len() {
            let batch = keys(&selector, LONG);
            assert!(!batch.is_empty() && batch.len() <= BATCH);
            seen.extend(batch);
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..pairs.len() as u64));
        for (_, there) in &pairs {
            selector.delete(there.as_fd()).unwrap();
        }
    }
}
