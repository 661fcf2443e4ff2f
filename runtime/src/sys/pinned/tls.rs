//! Thread-locals of these systems: goroutines share those of their processor.
//!
//! To exchange them it would take the module's block, which is to be had (on macOS by the access
//! functions of the module's own descriptors), and the destructors: std registers one function per
//! thread here, with `_tlv_atexit` or a key of the C library's, which runs all of them and then
//! drops the thread's handle. So the end of a goroutine differs from that on Linux, and it has to
//! be seen running before it can be trusted.
#![allow(dead_code, reason = "there is no value of these types")]

use std::ops::Range;

/// The segment of the calling thread.
pub(crate) struct Segment {
    pub(crate) base: usize,
    pub(crate) len: usize,
    pub(crate) image: &'static [u8],
}

/// A named part of the segment.
pub(crate) struct Part {
    pub(crate) at: Range<usize>,
    pub(crate) name: String,
}

/// Why there is no segment.
pub(crate) const WHY_NONE: &str = "thread-locals are exchanged on Linux only";

impl Segment {
    pub(crate) fn containing(_address: usize) -> Option<Segment> {
        None
    }

    pub(crate) fn parts(&self) -> Option<Vec<Part>> {
        None
    }
}
