//! A pointer to the node of a waiter, its note, and its wake-up.
//!
//! What notes and cells mean is defined in [`crate::waiters`].

use narrowboat_runtime::park::{NodeCell, Outcome, WaitNode, Waiter};
use std::ptr::NonNull;

/// The byte of a node. The tables in [`crate::waiters`] say what each value means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note(u8);

impl Note {
    pub(crate) const NONE: Note = Note(0);
    pub(crate) const VALUE: Note = Note(1);
    pub(crate) const LAZY: Note = Note(2);
    pub(crate) const DONE: Note = Note(3);
    pub(crate) const CLOSED: Note = Note(4);
    pub(crate) const RETRY: Note = Note(5);
    pub(crate) const RESERVED: Note = Note(6);
    pub(crate) const PAIRED: Note = Note(7);
    pub(crate) const MATCHED: Note = Note(8);
}

/// A pointer to the node of a waiter: the caller's own node, or one that was taken out of a queue
/// and that must still be woken.
///
/// It is `Copy` so that it can be passed on. Each method states when it may be called.
#[derive(Clone, Copy)]
pub(crate) struct NodeRef(NonNull<WaitNode>);

impl NodeRef {
    #[inline]
    pub(crate) fn new(node: NonNull<WaitNode>) -> NodeRef {
        NodeRef(node)
    }

    /// The address of the node.
    #[inline]
    pub(crate) fn as_ptr(self) -> NonNull<WaitNode> {
        self.0
    }

    /// # Safety
    /// The node is the caller's own and in no queue, or it belongs to the caller because the caller
    /// took it out.
    #[inline]
    unsafe fn get<'a>(self) -> &'a mut WaitNode {
        // SAFETY: by contract the node is alive and no other code touches it meanwhile; the
        // reference is used at once.
        unsafe { &mut *self.0.as_ptr() }
    }

    /// # Safety
    /// As for [`get`](NodeRef::get).
    #[inline]
    pub(crate) unsafe fn note(self) -> Note {
        // SAFETY: by contract.
        Note(unsafe { self.get() }.note())
    }

    /// # Safety
    /// As for [`get`](NodeRef::get).
    #[inline]
    pub(crate) unsafe fn set_note(self, note: Note) {
        // SAFETY: by contract.
        unsafe { self.get() }.set_note(note.0);
    }

    /// The waiter that this node stands for.
    ///
    /// # Safety
    /// As for [`get`](NodeRef::get); the node has been prepared.
    pub(crate) unsafe fn waiter(self) -> Waiter {
        // SAFETY: by contract.
        unsafe { self.get() }.waiter()
    }

    /// Prepares the node for a wait in a queue.
    ///
    /// # Safety
    /// As for [`get`](NodeRef::get).
    #[inline]
    pub(crate) unsafe fn prepare(self, me: Waiter, outcome: Outcome, sole: bool) {
        // SAFETY: by contract.
        unsafe { self.get() }.prepare(me, outcome, sole);
    }

    /// Whether the wait can end by a holder of the queue's lock alone.
    ///
    /// # Safety
    /// As for [`waiter`](NodeRef::waiter).
    pub(crate) unsafe fn is_sole(self) -> bool {
        // SAFETY: by contract.
        unsafe { self.get() }.is_sole()
    }

    /// # Safety
    /// As for [`get`](NodeRef::get).
    #[inline]
    pub(crate) unsafe fn cell<'a>(self) -> &'a mut NodeCell {
        // SAFETY: by contract.
        unsafe { self.get() }.cell()
    }

    /// Sets the note that says how the wait ended, and wakes the waiter.
    ///
    /// # Safety
    /// The caller has taken the node out of a queue (or paired with it), and does not use it after
    /// this call.
    #[inline]
    pub(crate) unsafe fn wake_with(self, note: Note) {
        // SAFETY: the node is ours until the wake-up, which is the last thing we do.
        unsafe {
            let waiter = self.get().waiter();
            self.set_note(note);
            waiter.unpark();
        }
    }
}

/// The wake-up of a waiter that already has what it waited for.
#[must_use = "a waiter whose wait was ended sleeps on until it is woken"]
pub(crate) struct Wakeup(NodeRef);

impl Wakeup {
    /// # Safety
    /// The caller has claimed the node's waiter and set its note and cell. This is the only wake-up
    /// of that wait.
    #[inline]
    pub(crate) unsafe fn of(node: NodeRef) -> Wakeup {
        Wakeup(node)
    }

    #[inline]
    pub(crate) fn wake(self) {
        // SAFETY: a `Wakeup` stands for one claimed waiter, and this call consumes it.
        unsafe {
            let waiter = self.0.get().waiter();
            waiter.unpark();
        }
    }
}

/// The outcome of a wait in a single queue. The note of the node says how the wait ended.
pub(crate) const SINGLE_QUEUE: Outcome = Outcome(Outcome::FIRST);
