//! The runtime's own thread-locals, in one struct.
//!
//! They describe a *processor* or a plain thread, so they stay in place when goroutines take turns:
//! [`crate::locals::map`] excludes this struct from the exchange. None has a destructor, so each can be
//! read at any time, even in a signal handler and in the last destructors of a thread. One guard,
//! [`END`], does what is needed at the end of a plain thread.
//!
//! This is below all that it is about, so it holds addresses without types. For each one module says
//! what stands there, and is the only one to read and write it.

use crate::arch::Bounds;
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// The runtime's own thread-locals.
#[repr(align(16))]
pub(crate) struct Ours {
    /// The processor that has these thread-locals. In pinned mode the thread is also its worker,
    /// and this is set only while it carries the processor.
    pub(crate) processor: Cell<*const ()>,
    /// How many sections are open in which a wait must block the thread: see [`crate::lock`].
    pub(crate) native: Cell<u32>,
    /// Whether this is a thread of the pool of `blocking`.
    pub(crate) of_the_pool: Cell<bool>,
    /// The worker, if this thread runs a worker's own code.
    pub(crate) worker: Cell<*const ()>,
    /// The goroutine of this processor that is on the system stack.
    pub(crate) on_system_stack: Cell<Option<NonNull<()>>>,
    /// The calling code is the waker of an async task.
    pub(crate) in_waker: Cell<bool>,
    /// The system stack is held by a call of a goroutine that has ended.
    pub(crate) system_stack_held: Cell<bool>,
    /// The link of the innermost segment that the running goroutine, or the thread, is on; null
    /// outside of segments.
    pub(crate) segment: Cell<*const ()>,
    /// The bounds of the thread's native stack, once they have been asked for.
    pub(crate) native_stack: Cell<Option<Bounds>>,
    /// The thread's record as a waiter.
    #[cfg(not(loom))]
    pub(crate) waiter: Cell<*const ()>,
    /// The goroutine-local values of a plain thread.
    pub(crate) values: Cell<*mut ()>,
    /// The kept stack segments.
    pub(crate) shelf: Cell<*const ()>,
    /// The kernel's id and the name of the thread, for a trace.
    pub(crate) label: Cell<(i32, [u64; 2])>,
    /// The state of a small random generator, 0 until its first use.
    pub(crate) random: Cell<u64>,
    /// The last destructor that was registered here.
    pub(crate) registered: Cell<Option<Destructor>>,
}

thread_local! {
    static OURS: Ours = const {
        Ours {
            processor: Cell::new(ptr::null()),
            native: Cell::new(0),
            of_the_pool: Cell::new(false),
            worker: Cell::new(ptr::null()),
            on_system_stack: Cell::new(None),
            in_waker: Cell::new(false),
            system_stack_held: Cell::new(false),
            segment: Cell::new(ptr::null()),
            native_stack: Cell::new(None),
            #[cfg(not(loom))]
            waiter: Cell::new(ptr::null()),
            values: Cell::new(ptr::null_mut()),
            shelf: Cell::new(ptr::null()),
            label: Cell::new((0, [0; 2])),
            random: Cell::new(0),
            registered: Cell::new(None),
        }
    };

    static END: End = const { End([const { Cell::new(None) }; 3]) };
}

/// Calls `f` with the struct of the calling thread, or of its processor.
#[inline(always)]
pub(crate) fn with<R>(f: impl FnOnce(&Ours) -> R) -> R {
    OURS.with(f)
}

/// What is to be done when a plain thread ends, in this order: first what may call the program's
/// code.
#[derive(Clone, Copy)]
pub(crate) enum AtEnd {
    DropValues,
    FreeSegments,
    FreeWaiter,
}

type Action = Cell<Option<fn()>>;

/// Runs when a plain thread ends. The lender of a processor never ends.
struct End([Action; 3]);

impl Drop for End {
    fn drop(&mut self) {
        self.0.iter().filter_map(Cell::get).for_each(|f| f());
    }
}

/// Makes sure that `f` runs when the calling thread, which is a plain one, ends. False if that is
/// too late: the thread is in its last destructors.
pub(crate) fn guard_thread(step: AtEnd, f: fn()) -> bool {
    END.try_with(|end| end.0[step as usize].set(Some(f))).is_ok()
}

/// A destructor that std has registered, as libc takes it.
#[derive(Clone, Copy)]
pub(crate) struct Destructor {
    pub(crate) run: unsafe extern "C" fn(*mut libc::c_void),
    pub(crate) object: *mut libc::c_void,
}
