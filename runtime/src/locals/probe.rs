//! Uses a thread to find out which bytes of the thread-local block change in steps that must not
//! affect a goroutine: an allocation, and a look into a queue of the scheduler. Also which change
//! when std makes the handle of a thread, and whether std calls the functions that replace libc's.
//!
//! The thread is the C library's, not std's, so that its block begins as the program's file says.

use super::absent::{self, Mark};
use super::destructors;
use crate::sys::tls::Segment;
use crate::{ours, sys};
use std::alloc::{Layout, alloc, dealloc};
use std::cell::Cell;
use std::hint::black_box;
use std::{io, ptr};

/// Whether calls of `syscall` reach the runtime's own.
pub(crate) type Catches = fn() -> bool;

/// The findings. Each vector has a flag for each byte of the block.
pub(super) struct Findings {
    pub(super) segment: Segment,
    /// The offset of the runtime's own struct.
    pub(super) ours: usize,
    /// Bytes that differ from the program's file on a thread that has at most allocated.
    pub(super) allocator: Vec<bool>,
    /// Changed by a look into a queue of the scheduler.
    pub(super) queue: Vec<bool>,
    /// Changed when std made the thread's handle.
    pub(super) handle: Vec<bool>,
    /// Whether a C++ runtime keeps a state of exceptions for each thread.
    pub(super) exceptions: bool,
    /// How a thread-local is marked that goroutines find destroyed.
    pub(super) absent: Option<Mark>,
    pub(super) catches_destructors: bool,
    pub(super) catches_waits: bool,
}

/// Runs the probe. `None` if the module has no thread-local segment of its own.
pub(super) fn run(waits: Catches) -> io::Result<Option<Findings>> {
    let found = sys::on_bare_thread(c"narrowboat-probe", 256 << 10, move || look(waits))?;
    Ok(found)
}

fn look(waits: Catches) -> Option<Findings> {
    let own = ours::with(|ours| ptr::from_ref(ours).addr());
    let segment = super::segment()?;
    let mut pristine = segment.image.to_vec();
    pristine.resize(segment.len, 0);
    let now = || {
        // SAFETY: the calling thread's block, which nothing else writes to.
        unsafe { std::slice::from_raw_parts(segment.base as *const u8, segment.len) }.to_vec()
    };
    let differ =
        |a: &[u8], b: &[u8]| -> Vec<bool> { a.iter().zip(b).map(|(a, b)| a != b).collect::<Vec<_>>() };
    allocate();
    let after_allocation = now();
    look_into_a_queue();
    let after_queue = now();
    drop(black_box(std::thread::current()));
    let after_handle = now();
    let absent = absent::probe(segment.base, now);
    let found = Findings {
        absent,
        ours: own - segment.base,
        allocator: differ(&pristine, &after_allocation),
        queue: differ(&after_allocation, &after_queue),
        handle: differ(&after_queue, &after_handle),
        exceptions: sys::exception_globals().is_some(),
        catches_destructors: catches_destructors(),
        catches_waits: waits(),
        segment,
    };
    Some(found)
}

/// Allocates small and large blocks, kept and freed ones.
fn allocate() {
    let mut kept = Vec::new();
    for size in (4..18).map(|power| 1usize << power) {
        let layout = Layout::from_size_align(size, 16).expect("a small power of two");
        for free in [true, false, true] {
            // SAFETY: the size is not zero; what is freed was just allocated so, and is not used.
            unsafe {
                let at = black_box(alloc(layout));
                if !at.is_null() {
                    at.write(1);
                    if free { dealloc(at, layout) } else { kept.push((at, layout)) }
                }
            }
        }
    }
    for (at, layout) in kept {
        // SAFETY: as above.
        unsafe { dealloc(at, layout) };
    }
}

/// Makes crossbeam-deque register the thread with its garbage collector.
fn look_into_a_queue() {
    let queue = crossbeam_deque::Worker::<u32>::new_fifo();
    let _ = black_box(queue.stealer().steal());
}

/// Whether std passes the destructors of thread-locals to the runtime's function.
fn catches_destructors() -> bool {
    struct Noisy(Cell<u8>);
    impl Drop for Noisy {
        fn drop(&mut self) {
            self.0.set(2);
        }
    }
    thread_local!(static NOISY: Noisy = const { Noisy(Cell::new(1)) });
    destructors::registered_by(|| NOISY.with(|noisy| noisy.0.set(black_box(3)))).is_some()
}
