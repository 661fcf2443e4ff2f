//! Goroutines that borrow from the code that spawned them.
//!
//! The API is std's, and so is the argument: a child may hold references into its owner's stack
//! because [`scope`] does not return, not even by a panic, before each child has dropped everything
//! that it had of the owner's. Two things are ours. The owner's stack must stay where it is while
//! the owner is parked, so [`scope`] refuses to run on a shared slot. And everything that a child
//! and its owner share (the count, the outcome) is on the heap, since the *child's* stack does get
//! copied.
//!
//! How a scope ends, step by step ([`count`] has the counting, and its model):
//!
//! 1. `running` counts the owner, until its closure has ended, and the children. Only the owner or
//!    a child that is counted adds a child, so the count never rises again from zero.
//! 2. A child runs its closure, moves the outcome into its packet, and drops its share of the
//!    packet: if its handle has been dropped, the outcome is dropped here.
//! 3. Then, as the last thing that has anything to do with the scope, it subtracts itself.
//! 4. The owner, when its closure has ended, stores its waiter and subtracts itself. If the count
//!    is not zero then, it parks.
//! 5. If it is a child that subtracts the last one, it wakes the waiter.
//!
//! Only the owner or a child can have a handle, since handles cannot leave the scope (`'scope` in
//! their type). So an outcome that is still in its packet after step 3 is taken or dropped before
//! step 4 or another child's step 3; or its handle was forgotten, and the outcome is never touched
//! again.
//!
//! Orderings: each subtraction releases what was done before it and acquires what was done before
//! earlier subtractions. So the last one has seen all, the waiter included. The wake-up passes that
//! on to the owner.

mod count;
#[cfg(doctest)]
mod refused;

use super::join::JoinHandle;
use super::spawn::{Builder, launch};
use crate::lock::Mutex;
use crate::park::{self, Outcome, Reason, Waiter};
use crate::sched::processor;
use crate::sched::record::id::GoroutineId;
use crate::sched::record::origin::Origin;
use crate::shim::{AtomicUsize, Ordering};
use count::Count;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, Location, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// Runs `f`, which may spawn goroutines that borrow from the code around it; returns when all of
/// them have ended.
///
/// Works like [`std::thread::scope`], with goroutines for threads. The documentation there explains
/// the two lifetimes.
///
/// # Where it can be called
/// The stack that is borrowed from must stay where it is, so a scope can be opened on a plain
/// thread, in the main goroutine of [`run`](crate::run), and in a goroutine with a [stack of its
/// own](crate::Builder::own_stack). Other goroutines share their stacks, and are copied out while
/// they are parked. The children may be such goroutines; a child needs a stack of its own only if
/// it opens a scope itself ([`Builder::spawn_scoped`](crate::Builder::spawn_scoped)).
///
/// # Panics
/// If `f` panics, with its payload, after the children have ended. If a child panicked that was not
/// joined. If it is called in a goroutine on a shared stack, or inside
/// [`on_system_stack`](crate::stack::on_system_stack).
///
/// ```
/// narrowboat::run(|| {
///     let words = ["lock", "weir", "winding hole"];
///     let mut longest = 0;
///     let total = narrowboat::scope(|s| {
///         let lengths = words.each_ref().map(|word| s.spawn(move || word.len()));
///         s.spawn(|| longest = words.iter().map(|word| word.len()).max().unwrap());
///         lengths.into_iter().map(|length| length.join().unwrap()).sum::<usize>()
///     });
///     assert_eq!((total, longest), (20, 12));
/// });
/// ```
///
/// What a child borrows must outlive the scope; a variable of the closure itself does not:
///
/// ```compile_fail,E0373
/// narrowboat::scope(|s| {
///     let inside = 1;
///     s.spawn(|| println!("{inside}"));
/// });
/// ```
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    if processor::current_goroutine_is_copied() {
        panic!("{REFUSAL}");
    }
    park::assert_may_park();
    let scope = Scope { shared: Arc::new(Shared::new()), scope: PhantomData, env: PhantomData };
    let outcome = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    scope.shared.wait_for_children(Location::caller());
    match outcome {
        Err(payload) => resume_unwind(payload),
        Ok(_) if scope.shared.panicked.load(Ordering::Relaxed) != 0 => panic!("a scoped goroutine panicked"),
        Ok(value) => value,
    }
}

const REFUSAL: &str = "cannot open a scope here: this goroutine's stack is copied away while it is parked, so nothing \
    may borrow from it. Open the scope in a goroutine spawned with `Builder::new().own_stack(bytes).spawn(..)`, in \
    the main goroutine of `run`, or on a plain thread; or use `spawn` with what it needs moved into it, in an `Arc` or \
    through a channel";

/// Spawns goroutines that borrow; see [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    shared: Arc<Shared>,
    /// Invariant: if `'scope` could shrink, a child could spawn one that borrows from it and
    /// outlives it.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Starts a goroutine that may borrow whatever lives at least as long as the scope, and ends
    /// within it.
    ///
    /// Dropping the handle does not detach the goroutine from the scope.
    ///
    /// # Panics
    /// If the runtime cannot start (see [`Config::start`](crate::Config::start)).
    ///
    /// ```
    /// narrowboat::run(|| {
    ///     let mut numbers = vec![3, 1, 2];
    ///     narrowboat::scope(|s| {
    ///         s.spawn(|| numbers.sort());
    ///     });
    ///     assert_eq!(numbers, [1, 2, 3]);
    /// });
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        match self.launch(Origin::plain(Location::caller()), f) {
            Ok(handle) => handle,
            Err(e) => panic!("cannot spawn a goroutine: {e}"),
        }
    }

    fn launch<F, T>(&'scope self, origin: Origin, f: F) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let packet = Arc::new(Packet(Mutex::new(None)));
        let shared = self.shared.clone();
        let (child, theirs) = (Child::new(&self.shared), packet.clone());
        let f = MayDangle::new(f);
        let body = move || {
            // Dropped last, whatever happens below: step 3.
            let child = child;
            let outcome = catch_unwind(AssertUnwindSafe(|| f.into_inner()()));
            if outcome.is_err() {
                child.0.panicked.fetch_add(1, Ordering::Relaxed);
            }
            theirs.put(outcome);
            // If the handle was dropped, the outcome is dropped here, by destructors that may
            // panic, too. That panic's payload is forgotten, because dropping it might panic again.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(theirs))) {
                std::mem::forget(payload);
                child.0.panicked.fetch_add(1, Ordering::Relaxed);
            }
        };
        // SAFETY: the goroutine outlives `'scope` at most by what follows step 3 (see the top of
        // this file). By then the user's closure and, unless a handle has it, the outcome are gone,
        // and what remains (`child`'s box of counts, the goroutine's own record) borrows nothing.
        // `MayDangle` keeps the compiler from assuming that the captures stay valid until the
        // closure returns. `scope` does not return until `child` is dropped. Nothing else counts,
        // so a leaked body would keep the scope waiting for ever.
        let goroutine = unsafe { launch(origin, body)? };
        Ok(ScopedJoinHandle { goroutine, packet, shared, scope: PhantomData })
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("running", &self.shared.count.children())
            .field("panicked", &self.shared.panicked.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

/// Owns the right to wait for a scoped goroutine and to take its result.
///
/// Dropping it does not detach the goroutine from its scope, which still waits for it.
pub struct ScopedJoinHandle<'scope, T> {
    goroutine: JoinHandle<()>,
    packet: Arc<Packet<T>>,
    shared: Arc<Shared>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits for the goroutine to end and returns what it returned.
    ///
    /// A goroutine that waits here parks; a thread blocks.
    ///
    /// # Errors
    /// If the goroutine panicked, the panic's payload; [`scope`] then does not panic because of it.
    ///
    /// ```
    /// narrowboat::scope(|s| {
    ///     let handle = s.spawn(|| panic!("oh no"));
    ///     let payload = handle.join().unwrap_err();
    ///     assert_eq!(*payload.downcast::<&str>().unwrap(), "oh no");
    /// });
    /// ```
    #[track_caller]
    pub fn join(self) -> std::thread::Result<T> {
        let ScopedJoinHandle { goroutine, packet, shared, .. } = self;
        // A child's body catches the panics of its closure and of its outcome, so the goroutine
        // itself never panics.
        let _ = goroutine.join();
        let outcome = packet.take();
        if outcome.is_err() {
            shared.panicked.fetch_sub(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Whether the goroutine has ended, so that [`join`](ScopedJoinHandle::join) would not wait.
    ///
    /// ```
    /// narrowboat::scope(|s| {
    ///     let handle = s.spawn(|| ());
    ///     while !handle.is_finished() {
    ///         narrowboat::yield_now();
    ///     }
    /// });
    /// ```
    pub fn is_finished(&self) -> bool {
        self.goroutine.is_finished()
    }

    /// The goroutine's number.
    ///
    /// ```
    /// narrowboat::scope(|s| {
    ///     let (a, b) = (s.spawn(|| ()), s.spawn(|| ()));
    ///     assert_ne!(a.id(), b.id());
    /// });
    /// ```
    pub fn id(&self) -> GoroutineId {
        self.goroutine.id()
    }
}

impl<T> UnwindSafe for ScopedJoinHandle<'_, T> {}
impl<T> RefUnwindSafe for ScopedJoinHandle<'_, T> {}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").field("id", &self.id().0).finish_non_exhaustive()
    }
}

impl Builder {
    /// Starts a goroutine that may borrow, as [`Scope::spawn`] does, with this name or stack.
    ///
    /// # Errors
    /// If there is no memory for the goroutine's own stack, or the runtime cannot start.
    ///
    /// ```
    /// use narrowboat::{Builder, scope};
    ///
    /// let text = String::from("a child with a stack of its own may open a scope, too");
    /// let count = scope(|outer| {
    ///     let child = Builder::new().name("counter").own_stack(1 << 20).spawn_scoped(outer, || {
    ///         let (front, back) = text.split_at(text.len() / 2);
    ///         scope(|inner| {
    ///             let front = inner.spawn(|| front.matches('a').count());
    ///             front.join().unwrap() + back.matches('a').count()
    ///         })
    ///     })?;
    ///     Ok::<_, std::io::Error>(child.join().unwrap())
    /// })?;
    /// assert_eq!(count, text.matches('a').count());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn_scoped<'scope, 'env, F, T>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        scope.launch(self.origin(Location::caller())?, f)
    }
}

/// What a child leaves for its handle.
struct Packet<T>(Mutex<Option<std::thread::Result<T>>>);

impl<T> Packet<T> {
    fn put(&self, outcome: std::thread::Result<T>) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = Some(outcome);
    }

    fn take(&self) -> std::thread::Result<T> {
        let outcome = self.0.lock().unwrap_or_else(|e| e.into_inner()).take();
        outcome.expect("a child leaves its outcome before it ends, and it is taken once")
    }
}

/// What a scope and its children share.
struct Shared {
    count: Count,
    /// Children that have panicked and were not joined.
    panicked: AtomicUsize,
}

impl Shared {
    fn new() -> Shared {
        Shared { count: Count::new(), panicked: AtomicUsize::new(0) }
    }

    /// Step 4.
    fn wait_for_children(&self, at: &'static Location<'static>) {
        if self.count.is_owner_alone() {
            return;
        }
        // Children borrow from the frames that an unwinding would free.
        let no_unwinding = AbortOnDrop;
        let waiter = Waiter::begin(Reason::Scope, self as *const Shared as usize, at);
        if self.count.leave_as_owner(waiter.address()) {
            // SAFETY: the waiter has just begun, and the last child wakes it.
            unsafe { waiter.park(None) };
        }
        std::mem::forget(no_unwinding);
    }
}

/// A child's share of its scope: one in the count.
struct Child(Arc<Shared>);

impl Child {
    fn new(shared: &Arc<Shared>) -> Child {
        shared.count.enter();
        Child(shared.clone())
    }
}

impl Drop for Child {
    /// Steps 3 and 5.
    fn drop(&mut self) {
        if let Some(owner) = self.0.count.leave() {
            // SAFETY: the owner stored this before it left. It is parked, or about to be, until we
            // wake it, since we were the last.
            unsafe {
                let owner = Waiter::from_address(owner);
                let first = owner.try_end(Outcome(Outcome::FIRST));
                debug_assert!(first, "only the last child ends its owner's wait");
                owner.unpark();
            }
        }
    }
}

/// A closure with borrows that may end while a function that has it among its arguments still runs.
/// The compiler would assume that a bare closure stays valid until that function returns.
struct MayDangle<F>(MaybeUninit<F>);

impl<F> MayDangle<F> {
    fn new(f: F) -> MayDangle<F> {
        MayDangle(MaybeUninit::new(f))
    }

    fn into_inner(self) -> F {
        // SAFETY: initialised by `new`, and taken once: the destructor does not run.
        let f = unsafe { self.0.assume_init_read() };
        std::mem::forget(self);
        f
    }
}

impl<F> Drop for MayDangle<F> {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, and not taken, or this would not run.
        unsafe { self.0.assume_init_drop() };
    }
}

/// Ends the process if it is dropped, which only an unwinding does.
struct AbortOnDrop;

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        eprintln!("narrowboat: cannot wait for the goroutines of a scope, and cannot leave it without them");
        std::process::abort();
    }
}
