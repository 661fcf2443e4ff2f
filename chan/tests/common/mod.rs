//! What the tests share: who runs them, and the catalogue of behaviours that every flavour of channel has.
//!
//! All concurrent work is started with [`go`]: as goroutines, or as threads with `NARROWBOAT_TEST_ON=threads`. The bodies
//! of the tests run on plain threads, so that both kinds meet on every channel.

#![allow(dead_code)]

#[macro_use]
pub mod catalogue;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Work that was started; ends with its result, or with the panic it ended with.
pub enum Work<T> {
    Goroutine(narrowboat_runtime::JoinHandle<T>),
    Thread(std::thread::JoinHandle<T>),
}

/// Starts work beside the caller.
pub fn go<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Work<T> {
    match std::env::var("NARROWBOAT_TEST_ON").as_deref() {
        Ok("threads") => Work::Thread(std::thread::spawn(f)),
        Ok(other) => panic!("NARROWBOAT_TEST_ON is '{other}': set it to threads, or unset it"),
        Err(_) => Work::Goroutine(narrowboat_runtime::spawn(f)),
    }
}

impl<T> Work<T> {
    pub fn join(self) -> T {
        self.try_join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    pub fn try_join(self) -> std::thread::Result<T> {
        match self {
            Work::Goroutine(handle) => handle.join(),
            Work::Thread(handle) => handle.join(),
        }
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
