//! A processor's records, in chunks.
//!
//! Chunks have no per-record overhead, keep a processor's records together in memory, and let
//! diagnostics find every goroutine. A chunk with only free records is given back, unless it is the
//! only one with room. Only the carrier touches a slab.

use super::super::processor::Processor;
use super::{Ready, Record};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::{MaybeUninit, offset_of};
use std::ptr::{self, NonNull};

/// Records per chunk: as many as fit 16 KiB with the header, and one bit each in a `u128`.
const RECORDS: usize = 126;
const ALL_FREE: u128 = (1 << RECORDS) - 1;

/// Chunks are aligned to this, so that a record's address leads to its chunk. (For ThreadSanitizer a
/// record is larger.)
const ALIGN: usize = if cfg!(narrowboat_tsan) { 32 << 10 } else { 16 << 10 };

#[repr(C)]
struct Chunk {
    /// The list of chunks that have room.
    prev: *mut Chunk,
    next: *mut Chunk,
    /// Its index in the list of all chunks.
    index: usize,
    /// A set bit is a free place.
    free: u128,
    processor: &'static Processor,
    records: [MaybeUninit<Record>; RECORDS],
}

#[cfg(not(loom))]
// A little smaller than its alignment, so that an allocator with headers in front of blocks can put
// the chunks next to each other.
const _: () = assert!(size_of::<Chunk>() <= ALIGN - 64);

const LAYOUT: Layout = match Layout::from_size_align(size_of::<Chunk>(), ALIGN) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};

pub(crate) struct Slab {
    roomy: *mut Chunk,
    all: Vec<*mut Chunk>,
}

/// For a debugger: the offset in a slab of the list of chunks; the offsets in a chunk of the bits
/// of free places and of the records; and the number of places.
pub(crate) const DEBUGGER_OFFSETS: [usize; 4] =
    [offset_of!(Slab, all), offset_of!(Chunk, free), offset_of!(Chunk, records), RECORDS];

fn chunk_of(record: NonNull<Record>) -> *mut Chunk {
    record.as_ptr().map_addr(|address| address & !(ALIGN - 1)).cast()
}

impl Slab {
    pub(crate) const fn new() -> Slab {
        Slab { roomy: ptr::null_mut(), all: Vec::new() }
    }

    /// The processor given to `insert` with this record.
    ///
    /// # Safety
    /// The record came from an `insert` and was not removed.
    #[inline]
    pub(crate) unsafe fn processor_of(record: NonNull<Record>) -> &'static Processor {
        // SAFETY: records lie in chunks that are aligned to `ALIGN` and no larger, so this is the
        // record's chunk.
        unsafe { (*chunk_of(record)).processor }
    }

    /// Puts a record of `processor`, always the same for one slab, into a free place. It stays
    /// there until [`remove`](Slab::remove).
    pub(crate) fn insert(&mut self, processor: &'static Processor, record: Record) -> Ready {
        if self.roomy.is_null() {
            self.grow(processor);
        }
        let chunk = self.roomy;
        // SAFETY: chunks in the list are live and ours; a set bit names a place that holds no
        // record.
        unsafe {
            let place = (*chunk).free.trailing_zeros() as usize;
            (*chunk).free &= (*chunk).free - 1;
            if (*chunk).free == 0 {
                self.unlink(chunk);
            }
            let at = (&raw mut (*chunk).records[place]).cast::<Record>();
            at.write(record);
            Ready::new(NonNull::new_unchecked(at))
        }
    }

    /// Drops a record and frees its place.
    ///
    /// # Safety
    /// The record came from this slab's `insert`, was not removed, and its address is not used
    /// again.
    pub(crate) unsafe fn remove(&mut self, ended: Ready) {
        let record = ended.record();
        let chunk = chunk_of(record);
        // SAFETY: as in `processor_of`.
        unsafe {
            let first = (&raw mut (*chunk).records).cast::<Record>();
            let place = record.as_ptr().offset_from_unsigned(first);
            ptr::drop_in_place(record.as_ptr());
            let was_full = (*chunk).free == 0;
            (*chunk).free |= 1 << place;
            if was_full {
                self.link(chunk);
            } else if (*chunk).free == ALL_FREE && !((*chunk).prev.is_null() && (*chunk).next.is_null()) {
                self.unlink(chunk);
                self.forget(chunk);
                dealloc(chunk.cast(), LAYOUT);
            }
        }
    }

    #[cold]
    fn grow(&mut self, processor: &'static Processor) {
        // SAFETY: the layout is not of size zero.
        let chunk = unsafe { alloc(LAYOUT) }.cast::<Chunk>();
        if chunk.is_null() {
            handle_alloc_error(LAYOUT);
        }
        // SAFETY: fresh memory of a chunk's layout; the records stay uninitialised.
        unsafe {
            (*chunk).free = ALL_FREE;
            (*chunk).index = self.all.len();
            (&raw mut (*chunk).processor).write(processor);
            self.link(chunk);
        }
        self.all.push(chunk);
    }

    /// # Safety
    /// The chunk is live, and about to be freed.
    unsafe fn forget(&mut self, chunk: *mut Chunk) {
        // SAFETY: live by contract, as are all the others.
        unsafe {
            let index = (*chunk).index;
            self.all.swap_remove(index);
            if let Some(&moved) = self.all.get(index) {
                (*moved).index = index;
            }
        }
    }

    /// Every record, in no particular order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Record> {
        self.all.iter().flat_map(|&chunk| {
            // SAFETY: the chunks in the list are live.
            let mut taken = unsafe { !(*chunk).free & ALL_FREE };
            std::iter::from_fn(move || {
                (taken != 0).then(|| {
                    let place = taken.trailing_zeros() as usize;
                    taken &= taken - 1;
                    // SAFETY: a bit that is not set names a place that holds a record.
                    unsafe { &*(&raw const (*chunk).records[place]).cast::<Record>() }
                })
            })
        })
    }

    /// # Safety
    /// The chunk is live and not in the list.
    unsafe fn link(&mut self, chunk: *mut Chunk) {
        // SAFETY: live by contract, as is everything in the list.
        unsafe {
            (*chunk).prev = ptr::null_mut();
            (*chunk).next = self.roomy;
            if !self.roomy.is_null() {
                (*self.roomy).prev = chunk;
            }
        }
        self.roomy = chunk;
    }

    /// # Safety
    /// The chunk is in the list.
    unsafe fn unlink(&mut self, chunk: *mut Chunk) {
        // SAFETY: everything in the list is live.
        unsafe {
            let (prev, next) = ((*chunk).prev, (*chunk).next);
            if prev.is_null() {
                self.roomy = next
            } else {
                (*prev).next = next
            }
            if !next.is_null() {
                (*next).prev = prev;
            }
        }
    }
}
