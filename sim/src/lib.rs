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

mod chooser;
mod random;

use chooser::Chooser;
use narrowboat_runtime::world::{self, End, Leftover};
use std::fmt::Write;

/// Runs `f` as the first goroutine of a world in which this seed decides, and returns what it
/// returns. The same seed gives the same run.
///
/// # Panics
/// If `f` panics. If all goroutines of the world wait for ever, or some are left when `f` has
/// returned. In a world.
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
    let world = match world::run(Box::new(Chooser::new(seed)), f) {
        Ok(world) => world,
        Err(e) => panic!("cannot make a world: {e}"),
    };
    match (world.end, world.outcome) {
        (_, Some(Err(panic))) => std::panic::resume_unwind(panic.into_payload()),
        (End::Complete, Some(Ok(value))) => value,
        (End::Deadlock, _) => panic!("seed {seed}: all goroutines wait for ever:\n{}", list(&world.left)),
        _ => panic!("seed {seed}: goroutines are left:\n{}", list(&world.left)),
    }
}

fn list(left: &[Leftover]) -> String {
    let mut text = String::new();
    for goroutine in left {
        let Leftover { number, spawned_at, reason, waits_at, .. } = goroutine;
        let _ = writeln!(text, "  goroutine {number}, spawned at {spawned_at}: {reason:?} at {waits_at}");
    }
    text
}
