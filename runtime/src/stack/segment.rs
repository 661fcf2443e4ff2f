//! `grow`: a further piece of stack, linked to the one that the caller is on.
//!
//! The code for slots and images knows nothing of segments. What a goroutine switches to when it
//! parks is a word of its processor, `loop_sp`. While the goroutine runs in a segment, that word
//! leads to the frame of `grow` on the stack that it came from, and not to the processor's loop. So
//! a park inside a segment arrives on the goroutine's own slot, and there the frame of `grow` parks
//! once more, in the ordinary way ([`relay`]): the goroutine's `sp` is in its slot, its live bytes
//! are `[sp, base)` of the slot and may be copied out, and the segment stays where it is. When the
//! frame is resumed, it points the word to itself again and goes on in the segment. A segment
//! inside a segment relays to the one outside. A park outside of segments pays nothing, not even a
//! test; a park inside costs one more switch each way for every level.
//!
//! A segment belongs to the call of `grow` until it returns, however often the goroutine parks
//! meanwhile, and then to the [cache](super::cache) of the processor or thread.

use super::own::OwnStack;
use super::{Bounds, above, cache, foreign, overflow};
use crate::arch::sanitizers;
use crate::ours;
use crate::{arch, sys};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::{io, ptr, thread};

/// What the first frames of a segment and the caller's rounding may take of it, so that at least
/// the requested bytes are left.
const OVERHEAD: usize = 4096;

/// The link of a segment to the stack below it. It is in the frame of `grow`, so it is used only
/// while that frame is resident: by the goroutine itself, or by a handler that interrupts it.
pub(crate) struct Link {
    /// The segment that `grow` was called on, if it was one.
    outer: *const Link,
    bounds: Bounds,
    /// What `grow`'s stack parks to: the processor's loop, or the frame of the `grow` around it.
    /// Zero on a plain thread.
    loop_sp: usize,
    /// The stack pointer of `grow`'s frame while its segment runs.
    suspended: usize,
    /// Whether `grow` was called on a stack of the goroutine's, and not on a
    /// [foreign](super::foreign) one.
    on_own_stack: bool,
}

/// Replaces the link of the innermost segment that the calling code is on. Returns the old one.
fn replace_innermost(link: *const Link) -> *const Link {
    ours::with(|ours| ours.segment.replace(link.cast())).cast()
}

/// The link of the innermost segment that the calling code is on, or null.
#[inline]
fn innermost_link() -> *const Link {
    ours::with(|ours| ours.segment.get()).cast()
}

/// The bounds of the segment that the calling code is on. Async-signal-safe.
pub(crate) fn innermost() -> Option<Bounds> {
    // SAFETY: set only while the goroutine or thread that the link belongs to runs.
    unsafe { innermost_link().as_ref() }.map(|link| link.bounds)
}

/// Whether the calling code is in no segment.
#[inline]
pub(crate) fn is_outside() -> bool {
    innermost_link().is_null()
}

/// Whether an address in the frame of the calling code is in the innermost segment, and all stacks
/// that this one is linked to are the goroutine's. `None` outside of segments.
pub(super) fn is_chained(here: usize) -> Option<bool> {
    // SAFETY: as above.
    unsafe { innermost_link().as_ref() }.map(|link| link.on_own_stack && link.bounds.contain(here))
}

/// The segments of a goroutine that is on another stack for a while.
pub(super) struct SavedSegments(*const Link);

/// Notes that the calling code is on no segment: its goroutine is about to go to a stack that is
/// not a segment.
pub(super) fn leave_segments() -> SavedSegments {
    SavedSegments(replace_innermost(ptr::null()))
}

/// The reverse: the goroutine has returned.
pub(super) fn reenter_segments(segments: SavedSegments) {
    replace_innermost(segments.0);
}

/// Runs `f` on a further segment of stack with at least `bytes` bytes left, and returns its result.
///
/// For recursion that may go deeper than its stack. A goroutine's stack is large to begin with
/// ([`Config::max_stack`](crate::Config::max_stack)), and its pages cost nothing until they are
/// used. But a plain thread's is not, an [`own_stack`](crate::Builder::own_stack) is as large as
/// was asked for, and no limit chosen beforehand is right for every input. Ask for the next segment
/// before the present one is used up, at a point that every round of the recursion passes;
/// [`maybe_grow`](super::maybe_grow) does this.
///
/// `f` may borrow from the caller, block, panic (the panic goes on in the caller), and call `grow`
/// again. A goroutine may park inside: its segments are its own until `f` returns, and are never
/// copied. A park inside a segment costs some nanoseconds more for each segment it is in. A segment
/// has a guard below it; running into that is reported as the overflow of a segment.
///
/// When `f` has returned, the segment is kept for the next call from the same processor or thread,
/// so that a loop that needs one in each round pays for it once. At most four are kept, of 64 MiB
/// in all, and only as long as they are used every few seconds.
///
/// # Panics
/// If the system refuses the memory. If `f` does, with its payload.
///
/// ```
/// use narrowboat::stack;
///
/// /// The depth of nested brackets: the input decides how deep this goes.
/// fn depth(text: &mut std::str::Chars) -> usize {
///     let mut deepest = 0;
///     while let Some('[') = text.next() {
///         let inner = if stack::remaining().is_none_or(|left| left < 64 << 10) {
///             stack::grow(1 << 20, || depth(text))
///         } else {
///             depth(text)
///         };
///         deepest = deepest.max(inner + 1);
///     }
///     deepest
/// }
///
/// let text = "[".repeat(200_000) + &"]".repeat(200_000);
/// assert_eq!(depth(&mut text.chars()), 200_000);
/// ```
#[inline(never)]
pub fn grow<F, T>(bytes: usize, f: F) -> T
where
    F: FnOnce() -> T,
{
    let segment = match take(bytes) {
        Ok(segment) => segment,
        Err(e) => panic!("cannot grow the stack: {e}"),
    };
    let outcome = run(segment.bounds(), f);
    cache::keep(segment);
    outcome.unwrap_or_else(|payload| resume_unwind(payload))
}

/// Runs `f` right here if at least `red_zone` bytes of stack are [`remaining`](super::remaining),
/// else on a further segment ([`grow`](super::grow)) with at least `bytes` bytes.
///
/// The red zone must be enough for everything that `f` does until it passes here again: 64 KiB is a
/// good start, 32 KiB the minimum for code that may panic. Segments that are many times as large as
/// the red zone make growing rare.
///
/// # Panics
/// As [`grow`](super::grow).
///
/// ```
/// use narrowboat::stack;
///
/// fn ackermann(m: u64, n: u64) -> u64 {
///     stack::maybe_grow(64 << 10, 1 << 20, || match (m, n) {
///         (0, n) => n + 1,
///         (m, 0) => ackermann(m - 1, 1),
///         (m, n) => ackermann(m - 1, ackermann(m, n - 1)),
///     })
/// }
///
/// assert_eq!(ackermann(2, 3), 9);
/// ```
#[inline]
pub fn maybe_grow<F, T>(red_zone: usize, bytes: usize, f: F) -> T
where
    F: FnOnce() -> T,
{
    match super::remaining() {
        Some(left) if left >= red_zone => f(),
        _ => grow(bytes, f),
    }
}

#[inline]
fn take(bytes: usize) -> io::Result<OwnStack> {
    let bytes = bytes.saturating_add(OVERHEAD);
    match cache::take(bytes) {
        Some(segment) => Ok(segment),
        None => create(bytes),
    }
}

#[cold]
fn create(bytes: usize) -> io::Result<OwnStack> {
    // For an overflow of a segment on a plain thread, in a program that has not started the
    // runtime.
    sys::signals::handle_faults(overflow::report);
    OwnStack::new(bytes).or_else(|e| {
        // Under a limit, the missing memory may be in segments that other processors or threads
        // keep and do not use.
        if cache::trim(cache::Which::All) { OwnStack::new(bytes) } else { Err(e) }
    })
}

/// What `call_on` passes on. The link comes first, so that the relay finds it without knowing the
/// types.
#[repr(C)]
struct Call<F, T> {
    link: Link,
    f: ManuallyDrop<F>,
    outcome: MaybeUninit<thread::Result<T>>,
}

/// Calls `f` on the empty segment.
fn run<F: FnOnce() -> T, T>(bounds: Bounds, f: F) -> thread::Result<T> {
    let outer = innermost_link();
    let on_own_stack = foreign::is_on_own_stack(arch::stack_pointer());
    let link = Link { outer, bounds, loop_sp: 0, suspended: 0, on_own_stack };
    let mut call = Call { link, f: ManuallyDrop::new(f), outcome: MaybeUninit::uninit() };
    let at = &raw mut call;
    // Also right after a park inside, which returns to the same stack.
    let here = sanitizers::runs_on(bounds);
    // SAFETY: the segment is the caller's alone. `on_segment` and `relay` get the address of the
    // call, which stays in this frame until `call_on` returns. They catch panics. `f` is taken
    // once, and the outcome has been written when `call_on` returns.
    unsafe {
        arch::call_on(bounds.base, on_segment::<F, T>, at as usize, relay, &raw mut (*at).link.suspended);
        sanitizers::runs_on(here);
        call.outcome.assume_init()
    }
}

/// The first function of a segment.
///
/// # Safety
/// Called by `run` by way of `call_on`, with the address of its call.
unsafe extern "C" fn on_segment<F: FnOnce() -> T, T>(call: usize) {
    let call = call as *mut Call<F, T>;
    // SAFETY: by contract; no reference to the call is held while `f` runs.
    unsafe {
        enter(&raw mut (*call).link);
        let f = ManuallyDrop::take(&mut (*call).f);
        (*call).outcome.write(catch_unwind(AssertUnwindSafe(f)));
        leave(&raw mut (*call).link);
    }
}

/// Notes that the calling code is on the segment from now on: when it parks, it switches to the
/// frame of `grow`.
///
/// # Safety
/// The link is that of the calling goroutine or thread, and its frame is suspended.
unsafe fn enter(link: *mut Link) {
    // SAFETY: by contract.
    unsafe {
        if let Some(loop_sp) = above::way_out() {
            (*link).loop_sp = loop_sp.replace((*link).suspended);
        }
    }
    replace_innermost(link);
    // SAFETY: by contract.
    sanitizers::runs_on(unsafe { (*link).bounds });
}

/// The reverse of `enter`.
///
/// # Safety
/// As for `enter`; the link has been entered.
unsafe fn leave(link: *mut Link) {
    // SAFETY: by contract.
    unsafe {
        if !ptr::eq(innermost_link(), link) {
            return unlink_inner(link);
        }
        if let Some(loop_sp) = above::way_out() {
            loop_sp.set((*link).loop_sp);
        }
        replace_innermost((*link).outer);
    }
}

/// Leaves a segment that is not the innermost. This happens if a coroutine has called `grow` and
/// was suspended there, and then its resumer has called `grow`, too, and resumed the coroutine in
/// there.
///
/// # Safety
/// As for `leave`.
#[cold]
unsafe fn unlink_inner(link: *mut Link) {
    let mut inner = innermost_link().cast_mut();
    // SAFETY: all links of the chain belong to calls of this goroutine or thread that have not
    // returned.
    unsafe {
        while let Some(at) = inner.as_mut() {
            if ptr::eq(at.outer, link) {
                (at.outer, at.loop_sp) = ((*link).outer, (*link).loop_sp);
                return;
            }
            inner = at.outer.cast_mut();
        }
    }
    // A coroutine has been suspended inside of `on_system_stack`. To go on would leave a link to a
    // frame that no longer exists.
    eprintln!(
        "narrowboat: a coroutine has left stack::grow where the segment is not known: the process ends"
    );
    std::process::abort();
}

/// Runs where the frame of `grow` is, when the goroutine has parked in the segment: parks here,
/// too, and returns the stack pointer at which to go on in the segment.
///
/// # Safety
/// Called by `call_on` with the address of a call, on the stack that `grow` was called on.
unsafe extern "C" fn relay(call: usize) -> usize {
    let link = call as *mut Link;
    // SAFETY: the link comes first in the call, and is that of the running goroutine. A plain
    // thread never gets here, because it has no `way_out`.
    unsafe {
        leave(link);
        let in_segment = above::park_again();
        enter(link);
        in_segment
    }
}
