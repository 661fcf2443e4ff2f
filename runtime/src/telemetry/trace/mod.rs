//! Events of running code, and the rings that they are in. The scheduler says what happens
//! (`sched/trace.rs`).
//!
//! Each worker has a ring, which its kernel thread alone writes. Plain threads and the runtime's
//! helpers share one ring, and write it under a lock.

pub(crate) mod event;
mod ring;

use crate::arch;
use crate::lock::{Mutex, OnceLock};
use crate::ours;
use crate::sys;
use crossbeam_utils::CachePadded;
use event::{Event, Kind, NOWHERE};
use ring::Ring;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

pub(crate) type Events = Ring<{ event::WORDS }>;

/// What is recorded, a bit each. On a line of its own, which stays in every core's cache: it is only
/// written when recording begins and ends.
static WATCHED: CachePadded<AtomicU8> = CachePadded::new(AtomicU8::new(0));

/// Events, for a trace. And how long goroutines wait ([`waits`](super::waits)).
pub(crate) const EVENTS: u8 = 1;
pub(crate) const WAITS: u8 = 2;

/// Whether any of this is recorded. Relaxed: an event more or less at the edges does no harm.
#[inline(always)]
pub(crate) fn watches(what: u8) -> bool {
    WATCHED.load(Ordering::Relaxed) & what != 0
}

/// Whether events are recorded.
#[inline(always)]
pub(crate) fn on() -> bool {
    watches(EVENTS)
}

pub(crate) fn set_on(on: bool) {
    set_watched(EVENTS, on);
}

pub(crate) fn set_watched(what: u8, on: bool) {
    match on {
        true => WATCHED.fetch_or(what, Ordering::Relaxed),
        false => WATCHED.fetch_and(!what, Ordering::Relaxed),
    };
}

/// The default number of bytes for all rings together.
pub(crate) const DEFAULT_BUFFERS: usize = 64 << 20;
/// The least number of bytes for one ring, and the most.
const SMALLEST_RING: usize = 64 << 10;
const LARGEST_RING: usize = 1 << 30;

static EVENTS_PER_RING: AtomicUsize = AtomicUsize::new(SMALLEST_RING / EVENT);
const EVENT: usize = 8 * event::WORDS;

/// The configuration of traces.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) trace: Option<PathBuf>,
    pub(crate) recorder: Option<PathBuf>,
    pub(crate) buffers: usize,
}

/// Divides so many bytes among so many rings. Those that have been made keep their size.
pub(crate) fn divide(bytes: usize, rings: usize) {
    let bytes = (bytes / rings).clamp(SMALLEST_RING, LARGEST_RING);
    EVENTS_PER_RING.store(1 << (bytes / EVENT).ilog2(), Ordering::Relaxed);
}

pub(crate) fn events_per_ring() -> usize {
    EVENTS_PER_RING.load(Ordering::Relaxed)
}

/// Which threads write a ring.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Owner {
    Worker(usize),
    /// All other threads.
    Threads,
}

/// All rings. A ring is made at the first event of its owner, and never freed.
static RINGS: Mutex<Vec<(Owner, &'static Events)>> = Mutex::new(Vec::new());
/// The ring of all threads that are not workers; the lock makes them one writer.
static THREADS: Mutex<Option<&'static Events>> = Mutex::new(None);

pub(crate) fn rings() -> Vec<(Owner, &'static Events)> {
    RINGS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[cold]
fn make(owner: Owner) -> &'static Events {
    let ring: &'static Events = Box::leak(Box::new(Ring::new(events_per_ring())));
    RINGS.lock().unwrap_or_else(PoisonError::into_inner).push((owner, ring));
    ring
}

/// A worker's ring, once it has written to it.
#[derive(Default)]
pub(crate) struct OfWorker(OnceLock<&'static Events>);

impl OfWorker {
    /// Writes an event to the ring of the worker with this index.
    ///
    /// # Safety
    /// The caller is on the kernel thread of this worker.
    #[inline]
    pub(crate) unsafe fn push(&self, index: usize, event: Event) {
        let ring = self.0.get_or_init(|| make(Owner::Worker(index)));
        // SAFETY: by contract. Only the worker's thread writes this ring; a worker that is started
        // again is started after its last thread has ended.
        unsafe { ring.push(event.pack()) }
    }
}

/// An event of this kind, which happens now.
pub(crate) fn now(kind: Kind) -> Event {
    Event { ticks: arch::ticks(), kind, detail: 0, processor: NOWHERE, number: 0, a: 0, b: 0 }
}

/// Records an event of a thread that is not a worker.
pub(crate) fn record_of_thread(event: Event) {
    let (mut id, mut name) = ours::with(|ours| ours.label.get());
    if id == 0 {
        id = sys::kernel_thread_id();
        name = event::words(sys::kernel_thread_name());
        ours::with(|ours| ours.label.set((id, name)));
    }
    let [a, b] = name;
    let label = Event { number: id as u32, a, b, ..Event { kind: Kind::Thread, ..event } };
    let mut ring = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    let ring = ring.get_or_insert_with(|| make(Owner::Threads));
    // SAFETY: the thread that holds the lock is the only writer.
    unsafe {
        ring.push(label.pack());
        ring.push(event.pack());
    }
}
