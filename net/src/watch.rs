//! Waits for descriptors that belong to other code, for `narrowboat-interpose`.
//!
//! Such a descriptor is known by its number only. Other code may close it, and the number may come
//! to stand for another file, with or without word of it. So it is watched by an epoll instance of
//! its own, which stands in the netpoller's: a socket of this crate that has the same number is not
//! touched.
//!
//! Guarantees that a wait ends after every event of the file that the number stood for when
//! [`Watch::confirm`] said so. The steps of a wait:
//!
//! 1. The caller makes its call, which must not block, and has found nothing.
//! 2. [`Watch::confirm`]. It fails if the number stands for another file by now: a new watch, then.
//!    If it succeeds, the kernel reports the file's present state as an event.
//! 3. [`Watch::look`], the call once more, and [`wait`], which ends after an event that came after
//!    the look. For further rounds this step is enough.

pub use crate::direction::Direction;
use crate::poller::readiness::{Seen, Signal};
use crate::poller::{NetPoller, Registration};
use narrowboat_runtime::as_thread::{begin_in_place, park_in_place};
use narrowboat_runtime::park::{Outcome, Thing, WaitNode};
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::time::Instant;

/// A descriptor of other code's, watched until this is dropped or [ended](Watch::end).
pub struct Watch(Registration);

/// What was known of a direction before a call.
#[derive(Clone, Copy, Debug)]
pub struct Look(Seen);

impl Watch {
    /// Watches the file that this number stands for now.
    ///
    /// # Errors
    /// `EPERM` if there is nothing to wait for, as with regular files; the kernel's others.
    pub fn new(fd: RawFd) -> io::Result<Watch> {
        let poller = NetPoller::of_others()?;
        // SAFETY: a number that stands for no file, or for another than was meant, is an error or
        // one more thing to watch in an instance that nothing else uses. Epoll tolerates that a
        // descriptor is closed before it is removed.
        let registration = unsafe { poller.register(BorrowedFd::borrow_raw(fd)) }?;
        Ok(Watch(registration))
    }

    /// Step 2: whether the number still stands for the file that is watched.
    pub fn confirm(&self) -> bool {
        !self.is_over() && self.0.confirm().is_ok()
    }

    /// Step 3.
    pub fn look(&self, direction: Direction) -> Look {
        Look(self.0.direction(direction).look())
    }

    /// Stops watching, and ends all waits. Called before the descriptor is closed.
    pub fn end(&self) {
        self.0.remove();
        for direction in [Direction::Input, Direction::Output] {
            self.0.inject_event(direction, Signal::Hangup);
        }
    }

    /// Whether the watch has been [ended](Watch::end): its descriptor is closed, or about to be.
    pub fn is_over(&self) -> bool {
        self.0.is_removed()
    }
}

/// Parks the calling goroutine until there is an event of one of these, later than the look, or
/// until the deadline. Its stack stays in place. False: the deadline. `object` is for diagnostics.
///
/// # Panics
/// If the calling code is no goroutine that may park.
#[track_caller]
pub fn wait(on: &[(&Watch, Direction, Look)], object: usize, deadline: Option<Instant>) -> bool {
    const WOKEN: Outcome = Outcome(Outcome::FIRST);
    // A node is never on the stack: an event that comes late would find another goroutine there.
    let mut several: Box<[WaitNode]> = match on {
        [_] => Box::default(),
        _ => on.iter().map(|_| WaitNode::new()).collect(),
    };
    // After the allocation, which may wait for a lock.
    let waiter = begin_in_place(object);
    let one = on.len() == 1;
    let first = several.as_mut_ptr();
    let node = |index: usize| match one {
        true => waiter.node(),
        // SAFETY: there is a node for each, and a box is not null.
        false => unsafe { NonNull::new_unchecked(first.add(index)) },
    };
    let mut entered = 0;
    for (index, (watch, direction, look)) in on.iter().enumerate() {
        let readiness = watch.0.direction(*direction);
        let sole = one && deadline.is_none();
        // SAFETY: the node is the caller's own, and in no queue until now. It is taken out below,
        // except where it is the only one: then the event that ends the wait has done so.
        if !unsafe { readiness.enqueue(look.0, node(index), waiter, WOKEN, sole) } {
            break;
        }
        entered += 1;
    }
    let mut woken = true;
    if entered == on.len() {
        // SAFETY: the wait has just begun, nodes that stand for it have been published or there is
        // a deadline, and the caller is a goroutine.
        woken = unsafe { park_in_place(waiter, deadline) } != Outcome::TIMED_OUT;
    } else if entered > 0 && !waiter.try_end(WOKEN) {
        // An event of an earlier one ended the wait already, and its wake-up is on its way.
        // SAFETY: as above.
        unsafe { park_in_place(waiter, None) };
    }
    for (index, (watch, direction, _)) in on[..entered].iter().enumerate() {
        // SAFETY: entered above, and alive.
        unsafe { watch.0.direction(*direction).dequeue(node(index)) };
    }
    woken
}

/// What a dump says of a descriptor.
pub fn describe(fd: RawFd) -> Thing {
    // SAFETY: for this call alone. A number that stands for no file any more is an error, which
    // leaves the description without details.
    crate::describe::thing(unsafe { BorrowedFd::borrow_raw(fd) }.into())
}
