//! Locks, barriers, semaphores and groups for goroutines and threads, with std's API.
//!
//! | | |
//! | --- | --- |
//! | [`Mutex`], [`RwLock`], [`Condvar`] | as in std: one holder; one writer or many readers; wait for a notification |
//! | [`Once`], [`OnceLock`], [`LazyLock`] | as in std: run once, set once, computed at first use |
//! | [`Barrier`] | as in std: wait until all have arrived |
//! | [`Semaphore`] | a limited number of permits; an acquisition may take several |
//! | [`WaitGroup`] | as in crossbeam-utils: wait until the others are done |
//! | [`Group`] | Go's errgroup: wait for goroutines that may fail |
//!
//! Names, signatures and poisoning are std's: a program ports by changing its `use`. A goroutine
//! that has to wait here parks, and its worker goes on with other goroutines; a plain thread
//! blocks. Both may use the same lock.
//!
//! # Across blocking calls
//! A guard may be held across any call that blocks: a receive, a sleep, a read. A goroutine that
//! wants the lock meanwhile parks.
//!
//! The same is true of std's locks, with a limit. A goroutine that waits for one of std's keeps its
//! stack in place. If it shares a stack slot, the other goroutines of the slot cannot run
//! meanwhile; if it waits for one of them, both wait for ever. A wait here lets the stack be moved,
//! so it keeps nothing else from running. And where the runtime cannot tell std's thread-locals
//! apart, std's locks block threads. The page on what a goroutine may and may not do has the
//! details.
//!
//! ```
//! use narrowboat::{sleep, spawn};
//! use narrowboat::sync::Mutex;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! let connection = Arc::new(Mutex::new(Vec::new()));
//! let users: Vec<_> = (0..4)
//!     .map(|user| {
//!         let connection = connection.clone();
//!         spawn(move || {
//!             let mut line = connection.lock().unwrap();
//!             line.push((user, "request"));
//!             sleep(Duration::from_millis(1)); // the answer takes a while
//!             line.push((user, "answer"));
//!         })
//!     })
//!     .collect();
//! users.into_iter().for_each(|user| user.join().unwrap());
//! assert!(connection.lock().unwrap().chunks(2).all(|pair| pair[0].0 == pair[1].0));
//! ```
//!
//! # Guarantees
//! - No waiter starves. Waiters queue in the order of arrival. A newcomer may take a lock that has
//!   just become free, which saves a switch, but a waiter that has waited for a millisecond is
//!   granted it.
//! - Nothing spins. Taking and releasing a lock that has no waiters is one atomic operation each.
//! - A lock is poisoned by a panic of the goroutine that holds it, and by no other goroutine's.
//! - No lock needs memory beyond its own few bytes.
//! - Where a goroutine cannot wait (inside `stack::on_system_stack`), an operation that would have
//!   to wait panics before it has changed anything. One that does not have to wait works.
//!
//! # Locks on the stack
//! A lock may be a local of a goroutine, and be lent like any local. Goroutines share stacks by
//! copying, so the locals of several goroutines may have the same address. Waiters of one lock are
//! never taken for waiters of another, because the queues are keyed by the address and by the
//! goroutine that the stack belongs to. A [`Condvar`] can notify waiters that use different
//! mutexes. If a mutex is on its waiter's own stack, only that waiter touches it.

#[cfg(all(test, narrowboat_threads))]
extern crate narrowboat_loom_on_threads as loom;

#[cfg(not(loom))]
mod barrier;
#[cfg(not(loom))]
mod condvar;
#[cfg(not(loom))]
mod group;
#[cfg(not(loom))]
mod lazy_lock;
mod lot;
#[cfg(not(loom))]
mod mutex;
#[cfg(not(loom))]
mod once;
#[cfg(not(loom))]
mod once_lock;
#[cfg_attr(loom, allow(dead_code, reason = "no model has guards"))]
mod poison;
mod raw;
#[cfg(not(loom))]
mod rwlock;
#[cfg(not(loom))]
mod semaphore;
mod shim;
#[cfg(not(loom))]
mod wait_group;

#[cfg(not(loom))]
pub use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};
#[cfg(not(loom))]
pub use {
    barrier::{Barrier, BarrierWaitResult},
    condvar::{Condvar, WaitTimeoutResult},
    group::Group,
    lazy_lock::LazyLock,
    mutex::{LockFuture, Mutex, MutexGuard},
    once::{Once, OnceState},
    once_lock::OnceLock,
    rwlock::{ReadFuture, RwLock, RwLockReadGuard, RwLockWriteGuard, WriteFuture},
    semaphore::{
        AcquireFuture, AcquireTimeoutError, OwnedSemaphorePermit, Semaphore, SemaphorePermit, TryAcquireError,
    },
    wait_group::WaitGroup,
};
