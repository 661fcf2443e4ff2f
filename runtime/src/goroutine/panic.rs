//! Panics in goroutines: reported once, with the goroutine's name, then delivered by `join`.
//!
//! The panic hook that was there before still prints the message and the backtrace, as it would for
//! a thread. Our hook runs first and says which goroutine the panic is about. Unwinding stops at
//! the goroutine's root (`task::run`).
//!
//! A destructor that runs during unwinding may send on a channel, and so park. The processor goes
//! on with other goroutines, and the unwinding continues when the goroutine is woken. std's count
//! of panics is a thread-local, so each goroutine has its own: other goroutines do not see that one
//! is unwinding, and may panic meanwhile.

use super::current::calling;
use crate::say::say;
use crate::sched::record::failure;
use crate::sched::{above, world};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Installs our hook in front of the present one. Runs once, when the runtime starts.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    // The hook cannot be exchanged while the thread panics. A runtime that is first used from a
    // destructor during unwinding has no hook.
    if std::thread::panicking() {
        return;
    }
    ONCE.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let quiet = world::current().is_some_and(|world| world.is_quiet());
            failure::note_panic(info, !quiet);
            if quiet {
                return;
            }
            if let Some(goroutine) = calling() {
                let name = goroutine.name().map(|name| format!(" '{name}'")).unwrap_or_default();
                say(format_args!(
                    "\ngoroutine {}{name}, spawned at {}:",
                    goroutine.id(),
                    goroutine.spawned_at()
                ));
            }
            previous(info);
            above::save_recording();
        }));
    });
}

/// Drops an outcome that is not needed. The hook has reported a panic of a destructor. The payload
/// of that panic is not dropped, because that could panic again, with nothing left to catch it.
pub(super) fn discard(outcome: impl FnOnce()) {
    std::mem::forget(catch_unwind(AssertUnwindSafe(outcome)));
}

/// Whether the calling goroutine, or the calling plain thread, is unwinding because of a panic. The
/// same as [`std::thread::panicking`], which in a goroutine is about that goroutine alone.
///
/// ```
/// use narrowboat::{panicking, spawn};
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
    std::thread::panicking()
}
