//! Locks and meeting points for goroutines and threads, with std's API.
//!
//! | | |
//! | --- | --- |
//! | [`Mutex`], [`RwLock`], [`Condvar`] | as in std: one at a time; one who writes or many who read; until told |
//! | [`Once`], [`OnceLock`], [`LazyLock`] | as in std: done once, set once, computed at first use |
//! | [`Barrier`] | as in std: go on when all are here |
//! | [`Semaphore`] | no more than so many at a time, of any weight |
//! | [`WaitGroup`] | as in crossbeam-utils: wait until the others are done |
//! | [`Group`] | Go's errgroup: wait for goroutines that may fail |
//!
//! Names, signatures and poisoning are std's: a program ports by changing its `use`. The difference is who waits. A
//! goroutine that has to wait here parks, and the thread that carries it goes on with others; a plain thread blocks.
//! Both may meet on the same lock.
//!
//! # Across blocking calls
//! A lock of std blocks the thread that would have to carry its holder on, so it must not be held across a receive, a
//! sleep, or any other call of Narrowboat. These may be: whoever wants the lock meanwhile parks.
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
//! - Nobody starves. Who waits stands in a line; a lock may be taken by one who comes just as it gets free, which
//!   saves a switch, but a party that has waited for a millisecond is granted it.
//! - Nothing spins. Taking and releasing a lock that nobody waits for is one atomic operation each.
//! - A lock is poisoned by the panic of its holder, and by no other goroutine's.
//! - No lock needs memory beyond its own few bytes.
//! - Where a goroutine cannot wait (inside `stack::on_system_stack`), an operation that would have
//!   to panics before it has changed anything; one that does not have to wait works.
//!
//! # Locks on the stack
//! A lock may be a local of a goroutine, and be lent like any local. Goroutines share stacks by
//! copying, so the locals of several goroutines may have the same address; waiters of one lock are
//! never taken for waiters of another, because the queues are keyed by the address and by whose
//! stack it is on. A [`Condvar`] notifies each waiter whatever mutex the waiter brought: one on the
//! waiter's own stack is touched by nothing else.

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
    mutex::{Mutex, MutexGuard},
    once::{Once, OnceState},
    once_lock::OnceLock,
    rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard},
    semaphore::{AcquireTimeoutError, OwnedSemaphorePermit, Semaphore, SemaphorePermit, TryAcquireError},
    wait_group::WaitGroup,
};
