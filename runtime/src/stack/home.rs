//! A goroutine's home, in three bytes of its record. It never changes: frames must stay where they
//! were created.

/// A goroutine's home: a slot that it shares, a slot of its own, or an own stack; and its index.
///
/// Three bytes, because it is in every goroutine's record, and there may be more stacks than 16
/// bits can number.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, packed)]
pub(crate) struct Home {
    low: u16,
    /// The kind, and further bits of the index.
    high: u8,
}

impl Home {
    const OWN: u8 = 1 << 7;
    const ALONE: u8 = 1 << 6;
    /// With `ALONE`: the program asked for it.
    const PROMISED: u8 = 1 << 5;
    /// How many own stacks and how many slots of a processor can be numbered.
    pub(super) const MAX_OWN: usize = 1 << 23;
    pub(super) const MAX_SLOTS: usize = 1 << 21;

    pub(super) fn of_slot(index: u32) -> Home {
        Home { low: index as u16, high: (index >> 16) as u8 }
    }

    pub(super) fn of_slot_alone(index: u32, promised: bool) -> Home {
        let Home { low, high } = Home::of_slot(index);
        Home { low, high: high | Home::ALONE | if promised { Home::PROMISED } else { 0 } }
    }

    pub(super) fn of_own(index: u32) -> Home {
        Home { low: index as u16, high: (index >> 16) as u8 | Home::OWN }
    }

    /// Whether no other goroutine lives here, so that the goroutine's bytes never move.
    #[inline]
    pub(crate) fn is_own(self) -> bool {
        self.high >= Home::ALONE
    }

    /// Whether no other goroutine lives here because the program has asked for that, and not by
    /// chance.
    pub(crate) fn is_own_by_promise(self) -> bool {
        self.high & Home::OWN != 0
            || self.high & (Home::ALONE | Home::PROMISED) == Home::ALONE | Home::PROMISED
    }

    /// Whether it lives alone, but not because the program has asked for it.
    #[inline]
    pub(crate) fn is_alone_by_chance(self) -> bool {
        self.high & (Home::OWN | Home::ALONE | Home::PROMISED) == Home::ALONE
    }

    /// The index of an own stack.
    #[inline]
    pub(super) fn own(self) -> Option<usize> {
        let index = (self.high & !Home::OWN) as usize * (1 << 16) + self.low as usize;
        (self.high & Home::OWN != 0).then_some(index)
    }

    /// The index of a slot, if it is one.
    #[inline]
    pub(super) fn slot(self) -> usize {
        (self.high & (Home::PROMISED - 1)) as usize * (1 << 16) + self.low as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_keeps_its_index_and_its_kind() {
        for index in [0, 1, 255, 1 << 15, u16::MAX as u32, 1 << 16, Home::MAX_SLOTS as u32 - 1] {
            let home = Home::of_slot(index);
            assert!(!home.is_own() && home.own().is_none() && home.slot() == index as usize);
            for promised in [false, true] {
                let home = Home::of_slot_alone(index, promised);
                assert!(home.is_own() && home.own().is_none() && home.slot() == index as usize);
                assert_eq!(home.is_own_by_promise(), promised);
            }
        }
        for index in [0, 1, u16::MAX as u32, 1 << 16, Home::MAX_OWN as u32 - 1] {
            let home = Home::of_own(index);
            assert!(home.is_own_by_promise());
            assert_eq!(home.own(), Some(index as usize));
        }
    }
}
