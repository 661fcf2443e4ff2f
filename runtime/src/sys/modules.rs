//! The unwind tables of the program and of the libraries that are loaded.

pub(crate) use super::system::all_modules as all;
use std::ops::Range;

/// One file of the program: itself, or a library.
#[derive(Debug)]
#[doc(hidden)]
pub struct Module {
    /// Where its code is.
    pub code: Vec<Range<u64>>,
    /// Where its section `.eh_frame_hdr` is.
    pub table_at: u64,
    /// Its memory from there to the end of the segment, where `.eh_frame` follows.
    pub bytes: Vec<u8>,
}
