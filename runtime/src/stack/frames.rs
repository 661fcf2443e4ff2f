//! The frames of a stack that has overflowed: the innermost ones and the outermost ones of what may
//! be millions.
//!
//! They are kept in static atomics, so that the code that finishes a report after a fault finds
//! them.

use crate::clock;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many of the innermost frames are kept, and how many of the outermost.
pub(super) const INNERMOST: usize = 32;
const OUTERMOST: usize = 16;

/// The clock is read once in this many frames.
const CLOCK_EVERY: usize = 256;

pub(super) struct Frames {
    innermost: [AtomicUsize; INNERMOST],
    /// A ring.
    outermost: [AtomicUsize; OUTERMOST],
    found: AtomicUsize,
}

pub(super) static FRAMES: Frames = Frames {
    innermost: [const { AtomicUsize::new(0) }; INNERMOST],
    outermost: [const { AtomicUsize::new(0) }; OUTERMOST],
    found: AtomicUsize::new(0),
};

// Part of the unwinder that every Rust program is linked with.
unsafe extern "C" {
    fn _Unwind_Backtrace(visit: extern "C" fn(*mut c_void, *mut c_void) -> c_int, data: *mut c_void)
    -> c_int;
    fn _Unwind_GetIP(frame: *mut c_void) -> usize;
}

const GO_ON: c_int = 0;
const STOP: c_int = 4;

struct Walk<'a> {
    /// The frame to begin with; those before it are the handler's. Zero once it has been seen.
    begin: usize,
    each: &'a mut dyn FnMut(usize) -> bool,
}

/// Walks from the calling handler to the interrupted function, at `begin`, and calls `each` with
/// every frame from there to the end of the stack, or until it returns false. If the unwinder does
/// not get past the handler, only the interrupted function is passed to `each`. False in that case.
pub(crate) fn walk(begin: usize, each: &mut dyn FnMut(usize) -> bool) -> bool {
    let mut walk = Walk { begin, each };
    // SAFETY: `visit` gets the address of the walk, and does not unwind.
    unsafe { _Unwind_Backtrace(visit, (&raw mut walk).cast()) };
    let got_past = walk.begin == 0;
    if !got_past {
        (walk.each)(begin);
    }
    got_past
}

impl Frames {
    /// Walks from the calling handler to the interrupted function, at `begin`, and on to the end of
    /// the stack; not longer than `until`. Returns whether it got there.
    pub(super) fn walk(&self, begin: usize, until: u64) -> bool {
        let mut in_time = true;
        let got_past = walk(begin, &mut |ip| {
            self.add(ip);
            in_time = !self.found().is_multiple_of(CLOCK_EVERY) || clock::now() <= until;
            in_time
        });
        got_past && in_time
    }

    fn add(&self, ip: usize) {
        let index = self.found.load(Ordering::Relaxed);
        self.place(index).store(ip, Ordering::Relaxed);
        self.found.store(index + 1, Ordering::Relaxed);
    }

    fn place(&self, index: usize) -> &AtomicUsize {
        self.innermost.get(index).unwrap_or(&self.outermost[index % OUTERMOST])
    }

    pub(super) fn found(&self) -> usize {
        self.found.load(Ordering::Relaxed)
    }

    /// The number of the first of the outermost frames that are kept.
    pub(super) fn first_outer(&self) -> usize {
        self.found().saturating_sub(OUTERMOST).max(INNERMOST)
    }

    /// The numbers of the frames that are kept.
    pub(super) fn kept(&self) -> impl Iterator<Item = usize> {
        (0..self.found().min(INNERMOST)).chain(self.first_outer()..self.found())
    }

    pub(super) fn get(&self, index: usize) -> usize {
        self.place(index).load(Ordering::Relaxed)
    }
}

extern "C" fn visit(frame: *mut c_void, walk: *mut c_void) -> c_int {
    // SAFETY: `walk` passed its own; the unwinder passes a frame.
    let (walk, ip) = unsafe { (&mut *walk.cast::<Walk<'_>>(), _Unwind_GetIP(frame)) };
    if walk.begin == ip {
        walk.begin = 0;
    }
    if walk.begin == 0 && ip != 0 && !(walk.each)(ip) { STOP } else { GO_ON }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_first_and_the_last() {
        let frames = Frames {
            innermost: [const { AtomicUsize::new(0) }; INNERMOST],
            outermost: [const { AtomicUsize::new(0) }; OUTERMOST],
            found: AtomicUsize::new(0),
        };
        for count in 1..=100 {
            frames.add(count * 10);
            let kept: Vec<_> = frames.kept().map(|index| (index, frames.get(index))).collect();
            let wanted = (0..count).filter(|&index| index < INNERMOST || index + OUTERMOST >= count);
            assert_eq!(kept, wanted.map(|index| (index, (index + 1) * 10)).collect::<Vec<_>>());
        }
    }
}
