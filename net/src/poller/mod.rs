//! The netpoller: descriptors are registered once, for both directions, edge-triggered. When, is
//! decided by [`crate::source`], at the first wait of an operation, and by [`crate::watch`].
//!
//! Guarantees that an event of a registered descriptor reaches the [`Readiness`] of its directions,
//! and that an event of a descriptor that is gone reaches none. One netpoller serves the process;
//! the first operation that has to wait creates it. The scheduler decides which thread polls: it
//! promises that only one thread at a time is inside [`Poller::poll`], and a second one would
//! return at once.
//!
//! The life of a registration:
//!
//! 1. [`NetPoller::register`] takes an entry of the slab and adds the descriptor with the entry's
//!    index and generation as its key. An event that is already due is reported at once, so nothing
//!    that came earlier is missed.
//! 2. An event finds the entry by the index. The generation decides, in the exchange that counts
//!    the event, whether the entry still belongs to the descriptor.
//! 3. Dropping the [`Registration`] removes the descriptor from the poller and gives the entry back
//!    with the next generation. Events that were collected before and are handled after that no
//!    longer match the generation.

#[cfg(all(test, any(loom, narrowboat_threads)))]
mod models;
pub(crate) mod readiness;
mod slab;

use crate::describe;
use crate::direction::Direction;
use crate::simulated::Events;
use crate::sys::{Event, Selector};
use narrowboat_runtime::lock::{Mutex, OnceLock};
use narrowboat_runtime::sched::poller::{Poller, check_polled, install_poller};
use readiness::{GENERATION_BITS, Readiness, Seen, Signal};
use slab::{Slab, SlabEntry};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) struct NetPoller {
    selector: Selector,
    slab: Slab,
}

/// Set when the scheduler has the poller, so that a poller that is found here is being polled.
static INSTALLED: OnceLock<&'static NetPoller> = OnceLock::new();

/// The poller that [`NetPoller::of_others`] made, and its key in the netpoller. No registration has
/// this key: its generation half has more bits set than a generation has.
static OF_OTHERS: OnceLock<&'static NetPoller> = OnceLock::new();
const KEY_OF_OTHERS: u64 = u64::MAX - 1;

impl NetPoller {
    /// The netpoller of the process, which the scheduler has been given.
    ///
    /// # Errors
    /// If the system refuses the descriptors that a poller needs, or the runtime cannot start. The
    /// next call tries again.
    pub(crate) fn get() -> io::Result<&'static NetPoller> {
        check_polled()?;
        match INSTALLED.get() {
            Some(poller) => Ok(poller),
            None => NetPoller::install(),
        }
    }

    #[cold]
    fn install() -> io::Result<&'static NetPoller> {
        // Locked during the installation, so that the scheduler gets one poller. Kept if the
        // runtime fails to start, so that the scheduler gets the same poller when the next attempt
        // succeeds.
        static CREATED: Mutex<Option<&'static NetPoller>> = Mutex::new(None);
        let mut created = CREATED.lock().unwrap_or_else(PoisonError::into_inner);
        let poller = match *created {
            Some(poller) => poller,
            None => {
                let poller = NetPoller { selector: Selector::new()?, slab: Slab::new() };
                *created.insert(Box::leak(Box::new(poller)))
            }
        };
        describe::install();
        install_poller(poller)?;
        Ok(INSTALLED.get_or_init(|| poller))
    }

    /// A poller that the scheduler does not know, so that only the test polls it.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn unpolled() -> &'static NetPoller {
        let selector = Selector::new().expect("descriptors for a poller");
        Box::leak(Box::new(NetPoller { selector, slab: Slab::new() }))
    }

    /// Registers a descriptor in both directions.
    ///
    /// # Errors
    /// The kernel's: no memory, or the user's limit of watched descriptors is reached.
    ///
    /// # Safety
    /// The descriptor stays open until the registration is dropped.
    pub(crate) unsafe fn register(&'static self, fd: BorrowedFd<'_>) -> io::Result<Registration> {
        let (index, entry) = self.slab.allocate();
        let generation = entry.generation();
        // SAFETY: the registration, which removes the descriptor when dropped, is dropped before
        // the descriptor is closed, by this function's contract.
        if let Err(error) = unsafe { self.selector.add(fd, key(generation, index)) } {
            self.slab.release(index);
            return Err(error);
        }
        let removed = AtomicBool::new(false);
        let fd = fd.as_raw_fd();
        Ok(Registration { poller: self, entry, index, generation, fd, removed })
    }

    /// Registers a socket that the system does not know: its network [reports](Events::report) what
    /// happens.
    pub(crate) fn register_simulated(&'static self) -> Registration {
        let (index, entry) = self.slab.allocate();
        let (generation, removed) = (entry.generation(), AtomicBool::new(false));
        Registration { poller: self, entry, index, generation, fd: NO_DESCRIPTOR, removed }
    }

    /// The poller of descriptors that belong to other code: see [`crate::watch`]. It stands in the
    /// netpoller as a descriptor that can be read while it has events.
    ///
    /// # Errors
    /// As for [`get`](NetPoller::get).
    pub(crate) fn of_others() -> io::Result<&'static NetPoller> {
        static CREATED: Mutex<()> = Mutex::new(());
        let netpoller = NetPoller::get()?;
        if let Some(poller) = OF_OTHERS.get() {
            return Ok(poller);
        }
        let _created = CREATED.lock().unwrap_or_else(PoisonError::into_inner);
        if OF_OTHERS.get().is_none() {
            let poller = NetPoller { selector: Selector::new()?, slab: Slab::new() };
            netpoller.selector.add_selector(&poller.selector, KEY_OF_OTHERS)?;
            let _ = OF_OTHERS.set(Box::leak(Box::new(poller)));
        }
        Ok(OF_OTHERS.get().expect("set above"))
    }

    fn dispatch(&self, event: Event) {
        if event.key == KEY_OF_OTHERS {
            if let Some(poller) = OF_OTHERS.get() {
                poller.poll(Some(Duration::ZERO));
            }
            return;
        }
        let (generation, index) = split_key(event.key);
        let Some(entry) = self.slab.get(index) else { return };
        if let Some(signal) = event.read {
            entry.read.signal(generation, signal);
        }
        if let Some(signal) = event.write {
            entry.write.signal(generation, signal);
        }
    }
}

impl Poller for NetPoller {
    fn poll(&self, timeout: Option<Duration>) -> usize {
        self.selector.wait(timeout, |event| self.dispatch(event))
    }

    fn interrupt(&self) {
        self.selector.interrupt();
    }
}

fn key(generation: u32, index: u32) -> u64 {
    debug_assert!(generation < 1 << GENERATION_BITS);
    u64::from(generation) << u32::BITS | u64::from(index)
}

fn split_key(key: u64) -> (u32, u32) {
    ((key >> u32::BITS) as u32, key as u32)
}

/// An entry, for as long as one registration has it.
#[derive(Clone, Copy)]
pub(crate) struct EntryRef {
    entry: &'static SlabEntry,
    generation: u32,
}

impl EntryRef {
    pub(crate) fn signal(self, direction: Direction, signal: Signal) {
        self.entry.direction(direction).signal(self.generation, signal);
    }
}

/// In place of the descriptor of a socket that the system does not know.
const NO_DESCRIPTOR: RawFd = -1;

/// A registered descriptor in the netpoller; dropping this removes it.
pub(crate) struct Registration {
    poller: &'static NetPoller,
    entry: &'static SlabEntry,
    index: u32,
    generation: u32,
    /// [`NO_DESCRIPTOR`] for a simulated socket.
    fd: RawFd,
    removed: AtomicBool,
}

impl Registration {
    #[inline]
    pub(crate) fn direction(&self, direction: Direction) -> &'static Readiness {
        self.entry.direction(direction)
    }

    /// The state word with which either direction began.
    pub(crate) fn first_seen(&self) -> Seen {
        Seen::fresh(self.generation)
    }

    /// What reports events to this registration, also when it is gone: then to none.
    pub(crate) fn events(&self) -> Events {
        Events(EntryRef { entry: self.entry, generation: self.generation })
    }

    /// Acts as if the kernel had reported an event in one direction: operations that wait there try
    /// again.
    pub(crate) fn inject_event(&self, direction: Direction, signal: Signal) {
        self.events().0.signal(direction, signal);
    }

    /// Whether the poller still watches this file under the number of the descriptor. If so, it
    /// reports the present state once more.
    pub(crate) fn confirm(&self) -> io::Result<()> {
        if self.fd == NO_DESCRIPTOR {
            return Ok(());
        }
        // SAFETY: for this call alone; a number that stands for no file is an error.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        self.poller.selector.confirm(fd, key(self.generation, self.index))
    }

    /// Removes the descriptor from the poller; dropping the registration does not do so again.
    /// False in a process that is a fork: the parent has the same open file and the same poller
    /// instance, and what is removed here would be removed there.
    pub(crate) fn remove(&self) -> bool {
        let polled = check_polled().is_ok();
        // AcqRel: the code that sees the mark comes after the call that has set it, and one call
        // removes.
        if !self.removed.swap(true, Ordering::AcqRel) && polled && self.fd != NO_DESCRIPTOR {
            // SAFETY: the caller of `register` promised that the descriptor outlives the
            // registration.
            let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
            // It fails only if other code has closed the descriptor, which its owner did not
            // expect; then the poller has dropped it as well.
            let _ = self.poller.selector.delete(fd.as_fd());
        }
        polled
    }

    /// Whether it was removed.
    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // In a fork the entry is of no use any more, and a thread that does not exist there may
        // hold its lock.
        if self.remove() {
            self.poller.slab.release(self.index);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn keys_keep_both_halves() {
        let last = (1 << GENERATION_BITS) - 1;
        for pair in [(0, 0), (1, 0), (0, 1), (last, u32::MAX - 1), (7, 1 << 31)] {
            assert_eq!(split_key(key(pair.0, pair.1)), pair);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no netpoller")]
    fn an_event_collected_before_the_descriptor_went_does_not_reach_the_next_owner_of_its_entry() {
        let poller = NetPoller::unpolled();
        let (one, other) = UnixStream::pair().unwrap();
        // SAFETY: both descriptors are open until the end of the test.
        let first = unsafe { poller.register(one.as_fd()) }.unwrap();
        let both = Some(Signal::Hangup);
        let stale = Event { key: key(first.generation, first.index), read: both, write: both };
        let entry = first.entry;
        drop(first);
        // SAFETY: as above.
        let second = unsafe { poller.register(other.as_fd()) }.unwrap();
        assert!(std::ptr::eq(second.entry, entry), "the test needs the entry to be reused");
        poller.dispatch(stale);
        assert_eq!((entry.read.look(), entry.write.look()), (second.first_seen(), second.first_seen()));
        poller.dispatch(Event { key: key(second.generation, second.index), ..stale });
        assert_ne!(entry.read.look(), second.first_seen());
        assert_ne!(entry.write.look(), second.first_seen());
    }
}
