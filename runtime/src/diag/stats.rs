//! [`stats`]: the figures of the whole runtime at one moment.

use crate::locals::map;
use crate::stack::sharing;
use crate::telemetry::counters::Phase;
use crate::{park, sched};
use std::fmt;
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The runtime in figures, as of one moment.
///
/// Each figure is read while everything goes on, and some are published once per batch of
/// goroutines: sums over them are close, and exact when nothing changes. `Display` gives one line
/// for the whole, one per processor and one per worker; [`prometheus`](Stats::prometheus) gives the
/// text form that Prometheus reads.
///
/// ```
/// narrowboat::spawn(|| ()).join().unwrap();
/// let stats = narrowboat::stats();
/// assert!(stats.spawned() >= 1);
/// println!("{stats}");
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Each processor that exists, in order.
    pub processors: Vec<ProcessorStats>,
    /// Each worker that has ever been started, in order.
    pub workers: Vec<WorkerStats>,
    /// How many workers may be awake now: [their number](crate::Config::workers), without those
    /// that are [held back](crate::Config::hold_back_workers), and one more for each that is stuck.
    pub workers_allowed: usize,
    /// How many times a worker was started to stand in for one that was stuck.
    pub spares_started: usize,
    /// How many times a goroutine was found to keep its processor for too long.
    pub stuck: usize,
    /// Whether each processor is pinned to a thread, because the system does not permit exchanging
    /// the thread pointer or because `NARROWBOAT_PIN` says so.
    pub pinned: bool,
    /// Bytes of thread-locals that are a goroutine's own, which a switch between two goroutines
    /// compares.
    pub private_locals: usize,
    /// Why goroutines of a processor share its thread-locals, where they do.
    pub shared_locals: Option<&'static str>,
    /// How many times a goroutine has waited for one of std's locks, or in `thread::park`, in a
    /// stack slot that it shares: the other goroutines of that slot wait meanwhile.
    pub slots_held: usize,
}

/// One processor in figures.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ProcessorStats {
    /// Goroutines that live here, those included that have not started.
    pub goroutines: usize,
    /// Whether it is for goroutines that keep their processor for long:
    /// [`Config::processors_apart`](crate::Config::processors_apart).
    pub apart: bool,
    /// Those of them that run: one while a worker carries the processor, else none.
    pub running: usize,
    /// Those that are ready to run, as of the end of the last batch.
    pub ready: usize,
    /// Those that wait for something: the rest.
    pub waiting: usize,
    /// Those that have not started.
    pub unstarted: usize,
    /// Goroutines spawned to run here.
    pub spawned: usize,
    /// Goroutines that have ended here.
    pub finished: usize,
    /// Switches to a goroutine.
    pub switches: usize,
    /// Switches back because the goroutine waits.
    pub parks: usize,
    /// Switches back because the goroutine gave way.
    pub yields: usize,
    /// Stacks copied out of their slots.
    pub copies: usize,
    /// The bytes that were copied out.
    pub copied_bytes: usize,
    /// Stack slots with an inhabitant.
    pub slots: usize,
    /// Goroutines that wait with a deadline.
    pub timers: usize,
}

/// One worker in figures.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Turns of processors carried.
    pub carried: usize,
    /// Processors and goroutines taken from elsewhere.
    pub steals: usize,
    /// Looks into the netpoller.
    pub polls: usize,
    /// Events found there.
    pub events: usize,
    /// Time spent with a processor, or on the way to the next.
    pub running: Duration,
    /// Time spent looking for work.
    pub searching: Duration,
    /// Time spent asleep.
    pub sleeping: Duration,
    /// Whether its thread has ended. It is started again when it is needed.
    pub retired: bool,
}

/// The runtime's figures. Before the runtime starts there are none.
///
/// Costs some atomic loads for each processor and worker; it stops nothing and allocates two
/// vectors.
///
/// ```
/// let before = narrowboat::stats().finished();
/// narrowboat::spawn(|| ()).join().unwrap();
/// assert!(narrowboat::stats().finished() >= before);
/// ```
pub fn stats() -> Stats {
    park::checkpoint();
    sched::started().map(sched::Runtime::stats).unwrap_or_default()
}

impl Stats {
    /// Goroutines that have been spawned and have not ended.
    ///
    /// ```
    /// assert_eq!(narrowboat::stats().goroutines(), 0);
    /// ```
    pub fn goroutines(&self) -> usize {
        self.sum(|p| p.goroutines)
    }

    /// Goroutines spawned so far.
    ///
    /// ```
    /// assert_eq!(narrowboat::stats().spawned(), 0);
    /// ```
    pub fn spawned(&self) -> usize {
        self.sum(|p| p.spawned)
    }

    /// Goroutines that have ended so far.
    ///
    /// ```
    /// assert_eq!(narrowboat::stats().finished(), 0);
    /// ```
    pub fn finished(&self) -> usize {
        self.sum(|p| p.finished)
    }

    fn sum(&self, of: impl Fn(&ProcessorStats) -> usize) -> usize {
        self.processors.iter().map(of).sum()
    }

    /// The figures in one line: what `NARROWBOAT_SCHEDTRACE=1000` prints to the standard error
    /// stream once a second.
    ///
    /// ```
    /// println!("{}", narrowboat::stats().summary());
    /// ```
    pub fn summary(&self) -> impl fmt::Display {
        let awake = self.workers.iter().filter(|w| !w.retired).count();
        format!(
            "narrowboat: goroutines={} running={} ready={} waiting={} unstarted={} switches={} parks={} copies={} copied={}B timers={} \
             processors={} workers={awake} allowed={} carried={} steals={} polls={} spares={} stuck={}{}",
            self.goroutines(),
            self.sum(|p| p.running),
            self.sum(|p| p.ready),
            self.sum(|p| p.waiting),
            self.sum(|p| p.unstarted),
            self.sum(|p| p.switches),
            self.sum(|p| p.parks),
            self.sum(|p| p.copies),
            self.sum(|p| p.copied_bytes),
            self.sum(|p| p.timers),
            self.processors.len(),
            self.workers_allowed,
            self.workers.iter().map(|w| w.carried).sum::<usize>(),
            self.workers.iter().map(|w| w.steals).sum::<usize>(),
            self.workers.iter().map(|w| w.polls).sum::<usize>(),
            self.spares_started,
            self.stuck,
            if self.pinned { " pinned" } else { "" },
        )
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary())?;
        for (index, p) in self.processors.iter().enumerate() {
            writeln!(
                f,
                "  processor {index}: goroutines={} running={} ready={} waiting={} unstarted={} spawned={} finished={} switches={} parks={} \
                 yields={} copies={} copied={}B slots={} timers={}{}",
                p.goroutines,
                p.running,
                p.ready,
                p.waiting,
                p.unstarted,
                p.spawned,
                p.finished,
                p.switches,
                p.parks,
                p.yields,
                p.copies,
                p.copied_bytes,
                p.slots,
                p.timers,
                if p.apart { " apart" } else { "" }
            )?;
        }
        for (index, w) in self.workers.iter().enumerate() {
            writeln!(
                f,
                "  worker {index}: carried={} steals={} polls={} events={} running={:.3?} searching={:.3?} \
                 sleeping={:.3?}{}",
                w.carried,
                w.steals,
                w.polls,
                w.events,
                w.running,
                w.searching,
                w.sleeping,
                if w.retired { " retired" } else { "" }
            )?;
        }
        Ok(())
    }
}

impl sched::Runtime {
    fn stats(&'static self) -> Stats {
        let processors = self.processors.all().map(|p| {
            let (switches, finished) = (p.switches.get(), p.census.finished.get());
            let yields = p.counters.yields.get();
            let (goroutines, unstarted) = (p.census.load(), p.unstarted.len() + p.arrivals.len());
            let carried = self.workers.all().any(|w| ptr::eq(w.carrying.load(Ordering::Relaxed), p));
            let running = usize::from(carried).min(goroutines.saturating_sub(unstarted));
            let ready = p.counters.ready.get().min(goroutines.saturating_sub(unstarted + running));
            ProcessorStats {
                goroutines,
                apart: p.is_apart(),
                running,
                ready,
                waiting: goroutines.saturating_sub(unstarted + running + ready),
                unstarted,
                spawned: p.census.came(),
                finished,
                switches,
                parks: switches.saturating_sub(finished + yields),
                yields,
                copies: p.counters.copies.get(),
                copied_bytes: p.counters.copied_bytes.get(),
                slots: p.counters.slots.get(),
                timers: p.counters.timers.get(),
            }
        });
        let workers = self.workers.all().map(|w| WorkerStats {
            carried: w.carries.get(),
            steals: w.counters.steals.get(),
            polls: w.counters.polls.get(),
            events: w.counters.events.get(),
            running: w.counters.times.spent(Phase::Running),
            searching: w.counters.times.spent(Phase::Searching),
            sleeping: w.counters.times.spent(Phase::Sleeping),
            retired: w.is_retired(),
        });
        Stats {
            processors: processors.collect(),
            workers: workers.collect(),
            workers_allowed: self.workers.limit(),
            spares_started: self.workers.spares_started(),
            stuck: self.monitor.stuck.get(),
            pinned: !self.sizes.carried,
            private_locals: map::in_force().bytes(),
            shared_locals: map::why_shared(),
            slots_held: sharing::times_held(),
        }
    }
}
