//! What a processor knows of a goroutine that has started.
//!
//! | field | read by | written by |
//! |---|---|---|
//! | `head` (claim) | code that may end the wait | the goroutine before it waits; the winner of the claim |
//! | `node` | holders of the lock of the queue it is in | the same; the goroutine while it is in none |
//! | `object`, once woken | the processor when it empties its inbox | the waker, if it is not on the same processor |
//! | everything else | the carrier | the carrier |
//!
//! Which processor a record belongs to is stored once per chunk of the [`slab`](super::slab).

use super::origin::Origin;
use super::slab::Slab;
use super::task::TaskPtr;
use crate::arch;
use crate::park::{Head, Kind, Reason, WaitNode};
use crate::sched::batch::goroutine_end;
use crate::sched::inbox::Linked;
use crate::sched::processor::Processor;
use crate::sched::timers::{HeapIndex, Timed};
use crate::stack::home::Home;
use crate::stack::image::Image;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A goroutine that has started, in two cache lines: the first has what a switch needs, the second
/// what a wait needs.
///
/// `head` comes first, so that a pointer to the head is a pointer to the record.
#[repr(C, align(64))]
pub(crate) struct Record {
    pub(crate) head: Head,
    /// Its stack pointer while it is suspended; zero if it has never run.
    pub(crate) sp: usize,
    /// Its task. `None` once it runs if the outcome is not needed: such a task is freed at the
    /// start.
    pub(crate) task: Option<TaskPtr>,
    pub(crate) id: u64,
    pub(crate) origin: Origin,
    pub(crate) image: Image,
    /// The heap index of its timer, while it waits with a deadline.
    pub(crate) timer: HeapIndex,
    /// When it parked, in units of 2^24 ns (about 17 ms) since the epoch: 32 bits are enough for
    /// two years.
    pub(crate) since: u32,
    pub(crate) home: Home,
    /// What it waits for.
    pub(crate) reason: Reason,

    pub(crate) node: WaitNode,
    /// The source line of the call that blocks.
    pub(crate) waits_at: &'static Location<'static>,
    /// While it waits: the address of what it waits for, or 0. Once it has been woken from another
    /// processor, and until its own has read the inbox: the link of the inbox. One word serves for
    /// both, because they are never needed at the same time.
    pub(crate) object: usize,
}

// The record's size is the main cost of a million goroutines. (Loom's atomics are larger.)
#[cfg(not(loom))]
const _: () = assert!(size_of::<Record>() == 128);

impl Record {
    pub(crate) fn new(task: TaskPtr, id: u64, origin: Origin, home: Home) -> Record {
        Record {
            head: Head::new(Kind::Goroutine),
            sp: 0,
            task: Some(task),
            id,
            waits_at: origin.spawned_at(),
            origin,
            image: Image::new(),
            timer: HeapIndex::NONE,
            since: 0,
            home,
            reason: Reason::None,
            node: WaitNode::new(),
            object: 0,
        }
    }

    /// Stores what the goroutine is about to wait for. Plain stores, because every park pays for
    /// them.
    #[inline]
    pub(crate) fn note_wait(&mut self, reason: Reason, object: usize, at: &'static Location<'static>) {
        self.reason = reason;
        self.object = object;
        self.waits_at = at;
    }

    /// What is waited for or, if the goroutine is woken meanwhile, a link of the inbox. Read the
    /// claim after this: if it is still waiting, the value was the former. (Acquire pairs with the
    /// release in [`Inbox::push`](crate::sched::inbox::Inbox).)
    pub(crate) fn object(&self) -> usize {
        // SAFETY: the word is live and aligned. While we read it, others only write it atomically.
        unsafe { AtomicUsize::from_ptr((&raw const self.object).cast_mut()) }.load(Ordering::Acquire)
    }

    /// What the goroutine's stack begins with, and the task if the runtime keeps it.
    ///
    /// # Safety
    /// Called once, by the processor that starts the goroutine, which then enters its stack with
    /// this.
    pub(crate) unsafe fn entry(&self) -> (arch::EntryPoint, Option<TaskPtr>) {
        let task = self.task.expect("a goroutine that has not run has its task");
        // SAFETY: by contract.
        let (run, argument, kept) = unsafe { task.entry() };
        let context = self as *const Record as usize;
        (arch::EntryPoint { run, argument, finish: goroutine_end, context }, kept.then_some(task))
    }

    /// The processor that the goroutine lives on.
    ///
    /// # Safety
    /// The record is live.
    #[inline]
    pub(crate) unsafe fn processor(record: NonNull<Record>) -> &'static Processor {
        // SAFETY: every record is in a slab.
        unsafe { Slab::processor_of(record) }
    }
}

impl Linked for Record {
    unsafe fn next(item: *mut Record) -> *mut *mut Record {
        // SAFETY: live by contract. A word has the size and alignment of a pointer; a goroutine
        // that has been woken does not wait, so the word is free for the inbox.
        unsafe { (&raw mut (*item).object).cast() }
    }
}

impl Timed for Record {
    unsafe fn heap_index(item: NonNull<Record>) -> *mut HeapIndex {
        // SAFETY: live by contract; only the address is taken.
        unsafe { &raw mut (*item.as_ptr()).timer }
    }
}
