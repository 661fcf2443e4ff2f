//! The processors and the workers that exist: made on demand, found by index, never freed.

use super::Runtime;
use super::config::Sizes;
use super::processor::{self, Processor};
use super::worker::Worker;
use super::world::MOST_WORLDS;
use crate::lock::Mutex;
use crate::sys;
use std::cell::UnsafeCell;
use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

/// Bytes of stack for a lender: the stack that `stack::on_system_stack` offers. Less than a huge
/// page, so that it does not become one where huge pages are always used.
const LENDER_STACK: usize = 1 << 20;
/// Bytes of stack for a worker's own code. The program's signal handlers may run on it, too.
const WORKER_STACK: usize = 256 << 10;

fn pointers<T>(n: usize) -> Box<[AtomicPtr<T>]> {
    (0..n).map(|_| AtomicPtr::new(ptr::null_mut())).collect()
}

fn get<T>(entry: &AtomicPtr<T>) -> Option<&'static T> {
    // SAFETY: entries are set once, from leaked boxes. Acquire pairs with the release that set it.
    unsafe { entry.load(Ordering::Acquire).as_ref() }
}

fn set<T>(entry: &AtomicPtr<T>, value: &'static T) {
    entry.store(ptr::from_ref(value).cast_mut(), Ordering::Release);
}

pub(crate) struct ProcessorTable {
    /// The ordinary ones, then those beyond them, which are [apart](super::apart), then those for
    /// [worlds](super::world).
    entries: Box<[AtomicPtr<Processor>]>,
    ordinary: usize,
    extra: usize,
    creating: Mutex<()>,
}

impl ProcessorTable {
    pub(super) fn new(ordinary: usize, extra: usize) -> ProcessorTable {
        let entries = pointers(ordinary + extra + MOST_WORLDS);
        ProcessorTable { entries, ordinary, extra, creating: Mutex::new(()) }
    }

    /// For a debugger: the address of the table of processors, and its length.
    pub(crate) fn debugger_location(&self) -> [usize; 2] {
        [self.entries.as_ptr().addr(), self.entries.len()]
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&'static Processor> {
        get(&self.entries[index])
    }

    /// How many ordinary processors there may be.
    pub(crate) fn ordinary(&self) -> usize {
        self.ordinary
    }

    pub(super) fn is_ordinary(&self, processor: &Processor) -> bool {
        processor.index < self.ordinary
    }

    /// Whether there may be processors apart.
    pub(super) fn may_be_apart(&self) -> bool {
        self.extra > 0
    }

    pub(super) fn ordinary_ones(&self) -> impl Iterator<Item = &'static Processor> {
        self.entries[..self.ordinary].iter().filter_map(get)
    }

    /// Those beyond the ordinary ones, apart from them.
    pub(super) fn extra(&self) -> impl Iterator<Item = &'static Processor> {
        self.entries[self.ordinary..self.ordinary + self.extra].iter().filter_map(get)
    }

    /// The places of those that are for worlds.
    pub(crate) fn for_worlds(&self) -> Range<usize> {
        self.ordinary + self.extra..self.entries.len()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &'static Processor> {
        self.entries.iter().filter_map(get)
    }

    /// The processor at `index`. If it does not exist yet, creates it with its lender.
    pub(crate) fn get_or_create(
        &self,
        runtime: &'static Runtime,
        index: usize,
    ) -> io::Result<&'static Processor> {
        if let Some(processor) = self.get(index) {
            return Ok(processor);
        }
        let _one_at_a_time = self.creating.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(processor) = self.get(index) {
            return Ok(processor);
        }
        let processor =
            if runtime.sizes.carried { start_lender(runtime, index)? } else { start_pinned(runtime, index)? };
        set(&self.entries[index], processor);
        Ok(processor)
    }
}

/// Starts a lender: a thread that gives its thread-locals to a new processor.
fn start_lender(runtime: &'static Runtime, index: usize) -> io::Result<&'static Processor> {
    let (answer, asker) = Answer::pair();
    sys::start_bare_thread(&name("processor", index), LENDER_STACK, move || {
        // Before the processor is known: from then on a handler that ran here would share
        // thread-locals with a worker.
        sys::block_signals();
        let processor = Processor::new(runtime, index);
        let lends = processor.is_ok();
        if let Ok(processor) = processor {
            processor::set_current_processor(Some(processor));
        }
        // The last thing that this thread does with its thread-locals.
        answer.give(processor);
        if lends {
            sys::sleep_as_lender();
        }
    })?;
    let processor = asker.wait();
    #[cfg(any(narrowboat_asan, narrowboat_tsan))]
    if let Ok(processor) = &processor {
        processor.wait_for_lender();
    }
    processor
}

fn name(kind: &str, index: usize) -> CString {
    CString::new(format!("{kind}-{index}")).expect("a word and a number")
}

/// What a new thread tells the thread that has started it. The latter blocks natively meanwhile,
/// even in a goroutine, because it is in the middle of placing another one.
struct Answer {
    given: AtomicU32,
    processor: UnsafeCell<Option<io::Result<&'static Processor>>>,
}

// SAFETY: the cell belongs to the new thread until `given` is set, and to the asker after that.
unsafe impl Sync for Answer {}

struct Asker(Arc<Answer>);
struct Giver(Arc<Answer>);

impl Answer {
    fn pair() -> (Giver, Asker) {
        let answer = Arc::new(Answer { given: AtomicU32::new(0), processor: UnsafeCell::new(None) });
        (Giver(answer.clone()), Asker(answer))
    }
}

impl Giver {
    /// Gives the answer. Touches no thread-local once the asker can see it.
    fn give(self, processor: io::Result<&'static Processor>) {
        // SAFETY: `given` is not set yet.
        unsafe { *self.0.processor.get() = Some(processor) };
        let word = self.0.given.as_ptr().addr();
        let answer = Arc::as_ptr(&self.0);
        drop(self);
        // SAFETY: the asker keeps it until it has seen the word. Release: publishes the answer.
        unsafe { (*answer).given.store(1, Ordering::Release) };
        sys::futex::wake_all(word);
    }
}

impl Asker {
    fn wait(self) -> io::Result<&'static Processor> {
        sys::futex::wait(&self.0.given, 0);
        // SAFETY: `given` has been seen set, with acquire.
        unsafe { (*self.0.processor.get()).take() }.expect("given once")
    }
}

/// Pinned mode: starts a worker for a new processor, which has the worker's own thread-locals.
fn start_pinned(runtime: &'static Runtime, index: usize) -> io::Result<&'static Processor> {
    let (answer, asker) = Answer::pair();
    runtime.workers.started.fetch_add(1, Ordering::Relaxed);
    let spawned = sys::start_bare_thread(&name("processor", index), LENDER_STACK, move || {
        let processor = Processor::new(runtime, index);
        let worker = processor.and_then(|processor| Worker::new(runtime, index, Some(processor)));
        match worker {
            Ok(worker) => {
                set(&runtime.workers.entries[index], worker);
                answer.give(Ok(worker.pinned.expect("just made so")));
                worker.main(false);
            }
            Err(e) => {
                runtime.workers.started.fetch_sub(1, Ordering::Relaxed);
                answer.give(Err(e));
            }
        }
    });
    if let Err(e) = spawned {
        runtime.workers.started.fetch_sub(1, Ordering::Relaxed);
        return Err(e);
    }
    asker.wait()
}

pub(crate) struct WorkerTable {
    entries: Box<[AtomicPtr<Worker>]>,
    /// Kernel threads that exist.
    started: AtomicUsize,
    /// How many of them may be awake: as many as the monitor [allows](super::headcount), and one
    /// more for each that is stuck.
    limit: AtomicUsize,
    base: usize,
    /// How many times a spare worker was started.
    spares: AtomicUsize,
    carried: bool,
    starting: Mutex<()>,
}

impl WorkerTable {
    pub(super) fn new(sizes: &Sizes) -> WorkerTable {
        // One spare for each processor, since a spare stands in for a worker that is stuck in a
        // processor.
        let processors = sizes.processors + sizes.apart + MOST_WORLDS;
        let most = if sizes.carried { sizes.workers + processors } else { processors };
        WorkerTable {
            entries: pointers(most),
            started: AtomicUsize::new(0),
            limit: AtomicUsize::new(sizes.workers),
            base: sizes.workers,
            spares: AtomicUsize::new(0),
            carried: sizes.carried,
            starting: Mutex::new(()),
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &'static Worker> {
        self.entries.iter().filter_map(get)
    }

    pub(super) fn pinned_to(&self, processor: &Processor) -> Option<&'static Worker> {
        get(&self.entries[processor.index])
    }

    pub(crate) fn started(&self) -> usize {
        self.started.load(Ordering::Relaxed)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Whether the worker is one of those that stand in for stuck ones.
    pub(super) fn is_spare(&self, worker: &Worker) -> bool {
        self.carried && worker.index >= self.base
    }

    pub(crate) fn spares_started(&self) -> usize {
        self.spares.load(Ordering::Relaxed)
    }

    /// Raises the limit by one: a worker has been found stuck, or steps aside.
    pub(super) fn allow_one_more(&self) {
        self.limit.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn allow_one_less(&self) {
        self.limit.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn may_start(&self) -> bool {
        self.carried && self.started() < self.limit().min(self.entries.len())
    }

    pub(super) fn start_first(&self, runtime: &'static Runtime) -> io::Result<()> {
        self.start(runtime, false)
    }

    /// Starts a worker as the searcher. False if there may be no more, or the system refuses.
    pub(super) fn start_searcher(&self, runtime: &'static Runtime) -> bool {
        self.may_start() && self.start(runtime, true).is_ok()
    }

    fn start(&self, runtime: &'static Runtime, searching: bool) -> io::Result<()> {
        let _one_at_a_time = self.starting.lock().unwrap_or_else(|e| e.into_inner());
        let free = self.entries.iter().position(|entry| get(entry).is_none_or(Worker::is_retired));
        let Some(index) = free else { return Err(io::Error::other("all workers have been started")) };
        let worker = match get(&self.entries[index]) {
            Some(retired) => retired,
            None => Worker::new(runtime, index, None)?,
        };
        worker.set_retired(false);
        self.started.fetch_add(1, Ordering::Relaxed);
        set(&self.entries[index], worker);
        // Not std's thread: the caller may be a goroutine, and std would use its thread-locals.
        match sys::start_bare_thread(&name("worker", index), WORKER_STACK, move || worker.main(searching)) {
            Ok(()) => {
                if self.is_spare(worker) {
                    self.spares.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
            Err(e) => {
                self.note_leaving();
                worker.set_retired(true);
                Err(e)
            }
        }
    }

    /// Records that a worker is about to end, unless it turns out to be needed.
    pub(super) fn note_leaving(&self) {
        self.started.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes back `note_leaving`: the worker is needed.
    pub(super) fn note_staying(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }
}
