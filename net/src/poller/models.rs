//! The readiness word under loom: plain threads run the steps of operations and polls in every
//! order, down to the park of the runtime. A lost wake-up is a deadlock, which loom finds.

use super::readiness::{Readiness, Signal, Waited};
use loom::sync::{Arc, Mutex};
use loom::thread;
use narrowboat_runtime::park::Reason;
use std::panic::Location;
use std::time::{Duration, Instant};

/// The receiving end of a stream in the kernel, and the readiness that we keep of it.
struct Socket {
    readiness: Readiness,
    kernel: Mutex<Kernel>,
}

#[derive(Default)]
struct Kernel {
    bytes: usize,
    ended: bool,
}

fn model(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

impl Socket {
    fn new() -> Arc<Socket> {
        Arc::new(Socket { readiness: Readiness::new(), kernel: Mutex::default() })
    }

    /// Bytes arrive, or the end; later a poll reports the event.
    fn arrive(&self, bytes: usize, ended: bool) {
        let mut kernel = self.kernel.lock().unwrap();
        kernel.bytes += bytes;
        kernel.ended |= ended;
        drop(kernel);
        self.poll();
    }

    /// Reports the present state: one event may stand for several arrivals.
    fn poll(&self) {
        let ended = self.kernel.lock().unwrap().ended;
        self.readiness.signal(0, if ended { Signal::Hangup } else { Signal::Ready });
    }

    /// Takes at most `most` bytes. Zero is the end, `None` is "would block".
    fn receive(&self, most: usize) -> Option<usize> {
        let mut kernel = self.kernel.lock().unwrap();
        let taken = kernel.bytes.min(most);
        kernel.bytes -= taken;
        (taken > 0 || kernel.ended).then_some(taken)
    }

    fn wait(&self, seen: super::readiness::Seen, deadline: Option<Instant>) -> Waited {
        self.readiness.wait(seen, deadline, Reason::Read, 0, Location::caller())
    }

    /// A read, as in `source::operate`: it skips the call if the word says that the call would find
    /// nothing, and marks the direction as drained after a short read.
    fn read(&self, most: usize) -> usize {
        let mut seen = self.readiness.look();
        let mut futile = seen.is_drained();
        loop {
            if !futile && let Some(taken) = self.receive(most) {
                if 0 < taken && taken < most {
                    self.readiness.mark_drained(seen);
                }
                return taken;
            }
            assert_eq!(self.wait(seen, None), Waited::Woken);
            futile = false;
            seen = self.readiness.look();
        }
    }
}

/// Short reads, after which the next call is skipped, with arrivals between.
#[test]
fn loom_every_byte_is_read_although_futile_calls_are_left_out() {
    model(4, || {
        let socket = Socket::new();
        let peer = {
            let socket = socket.clone();
            thread::spawn(move || (0..2).for_each(|_| socket.arrive(1, false)))
        };
        let mut read = 0;
        while read < 2 {
            read += socket.read(8);
        }
        assert_eq!(read, 2);
        peer.join().unwrap();
    });
}

/// The end comes alone, or together with the last bytes, before or after they are read.
#[test]
fn loom_the_end_is_seen_behind_a_short_read() {
    for together in [false, true] {
        model(4, move || {
            let socket = Socket::new();
            let peer = {
                let socket = socket.clone();
                thread::spawn(move || {
                    socket.arrive(1, together);
                    socket.arrive(0, true);
                })
            };
            assert_eq!((socket.read(8), socket.read(8), socket.read(8)), (1, 0, 0));
            peer.join().unwrap();
        });
    }
}

/// Two threads poll, one of them late: the bytes that it reports were read long ago.
#[test]
fn loom_an_event_too_many_hides_nothing() {
    model(2, || {
        let socket = Socket::new();
        let late = {
            let socket = socket.clone();
            thread::spawn(move || socket.poll())
        };
        let peer = {
            let socket = socket.clone();
            thread::spawn(move || socket.arrive(1, false))
        };
        assert_eq!(socket.read(8), 1);
        let more = {
            let socket = socket.clone();
            thread::spawn(move || socket.arrive(1, false))
        };
        assert_eq!(socket.read(8), 1);
        for thread in [late, peer, more] {
            thread.join().unwrap();
        }
    });
}

/// One event and two waiters: both try again, and each gets one of the bytes.
#[test]
fn loom_one_event_wakes_all_waiters() {
    model(3, || {
        let socket = Socket::new();
        let other = {
            let socket = socket.clone();
            thread::spawn(move || socket.read(1))
        };
        let peer = {
            let socket = socket.clone();
            thread::spawn(move || socket.arrive(2, false))
        };
        assert_eq!(socket.read(1), 1);
        assert_eq!(other.join().unwrap(), 1);
        peer.join().unwrap();
    });
}

/// A deadline passes at any moment, also together with the event. A waiter that has timed out is in
/// no queue any more.
#[test]
fn loom_a_deadline_races_with_an_event() {
    model(4, || {
        let socket = Socket::new();
        let peer = {
            let socket = socket.clone();
            thread::spawn(move || socket.arrive(1, false))
        };
        let seen = socket.readiness.look();
        if socket.receive(8).is_none() {
            // In a model a deadline may pass whenever a thread sleeps until it.
            socket.wait(seen, Some(Instant::now() + Duration::from_secs(3600)));
            assert_eq!(socket.read(8), 1);
        }
        peer.join().unwrap();
    });
}

/// An event of the last descriptor is handled while the next one gets the entry.
#[test]
fn loom_a_stale_event_changes_nothing() {
    model(4, || {
        let readiness = Arc::new(Readiness::new());
        let late = {
            let readiness = readiness.clone();
            thread::spawn(move || readiness.signal(0, Signal::Hangup))
        };
        readiness.retire();
        let seen = readiness.look();
        readiness.mark_drained(seen);
        assert!(readiness.look().is_drained());
        late.join().unwrap();
        assert!(readiness.look().is_drained() && readiness.generation() == 1);
    });
}
