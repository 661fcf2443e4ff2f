//! Which processor a new goroutine goes to.
//!
//! A child starts on its spawner's processor: the two probably talk to each other, and a hand-off
//! within a processor costs no atomic operation. But goroutines never move once they have started.
//! If all children of a busy spawner stayed, its processor would be the only one with work. So as
//! long as the spawner's processor has hardly more goroutines than the emptiest one, children stay.
//! Beyond that they go to the emptiest, in runs of consecutive spawns, because neighbours in a
//! pipeline are spawned one after the other and should mostly share a processor. If the running
//! goroutine of a processor has been asked to give way and has not done so, that processor is never
//! chosen as the emptiest; nor is one that is [apart](super::apart), for the goroutines that keep
//! their processors for long.

use super::Runtime;
use super::processor::Processor;
use crate::lock::Native;

/// The longest run of consecutive spawns that go to one processor. Short programs get shorter runs.
const LONGEST_RUN: usize = 64;
const SHORTEST_RUN: usize = 4;

/// Where the next goroutines of one spawner go.
#[derive(Clone, Copy, Default)]
pub(crate) struct Placement {
    target: Option<&'static Processor>,
    left: usize,
}

impl Placement {
    /// The placement of the spawners of a world: their children never leave.
    pub(super) fn here_for_ever() -> Placement {
        Placement { target: None, left: usize::MAX }
    }

    /// The processor for the next child of a goroutine on `here` (or of a plain thread): `None`
    /// means here.
    #[inline]
    pub(crate) fn next(
        &mut self,
        runtime: &'static Runtime,
        here: Option<&'static Processor>,
    ) -> Option<&'static Processor> {
        if self.left == 0 || self.target.or(here).is_some_and(Processor::is_apart) {
            self.choose(runtime, here);
        }
        self.left -= 1;
        self.target
    }

    #[cold]
    fn choose(&mut self, runtime: &'static Runtime, here: Option<&'static Processor>) {
        // Nothing may park here: the caller changes its processor's state meanwhile.
        let _native = Native::begin();
        let limit = runtime.processors.ordinary();
        let mut least = (usize::MAX, 0);
        let mut total = 0;
        for index in 0..limit {
            let processor = runtime.processors.get(index);
            let load = processor.map_or(0, |p| p.census.load());
            total += load;
            let unsuitable = |p: &Processor| p.is_apart() || p.ignores_yield_request();
            if load < least.0 && !processor.is_some_and(unsuitable) {
                least = (load, index);
            }
        }
        let run = (total / limit / 2).clamp(SHORTEST_RUN, LONGEST_RUN);
        self.left = run;
        self.target = match here {
            Some(here) if !here.is_apart() && here.census.load() <= least.0.saturating_add(run) => None,
            // If the system refuses another processor, an existing one is used.
            _ => runtime.processors.get_or_create(runtime, least.1).ok().or(runtime.processors.get(0)),
        };
        if let (Some(target), Some(here)) = (self.target, here)
            && std::ptr::eq(target, here)
        {
            self.target = None;
        }
    }
}
