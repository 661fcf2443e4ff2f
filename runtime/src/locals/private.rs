//! A goroutine's own bytes, apart from those of its processor's thread-local block.
//!
//! One allocation, made when a goroutine first needs it: the words that differ from a new thread's,
//! with a bitmap of which they are, the destructors to run at the end of the goroutine, and the
//! control words of the floating-point unit if the goroutine has changed them. The
//! [`PrivateWord`] in its record leads here.

use super::map::{self, Map};
use crate::arch::FloatControl;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ptr::NonNull;

pub(crate) use crate::ours::Destructor;

impl Destructor {
    /// Calls it.
    ///
    /// # Safety
    /// The object is as it was when it was registered, and takes what happens to it.
    pub(super) unsafe fn run(self) {
        // SAFETY: by contract.
        unsafe { (self.run)(self.object) };
    }

    /// Adds it to the list of this goroutine.
    pub(crate) fn add_to(self, goroutine: &PrivateWord) {
        if !goroutine.has_private() {
            goroutine.put_private(Some(Owned::new(map::in_force())));
        }
        // SAFETY: the goroutine itself is here, so the processor does not use them.
        if let Some(private) = unsafe { goroutine.private() } {
            private.destructors.get_or_insert_default().push(self);
        }
    }
}

/// A word of a goroutine's, which leads to its private thread-locals as well, once it has some.
pub(crate) struct PrivateWord(Cell<usize>);

impl PrivateWord {
    /// The bit that says so. It is clear in the word itself.
    pub(crate) const PRIVATE: usize = 2;

    pub(crate) fn new(word: usize) -> PrivateWord {
        debug_assert_eq!(word & PrivateWord::PRIVATE, 0);
        PrivateWord(Cell::new(word))
    }

    /// Whether the goroutine has private thread-locals.
    #[inline]
    pub(crate) fn has_private(&self) -> bool {
        self.0.get() & PrivateWord::PRIVATE != 0
    }

    fn private_at(&self) -> Option<*mut Private> {
        self.has_private().then_some((self.0.get() & !PrivateWord::PRIVATE) as *mut Private)
    }

    /// The goroutine's private thread-locals.
    ///
    /// # Safety
    /// Nothing else uses them, or takes them out, as long as the reference is used.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn private(&self) -> Option<&mut Private> {
        // SAFETY: put here by `put_private`, and live until it is taken out.
        self.private_at().map(|private| unsafe { &mut *private })
    }

    /// Takes the private thread-locals out.
    pub(crate) fn take_private(&self) -> Option<Owned> {
        let private = self.private_at()?;
        // SAFETY: put here by `put_private`, and taken back once: the word no longer leads there.
        unsafe {
            self.0.set((*private).word);
            Some(Owned::from_raw(NonNull::new_unchecked(private)))
        }
    }

    /// Puts private thread-locals in.
    pub(crate) fn put_private(&self, private: Option<Owned>) {
        debug_assert!(!self.has_private());
        if let Some(mut private) = private {
            private.get().word = self.0.get();
            self.0.set(private.into_raw() as usize | PrivateWord::PRIVATE);
        }
    }

    /// The word as it is without private thread-locals.
    #[inline]
    pub(crate) fn word(&self) -> usize {
        // SAFETY: as in `private`.
        self.private_at().map_or(self.0.get(), |private| unsafe { (*private).word })
    }

    /// Replaces it, by one store of one word: a signal handler may read it.
    pub(crate) fn set_word(&self, word: usize) {
        match self.private_at() {
            // SAFETY: as in `private`.
            Some(private) => unsafe { (*private).word = word },
            None => self.0.set(word),
        }
    }
}

impl Drop for PrivateWord {
    fn drop(&mut self) {
        drop(self.take_private());
    }
}

/// The fixed part. The bitmap follows, then room for `capacity` words.
#[repr(C)]
pub(crate) struct Private {
    /// The value of the word that leads here, without this.
    pub(crate) word: usize,
    /// Boxed, because few have any: a word instead of three.
    #[allow(clippy::box_collection)]
    pub(super) destructors: Option<Box<Vec<Destructor>>>,
    pub(crate) float: FloatControl,
    capacity: u32,
}

/// Owns a [`Private`].
pub(crate) struct Owned(NonNull<Private>);

fn layout(map: &Map, capacity: usize) -> Layout {
    let words = map.chunks() + capacity;
    Layout::from_size_align(size_of::<Private>() + words * 8, align_of::<Private>())
        .expect("a thread-local block is far smaller than the address space")
}

impl Owned {
    /// One without any words.
    pub(crate) fn new(map: &Map) -> Owned {
        let owned = Owned::with_room(map, 0);
        // SAFETY: just made, with room for the bitmap.
        unsafe { owned.map_words().write_bytes(0, map.chunks()) };
        owned
    }

    /// The bitmap is not written yet.
    fn with_room(map: &Map, capacity: usize) -> Owned {
        let layout = layout(map, capacity);
        // SAFETY: the layout is not of size zero.
        let Some(at) = NonNull::new(unsafe { alloc(layout) }.cast::<Private>()) else {
            handle_alloc_error(layout)
        };
        let private =
            Private { word: 0, destructors: None, float: FloatControl::DEFAULT, capacity: capacity as u32 };
        // SAFETY: fresh memory of the layout.
        unsafe { at.write(private) };
        Owned(at)
    }

    pub(crate) fn into_raw(self) -> *mut Private {
        let at = self.0.as_ptr();
        std::mem::forget(self);
        at
    }

    /// # Safety
    /// It came from `into_raw`, and is taken back once.
    pub(crate) unsafe fn from_raw(at: NonNull<Private>) -> Owned {
        Owned(at)
    }

    pub(crate) fn get(&mut self) -> &mut Private {
        // SAFETY: we own it.
        unsafe { self.0.as_mut() }
    }

    fn map_words(&self) -> *mut u64 {
        // SAFETY: the allocation continues after the fixed part.
        unsafe { self.0.as_ptr().add(1).cast() }
    }

    /// Which words are kept: a bit each, 64 to a chunk.
    pub(super) fn kept(&self, map: &Map) -> &[u64] {
        // SAFETY: the bitmap follows the fixed part, and has been written since it was made.
        unsafe { std::slice::from_raw_parts(self.map_words(), map.chunks()) }
    }

    /// The kept words, in order.
    pub(super) fn words(&self, map: &Map) -> &[u64] {
        let kept = self.kept(map).iter().map(|chunk| chunk.count_ones() as usize).sum();
        // SAFETY: the words follow the bitmap, and as many as it says have been written.
        unsafe { std::slice::from_raw_parts(self.map_words().add(map.chunks()), kept) }
    }

    /// Keeps exactly the words of `kept`, with the values that `word` returns.
    pub(super) fn keep(
        &mut self,
        map: &Map,
        kept: impl Iterator<Item = u64> + Clone,
        mut word: impl FnMut(usize) -> u64,
    ) {
        let needed = kept.clone().map(|chunk| chunk.count_ones() as usize).sum();
        // SAFETY: we own it.
        if needed > unsafe { self.0.as_ref() }.capacity as usize {
            self.grow(map, needed);
        }
        // SAFETY: there is room for the bitmap and, as was just checked, for the words.
        unsafe {
            let mut to = self.map_words();
            for chunk in kept.clone() {
                to.write(chunk);
                to = to.add(1);
            }
            for (chunk, kept) in kept.enumerate() {
                for bit in bits(kept) {
                    to.write(word(chunk * 64 + bit));
                    to = to.add(1);
                }
            }
        }
    }

    #[cold]
    fn grow(&mut self, map: &Map, needed: usize) {
        let mut larger = Owned::with_room(map, needed);
        let old = self.get();
        let new = larger.get();
        (new.word, new.float) = (old.word, old.float);
        new.destructors = old.destructors.take();
        *self = larger;
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: made by `with_room` with the same map, and not used after this.
        unsafe {
            let layout = layout(map::in_force(), self.0.as_ref().capacity as usize);
            self.0.drop_in_place();
            dealloc(self.0.as_ptr().cast(), layout);
        }
    }
}

/// The numbers of the bits that are set.
pub(super) fn bits(of: u64) -> impl Iterator<Item = usize> {
    let mut left = of;
    std::iter::from_fn(move || {
        (left != 0).then(|| {
            let bit = left.trailing_zeros() as usize;
            left &= left - 1;
            bit
        })
    })
}
