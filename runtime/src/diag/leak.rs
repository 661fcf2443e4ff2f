//! Goroutines that a test leaves behind.
//!
//! A test that passes may still have forgotten a goroutine: one that waits for a channel that is
//! never closed, for a lock that is never released, or for a context that is never cancelled. In a
//! program that lives long, each costs memory for ever. [`check`] runs the body of a test, and
//! fails if goroutines that it has spawned, or that those have spawned, are still there some time
//! later.
//!
//! Goroutines are told apart by a label that they inherit ([`labels!`](crate::labels!)), so other
//! tests of the same process do not disturb. What is not inherited is not found: goroutines that a
//! plain thread spawns, functions that a timer runs, and what is spawned under a set of labels from
//! elsewhere.
//!
//! ```
//! use narrowboat::{chan, go, leak};
//!
//! leak::check(|| {
//!     let (tx, rx) = chan::bounded(1);
//!     go!(move || tx.send("hello").unwrap());
//!     assert_eq!(rx.recv(), Ok("hello"));
//! });
//! ```
//!
//! For programs that run, the debug page (feature `debug`) marks groups of goroutines that only
//! grow.

use super::dump::{Dump, GoroutineInfo, dump};
use crate::{Labels, run, sleep};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long goroutines may take to end after the body.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How many looks in a row must find nothing, where a label that is kept elsewhere leaves a doubt.
const LOOKS: u32 = 3;
/// How much longer a goroutine may take to start, where there are always some that have not.
const CHANCE: Duration = Duration::from_secs(1);

const LABEL: &str = "leak_check";

/// Runs `f` as a goroutine, and returns what it returns, if all goroutines that it has spawned end
/// within two seconds.
///
/// # Panics
/// If goroutines are left over: with where they were spawned, what they wait for, and where. Also
/// if a processor does not answer, since what runs there is not known. If `f` panics, with its
/// payload.
///
/// ```should_panic
/// use narrowboat::{chan, go, leak};
///
/// leak::check(|| {
///     let (tx, rx) = chan::bounded::<()>(0);
///     go!(move || rx.recv());
///     std::mem::forget(tx);
/// });
/// ```
#[track_caller]
pub fn check<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Check::new().run(f)
}

type Predicate = Box<dyn Fn(&GoroutineInfo) -> bool>;

/// A check with other settings than those of [`check`].
///
/// ```
/// use narrowboat::{go, leak::Check, sleep};
/// use std::time::Duration;
///
/// let check = Check::new()
///     .patience(Duration::from_millis(500))
///     .ignore(|goroutine| goroutine.name() == Some("cache"));
/// check.run(|| go!(|| sleep(Duration::from_millis(10))));
/// ```
#[must_use = "a check does nothing until `run` is called"]
pub struct Check {
    patience: Duration,
    ignored: Vec<Predicate>,
}

impl Check {
    /// The settings of [`check`].
    ///
    /// ```
    /// assert_eq!(narrowboat::leak::Check::new().run(|| 7), 7);
    /// ```
    pub fn new() -> Check {
        Check { patience: PATIENCE, ignored: Vec::new() }
    }

    /// How long goroutines may take to end after the body has returned.
    ///
    /// ```
    /// use narrowboat::leak::Check;
    ///
    /// Check::new().patience(std::time::Duration::from_secs(10)).run(|| ());
    /// ```
    pub fn patience(self, patience: Duration) -> Check {
        Check { patience, ..self }
    }

    /// Does not count goroutines that `ignored` accepts. May be called several times.
    ///
    /// ```
    /// use narrowboat::leak::Check;
    ///
    /// Check::new().ignore(|goroutine| goroutine.spawned_at().file().ends_with("pool.rs")).run(|| ());
    /// ```
    pub fn ignore(mut self, ignored: impl Fn(&GoroutineInfo) -> bool + 'static) -> Check {
        self.ignored.push(Box::new(ignored));
        self
    }

    /// Runs `f` and checks what it leaves behind: see [`check`].
    ///
    /// # Panics
    /// As `check`.
    ///
    /// ```
    /// narrowboat::leak::Check::new().run(|| narrowboat::go!(|| 1 + 1));
    /// ```
    #[track_caller]
    pub fn run<F, T>(self, f: F) -> T
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number: Arc<str> = NEXT.fetch_add(1, Ordering::Relaxed).to_string().into();
        let labels = Labels::current().with_shared(LABEL, number.clone());
        let output = run(move || labels.in_scope(f));
        if let Some(leaks) = self.wait(&number) {
            panic!("{leaks}");
        }
        output
    }

    /// Waits until nothing with the label is left. Returns what is, when time is up.
    ///
    /// If the label has no other owner, there is no goroutine that has it. If it has one, that may
    /// also be a set that the program keeps, or a goroutine that is ignored, and only a look at all
    /// goroutines can tell. But processors are looked at one by one, so a look misses a newcomer
    /// that goes from one that has not been looked at to one that has. Therefore several must
    /// agree, also when time is up.
    fn wait(&self, number: &Arc<str>) -> Option<Leaks> {
        let end = Instant::now() + self.patience;
        let mut pause = Duration::from_millis(1);
        let mut clean_looks = 0;
        while Arc::strong_count(number) > 1 {
            let mut left = dump();
            let (unstarted, silent) = (left.unstarted(), left.silent_processors().len());
            left.retain(|goroutine| {
                goroutine.labels().get(LABEL) == Some(number)
                    && !self.ignored.iter().any(|ignored| ignored(goroutine))
            });
            let is_clean = left.goroutines().is_empty() && silent == 0;
            let now = Instant::now();
            if !is_clean && now >= end {
                return Some(Leaks { left, patience: self.patience });
            }
            // Goroutines of others are started all the time. One of ours has its chance.
            let counts = is_clean && (unstarted == 0 || now >= end + CHANCE);
            clean_looks = if counts { clean_looks + 1 } else { 0 };
            if clean_looks == LOOKS {
                break;
            }
            sleep(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
        None
    }
}

impl Default for Check {
    fn default() -> Check {
        Check::new()
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// What was left over, as the text of a panic.
struct Leaks {
    left: Dump,
    patience: Duration,
}

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, patience) = (self.left.goroutines().len(), self.patience);
        match count {
            0 => write!(f, "goroutines may be left over after {patience:?}: ")?,
            1 => write!(f, "a goroutine is left over after {patience:?}: ")?,
            _ => write!(f, "{count} goroutines are left over after {patience:?}: ")?,
        }
        write!(f, "{}", self.left)
    }
}
