//! Thread-locals that a goroutine finds destroyed, as code does that runs at the end of a thread.
//!
//! A goroutine that waits for a word in one of its thread-locals blocks the processor, because the
//! bytes of another goroutine would stand in its place meanwhile ([`crate::futex`]). `parking_lot`
//! waits like this: what a thread waits by is a thread-local. But where that has been destroyed it
//! makes a new one on the stack for each wait, and a stack stays in place. So on a new goroutine the
//! thread-local is in the state "destroyed" from the start.
//!
//! That state is std's matter. The probe makes a thread-local of the same size and destroys it, to see
//! which byte says so. If that is not as expected, or the program has no names, the thread-locals are
//! as others.

use super::destructors;
use std::cell::Cell;
use std::ptr;

/// Parts of the names, as they are mangled, of these thread-locals.
const NAMES: [&str; 1] = ["16parking_lot_core11parking_lot16with_thread_data11THREAD_DATA"];

/// How std marks a thread-local of a certain size as destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    /// Of the thread-local with its state.
    size: usize,
    at: usize,
    value: u8,
}

/// Words of the value of a thread-local of this kind.
const WORDS: usize = 5;

/// A value of zeroes, which differs from what was there before by nothing.
struct Value(Cell<[u64; WORDS]>);

impl Value {
    // Not constant, as that which it stands for.
    #[inline(never)]
    fn new() -> Value {
        Value(Cell::new([0; WORDS]))
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.0.set([0; WORDS]);
    }
}

thread_local!(static PROBED: Value = Value::new());

/// Finds out how a thread-local is marked, on a thread that ends soon. `bytes` are its block's, now;
/// `base` is their address.
pub(super) fn probe(base: usize, bytes: impl Fn() -> Vec<u8>) -> Option<Mark> {
    let before = bytes();
    let mut value = ptr::null();
    let destructor = destructors::registered_by(|| PROBED.with(|probed| value = ptr::from_ref(probed)))?;
    let alive = bytes();
    // SAFETY: std has registered it for the value just now. std takes a destroyed value for what it is
    // when the thread ends and this is called again.
    unsafe { destructor.run() };
    let after = bytes();
    let value = value.addr().checked_sub(base)?;
    let size = size_of::<Value>() + align_of::<Value>();
    // Next to the value, before or behind it.
    let around = value.checked_sub(align_of::<Value>())?..value + size;
    let mut changed = around.filter(|at| before.get(*at) != after.get(*at));
    let state = changed.next()?;
    let is_state = changed.next().is_none() && alive[state] != before[state] && alive[state] != after[state];
    is_state.then(|| Mark { size, at: state - value.min(state), value: after[state] })
}

impl Mark {
    /// Marks the thread-local of this name, if it is one of those, in what a new goroutine finds.
    pub(super) fn apply(self, name: &str, local: &mut [u8]) {
        if local.len() == self.size && NAMES.iter().any(|part| name.contains(part)) {
            local[self.at] = self.value;
        }
    }
}

/// Where the thread-local of the probe is on the calling thread.
#[cfg(test)]
pub(super) fn address_of_probed() -> usize {
    PROBED.with(|probed| ptr::from_ref(probed).addr())
}
