//! Tests that decide: ordinary goroutines in a world with a clock of its own and a scheduler that
//! picks by seed.
//!
//! ```
//! use narrowboat::{chan, go, sim};
//! use std::time::{Duration, Instant};
//!
//! let start = Instant::now();
//! let sum = sim::run(42, || {
//!     let (tx, rx) = chan::bounded(0);
//!     for n in 1..=3 {
//!         let tx = tx.clone();
//!         go!(move || {
//!             narrowboat::sleep(Duration::from_secs(3600 * n));
//!             tx.send(n).unwrap();
//!         });
//!     }
//!     drop(tx);
//!     rx.iter().sum::<u64>()
//! });
//! assert_eq!(sum, 6);
//! // Three hours have passed in the world, and none here.
//! assert!(start.elapsed() < Duration::from_secs(600));
//! ```

mod check;
mod failure;
pub mod net;
mod perfetto;
mod random;
mod recorder;
mod schedule;
mod shorten;
mod strategy;

pub use check::{Check, Summary, check};
pub use failure::{Failure, Kind};
use narrowboat_runtime::world;
use random::Random;
use recorder::{Decider, Limits, Recorder};
pub use schedule::{Replay, Schedule};
use std::time::Duration;
pub use strategy::Strategy;
use strategy::Uniform;

/// Runs `f` as the first goroutine of a world in which this seed decides, and returns what it
/// returns. The same seed gives the same run.
///
/// # Panics
/// If `f` panics, or a goroutine that nothing joins. If all goroutines of the world wait for ever,
/// or some are left a minute after `f` has returned. In a world.
///
/// ```
/// use narrowboat::{go, sim};
///
/// let order = |seed| {
///     sim::run(seed, || {
///         let all: Vec<_> = (0..5).map(|n| go!(move || n)).collect();
///         all.into_iter().map(|one| one.join().unwrap()).sum::<i32>()
///     })
/// };
/// assert_eq!(order(1), order(1));
/// ```
#[track_caller]
pub fn run<F, T>(seed: u64, f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    run_hashed(seed, f).0
}

/// As [`run`], with a hash of all that has happened: of turns, waits, times and random numbers. Two
/// runs with the same hash are the same.
///
/// # Panics
/// As [`run`].
///
/// ```
/// use narrowboat::sim;
///
/// let hash = |seed| sim::run_hashed(seed, || narrowboat::spawn(|| ()).join().unwrap()).1;
/// assert_eq!(hash(5), hash(5));
/// assert_ne!(hash(5), hash(6));
/// ```
#[track_caller]
pub fn run_hashed<F, T>(seed: u64, f: F) -> (T, u64)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let limits = Limits { turns: u64::MAX, time: Duration::MAX, grace: Duration::from_secs(60) };
    let decider = Decider::Uniform(Uniform(Random::stream(seed, 0)));
    let world = match world::run(Box::new(Recorder::new(seed, decider, limits)), net::around(seed, f)) {
        Ok(world) => world,
        Err(e) => panic!("cannot make a world: {e}"),
    };
    let ran = failure::judge(world);
    match ran.outcome {
        Ok(value) => (value, ran.recorder.hash),
        Err(mut failure) => {
            failure.of_check = false;
            panic!("seed {seed}: {failure}")
        }
    }
}
