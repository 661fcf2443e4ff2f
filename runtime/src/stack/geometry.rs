//! How many slots a processor has and how large they are, given what was asked for and what the
//! system allows.

use super::home::Home;
use super::{GUARD, LARGEST, SMALLEST};
use crate::arch::valgrind;
use crate::sys::memory;
use std::io;

/// Slots in the whole process if a guard is a mapping. Each open slot splits the reservation into
/// two, and the kernel allows 65,530 by default; this leaves three quarters of them to the program.
const SLOTS_IN_ALL: usize = 8 << 10;
/// Slots in the whole process if guards are marks in the page tables, and all slots of a processor
/// are one mapping. The limit is the cost of looking at each of them twice a second.
const SLOTS_IN_ALL_WITH_MARKERS: usize = 32 << 10;
/// Fewer than a [home](super::home::Home) can number.
const SLOTS_PER_PROCESSOR: usize = 1 << 15;

/// The same if each goroutine has a stack of its own: then stacks are what the process is for.
const STACKS_IN_ALL: usize = 30_000;
const STACKS_IN_ALL_WITH_MARKERS: usize = 16 << 20;
const SLOTS_OF_THEIR_OWN: usize = Home::MAX_SLOTS - 1;

/// The reserve of a processor that has few goroutines.
const SLOTS_OF_FEW: usize = 60;
/// The same if each goroutine has a stack of its own.
const STACKS_OF_FEW: usize = 4096;

/// The shape of every processor's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Slots per processor that its goroutines share.
    pub(crate) slots: usize,
    /// Further slots per processor, for goroutines that are expensive to copy.
    pub(crate) reserve: usize,
    /// Bytes from one slot to the next, guard included.
    pub(crate) stride: usize,
    /// Whether the system has not granted all that was asked for.
    pub(crate) tight: bool,
    /// Whether every goroutine has a slot of the reserve to itself.
    pub(crate) all_alone: bool,
}

impl Geometry {
    /// The geometry for `processors` processors of `slots` slots of `max_stack` bytes each, as far
    /// as it fits.
    ///
    /// The system is asked whether it would open twice the sum, and the size is halved until it
    /// agrees: under strict overcommit or an address-space limit the slots must leave room for
    /// everything else that the program needs.
    ///
    /// # Errors
    /// If not even the smallest slots fit.
    pub(crate) fn fit(processors: usize, slots: usize, max_stack: usize) -> io::Result<Geometry> {
        let in_all = match memory::guards_are_markers() {
            // Memcheck goes over a reservation page by page, so nothing is reserved that may not be
            // needed.
            _ if valgrind::is_there() => slots.saturating_mul(processors),
            true => SLOTS_IN_ALL_WITH_MARKERS,
            false => SLOTS_IN_ALL,
        };
        Self::fit_if(processors, slots, max_stack, in_all, memory::would_fit)
    }

    /// The geometry for goroutines that all have stacks of their own.
    ///
    /// # Errors
    /// As [`fit`](Geometry::fit).
    pub(crate) fn fit_all_alone(processors: usize, max_stack: usize) -> io::Result<Geometry> {
        // One shared slot, which a processor needs to begin with, and which nothing lives in.
        let mut geometry = Geometry::fit(processors, 1, max_stack)?;
        let most = if memory::guards_are_markers() { STACKS_IN_ALL_WITH_MARKERS } else { STACKS_IN_ALL };
        let most = (most / processors.max(1)).min(SLOTS_OF_THEIR_OWN);
        geometry.reserve = reserve(processors.max(1), 1, most, geometry.stride, memory::would_fit);
        geometry.all_alone = true;
        Ok(geometry)
    }

    /// The geometry of a processor that has few goroutines: less address space, and not more of the
    /// slots that the process may have.
    pub(crate) fn of_few(self) -> Geometry {
        let most = if self.all_alone { STACKS_OF_FEW } else { SLOTS_OF_FEW };
        Geometry { slots: self.slots.min(4), reserve: self.reserve.min(most), ..self }
    }

    /// How deep a stack in a slot can get, in bytes.
    pub(crate) fn largest(&self) -> usize {
        self.stride - GUARD
    }

    fn fit_if(
        processors: usize,
        slots: usize,
        max_stack: usize,
        in_all: usize,
        would_fit: impl Fn(usize) -> bool,
    ) -> io::Result<Geometry> {
        let page = memory::page_size();
        let most = (in_all / processors.max(1)).min(SLOTS_PER_PROCESSOR);
        let slots = slots.min(most).max(1);
        let mut size = max_stack.clamp(SMALLEST, LARGEST).next_multiple_of(page);
        loop {
            let stride = size + GUARD;
            let asked = stride
                .checked_mul(slots)
                .and_then(|n| n.checked_mul(processors))
                .and_then(|n| n.checked_mul(2));
            if asked.is_some_and(&would_fit) {
                let reserve = reserve(processors.max(1), slots, most, stride, &would_fit);
                let tight = size < max_stack.min(LARGEST) || reserve < most - slots;
                return Ok(Geometry { slots, reserve, stride, tight, all_alone: false });
            }
            if size == SMALLEST {
                return Err(io::Error::new(
                    io::ErrorKind::OutOfMemory,
                    format!(
                        "no address space for goroutine stacks: {processors} processors with {slots} slots of \
                         {SMALLEST} bytes were refused; raise the address-space limit (ulimit -v; with \
                         mlockall also ulimit -l) or vm.overcommit_ratio, or ask for fewer processors (NARROWBOAT_PROCESSORS) or fewer slots \
                         (Config::stack_slots)"
                    ),
                ));
            }
            size = (size / 2).max(SMALLEST).next_multiple_of(page);
        }
    }
}

/// The reserve is what remains of all slots. Stacks are not made smaller for it: if it does not
/// fit, it is halved.
fn reserve(
    processors: usize,
    slots: usize,
    most: usize,
    stride: usize,
    would_fit: impl Fn(usize) -> bool,
) -> usize {
    let mut reserve = most.saturating_sub(slots);
    let fits = |reserve: usize| {
        let asked = (slots + reserve).checked_mul(stride).and_then(|n| n.checked_mul(2 * processors));
        asked.is_some_and(&would_fit)
    };
    while reserve > 0 && !fits(reserve) {
        reserve /= 2;
    }
    reserve
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_was_asked_for_when_it_fits() {
        let g = Geometry::fit_if(16, 64, 256 << 20, SLOTS_IN_ALL, |_| true).unwrap();
        assert_eq!(
            g,
            Geometry { slots: 64, reserve: 448, stride: (256 << 20) + GUARD, tight: false, all_alone: false }
        );
    }

    #[test]
    fn asked_for_more_than_can_be_had_it_takes_what_can() {
        let g = Geometry::fit_if(1, 1, usize::MAX, SLOTS_IN_ALL, |_| true).unwrap();
        assert_eq!(g.largest(), LARGEST);
    }

    #[test]
    fn halves_the_size_until_twice_the_sum_fits() {
        let limit = 8 << 30;
        let g = Geometry::fit_if(16, 64, 256 << 20, SLOTS_IN_ALL, |n| n <= limit).unwrap();
        assert!(g.stride * 64 * 16 * 2 <= limit);
        assert!(g.stride * 64 * 16 * 4 > limit);
        assert!(g.stride * (64 + g.reserve) * 16 * 2 <= limit);
    }

    #[test]
    fn says_what_to_change_when_nothing_fits() {
        let e = Geometry::fit_if(16, 64, 256 << 20, SLOTS_IN_ALL, |_| false).unwrap_err();
        assert!(e.to_string().contains("NARROWBOAT_PROCESSORS"), "{e}");
    }

    #[test]
    fn bounds_the_slots_of_the_whole_process() {
        let g = Geometry::fit_if(1024, 64, 256 << 20, SLOTS_IN_ALL, |_| true).unwrap();
        assert_eq!((g.slots, g.reserve), (8, 0));
        let g = Geometry::fit_if(1, 16, 1 << 20, 1 << 20, |_| true).unwrap();
        assert_eq!(g.slots + g.reserve, SLOTS_PER_PROCESSOR);
        let g = Geometry::fit_if(3, 16, 256 << 20, SLOTS_IN_ALL, |_| true).unwrap();
        assert!((g.slots + g.reserve) * 3 <= SLOTS_IN_ALL);
    }
}
