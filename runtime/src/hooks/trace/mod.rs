//! The functions that the scheduler calls where something happens. While nothing is recorded, each
//! call is one load of a word that hardly ever changes, and a branch. Turns of goroutines do not
//! even have that, since a processor decides once for a whole batch.
//!
//! All that a worker does, in its own code or in that of a processor which it carries, goes to the
//! worker's ring: one kernel thread writes it. Plain threads and the runtime's helpers share one
//! ring, and write it under a lock. Nothing here switches stacks, and nothing is held across a
//! switch. The ring of a worker is reached through the processor or the worker at hand.

pub(crate) mod event;
mod ring;

use super::counters::Phase;
use crate::arch;
use crate::goroutine::record::Record;
use crate::lock::{Mutex, OnceLock};
use crate::ours;
use crate::sched::processor::{Here, Loop, Processor, SwitchReason};
use crate::sched::worker::{self, Worker};
use crate::stack::slots::Slots;
use crate::sys;
use crossbeam_utils::CachePadded;
use event::{Event, From, Kind, NOWHERE};
use ring::Ring;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

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

impl Worker {
    /// # Safety
    /// The caller is on this worker's kernel thread.
    #[inline]
    unsafe fn record(&self, event: Event) {
        let ring = self.trace.0.get_or_init(|| make(Owner::Worker(self.index)));
        // SAFETY: by contract. Only the worker's thread writes this ring; a worker that is started
        // again is started after its last thread has ended.
        unsafe { ring.push(event.pack()) }
    }
}

fn now(kind: Kind) -> Event {
    Event { ticks: arch::ticks(), kind, detail: 0, processor: NOWHERE, number: 0, a: 0, b: 0 }
}

/// Records an event of the calling code, which may be a goroutine, a processor's loop, a worker, or
/// another thread.
fn record(event: Event) {
    if let Some(here) = Here::now()
        && let Some(worker) = here.worker()
    {
        let here = here.processor().index as u16;
        let processor = if event.processor == NOWHERE { here } else { event.processor };
        // SAFETY: a processor's code runs on the kernel thread of its worker.
        return unsafe { worker.record(Event { processor, ..event }) };
    }
    match worker::current() {
        // SAFETY: a worker's own code runs on its kernel thread.
        Some(worker) => unsafe { worker.record(event) },
        None => record_of_thread(event),
    }
}

fn record_of_thread(event: Event) {
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

/// A worker begins to carry a processor.
#[inline(always)]
pub(crate) fn carries(worker: &Worker, processor: &Processor) {
    if on() {
        of_worker(worker, Event { processor: processor.index as u16, ..now(Kind::Carries) });
    }
}

/// A worker has stopped carrying a processor.
#[inline(always)]
pub(crate) fn stops_carrying(worker: &Worker, processor: &Processor) {
    if on() {
        of_worker(worker, Event { processor: processor.index as u16, ..now(Kind::StopsCarrying) });
    }
}

/// A worker has found a processor, or goroutines for it, elsewhere.
#[inline(always)]
pub(crate) fn steals(worker: &Worker, processor: &Processor) {
    if on() {
        of_worker(worker, Event { processor: processor.index as u16, ..now(Kind::Steals) });
    }
}

/// A worker begins another phase.
#[inline(always)]
pub(crate) fn enters(worker: &Worker, phase: Phase) {
    if on() {
        of_worker(worker, Event { detail: phase as u8, ..now(Kind::Phase) });
    }
}

#[cold]
#[inline(never)]
fn of_worker(worker: &Worker, event: Event) {
    // SAFETY: the functions above are called by the worker's own code.
    unsafe { worker.record(event) };
}

/// The calling code has polled, and found this many events.
#[inline(always)]
pub(crate) fn polls(events: usize) {
    if on() {
        record_cold(Event { number: events as u32, ..now(Kind::Polls) });
    }
}

/// The calling code starts a goroutine on a processor. Call this before the goroutine can be found
/// there.
#[cold]
pub(crate) fn spawns(goroutine: u64, at: &'static Location<'static>, to: &Processor) {
    let b = std::ptr::from_ref(at).addr() as u64;
    record(Event { number: to.index as u32, a: goroutine, b, ..now(Kind::Spawns) });
}

/// The calling code ends a goroutine's wait. Call this before the goroutine can be found, so that
/// its turn comes later in time.
pub(crate) fn wakes(goroutine: u64) {
    record(Event { a: goroutine, ..now(Kind::Wakes) });
}

/// A goroutine's deadline has passed.
#[inline(always)]
pub(crate) fn wakes_in_time(goroutine: u64) {
    if on() {
        record_cold(Event { detail: 1, a: goroutine, ..now(Kind::Wakes) });
    }
}

/// The calling code ends the wait of a plain thread with this record.
#[inline(always)]
pub(crate) fn wakes_thread(waiter: usize) {
    if on() {
        record_cold(Event { a: waiter as u64, ..now(Kind::WakesThread) });
    }
}

/// The calling plain thread begins to wait.
#[inline(always)]
pub(crate) fn thread_waits(waiter: usize) {
    if on() {
        record_cold(Event { a: waiter as u64, ..now(Kind::ThreadWaits) });
    }
}

/// The calling plain thread's wait is over.
#[inline(always)]
pub(crate) fn thread_goes_on(waiter: usize) {
    if on() {
        record_cold(Event { a: waiter as u64, ..now(Kind::ThreadGoesOn) });
    }
}

/// The monitor has seen a goroutine keep this processor for `kept`.
#[inline(always)]
pub(crate) fn stuck(processor: &Processor, kept: Duration) {
    if on() {
        record_cold(Event {
            processor: processor.index as u16,
            number: kept.as_millis() as u32,
            ..now(Kind::Stuck)
        });
    }
}

#[cold]
#[inline(never)]
fn record_cold(event: Event) {
    record(event);
}

/// What a processor's loop remembers before it brings a goroutine's stack in.
pub(crate) struct Turn {
    begins: u64,
    from: From,
    /// Bytes that have to be copied in for the goroutine, the goroutine that it replaces, and the
    /// bytes copied out until now.
    into: usize,
    replaces: u64,
    copied: usize,
}

impl Turn {
    /// A goroutine has its turn next, and has not been brought in yet.
    pub(crate) fn prepare(slots: &Slots<Record>, record: &Record) -> Turn {
        use crate::wait::Reason;
        let begins = arch::ticks();
        let sp = record.sp.get();
        let from = match (sp, record.reason.get()) {
            (0, _) => From::Spawn,
            (_, Reason::None) => From::Yield,
            _ => From::Wake,
        };
        let resident = slots.is_resident(record);
        let replaces = if resident { None } else { slots.occupant(record.home) };
        let into = if resident || sp == 0 { 0 } else { slots.bounds(record.home).base - sp };
        let replaces = replaces.map_or(0, |occupant| occupant.id);
        Turn { begins, from, into, replaces, copied: slots.copied().bytes }
    }

    /// The goroutine has been brought in, and is about to run.
    pub(crate) fn begins(self, mut carrier: Loop<'_>, record: &Record) {
        let copied = carrier.copied().bytes;
        let Some(worker) = carrier.worker() else { return };
        let processor = carrier.processor().index as u16;
        let begins = Event {
            ticks: self.begins,
            kind: Kind::Begins,
            detail: self.from as u8,
            processor,
            number: 0,
            a: record.id,
            b: std::ptr::from_ref(record.origin.spawned_at()).addr() as u64,
        };
        // SAFETY: the loop of a processor runs on the kernel thread of its worker.
        unsafe {
            let name = event::Name::of(&record.origin);
            for (part, a, b) in name.parts() {
                let number = name.len() as u32;
                worker.record(Event { kind: Kind::Name, detail: part, number, a, b, ..begins });
            }
            worker.record(begins);
            let out = copied - self.copied;
            if out + self.into > 0 {
                let (number, a, b) = (self.into as u32, out as u64, self.replaces);
                worker.record(Event { processor, number, a, b, ..now(Kind::Copies) });
            }
        }
    }
}

/// A goroutine has switched back to its processor's loop.
pub(crate) fn turn_ends(carrier: Loop<'_>, record: &Record, switch_reason: SwitchReason) {
    let (detail, line) = match switch_reason {
        SwitchReason::Park => (record.reason.get() as u8, Some(record.waits_at.get())),
        SwitchReason::Yield => (event::GAVE_WAY, None),
        SwitchReason::Finish => (event::FINISHED, None),
    };
    // Read before the claim is looked at: see `Record::object`.
    let object = record.object() as u64;
    let waits = switch_reason == SwitchReason::Park && record.wait.head.claim.is_waiting();
    let a = if waits { object } else { 0 };
    let b = line.map_or(0, |line| std::ptr::from_ref(line).addr() as u64);
    let event = Event { detail, processor: carrier.processor().index as u16, a, b, ..now(Kind::Ends) };
    if let Some(worker) = carrier.worker() {
        // SAFETY: the loop of a processor runs on the kernel thread of its worker.
        unsafe { worker.record(event) };
    }
}
