//! Destructors of a goroutine's thread-locals.
//!
//! std passes each destructor to `__cxa_thread_atexit_impl` when the value is first used. The
//! function of that name here replaces libc's for all code of this module: the linker takes it
//! because it is protected, so even a library that is loaded later binds to its own. If a goroutine
//! registers a destructor for an object among its own bytes, that goes to the goroutine's list;
//! everything else goes to libc.
//!
//! The list runs when the goroutine ends, last first, before `join` returns: on its own stack, as
//! code of the goroutine. A destructor may park, spawn, and make other thread-locals; their
//! destructors then run, too. If one panics, std ends the process, as it does on a thread.

#[cfg(target_os = "linux")]
mod catch;

use super::private::{Destructor, PrivateWord};
use crate::ours;
use std::sync::OnceLock;

/// Takes a destructor for the calling goroutine if the object is among that one's own bytes. The
/// scheduler registers it before there are goroutines.
static TAKE: OnceLock<fn(Destructor) -> bool> = OnceLock::new();

pub(crate) fn take_with(take: fn(Destructor) -> bool) {
    let _ = TAKE.set(take);
}

/// The last destructor that `f` registers here, if it does, for the probe's thread.
pub(super) fn registered_by(f: impl FnOnce()) -> Option<Destructor> {
    ours::with(|ours| ours.registered.set(None));
    f();
    ours::with(|ours| ours.registered.take())
}

/// Runs the destructors of the calling goroutine, and those that they register. True if there were
/// any.
///
/// # Safety
/// The record is the calling goroutine's, which has run its closure.
pub(crate) unsafe fn run(goroutine: &PrivateWord) -> bool {
    let mut any = false;
    loop {
        // SAFETY: the record is our own, and no reference to its parts is held while a destructor
        // runs.
        let next = unsafe { goroutine.private() }.and_then(|private| private.destructors.as_mut()?.pop());
        let Some(Destructor { run, object }) = next else { return any };
        any = true;
        // SAFETY: registered for this object by this goroutine, and called once. The object's bytes
        // are in place, as this goroutine runs.
        unsafe { run(object) };
    }
}
