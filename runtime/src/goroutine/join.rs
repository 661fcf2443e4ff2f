//! The handle of a spawned goroutine.

use crate::park::{self, TaskWait};
use crate::sched::record::failure::Panic;
use crate::sched::record::id::GoroutineId;
use crate::sched::record::task::TaskPtr;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Owns the right to wait for a goroutine and to take its result.
///
/// Like std's handle, but for goroutines and threads alike. Dropping it lets the goroutine run on
/// by itself; its result is then dropped when it ends.
///
/// ```
/// let handle = narrowboat::spawn(|| 6 * 7);
/// assert_eq!(handle.join().unwrap(), 42);
/// ```
pub struct JoinHandle<T> {
    task: TaskPtr,
    result: PhantomData<T>,
}

// SAFETY: the handle gives access to the result (a `T: Send`, by the bound of `spawn`) only by
// value, and what it shares with the running goroutine is the join word.
unsafe impl<T> Send for JoinHandle<T> {}
// SAFETY: through a shared reference only the join word and constants of the header are read.
unsafe impl<T> Sync for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    /// `T` is the task's type, and this is its one handle.
    pub(crate) unsafe fn new(task: TaskPtr) -> JoinHandle<T> {
        JoinHandle { task, result: PhantomData }
    }

    /// Waits for the goroutine to end and returns what it returned.
    ///
    /// A goroutine that waits here parks; a thread blocks.
    ///
    /// # Errors
    /// If the goroutine panicked, the panic's payload.
    ///
    /// ```
    /// let handle = narrowboat::spawn(|| panic!("oh no"));
    /// let payload = handle.join().unwrap_err();
    /// assert_eq!(*payload.downcast::<&str>().unwrap(), "oh no");
    /// ```
    #[track_caller]
    pub fn join(self) -> std::thread::Result<T> {
        self.wait(Location::caller()).map_err(Panic::into_payload)
    }

    /// As [`join`](JoinHandle::join), but a panic comes with the goroutine's own trace.
    ///
    /// # Errors
    /// If the goroutine panicked: its [`Panic`], which says which goroutine it was, where it
    /// panicked and with what message, and has the payload; and the backtrace if `RUST_BACKTRACE`
    /// (or `RUST_LIB_BACKTRACE`) asks for backtraces.
    ///
    /// ```
    /// use narrowboat::Builder;
    ///
    /// let handle = Builder::new().name("parser").spawn(|| -> u32 { panic!("line 7 is empty") })?;
    /// let panic = handle.join_with_trace().unwrap_err();
    /// assert_eq!((panic.goroutine_name(), panic.message()), (Some("parser"), Some("line 7 is empty")));
    /// println!("{panic}");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn join_with_trace(self) -> Result<T, Panic> {
        self.wait(Location::caller())
    }

    fn wait(self, at: &'static Location<'static>) -> Result<T, Panic> {
        if !self.is_finished() {
            park::assert_may_park();
        }
        let task = self.task;
        mem::forget(self);
        // SAFETY: the forgotten handle was the task's one handle, and had its type.
        unsafe { task.join(at) }
    }

    /// Whether the goroutine has ended, so that [`join`](JoinHandle::join) would not wait.
    ///
    /// ```
    /// let handle = narrowboat::spawn(|| ());
    /// while !handle.is_finished() {
    ///     narrowboat::yield_now();
    /// }
    /// ```
    pub fn is_finished(&self) -> bool {
        park::checkpoint();
        // SAFETY: this handle still owns its share of the task.
        unsafe { self.task.is_finished() }
    }

    /// The goroutine's number.
    ///
    /// ```
    /// let (a, b) = (narrowboat::spawn(|| ()), narrowboat::spawn(|| ()));
    /// assert_ne!(a.id(), b.id());
    /// ```
    pub fn id(&self) -> GoroutineId {
        // SAFETY: this handle still owns its share of the task.
        GoroutineId(unsafe { self.task.header() }.id)
    }
}

/// Waits for the goroutine in an async task: `handle.await`.
///
/// ```
/// use narrowboat::future::block_on;
///
/// // In a task of tokio as here.
/// let answer = block_on(async { narrowboat::spawn(|| 6 * 7).await });
/// assert_eq!(answer.unwrap(), 42);
/// ```
impl<T> IntoFuture for JoinHandle<T> {
    type Output = std::thread::Result<T>;
    type IntoFuture = JoinFuture<T>;

    fn into_future(self) -> JoinFuture<T> {
        JoinFuture { handle: Some(self), wait: None }
    }
}

/// The future of a [`JoinHandle`]: ready with the goroutine's result when it has ended, as
/// [`join`](JoinHandle::join) returns it. Dropping it lets the goroutine run on by itself.
///
/// ```
/// use narrowboat::future::FutureExt;
///
/// assert_eq!(narrowboat::spawn(|| "done").wait().unwrap(), "done");
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct JoinFuture<T> {
    /// `None` when the result was returned.
    handle: Option<JoinHandle<T>>,
    wait: Option<TaskWait>,
}

impl<T> Future for JoinFuture<T> {
    type Output = std::thread::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::thread::Result<T>> {
        let this = &mut *self;
        let task = this.handle.as_ref().expect("a future is not polled after its end").task;
        // SAFETY: the handle is the task's one handle and has its type. It is forgotten when the
        // task was joined. The wait is that of this future.
        let result = std::task::ready!(unsafe { task.poll_join(&mut this.wait, cx) });
        mem::forget(this.handle.take());
        Poll::Ready(result.map_err(Panic::into_payload))
    }
}

// The result is moved out, and never pinned.
impl<T> Unpin for JoinFuture<T> {}

impl<T> Drop for JoinFuture<T> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            let task = handle.task;
            mem::forget(handle);
            // SAFETY: the forgotten handle was the task's one handle; the wait is its own.
            unsafe { task.detach_polled(self.wait.take()) }
        }
    }
}

impl<T> fmt::Debug for JoinFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("JoinFuture { .. }")
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        // SAFETY: the handle ends here, without a join.
        unsafe { self.task.detach() }
    }
}

impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("id", &self.id().0).finish_non_exhaustive()
    }
}
