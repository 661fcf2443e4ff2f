//! What a goroutine has acquired since its spawn: its goroutine-local values, and the report of its
//! last panic. Plain threads keep such values in the same way.

use super::failure::HookReport;
use std::ptr::NonNull;

/// What a goroutine has acquired since its spawn.
#[derive(Default)]
pub(crate) struct Late {
    pub(crate) locals: Locals,
    /// The hook's report of its last panic.
    pub(crate) hook_report: Option<HookReport>,
}

/// A value of one goroutine or thread. The entry stays when the value has been dropped, so that no
/// other value is made.
pub(crate) struct Local {
    key: usize,
    value: Option<NonNull<()>>,
    /// Frees the value.
    free: unsafe fn(NonNull<()>),
}

impl Local {
    /// # Safety
    /// `free` may be called once with this value, and nothing else frees it.
    pub(crate) unsafe fn new(key: usize, value: NonNull<()>, free: unsafe fn(NonNull<()>)) -> Local {
        Local { key, value: Some(value), free }
    }

    pub(crate) fn free(mut self) {
        if let Some(value) = self.value.take() {
            // SAFETY: by the contract of `new`; the value is taken once.
            unsafe { (self.free)(value) };
        }
    }
}

/// The values of one goroutine or thread, in the order in which they were made.
#[derive(Default)]
pub(crate) struct Locals(Vec<Local>);

impl Locals {
    /// `Some(None)`: the value has been dropped.
    pub(crate) fn find(&self, key: usize) -> Option<Option<NonNull<()>>> {
        self.0.iter().find(|local| local.key == key).map(|local| local.value)
    }

    /// Puts a value in. Returns the entry that it replaces.
    pub(crate) fn put(&mut self, local: Local) -> Option<Local> {
        match self.0.iter_mut().find(|other| other.key == local.key) {
            Some(other) => Some(std::mem::replace(other, local)),
            None => {
                self.0.push(local);
                None
            }
        }
    }

    /// The last value made that has not been dropped. From now on it counts as dropped.
    pub(crate) fn take_last(&mut self) -> Option<Local> {
        let last = self.0.iter_mut().rev().find(|local| local.value.is_some())?;
        let taken = Local { key: last.key, value: last.value.take(), free: last.free };
        Some(taken)
    }
}
