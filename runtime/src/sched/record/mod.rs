//! What a processor knows of a goroutine that has started: two cache lines, split by what touches
//! them.
//!
//! | field | read by | written by |
//! |---|---|---|
//! | all but `wait` | the carrier | the carrier |
//! | `wait.head` (claim) | code that may end the wait | the goroutine before it waits; the winner of the claim |
//! | `wait.node` | holders of the lock of the queue it is in | the same; the goroutine while it is in none |
//! | `wait.object`, once woken | the processor when it empties its inbox | the waker, if it is not on the same processor |
//!
//! Code that ends a wait has a pointer to the [`Wait`] only. (While something is recorded it also
//! reads the number and the reason, which stay as they are until the goroutine is woken.) The
//! carrier's line consists of cells, so that a reference to a record never claims more than to read
//! what it reads. There is no `&mut` to a record that is in a slab.
//!
//! Which processor a record belongs to is stored once per chunk of the [`slab`].
//!
//! What a record leads to: the [`task`] that made the goroutine; its [`origin`], which is where it
//! was spawned and what it was given, [`labels`] among that; what it has acquired [`late`]r; and the
//! [`failure`] that remains if it panics.

pub(crate) mod failure;
pub(crate) mod id;
pub(crate) mod labels;
pub(crate) mod late;
pub(crate) mod origin;
pub(crate) mod slab;
pub(crate) mod task;

use super::inbox::Linked;
use super::processor::Processor;
use super::timers::{HeapIndex, Timed};
use crate::arch;
use crate::arch::sanitizers::Fiber;
use crate::stack::home::Home;
use crate::stack::image::Image;
use crate::stack::slots::Inhabitant;
use crate::wait::{Head, Kind, Reason, WaitNode};
use origin::Origin;
use slab::Slab;
use std::cell::{Cell, UnsafeCell};
use std::mem::offset_of;
use std::ops::Deref;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use task::TaskPtr;

/// A goroutine that has started. The first cache line has what the carrier touches, the second one
/// what others write, too.
#[repr(C, align(64))]
pub(crate) struct Record {
    /// Its stack pointer while it is suspended; zero if it has never run.
    pub(crate) sp: Cell<usize>,
    /// Its task. `None` once it runs if the outcome is not needed: such a task is freed at the
    /// start.
    pub(crate) task: Cell<Option<TaskPtr>>,
    pub(crate) id: u64,
    pub(crate) origin: Origin,
    /// The source line of the call that blocks.
    pub(crate) waits_at: Cell<&'static Location<'static>>,
    pub(crate) image: UnsafeCell<Image>,
    /// The heap index of its timer, while it waits with a deadline.
    pub(crate) timer: Cell<HeapIndex>,
    /// When it parked, in units of 2^24 ns (about 17 ms) since the epoch: 32 bits are enough for
    /// two years.
    pub(crate) since: Cell<u32>,
    pub(crate) home: Home,
    /// What it waits for.
    pub(crate) reason: Cell<Reason>,
    /// Empty, but for ThreadSanitizer.
    pub(crate) fiber: Fiber,

    pub(crate) wait: Wait,
}

/// The part of a record that code which ends the goroutine's wait writes.
#[repr(C, align(64))]
pub(crate) struct Wait {
    /// First, so that a pointer to the head of a waiter is a pointer to this.
    pub(crate) head: Head,
    pub(crate) node: UnsafeCell<WaitNode>,
    /// While the goroutine waits: the address of what it waits for, or 0. Once it has been woken
    /// from another processor, and until its own has read the inbox: the link of the inbox. One
    /// word serves for both, because they are never needed at the same time.
    object: AtomicUsize,
}

// The record's size is the main cost of a million goroutines. (Loom's atomics are larger.)
#[cfg(not(any(loom, narrowboat_tsan)))]
const _: () = assert!(size_of::<Record>() == 128 && offset_of!(Record, wait) == 64);

impl Record {
    pub(crate) fn new(task: TaskPtr, id: u64, origin: Origin, home: Home) -> Record {
        Record {
            sp: Cell::new(0),
            task: Cell::new(Some(task)),
            id,
            waits_at: Cell::new(origin.spawned_at()),
            origin,
            image: UnsafeCell::new(Image::new()),
            timer: Cell::new(HeapIndex::NONE),
            since: Cell::new(0),
            home,
            reason: Cell::new(Reason::None),
            fiber: Fiber::new(),
            wait: Wait {
                head: Head::new(Kind::Goroutine),
                node: UnsafeCell::new(WaitNode::new()),
                object: AtomicUsize::new(0),
            },
        }
    }

    /// Stores what the goroutine is about to wait for. Plain stores, because every park pays for
    /// them.
    #[inline]
    pub(crate) fn note_wait(&self, reason: Reason, object: usize, at: &'static Location<'static>) {
        self.reason.set(reason);
        self.wait.object.store(object, Ordering::Relaxed);
        self.waits_at.set(at);
    }

    /// What is waited for or, if the goroutine is woken meanwhile, a link of the inbox. Read the
    /// claim after this: if it is still waiting, the value was the former. (Acquire pairs with the
    /// release in [`Inbox::push`](crate::sched::inbox::Inbox).)
    pub(crate) fn object(&self) -> usize {
        self.wait.object.load(Ordering::Acquire)
    }

    /// What the goroutine's stack begins with. Its task remains if the runtime keeps it.
    ///
    /// # Safety
    /// Called once, by the processor that starts the goroutine, which then enters its stack with
    /// this.
    pub(crate) unsafe fn entry(&self) -> arch::EntryPoint {
        let task = self.task.get().expect("a goroutine that has not run has its task");
        // SAFETY: by contract.
        let (entry, kept) = unsafe { task.entry(std::ptr::from_ref(self).addr()) };
        self.task.set(kept.then_some(task));
        entry
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

    /// Where the goroutine's image is, or 0.
    #[inline]
    pub(crate) fn image_address(&self) -> usize {
        // SAFETY: the carrier reads its own line; no reference to the image is kept.
        unsafe { (*self.image.get()).address() }
    }

    /// What stands for a goroutine where it waits. Not by way of a reference to the head: a pointer
    /// that is made of one may be used for the head only, and this stands for the whole record.
    #[inline]
    pub(crate) fn head(record: NonNull<Record>) -> NonNull<Head> {
        // SAFETY: the part is within the record.
        unsafe { record.byte_add(offset_of!(Record, wait)).cast() }
    }

    /// The record with this head, which is that of a goroutine. Only the address is computed.
    #[inline]
    pub(crate) fn with_head(head: NonNull<Head>) -> NonNull<Record> {
        // SAFETY: the head comes first in the part, which is that of a record.
        unsafe { head.byte_sub(offset_of!(Record, wait)).cast() }
    }
}

/// A goroutine that is ready: it has never run, or its wait has been ended and it is in no inbox.
///
/// The right to run it next, of which there is one. Its record is live as long as this exists,
/// because a goroutine can only end by running.
pub(crate) struct Ready(NonNull<Record>);

impl Ready {
    /// # Safety
    /// The goroutine is a live one of the carrier's processor, nothing else will make it ready, and
    /// the caller made it so.
    #[inline]
    pub(crate) unsafe fn new(record: NonNull<Record>) -> Ready {
        Ready(record)
    }

    /// The address of the record.
    #[inline]
    pub(crate) fn record(&self) -> NonNull<Record> {
        self.0
    }
}

impl Deref for Ready {
    type Target = Record;

    #[inline]
    fn deref(&self) -> &Record {
        // SAFETY: live, and on the heap: see above.
        unsafe { self.0.as_ref() }
    }
}

impl Inhabitant for Record {
    #[inline]
    fn id(&self) -> u64 {
        self.id
    }

    #[inline]
    fn home(&self) -> Home {
        self.home
    }

    #[inline]
    fn sp(&self) -> usize {
        self.sp.get()
    }

    #[inline]
    fn image(&self) -> &UnsafeCell<Image> {
        &self.image
    }

    #[inline]
    fn spawned_at(&self) -> &'static Location<'static> {
        self.origin.spawned_at()
    }
}

impl Linked for Record {
    unsafe fn next(item: *mut Record) -> *mut *mut Record {
        // SAFETY: live by contract. A word has the size and alignment of a pointer; a goroutine
        // that has been woken does not wait, so the word is free for the inbox.
        unsafe { (&raw mut (*item).wait.object).cast() }
    }
}

impl Timed for Record {
    unsafe fn heap_index(item: NonNull<Record>) -> *mut HeapIndex {
        // SAFETY: live by contract; only the address is taken.
        unsafe { (*item.as_ptr()).timer.as_ptr() }
    }
}
