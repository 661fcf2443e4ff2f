//! How many workers the machine has cores for.
//!
//! A worker that loses its core keeps its processor, and all goroutines of that wait until the
//! kernel lets it go on. If the thread that has the core is one that the program waits for, a
//! client on the same machine for instance, fewer workers do more work in less time. If it is of
//! another program, fewer workers only get less of the machine. From outside the two look alike. So
//! the monitor tries it, and counts the turns of goroutines:
//!
//! 1. Workers compete for cores if together they have waited for one for a tenth of the time since
//!    the last look. As long as they do not, nothing is tried, and no worker is held back.
//! 2. A trial has three windows: as it is, with one worker fewer, and as it is again. One worker
//!    fewer is right if it makes more turns by [`GAIN`] than the mean of its neighbours. Otherwise
//!    nothing changes.
//! 3. What has been found holds for a second, and twice as long each time that it is found again.
//!    Then, if a worker is held back, it is tried to let it go: it is held back again only if that
//!    is better by the same measure. If none is held back, or that was right, step 2 is next.
//! 4. If a core has been idle, all workers that are held back are let go at once.
//!
//! Here is the decision, from readings that the monitor takes; nothing else touches it. The monitor
//! changes the limit of workers that may be awake accordingly, which each worker reads before it
//! looks for work ([`super::worker`]).

/// How long one window of a trial lasts, in nanoseconds.
const WINDOW: u64 = 40_000_000;
/// How long it is watched whether workers compete.
const LOOK: u64 = 50_000_000;
/// How long a finding holds at first, and at most.
const HOLDS: u64 = 1_000_000_000;
const HOLDS_AT_MOST: u64 = 8_000_000_000;
/// By how much fewer workers must be better, in per cent: turns vary by some from window to window.
const GAIN: u64 = 5;
/// With fewer turns than this in a window, a comparison means nothing.
const MIN_TURNS: u64 = 200;

/// What the machine gave and the program did, from its start until now.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Reading {
    pub(super) now: u64,
    /// How long workers have waited for a core, in nanoseconds, all together.
    pub(super) delay: u64,
    /// How long cores have been idle, in nanoseconds, all together. Only known while a worker is
    /// held back.
    pub(super) idle: Option<u64>,
    /// Turns of goroutines.
    pub(super) turns: u64,
}

impl Reading {
    fn since(self, before: Reading) -> Reading {
        Reading {
            now: self.now - before.now,
            // A worker that has ended has taken its part with it.
            delay: self.delay.saturating_sub(before.delay),
            idle: self.idle.zip(before.idle).map(|(now, before)| now.saturating_sub(before)),
            turns: self.turns.wrapping_sub(before.turns),
        }
    }

    /// Turns per second.
    fn rate(self) -> u64 {
        (u128::from(self.turns) * 1_000_000_000 / u128::from(self.now.max(1))) as u64
    }
}

/// A comparison of the number of workers that there is with another one.
#[derive(Clone, Copy, Debug)]
struct Trial {
    /// Whether the other number is the smaller one.
    fewer: bool,
    /// The rates of the windows that are over.
    rates: [u64; 2],
    windows: usize,
}

enum Better {
    Fewer,
    More,
}

impl Trial {
    fn begin(fewer: bool) -> Phase {
        Phase::Tries(Trial { fewer, rates: [0; 2], windows: 0 })
    }

    /// A window is over. `Err` has the verdict, if it was the last.
    fn note(mut self, rate: u64) -> Result<Trial, Better> {
        if let Some(of_window) = self.rates.get_mut(self.windows) {
            *of_window = rate;
            self.windows += 1;
            return Ok(self);
        }
        let [before, other] = self.rates;
        let present = before.midpoint(rate);
        let (with_fewer, with_more) = if self.fewer { (other, present) } else { (present, other) };
        Err(if with_fewer > with_more / 100 * (100 + GAIN) { Better::Fewer } else { Better::More })
    }
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing is tried for so long.
    Holds {
        until: u64,
    },
    Tries(Trial),
}

/// How many workers are held back, and what is tried next.
#[derive(Debug)]
pub(super) struct Supply {
    workers: usize,
    held_back: usize,
    phase: Phase,
    holds: u64,
    /// The beginning of the window, or of the look.
    begun: Option<Reading>,
}

impl Supply {
    /// For a program that may have so many workers awake.
    pub(super) fn new(workers: usize) -> Supply {
        Supply { workers, held_back: 0, phase: Phase::Holds { until: 0 }, holds: HOLDS, begun: None }
    }

    /// Whether a worker is held back, so that idle cores matter.
    pub(super) fn holds_back(&self) -> bool {
        self.held_back > 0
    }

    /// Whether a reading is of any use now.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let Some(begun) = self.begun else { return self.workers > 1 };
        now.saturating_sub(begun.now) >= if matches!(self.phase, Phase::Tries(_)) { WINDOW } else { LOOK }
    }

    /// How many workers are to be held back from now on.
    pub(super) fn decide(&mut self, reading: Reading) -> usize {
        if let Some(begun) = self.begun.replace(reading) {
            self.judge(reading.since(begun), reading.now);
        }
        let tried = match self.phase {
            Phase::Tries(Trial { fewer, windows: 1, .. }) => Some(fewer),
            _ => None,
        };
        match tried {
            Some(true) => self.held_back + 1,
            Some(false) => self.held_back - 1,
            None => self.held_back,
        }
    }

    fn judge(&mut self, past: Reading, now: u64) {
        let compete = past.delay > past.now / 10;
        let may_be_fewer = compete && self.held_back + 1 < self.workers;
        match self.phase {
            Phase::Holds { .. } if past.idle.is_some_and(|idle| idle > past.now / 2) => self.held_back = 0,
            Phase::Holds { until } if now < until => {}
            Phase::Holds { .. } if self.held_back > 0 => self.phase = Trial::begin(false),
            Phase::Holds { .. } if may_be_fewer => self.phase = Trial::begin(true),
            Phase::Holds { .. } => {}
            // The program does nothing, or the monitor came late: this says nothing of the number.
            Phase::Tries(_) if past.turns < MIN_TURNS || past.now > 2 * WINDOW => self.hold(now, true),
            Phase::Tries(trial) => match trial.note(past.rate()) {
                Ok(trial) => self.phase = Phase::Tries(trial),
                Err(verdict) => {
                    match (trial.fewer, verdict) {
                        (true, Better::Fewer) => self.held_back += 1,
                        (false, Better::More) => self.held_back -= 1,
                        // Perhaps still fewer are better still.
                        (false, Better::Fewer) if may_be_fewer => return self.phase = Trial::begin(true),
                        _ => return self.hold(now, false),
                    }
                    self.hold(now, true);
                }
            },
        }
    }

    fn hold(&mut self, now: u64, changed: bool) {
        self.holds = if changed { HOLDS } else { (2 * self.holds).min(HOLDS_AT_MOST) };
        self.phase = Phase::Holds { until: now + self.holds };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine on which goroutines make `turns` per second with so many workers held back.
    struct Machine {
        reading: Reading,
        compete: bool,
        idle: bool,
        turns: fn(usize) -> u64,
    }

    const TICK: u64 = 2_000_000;

    impl Machine {
        fn new(turns: fn(usize) -> u64) -> Machine {
            Machine { reading: Reading::default(), compete: true, idle: false, turns }
        }

        /// Lets so many milliseconds pass. Returns how long so many workers were held back.
        fn run(&mut self, supply: &mut Supply, milliseconds: u64) -> [u64; 4] {
            let mut held_back = supply.held_back;
            let mut times = [0; 4];
            for _ in 0..milliseconds / 2 {
                self.reading.now += TICK;
                self.reading.turns += (self.turns)(held_back) / 500;
                self.reading.delay += if self.compete { TICK } else { 0 };
                self.reading.idle =
                    supply.holds_back().then_some(if self.idle { self.reading.now } else { 0 });
                if supply.is_due(self.reading.now) {
                    held_back = supply.decide(self.reading);
                }
                times[held_back] += 2;
            }
            times
        }
    }

    #[test]
    fn a_worker_is_held_back_where_that_makes_more_turns() {
        let mut supply = Supply::new(2);
        let mut machine = Machine::new(|held_back| if held_back == 1 { 168_000 } else { 134_000 });
        machine.run(&mut supply, 400);
        assert_eq!(supply.held_back, 1);
        // It is looked at again now and then, more and more rarely.
        let [all, one, ..] = machine.run(&mut supply, 60_000);
        assert!(all <= 8 * 50 && one >= 59_000, "{all} ms with both workers, {one} with one");
    }

    #[test]
    fn no_worker_is_held_back_where_that_makes_fewer_turns_or_as_many() {
        let mut supply = Supply::new(2);
        let mut machine = Machine::new(|held_back| if held_back == 1 { 100_000 } else { 133_000 });
        let [_, fewer, ..] = machine.run(&mut supply, 60_000);
        assert!(supply.held_back == 0 && fewer <= 12 * 50, "{fewer} ms");
        let mut machine = Machine::new(|_| 100_000);
        machine.run(&mut Supply::new(2), 60_000);
        assert_eq!(supply.held_back, 0);
    }

    #[test]
    fn nothing_is_tried_where_workers_do_not_compete_or_the_program_does_little() {
        let mut machine = Machine::new(|held_back| 100_000 + 100_000 * held_back as u64);
        machine.compete = false;
        let mut supply = Supply::new(4);
        assert_eq!(machine.run(&mut supply, 10_000), [10_000, 0, 0, 0]);
        let mut machine = Machine::new(|held_back| 500 + 500 * held_back as u64);
        machine.run(&mut supply, 10_000);
        assert_eq!(supply.held_back, 0);
    }

    #[test]
    fn all_workers_are_let_go_when_cores_are_idle_or_more_of_them_are_better_again() {
        let mut supply = Supply::new(2);
        let mut machine = Machine::new(|held_back| if held_back == 1 { 168_000 } else { 134_000 });
        machine.run(&mut supply, 400);
        assert_eq!(supply.held_back, 1);
        machine.idle = true;
        machine.run(&mut supply, 100);
        assert_eq!(supply.held_back, 0);

        machine.idle = false;
        machine.run(&mut supply, 2_000);
        assert_eq!(supply.held_back, 1);
        machine.turns = |held_back| if held_back == 1 { 100_000 } else { 133_000 };
        machine.run(&mut supply, 9_000);
        assert_eq!(supply.held_back, 0);
    }

    #[test]
    fn several_workers_are_held_back_one_by_one_but_never_all() {
        let mut supply = Supply::new(4);
        let mut machine = Machine::new(|held_back| 100_000 + 20_000 * held_back as u64);
        machine.run(&mut supply, 60_000);
        assert_eq!(supply.held_back, 3);
        let mut supply = Supply::new(1);
        assert!(!supply.is_due(u64::MAX));
        assert_eq!(supply.decide(Reading::default()), 0);
    }
}
