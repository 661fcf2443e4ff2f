//! Which goroutine is resident in the shared slot at an address; any thread may ask.
//!
//! Data on a copied stack has the same address as data on the other stacks of the same slot. A
//! table that is keyed by addresses therefore needs to know on which goroutine's stack an address
//! is. The answer is the *resident* goroutine: the one that has its bytes in the slot
//! ([`Slots`](super::slots::Slots)).
//!
//! Each arena has one word for each of its slots: the number of the resident goroutine, or 0. An
//! index leads from an address to the arenas of its *region*, an aligned piece of address space.
//!
//! 1. An arena is entered in the index when it is made, before its first slot is opened. It is
//!    never removed: a slot that is never opened has 0 for its word, which is also right for
//!    anything else that is mapped there later.
//! 2. The carrier of a processor stores the number when the occupant of a slot changes. It does so
//!    between goroutines.
//! 3. Any thread loads the word of the slot that contains an address.
//!
//! The answer is meaningful to code that has borrowed something at that address. If that is on the
//! stack of goroutine G, the caller is G, or G has lent it to the caller and does not park before
//! the loan ends (the rule on stacks in `docs/rules.md`). So G is resident and stays so until the
//! answer has been used.
//!
//! Orderings: step 2 comes before G runs, hence before it can lend anything, and whatever passes
//! the borrow to another thread orders both before step 3. The next store to the word comes after G
//! has parked, hence after the loan. So there is no store that step 3 could race with, and its
//! relaxed load finds the number of G. Without a loan any value may be found; nothing is read
//! through it.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// The words of one arena.
pub(crate) struct Residents {
    low: usize,
    /// Bytes from one slot to the next.
    stride: usize,
    slots: Box<[AtomicU64]>,
}

/// An arena that has a part in a region, and a link to those that were entered before it.
struct ArenaNode {
    residents: &'static Residents,
    next: *const ArenaNode,
}

/// A region is 4 GiB: the shared slots of a processor with the default sizes.
const REGION_BITS: u32 = 32;
/// User-space addresses have 47 bits. The kernel returns longer ones only on request.
const ADDRESS_BITS: u32 = 47;

const REGIONS: usize = 1 << (ADDRESS_BITS - REGION_BITS);

/// The lists of all regions. Pages of the index without arenas are never written.
static INDEX: [AtomicPtr<ArenaNode>; REGIONS] = [const { AtomicPtr::new(ptr::null_mut()) }; REGIONS];

impl Residents {
    /// Enters an arena of `slots` slots.
    pub(crate) fn register(low: usize, stride: usize, slots: usize) -> &'static Residents {
        // As zeroed memory: its unused pages cost nothing, and there may be very many slots.
        let words = Box::into_raw(vec![0u64; slots].into_boxed_slice());
        // SAFETY: an atomic word has the layout of a plain one, and the new box replaces the old
        // one.
        let words = unsafe { Box::from_raw(words as *mut [AtomicU64]) };
        let residents: &'static Residents = Box::leak(Box::new(Residents { low, stride, slots: words }));
        let last = low + (stride * slots).saturating_sub(1);
        for list in &INDEX[low >> REGION_BITS..=last >> REGION_BITS] {
            let entry = Box::leak(Box::new(ArenaNode { residents, next: ptr::null() }));
            let mut first = list.load(Ordering::Relaxed);
            loop {
                entry.next = first;
                // Release: a thread that finds the entry sees what is in it.
                match list.compare_exchange_weak(first, entry, Ordering::Release, Ordering::Relaxed) {
                    Ok(_) => break,
                    Err(now) => first = now,
                }
            }
        }
        residents
    }

    /// The word of a slot.
    pub(crate) fn of_slot(&'static self, index: usize) -> &'static AtomicU64 {
        &self.slots[index]
    }

    fn at(&self, address: usize) -> Option<&AtomicU64> {
        self.slots.get(address.checked_sub(self.low)? / self.stride)
    }
}

/// The number of the goroutine that is resident in the shared slot at `address`; 0 if the address
/// is in no slot.
pub(crate) fn resident_at(address: usize) -> u64 {
    let Some(list) = INDEX.get(address >> REGION_BITS) else { return 0 };
    // Acquire: pairs with the release in `register`.
    let mut entry = list.load(Ordering::Acquire).cast_const();
    // SAFETY: entries are leaked boxes, complete before they are published, and never change after
    // that.
    while let Some(found) = unsafe { entry.as_ref() } {
        if let Some(word) = found.residents.at(address) {
            return word.load(Ordering::Relaxed);
        }
        entry = found.next;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_has_its_own_resident_and_nothing_else_has_one() {
        // Addresses that nothing is mapped at: the lowest 64 KiB of a process are closed.
        let (low, stride) = (0x1000, 0x800);
        let residents = Residents::register(low, stride, 3);
        residents.of_slot(1).store(7, Ordering::Relaxed);
        residents.of_slot(2).store(9, Ordering::Relaxed);
        let at = |slot: usize, offset: usize| resident_at(low + slot * stride + offset);
        assert_eq!([at(0, 0), at(0, stride - 1), at(1, 0), at(1, stride - 1)], [0, 0, 7, 7]);
        assert_eq!([at(2, 5), at(3, 0), resident_at(low - 1), resident_at(usize::MAX)], [9, 0, 0, 0]);
    }

    #[test]
    fn an_arena_may_reach_over_regions_and_share_them() {
        // Higher than anything is mapped at, and within the index.
        let region = 1 << REGION_BITS;
        let low = (1 << ADDRESS_BITS) - 2 * region - 0x1000;
        let wide = Residents::register(low, region / 2, 3);
        let beside = Residents::register(low + region / 2 * 3, 0x1000, 2);
        wide.of_slot(2).store(3, Ordering::Relaxed);
        beside.of_slot(1).store(4, Ordering::Relaxed);
        assert_eq!(resident_at(low + region / 2 * 3 - 1), 3);
        assert_eq!(resident_at(low + region / 2 * 3 + 0x1000), 4);
        assert_eq!(resident_at(low), 0);
    }
}
