//! What a context can be ended with: the tree of scopes, and the channel that closes when one is
//! over.
//!
//! A scope is over when it is cancelled, when one above it is cancelled, or when its deadline has
//! passed. The deadline is a value: a child's is never later than its parent's, so the clock alone
//! says that all of them are over, and nobody has to tell them. Only a cancel travels. Who waits
//! for the end sleeps until the deadline, as for a timer.
//!
//! A child owns its parent; a parent knows its children by weak references. Each scope has one
//! lock, and nobody ever holds two:
//!
//! 1. *Child.* Under the parent's lock: if the parent is marked, the child is born marked, else it
//!    is entered among the children.
//! 2. *Mark.* A cancel visits its own scope, then every scope that it finds. Under the lock of each
//!    it marks the scope (the first mark stays), takes out the parties that wait, and takes
//!    references to the children that are alive, to visit them, too. By step 1 a marked scope gets
//!    no more children.
//! 3. *Close.* When all are visited, everything below each of them is marked, and will be. The
//!    cancel tells them so: it takes away their children, so that a later cancel stops here. One
//!    that comes before, and finds the scope marked by another that is still on its way, visits
//!    everything below itself, and does not return before it has seen all of it marked.
//! 4. It leaves its parent, under the parent's lock; then wakes the parties, with no lock held;
//!    then drops its references, which may be the last.
//! 5. *Drop.* A scope that nobody has leaves its parent and gives up its reference to it. If that
//!    was the last, the same is done for the parent, in a loop. A cancel that meets a scope in this
//!    state cannot get a reference, and need not: nobody can ask it, and it has no children, which
//!    would own it.
//! 6. *Expire.* Who finds the deadline passed marks the scope with it, and needs no lock for that:
//!    the scope was over already. A cancel that comes to a scope later gives it the error of its
//!    own deadline, if that has passed.
//!
//! Marks are made in a `OnceLock`: once seen, they stay, and looking takes no lock.

use super::{Cause, Error};
use crate::block::{At, Limit};
use crate::describe::until;
use crate::error::RecvTimeoutError;
use crate::timer::{Event, Recheck, sleep};
use crate::waiters::{BlockedRecv, NodeRef, Waiters, WakeList};
use narrowboat_runtime::lock::{Mutex, OnceLock};
use narrowboat_runtime::park::{Outcome, Reason, Thing, Waiter, checkpoint};
use std::collections::HashMap;
use std::panic::Location;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::Instant;

/// A part of a program that can be ended; contexts of one scope share it.
pub(crate) struct Scope {
    parent: Option<Arc<Scope>>,
    /// The scope's own deadline or that of a scope above it, the earlier.
    expiry: Option<Expiry>,
    end: OnceLock<End>,
    state: Mutex<State>,
    made_at: At,
}

/// A deadline, and what it means that it has passed.
#[derive(Clone)]
pub(super) struct Expiry {
    pub(super) at: Instant,
    pub(super) cause: Option<Cause>,
}

/// Why a scope is over.
#[derive(Clone)]
pub(super) struct End {
    pub(super) error: Error,
    pub(super) cause: Option<Cause>,
}

struct State {
    /// By their addresses. Empty once everything below is marked.
    children: HashMap<usize, Weak<Scope>>,
    waiters: Waiters<BlockedRecv<()>>,
}

impl Expiry {
    fn end_at(&self, now: Instant) -> Option<End> {
        (self.at <= now).then(|| End { error: Error::DeadlineExceeded, cause: self.cause.clone() })
    }
}

impl Scope {
    /// What a dump says of it.
    pub(crate) fn thing(&self, operation: &'static str) -> Thing {
        let deadline = self.deadline().map(|at| until(Some(at)) + ", ").unwrap_or_default();
        let details = format!("{deadline}made at {}", self.made_at);
        Thing { operation, address: (&raw const *self).addr(), kind: "context", details, held_by: None }
    }

    /// Step 1. A parent's earlier deadline comes before `expiry`.
    #[track_caller]
    pub(super) fn new(parent: Option<&Arc<Scope>>, expiry: Option<Expiry>) -> Arc<Scope> {
        let inherited = parent.and_then(|parent| parent.expiry.as_ref());
        let expiry = match (expiry, inherited) {
            (Some(own), Some(inherited)) if inherited.at < own.at => Some(inherited.clone()),
            (own, inherited) => own.or_else(|| inherited.cloned()),
        };
        let state = State { children: HashMap::new(), waiters: Waiters::new() };
        let scope = Arc::new(Scope {
            parent: parent.cloned(),
            expiry,
            end: OnceLock::new(),
            state: Mutex::new(state),
            made_at: Location::caller(),
        });
        if let Some(parent) = parent {
            let mut state = parent.lock();
            match parent.end.get() {
                None => {
                    state.children.insert(address(&scope), Arc::downgrade(&scope));
                }
                Some(end) => {
                    let end = end.clone();
                    drop(state);
                    scope.mark_with(end);
                }
            }
        }
        scope
    }

    /// Nothing panics while the lock is held.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.expiry.as_ref().map(|expiry| expiry.at)
    }

    fn mark_with(&self, end: End) {
        // The first mark stays.
        let _ = self.end.set(end);
    }

    /// Why the scope is over, if it is; with step 6.
    pub(super) fn end(&self) -> Option<&End> {
        if self.end.get().is_none()
            && let Some(end) = self.expiry.as_ref()?.end_at(Instant::now())
        {
            self.mark_with(end);
        }
        self.end.get()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.end.get().is_some() || self.deadline().is_some_and(|at| at <= Instant::now())
    }

    /// Steps 2 to 4. When it returns, everything below is over.
    pub(super) fn cancel(self: &Arc<Scope>, cause: Option<Cause>) {
        let mut walk = CancelWalk::from(self.clone(), End { error: Error::Canceled, cause });
        while walk.visit_next() {}
        walk.close();
    }

    /// Takes a child out that has ended, or that nobody has any more.
    fn remove_child(&self, child: usize) {
        let mut state = self.lock();
        let children = &mut state.children;
        children.remove(&child);
        // Many may have come and gone. Halving at a quarter keeps this constant time in the mean.
        if children.capacity() > 64 && children.len() < children.capacity() / 4 {
            children.shrink_to(children.len() * 2);
        }
    }

    /// Waits for the end of the scope, of which the error says that the channel is closed.
    pub(crate) fn recv(&self, limit: Limit, at: At) -> RecvTimeoutError {
        while !self.is_over() {
            if let Err(error) = sleep(self, limit, at) {
                return error;
            }
        }
        checkpoint();
        RecvTimeoutError::Disconnected
    }
}

/// Names a scope among its parent's children for as long as its entry there exists, which keeps the
/// memory in use.
fn address(scope: &Arc<Scope>) -> usize {
    Arc::as_ptr(scope).addr()
}

/// A cancel on its way.
struct CancelWalk {
    now: Instant,
    end: End,
    /// Found: visited up to `next`, then those to be visited.
    scopes: Vec<Arc<Scope>>,
    next: usize,
    woken: WakeList,
}

impl CancelWalk {
    fn from(scope: Arc<Scope>, end: End) -> CancelWalk {
        CancelWalk { now: Instant::now(), end, scopes: vec![scope], next: 0, woken: WakeList::new() }
    }

    /// Step 2 for one scope. False if there is none left.
    fn visit_next(&mut self) -> bool {
        let Some(scope) = self.scopes.get(self.next).cloned() else { return false };
        self.next += 1;
        let expired = scope.expiry.as_ref().and_then(|expiry| expiry.end_at(self.now));
        let end = expired.unwrap_or_else(|| self.end.clone());
        let mut state = scope.lock();
        scope.mark_with(end);
        state.waiters.claim_all_closed(&mut self.woken);
        self.scopes.extend(state.children.values().filter_map(Weak::upgrade));
        true
    }

    /// Steps 3 and 4.
    fn close(self) {
        for scope in &self.scopes {
            let children = std::mem::take(&mut scope.lock().children);
            drop(children);
        }
        let first = &self.scopes[0];
        if let Some(parent) = &first.parent {
            parent.remove_child(address(first));
        }
        self.woken.wake();
    }
}

// Not inlined: the frame that sleeps is parked with its goroutine, and shall be small.
impl Event for Scope {
    const REASON: Reason = Reason::Context;

    #[inline(never)]
    unsafe fn enter(&self, node: NodeRef, me: Waiter, outcome: Outcome, sole: bool) -> Recheck {
        let mut state = self.lock();
        if self.end.get().is_some() {
            return Recheck::Now;
        }
        let deadline = self.deadline();
        // SAFETY: by contract; a sole party without a deadline is woken by a cancel only, under the
        // lock.
        unsafe { state.waiters.enter(node, me, outcome, sole && deadline.is_none()) };
        Recheck::Later(deadline)
    }

    #[inline(never)]
    unsafe fn leave(&self, node: NodeRef) {
        // SAFETY: by contract.
        unsafe { self.lock().waiters.leave(node) };
    }
}

/// Step 5.
impl Drop for Scope {
    fn drop(&mut self) {
        let mut child = (&raw const *self).addr();
        let mut parent = self.parent.take();
        while let Some(scope) = parent {
            scope.remove_child(child);
            child = address(&scope);
            parent = Arc::into_inner(scope).and_then(|mut scope| scope.parent.take());
        }
    }
}

#[cfg(test)]
mod interleavings;
