//! Panics in goroutines: said once, with the goroutine's name on it, then delivered by `join`.
//!
//! The panic hook that was there before still prints the message and the backtrace, as it would for a thread; ours
//! runs first and says which goroutine it is about. Unwinding stops at the goroutine's root (`task::run`).
//!
//! # Parking while a panic unwinds
//! A destructor that runs during unwinding may send on a channel, and so park. It does park, like any other code:
//! the processor goes on with other goroutines and the unwinding continues when the goroutine is woken. std counts
//! panics per thread, which here means per processor, so two things are worth knowing. While such a goroutine is
//! parked, `std::thread::panicking()` is true for the other goroutines of its processor too; a std `Mutex` that one of
//! them locked before and unlocks meanwhile becomes poisoned. And if one of them panics meanwhile, nothing
//! special happens: std allows a second panic on a thread whose first is still unwinding, as long as it
//! is caught before it reaches the first, and ours are caught at their own roots.

use super::current::current;
use std::panic;
use std::sync::Once;

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
            if let Some(goroutine) = current() {
                let name = goroutine.name().map(|name| format!(" '{name}'")).unwrap_or_default();
                eprintln!("\ngoroutine {}{name}, spawned at {}:", goroutine.id(), goroutine.spawned_at());
            }
            previous(info);
        }));
    });
}
