//! Who may touch a processor's own data, as types.
//!
//! A processor's [`Local`] belongs to one thread at a time: its carrier. Three kinds of code run
//! there in turns, each on a stack of its own, and each has a token:
//!
//! | code | token | has the [`Parts`] |
//! |---|---|---|
//! | a worker or another thread that holds the processor | [`Carrier`] | while it has the token |
//! | the processor's loop | [`Loop`], which is a `Carrier`, for ever | while it runs |
//! | a goroutine, in its turn | [`Here`], made anew for each use | in [`Here::with_parts`] |
//!
//! Two rules keep references apart:
//!
//! 1. References to the parts are borrowed from the `Carrier` mutably, and whatever leaves its stack
//!    for another ([`Loop::switch_to`], [`Loop::start`], [`Carrier::switch_carrying`]) borrows
//!    it mutably, too. So the compiler refuses a reference that would live across a switch. Of all
//!    tokens of a processor, those that do not run are inside of such a call.
//! 2. A goroutine has no such token to keep, because any function of the program may lie between two
//!    uses. It may use the parts in the [phase](Phase) of its turn only, and not twice at once: this
//!    is checked where it begins, and where it switches away.
//!
//! The cells of `Local` need no rule: no reference to their content exists.

use super::Processor;
use super::identity::current_processor;
use super::local::{Local, Parts, Phase, SwitchReason};
use crate::arch::sanitizers::Fiber;
use crate::sched::record::Record;
use crate::sched::worker::Worker;
use crate::stack::slots::Copied;
use crate::{arch, stack};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Neither `Send` nor `Sync`.
type OfThisThread = PhantomData<*const ()>;

/// The right to touch a processor's own data, while none of its goroutines runs.
///
/// It is passed by value, in a register: [`reborrow`](Carrier::reborrow) lends it.
pub(crate) struct Carrier<'a> {
    processor: &'static Processor,
    _exclusive: PhantomData<&'a mut Parts>,
    _of_this_thread: OfThisThread,
}

impl Carrier<'_> {
    /// # Safety
    /// The caller holds the processor: it has claimed it or taken it from a queue, and releases it
    /// after the last use of the token. Or it is the processor's loop.
    pub(in crate::sched) unsafe fn new(processor: &'static Processor) -> Self {
        Carrier { processor, _exclusive: PhantomData, _of_this_thread: PhantomData }
    }

    /// The token for the length of a call.
    #[inline(always)]
    pub(crate) fn reborrow(&mut self) -> Carrier<'_> {
        Carrier { processor: self.processor, _exclusive: PhantomData, _of_this_thread: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn processor(&self) -> &'static Processor {
        self.processor
    }

    /// The worker that carries the calling code. It is on that kernel thread.
    pub(crate) fn worker(&self) -> Option<&'static Worker> {
        self.worker.get()
    }

    /// How much has been copied out.
    #[inline]
    pub(crate) fn copied(&mut self) -> Copied {
        self.parts().slots.copied()
    }

    #[inline(always)]
    pub(in crate::sched) fn parts(&mut self) -> &mut Parts {
        self.open().1
    }

    /// The cells and the parts.
    #[inline(always)]
    pub(in crate::sched) fn open(&mut self) -> (&Local, &mut Parts) {
        debug_assert!(!matches!(self.phase.get(), Phase::Turn | Phase::Lent));
        let local: &Local = &self.processor.local;
        // SAFETY: the parts are ours (rule 1), and borrowed as long as the token is.
        (local, unsafe { &mut *local.parts.get() })
    }

    /// Why the last goroutine switched to the loop.
    pub(in crate::sched) fn switch_reason(&self) -> SwitchReason {
        match self.phase.get() {
            Phase::Parked => SwitchReason::Park,
            Phase::Yielded => SwitchReason::Yield,
            Phase::Finished => SwitchReason::Finish,
            Phase::Turn | Phase::Lent => unreachable!("a goroutine that has switched says why"),
        }
    }

    /// Switches between the loop and the worker, or to another processor's loop, with the thread
    /// pointer that belongs there. The caller is suspended at `save`.
    ///
    /// # Safety
    /// As for [`arch::switch_carrying`].
    #[inline(always)]
    pub(in crate::sched) unsafe fn switch_carrying(
        &mut self,
        save: *mut usize,
        to: usize,
        thread_pointer: usize,
    ) {
        // SAFETY: by contract.
        unsafe { arch::switch_carrying(save, to, thread_pointer) };
    }
}

impl Deref for Carrier<'_> {
    type Target = Local;

    #[inline(always)]
    fn deref(&self) -> &Local {
        &self.processor.local
    }
}

/// The right of a processor's loop: that of a [`Carrier`] and, since the loop runs on a stack of its
/// own with the processor's thread pointer, that to bring goroutines in and to run them. All of them
/// are suspended when nothing has borrowed this.
pub(crate) struct Loop<'a>(Carrier<'a>);

impl Loop<'_> {
    /// # Safety
    /// The caller is the loop of this processor, and this is the only one.
    pub(in crate::sched) unsafe fn new(processor: &'static Processor) -> Self {
        // SAFETY: by contract.
        Loop(unsafe { Carrier::new(processor) })
    }

    /// The token for the length of a call.
    #[inline(always)]
    pub(crate) fn reborrow(&mut self) -> Loop<'_> {
        Loop(self.0.reborrow())
    }

    /// Starts a goroutine at the base of its stack. Returns when it has switched to the loop.
    ///
    /// # Safety
    /// The goroutine is in place, as the `current` one.
    #[inline(always)]
    pub(in crate::sched) unsafe fn start(&mut self, base: usize, entry: arch::EntryPoint, fiber: &Fiber) {
        self.phase.set(Phase::Turn);
        fiber.create();
        self.fiber.enter_from_here(fiber);
        // SAFETY: by contract.
        unsafe { arch::start(self.loop_sp.as_ptr(), base, entry) };
    }

    /// Switches to a goroutine that is suspended at `sp`. Returns when it has switched to the loop.
    ///
    /// # Safety
    /// As for [`start`](Loop::start).
    #[inline(always)]
    pub(in crate::sched) unsafe fn switch_to(&mut self, sp: usize, fiber: &Fiber) {
        self.phase.set(Phase::Turn);
        self.fiber.enter_from_here(fiber);
        // SAFETY: by contract.
        unsafe { arch::switch(self.loop_sp.as_ptr(), sp) };
    }

    /// Puts the thread-locals of the processor's own code in place, for code that uses std's.
    pub(in crate::sched) fn install_host(&mut self) {
        // SAFETY: this is the loop.
        unsafe { self.resident.install_host() };
    }
}

impl<'a> Deref for Loop<'a> {
    type Target = Carrier<'a>;

    #[inline(always)]
    fn deref(&self) -> &Carrier<'a> {
        &self.0
    }
}

impl DerefMut for Loop<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// The processor that the calling code runs on, which is a goroutine's mostly. What is true of it
/// stays true as long as that code runs, because a goroutine never leaves its processor.
#[derive(Clone, Copy)]
pub(crate) struct Here {
    processor: &'static Processor,
    _of_this_thread: OfThisThread,
}

impl Here {
    /// The processor that the calling code runs on, if any.
    #[inline(always)]
    pub(crate) fn now() -> Option<Here> {
        current_processor().map(|processor| Here { processor, _of_this_thread: PhantomData })
    }

    #[inline(always)]
    pub(crate) fn processor(self) -> &'static Processor {
        self.processor
    }

    #[inline(always)]
    pub(in crate::sched) fn local(self) -> &'static Local {
        &self.processor.local
    }

    /// The worker that carries the calling code. It is on that kernel thread.
    pub(crate) fn worker(self) -> Option<&'static Worker> {
        self.local().worker.get()
    }

    /// Whether the parts may be used now: a goroutine has its turn and does not use them already. (A
    /// signal handler may have interrupted it.)
    #[inline(always)]
    pub(super) fn may_use_parts(self) -> bool {
        self.local().phase.get() == Phase::Turn
    }

    /// Lends the parts to `f`, which must neither park nor use the program's code.
    ///
    /// # Panics
    /// If they are in use.
    #[inline]
    pub(in crate::sched) fn with_parts<R>(self, f: impl FnOnce(&mut Parts) -> R) -> R {
        /// Takes the parts back.
        struct Loan(Here);

        impl Drop for Loan {
            fn drop(&mut self) {
                self.0.local().phase.set(Phase::Turn);
            }
        }

        assert!(self.may_use_parts(), "a goroutine uses its processor's data twice at once");
        self.local().phase.set(Phase::Lent);
        let _loan = Loan(self);
        // SAFETY: rule 2. The loop does not run, since we do, and no other code of the turn gets
        // here or to the loop before the loan ends.
        f(unsafe { &mut *self.local().parts.get() })
    }
}

/// The calling goroutine, which may be parked. Its record is live, since the goroutine runs.
#[derive(Clone, Copy)]
pub(crate) struct Running {
    here: Here,
    record: NonNull<Record>,
}

impl Running {
    /// The goroutine that the calling code is. `None` on a plain thread, in a processor's loop, and
    /// on the system stack, where a goroutine cannot park.
    #[inline(always)]
    pub(crate) fn now() -> Option<Running> {
        let here = Here::now()?;
        here.local().current.get().map(|record| Running { here, record })
    }

    /// The calling goroutine, by its record.
    ///
    /// # Safety
    /// The record is that of the calling goroutine.
    #[inline(always)]
    pub(crate) unsafe fn with_record(record: NonNull<Record>) -> Running {
        // SAFETY: a goroutine runs on a processor.
        Running { here: unsafe { Here::now().unwrap_unchecked() }, record }
    }

    #[inline(always)]
    pub(crate) fn here(self) -> Here {
        self.here
    }

    #[inline(always)]
    pub(crate) fn record(self) -> NonNull<Record> {
        self.record
    }

    /// Switches to the loop, until the goroutine's next turn.
    ///
    /// # Panics
    /// If the caller uses the processor's parts.
    ///
    /// # Safety
    /// The caller is on a stack on which it [may be suspended](Running::may_suspend).
    #[inline(always)]
    pub(crate) unsafe fn switch(self, reason: SwitchReason) {
        let local = self.here.local();
        if local.phase.get() != Phase::Turn {
            parts_are_in_use();
        }
        local.phase.set(reason.phase());
        // In a segment this leads to the frame of `grow` first, which is the goroutine's, too.
        if cfg!(narrowboat_tsan) && stack::segment::is_outside() {
            local.fiber.enter();
        }
        // SAFETY: the loop is suspended there since it switched to us, and no reference to its parts
        // is in use.
        unsafe { arch::switch(self.sp.as_ptr(), local.loop_sp.get()) };
    }
}

#[cold]
#[inline(never)]
fn parts_are_in_use() -> ! {
    panic!("a goroutine switches while it uses its processor's data");
}

impl Deref for Running {
    type Target = Record;

    #[inline(always)]
    fn deref(&self) -> &Record {
        // SAFETY: it runs, so its record is live.
        unsafe { self.record.as_ref() }
    }
}
