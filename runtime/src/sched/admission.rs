//! When a goroutine that has not started gets a turn.
//!
//! Goroutines that have started go on while their stacks are warm, and a goroutine that has not
//! started takes little memory. So newcomers start one at a time, one after each *stride*: a turn
//! of every goroutine in the queue, or of sixteen of them.
//!
//! That is for short turns. If a turn lasts for milliseconds, the last of n newcomers would wait
//! for n²/2 turns, since each that starts makes the queue longer. So after a stride that has taken
//! long, as many newcomers start as the stride's part of the queue: all that wait start within one
//! round of the queue. Both sides then advance as if they stood in one queue, so neither can starve
//! the other. The same holds after a turn that has spawned many.

/// The longest stride, in turns.
const LONGEST: usize = 16;
/// A stride that takes at least this many nanoseconds is long.
const LONG: u64 = 1_000_000;

/// The state of this for one processor.
#[derive(Default)]
pub(super) struct Admission {
    /// Turns of the queue that remain of the stride. If negative: newcomers that start before the
    /// next stride.
    left: isize,
    /// When the last stride ended after which a newcomer has started.
    ended: u64,
    /// In a round of long turns: the strides that remain of it, and how many newcomers start after
    /// each.
    strides: usize,
    share: usize,
}

impl Admission {
    /// Counts a turn of the queue. False at the end of a stride: then a newcomer starts, or
    /// `begin_stride` follows if there is none.
    #[inline(always)]
    pub(super) fn takes_turn(&mut self) -> bool {
        let takes = self.left > 0;
        if takes {
            self.left -= 1;
        }
        takes
    }

    /// Records that a newcomer starts, at the end of a stride or because the queue is empty.
    /// `waiting` counts the newcomers that remain.
    #[inline]
    pub(super) fn started(&mut self, queue: usize, now: u64, waiting: impl FnOnce() -> usize) {
        if self.left < -1 {
            self.left += 1;
            return;
        }
        if self.left == 0 {
            let took = now.wrapping_sub(self.ended);
            self.ended = now;
            if took < LONG {
                self.strides = 0;
            } else if queue > 0 {
                self.left = -self.others_to_start(waiting(), queue);
                if self.left < 0 {
                    return;
                }
            }
        }
        self.begin_stride(queue);
    }

    /// Begins a stride. `queue` is the length of the queue.
    #[inline(always)]
    pub(super) fn begin_stride(&mut self, queue: usize) {
        self.left = queue.min(LONGEST) as isize;
    }

    /// How many of the waiting newcomers start together with this one, so that all start within a
    /// round of the queue as it is when the round begins. (They make it longer.)
    #[cold]
    fn others_to_start(&mut self, waiting: usize, queue: usize) -> isize {
        if self.strides == 0 {
            self.strides = queue.div_ceil(LONGEST);
            self.share = (waiting + 1).div_ceil(self.strides);
        }
        self.strides -= 1;
        waiting.min(self.share - 1) as isize
    }

    /// Records that one turn has spawned many newcomers: the present stride counts as a long one.
    pub(super) fn many_spawned(&mut self) {
        self.ended = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates turns until all newcomers have started and stand in the queue. Returns how many
    /// turns of the queue came before each newcomer.
    fn gaps(mut queue: usize, mut waiting: usize, turn: u64) -> Vec<usize> {
        let (mut admission, mut now, mut gap, mut gaps) = (Admission::default(), turn, 0, Vec::new());
        while waiting > 0 {
            if queue > 0 && admission.takes_turn() {
                gap += 1;
            } else {
                waiting -= 1;
                admission.started(queue, now, || waiting);
                queue += 1;
                gaps.push(std::mem::take(&mut gap));
            }
            now += turn;
        }
        gaps
    }

    #[test]
    fn one_newcomer_comes_between_short_turns_of_many() {
        let gaps = gaps(100, 20, 1_000);
        assert_eq!(gaps[0], 0);
        assert!(gaps[1..].iter().all(|&gap| gap == LONGEST), "{gaps:?}");
    }

    #[test]
    fn all_newcomers_start_within_a_round_of_long_turns() {
        for (queue, newcomers) in [(1, 1000), (20, 300), (100, 50), (1000, 10), (0, 100)] {
            let gaps = gaps(queue, newcomers, 10 * LONG);
            let others: usize = gaps.iter().sum();
            assert!(others <= queue + LONGEST, "{others} turns of {queue} before the last of {newcomers}");
            let in_a_row = gaps[1..].split(|&gap| gap > 0).map(<[_]>::len).max().unwrap_or_default();
            let share = newcomers.div_ceil(queue.div_ceil(LONGEST).max(1));
            assert!(in_a_row < share, "{in_a_row} of {newcomers} in a row before {queue}");
        }
    }

    #[test]
    fn after_a_lone_newcomer_the_queue_goes_on() {
        let mut admission = Admission::default();
        admission.begin_stride(3);
        assert!(admission.takes_turn() && admission.takes_turn() && admission.takes_turn());
        assert!(!admission.takes_turn());
        admission.started(3, LONG, || 0);
        assert!(admission.takes_turn(), "no other newcomer is left to start first");
    }
}
