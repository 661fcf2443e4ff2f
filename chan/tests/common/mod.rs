//! What the tests share: who runs them, how much of them, and things to count and to draw lots with.
//!
//! Every suite runs three ways, by `NARROWBOAT_TEST_ON`:
//!
//! | value | bodies of the tests | what they start with [`go`] |
//! | --- | --- | --- |
//! | `threads` | threads | threads |
//! | `both` (or unset) | threads | goroutines |
//! | `goroutines` | goroutines | goroutines |

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::env::VarError;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Makes tests of functions, which run where `NARROWBOAT_TEST_ON` says. One that is left out is dead code, which the
/// compiler reports.
///
/// Those after `scoped:` lend their locals to scoped threads. As goroutines they need a stack of their own; all others
/// share theirs.
macro_rules! suite {
    ($($(#[$attribute:meta])* $name:ident),* $(; scoped: $($scoped:ident),*)? $(,)?) => {
        mod suite {
            $(
                #[test]
                $(#[$attribute])*
                fn $name() {
                    $crate::common::body(super::$name, $crate::common::Stack::Shared);
                }
            )*
            $($(
                #[test]
                fn $scoped() {
                    $crate::common::body(super::$scoped, $crate::common::Stack::Own);
                }
            )*)?
        }
    };
}

/// Where the bodies of the tests and the work that they start run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum On {
    Threads,
    Both,
    Goroutines,
}

pub fn on() -> On {
    match std::env::var("NARROWBOAT_TEST_ON").as_deref() {
        Ok("threads") => On::Threads,
        Ok("both") | Err(VarError::NotPresent) => On::Both,
        Ok("goroutines") => On::Goroutines,
        other => {
            panic!("NARROWBOAT_TEST_ON is {other:?}: set it to threads, both or goroutines, or unset it")
        }
    }
}

/// What kind of stack a body has as a goroutine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    Shared,
    Own,
}

/// Runs the body of a test.
pub fn body(test: impl FnOnce() + Send + 'static, stack: Stack) {
    if on() != On::Goroutines {
        return test();
    }
    let mut builder = narrowboat_runtime::Builder::new().name("the test's body");
    if stack == Stack::Own {
        builder = builder.own_stack(4 << 20);
    }
    let body = builder.spawn(test).expect("the runtime starts");
    body.join().unwrap_or_else(|panic| resume_unwind(panic));
}

/// Work that was started; ends with its result, or with the panic it ended with.
pub enum Work<T> {
    Goroutine(narrowboat_runtime::JoinHandle<T>),
    Thread(std::thread::JoinHandle<T>),
}

/// Starts work beside the caller.
#[track_caller]
pub fn go<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Work<T> {
    match on() {
        On::Threads => Work::Thread(std::thread::spawn(f)),
        On::Both | On::Goroutines => Work::Goroutine(narrowboat_runtime::spawn(f)),
    }
}

impl<T: Send + 'static> Work<T> {
    pub fn join(self) -> T {
        self.try_join().unwrap_or_else(|panic| resume_unwind(panic))
    }

    pub fn is_finished(&self) -> bool {
        match self {
            Work::Goroutine(handle) => handle.is_finished(),
            Work::Thread(handle) => handle.is_finished(),
        }
    }

    /// As `join`, for work that ends soon unless a wake-up was lost.
    #[track_caller]
    pub fn join_soon(self) -> T
    where
        T: Send + 'static,
    {
        let (done, ended) = narrowboat_chan::bounded(1);
        std::thread::spawn(move || done.send(self.try_join()));
        let result = ended.recv_timeout(LONG).expect("somebody waits for ever");
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    pub fn try_join(self) -> std::thread::Result<T> {
        match self {
            Work::Goroutine(handle) => handle.join(),
            // On the pool: in a goroutine std's join would block the processor, and what the thread
            // waits for may be there.
            Work::Thread(handle) => narrowboat_runtime::blocking(move || handle.join()),
        }
    }
}

/// The size of a heavy test: `NARROWBOAT_TEST_SCALE` per cent of it.
pub fn scaled(size: usize) -> usize {
    let percent = match std::env::var("NARROWBOAT_TEST_SCALE") {
        Ok(text) => {
            text.parse().unwrap_or_else(|_| panic!("NARROWBOAT_TEST_SCALE should be a number, not {text:?}"))
        }
        Err(_) => 100,
    };
    (size * percent / 100).max(1)
}

/// The same for a test that is to be smaller without optimisation.
pub fn sized(release: usize, debug: usize) -> usize {
    scaled(if cfg!(debug_assertions) { debug } else { release })
}

/// Waits until `condition` holds, looking now and then; fails after a generous while.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "never happened: {what}");
        pause(ms(1));
    }
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

/// Starts work that is going to wait for the caller's next step, and gives it the time to begin its wait.
pub fn waits<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Work<T> {
    let started = std::sync::Arc::new(AtomicUsize::new(0));
    let work = {
        let started = started.clone();
        go(move || {
            started.store(1, Ordering::SeqCst);
            f()
        })
    };
    eventually("it starts", || started.load(Ordering::SeqCst) == 1);
    pause(ms(3));
    work
}

/// So long that only a lost wake-up reaches it.
pub const LONG: Duration = Duration::from_secs(60);

/// Counts how many of its values are alive, and fails if one is dropped twice.
pub struct Census {
    made: AtomicUsize,
    dropped: AtomicUsize,
}

impl Census {
    pub const fn new() -> Census {
        Census { made: AtomicUsize::new(0), dropped: AtomicUsize::new(0) }
    }

    /// One that lives for ever, for tests that run several times at once.
    pub fn leaked() -> &'static Census {
        Box::leak(Box::new(Census::new()))
    }

    pub fn citizen(&'static self) -> Citizen {
        self.made.fetch_add(1, Ordering::SeqCst);
        Citizen { census: self, alive: true, panics: false }
    }

    /// A value whose destructor panics, after it has been counted.
    pub fn explosive(&'static self) -> Citizen {
        let mut citizen = self.citizen();
        citizen.panics = true;
        citizen
    }

    pub fn alive(&self) -> usize {
        self.made.load(Ordering::SeqCst) - self.dropped.load(Ordering::SeqCst)
    }

    pub fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }
}

pub struct Citizen {
    census: &'static Census,
    alive: bool,
    panics: bool,
}

impl Drop for Citizen {
    fn drop(&mut self) {
        assert!(std::mem::replace(&mut self.alive, false), "dropped twice");
        self.census.dropped.fetch_add(1, Ordering::SeqCst);
        if self.panics {
            panic!("explosive");
        }
    }
}

/// A small generator of random numbers.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) % sides
    }
}
