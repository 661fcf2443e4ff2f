//! The functions that running code calls where something happens. While nothing is recorded, each
//! call is one load of a word that hardly ever changes, and a branch. Turns of goroutines do not
//! even have that, since a processor decides once for a whole batch.
//!
//! All that a worker does, in its own code or in that of a processor which it carries, goes to the
//! worker's ring: one kernel thread writes it. Nothing here switches stacks, and nothing is held
//! across a switch. The ring of a worker is reached through the processor or the worker at hand.

use super::processor::{Here, Loop, Processor, SwitchReason};
use super::worker::{self, Worker};
use crate::arch;
use crate::sched::record::Record;
use crate::sched::record::labels::{LabelCell, Labels};
use crate::sched::record::origin::Origin;
use crate::stack::slots::Slots;
use crate::telemetry::counters::Phase;
use crate::telemetry::trace::event::{self, Event, From, Kind, NOWHERE, Name};
use crate::telemetry::trace::{now, record_of_thread};
use crate::wait::Reason;
use std::panic::Location;
use std::time::Duration;

pub(crate) use crate::telemetry::trace::{EVENTS, WAITS, on, set_on, watches};

impl Worker {
    /// # Safety
    /// The caller is on this worker's kernel thread.
    #[inline]
    unsafe fn record(&self, event: Event) {
        // SAFETY: by contract.
        unsafe { self.trace.push(self.index, event) }
    }
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

/// What a goroutine is called in a trace.
#[inline]
fn name_of(origin: &Origin) -> Name {
    let labels = origin.labels().map_or_else(Labels::default, LabelCell::get);
    Name::of(origin.name().map(|name| &**name), labels.text(), origin.spawned_at())
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
            let name = name_of(&record.origin);
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
