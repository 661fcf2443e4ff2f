//! The buffer of a channel: first in, first out. Its memory shrinks again after a burst.
//!
//! A bounded channel's ring has its full size from the start and keeps it, so a send never
//! allocates. An unbounded one doubles when it is full and halves when it is three quarters empty;
//! because of the gap between the two, at least a quarter of the capacity in pushes or pops comes
//! before each copy.

use std::collections::VecDeque;

pub(crate) struct Ring<T> {
    values: VecDeque<T>,
    /// The ring shrinks when its length falls below this. 0 while it must not shrink.
    low: usize,
}

/// An unbounded channel's ring does not shrink below this number of bytes, nor below eight values.
const SMALL: usize = 4096;

impl<T> Ring<T> {
    /// A ring for at most `capacity` values (`usize::MAX`: no limit).
    pub(crate) fn new(capacity: usize) -> Ring<T> {
        let values = if capacity == usize::MAX { VecDeque::new() } else { VecDeque::with_capacity(capacity) };
        Ring { values, low: 0 }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    #[inline]
    pub(crate) fn push(&mut self, value: T) {
        if self.values.len() == self.values.capacity() {
            self.grow();
        }
        self.values.push_back(value);
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        let value = self.values.pop_front();
        if self.values.len() < self.low {
            self.shrink();
        }
        value
    }

    /// Puts a value back that was the first. The ring may then hold one more than its capacity.
    #[cold]
    pub(crate) fn push_front(&mut self, value: T) {
        self.values.push_front(value);
    }

    /// Takes all values, and leaves an empty ring without memory.
    pub(crate) fn take(&mut self) -> VecDeque<T> {
        self.low = 0;
        std::mem::take(&mut self.values)
    }

    /// Only the ring of an unbounded channel grows: a channel never overfills a bounded one.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        self.values.reserve(self.values.len().max(4));
        self.set_low();
    }

    #[cold]
    #[inline(never)]
    fn shrink(&mut self) {
        self.values.shrink_to(self.values.capacity() / 2);
        self.set_low();
    }

    fn set_low(&mut self) {
        let small = (SMALL / size_of::<T>().max(1)).max(8);
        let capacity = self.values.capacity();
        self.low = if capacity > small { capacity / 4 } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_elastic_ring_gives_a_burst_back() {
        let mut ring = Ring::new(usize::MAX);
        let burst = if cfg!(miri) { 2_000 } else { 100_000 };
        for n in 0..burst {
            ring.push(n);
        }
        assert!(ring.values.capacity() >= burst as usize);
        for n in 0..burst {
            assert_eq!(ring.pop(), Some(n));
        }
        assert_eq!(ring.pop(), None);
        assert!(ring.values.capacity() * size_of::<i32>() <= 2 * SMALL);
    }

    #[test]
    fn a_bounded_ring_keeps_its_size() {
        let mut ring = Ring::new(1000);
        let capacity = ring.values.capacity();
        for round in 0..3 {
            for n in 0..1000 {
                ring.push(n + round);
            }
            while ring.pop().is_some() {}
            assert_eq!(ring.values.capacity(), capacity);
        }
    }

    #[test]
    fn values_without_size_need_no_memory() {
        let mut ring = Ring::new(usize::MAX);
        for _ in 0..1000 {
            ring.push(());
        }
        assert_eq!(ring.len(), 1000);
        while ring.pop().is_some() {}
        assert!(ring.is_empty());
    }
}
