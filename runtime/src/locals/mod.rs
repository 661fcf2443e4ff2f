//! The thread-locals of a goroutine.
//!
//! A processor has one thread-local block, at one address: that of its lender. A goroutine owns
//! *bytes* in it. Between two goroutines the processor saves what the last one has changed and
//! restores what the next one had. Addresses never change, so a reference into a thread-local stays
//! valid across parks, as a pointer into the stack does.
//!
//! - `map` decides, once, which bytes of the block belong to goroutines; `probe` uses a thread to
//!   find out what cannot be read from the program's symbols.
//! - `resident` is a processor's part: which goroutine's bytes are in place, and the exchange.
//! - `private` is a goroutine's part: the bytes that differ from those of a new thread.
//! - `destructors` catches what std registers for the end of a thread, and runs it at the end of
//!   the goroutine.
//! - `absent` marks thread-locals as destroyed that code does better without.
//!
//! A goroutine that has touched no thread-local costs a comparison at each switch, and no memory.

mod absent;
pub(crate) mod destructors;
pub(crate) mod map;
pub(crate) mod private;
mod probe;
pub(crate) mod resident;

use crate::ours;
use crate::sys::tls::Segment;

/// The segment of this module, as the calling thread has it. `None` if the module has none of its
/// own, or the system does not say.
fn segment() -> Option<Segment> {
    // The block of a library that is loaded while the program runs exists on a thread after its
    // first use.
    ours::with(|ours| {
        std::hint::black_box(ours);
    });
    Segment::containing(segment as *const () as usize)
}
