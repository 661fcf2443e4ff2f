//! How programs start goroutines.

use super::join::JoinHandle;
use super::labels;
use crate::sched::record::failure::Panic;
use crate::sched::record::labels::LabelCell;
use crate::sched::record::origin::{Extras, Origin};
use crate::sched::record::task::TaskPtr;
use crate::sched::{Destination, above, trace};
use crate::stack::own::OwnStack;
use crate::{sched, sys};
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;

/// Starts a goroutine that runs `f`.
///
/// It runs concurrently with its spawner and costs a few hundred bytes while it is parked. It has
/// thread-locals of its own, and values that are not `Send` may live in it across any blocking
/// call.
///
/// # Panics
/// If the runtime cannot start (see [`Config::start`](crate::Config::start)).
///
/// ```
/// let handle = narrowboat::spawn(|| "hello".len());
/// assert_eq!(handle.join().unwrap(), 5);
/// ```
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let origin = Origin::plain(Location::caller());
    // SAFETY: closure and result are `'static`.
    match unsafe { launch(origin, f) } {
        Ok(handle) => handle,
        Err(e) => panic!("cannot spawn a goroutine: {e}"),
    }
}

/// Runs `f` as the main goroutine and returns what it returns.
///
/// The main goroutine has a stack of its own, so scoped threads may borrow from it. Goroutines that
/// still run when it returns keep running, as in Go; they end when the process exits.
///
/// # Panics
/// If `f` panics, with its payload. If the runtime cannot start.
///
/// ```
/// let sum = narrowboat::run(|| {
///     let parts: Vec<_> = (0..10).map(|n| narrowboat::spawn(move || n * n)).collect();
///     parts.into_iter().map(|part| part.join().unwrap()).sum::<i32>()
/// });
/// assert_eq!(sum, 285);
/// ```
#[track_caller]
pub fn run<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // Not in a closure: the spawn site would be a line of its own.
    let main = match sched::config::main_stack() {
        Ok(size) => Builder::new().name("main").own_stack(size).spawn(f),
        Err(e) => Err(e),
    };
    match main {
        Ok(handle) => {
            let outcome = handle.join_with_trace();
            above::flush_trace();
            outcome.unwrap_or_else(|panic| pass_on(panic))
        }
        Err(e) => panic!("cannot start the main goroutine: {e}"),
    }
}

/// Passes the main goroutine's panic on to the caller of `run`.
#[cold]
fn pass_on(panic: Panic) -> ! {
    // A test harness shows what the thread of a test prints, with that test. The goroutine's own
    // report went to the standard error stream, which is enough for a program.
    if !sys::is_main_thread() {
        // A closed stream is no reason to fail.
        let _ = catch_unwind(AssertUnwindSafe(|| eprintln!("{panic}")));
    }
    resume_unwind(panic.into_payload())
}

/// Spawns goroutines with a name or a stack of their own. Those that borrow are spawned with
/// [`spawn_scoped`](Builder::spawn_scoped).
///
/// ```
/// let handle = narrowboat::Builder::new()
///     .name("parser")
///     .own_stack(4 << 20)
///     .spawn(|| narrowboat::current().unwrap().name().map(str::to_owned))?;
/// assert_eq!(handle.join().unwrap().as_deref(), Some("parser"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default, Clone)]
#[must_use = "a builder does nothing until `spawn` is called"]
pub struct Builder {
    name: Option<Arc<str>>,
    own_stack: Option<usize>,
}

impl Builder {
    /// A builder without a name, for a goroutine on a shared stack slot.
    ///
    /// ```
    /// let builder = narrowboat::Builder::new();
    /// assert_eq!(builder.spawn(|| 1).unwrap().join().unwrap(), 1);
    /// ```
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names the goroutine in panic messages and diagnostics.
    ///
    /// ```
    /// let builder = narrowboat::Builder::new().name("accept loop");
    /// # builder.spawn(|| ()).unwrap().join().unwrap();
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into().into());
        self
    }

    /// Gives the goroutine a stack of at least `bytes` bytes that it shares with no other goroutine
    /// and that is never copied.
    ///
    /// Code that lets other threads or goroutines point into its stack while it parks needs this: a
    /// [`scope`](crate::scope()), for example, or `std::thread::scope` around a blocking Narrowboat
    /// call. So does a goroutine that parks with large arrays on its stack and would be copied too
    /// often.
    ///
    /// ```
    /// let handle = narrowboat::Builder::new().own_stack(1 << 20).spawn(|| {
    ///     let mut halves = [[1; 500], [2; 500]];
    ///     narrowboat::scope(|s| {
    ///         for half in &mut halves {
    ///             s.spawn(|| half.iter_mut().for_each(|n| *n *= 10));
    ///         }
    ///     });
    ///     halves.as_flattened().iter().sum::<i32>()
    /// })?;
    /// assert_eq!(handle.join().unwrap(), 15_000);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// ```
    /// let handle = narrowboat::Builder::new().own_stack(1 << 20).spawn(|| {
    ///     let mut total = 0;
    ///     std::thread::scope(|s| {
    ///         s.spawn(|| total += 1);
    ///         narrowboat::yield_now();
    ///     });
    ///     total
    /// })?;
    /// assert_eq!(handle.join().unwrap(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn own_stack(mut self, bytes: usize) -> Builder {
        self.own_stack = Some(bytes);
        self
    }

    /// Starts a goroutine that runs `f`.
    ///
    /// # Errors
    /// If there is no memory for the goroutine's own stack, or the runtime cannot start.
    ///
    /// ```
    /// let handle = narrowboat::Builder::new().spawn(|| 3)?;
    /// assert_eq!(handle.join().unwrap(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let origin = self.origin(Location::caller())?;
        // SAFETY: closure and result are `'static`.
        unsafe { launch(origin, f) }
    }

    /// The origin of a goroutine that is spawned with this builder.
    pub(super) fn origin(self, spawned_at: &'static Location<'static>) -> io::Result<Origin> {
        let own_stack = self.own_stack.map(OwnStack::take).transpose()?;
        let labels = LabelCell::default();
        Ok(Origin::with(Extras { spawned_at, name: self.name, own_stack, labels, late: None }))
    }
}

/// Starts a goroutine.
///
/// # Safety
/// What the closure borrows outlives its run, and what the result borrows outlives the handle and,
/// if that is dropped first, the goroutine.
#[inline]
pub(super) unsafe fn launch<F, T>(origin: Origin, f: F) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let destination = sched::choose_destination(origin.spawned_at())?;
    let id = destination.next_goroutine_id();
    // SAFETY: by contract.
    Ok(unsafe { launch_to(destination, id, origin, f) })
}

/// Starts a goroutine with this number there.
///
/// # Safety
/// As for [`launch`]. No other goroutine has the number.
#[inline(always)]
pub(crate) unsafe fn launch_to<F, T>(
    destination: Destination,
    id: u64,
    mut origin: Origin,
    f: F,
) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    if let Some(labels) = labels::inherited() {
        origin.inherit(labels);
    }
    if trace::on() {
        trace::spawns(id, origin.spawned_at(), destination.processor());
    }
    // SAFETY: the types are the task's own, by contract what they borrow lives long enough, and the
    // task is new, so this is its one handle.
    let (task, handle) = unsafe {
        let task = TaskPtr::new(id, origin, f);
        (task, JoinHandle::new(task))
    };
    destination.put(task);
    handle
}

/// Starts a goroutine: `go!(move || work())` runs a closure, `go!(f(a, b))` a call.
///
/// In the call form the arguments are evaluated here, in order, and the call is made there, as in
/// Go. A method call works too, with its receiver evaluated here. Both forms give a [`JoinHandle`].
///
/// ```
/// use narrowboat::go;
///
/// fn add(a: i32, b: i32) -> i32 { a + b }
///
/// let closure = go!(|| add(1, 2));
/// let call = go!(add(3, 4));
/// assert_eq!(closure.join().unwrap() + call.join().unwrap(), 10);
/// ```
///
/// What such a goroutine uses must be its own (`'static`): moved into it, or shared through an
/// `Arc` or a channel. A goroutine that borrows from its spawner belongs to a
/// [scope](crate::scope()), which waits for it:
///
/// ```
/// use narrowboat::{run, scope};
///
/// run(|| {
///     let hello = String::from("hello");
///     let len = scope(|s| s.spawn(|| hello.len()).join().unwrap());
///     assert_eq!(len, 5);
/// });
/// ```
#[macro_export]
macro_rules! go {
    // A call of a path: the arguments are bound one by one, then moved into the closure.
    ($f:ident $(:: $rest:ident)* ( $($args:tt)* )) => {
        $crate::go!(@bind [$f $(:: $rest)*] [] $($args)*)
    };
    // A call of a method of a variable.
    ($receiver:ident . $method:ident ( $($args:tt)* )) => {
        $crate::go!(@bind [$receiver . $method] [] $($args)*)
    };
    (@bind [$($call:tt)*] [$($bound:ident)*] $arg:expr, $($rest:tt)*) => {{
        let arg = $arg;
        $crate::go!(@bind [$($call)*] [$($bound)* arg] $($rest)*)
    }};
    (@bind [$($call:tt)*] [$($bound:ident)*] $arg:expr) => {{
        let arg = $arg;
        $crate::go!(@bind [$($call)*] [$($bound)* arg])
    }};
    (@bind [$($call:tt)*] [$($bound:ident)*]) => {
        $crate::spawn(move || $($call)* ( $($bound),* ))
    };
    ($closure:expr) => {
        $crate::spawn($closure)
    };
}
