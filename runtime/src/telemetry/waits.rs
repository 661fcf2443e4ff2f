//! How long goroutines wait, and where: for profiles of blocking and of locks.
//!
//! While a profile is on, processors run the loop that records turns. That loop notes when a
//! goroutine parks; before the goroutine's next turn it knows how long the wait has lasted and, if
//! the wait is to be counted, takes the goroutine's backtrace. So a park does the same as ever, and
//! costs nothing while no profile is on.
//!
//! A wait for a lock is also counted where the lock is released, because what holds a lock for long
//! is there. The code that wakes a waiter leaves its own backtrace for the waiter's processor, which
//! knows the time.

use super::trace;
use crate::clock;
use crate::lock::{Mutex, Native};
use crate::ours;
use crate::stack::backtrace::Frames;
use crate::wait::Reason;
use std::collections::{BTreeMap, HashMap};
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{MutexGuard, PoisonError};

/// One wait is counted for so many nanoseconds of waiting, on average. 0: none is.
static BLOCK_RATE: AtomicU64 = AtomicU64::new(0);
/// One of so many waits for locks is counted. 0: none is.
static MUTEX_FRACTION: AtomicU64 = AtomicU64::new(0);
/// Changes when a profile is switched on after both were off: what processors have noted before is
/// out of date.
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// The most places that are told apart in each profile, and the most backtraces that wait for their
/// times.
const MAX_PLACES: usize = 1 << 14;
const MAX_PENDING: usize = 1 << 12;

/// Which profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[doc(hidden)]
pub enum WaitProfile {
    /// Waits, where they wait.
    Block,
    /// Waits for locks, where these are released.
    Mutex,
}

/// Waits that are counted together.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[doc(hidden)]
pub struct WaitPlace {
    /// The return addresses, innermost first.
    pub frames: Vec<usize>,
    /// The line of the call that waits or, of a released lock, the line that the waiter called.
    pub waits_at: &'static Location<'static>,
    /// What is waited for.
    pub waits_for: &'static str,
}

/// How many waits, and how many nanoseconds in all.
pub(crate) type Total = (u64, u64);
type Totals = HashMap<WaitPlace, Total>;

static BLOCKED: Mutex<Option<Totals>> = Mutex::new(None);
static LOCKED: Mutex<Option<Totals>> = Mutex::new(None);
/// Backtraces of code that has released a lock, by the goroutine that it has woken.
static PENDING: Mutex<BTreeMap<u64, Frames>> = Mutex::new(BTreeMap::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn rate_of(profile: WaitProfile) -> &'static AtomicU64 {
    match profile {
        WaitProfile::Block => &BLOCK_RATE,
        WaitProfile::Mutex => &MUTEX_FRACTION,
    }
}

fn totals_of(profile: WaitProfile) -> &'static Mutex<Option<Totals>> {
    match profile {
        WaitProfile::Block => &BLOCKED,
        WaitProfile::Mutex => &LOCKED,
    }
}

/// Sets how often a profile counts a wait. Returns what was set before.
pub(crate) fn set_rate(profile: WaitProfile, rate: u64) -> u64 {
    static ORDER: Mutex<()> = Mutex::new(());
    let _one_at_a_time = lock(&ORDER);
    let both = || BLOCK_RATE.load(Ordering::Relaxed) | MUTEX_FRACTION.load(Ordering::Relaxed);
    let was_off = both() == 0;
    let before = rate_of(profile).swap(rate, Ordering::Relaxed);
    if was_off && rate != 0 {
        EPOCH.fetch_add(1, Ordering::Relaxed);
        lock(&PENDING).clear();
    }
    trace::set_watched(trace::WAITS, both() != 0);
    before
}

/// All that a profile has counted.
pub(crate) fn totals(profile: WaitProfile) -> Vec<(WaitPlace, Total)> {
    let totals = lock(totals_of(profile));
    totals.iter().flatten().map(|(place, total)| (place.clone(), *total)).collect()
}

/// What a processor notes: when each of its goroutines has parked.
#[derive(Default)]
pub(crate) struct Parked {
    since: BTreeMap<u64, u64>,
    epoch: u64,
}

/// A wait that is to be counted.
pub(crate) struct Counted {
    time: u64,
    block: bool,
    released_by: Option<Frames>,
}

/// Whether a wait for this is one for other code of the program.
fn counts(reason: Reason) -> bool {
    use Reason::*;
    matches!(
        reason,
        Receive
            | Send
            | Select
            | Join
            | Lock
            | Notification
            | Once
            | Permit
            | Others
            | Members
            | Scope
            | Context
            | Futex
    )
}

impl Parked {
    /// A goroutine has switched back to its processor's loop, to wait for this.
    pub(crate) fn after_turn(&mut self, id: u64, reason: Reason) {
        if !trace::watches(trace::WAITS) || !counts(reason) {
            return;
        }
        let epoch = EPOCH.load(Ordering::Relaxed);
        if epoch != self.epoch {
            self.since.clear();
            self.epoch = epoch;
        }
        self.since.insert(id, clock::now());
    }

    /// A goroutine is about to have a turn, after a wait for this. What of its wait is to be
    /// counted, if anything is.
    pub(crate) fn before_turn(&mut self, id: u64, reason: Reason) -> Option<Counted> {
        if !trace::watches(trace::WAITS) || self.since.is_empty() {
            return None;
        }
        let since = self.since.remove(&id)?;
        if self.epoch != EPOCH.load(Ordering::Relaxed) {
            return None;
        }
        let time = clock::now().saturating_sub(since).max(1);
        let rate = BLOCK_RATE.load(Ordering::Relaxed);
        let block = rate != 0 && (time >= rate || random() % rate < time);
        let released_by = if reason == Reason::Lock { lock(&PENDING).remove(&id) } else { None };
        (block || released_by.is_some()).then_some(Counted { time, block, released_by })
    }
}

impl Counted {
    /// Whether the waiter's backtrace is needed.
    pub(crate) fn wants_backtrace(&self) -> bool {
        self.block
    }

    /// Adds it to the profiles: a wait for this, by a call on this line.
    pub(crate) fn add(self, reason: Reason, waits_at: &'static Location<'static>, backtrace: Option<Frames>) {
        let place = |frames: &Frames| WaitPlace {
            frames: frames.addresses().to_vec(),
            waits_at,
            waits_for: reason.waits_for(),
        };
        if let Some(frames) = backtrace {
            // A wait that was counted although it was shorter than the rate stands for others.
            let rate = BLOCK_RATE.load(Ordering::Relaxed).max(1);
            let total = if self.time < rate { (rate / self.time, rate) } else { (1, self.time) };
            add(WaitProfile::Block, place(&frames), total);
        }
        if let Some(frames) = &self.released_by {
            let fraction = MUTEX_FRACTION.load(Ordering::Relaxed).max(1);
            add(WaitProfile::Mutex, place(frames), (fraction, self.time * fraction));
        }
    }
}

fn add(profile: WaitProfile, place: WaitPlace, (count, time): Total) {
    let mut totals = lock(totals_of(profile));
    let totals = totals.get_or_insert_default();
    if totals.len() < MAX_PLACES || totals.contains_key(&place) {
        let total = totals.entry(place).or_default();
        *total = (total.0 + count, total.1 + time);
    }
}

/// The calling code has ended the wait of this goroutine, which waited for this.
pub(crate) fn wakes(id: u64, reason: Reason) {
    let fraction = MUTEX_FRACTION.load(Ordering::Relaxed);
    if fraction == 0 || reason != Reason::Lock || !random().is_multiple_of(fraction) {
        return;
    }
    // The caller may be in the middle of a wait of its own.
    let _native = Native::begin();
    let frames = Frames::capture();
    let mut pending = lock(&PENDING);
    if pending.len() < MAX_PENDING {
        pending.insert(id, frames);
    }
}

/// A number from a small generator (xorshift) of the calling thread, or of its processor.
fn random() -> u64 {
    ours::with(|ours| {
        let state = &ours.random;
        let mut next = match state.get() {
            0 => clock::now() | 1,
            state => state,
        };
        next ^= next << 13;
        next ^= next >> 7;
        next ^= next << 17;
        state.set(next);
        next >> 11
    })
}
