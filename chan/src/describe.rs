//! What the descriptions of channels, timers, contexts and selects in dumps share. Each type
//! describes itself, and registers itself with [`park::describe_with`].
//!
//! [`park::describe_with`]: narrowboat_runtime::park::describe_with

use narrowboat_runtime::world;
use std::time::Instant;

/// The object of a wait.
///
/// # Safety
/// As for [`Describe`](narrowboat_runtime::park::Describe); the object is the exposed address of a
/// `T` that the waiter has borrowed for its wait.
pub(crate) unsafe fn borrow<'a, T>(object: usize) -> &'a T {
    // SAFETY: by contract.
    unsafe { &*std::ptr::with_exposed_provenance(object) }
}

/// Describes an instant in the future.
pub(crate) fn until(when: Option<Instant>) -> String {
    match when.map(|when| when.saturating_duration_since(world::now())) {
        None => "not set".into(),
        Some(left) if left.is_zero() => "due".into(),
        Some(left) => format!("due in {left:.1?}"),
    }
}
