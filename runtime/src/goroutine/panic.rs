//! Panics in goroutines: said once, with the goroutine's name on it, then delivered by `join`.
//!
//! The panic hook that was there before still prints the message and the backtrace, as it would for a thread; ours
//! runs first and says which goroutine it is about. Unwinding stops at the goroutine's root (`task::run`).
//!
//! # Parking while a panic unwinds
//! A destructor that runs during unwinding may send on a channel, and so park. It does park, like any other code:
//! the processor goes on with other goroutines and the unwinding continues when the goroutine is woken. std counts
//! panics per thread, which here means per processor, so two things are worth knowing. While such a goroutine is
//! parked, `std::thread::panicking()` is true for the other goroutines of its processor too ([`panicking`] tells them
//! apart); a std `Mutex` that one of them locked before and unlocks meanwhile becomes poisoned. And if one of them
//! panics meanwhile, nothing special happens: std allows a second panic on a thread whose first is still unwinding, as
//! long as it is caught before it reaches the first, and ours are caught at their own roots.
//!
//! # Whose panic it is
//! Only whether std's count is zero can be asked. That is enough as long as at most one goroutine of a processor unwinds
//! at a time, because the count changes only in the turn of the goroutine whose panic it is:
//!
//! 1. After each turn of a goroutine the processor looks at the count. If it has become positive in that turn, the
//!    goroutine is unwinding: it is marked, and from now on **others** of the processor may ask. If it is zero, nobody
//!    is: all marks go.
//! 2. A goroutine that panics while another is unwinding is marked by the hook.
//! 3. A goroutine that asks is unwinding if the count is positive, and either was zero before its turn or it is marked.
//!
//! What is left is said at [`panicking`].

use super::current::calling;
use super::failure;
use super::record::Record;
use crate::diag::say;
use crate::diag::trace::session;
use crate::sched::processor;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic;
use std::ptr::NonNull;
use std::sync::Once;

thread_local! {
    /// The hook of the program's runs.
    static IN_HOOK: Cell<bool> = const { Cell::new(false) };
}

/// Whether the caller's processor, or thread, is in the panic hook. std aborts the process if another goroutine there
/// panics meanwhile.
pub(crate) fn is_in_hook() -> bool {
    IN_HOOK.get()
}

/// Puts our words in front of whatever hook is installed. Runs once, when the runtime starts.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    // The hook cannot be exchanged while the thread panics; a runtime first used from a destructor goes without.
    if std::thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            processor::with_unwinding(Unwinding::note_panic);
            failure::note_panic(info);
            if let Some(goroutine) = calling() {
                let name = goroutine.name().map(|name| format!(" '{name}'")).unwrap_or_default();
                say(format_args!(
                    "\ngoroutine {}{name}, spawned at {}:",
                    goroutine.id(),
                    goroutine.spawned_at()
                ));
            }
            IN_HOOK.set(true);
            previous(info);
            IN_HOOK.set(false);
            session::in_trouble();
        }));
    });
}

/// Whether the calling goroutine, or the calling plain thread, is unwinding because of a panic.
///
/// In a goroutine `std::thread::panicking` cannot be trusted: while another goroutine is parked in a destructor that its
/// panic runs, it is true for all that share a processor with it. This function is about the caller alone.
///
/// It can be wrong only while *another* goroutine of the same processor is parked half-way through its unwinding, and
/// then in two cases, because Rust tells of the start of a panic but neither of the start of a
/// [`resume_unwind`](std::panic::resume_unwind) nor of a catch:
///
/// - `false` for a goroutine that has begun to unwind meanwhile with `resume_unwind`, or under a panic hook of
///   the program's that does not call the one it replaced;
/// - `true` for a goroutine that has panicked and has caught that panic meanwhile with
///   [`catch_unwind`](std::panic::catch_unwind), until it ends.
///
/// On a plain thread it is `std::thread::panicking`, and always right.
///
/// ```
/// use narrowboat_runtime::{panicking, spawn};
///
/// struct Report;
///
/// impl Drop for Report {
///     fn drop(&mut self) {
///         println!("{}", if panicking() { "gone wrong" } else { "well done" });
///     }
/// }
///
/// spawn(|| drop(Report)).join().unwrap();
/// assert!(!panicking());
/// ```
#[inline]
pub fn panicking() -> bool {
    // Almost always false after one load.
    std::thread::panicking() && processor::with_unwinding(|all, me| all.concerns(me)).unwrap_or(true)
}

/// Which goroutines of one processor unwind, as far as is known. Touched only by whoever carries the processor.
pub(crate) struct Unwinding {
    /// Whether any goroutine was unwinding when the running one was switched to.
    others: bool,
    /// Empty unless `others`.
    marked: BTreeSet<NonNull<Record>>,
}

impl Unwinding {
    pub(crate) const fn new() -> Unwinding {
        Unwinding { others: false, marked: BTreeSet::new() }
    }

    /// Step 1. Two loads, unless there is something to note. Called with the processor's thread-locals, after a turn of
    /// `goroutine`, which now is parked, or has `ended`.
    #[inline(always)]
    pub(crate) fn note_turn(&mut self, goroutine: NonNull<Record>, ended: bool) {
        let some = std::thread::panicking();
        if some || self.others {
            self.note_change(some, goroutine, ended);
        }
    }

    #[cold]
    #[inline(never)]
    fn note_change(&mut self, some: bool, goroutine: NonNull<Record>, ended: bool) {
        if !some {
            self.marked.clear();
        } else if ended {
            self.marked.remove(&goroutine);
        } else if !self.others {
            self.marked.insert(goroutine);
        }
        self.others = some;
    }

    /// Step 2.
    fn note_panic(&mut self, goroutine: NonNull<Record>) {
        if self.others {
            self.marked.insert(goroutine);
        }
    }

    /// Step 3, for the running goroutine, while the count is positive.
    fn concerns(&self, goroutine: NonNull<Record>) -> bool {
        !self.others || self.marked.contains(&goroutine)
    }
}
