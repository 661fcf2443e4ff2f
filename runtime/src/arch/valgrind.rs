//! Tells valgrind about stacks, so that it sees a switch as a switch and not as an enormous frame.
//!
//! A request is a sequence of instructions that does nothing on a CPU and that valgrind recognises.
//! Outside of valgrind it costs a few cycles. Requests are only made where a stack is created or
//! freed, or where valgrind is known to be there.
//!
//! Memcheck treats everything below a stack pointer as freed. In a slot the stack pointer rises
//! with one goroutine, and the next one's bytes are copied to below it: so they have to be
//! announced.

use super::valgrind_request as request;
use std::sync::atomic::{AtomicBool, Ordering};

const RUNNING_ON_VALGRIND: usize = 0x1001;
const STACK_REGISTER: usize = 0x1501;
const STACK_DEREGISTER: usize = 0x1502;
/// Memcheck's own requests begin with its initials.
const MAKE_MEM_UNDEFINED: usize = 0x4d43_0001;

static PRESENT: AtomicBool = AtomicBool::new(false);

/// A stack that valgrind knows of, until this is dropped.
pub(crate) struct Registered(usize);

impl Registered {
    /// Registers `[limit, base)`. An empty stack's pointer is `base`, so for valgrind that address
    /// belongs to the stack.
    pub(crate) fn new(limit: usize, base: usize) -> Registered {
        Registered(request(STACK_REGISTER, limit, base))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        request(STACK_DEREGISTER, self.0, 0);
    }
}

/// Finds out whether valgrind is there. Called when the runtime starts.
pub(crate) fn look() {
    PRESENT.store(is_there(), Ordering::Relaxed);
}

/// Whether the program runs under valgrind.
pub(crate) fn is_there() -> bool {
    request(RUNNING_ON_VALGRIND, 0, 0) != 0
}

/// Says that `[low, high)` of a slot is about to be written. A load and a branch where there is no
/// valgrind.
#[inline(always)]
pub(crate) fn will_be_written(low: usize, high: usize) {
    if PRESENT.load(Ordering::Relaxed) {
        request(MAKE_MEM_UNDEFINED, low, high - low);
    }
}
