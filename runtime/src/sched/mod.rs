//! The scheduler: processors, the workers that carry them, and what they share.
//!
//! - `processor`, `batch` and `admission`: a processor's own affairs; `inbox`: how others reach it;
//!   `look`: what they may see of its goroutines.
//! - `worker`: the loop of a kernel thread; `search`: where it looks for work; `idle`, `sleepers`:
//!   how it sleeps and is woken.
//! - `monitor`: the thread that watches for workers that are stuck; `relief`: what it does for
//!   goroutines that they do not start.
//! - `placement`: which processor a new goroutine goes to; `deadlines`, `timers`, `pace`: time;
//!   [`poller`]: descriptors.
//!
//! There is one runtime per process. It starts at first use and never ends. `fork`: what is left in
//! a forked process.

mod admission;
pub(crate) mod as_thread;
pub(crate) mod batch;
pub(crate) mod census;
pub(crate) mod config;
mod deadlines;
pub(crate) mod fork;
mod idle;
pub(crate) mod inbox;
pub(crate) mod look;
pub(crate) mod monitor;
mod pace;
mod placement;
pub mod poller;
pub(crate) mod processor;
mod relief;
mod search;
mod sleepers;
pub(crate) mod tables;
pub(crate) mod timers;
pub(crate) mod worker;

use crate::diag::{debugger, quit, schedtrace, trace};
use crate::goroutine::panic;
use crate::goroutine::task::TaskPtr;
use crate::locals::map;
use crate::lock::Mutex;
use crate::{arch, stack, sys};
use config::{Config, Sizes};
use crossbeam_deque::Injector;
use deadlines::Deadlines;
use idle::Idle;
use monitor::Monitor;
use placement::Placement;
use poller::PollTurn;
use processor::{Processor, current_processor};
use sleepers::Sleepers;
use std::io;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tables::{ProcessorTable, WorkerTable};
use worker::Worker;

/// What all workers share.
pub(crate) struct Runtime {
    pub(crate) sizes: Sizes,
    pub(crate) processors: ProcessorTable,
    pub(crate) workers: WorkerTable,
    /// Processors queued by nobody's worker: by plain threads, the monitor, and workers that give
    /// theirs up.
    queue: Injector<&'static Processor>,
    idle: Idle,
    sleepers: Sleepers,
    pub(crate) deadlines: Deadlines,
    poll_turn: PollTurn,
    suggestions: search::Suggestions,
    pub(crate) monitor: Monitor,
    ids: AtomicU64,
    /// Where plain threads spawn.
    outside: Mutex<Placement>,
    /// Goroutines that plain threads have taken numbers for.
    outside_ids: Mutex<Range<u64>>,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime, which must have started: everything that runs on a processor or a worker may call
/// this.
#[inline]
pub(crate) fn runtime() -> &'static Runtime {
    RUNTIME.get().expect("the runtime has started before anything of it runs")
}

/// The runtime if it has started, and has not been left behind by a fork.
pub(crate) fn started() -> Option<&'static Runtime> {
    RUNTIME.get().filter(|_| !fork::in_child())
}

/// A plain thread has begun to wait, or ends: what looked like a program that goes on may have come
/// to its end. A load, unless the monitor sleeps.
pub(crate) fn look_again() {
    if let Some(runtime) = started() {
        runtime.monitor.somebody_works();
    }
}

fn is_started() -> bool {
    RUNTIME.get().is_some()
}

/// Starts the runtime if it does not run yet.
pub(crate) fn start() -> io::Result<()> {
    start_and_get().map(drop)
}

fn start_and_get() -> io::Result<&'static Runtime> {
    fork::check()?;
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    static STARTING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = STARTING.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    // Before anything that a fork could leave half done.
    fork::watch()?;
    arch::valgrind::look();
    let sizes = Config::resolve()?;
    map::make(&Config::crates_with_shared_locals())?;
    trace::session::begin(Config::traces()?, sizes.workers)?;
    let runtime = RUNTIME.get_or_init(|| Runtime {
        sizes,
        processors: ProcessorTable::new(sizes.processors),
        workers: WorkerTable::new(&sizes),
        queue: Injector::new(),
        idle: Idle::new(),
        sleepers: Sleepers::new(),
        deadlines: Deadlines::new(),
        poll_turn: PollTurn::new(),
        suggestions: search::Suggestions::new(),
        monitor: Monitor::new(),
        ids: AtomicU64::new(0),
        outside: Mutex::new(Placement::default()),
        outside_ids: Mutex::new(0..0),
    });
    panic::install_hook();
    debugger::publish(runtime);
    runtime.processors.get_or_create(runtime, 0)?;
    // The C library installs a handler of its own when the process starts its first thread, which
    // that was at the latest.
    sys::signals::prepare_process(stack::overflow::report);
    if sizes.carried {
        runtime.workers.start_first(runtime)?;
    }
    runtime.monitor.start(runtime)?;
    quit::start(sizes.quit_exits)?;
    if let Some(every) = sizes.schedtrace {
        schedtrace::start(every)?;
    }
    Ok(runtime)
}

/// Where a goroutine about to be spawned will go.
pub(crate) enum Place {
    /// The spawner's own processor.
    Here(&'static Processor),
    /// Another one. The second is the spawner's, if it is a goroutine.
    There(&'static Processor, Option<&'static Processor>),
}

/// Decides where the caller's next child goes.
pub(crate) fn place() -> io::Result<Place> {
    fork::check()?;
    match current_processor() {
        // SAFETY: the caller runs on this processor, hence is a goroutine of it: no loop code
        // spawns.
        Some(here) => Ok(match unsafe { here.place() } {
            None => Place::Here(here),
            Some(there) => Place::There(there, Some(here)),
        }),
        None => {
            let runtime = start_and_get()?;
            let mut outside = runtime.outside.lock().unwrap_or_else(|e| e.into_inner());
            let there = outside.next(runtime, None);
            there
                .map(|there| Place::There(there, None))
                .ok_or_else(|| io::Error::other("no processor could be started: the system refuses threads"))
        }
    }
}

impl Place {
    pub(crate) fn processor(&self) -> &'static Processor {
        match self {
            Place::Here(processor) | Place::There(processor, _) => processor,
        }
    }

    /// A number for the goroutine.
    pub(crate) fn next_goroutine_id(&self) -> u64 {
        match self {
            // SAFETY: the caller of `place` is a goroutine of `here`.
            Place::Here(here) | Place::There(_, Some(here)) => unsafe { here.next_id() },
            Place::There(_, None) => {
                let mut ids = runtime().outside_ids.lock().unwrap_or_else(|e| e.into_inner());
                if ids.is_empty() {
                    *ids = runtime().take_ids(256);
                }
                ids.next().unwrap_or_default()
            }
        }
    }

    /// Puts the goroutine there.
    pub(crate) fn put(self, task: TaskPtr) {
        match self {
            // SAFETY: the caller of `place` is a goroutine of `here`.
            Place::Here(here) => unsafe {
                here.spawn_here(task);
                here.count_spawn();
            },
            Place::There(there, here) => {
                there.send_task(task, here);
                if let Some(here) = here {
                    // SAFETY: as above.
                    unsafe { here.count_spawn() };
                }
            }
        }
        processor::checkpoint();
    }
}

/// The number of goroutines that have been spawned and have not ended.
///
/// Exact when nothing is being spawned or ending at the moment.
///
/// ```
/// let before = narrowboat::num_goroutines();
/// narrowboat::spawn(|| ()).join().unwrap();
/// assert!(narrowboat::num_goroutines() <= before + 1);
/// ```
pub fn num_goroutines() -> usize {
    processor::checkpoint();
    started().map_or(0, |runtime| runtime.processors.all().map(|p| p.census.load()).sum())
}

impl Runtime {
    /// Numbers for new goroutines. None has its sixteen lowest bits clear, which is how locks say
    /// that a thread has them ([`crate::park::tag`]).
    pub(crate) fn take_ids(&self, n: u64) -> Range<u64> {
        let first = self.ids.fetch_add(n, Ordering::Relaxed);
        first + u64::from(first as u16 == 0)..first + n
    }

    /// Sees to it that a processor runs that the caller has just taken. `by` is the worker that
    /// carries the calling code, if any.
    pub(crate) fn submit(&'static self, processor: &'static Processor, by: Option<&Worker>) {
        if !self.sizes.carried {
            self.wake_nailed(processor);
        } else if let Some(worker) = by {
            worker.offer(processor);
        } else if let Some(worker) = worker::current() {
            // The worker itself, in the poller: it looks at its queue when it is back, and shares
            // it then.
            worker.enqueue(processor);
        } else {
            self.queue.push(processor);
            self.appoint();
        }
    }

    /// Queues the idle processors that have a timer to fire.
    fn queue_due(&'static self, now: u64) {
        let deadline = |processor: &&'static Processor| processor.deadline.load(Ordering::Relaxed);
        self.deadlines.take_due(now, self.processors.all(), deadline, |processor| {
            if processor.inbox.claim() {
                self.submit(processor, None);
            }
        });
    }

    /// Steps 2 and 3 of the idle protocol: somebody shall look for the work that the caller has
    /// queued.
    pub(crate) fn appoint(&'static self) {
        let may_start = self.workers.may_start();
        if self.idle.should_appoint(may_start) {
            self.wake_a_searcher();
        }
    }

    /// Wakes or starts a worker to be the searcher; the caller has raised `searching` for it.
    #[cold]
    fn wake_a_searcher(&'static self) {
        if fork::in_child() {
            // The sleepers are not there, and a worker that was started would run the parent's
            // goroutines.
            return;
        }
        let room = || self.awake() < self.workers.limit();
        loop {
            if room() {
                if let Some(worker) = self.sleepers.appoint_one(&self.idle) {
                    worker.wake();
                    return;
                }
                if self.workers.start_searcher(self) {
                    return;
                }
            }
            self.idle.stop_searching();
            // Without room it is left to the workers that are awake: the next that falls asleep
            // looks around before.
            if !room() || !self.idle.should_appoint(false) {
                return;
            }
        }
    }

    /// How many workers do not sleep; never more than there are. A worker that ends is first taken
    /// out of `started`, then off the list of sleepers, so the two are read the other way round:
    /// otherwise it would count as awake in between, and a wake-up that nobody else can take might
    /// be thought unnecessary.
    fn awake(&self) -> usize {
        let sleeping = self.idle.sleeping();
        self.workers.started().saturating_sub(sleeping)
    }

    /// Pinned mode: wakes the one worker that may run this processor.
    fn wake_nailed(&self, processor: &'static Processor) {
        // The processor was taken before this; the fence is the counterpart of the one in
        // `announce_sleep`.
        std::sync::atomic::fence(Ordering::SeqCst);
        if let Some(worker) = self.workers.nailed_to(processor)
            && worker.is_asleep()
            && !fork::in_child()
            && self.sleepers.call(worker, &self.idle)
        {
            worker.wake();
        }
    }
}
