//! What the tests share: who carries them out, and small things to count with.
//!
//! Every test is a function of a [`Way`], and [`ways!`] makes three tests of it: all on threads, all on goroutines, and
//! mixed. The second are then all run once more, in a process with one worker of one processor, where everything that
//! waits for something in the wrong manner stands still.

#![allow(dead_code, unused_macros, reason = "each test binary uses a part of it")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Who carries out a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Threads,
    Goroutines,
    /// The body is a thread, and of those it starts every second one.
    Mixed,
}

/// Work that was started; ends with its result, or with the panic it ended with.
pub enum Work<T> {
    Goroutine(narrowboat_runtime::JoinHandle<T>),
    Thread(std::thread::JoinHandle<T>),
}

impl Way {
    /// Starts work beside the caller.
    pub fn go<T: Send + 'static>(self, f: impl FnOnce() -> T + Send + 'static) -> Work<T> {
        static TURN: AtomicUsize = AtomicUsize::new(0);
        let thread = match self {
            Way::Threads => true,
            Way::Goroutines => false,
            Way::Mixed => TURN.fetch_add(1, Ordering::Relaxed) & 1 == 0,
        };
        if thread {
            Work::Thread(std::thread::spawn(f))
        } else {
            Work::Goroutine(narrowboat_runtime::spawn(f))
        }
    }

    /// Starts `n` of a kind, and numbers them.
    pub fn many<T: Send + 'static>(
        self,
        n: usize,
        f: impl Fn(usize) -> T + Clone + Send + 'static,
    ) -> Vec<Work<T>> {
        let start = |i| {
            let f = f.clone();
            self.go(move || f(i))
        };
        (0..n).map(start).collect()
    }

    /// So many goroutines, or as many threads as a machine bears.
    pub fn crowd(self, goroutines: usize) -> usize {
        if self == Way::Goroutines { goroutines } else { goroutines.min(100) }
    }

    /// Carries out the test; if it does not end, it fails.
    pub fn test(self, body: fn(Way)) {
        let (done, result) = mpsc::channel();
        std::thread::spawn(move || {
            let outcome = match self {
                Way::Goroutines => narrowboat_runtime::spawn(move || body(self)).join(),
                _ => catch_unwind(AssertUnwindSafe(|| body(self))),
            };
            let _ = done.send(outcome);
        });
        match result.recv_timeout(Duration::from_secs(120)) {
            Ok(outcome) => outcome.unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => panic!("it stands still"),
        }
    }
}

impl<T> Work<T> {
    pub fn join(self) -> T {
        self.try_join().unwrap_or_else(|panic| resume_unwind(panic))
    }

    pub fn try_join(self) -> std::thread::Result<T> {
        match self {
            Work::Goroutine(handle) => handle.join(),
            Work::Thread(handle) => handle.join(),
        }
    }
}

pub fn join_all<T>(works: Vec<Work<T>>) -> Vec<T> {
    works.into_iter().map(Work::join).collect()
}

macro_rules! ways {
    ($($name:ident),* $(,)?) => {
        mod on_threads {
            $(#[test] fn $name() { crate::common::Way::Threads.test(super::$name); })*
        }
        mod on_goroutines {
            $(#[test] fn $name() { crate::common::Way::Goroutines.test(super::$name); })*
        }
        mod mixed {
            $(#[test] fn $name() { crate::common::Way::Mixed.test(super::$name); })*
        }
        #[test]
        fn on_one_worker_of_one_processor() {
            crate::common::again("on_goroutines", [$(stringify!($name)),*].len());
        }
    };
}

/// Runs the tests of the calling binary whose names contain `filter` again, in a process that has but one worker and one
/// processor, and passes if they do: `count` of them.
pub fn again(filter: &str, count: usize) {
    let output = std::process::Command::new(std::env::current_exe().expect("a test knows its binary"))
        .arg(filter)
        .env("NARROWBOAT_PROCESSORS", "1")
        .env("NARROWBOAT_WORKERS", "1")
        .output()
        .expect("the test binary runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && out.contains(&format!(" {count} passed")),
        "{}\n{out}\n{err}",
        output.status
    );
}

/// The size of a test: `release` with optimisation, `debug` without, both times `NARROWBOAT_TEST_SCALE` per cent.
pub fn sized(release: usize, debug: usize) -> usize {
    let percent = std::env::var("NARROWBOAT_TEST_SCALE").map_or(100, |text| {
        text.parse().unwrap_or_else(|_| panic!("NARROWBOAT_TEST_SCALE should be a number, not {text:?}"))
    });
    let size = if cfg!(debug_assertions) { debug } else { release };
    (size * percent / 100).max(1)
}

/// Gives others the time to block. Tests stay right, if less sharp, when it is too short.
pub fn settle() {
    pause(ms(20));
}

pub fn pause(duration: Duration) {
    narrowboat_runtime::sleep(duration);
}

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// So long that only a lost wake-up reaches it.
pub const LONG: Duration = Duration::from_secs(60);

/// Counts those of its values that are alive, which fail if they are dropped twice.
pub struct Census {
    made: AtomicUsize,
    dropped: AtomicUsize,
}

impl Census {
    pub const fn new() -> Census {
        Census { made: AtomicUsize::new(0), dropped: AtomicUsize::new(0) }
    }

    pub fn citizen(&'static self) -> Citizen {
        self.made.fetch_add(1, Ordering::SeqCst);
        Citizen { census: self, alive: Box::new(true) }
    }

    pub fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    pub fn alive(&self) -> usize {
        self.made() - self.dropped.load(Ordering::SeqCst)
    }
}

pub struct Citizen {
    census: &'static Census,
    alive: Box<bool>,
}

impl Drop for Citizen {
    fn drop(&mut self) {
        assert!(std::mem::replace(&mut *self.alive, false), "dropped twice");
        self.census.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// A small generator of random numbers.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: usize) -> Dice {
        Dice((seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) % sides
    }
}

/// Whether a type is `Send`, and whether it is `Sync`. A constant of the type itself, if it has one, comes before that of
/// a trait.
macro_rules! send_and_sync {
    ($type:ty) => {{
        #[allow(dead_code)]
        struct Probe<T: ?Sized>(std::marker::PhantomData<T>);
        #[allow(dead_code)]
        trait Neither {
            const SEND: bool = false;
            const SYNC: bool = false;
        }
        impl<T: ?Sized> Neither for Probe<T> {}
        #[allow(dead_code)]
        impl<T: ?Sized + Send> Probe<T> {
            const SEND: bool = true;
        }
        #[allow(dead_code)]
        impl<T: ?Sized + Sync> Probe<T> {
            const SYNC: bool = true;
        }
        (Probe::<$type>::SEND, Probe::<$type>::SYNC)
    }};
}
