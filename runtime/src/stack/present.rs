//! Which stack the calling code is on, and how much of it is left.

use super::{Bounds, GUARD, above, segment, system};
use crate::ours;
use crate::{arch, sys};
use std::panic::Location;

/// How many bytes the calling code may still go down on the stack that it is on.
///
/// - In a goroutine, that is what is left of its slot
///   ([`Config::max_stack`](crate::Config::max_stack)) or of the stack of its own
///   ([`Builder::own_stack`](crate::Builder::own_stack)); these are bytes of address space, and
///   memory is taken as they are used.
/// - Inside [`grow`](super::grow), what is left of the segment, in a goroutine as on a plain
///   thread.
/// - On a plain thread and inside [`on_system_stack`](super::on_system_stack), what is left of the
///   thread's stack, as far as the C library knows its bounds. Of a main thread without a stack
///   limit that is the distance to whatever is mapped next.
///
/// `None` on any other stack: in a signal handler with a stack of its own, or in another library's
/// coroutine.
///
/// It costs a few nanoseconds, and some microseconds at the first call on a plain thread.
///
/// ```
/// use narrowboat::{Builder, stack};
///
/// let depth = Builder::new().own_stack(1 << 20).spawn(|| stack::remaining())?.join().unwrap();
/// assert!((900_000..1 << 20).contains(&depth.unwrap()));
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub fn remaining() -> Option<usize> {
    let here = arch::stack_pointer();
    let bounds = bounds()?;
    bounds.contain(here).then(|| here - bounds.limit)
}

fn bounds() -> Option<Bounds> {
    segment::innermost().or_else(above::home).or_else(native)
}

/// The bounds of the stack that the calling code is on, if it is a goroutine and not on the system
/// stack. On a foreign stack, those of its home. Async-signal-safe.
pub(crate) fn of_goroutine() -> Option<Bounds> {
    let home = above::home()?;
    let here = arch::stack_pointer();
    Some(segment::innermost().filter(|segment| segment.contain(here)).unwrap_or(home))
}

/// The bounds of the native stack that belongs to the present thread pointer.
pub(super) fn native() -> Option<Bounds> {
    known_native().or_else(|| {
        ours::with(|ours| ours.native_stack.set(sys::native_stack()));
        known_native()
    })
}

/// The same, if they have been asked for before. On a processor, those of its lender.
fn known_native() -> Option<Bounds> {
    ours::with(|ours| ours.native_stack.get())
}

/// What the calling code runs on, for a report.
pub(crate) struct Present {
    pub(crate) kind: Kind,
    pub(crate) bounds: Bounds,
    pub(crate) goroutine: Option<Named>,
}

/// The goroutine, as a report names it.
pub(crate) struct Named {
    pub(crate) id: u64,
    pub(crate) name: Option<&'static str>,
    pub(crate) spawned_at: &'static Location<'static>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A slot, or an own stack.
    Home,
    /// A segment of [`grow`](super::grow).
    Segment,
    /// A goroutine on the native stack of its processor's thread.
    System,
}

/// Which stack of the interrupted code has the address in its guard. `None` if it is a plain
/// thread's own, or a foreign one. Async-signal-safe.
pub(crate) fn overflowed(address: usize) -> Option<Present> {
    let segment = segment::innermost().map(|bounds| (Kind::Segment, bounds));
    // A coroutine may have been suspended in a segment, so the home is tried, too.
    let home = above::home().map(|bounds| (Kind::Home, bounds));
    // Code that gets there has asked for the bounds before.
    let system = || system::goroutine().and_then(|_| known_native()).map(|bounds| (Kind::System, bounds));
    let in_guard = |bounds: &Bounds| (bounds.limit - GUARD..bounds.limit).contains(&address);
    let mut stacks = segment.into_iter().chain(home.or_else(system));
    let (kind, bounds) = stacks.find(|(_, bounds)| in_guard(bounds))?;
    Some(Present { kind, bounds, goroutine: above::caller() })
}
