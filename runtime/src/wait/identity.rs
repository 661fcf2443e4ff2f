//! Distinguishes an object from everything else that can be waited for at the same time.

use crate::stack::residents;

/// An address, and the goroutine that has it on its stack: the key for tables of what is waited
/// for.
///
/// Goroutines share stacks by copying, so objects on the stacks of several goroutines can have one
/// address. Their identities differ, because the goroutine's number is a part of the identity.
/// Objects anywhere else (on the heap, in a static, on a stack that never moves) have 0 there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Identity {
    /// Where the object is while its owner runs.
    pub address: usize,
    /// The number of the goroutine that has it on its copied stack, or 0.
    pub stack_of: u64,
}

impl Identity {
    /// The identity of the object that the caller has borrowed at this address.
    ///
    /// It stays the same as long as the object exists: a goroutine is resident whenever it can ask,
    /// and whenever the code that it has lent the object to can.
    #[inline]
    pub fn of(address: usize) -> Identity {
        Identity { address, stack_of: residents::resident_at(address) }
    }
}
