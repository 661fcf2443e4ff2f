//! What a debugger needs to find the goroutines of a process, or of a core file, by itself.
//!
//! Programs are mostly built without a description of their types, and the layout of Rust's own
//! types is only fixed for one compiler. So the offsets that matter are written here as numbers, in
//! this order, when the runtime starts. `tools/gdb/narrowboat.py` reads them; a change of the list
//! needs a change of [`VERSION`] and of that script.

use crate::park::Reason;
use crate::sched::record::Record;
use crate::sched::record::{origin, slab};
use crate::sched::{Runtime, processor};
use crate::stack::slots::Slots;
use std::mem::offset_of;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};

const VERSION: usize = 0x6e62_0002;
const WORDS: usize = 40;
/// An offset that could not be determined.
const UNKNOWN: usize = usize::MAX;

/// All zero until the runtime has started.
#[used]
static DEBUGGER_VIEW: [AtomicUsize; WORDS] = [const { AtomicUsize::new(0) }; WORDS];

/// Writes the list.
pub(crate) fn publish(runtime: &'static Runtime) {
    // The layout of types with private fields can still be found: a vector's words by their values,
    let probe: Vec<u64> = Vec::with_capacity(5);
    let vector = [word_with(&probe, probe.as_ptr().addr()), {
        let mut probe = probe;
        probe.extend([1, 2, 3]);
        word_with(&probe, 3)
    }];
    // and those of a source line.
    let here = Location::caller();
    let len = here.file().len();
    // Some compilers count a zero at the end.
    let len = word_with(here, len).or_else(|| word_with(here, len + 1));
    let line = [word_with(here, here.file().as_ptr().addr()), len, half_with(here, here.line())];
    let reasons: Vec<[usize; 2]> = Reason::ALL
        .iter()
        .map(|reason| {
            let words = reason.waits_for();
            [words.as_ptr().addr(), words.len()]
        })
        .collect();
    let reasons: &'static [[usize; 2]] = reasons.leak();
    let record = [
        offset_of!(Record, sp),
        offset_of!(Record, id),
        offset_of!(Record, origin),
        offset_of!(Record, image),
        offset_of!(Record, home),
        offset_of!(Record, reason),
        offset_of!(Record, waits_at),
        size_of::<Record>(),
    ];
    let parts: [&[usize]; 9] = [
        &[VERSION],
        &runtime.processors.debugger_location(),
        &processor::DEBUGGER_OFFSETS,
        &slab::DEBUGGER_OFFSETS,
        &record,
        &Slots::<Record>::DEBUGGER_OFFSETS,
        &origin::DEBUGGER_OFFSETS,
        &vector.map(|place| place.unwrap_or(UNKNOWN)),
        &line.map(|place| place.unwrap_or(UNKNOWN)),
    ];
    let words = parts.into_iter().flatten().copied().chain([reasons.as_ptr().addr(), reasons.len()]);
    for (to, word) in DEBUGGER_VIEW.iter().zip(words) {
        to.store(word, Ordering::Relaxed);
    }
}

/// The offset of the first word of `value` that equals `wanted`.
fn word_with<T>(value: &T, wanted: usize) -> Option<usize> {
    let words = std::ptr::from_ref(value).cast::<usize>();
    // SAFETY: reads as many words as the value has, all of them initialised: it is a vector or a
    // location, which have no padding between words.
    let found =
        (0..size_of::<T>() / size_of::<usize>()).find(|at| unsafe { words.add(*at).read() } == wanted);
    found.map(|at| at * size_of::<usize>())
}

/// The same for half a word.
fn half_with<T>(value: &T, wanted: u32) -> Option<usize> {
    let words = std::ptr::from_ref(value).cast::<u32>();
    let all = size_of::<T>() / size_of::<u32>();
    // The last one: the length of a file's name can be the same number, and comes before.
    // SAFETY: as above.
    let found = (0..all).rev().find(|at| unsafe { words.add(*at).read() } == wanted);
    found.map(|at| at * size_of::<u32>())
}
