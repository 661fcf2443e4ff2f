//! A processor's timers: a plain four-ary heap, touched only by whoever carries the processor.
//!
//! Four children per node halve the depth of a binary heap and keep a node's children in one cache line. Entries
//! are found again by id in constant time, so that a timer that is no longer wanted leaves in logarithmic time
//! and takes its memory with it.

use crate::goroutine::record::Record;
use std::ptr::NonNull;

/// Names a timer while it is in the heap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimerId(u32);

impl TimerId {
    /// Names no timer.
    pub(crate) const NONE: TimerId = TimerId(u32::MAX);
}

#[derive(Clone, Copy)]
struct Entry {
    deadline: u64,
    id: u32,
}

/// What an id stands for: a timer at some place in the heap, or the next free id.
enum Place {
    InHeap { index: u32, goroutine: NonNull<Record> },
    Free { next: u32 },
}

#[derive(Default)]
pub(crate) struct Timers {
    heap: Vec<Entry>,
    places: Vec<Place>,
    free: Option<u32>,
}

const CHILDREN: usize = 4;

impl Timers {
    /// The earliest deadline, if there is any timer.
    pub(crate) fn earliest(&self) -> Option<u64> {
        self.heap.first().map(|e| e.deadline)
    }

    pub(crate) fn insert(&mut self, deadline: u64, goroutine: NonNull<Record>) -> TimerId {
        let place = Place::InHeap { index: self.heap.len() as u32, goroutine };
        let id = match self.free {
            Some(id) => {
                let Place::Free { next } = self.places[id as usize] else { unreachable!() };
                self.free = (next != u32::MAX).then_some(next);
                self.places[id as usize] = place;
                id
            }
            None => {
                self.places.push(place);
                (self.places.len() - 1) as u32
            }
        };
        self.heap.push(Entry { deadline, id });
        self.rise(self.heap.len() - 1);
        TimerId(id)
    }

    /// Takes a timer out before its time.
    pub(crate) fn remove(&mut self, id: TimerId) {
        let Place::InHeap { index, .. } = self.places[id.0 as usize] else { unreachable!() };
        self.take(index as usize);
    }

    /// Takes out a timer whose deadline is not after `now`, earliest first.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<NonNull<Record>> {
        let first = *self.heap.first()?;
        if first.deadline > now {
            return None;
        }
        Some(self.take(0))
    }

    fn take(&mut self, index: usize) -> NonNull<Record> {
        let entry = self.heap.swap_remove(index);
        if index < self.heap.len() {
            let moved = self.rise(index);
            self.sink(moved);
        }
        let free = Place::Free { next: self.free.unwrap_or(u32::MAX) };
        let Place::InHeap { goroutine, .. } = std::mem::replace(&mut self.places[entry.id as usize], free)
        else {
            unreachable!()
        };
        self.free = Some(entry.id);
        if self.heap.is_empty() && self.places.len() > 1024 {
            *self = Timers::default();
        }
        goroutine
    }

    fn rise(&mut self, mut index: usize) -> usize {
        while index > 0 {
            let parent = (index - 1) / CHILDREN;
            if self.heap[parent].deadline <= self.heap[index].deadline {
                break;
            }
            self.heap.swap(parent, index);
            self.settle(index);
            index = parent;
        }
        self.settle(index);
        index
    }

    fn sink(&mut self, mut index: usize) {
        loop {
            let first = index * CHILDREN + 1;
            let last = (first + CHILDREN).min(self.heap.len());
            let Some(least) = (first..last).min_by_key(|&child| self.heap[child].deadline) else { break };
            if self.heap[index].deadline <= self.heap[least].deadline {
                break;
            }
            self.heap.swap(index, least);
            self.settle(index);
            index = least;
        }
        self.settle(index);
    }

    /// Notes where an entry now stands.
    fn settle(&mut self, at: usize) {
        if let Some(entry) = self.heap.get(at)
            && let Place::InHeap { index, .. } = &mut self.places[entry.id as usize]
        {
            *index = at as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goroutine(n: usize) -> NonNull<Record> {
        NonNull::new((n * 128) as *mut Record).unwrap()
    }

    #[test]
    fn fires_in_order_of_deadline_and_forgets_removed_timers() {
        let mut timers = Timers::default();
        let mut state = 12345u64;
        let mut expected = Vec::new();
        let mut ids = Vec::new();
        for n in 1..2000usize {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            let deadline = state >> 40;
            ids.push((deadline, n, timers.insert(deadline, goroutine(n))));
        }
        for (k, (deadline, n, id)) in ids.into_iter().enumerate() {
            if k % 3 == 0 {
                timers.remove(id);
            } else {
                expected.push((deadline, n));
            }
        }
        expected.sort();
        let middle = expected[expected.len() / 2].0;
        let mut fired = Vec::new();
        while let Some(g) = timers.pop_due(middle) {
            fired.push(g);
        }
        let due = expected.iter().filter(|e| e.0 <= middle).count();
        assert_eq!(fired.len(), due);
        while let Some(g) = timers.pop_due(NEVER_FOR_TEST) {
            fired.push(g);
        }
        let mut deadlines_of: Vec<u64> = Vec::new();
        for g in &fired {
            let n = g.as_ptr() as usize / 128;
            deadlines_of.push(expected.iter().find(|e| e.1 == n).unwrap().0);
        }
        assert_eq!(fired.len(), expected.len());
        assert!(deadlines_of.is_sorted());
        assert_eq!(timers.earliest(), None);
    }

    const NEVER_FOR_TEST: u64 = crate::clock::NEVER;

    #[test]
    fn gives_its_memory_back_when_the_last_timer_goes() {
        let mut timers = Timers::default();
        let ids: Vec<_> = (0..5000).map(|n| timers.insert(n, goroutine(n as usize + 1))).collect();
        for id in ids {
            timers.remove(id);
        }
        assert_eq!(timers.heap.capacity() + timers.places.capacity(), 0);
    }
}
