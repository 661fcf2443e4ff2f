//! `on_system_stack`: a call on the native stack of the thread that a goroutine takes for its own.
//!
//! A processor's thread-locals are those of its lender, which sleeps for ever and has hardly used
//! its stack. Code of this processor is called on that stack, and not on the stack of the worker
//! that happens to carry the processor. So everything agrees: the goroutine keeps its
//! thread-locals, `thread::current()` and `pthread_self()` name the thread that owns this stack,
//! the bounds that the C library reports for it are right, and each stack keeps its one thread
//! pointer for life. (In pinned mode worker and lender are one thread, and the part of its stack
//! that its frames have left free is used.)
//!
//! There is one such stack for all goroutines of a processor, so no goroutine may park there. While
//! a goroutine is there, it is not its processor's `current` one. The check costs nothing: a wait
//! begins with a look at `current`, finds none although it is on a processor, and is refused
//! ([`crate::park`]).
//!
//! Another library's coroutine may leave `f` in the middle: it is suspended there, by a switch to
//! the goroutine's own stack. The goroutine then still cannot park, because it counts as being on
//! the system stack. It may end. From then on the stack is *held* by frames that belong to no
//! goroutine, and is refused to other goroutines. A goroutine that resumes the coroutine runs on it
//! as itself; when `f` ends, the stack is free again. (In pinned mode the worker would overwrite
//! these frames, so the process is aborted instead.)

use super::{Bounds, SMALLEST, above, present, segment};
use crate::arch::{self, sanitizers};
use crate::ours;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::thread;

/// Bytes left free below the frames of the sleeping lender: the C library's own two signals cannot
/// be blocked, and the kernel runs their handlers there.
const LENDERS_SHARE: usize = 32 << 10;

/// The goroutine that the calling code belongs to, if it is on the system stack. Async-signal-safe.
pub(crate) fn goroutine() -> Option<NonNull<()>> {
    ours::with(|ours| ours.on_system_stack.get())
}

/// Makes the calling code that of a goroutine which cannot park, as on the system stack, or ends
/// that.
pub(crate) fn set_goroutine(goroutine: Option<NonNull<()>>) {
    ours::with(|ours| ours.on_system_stack.set(goroutine));
}

/// Runs `f` on the native stack of the calling goroutine's thread, and returns its result.
///
/// For foreign code that requires the stack of its thread: code that keeps the bounds of its
/// threads in a table of its own, as some garbage collectors do, or scans these stacks. Code that
/// asks `pthread_getattr_np` where it is gets the goroutine's own stack (but not in a statically
/// linked program). Nothing else needs this. Calls into C cost nothing extra on a goroutine's own
/// stack, and that is much larger: the native stack has 1 MiB.
///
/// `f` is still the goroutine's code: thread-locals, `thread::current()` and
/// [`current()`](crate::current()) are the same as outside. It may borrow from the caller, panic
/// (the panic goes on in the caller), spawn goroutines, send what does not have to wait, and call
/// [`grow`](super::grow). It must not wait, because all goroutines of a processor share the stack:
/// what would park a goroutine panics, and [`yield_now`](crate::yield_now) yields only the thread.
/// A wait for one of std's locks blocks the processor, even if one of its goroutines holds the
/// lock.
///
/// In a call inside `f`, and on a plain thread, which is on its own stack already, it just calls
/// `f`.
///
/// # Panics
/// If `f` does, with its payload; and inside `f`, whatever call would have to wait. If the stack is
/// not free because a goroutine has ended inside such an `f`, which another library's coroutine has
/// left in the middle.
///
/// ```
/// use narrowboat::{spawn, stack};
///
/// let (outside, inside) = spawn(|| {
///     let outside = std::thread::current().id();
///     (outside, stack::on_system_stack(|| std::thread::current().id()))
/// })
/// .join()
/// .unwrap();
/// assert_eq!(outside, inside);
/// ```
#[inline(never)]
pub fn on_system_stack<F, T>(f: F) -> T
where
    F: FnOnce() -> T,
{
    // A goroutine that is already there is not the current one.
    let Some((goroutine, free)) = above::system_stack() else { return f() };
    assert!(
        !ours::with(|ours| ours.system_stack_held.get()),
        "the system stack of this processor cannot be used: a coroutine whose goroutine has ended is still suspended there, \
         inside stack::on_system_stack"
    );
    // So that a signal handler finds the bounds when it needs them.
    present::native();
    run(goroutine, free, f).unwrap_or_else(|payload| resume_unwind(payload))
}

/// Called when the calling goroutine ends and has left a suspended call on the system stack: keeps
/// the stack occupied. `shared` says whether a worker uses that stack between batches.
#[cold]
pub(crate) fn keep_occupied(shared: bool) {
    set_goroutine(None);
    if shared {
        eprintln!(
            "narrowboat: a goroutine has ended inside stack::on_system_stack, in a coroutine that is still suspended there"
        );
        std::process::abort();
    }
    ours::with(|ours| ours.system_stack_held.set(true));
}

struct Call<F, T> {
    f: ManuallyDrop<F>,
    outcome: MaybeUninit<thread::Result<T>>,
}

fn run<F: FnOnce() -> T, T>(goroutine: NonNull<()>, free: usize, f: F) -> thread::Result<T> {
    let mut call = Call { f: ManuallyDrop::new(f), outcome: MaybeUninit::uninit() };
    let at = &raw mut call;
    let mut suspended = 0;
    let segments = segment::leave_segments();
    set_goroutine(Some(goroutine));
    // SAFETY: the stack below `base` is free: its thread is suspended, or sleeps, further up, and
    // no other goroutine of the processor runs before we return, because nothing parks there. Its
    // thread pointer is the present one. `on_native_stack` gets the address of the call, takes `f`
    // once, catches panics and writes the outcome.
    unsafe {
        let base = (free - LENDERS_SHARE) & !15;
        above::set_current(None);
        // Only the upper end matters.
        let left = sanitizers::runs_on(Bounds { base, limit: base - SMALLEST });
        arch::call_on(base, on_native_stack::<F, T>, at as usize, never, &mut suspended);
        sanitizers::runs_on(left);
        if ours::with(|ours| ours.system_stack_held.replace(false)) {
            // Our goroutine has ended. The goroutine that has resumed us is the current one, on its
            // own segments.
        } else {
            above::set_current(Some(goroutine));
            segment::reenter_segments(segments);
            set_goroutine(None);
        }
        call.outcome.assume_init()
    }
}

/// # Safety
/// Called by `run` by way of `call_on`, with the address of its call.
unsafe extern "C" fn on_native_stack<F: FnOnce() -> T, T>(call: usize) {
    let call = call as *mut Call<F, T>;
    // SAFETY: by contract; no reference to the call is held while `f` runs.
    unsafe {
        let f = ManuallyDrop::take(&mut (*call).f);
        (*call).outcome.write(catch_unwind(AssertUnwindSafe(f)));
    }
}

/// The relay of a call that is never left before it ends.
unsafe extern "C" fn never(_: usize) -> usize {
    unreachable!("nothing parks on the system stack")
}
