//! When a goroutine that has not started gets a turn.
//!
//! Goroutines that have started go on while their stacks are warm, and what has not started takes little memory. So
//! newcomers start one at a time, one after each *stride*: a turn of every goroutine in the queue, or of sixteen of them.
//!
//! That is for short turns. Where a turn lasts for milliseconds, the last of n newcomers would wait for n²/2 turns, since
//! each that starts makes the queue longer. So after a stride that has taken long there start as many newcomers as the stride's
//! part of the queue: all that wait start within one round of the queue. Both sides then advance as if they stood in one
//! queue, so neither can starve the other. The same holds after a turn that has spawned many.

/// The longest stride, in turns.
const LONGEST: usize = 16;
/// From here on a stride has taken long, in nanoseconds.
const LONG: u64 = 1_000_000;

/// One processor's account of that.
#[derive(Default)]
pub(super) struct Admission {
    /// Turns of the queue that are left of the stride, or, below zero, newcomers that start before the next one.
    left: isize,
    /// When the last stride ended after which a newcomer has started.
    ended: u64,
}

impl Admission {
    /// Counts a turn of the queue. False at the end of a stride: then a newcomer starts, or `begin_stride` follows if there
    /// is none.
    #[inline(always)]
    pub(super) fn takes_turn(&mut self) -> bool {
        let takes = self.left > 0;
        if takes {
            self.left -= 1;
        }
        takes
    }

    /// A newcomer starts, at the end of a stride or because the queue is empty. `waiting` counts those that are left.
    #[inline]
    pub(super) fn started(&mut self, queue: usize, now: u64, waiting: impl FnOnce() -> usize) {
        if self.left < -1 {
            self.left += 1;
            return;
        }
        if self.left == 0 {
            let took = now.wrapping_sub(self.ended);
            self.ended = now;
            if took >= LONG && queue > 0 {
                self.left = -others_to_start(waiting(), queue);
                if self.left < 0 {
                    return;
                }
            }
        }
        self.begin_stride(queue);
    }

    /// `queue` is how many are in the queue.
    #[inline(always)]
    pub(super) fn begin_stride(&mut self, queue: usize) {
        self.left = queue.min(LONGEST) as isize;
    }

    /// Many newcomers have come in one turn: the present stride counts as one that has taken long.
    pub(super) fn many_spawned(&mut self) {
        self.ended = 0;
    }
}

/// How many of those that wait start beside one newcomer, so that all start within a round of the queue.
#[cold]
fn others_to_start(waiting: usize, queue: usize) -> isize {
    let all = (waiting + 1) * queue.min(LONGEST);
    all.div_ceil(queue) as isize - 1
}
