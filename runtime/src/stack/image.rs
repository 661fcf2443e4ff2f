//! The heap copy of a parked goroutine's live stack bytes.

use crate::arch::{self, sanitizers, valgrind};
use crate::sys::memory;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::{mem, ptr};

/// A buffer for the live bytes of one goroutine, sized to what it last needed.
///
/// If both goroutines of a copy need the same number of bytes, their contents are swapped, and the
/// buffer moves to the other goroutine. Otherwise the buffer is kept while the goroutine is
/// resident: most park again at the same depth. It is replaced when it is too small, or more than
/// twice too large. It is freed when the goroutine has been resident for long and by now would need
/// a much smaller one.
///
/// Packed to twelve bytes, because it is in every goroutine's record.
#[repr(C, packed(4))]
pub(crate) struct Image {
    bytes: *mut u8,
    capacity: u32,
}

/// Up to this many bytes more than twice the need are tolerated.
const SLACK: usize = 64;

/// Sizes are rounded up to 8 past a multiple of 16, which common allocators return anyway.
fn rounded(len: usize) -> usize {
    (len + 7).next_multiple_of(16) - 8
}

/// From this size on a buffer is a mapping of its own: allocators keep freed memory between small
/// blocks, so one deep park of each goroutine would stay with the process for ever.
const LARGE: usize = 128 << 10;

fn layout(capacity: usize) -> Layout {
    // Stacks larger than 4 GiB do not exist (`Image::save`), so the size is far from overflowing.
    Layout::from_size_align(capacity, 8).expect("a stack image has a valid layout")
}

impl Image {
    pub(crate) const fn new() -> Image {
        Image { bytes: ptr::null_mut(), capacity: 0 }
    }

    /// Copies `[sp, base)` out.
    ///
    /// # Safety
    /// The range is readable and nothing writes to it meanwhile.
    pub(crate) unsafe fn save(&mut self, sp: usize, base: usize) {
        let len = base - sp;
        self.fit(len);
        sanitizers::forget_frames(sp, base);
        // SAFETY: the source is readable by contract, the buffer has room for `len` bytes and is
        // our own.
        unsafe { ptr::copy_nonoverlapping(sp as *const u8, self.bytes, len) }
    }

    /// Copies the bytes back to where they came from.
    ///
    /// # Safety
    /// The last `save` was with these bounds, and the range is writable and not in other use.
    pub(crate) unsafe fn restore(&self, sp: usize, base: usize) {
        debug_assert!(base - sp <= self.capacity as usize);
        valgrind::will_be_written(sp, base);
        sanitizers::forget_frames(sp, base);
        // SAFETY: `save` wrote `base - sp` bytes here; the destination is writable by contract.
        unsafe { ptr::copy_nonoverlapping(self.bytes, sp as *mut u8, base - sp) }
    }

    /// Copies the bytes back to where they came from, and what was there to the buffer. The buffer
    /// is then the image of the goroutine that was there, and this image gets that goroutine's
    /// buffer. It touches half the memory that a save and a restore do, and no third buffer.
    ///
    /// # Safety
    /// As for `save`, of the bytes that are in place now, and as for `restore`: both have the same
    /// bounds.
    pub(crate) unsafe fn exchange(&mut self, resident: &mut Image, sp: usize, base: usize) {
        debug_assert!(base - sp <= self.capacity as usize);
        sanitizers::forget_frames(sp, base);
        // SAFETY: as in `save` and `restore`. Stack pointers are multiples of eight, and so are
        // bases.
        unsafe { arch::exchange(sp, self.bytes as usize, base - sp) };
        mem::swap(self, resident);
    }

    /// Frees the buffer, with its contents, if it is more than twice too large for `len` bytes.
    pub(crate) fn release_if_too_large(&mut self, len: usize) {
        if self.capacity as usize > 2 * len + SLACK {
            self.release();
        }
    }

    fn fit(&mut self, len: usize) {
        self.release_if_too_large(len);
        if len <= self.capacity as usize {
            return;
        }
        self.release();
        let capacity = rounded(len);
        let layout = layout(capacity);
        let bytes = if capacity >= LARGE {
            memory::allocate(capacity).map_or(ptr::null_mut(), |address| address as *mut u8)
        } else {
            // SAFETY: the layout is not of size zero: a suspended stack holds at least three words.
            unsafe { alloc(layout) }
        };
        if bytes.is_null() {
            handle_alloc_error(layout);
        }
        self.bytes = bytes;
        self.capacity = u32::try_from(capacity).expect("a stack has less than 4 GiB");
    }

    /// Where the buffer is, or 0.
    pub(crate) fn address(&self) -> usize {
        self.bytes as usize
    }

    /// Frees the buffer.
    pub(crate) fn release(&mut self) {
        if !self.bytes.is_null() {
            let capacity = self.capacity as usize;
            // SAFETY: allocated by `fit` in the same way, with this capacity, and not freed since.
            unsafe {
                if capacity >= LARGE {
                    memory::free(self.bytes as usize, capacity);
                } else {
                    dealloc(self.bytes, layout(capacity));
                }
            }
            self.bytes = ptr::null_mut();
            self.capacity = 0;
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brings_back_what_it_saved_and_fits_its_size() {
        let mut image = Image::new();
        for len in [24usize, 200, 100_000, 176, 1_000_000, 300_000, 56] {
            let stack: Vec<u8> = (0..len).map(|i| i as u8 ^ 0x5a).collect();
            let sp = stack.as_ptr() as usize;
            // SAFETY: the range is the vector's.
            unsafe { image.save(sp, sp + len) };
            let capacity = image.capacity as usize;
            assert!(capacity <= 2 * len + SLACK, "{capacity} bytes held for {len}");
            let mut back = vec![0u8; len];
            let to = back.as_mut_ptr() as usize;
            // SAFETY: the range is the vector's.
            unsafe { image.restore(to, to + len) };
            assert_eq!(back, stack);
        }
    }

    #[test]
    fn an_exchange_brings_back_one_and_saves_the_other() {
        for len in [24usize, 56, 64, 72, 200, 1000, 4096 + 8] {
            let content = |of: u8| -> Vec<u8> { (0..len).map(|i| i as u8 ^ of).collect() };
            let (first, second) = (content(0x5a), content(0xc3));
            let (mut away, mut here) = (Image::new(), Image::new());
            // Aligned as stacks are.
            let mut stack = vec![0u64; len / 8];
            let sp = stack.as_mut_ptr() as usize;
            // SAFETY: the range is the vector's, where both contents have been.
            let (there, back) = unsafe {
                let put = |bytes: &[u8]| ptr::copy_nonoverlapping(bytes.as_ptr(), sp as *mut u8, len);
                let get = || std::slice::from_raw_parts(sp as *const u8, len).to_vec();
                put(&first);
                away.save(sp, sp + len);
                put(&second);
                away.exchange(&mut here, sp, sp + len);
                let there = get();
                here.restore(sp, sp + len);
                (there, get())
            };
            assert!(there == first && back == second, "{len} bytes");
            assert_eq!(away.address(), 0);
        }
    }

    #[test]
    fn is_freed_when_it_has_become_too_large() {
        let mut image = Image::new();
        let stack = vec![1u8; 100_000];
        let sp = stack.as_ptr() as usize;
        // SAFETY: the range is the vector's.
        unsafe { image.save(sp, sp + stack.len()) };
        image.release_if_too_large(60_000);
        assert_ne!(image.address(), 0);
        image.release_if_too_large(40_000);
        assert_eq!(image.address(), 0);
    }
}
