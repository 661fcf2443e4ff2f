//! The scheduler: processors, the workers that carry them, and what they share.
//!
//! - `record`: what a processor knows of a goroutine, and what the two owners of a task meet in.
//! - `processor`, `batch` and `admission`: a processor's own state; `inbox` and `arrivals`: how
//!   other threads reach it; `look`: what they may read of its goroutines.
//! - `worker`: the loop of a kernel thread; `search`: where it looks for work; `idle`, `sleepers`:
//!   how it sleeps and is woken.
//! - `headcount`: how many workers may be awake; `supply`: whether the machine has cores for them.
//! - `monitor`: the thread that watches for stuck workers; `relief`: how the monitor moves
//!   goroutines that those workers do not start.
//! - `placement`: which processor a new goroutine goes to; `apart`: the processors for goroutines
//!   that keep them for long; `deadlines`, `timers`, `pace`: time;
//!   [`poller`]: descriptors.
//! - `fork`: what remains in a forked process.
//! - `trace`: what is recorded of all this; `above`: what the scheduler calls of the floors above.
//! - `world`: processors on which something else decides, for tests that repeat.
//!
//! There is one runtime per process. It starts at first use and never ends.

pub(crate) mod above;
mod admission;
pub(crate) mod apart;
pub(crate) mod arrivals;
pub(crate) mod batch;
pub(crate) mod census;
pub(crate) mod config;
mod deadlines;
pub(crate) mod fork;
mod headcount;
mod idle;
pub(crate) mod inbox;
pub(crate) mod look;
pub(crate) mod monitor;
mod pace;
mod placement;
pub mod poller;
pub(crate) mod processor;
pub(crate) mod record;
mod relief;
pub(crate) mod request;
mod search;
mod sleepers;
mod supply;
pub(crate) mod tables;
pub(crate) mod timers;
pub(crate) mod trace;
pub(crate) mod worker;
pub(crate) mod world;

use crate::locals::{destructors, map};
use crate::lock::Mutex;
use crate::sched::record::task::TaskPtr;
use crate::{arch, stack, sys};
use apart::Apart;
use config::{Config, Sizes};
use crossbeam_deque::Injector;
use deadlines::Deadlines;
use idle::Idle;
use monitor::Monitor;
use placement::Placement;
use poller::PollTurn;
use processor::{Here, Processor};
use sleepers::Sleepers;
use std::io;
use std::ops::Range;
use std::panic::Location;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tables::{ProcessorTable, WorkerTable};
use worker::Worker;

/// What all workers share.
pub(crate) struct Runtime {
    pub(crate) sizes: Sizes,
    pub(crate) processors: ProcessorTable,
    pub(crate) workers: WorkerTable,
    /// The shared queue: processors that were queued by plain threads, by the monitor (which also
    /// moves those of a stuck worker here), and by workers that give up all they have.
    queue: Injector<&'static Processor>,
    idle: Idle,
    sleepers: Sleepers,
    pub(crate) deadlines: Deadlines,
    poll_turn: PollTurn,
    suggestions: search::Suggestions,
    pub(crate) monitor: Monitor,
    ids: AtomicU64,
    /// The placement of goroutines that plain threads spawn.
    thread_placement: Mutex<Placement>,
    apart: Apart,
    /// Goroutine numbers that are reserved for spawns by plain threads.
    thread_ids: Mutex<Range<u64>>,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime. Only code that runs on a processor or a worker may call this, because the runtime
/// must have started.
#[inline]
pub(crate) fn runtime() -> &'static Runtime {
    RUNTIME.get().expect("the runtime has started before anything of it runs")
}

/// The runtime if it has started; `None` in a forked child process.
pub(crate) fn started() -> Option<&'static Runtime> {
    RUNTIME.get().filter(|_| !fork::in_child())
}

/// Wakes the monitor, so that it checks for a deadlock again. Called when a plain thread begins to
/// wait, or ends: the program may have lost the last thread that could go on. Costs one load unless
/// the monitor sleeps.
pub(crate) fn wake_monitor() {
    if let Some(runtime) = started() {
        runtime.monitor.wake_if_asleep();
    }
}

fn is_started() -> bool {
    RUNTIME.get().is_some()
}

/// Starts the runtime if it does not run yet.
pub(crate) fn start() -> io::Result<()> {
    start_and_get().map(drop)
}

pub(crate) fn start_and_get() -> io::Result<&'static Runtime> {
    fork::check()?;
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    static STARTING: Mutex<()> = Mutex::new(());
    let one_at_a_time = STARTING.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    above::check()?;
    // Before any step that a fork could interrupt halfway.
    fork::watch()?;
    arch::valgrind::look();
    let sizes = Config::resolve()?;
    map::make(&Config::crates_with_shared_locals(), above::catches_waits)?;
    above::install(Config::traces()?, sizes.workers)?;
    let runtime = RUNTIME.get_or_init(|| Runtime {
        sizes,
        processors: ProcessorTable::new(sizes.processors, sizes.apart),
        workers: WorkerTable::new(&sizes),
        queue: Injector::new(),
        idle: Idle::new(),
        sleepers: Sleepers::new(),
        deadlines: Deadlines::new(),
        poll_turn: PollTurn::new(),
        suggestions: search::Suggestions::new(),
        monitor: Monitor::new(),
        ids: AtomicU64::new(0),
        thread_placement: Mutex::new(Placement::default()),
        apart: Apart::new(sizes.apart),
        thread_ids: Mutex::new(0..0),
    });
    above::install_panic_hook();
    above::publish(runtime);
    runtime.processors.get_or_create(runtime, 0)?;
    // The C library installs a signal handler of its own when the process starts its first thread.
    // By now at least one has been started (above).
    stack::above::install(processor::FOR_STACKS);
    destructors::take_with(processor::add_destructor);
    sys::getattr::answer_with(stack::present::of_goroutine);
    sys::signals::prepare_process(stack::overflow::report, processor::thread_pointer_of_worker);
    if sizes.carried {
        runtime.workers.start_first(runtime)?;
    }
    runtime.monitor.start(runtime)?;
    above::start(sizes.quit_exits, sizes.schedtrace)?;
    // It uses the runtime as the program does.
    drop(one_at_a_time);
    above::begin();
    Ok(runtime)
}

/// Where a new goroutine will go.
pub(crate) enum Destination {
    /// The spawner's own processor.
    Own(Here),
    /// Another processor. The second field is the spawner's, if the spawner is a goroutine.
    Other(&'static Processor, Option<Here>),
}

/// Decides where the goroutine goes that the caller spawns at this place.
pub(crate) fn choose_destination(at: &'static Location<'static>) -> io::Result<Destination> {
    fork::check()?;
    let here = Here::now();
    if let Some(runtime) = RUNTIME.get()
        && let Some(apart) = runtime.apart.home(runtime, at)
    {
        return Ok(Destination::Other(apart, here));
    }
    match here {
        Some(here) => Ok(match here.choose_processor() {
            None => Destination::Own(here),
            Some(there) => Destination::Other(there, Some(here)),
        }),
        None => {
            let runtime = start_and_get()?;
            let mut thread_placement = runtime.thread_placement.lock().unwrap_or_else(|e| e.into_inner());
            let there = thread_placement.next(runtime, None);
            there
                .map(|there| Destination::Other(there, None))
                .ok_or_else(|| io::Error::other("no processor could be started: the system refuses threads"))
        }
    }
}

impl Destination {
    pub(crate) fn processor(&self) -> &'static Processor {
        match self {
            Destination::Own(here) => here.processor(),
            Destination::Other(processor, _) => processor,
        }
    }

    /// Takes a number for the goroutine.
    pub(crate) fn next_goroutine_id(&self) -> u64 {
        match self {
            Destination::Own(here) | Destination::Other(_, Some(here)) => here.next_id(),
            Destination::Other(_, None) => {
                let mut ids = runtime().thread_ids.lock().unwrap_or_else(|e| e.into_inner());
                if ids.is_empty() {
                    *ids = runtime().take_ids(256);
                }
                ids.next().unwrap_or_default()
            }
        }
    }

    /// Sends the goroutine to its destination.
    pub(crate) fn put(self, task: TaskPtr) {
        match self {
            Destination::Own(here) => {
                here.spawn_here(task);
                here.count_spawn();
            }
            Destination::Other(there, here) => {
                there.send_task(task, here);
                if let Some(here) = here {
                    here.count_spawn();
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
    /// Reserves `n` numbers for new goroutines. No number has its sixteen lowest bits clear: locks
    /// take those bits as the tag of the owner, and zero means a thread ([`crate::park::tag`]).
    pub(crate) fn take_ids(&self, n: u64) -> Range<u64> {
        let first = self.ids.fetch_add(n, Ordering::Relaxed);
        first + u64::from(first as u16 == 0)..first + n
    }

    /// Reserves `n` numbers in a row, of which the first has its sixteen lowest bits clear.
    fn take_id_range(&self, n: u64) -> u64 {
        const ALIGN: u64 = 1 << 16;
        self.ids.fetch_add(n + ALIGN, Ordering::Relaxed).next_multiple_of(ALIGN)
    }

    /// Queues a processor that the caller has just taken, so that some worker runs it. `by` is the
    /// worker that carries the calling code, if any.
    pub(crate) fn submit(&'static self, processor: &'static Processor, by: Option<&Worker>) {
        if !self.sizes.carried {
            self.wake_pinned(processor);
        } else if let Some(worker) = by {
            worker.offer(processor);
        } else if let Some(worker) = worker::current() {
            // The caller is the worker's own code, in the poller. It looks at its queue when it
            // comes back from there, and shares the work then.
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

    /// Steps 2 and 3 of the idle protocol: makes sure that a searcher will look for the work that
    /// the caller has queued.
    pub(crate) fn appoint(&'static self) {
        let may_start = self.workers.may_start();
        if self.idle.should_appoint(may_start) {
            self.wake_a_searcher();
        }
    }

    /// Wakes or starts a worker as the searcher. The caller has raised `searching` on its behalf.
    #[cold]
    fn wake_a_searcher(&'static self) {
        if fork::in_child() {
            // The sleeping threads do not exist in the child, and a new worker would run the
            // parent's goroutines.
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
            // Without room, the workers that are awake find the work: each looks around before it
            // falls asleep.
            if !room() || !self.idle.should_appoint(false) {
                return;
            }
        }
    }

    /// How many workers are awake; never more than exist. A worker that ends is first subtracted
    /// from `started`, then removed from the list of sleepers. So this reads the two in the
    /// opposite order. Otherwise such a worker would count as awake in between, and a wake-up that
    /// only it could take might be judged unnecessary.
    fn awake(&self) -> usize {
        let sleeping = self.idle.sleeping();
        self.workers.started().saturating_sub(sleeping)
    }

    /// Pinned mode: wakes the one worker that may run this processor.
    fn wake_pinned(&self, processor: &'static Processor) {
        // The processor was taken before this. The fence pairs with the one in `announce_sleep`.
        std::sync::atomic::fence(Ordering::SeqCst);
        if let Some(worker) = self.workers.pinned_to(processor)
            && worker.is_asleep()
            && !fork::in_child()
            && self.sleepers.call(worker, &self.idle)
        {
            worker.wake();
        }
    }
}
