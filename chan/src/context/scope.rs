//! Scopes: the tree through which a cancel ends contexts, and the channel that closes when a scope
//! is over.
//!
//! A scope is over when it is cancelled, when a scope above it is cancelled, or when its deadline
//! has passed. The deadline is a value. A child's deadline is never later than its parent's, so the
//! clock alone decides that all scopes below are over, and nothing is sent to them. Only a cancel
//! visits other scopes. A goroutine that waits for the end sleeps until the deadline, as for a
//! timer.
//!
//! A child owns its parent. A parent has weak references to its children. Each scope has one lock,
//! and no operation ever holds two:
//!
//! 1. *Child.* Under the parent's lock: if the parent is marked, the new child is marked, too.
//!    Otherwise it is added to the parent's children.
//! 2. *Mark.* A cancel visits its own scope, then every scope that it finds. Under the lock of each
//!    it marks the scope (the first mark stays), takes out the waiters, and takes references to the
//!    children that are alive, to visit them, too. By step 1 a marked scope gets no more children.
//! 3. *Close.* When all are visited, every scope below each of them is marked, and every later
//!    child will be. So the cancel removes the children of each visited scope, and a later cancel
//!    stops there. A cancel that comes earlier, and finds the scope marked by another cancel that
//!    is still running, visits every scope below itself, and does not return before it has seen all
//!    of them marked.
//! 4. The cancel takes its scope out of the parent's children, under the parent's lock. Then it
//!    wakes the waiters, with no lock held. Then it drops its references, which may be the last
//!    ones.
//! 5. *Drop.* When the last reference to a scope is dropped, the scope is removed from its parent's
//!    children and drops its reference to the parent. If that was the last one, the same happens to
//!    the parent, in a loop. A cancel that meets a scope in this state cannot get a reference, and
//!    needs none: no context refers to the scope, and it has no children, because a child would own
//!    it.
//! 6. *Expire.* An operation that finds the deadline passed marks the scope with it. That needs no
//!    lock, because the scope was over already. A cancel that visits a scope after its deadline
//!    marks it with the error of the deadline.
//!
//! The mark is in a `OnceLock`: it never changes, and reading it takes no lock.

use super::error::{Cause, Error};
use crate::describe::until;
use crate::error::RecvError;
use crate::event::{Event, Recheck};
use crate::limit::At;
use crate::node::NodeRef;
use crate::waiters::{BlockedRecv, Waiters, WakeList};
use narrowboat_runtime::lock::{Mutex, OnceLock};
use narrowboat_runtime::park::{Outcome, Reason, Thing, Waiter};
use narrowboat_runtime::world;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::Instant;

/// A part of a program that can be ended. Several contexts may share one scope.
pub(crate) struct Scope {
    parent: Option<Arc<Scope>>,
    /// The earlier of the scope's own deadline and those of the scopes above it.
    expiry: Option<Expiry>,
    end: OnceLock<End>,
    state: Mutex<State>,
    made_at: At,
}

/// A deadline, and the cause of the end when it has passed.
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
    /// Keyed by their addresses. Empty once every scope below is marked.
    children: HashMap<usize, Weak<Scope>>,
    waiters: Waiters<BlockedRecv<()>>,
}

impl Expiry {
    fn end_at(&self, now: Instant) -> Option<End> {
        (self.at <= now).then(|| End { error: Error::DeadlineExceeded, cause: self.cause.clone() })
    }
}

impl Scope {
    /// Step 1. A parent's earlier deadline replaces `expiry`.
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

    /// Why the scope is over, if it is. Does step 6.
    pub(super) fn end(&self) -> Option<&End> {
        if self.end.get().is_none()
            && let Some(end) = self.expiry.as_ref()?.end_at(world::now())
        {
            self.mark_with(end);
        }
        self.end.get()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.end.get().is_some() || self.deadline().is_some_and(|at| at <= world::now())
    }

    /// Steps 2 to 4. When it returns, every scope below is over.
    pub(super) fn cancel(self: &Arc<Scope>, cause: Option<Cause>) {
        let mut walk = CancelWalk::from(self.clone(), End { error: Error::Canceled, cause });
        while walk.visit_next() {}
        walk.close();
    }

    /// Removes a child that has been cancelled or dropped.
    fn remove_child(&self, child: usize) {
        let mut state = self.lock();
        let children = &mut state.children;
        children.remove(&child);
        // The map may have been much larger. Halving it when it is a quarter full takes amortised
        // constant time.
        if children.capacity() > 64 && children.len() < children.capacity() / 4 {
            children.shrink_to(children.len() * 2);
        }
    }
}

/// Identifies a scope among its parent's children for as long as its entry there exists. The
/// entry's weak reference keeps the address in use.
fn address(scope: &Arc<Scope>) -> usize {
    Arc::as_ptr(scope).addr()
}

/// A cancel that is visiting scopes.
struct CancelWalk {
    now: Instant,
    end: End,
    /// The scopes that were found. Those before `next` have been visited.
    scopes: Vec<Arc<Scope>>,
    next: usize,
    woken: WakeList,
}

impl CancelWalk {
    fn from(scope: Arc<Scope>, end: End) -> CancelWalk {
        CancelWalk { now: world::now(), end, scopes: vec![scope], next: 0, woken: WakeList::new() }
    }

    /// Step 2 for one scope. False if all have been visited.
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

/// The end of the scope, which has no message.
// SAFETY: it has the default id, and its reason is that of scopes alone.
unsafe impl<T> Event<T> for Scope {
    fn reason(&self) -> Reason {
        Reason::Context
    }

    fn try_recv(&self) -> Option<Result<T, RecvError>> {
        self.is_over().then_some(Err(RecvError))
    }

    fn is_ready(&self) -> bool {
        self.is_over()
    }

    fn thing(&self) -> Thing {
        let deadline = self.deadline().map(|at| until(Some(at)) + ", ").unwrap_or_default();
        let details = format!("{deadline}made at {}", self.made_at);
        let address = (&raw const *self).addr();
        Thing { operation: "end of", address, kind: "context", details, held_by: None }
    }

    // Not inlined, as for timers.
    #[inline(never)]
    unsafe fn enter(&self, node: NodeRef, me: Waiter, outcome: Outcome, sole: bool) -> Recheck {
        let mut state = self.lock();
        if self.end.get().is_some() {
            return Recheck::Now;
        }
        let deadline = self.deadline();
        // SAFETY: by contract. If the caller waits for nothing else and there is no deadline, only
        // a cancel ends its wait, under the lock.
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
