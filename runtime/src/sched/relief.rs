//! Moves goroutines that have not started away from a processor that does not get to them.
//!
//! A child waits on its spawner's processor, and no worker is woken for it, because the spawner
//! probably parks soon. But a spawner that computes or blocks does not park. So the monitor
//! compares two ticks:
//!
//! | newcomers waited at both ticks, and | move | to |
//! |---|---|---|
//! | a worker is idle, and no goroutine has given way between the ticks | one, or a fair share | idle processors |
//! | a worker is idle, and two newcomers or more waited although goroutines have given way | a fair share | idle processors |
//! | the running goroutine was asked to give way two ticks ago and has not done so | all | idle processors, else processors with goroutines that give way, else one [apart](super::apart) |
//!
//! The last row needs no idle worker: goroutines that wait behind one that blocks for ever must not
//! depend on an idle worker. Newcomers are sent like goroutines that are spawned from elsewhere
//! ([`Processor::send_task`]), so this has no protocol of its own. Goroutines that have started
//! never move.

use super::Runtime;
use super::processor::Processor;
use super::search::steal;

/// The most newcomers that leave a processor in one tick.
const MAX_IN_A_TICK: usize = 1024;
/// How many newcomers one processor gets before the next is chosen, if no worker is known to be
/// idle.
const IN_A_ROW: usize = 32;

/// What the monitor saw of a processor at the last tick.
#[derive(Clone, Copy, Default)]
pub(super) struct Waiting {
    newcomers: usize,
    switches: usize,
}

impl Runtime {
    /// Compares a processor with what the last tick saw of it: the first two rows of the table.
    pub(super) fn watch_newcomers(&'static self, processor: &'static Processor, before: &mut Waiting) {
        if processor.stage().is_some() {
            return;
        }
        let now = Waiting { newcomers: processor.newcomers(), switches: processor.switches.get() };
        let before = std::mem::replace(before, now);
        let stands = now.switches == before.switches;
        if now.newcomers.min(before.newcomers) < if stands { 1 } else { 2 } {
            return;
        }
        let helpers = self.idle_workers();
        let share = now.newcomers.min(MAX_IN_A_TICK).div_ceil(helpers + 1);
        for _ in 0..helpers {
            let Some(target) = self.idle_processor_like(processor) else { return };
            if self.move_newcomers(processor, target, share) < share {
                return;
            }
        }
    }

    /// The last row of the table. The processor's goroutine has been asked to give way.
    pub(super) fn send_newcomers_away(&'static self, processor: &'static Processor) {
        let most = if processor.stage().is_some() { 0 } else { MAX_IN_A_TICK };
        let mut left = most;
        while left > 0 && processor.has_newcomers() {
            let target = self
                .idle_processor_like(processor)
                .or_else(|| self.willing_processor(processor))
                .or_else(|| self.apart.least_crowded(self).filter(|apart| !apart.ignores_yield_request()));
            let moved = target.map_or(0, |target| self.move_newcomers(processor, target, IN_A_ROW.min(left)));
            if moved == 0 {
                return;
            }
            left -= moved;
        }
    }

    /// How many idle workers could run queued work now. A pinned worker runs only its own
    /// processor, so there each processor counts; whether its worker is idle is then read from the
    /// processor.
    pub(super) fn idle_workers(&self) -> usize {
        if !self.sizes.carried {
            return self.processors.all().count();
        }
        self.workers.limit().saturating_sub(self.awake())
    }

    /// An idle processor for newcomers of `processor`: one of its own kind.
    fn idle_processor_like(&'static self, processor: &Processor) -> Option<&'static Processor> {
        if self.processors.is_ordinary(processor) {
            return self.idle_processor();
        }
        self.apart.least_crowded(self).filter(|other| other.inbox.is_idle())
    }

    /// The processor with the fewest goroutines among those of the same kind where the running
    /// goroutine gives way.
    fn willing_processor(&self, besides: &Processor) -> Option<&'static Processor> {
        let ordinary = self.processors.is_ordinary(besides);
        let willing = |p: &&Processor| {
            let same_kind = p.stage().is_none()
                && self.processors.is_ordinary(p) == ordinary
                && (!ordinary || !p.is_apart());
            same_kind && !std::ptr::eq(*p, besides) && !p.ignores_yield_request()
        };
        self.processors.all().filter(willing).min_by_key(|p| p.census.load())
    }

    /// Moves newcomers to another processor; those whose spawn site is [known](super::apart) go to
    /// the processors apart instead.
    fn move_newcomers(&'static self, from: &'static Processor, to: &'static Processor, most: usize) -> usize {
        let next = || steal(|| from.unstarted.steal()).or_else(|| from.arrivals.steal());
        let mut moved = 0;
        while moved < most
            && let Some(task) = next()
        {
            // SAFETY: the task was stolen, so it is ours until it is sent on.
            let spawned_at = unsafe { task.spawned_at() };
            let apart =
                if self.processors.is_ordinary(from) { self.apart.home(self, spawned_at) } else { None };
            apart.unwrap_or(to).send_task(task, None);
            from.census.note_given(1);
            moved += 1;
        }
        moved
    }
}
