//! How the schedules are chosen that a check tries.

use crate::random::Random;
use crate::schedule::{Kind, Point};
use narrowboat_runtime::world::{Moment, TurnEnd};
use std::collections::{BTreeMap, HashMap};

/// How a check chooses schedules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Strategy {
    /// At each call that could switch, each goroutine that can run is as likely to go on.
    Uniform,
    /// Probabilistic concurrency testing: goroutines have random priorities, and at `depth - 1`
    /// random points of the run the one that would go on falls to the end. A bug that needs `depth`
    /// ordered steps is found by one schedule with a probability of at least `1 / (n * k^(depth -
    /// 1))`, with `n` goroutines and `k` points
    /// ([`Summary::pct_bound`](crate::Summary::pct_bound)).
    Pct {
        /// How many ordered steps the bug needs: 2 or 3 is enough for most.
        depth: u32,
    },
    /// In turns; the schedules differ in how many calls a turn has.
    RoundRobin,
    /// All schedules with at most so many preemptions: switches away from a goroutine that could go
    /// on. For small programs: the number of schedules grows with the length of the run to the
    /// power of the preemptions. Its schedules are tried one after the other.
    Exhaustive {
        /// At most so many preemptions.
        preemptions: usize,
    },
}

/// A place where there is a choice between goroutines.
pub(crate) struct Choice<'a> {
    pub(crate) moment: &'a Moment<'a>,
    /// What the default is, as an index.
    pub(crate) default: usize,
    pub(crate) point: Point,
}

impl Choice<'_> {
    /// Whether the default goes on with a goroutine that was only asked to give way.
    fn could_go_on(&self) -> bool {
        self.moment
            .last
            .is_some_and(|last| last.end == TurnEnd::Passed && self.moment.ready[self.default] == last.number)
    }
}

/// Makes the decisions of one run.
pub(crate) trait Decide: Send {
    /// An index into the goroutines that are ready: there are two or more.
    fn turn(&mut self, choice: &Choice<'_>) -> usize;

    /// One of `0..n`; `n` is two or more.
    fn draw(&mut self, point: Point, n: usize) -> usize;
}

/// At random.
pub(crate) struct Uniform(pub(crate) Random);

impl Decide for Uniform {
    fn turn(&mut self, choice: &Choice<'_>) -> usize {
        self.0.below(choice.moment.ready.len())
    }

    fn draw(&mut self, _: Point, n: usize) -> usize {
        self.0.below(n)
    }
}

/// See [`Strategy::Pct`].
pub(crate) struct Pct {
    random: Random,
    /// Higher ones go first. New goroutines get random ones above those that fell.
    priorities: HashMap<u32, u64>,
    /// Where priorities fall: ascending numbers of choices.
    changes: Vec<u64>,
    choices: u64,
    /// The next priority of a goroutine that falls: below all that fell before.
    low: u64,
}

impl Pct {
    /// The lowest priority of goroutines that have not fallen.
    const HIGH: u64 = 1 << 32;

    pub(crate) fn new(mut random: Random, depth: u32, choices: u64) -> Pct {
        let choices = usize::try_from(choices.max(1)).unwrap_or(usize::MAX);
        let mut changes: Vec<u64> = (1..depth).map(|_| random.below(choices) as u64).collect();
        changes.sort_unstable();
        Pct { random, priorities: HashMap::new(), changes, choices: 0, low: Pct::HIGH }
    }

    fn fall(&mut self, number: u32) {
        self.low -= 1;
        self.priorities.insert(number, self.low);
    }

    fn highest(&mut self, ready: &[u32]) -> usize {
        let mut highest = (0, 0);
        for (index, &number) in ready.iter().enumerate() {
            let random = &mut self.random;
            let priority =
                *self.priorities.entry(number).or_insert_with(|| Pct::HIGH + (random.next() >> 32));
            if priority >= highest.1 {
                highest = (index, priority);
            }
        }
        highest.0
    }
}

impl Decide for Pct {
    fn turn(&mut self, choice: &Choice<'_>) -> usize {
        let ready = choice.moment.ready;
        // A goroutine that gives way by itself, or polls for long, must let others go.
        if let Some(last) = choice.moment.last
            && ready.contains(&last.number)
            && !choice.could_go_on()
        {
            self.fall(last.number);
        }
        let highest = self.highest(ready);
        let number = self.choices;
        self.choices += 1;
        if self.changes.first().is_some_and(|&at| at <= number) {
            self.changes.remove(0);
            self.fall(ready[highest]);
            return self.highest(ready);
        }
        highest
    }

    fn draw(&mut self, _: Point, n: usize) -> usize {
        self.random.below(n)
    }
}

/// In turns of `quantum` calls.
pub(crate) struct RoundRobin {
    quantum: u64,
    left: u64,
    draws: usize,
}

impl RoundRobin {
    pub(crate) fn new(iteration: u64) -> RoundRobin {
        let quantum = 1 + iteration % 16;
        RoundRobin { quantum, left: quantum, draws: iteration as usize / 16 }
    }
}

impl Decide for RoundRobin {
    fn turn(&mut self, choice: &Choice<'_>) -> usize {
        if choice.could_go_on() && self.left > 1 {
            self.left -= 1;
            return choice.default;
        }
        self.left = self.quantum;
        let last = choice.moment.last.map_or(0, |last| last.number);
        choice.moment.ready.iter().position(|&number| number > last).unwrap_or(0)
    }

    fn draw(&mut self, _: Point, n: usize) -> usize {
        self.draws = self.draws.wrapping_add(1);
        self.draws % n
    }
}

/// The default, but for what a schedule says.
pub(crate) struct Follow {
    schedule: BTreeMap<Point, u32>,
    /// Entries that could not be followed.
    pub(crate) missed: Vec<(Point, u32)>,
}

impl Follow {
    pub(crate) fn new(schedule: BTreeMap<Point, u32>) -> Follow {
        Follow { schedule, missed: Vec::new() }
    }
}

impl Decide for Follow {
    fn turn(&mut self, choice: &Choice<'_>) -> usize {
        let Some(wanted) = self.schedule.remove(&choice.point) else { return choice.default };
        choice.moment.ready.iter().position(|&number| number == wanted).unwrap_or_else(|| {
            self.missed.push((choice.point, wanted));
            choice.default
        })
    }

    fn draw(&mut self, point: Point, n: usize) -> usize {
        let wanted = self.schedule.remove(&point).unwrap_or_default();
        if wanted as usize >= n {
            self.missed.push((point, wanted));
            return 0;
        }
        wanted as usize
    }
}

impl Follow {
    /// The first entry that was not followed: it was impossible, or its point never came.
    pub(crate) fn divergence(&self) -> Option<(Point, u32)> {
        self.missed.first().copied().or_else(|| self.schedule.iter().next().map(|(&at, &value)| (at, value)))
    }
}

/// All schedules within a bound, one after the other, in depth first order.
#[derive(Default)]
pub(crate) struct Tree {
    /// The choices of the present run, as far as they are decided already.
    path: Vec<Node>,
    /// How many of them the present run has come to.
    depth: usize,
    preemptions: usize,
    bound: usize,
}

/// A choice: which of its options is being tried. The first one is the default.
struct Node {
    options: usize,
    tried: usize,
    /// Whether each option but the first is a preemption.
    preempts: bool,
    kind: Kind,
}

impl Tree {
    pub(crate) fn new(bound: usize) -> Tree {
        Tree { bound, ..Tree::default() }
    }

    /// Goes on to the next schedule. False if all have been tried.
    pub(crate) fn advance(&mut self) -> bool {
        self.depth = 0;
        self.preemptions = 0;
        let mut spent: usize = self.path.iter().filter(|node| node.preempts && node.tried > 0).count();
        while let Some(node) = self.path.last_mut() {
            let mine = usize::from(node.preempts && node.tried > 0);
            spent -= mine;
            let affordable = !node.preempts || spent < self.bound;
            if node.tried + 1 < node.options && affordable {
                node.tried += 1;
                return true;
            }
            self.path.pop();
        }
        false
    }

    /// Which option the next choice takes.
    fn option(&mut self, options: usize, preempts: bool, kind: Kind) -> usize {
        let depth = self.depth;
        self.depth += 1;
        match self.path.get(depth) {
            Some(node) if node.options == options && node.kind == kind => {
                self.preemptions += usize::from(node.preempts && node.tried > 0);
                node.tried
            }
            known => {
                // What differs from the last run is not decided by the world: what follows is new.
                if known.is_some() {
                    self.path.truncate(depth);
                }
                self.path.push(Node { options, tried: 0, preempts, kind });
                0
            }
        }
    }
}

impl Decide for Tree {
    fn turn(&mut self, choice: &Choice<'_>) -> usize {
        let option = self.option(choice.moment.ready.len(), choice.could_go_on(), Kind::Turn);
        // The default first, then the others in order.
        match option {
            0 => choice.default,
            option if option <= choice.default => option - 1,
            option => option,
        }
    }

    fn draw(&mut self, _: Point, n: usize) -> usize {
        self.option(n, false, Kind::Draw)
    }
}
