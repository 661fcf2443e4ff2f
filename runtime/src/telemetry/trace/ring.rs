//! A ring of events with one writer, which never waits and knows nothing of readers: when the ring
//! is full it overwrites the oldest event.
//!
//! So one ring serves both uses. A trace is read as it is written, and what was overwritten before
//! it was read is counted as lost; the flight recorder reads only on request, and finds as much as
//! fits.
//!
//! The protocol. Events are numbered from zero; the event with number `n` stands in slot `n` modulo
//! the capacity.
//!
//! 1. The writer takes its own count of events, `n`, as the number of the new one.
//! 2. Fence (release), then it writes the words of the slot.
//! 3. It stores the count `n + 1` (release).
//! 4. A reader loads the count (acquire). It copies the events below it that the ring can still
//!    hold.
//! 5. Fence (acquire), then the reader loads the count once more. Of what it has copied, it keeps
//!    the events that cannot have been touched meanwhile: with a count of `n`, the writer may be at
//!    work on number `n`, which replaces the one a whole capacity earlier.
//!
//! Why the kept events are whole: by 3 and 4 all words of an event are seen, at least as they were
//! written. If a reader has copied a word of a later event `m` instead, then by the fences of 2 and
//! 5 its second look sees a count of `m` at least, and step 5 discards the copy. Words are stored
//! and loaded one by one, relaxed: the fences order them.

use crate::shim::{AtomicU64, Ordering, fence};
use crossbeam_utils::CachePadded;

pub(crate) struct Ring<const WORDS: usize> {
    slots: Box<[[AtomicU64; WORDS]]>,
    /// How many events have been written.
    count: CachePadded<AtomicU64>,
}

impl<const WORDS: usize> Ring<WORDS> {
    /// A ring for `capacity` events, a power of two.
    pub(crate) fn new(capacity: usize) -> Ring<WORDS> {
        assert!(capacity.is_power_of_two());
        Ring { slots: zeroed(capacity), count: CachePadded::new(AtomicU64::new(0)) }
    }

    fn slot(&self, number: u64) -> &[AtomicU64; WORDS] {
        &self.slots[number as usize & (self.slots.len() - 1)]
    }

    /// Steps 1 to 3.
    ///
    /// # Safety
    /// One thread at a time writes: the previous writer's last event happens before this one.
    #[inline]
    pub(crate) unsafe fn push(&self, event: [u64; WORDS]) {
        // Relaxed: the writer's own count.
        let number = self.count.load(Ordering::Relaxed);
        fence(Ordering::Release);
        for (slot, word) in self.slot(number).iter().zip(event) {
            slot.store(word, Ordering::Relaxed);
        }
        self.count.store(number + 1, Ordering::Release);
    }

    /// How many events have been written so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Steps 4 and 5: appends the events from `next` on to `to`. Returns how many events were
    /// overwritten before they could be read, all of them older than those appended, and the number
    /// to go on with.
    pub(crate) fn read(&self, next: u64, to: &mut Vec<[u64; WORDS]>) -> Read {
        let capacity = self.slots.len() as u64;
        let end = self.count();
        let first = next.max(end.saturating_sub(capacity));
        let begin = to.len();
        to.extend(
            (first..end).map(|number| self.slot(number).each_ref().map(|word| word.load(Ordering::Relaxed))),
        );
        fence(Ordering::Acquire);
        let now = self.count.load(Ordering::Relaxed);
        let whole = first.max((now + 1).saturating_sub(capacity)).min(end);
        to.drain(begin..begin + (whole - first) as usize);
        Read { lost: whole - next, next: end }
    }
}

/// The result of reading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) lost: u64,
    pub(crate) next: u64,
}

/// Memory that costs nothing until it is written.
#[cfg(not(loom))]
fn zeroed<const WORDS: usize>(capacity: usize) -> Box<[[AtomicU64; WORDS]]> {
    let words = vec![[0u64; WORDS]; capacity].into_boxed_slice();
    // SAFETY: an atomic word has the size, the alignment and the values of a plain one.
    unsafe { Box::from_raw(Box::into_raw(words) as *mut [[AtomicU64; WORDS]]) }
}

#[cfg(loom)]
fn zeroed<const WORDS: usize>(capacity: usize) -> Box<[[AtomicU64; WORDS]]> {
    (0..capacity).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_in_time_is_complete_and_the_rest_is_counted() {
        let ring: Ring<2> = Ring::new(8);
        let (mut seen, mut next, mut lost) = (Vec::new(), 0, 0);
        for number in 0..100 {
            // SAFETY: this thread is the only writer.
            unsafe { ring.push([number, !number]) };
            // Often at first, then too rarely.
            if number % 5 == 4 && number < 50 || number == 80 {
                let read = ring.read(next, &mut seen);
                (next, lost) = (read.next, lost + read.lost);
            }
        }
        assert_eq!(lost, 81 - seen.len() as u64);
        assert!(seen.iter().all(|[a, b]| *a == !*b));
        // All of the first fifty, then the last seven that a ring of eight can return: the eighth
        // may be under way.
        let numbers: Vec<u64> = seen.iter().map(|[number, _]| *number).collect();
        assert_eq!(numbers, (0..50).chain(74..81).collect::<Vec<_>>());
    }
}

#[cfg(all(test, any(loom, narrowboat_threads)))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// A writer laps the reader: the kept events are whole and in order, and together with the lost
    /// ones they are all there is.
    #[test]
    fn loom_what_is_kept_of_a_ring_is_whole() {
        loom::model(|| {
            let ring: Arc<Ring<2>> = Arc::new(Ring::new(2));
            let writer = {
                let ring = ring.clone();
                thread::spawn(move || {
                    for number in 1..=3 {
                        // SAFETY: the only writer.
                        unsafe { ring.push([number, number]) };
                    }
                })
            };
            let reader = {
                let ring = ring.clone();
                thread::spawn(move || {
                    let mut seen = Vec::new();
                    let read = ring.read(0, &mut seen);
                    (seen, read)
                })
            };
            writer.join().unwrap();
            let (mut seen, first) = reader.join().unwrap();
            let second = ring.read(first.next, &mut seen);
            assert_eq!(first.lost + second.lost + seen.len() as u64, 3);
            assert!(seen.iter().all(|[a, b]| a == b), "torn: {seen:?}");
            assert!(seen.is_sorted());
        });
    }
}
