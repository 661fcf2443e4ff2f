//! A processor's timers: a plain four-ary heap, touched only by the carrier.
//!
//! Four children per node halve the depth of a binary heap and keep a node's children in one cache
//! line. Each goroutine has at most one timer, and its record holds the timer's index in the heap.
//! So a timer can be removed in logarithmic time, and it costs sixteen bytes and no table of names.
//!
//! The heap gives memory back while it drains: when it is a quarter full it halves its capacity,
//! and then is half full. The next growth or halving is a quarter of that capacity away, so moving
//! the entries costs each of them a constant.

use std::ptr::NonNull;

/// The index of a timer in the heap. Four billion timers would need 64 GiB of heap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HeapIndex(u32);

impl HeapIndex {
    /// The index of an item that has no timer.
    pub(crate) const NONE: HeapIndex = HeapIndex(u32::MAX);
}

/// Something that can have a timer.
pub(crate) trait Timed: Sized {
    /// Where the item stores its heap index. While it has a timer, that field belongs to the heap.
    ///
    /// # Safety
    /// `item` is live.
    unsafe fn heap_index(item: NonNull<Self>) -> *mut HeapIndex;
}

struct TimerEntry<T> {
    deadline: u64,
    item: NonNull<T>,
}

impl<T> Clone for TimerEntry<T> {
    fn clone(&self) -> TimerEntry<T> {
        *self
    }
}

impl<T> Copy for TimerEntry<T> {}

/// Invariant: every item in the heap is live and holds its index (contract of
/// [`insert`](Timers::insert)).
pub(crate) struct Timers<T> {
    heap: Vec<TimerEntry<T>>,
    /// How many levels entries have moved by, for the test of that cost.
    #[cfg(test)]
    levels: usize,
}

const CHILDREN: usize = 4;
/// The heap never shrinks below this capacity.
const MIN_CAPACITY: usize = 64;

impl<T: Timed> Timers<T> {
    pub(crate) const fn new() -> Timers<T> {
        Timers {
            heap: Vec::new(),
            #[cfg(test)]
            levels: 0,
        }
    }

    /// How many timers are set.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// The earliest deadline, if there is any timer.
    pub(crate) fn earliest(&self) -> Option<u64> {
        self.heap.first().map(|e| e.deadline)
    }

    /// Sets the timer of `item`.
    ///
    /// # Safety
    /// The item has none, and stays live and at its address until its timer has been taken out.
    pub(crate) unsafe fn insert(&mut self, deadline: u64, item: NonNull<T>) {
        let entry = TimerEntry { deadline, item };
        let last = self.heap.len();
        self.heap.push(entry);
        self.rise(last, entry);
    }

    /// Takes a timer out before its time.
    ///
    /// # Safety
    /// The item has a timer in this heap.
    pub(crate) unsafe fn remove(&mut self, item: NonNull<T>) {
        // SAFETY: what is in the heap is live.
        let HeapIndex(index) = unsafe { *T::heap_index(item) };
        let taken = self.take(index as usize);
        debug_assert_eq!(taken, item);
    }

    /// Takes out a timer with a deadline not after `now`, earliest first.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<NonNull<T>> {
        (self.earliest()? <= now).then(|| self.take(0))
    }

    fn take(&mut self, index: usize) -> NonNull<T> {
        let taken = self.heap.swap_remove(index).item;
        if let Some(&moved) = self.heap.get(index) {
            match index.checked_sub(1).map(|child| self.heap[child / CHILDREN]) {
                Some(parent) if moved.deadline < parent.deadline => self.rise(index, moved),
                _ => self.sink(index, moved),
            }
        }
        // SAFETY: it was in the heap until now, so it is live.
        unsafe { *T::heap_index(taken) = HeapIndex::NONE };
        let room = self.heap.capacity();
        if room > MIN_CAPACITY && self.heap.len() <= room / 4 {
            self.heap.shrink_to((room / 2).max(MIN_CAPACITY));
        }
        taken
    }

    /// Puts an entry at `index`, which is free for it, or as much higher as it belongs.
    fn rise(&mut self, mut index: usize, entry: TimerEntry<T>) {
        while index > 0 {
            let above = (index - 1) / CHILDREN;
            let parent = self.heap[above];
            if parent.deadline <= entry.deadline {
                break;
            }
            self.settle(index, parent);
            index = above;
        }
        self.settle(index, entry);
    }

    /// Puts an entry at `index`, which is free for it, or as much lower as it belongs.
    fn sink(&mut self, mut index: usize, entry: TimerEntry<T>) {
        loop {
            let first = index * CHILDREN + 1;
            let last = (first + CHILDREN).min(self.heap.len());
            let Some(least) = (first..last).min_by_key(|&child| self.heap[child].deadline) else { break };
            let child = self.heap[least];
            if entry.deadline <= child.deadline {
                break;
            }
            self.settle(index, child);
            index = least;
        }
        self.settle(index, entry);
    }

    /// Puts an entry where it will stand, and has its item know.
    fn settle(&mut self, index: usize, entry: TimerEntry<T>) {
        self.heap[index] = entry;
        // SAFETY: what is in the heap is live.
        unsafe { *T::heap_index(entry.item) = HeapIndex(index as u32) };
        #[cfg(test)]
        {
            self.levels += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::NEVER;
    use std::collections::BTreeSet;

    struct Item {
        heap_index: HeapIndex,
        deadline: u64,
    }

    impl Timed for Item {
        unsafe fn heap_index(item: NonNull<Item>) -> *mut HeapIndex {
            // SAFETY: live by contract.
            unsafe { &raw mut (*item.as_ptr()).heap_index }
        }
    }

    /// Timers and what they belong to. Items are freed with it, so none outlives its timer.
    struct Clockwork {
        timers: Timers<Item>,
        items: Vec<NonNull<Item>>,
        /// What should be in the heap: deadlines, and which item.
        model: BTreeSet<(u64, usize)>,
    }

    impl Clockwork {
        fn new(items: usize) -> Clockwork {
            let item =
                |_| NonNull::from(Box::leak(Box::new(Item { heap_index: HeapIndex::NONE, deadline: 0 })));
            Clockwork { timers: Timers::new(), items: (0..items).map(item).collect(), model: BTreeSet::new() }
        }

        fn deadline(&self, n: usize) -> u64 {
            // SAFETY: items live as long as the clockwork.
            unsafe { self.items[n].as_ref() }.deadline
        }

        fn is_set(&self, n: usize) -> bool {
            // SAFETY: as above.
            unsafe { self.items[n].as_ref() }.heap_index != HeapIndex::NONE
        }

        fn insert(&mut self, deadline: u64, n: usize) {
            // SAFETY: as above; the tests insert an item only if it has no timer.
            unsafe {
                (*self.items[n].as_ptr()).deadline = deadline;
                self.timers.insert(deadline, self.items[n]);
            }
            self.model.insert((deadline, n));
        }

        fn remove(&mut self, n: usize) {
            // SAFETY: the tests remove an item only if it has a timer.
            unsafe { self.timers.remove(self.items[n]) };
            assert!(self.model.remove(&(self.deadline(n), n)));
        }

        /// Pops one that is due, if any; it must be among the earliest of the model.
        fn pop(&mut self, now: u64) -> bool {
            let earliest = self.model.first().map(|first| first.0);
            assert_eq!(self.timers.earliest(), earliest);
            let popped = self.timers.pop_due(now);
            assert_eq!(popped.is_some(), earliest.is_some_and(|at| at <= now));
            let Some(item) = popped else { return false };
            // SAFETY: as above.
            let deadline = unsafe { item.as_ref() }.deadline;
            assert_eq!(Some(deadline), earliest);
            let of_that_deadline = self.model.range((deadline, 0)..=(deadline, usize::MAX));
            let (_, n) = *of_that_deadline.clone().find(|(_, n)| self.items[*n] == item).unwrap();
            assert!(!self.is_set(n));
            self.model.remove(&(deadline, n))
        }

        /// Every entry is where its item says, and not before its parent. The room fits.
        fn check(&self) {
            let heap = &self.timers.heap;
            assert_eq!(heap.len(), self.model.len());
            for (index, entry) in heap.iter().enumerate() {
                // SAFETY: as above.
                assert_eq!(unsafe { entry.item.as_ref() }.heap_index, HeapIndex(index as u32));
                assert!(index == 0 || heap[(index - 1) / CHILDREN].deadline <= entry.deadline);
            }
            self.check_room();
        }

        fn check_room(&self) {
            let (room, len) = (self.timers.heap.capacity(), self.timers.heap.len());
            assert!(room <= (4 * len).max(MIN_CAPACITY), "room for {room} is kept for {len}");
        }
    }

    impl Drop for Clockwork {
        fn drop(&mut self) {
            for item in &self.items {
                // SAFETY: from a box, freed once; the heap does not touch its items when it is
                // dropped.
                drop(unsafe { Box::from_raw(item.as_ptr()) });
            }
        }
    }

    fn dice(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        *state >> 33
    }

    #[test]
    fn a_heap_does_what_a_sorted_set_does() {
        for seed in 0..if cfg!(miri) { 3 } else { 60 } {
            let mut state = seed;
            let items = if cfg!(miri) { 50 } else { 300 };
            let mut clockwork = Clockwork::new(items);
            // Few different deadlines in some runs, so that many are equal.
            let span = [4, 100, 1 << 30][seed as usize % 3];
            // Phases in which it grows, shrinks, or stays.
            for phase in 0..12 {
                for _ in 0..items * 4 / 3 {
                    let n = dice(&mut state) as usize % items;
                    match (clockwork.is_set(n), dice(&mut state) % 8) {
                        (false, draw) if draw < 2 + 2 * (phase % 3) => {
                            clockwork.insert(dice(&mut state) % span, n);
                        }
                        (true, 0..4) => clockwork.remove(n),
                        (_, 6) => _ = clockwork.pop(dice(&mut state) % span),
                        _ => {}
                    }
                }
                clockwork.check();
            }
            while clockwork.pop(NEVER) {}
            clockwork.check();
        }
    }

    #[test]
    fn deadlines_up_to_the_last_are_told_apart() {
        let mut clockwork = Clockwork::new(3);
        clockwork.insert(NEVER, 0);
        clockwork.insert(NEVER - 1, 1);
        clockwork.insert(0, 2);
        assert!(clockwork.pop(0) && !clockwork.pop(NEVER - 2));
        assert!(clockwork.pop(NEVER - 1) && !clockwork.pop(NEVER - 1));
        assert!(clockwork.pop(NEVER));
    }

    /// A million, set in an order that is bad for a heap, half of them cancelled, the rest fired.
    #[test]
    fn a_million_timers_cost_a_few_levels_each_and_give_their_memory_back() {
        let percent = std::env::var("NARROWBOAT_TEST_SCALE").ok().and_then(|text| text.parse().ok());
        let count = 1_000_000 / if cfg!(debug_assertions) { 10 } else { 1 } * percent.unwrap_or(100) / 100;
        let count: usize = if cfg!(miri) { 300 } else { count.max(1000) };
        let mut clockwork = Clockwork::new(count);
        let depth = count.ilog(CHILDREN) as usize + 1;
        let mut most = 0;
        let mut measure = |clockwork: &mut Clockwork, f: &mut dyn FnMut(&mut Clockwork)| {
            clockwork.timers.levels = 0;
            f(clockwork);
            most = most.max(clockwork.timers.levels);
            clockwork.check_room();
        };
        for n in 0..count {
            // Each earlier than all before it: it rises to the top.
            measure(&mut clockwork, &mut |c| c.insert((count - n) as u64, n));
        }
        clockwork.check();
        let full = clockwork.timers.heap.capacity();
        let mut state = 1;
        for _ in 0..count / 2 {
            let n = dice(&mut state) as usize % count;
            if clockwork.is_set(n) {
                measure(&mut clockwork, &mut |c| c.remove(n));
            }
        }
        clockwork.check();
        let mut left = clockwork.model.len();
        assert!(left > count / 2 && left < count * 3 / 4);
        while left > 0 {
            measure(&mut clockwork, &mut |c| assert!(c.pop(NEVER)));
            left -= 1;
        }
        clockwork.check();
        assert!(most <= depth + 1, "{most} levels for one timer of {count}");
        assert!(full >= count && clockwork.timers.heap.capacity() <= MIN_CAPACITY);
    }

    /// At the edge between two sizes, one more and one less do not move the entries each time.
    #[test]
    fn room_is_not_made_and_given_up_by_turns() {
        let most = if cfg!(miri) { 70 } else { 5000 };
        let mut clockwork = Clockwork::new(most);
        (0..most).for_each(|n| clockwork.insert(n as u64, n));
        let mut room = clockwork.timers.heap.capacity();
        let mut changes = 0;
        let mut note = |clockwork: &Clockwork| {
            let before = std::mem::replace(&mut room, clockwork.timers.heap.capacity());
            changes += usize::from(before != room);
        };
        for n in (0..most).rev() {
            for _ in 0..3 {
                clockwork.remove(n);
                note(&clockwork);
                clockwork.insert(7, n);
                note(&clockwork);
            }
            clockwork.remove(n);
            note(&clockwork);
        }
        let halvings = most.next_power_of_two().ilog2() - MIN_CAPACITY.ilog2();
        assert_eq!(changes, halvings as usize);
    }
}
