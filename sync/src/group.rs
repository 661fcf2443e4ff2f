//! Goroutines that work on parts of one thing, after Go's `errgroup`.
//!
//! A group counts its running members under one lock, which is never held while anything waits or
//! code of the user runs. A caller that has to wait, for room or for the end, leaves the sender of
//! a channel of its own under that lock:
//!
//! 1. *Enter.* If fewer members run than the limit allows, the new member is counted. Otherwise the
//!    spawner's channel goes to the end of `spawners`. When there is room again, the first spawner
//!    gets it: its member is counted under the lock, then a message tells it.
//! 2. *Leave.* The goroutine of a member owns a [`Membership`], which uncounts the member when it
//!    is dropped: when the member has ended, in whichever way, and also when the goroutine could
//!    not be started.
//! 3. *Wait.* If no member runs, the result is taken. Otherwise the channel goes to `waiters`. When
//!    the count becomes zero, all of these channels are taken out and, with the lock released,
//!    dropped.

use narrowboat_chan::context::{self, Cancel, Context};
use narrowboat_chan::{Sender, bounded};
use narrowboat_runtime::lock::Mutex;
use narrowboat_runtime::park::{self, checkpoint};
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, MutexGuard, PoisonError};

/// Goroutines that work on parts of one thing, and may fail.
///
/// [`wait`](Group::wait) waits for all of them, and returns the first error. A group made by
/// [`with_context`](Group::with_context) ends a context when a member has failed, so that the other
/// members can stop. Clones are handles of the same group; with one, a member can start more
/// members.
///
/// - A panic of a member goes on in `wait`, when all members have ended. Like an error, it ends the
///   context. If there are both, `wait` ends with the panic.
/// - `wait` leaves the group as it was when new, apart from its context, which is done; so the
///   group can be used again.
/// - Dropping a group does not wait: its members run on, as a goroutine does when its handle is
///   dropped.
///
/// # Examples
/// ```
/// use narrowboat::sync::Group;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::sync::Arc;
///
/// fn size_of(part: u64) -> Result<u64, String> {
///     if part < 100 { Ok(part * 10) } else { Err(format!("there is no part {part}")) }
/// }
///
/// let total = Arc::new(AtomicU64::new(0));
/// let group = Group::new();
/// for part in 0..5 {
///     let total = total.clone();
///     group.spawn(move || {
///         total.fetch_add(size_of(part)?, Ordering::Relaxed);
///         Ok(())
///     });
/// }
/// assert_eq!(group.wait(), Ok(()));
/// assert_eq!(total.load(Ordering::Relaxed), 100);
///
/// group.spawn(|| size_of(200).map(drop));
/// assert_eq!(group.wait(), Err("there is no part 200".to_owned()));
/// ```
pub struct Group<E> {
    shared: Arc<Shared<E>>,
}

struct Shared<E> {
    state: Mutex<State<E>>,
    /// Ends the group's context, if it has one.
    cancel: Option<Cancel>,
    /// Turns an error into the cause that the context gets.
    describe: fn(&E) -> String,
}

struct State<E> {
    running: usize,
    limit: usize,
    /// Spawners that wait for room, in the order of arrival.
    spawners: VecDeque<Sender<()>>,
    /// Callers of `wait` that wait for the end.
    waiters: Vec<Sender<()>>,
    error: Option<E>,
    panic: Option<Box<dyn Any + Send>>,
}

/// A member that is counted in the group.
struct Membership<E>(Arc<Shared<E>>);

impl<E> Shared<E> {
    /// Nothing panics while the lock is held.
    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unlocks the state after `push` has added the caller's channel to it. The caller waits next.
    ///
    /// # Panics
    /// If the caller cannot wait where it is. Then nothing has been added.
    #[track_caller]
    fn enqueue_waiter(mut state: MutexGuard<'_, State<E>>, push: impl FnOnce(&mut State<E>)) {
        if !park::may_park() {
            drop(state);
            park::refuse();
        }
        push(&mut state);
    }

    /// Keeps the failure of a member, if it is the first in its `field`. True if no member had
    /// failed before in any way.
    fn record_failure<T>(&self, failure: T, field: impl FnOnce(&mut State<E>) -> &mut Option<T>) -> bool {
        let mut state = self.lock();
        let first = state.error.is_none() && state.panic.is_none();
        let field = field(&mut state);
        let late = if field.is_none() { field.replace(failure) } else { Some(failure) };
        drop(state);
        drop(late);
        first
    }
}

impl<E> State<E> {
    /// Counts a member, if there is room for one.
    fn try_enter(&mut self) -> bool {
        let free = self.running < self.limit;
        self.running += usize::from(free);
        free
    }

    /// Counts a member for the first spawner that waits, and returns the channel that tells it.
    fn admit_next(&mut self) -> Option<Sender<()>> {
        if self.spawners.is_empty() || !self.try_enter() {
            return None;
        }
        self.spawners.pop_front()
    }
}

impl<E> Drop for Membership<E> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.running -= 1;
        let next = state.admit_next();
        let over = if state.running == 0 { std::mem::take(&mut state.waiters) } else { Vec::new() };
        drop(state);
        if let Some(next) = next {
            // The channel has room for its one message, so this does not wait.
            let _ = next.send(());
        }
        drop(over);
    }
}

impl<E: Send + 'static> Membership<E> {
    /// Runs a member and notes how it ended.
    fn run(self, f: impl FnOnce() -> Result<(), E>) {
        let shared = &*self.0;
        let mut cause = String::from("a member of the group panicked");
        // The description is code of the user, too. As with every goroutine, what a panic leaves
        // half done is up to the user.
        let ended = catch_unwind(AssertUnwindSafe(|| f().inspect_err(|e| cause = (shared.describe)(e))));
        let first = match ended {
            Ok(Ok(())) => return,
            Ok(Err(error)) => shared.record_failure(error, |state| &mut state.error),
            Err(panic) => shared.record_failure(panic, |state| &mut state.panic),
        };
        if first && let Some(cancel) = &shared.cancel {
            cancel.cancel_with(cause);
        }
    }
}

impl<E: Send + 'static> Group<E> {
    /// A group without a context and without a limit.
    ///
    /// # Examples
    /// ```
    /// let group = narrowboat::sync::Group::<String>::new();
    /// assert_eq!(group.wait(), Ok(()));
    /// ```
    pub fn new() -> Group<E> {
        Group::with(None, |_| String::new())
    }

    /// A group, and a context for its members. The context is done when a member has failed, when
    /// [`wait`](Group::wait) returns, or when `parent` is done. Members that check it can end early
    /// when their work is no longer wanted.
    ///
    /// The cause says that a member has failed, but not how, because not every `E` has a text; see
    /// [`with_context_cause`](Group::with_context_cause).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::{background, Error};
    /// use narrowboat::sync::Group;
    ///
    /// let (group, ctx) = Group::with_context(&background());
    /// group.spawn(|| Err("no such host"));
    /// group.spawn({
    ///     let ctx = ctx.clone();
    ///     move || {
    ///         // It would work for ever if the other did not fail.
    ///         assert!(ctx.done().recv().is_err());
    ///         Ok(())
    ///     }
    /// });
    /// assert_eq!(group.wait(), Err("no such host"));
    /// assert_eq!(ctx.err(), Some(Error::Canceled));
    /// ```
    pub fn with_context(parent: &Context) -> (Group<E>, Context) {
        let (ctx, cancel) = context::with_cancel(parent);
        (Group::with(Some(cancel), |_| String::from("a member of the group has failed")), ctx)
    }

    /// As [`with_context`](Group::with_context); the cause of the context's end is the text of the
    /// first error.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::background;
    /// use narrowboat::sync::Group;
    ///
    /// let (group, ctx) = Group::with_context_cause(&background());
    /// group.spawn(|| Err("no such host"));
    /// assert!(ctx.done().recv().is_err());
    /// assert_eq!(ctx.cause().unwrap().to_string(), "no such host");
    /// # group.wait().unwrap_err();
    /// ```
    pub fn with_context_cause(parent: &Context) -> (Group<E>, Context)
    where
        E: fmt::Display,
    {
        let (ctx, cancel) = context::with_cancel(parent);
        (Group::with(Some(cancel), E::to_string), ctx)
    }

    fn with(cancel: Option<Cancel>, describe: fn(&E) -> String) -> Group<E> {
        let state = State {
            running: 0,
            limit: usize::MAX,
            spawners: VecDeque::new(),
            waiters: Vec::new(),
            error: None,
            panic: None,
        };
        Group { shared: Arc::new(Shared { state: Mutex::new(state), cancel, describe }) }
    }

    /// Lets at most `n` members run at a time; from then on [`spawn`](Group::spawn) waits for room.
    /// The limit can be changed at any time: members that run are not stopped, and spawners that
    /// wait go on as soon as there is room.
    ///
    /// # Panics
    /// If `n` is zero: no member could ever run.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// static RUNNING: AtomicUsize = AtomicUsize::new(0);
    ///
    /// let group = narrowboat::sync::Group::<()>::new();
    /// group.limit(3);
    /// for _ in 0..20 {
    ///     group.spawn(|| {
    ///         assert!(RUNNING.fetch_add(1, Ordering::SeqCst) < 3);
    ///         narrowboat::yield_now();
    ///         RUNNING.fetch_sub(1, Ordering::SeqCst);
    ///         Ok(())
    ///     });
    /// }
    /// group.wait().unwrap();
    /// ```
    #[track_caller]
    pub fn limit(&self, n: usize) {
        checkpoint();
        assert!(n > 0, "a group with a limit of zero could never run a member");
        let mut state = self.shared.lock();
        state.limit = n;
        let admitted: Vec<_> = std::iter::from_fn(|| state.admit_next()).collect();
        drop(state);
        for next in admitted {
            // The channel has room for its one message, so this does not wait.
            let _ = next.send(());
        }
    }

    /// Starts a member: a goroutine that runs `f`. If as many run as the [`limit`](Group::limit)
    /// allows, this waits until one of them has ended; spawners are served in the order of arrival.
    ///
    /// A member may start others in its own group, but under a limit it should use
    /// [`try_spawn`](Group::try_spawn): if all members wait for room in `spawn`, none of them ends.
    ///
    /// # Panics
    /// If the runtime cannot start.
    ///
    /// # Examples
    /// ```
    /// let group = narrowboat::sync::Group::new();
    /// group.spawn(|| Ok(()));
    /// group.spawn(|| Err("one has failed"));
    /// assert_eq!(group.wait(), Err("one has failed"));
    /// ```
    #[track_caller]
    pub fn spawn<F>(&self, f: F)
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
    {
        let mut state = self.shared.lock();
        if state.try_enter() {
            drop(state);
        } else {
            let (sender, admitted) = bounded(1);
            Shared::enqueue_waiter(state, |state| state.spawners.push_back(sender));
            admitted.recv().expect("a queued spawner is admitted while a handle of the group exists");
        }
        self.start(f);
    }

    /// Starts a member, if the [`limit`](Group::limit) allows it at once.
    ///
    /// # Errors
    /// Gives `f` back if the limit does not allow it.
    ///
    /// # Panics
    /// As for [`spawn`](Group::spawn).
    ///
    /// # Examples
    /// ```
    /// use narrowboat::chan::bounded;
    ///
    /// let group = narrowboat::sync::Group::<()>::new();
    /// group.limit(1);
    /// let (tx, rx) = bounded::<()>(0);
    /// group.spawn(move || {
    ///     let _ = rx.recv();
    ///     Ok(())
    /// });
    /// assert!(group.try_spawn(|| Ok(())).is_err());
    /// drop(tx);
    /// group.wait().unwrap();
    /// assert!(group.try_spawn(|| Ok(())).is_ok());
    /// group.wait().unwrap();
    /// ```
    #[track_caller]
    pub fn try_spawn<F>(&self, f: F) -> Result<(), F>
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
    {
        let entered = self.shared.lock().try_enter();
        checkpoint();
        if !entered {
            return Err(f);
        }
        self.start(f);
        Ok(())
    }

    /// Starts a member that has been counted.
    #[track_caller]
    fn start(&self, f: impl FnOnce() -> Result<(), E> + Send + 'static) {
        let membership = Membership(self.shared.clone());
        narrowboat_runtime::spawn(move || membership.run(f));
    }

    /// Waits until no member runs, ends the group's context, and returns the first error that a
    /// member has returned since the last `wait`.
    ///
    /// Of several callers that wait at the same time, one gets the error. A member that waits for
    /// its own group waits for ever.
    ///
    /// # Errors
    /// The first error; errors of other members are dropped.
    ///
    /// # Panics
    /// If a member has panicked, with the payload of the first that did.
    ///
    /// # Examples
    /// ```
    /// use std::panic::{AssertUnwindSafe, catch_unwind};
    ///
    /// let group = narrowboat::sync::Group::<()>::new();
    /// group.spawn(|| panic!("no bread left"));
    /// let panic = catch_unwind(AssertUnwindSafe(|| group.wait())).unwrap_err();
    /// assert_eq!(*panic.downcast::<&str>().unwrap(), "no bread left");
    /// ```
    #[track_caller]
    pub fn wait(&self) -> Result<(), E> {
        let mut state = self.shared.lock();
        if state.running > 0 {
            let (end, over) = bounded(0);
            Shared::enqueue_waiter(state, |state| state.waiters.push(end));
            // The channel carries no message: its closing is what is waited for.
            let _ = over.recv();
            state = self.shared.lock();
        }
        let (error, panic) = (state.error.take(), state.panic.take());
        drop(state);
        checkpoint();
        if let Some(cancel) = &self.shared.cancel {
            cancel.cancel();
        }
        if let Some(panic) = panic {
            // The destructor of the error must not run while the panic unwinds.
            drop(error);
            resume_unwind(panic);
        }
        error.map_or(Ok(()), Err)
    }
}

impl<E> Clone for Group<E> {
    fn clone(&self) -> Self {
        Group { shared: self.shared.clone() }
    }
}

impl<E: Send + 'static> Default for Group<E> {
    fn default() -> Self {
        Group::new()
    }
}

impl<E> fmt::Debug for Group<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.shared.lock().running;
        f.debug_struct("Group").field("running", &running).finish_non_exhaustive()
    }
}
