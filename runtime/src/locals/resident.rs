//! A processor's part: which goroutine's thread-locals are in place, and the exchange.
//!
//! Touched only by the code that carries the processor. Invariants:
//! - The bytes in place are those of the `owner`: a goroutine, the processor's own code
//!   ([`Owner::HOST`]: its loop when it needs std, or a pinned worker), or of a new thread.
//! - All others have theirs in their [`Private`], or have none and are as a new thread.
//! - `differ` says, for each word, whether what is in place may differ from a new thread's since the
//!   last exchange. It is not kept up while an owner runs.

use super::map::{self, Map};
use super::private::{Owned, indices};
use crate::arch::{self, FloatControl};
use crate::goroutine::record::Record;
use crate::sys;
use std::ptr;

/// A stretch of words that belong to goroutines entirely.
struct Run {
    at: *const u64,
    first: usize,
    words: usize,
}

pub(crate) struct Resident {
    owner: *mut Record,
    /// Whether any bit of `differ` is set.
    any: bool,
    /// Under the stress mode: the bytes in place are a pattern, which nothing may have changed.
    poisoned: bool,
    runs: Box<[Run]>,
    /// Words of which only some bits are exchanged, by number.
    edges: Box<[usize]>,
    pristine: Box<[u64]>,
    map: &'static Map,
    addresses: Box<[*mut u64]>,
    differ: Box<[u64]>,
    host: Option<Owned>,
}

/// What the stress mode leaves in place between goroutines.
const POISON: u64 = 0xdbdb_dbdb_dbdb_dbdb;

/// Stands for the processor's own code. No record has this address.
const HOST: *mut Record = ptr::without_provenance_mut(1);

impl Resident {
    /// For the calling thread's block. What is in place is taken for the processor's own.
    pub(crate) fn of_this_thread() -> Resident {
        let map = map::in_force();
        let base = if map.words.is_empty() {
            0
        } else {
            super::segment().expect("the probe's thread has had the segment, too").base
        };
        let mut addresses: Vec<*mut u64> =
            map.words.iter().map(|word| (base + word.at) as *mut u64).collect();
        let mut pristine: Vec<u64> = map.words.iter().map(|word| word.pristine).collect();
        if map.exceptions
            && let Some(globals) = sys::exception_globals()
        {
            addresses.extend((0..map::EXCEPTION_WORDS).map(|word| globals.wrapping_add(word)));
            pristine.resize(addresses.len(), 0);
        }
        let whole = |index: usize| map.words.get(index).is_none_or(|word| word.mask == u64::MAX);
        let mut runs: Vec<Run> = Vec::new();
        for index in (0..addresses.len()).filter(|index| whole(*index)) {
            let at = addresses[index].cast_const();
            match runs.last_mut() {
                Some(last) if last.at.wrapping_add(last.words) == at && last.first + last.words == index => {
                    last.words += 1;
                }
                _ => runs.push(Run { at, first: index, words: 1 }),
            }
        }
        Resident {
            owner: HOST,
            any: false,
            poisoned: false,
            runs: runs.into(),
            edges: (0..addresses.len()).filter(|index| !whole(*index)).collect(),
            pristine: pristine.into(),
            map,
            differ: vec![0; map.chunks()].into(),
            addresses: addresses.into(),
            host: None,
        }
    }

    /// Puts a goroutine's bytes in place.
    ///
    /// # Safety
    /// Called by the loop of the processor. The record is one of this processor's goroutines', which
    /// runs next.
    #[inline(always)]
    pub(crate) unsafe fn install(&mut self, goroutine: *mut Record) {
        if self.owner == goroutine {
            return;
        }
        // SAFETY: by contract.
        unsafe {
            if self.owner.is_null() && !self.any && !(*goroutine).origin.has_private() {
                self.owner = goroutine;
                return;
            }
            self.exchange(goroutine);
        }
    }

    /// # Safety
    /// As for `install`.
    #[inline(never)]
    unsafe fn exchange(&mut self, goroutine: *mut Record) {
        // SAFETY: by contract; an owner that is a goroutine is live until `forget_owner`.
        unsafe {
            self.put_away();
            let private = (*goroutine).origin.take_private();
            if let Some(private) = &private {
                self.bring(Some(private));
            } else if self.any {
                self.bring(None);
            }
            (*goroutine).origin.put_private(private);
        }
        self.owner = goroutine;
    }

    /// Puts the bytes of the processor's own code in place.
    ///
    /// # Safety
    /// Called by the loop of the processor.
    pub(crate) unsafe fn install_host(&mut self) {
        if self.owner == HOST {
            return;
        }
        // SAFETY: by contract.
        unsafe {
            self.put_away();
            let host = self.host.take();
            self.bring(host.as_ref());
            self.host = host;
        }
        self.owner = HOST;
    }

    /// The owner has ended, and its bytes are a new thread's again.
    pub(crate) fn forget_owner(&mut self) {
        self.owner = ptr::null_mut();
        self.any = false;
    }

    /// Saves what the owner has changed.
    ///
    /// # Safety
    /// The owner is live, or none.
    #[inline]
    unsafe fn put_away(&mut self) {
        if self.owner.is_null() {
            if self.poisoned {
                self.check_poison();
            }
            return;
        }
        // SAFETY: by contract.
        unsafe {
            if self.is_pristine() {
                self.any = false;
                if self.owner == HOST {
                    self.host = None;
                } else if (*self.owner).origin.has_private() {
                    self.save();
                }
            } else {
                self.save();
            }
        }
    }

    /// Whether what is in place is what a new thread finds. The common case of every switch.
    #[inline]
    fn is_pristine(&self) -> bool {
        let mut differ = 0;
        for run in &self.runs {
            // SAFETY: the run's words lie in the processor's block, and in `pristine` at their numbers.
            unsafe { differ |= arch::difference(run.at, self.pristine.as_ptr().add(run.first), run.words) };
        }
        for &edge in &self.edges {
            differ |= (self.word(edge) ^ self.pristine[edge]) & self.mask(edge);
        }
        differ == 0
    }

    #[inline]
    fn word(&self, index: usize) -> u64 {
        // SAFETY: the words lie in the processor's block, which only the carrier uses.
        unsafe { self.addresses[index].read() }
    }

    #[inline]
    fn set_word(&self, index: usize, value: u64) {
        let mask = self.mask(index);
        let value = if mask == u64::MAX { value } else { (self.word(index) & !mask) | (value & mask) };
        // SAFETY: as above; bits that are not a goroutine's stay.
        unsafe { self.addresses[index].write(value) };
    }

    #[inline]
    fn mask(&self, index: usize) -> u64 {
        self.map.words.get(index).map_or(u64::MAX, |word| word.mask)
    }

    /// # Safety
    /// As for `put_away`; there is an owner.
    #[cold]
    #[inline(never)]
    unsafe fn save(&mut self) {
        self.note_differences();
        // SAFETY: by contract.
        let private = unsafe {
            if self.owner == HOST { self.host.take() } else { (*self.owner).origin.take_private() }
        };
        let mut private = match private {
            Some(private) => private,
            None => Owned::new(self.map),
        };
        let this = &*self;
        private.keep(self.map, &self.differ, |index| this.word(index));
        // SAFETY: by contract.
        unsafe {
            if self.owner == HOST {
                self.host = Some(private);
            } else {
                (*self.owner).origin.put_private(Some(private));
            }
        }
    }

    fn note_differences(&mut self) {
        self.any = false;
        for chunk in 0..self.differ.len() {
            let mut bits = 0;
            let first = chunk * 64;
            for index in first..self.addresses.len().min(first + 64) {
                let differs = (self.word(index) ^ self.pristine[index]) & self.mask(index) != 0;
                bits |= u64::from(differs) << (index - first);
            }
            self.differ[chunk] = bits;
            self.any |= bits != 0;
        }
    }

    /// Writes these bytes where they belong, and a new thread's where they have nothing and
    /// something else is.
    #[cold]
    #[inline(never)]
    fn bring(&mut self, private: Option<&Owned>) {
        let kept: &[u64] = private.map_or(&[], |private| private.kept(self.map));
        if self.any {
            for index in indices(&self.differ) {
                if kept.get(index / 64).is_none_or(|chunk| chunk & (1 << (index % 64)) == 0) {
                    self.set_word(index, self.pristine[index]);
                }
            }
        }
        self.any = false;
        self.differ.fill(0);
        if let Some(private) = private {
            for (index, word) in indices(kept).zip(private.words(self.map)) {
                self.set_word(index, *word);
            }
            self.differ.copy_from_slice(kept);
            self.any = kept.iter().any(|chunk| *chunk != 0);
        }
    }

    /// The goroutine in place ends: what std keeps of it is given back, and the bytes become a new
    /// thread's.
    ///
    /// # Safety
    /// Called by the goroutine in place, whose destructors have run; it uses no thread-local after
    /// this.
    #[inline]
    pub(crate) unsafe fn end_of_owner(&mut self) {
        if !self.is_pristine() {
            self.wipe();
        }
    }

    #[cold]
    #[inline(never)]
    fn wipe(&mut self) {
        let set = |index: &usize| (self.word(*index) ^ self.pristine[*index]) & self.mask(*index) != 0;
        if !self.map.handle.is_empty() && self.map.handle.iter().all(set) {
            give_back_handle();
        }
        self.note_differences();
        self.bring(None);
    }

    /// Under the stress mode: saves the owner's bytes although nothing wants the place, and leaves a
    /// pattern, so that code of the runtime that uses a goroutine's thread-local is found out.
    ///
    /// # Safety
    /// Called by the loop of the processor, between goroutines.
    pub(crate) unsafe fn evict(&mut self) {
        // SAFETY: by contract.
        unsafe { self.put_away() };
        for index in 0..self.addresses.len() {
            self.set_word(index, POISON);
        }
        for (chunk, bits) in self.differ.iter_mut().enumerate() {
            let left = self.addresses.len() - chunk * 64;
            *bits = if left >= 64 { u64::MAX } else { (1 << left) - 1 };
        }
        self.owner = ptr::null_mut();
        self.any = !self.addresses.is_empty();
        self.poisoned = self.any;
    }

    #[cold]
    fn check_poison(&mut self) {
        self.poisoned = false;
        for index in 0..self.addresses.len() {
            assert!(
                (self.word(index) ^ POISON) & self.mask(index) == 0,
                "code of the runtime has used a thread-local of the program's, at {:?}",
                self.map.words.get(index)
            );
        }
    }

    /// A goroutine has changed how the floating-point units work: that goes with it, and the
    /// processor's own code and others find them as they were.
    ///
    /// # Safety
    /// Called by the loop of the processor. The record is that of the goroutine that has just run.
    #[cold]
    pub(crate) unsafe fn keep_float(&mut self, goroutine: *mut Record, float: FloatControl) {
        FloatControl::DEFAULT.set();
        // SAFETY: by contract.
        let origin = unsafe { &mut (*goroutine).origin };
        if !origin.has_private() {
            origin.put_private(Some(Owned::new(self.map)));
        }
        if let Some(private) = origin.private() {
            private.float = float;
        }
    }

    /// The reverse, before the goroutine runs.
    ///
    /// # Safety
    /// Called by the loop of the processor. The record is live.
    #[inline]
    pub(crate) unsafe fn set_float(&mut self, goroutine: *mut Record) {
        // SAFETY: by contract.
        if let Some(private) = unsafe { (*goroutine).origin.private() }
            && private.float != FloatControl::DEFAULT
        {
            std::mem::replace(&mut private.float, FloatControl::DEFAULT).set();
        }
    }

    /// Whether an address lies among the bytes that are exchanged.
    pub(crate) fn contains(&self, address: usize) -> bool {
        let inside = |at: *const u64, words: usize| (at.addr()..at.addr() + 8 * words).contains(&address);
        self.runs.iter().any(|run| inside(run.at, run.words))
            || self.edges.iter().any(|&edge| {
                let byte = address.wrapping_sub(self.addresses[edge].addr());
                byte < 8 && self.mask(edge).to_ne_bytes()[byte] != 0
            })
    }
}

/// std made a handle for the goroutine as for a thread, and would give its own reference up when the
/// thread ends.
fn give_back_handle() {
    let handle = std::thread::current();
    // SAFETY: the thread-local owns one reference and is about to be overwritten, so that reference is
    // ours to drop. What is read is the same pointer as `handle`'s own.
    drop(unsafe { ptr::read(&handle) });
    drop(handle);
}
