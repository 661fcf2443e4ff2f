//! What decides in a world.

use crate::random::Random;
use narrowboat_runtime::world::{Moment, Scheduler};
use std::any::Any;

pub(crate) struct Chooser {
    random: Random,
}

impl Chooser {
    pub(crate) fn new(seed: u64) -> Chooser {
        Chooser { random: Random::stream(seed, 0) }
    }
}

impl Scheduler for Chooser {
    fn next(&mut self, moment: &Moment<'_>) -> Option<usize> {
        Some(self.random.below(moment.ready.len()))
    }

    fn draw(&mut self, n: usize) -> usize {
        self.random.below(n)
    }

    fn jump(&mut self, _: u64) -> bool {
        true
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}
