//! Which goroutine holds a mutex that is recursive or checks errors.
//!
//! libc compares the thread that owns such a mutex with the calling one, and goroutines of one
//! processor are one thread to it. So this module keeps the goroutine, beside libc's owner and
//! count: where goroutines are concerned a mutex is held if either says so.
//!
//! The goroutine's number is in the mutex itself, in the links by which libc chains *robust*
//! mutexes. libc neither reads nor writes them in others, and an initializer clears them. Only
//! goroutines use the word, so a plain thread that holds the mutex pays nothing and leaves it at 0.
//!
//! 1. A goroutine that finds its own number calls libc's function, which counts or refuses: libc's
//!    owner is this processor's thread.
//! 2. One that finds another number is refused, and waits as for any lock.
//! 3. One that finds 0 calls libc's `pthread_mutex_trylock`. That excludes all other threads, those
//!    of other processors included. If it succeeds, the goroutine writes its number.
//! 4. Before the unlock that frees the mutex, the owner writes 0.
//!
//! Relaxed is enough for the word. Its own number a goroutine can only have written itself. Another
//! number matters only if that goroutine is of the same processor, where turns are ordered; a value
//! of another processor that is seen late makes the goroutine wait, and its look of step 2 of the
//! module's protocol comes after the fence.
//!
//! A mutex that processes share can show the number of a goroutine of another process. So numbers
//! are made different by the process that gives them.

use super::Shared;
use crate::OFF;
use libc::{c_int, pthread_mutex_t};
use narrowboat_runtime::as_thread;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

// Of glibc's structure, alike on x86-64 and aarch64.
const COUNT: usize = 4;
const KIND: usize = 16;
const LINKS: usize = 24;

// Of its field `__kind`, besides the type in the lowest two bits.
const RECURSIVE: c_int = 1;
const ERROR_CHECK: c_int = 2;
const ROBUST: c_int = 16;
const SHARED: c_int = 128;
const ELISION: c_int = 256 | 512;

/// How much of a mutex is this crate's business.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// libc does not ask for the owner when it locks.
    Plain,
    /// libc asks for the owner, which is to be a goroutine.
    Owned,
    /// All of it is libc's: it belongs to a thread of the kernel's, or is no mutex any more.
    Libc,
}

/// A goroutine that may own mutexes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner(NonZeroU64);

impl Owner {
    /// The calling goroutine, also on the system stack.
    #[inline]
    pub(super) fn current() -> Option<Owner> {
        if OFF.load(Ordering::Relaxed) {
            return None;
        }
        NonZeroU64::new(as_thread::goroutine()).map(Owner)
    }

    /// The number that a lock shows.
    pub(super) fn mark(self, shared: Shared) -> u64 {
        match shared {
            Shared::No => self.0.get(),
            // SAFETY: no arguments.
            Shared::Yes => self.0.get() ^ (unsafe { libc::getpid() } as u64) << 40,
        }
    }
}

/// The parts of a mutex that this crate reads.
#[derive(Clone, Copy)]
pub(super) struct Mutex<'a> {
    kind: &'a AtomicI32,
    count: &'a AtomicU32,
    owner: &'a AtomicU64,
}

impl<'a> Mutex<'a> {
    /// # Safety
    /// A mutex that is alive for as long as the result is used.
    #[inline]
    pub(super) unsafe fn at(mutex: *mut pthread_mutex_t) -> Mutex<'a> {
        let at = mutex.cast::<u8>();
        // SAFETY: by contract. libc accesses the kind as an atomic, the count as the owner of the
        // mutex alone, as this crate does, and the links not at all where this crate does.
        unsafe {
            Mutex {
                kind: AtomicI32::from_ptr(at.add(KIND).cast()),
                count: AtomicU32::from_ptr(at.add(COUNT).cast()),
                owner: AtomicU64::from_ptr(at.add(LINKS).cast()),
            }
        }
    }

    #[inline]
    pub(super) fn kind(self) -> Kind {
        const NORMAL: c_int = 0;
        const ADAPTIVE: c_int = 3;
        match self.kind.load(Ordering::Relaxed) & !(SHARED | ELISION) {
            NORMAL | ADAPTIVE => Kind::Plain,
            RECURSIVE | ERROR_CHECK => Kind::Owned,
            kind if kind & !ROBUST == NORMAL || kind & !ROBUST == ADAPTIVE => Kind::Plain,
            _ => Kind::Libc,
        }
    }

    pub(super) fn shared(self) -> Shared {
        if self.kind.load(Ordering::Relaxed) & SHARED != 0 { Shared::Yes } else { Shared::No }
    }

    pub(super) fn is_owned_by(self, owner: Owner) -> bool {
        self.owner.load(Ordering::Relaxed) == owner.mark(self.shared())
    }

    /// Whether a goroutine other than this one owns the mutex.
    pub(super) fn is_owned_by_other(self, owner: Owner) -> bool {
        self.owner.load(Ordering::Relaxed) != 0 && !self.is_owned_by(owner)
    }

    /// Step 3.
    pub(super) fn set_owner(self, owner: Owner) {
        self.owner.store(owner.mark(self.shared()), Ordering::Relaxed);
    }

    /// Step 4. False if the next unlock does not free the mutex, which this goroutine owns.
    pub(super) fn clear_owner_before_last_unlock(self) -> bool {
        let kind = self.kind.load(Ordering::Relaxed) & !(SHARED | ELISION);
        let last = kind != RECURSIVE || self.count.load(Ordering::Relaxed) <= 1;
        if last {
            self.owner.store(0, Ordering::Relaxed);
        }
        last
    }
}
