//! A processor's part: which goroutine's thread-locals are in place, and the exchange.
//!
//! Only the carrier touches it, and its changing parts are cells: a goroutine may ask whether an
//! address is among the exchanged bytes in the middle of anything, for example in the allocator.
//! Invariants:
//! - The bytes in place are those of the `owner`: a goroutine, or the processor's own code (`HOST`:
//!   its loop when it needs std, or a pinned worker); or, without an owner, of a new thread.
//! - Every other goroutine has its bytes in its [`Private`], or has none and is like a new thread.
//! - `differ` says, for each word, whether what is in place may differ from a new thread's since
//!   the last exchange. It is not updated while an owner runs.

use super::map::{self, Map};
use super::private::{Owned, PrivateWord, bits};
use crate::arch::FloatControl;
use crate::{ours, sys};
use std::cell::Cell;
use std::ptr;

/// One word of what is exchanged, in the processor's block.
struct LocalWord {
    at: *mut u64,
    /// Which of its bits belong to goroutines.
    mask: u64,
    /// The value on a new thread.
    pristine: u64,
}

/// Two neighbouring words, at least one of which is exchanged: the unit of comparison.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Pair {
    pristine: [u64; 2],
    mask: [u64; 2],
    at: *const [u64; 2],
    /// The indices of the two words; meaningless where the mask is zero.
    numbers: [u32; 2],
}

pub(crate) struct Resident {
    owner: Cell<*const PrivateWord>,
    /// Whether any bit of `differ` is set.
    any: Cell<bool>,
    /// In the stress mode: the bytes in place are a pattern, which nothing may have changed.
    poisoned: Cell<bool>,
    map: &'static Map,
    /// In order of their addresses, except the last ones, which are those of a C++ runtime.
    local_words: Box<[LocalWord]>,
    /// All words, for the comparison at every switch: two pairs at a time.
    pairs: Box<[[Pair; 2]]>,
    differ: Box<[Cell<u64>]>,
    host: Cell<Option<Owned>>,
}

/// What the stress mode leaves in place between goroutines.
const POISON: u64 = 0xdbdb_dbdb_dbdb_dbdb;

/// The owner that stands for the processor's own code. No record has this address.
const HOST: *const PrivateWord = ptr::without_provenance(1);

impl Resident {
    /// Makes the part for the calling thread's block. What is in place counts as the processor's
    /// own.
    pub(crate) fn of_this_thread() -> Resident {
        let map = map::in_force();
        // The base is computed from the address of our own struct: the block of a module that was
        // loaded late can be anywhere, once it is used.
        let base = ours::with(|ours| ptr::from_ref(ours).addr()) - map.ours;
        let mut local_words = Vec::new();
        for word in &map.words {
            let at = (base + word.at) as *mut u64;
            local_words.push(LocalWord { at, mask: word.mask, pristine: word.pristine });
        }
        let mut pairs = in_pairs(&local_words, 0, base + map.length);
        if map.exceptions
            && let Some(globals) = sys::exception_globals()
        {
            let theirs = (0..map::EXCEPTION_WORDS).map(|word| LocalWord {
                at: globals.wrapping_add(word),
                mask: u64::MAX,
                pristine: 0,
            });
            let first = local_words.len();
            local_words.extend(theirs);
            let end = globals.wrapping_add(map::EXCEPTION_WORDS).addr();
            pairs.extend(in_pairs(&local_words[first..], first, end));
        }
        Resident {
            owner: Cell::new(HOST),
            any: Cell::new(false),
            poisoned: Cell::new(false),
            map,
            differ: (0..map.chunks()).map(|_| Cell::new(0)).collect(),
            local_words: local_words.into(),
            pairs: two_by_two(pairs),
            host: Cell::new(None),
        }
    }

    /// Puts a goroutine's bytes in place.
    ///
    /// # Safety
    /// Called by the loop of the processor. The record is one of this processor's goroutines',
    /// which runs next.
    #[inline(always)]
    pub(crate) unsafe fn install(&self, goroutine: &PrivateWord) {
        let owner = self.owner.get();
        if ptr::eq(owner, goroutine) {
            return;
        }
        if owner.is_null() && !self.any.get() && !goroutine.has_private() {
            self.owner.set(goroutine);
            return;
        }
        // SAFETY: by contract.
        unsafe { self.exchange(goroutine) };
    }

    /// # Safety
    /// As for `install`.
    #[inline(never)]
    unsafe fn exchange(&self, goroutine: &PrivateWord) {
        let owner = self.owner.get();
        // Neither goroutine has bytes of its own: the case that most goroutines pay for.
        if owner > HOST
            // SAFETY: an owner that is a goroutine is live until `forget_owner`.
            && !unsafe { (*owner).has_private() }
            && !goroutine.has_private()
            && self.is_pristine()
        {
            self.any.set(false);
            self.owner.set(goroutine);
            return;
        }
        // SAFETY: by contract.
        unsafe { self.exchange_private(goroutine) };
    }

    /// # Safety
    /// As for `install`.
    #[inline(never)]
    unsafe fn exchange_private(&self, goroutine: &PrivateWord) {
        // SAFETY: by contract.
        unsafe { self.save_owner() };
        let private = goroutine.take_private();
        if let Some(private) = &private {
            self.install_bytes(Some(private));
        } else if self.any.get() {
            self.install_bytes(None);
        }
        goroutine.put_private(private);
        self.owner.set(goroutine);
    }

    /// Puts the bytes of the processor's own code in place.
    ///
    /// # Safety
    /// Called by the loop of the processor.
    pub(crate) unsafe fn install_host(&self) {
        if self.owner.get() == HOST {
            return;
        }
        // SAFETY: by contract.
        unsafe { self.save_owner() };
        let host = self.host.take();
        self.install_bytes(host.as_ref());
        self.host.set(host);
        self.owner.set(HOST);
    }

    /// Forgets the owner, which has ended: its bytes are a new thread's again.
    pub(crate) fn forget_owner(&self) {
        self.owner.set(ptr::null());
        self.any.set(false);
    }

    /// The goroutine that is the owner, if it is one.
    ///
    /// # Safety
    /// The owner is live.
    #[inline]
    unsafe fn owning_goroutine(&self) -> Option<&PrivateWord> {
        let owner = self.owner.get();
        // SAFETY: by contract.
        if owner == HOST { None } else { unsafe { owner.as_ref() } }
    }

    /// Saves what the owner has changed.
    ///
    /// # Safety
    /// The owner is live, or none.
    #[inline]
    unsafe fn save_owner(&self) {
        if self.owner.get().is_null() {
            if self.poisoned.get() {
                self.check_poison();
            }
            return;
        }
        // SAFETY: by contract.
        let goroutine = unsafe { self.owning_goroutine() };
        // A goroutine that had bytes of its own mostly has them still.
        if goroutine.is_some_and(|goroutine| goroutine.has_private()) || !self.is_pristine() {
            self.save(goroutine);
        } else {
            self.any.set(false);
            if goroutine.is_none() {
                self.host.set(None);
            }
        }
    }

    /// Whether what is in place is the same as on a new thread. The common case of every switch.
    #[inline]
    fn is_pristine(&self) -> bool {
        // The compiler vectorises this loop, which is most of the cost of a switch.
        let mut all = [0; 2];
        for [one, other] in &self.pairs {
            let (one, other) = (one.differences(), other.differences());
            all = std::array::from_fn(|half| all[half] | one[half] | other[half]);
        }
        all[0] | all[1] == 0
    }

    /// Saves the bytes in place for this goroutine, or for the processor's own code.
    #[cold]
    #[inline(never)]
    fn save(&self, goroutine: Option<&PrivateWord>) {
        self.note_differences();
        let private = goroutine.map_or_else(|| self.host.take(), |goroutine| goroutine.take_private());
        let mut private = private.unwrap_or_else(|| Owned::new(self.map));
        let differ = self.differ.iter().map(Cell::get);
        private.keep(self.map, differ, |index| self.local_words[index].get());
        match goroutine {
            Some(goroutine) => goroutine.put_private(Some(private)),
            None => self.host.set(Some(private)),
        }
    }

    fn note_differences(&self) {
        self.any.set(false);
        self.differ.iter().for_each(|chunk| chunk.set(0));
        for pair in self.pairs.as_flattened() {
            let differ = pair.differences();
            if differ[0] | differ[1] == 0 {
                continue;
            }
            self.any.set(true);
            for (differs, number) in differ.into_iter().zip(pair.numbers) {
                if differs != 0 {
                    let chunk = &self.differ[number as usize / 64];
                    chunk.set(chunk.get() | 1 << (number % 64));
                }
            }
        }
    }

    /// Writes the given bytes to their places, and a new thread's bytes wherever there are none but
    /// others are in place.
    #[cold]
    #[inline(never)]
    fn install_bytes(&self, private: Option<&Owned>) {
        let kept: &[u64] = private.map_or(&[], |private| private.kept(self.map));
        let mut words = private.map_or(&[][..], |private| private.words(self.map)).iter();
        let mut any = false;
        for (chunk, (differ, local_words)) in self.differ.iter().zip(self.local_words.chunks(64)).enumerate()
        {
            let kept = kept.get(chunk).copied().unwrap_or(0);
            if self.any.get() {
                for local_word in bits(differ.get() & !kept) {
                    local_words[local_word].set(local_words[local_word].pristine);
                }
            }
            for (local_word, word) in bits(kept).zip(&mut words) {
                local_words[local_word].set(*word);
            }
            differ.set(kept);
            any |= kept != 0;
        }
        self.any.set(any);
    }

    /// Ends the goroutine in place: drops what std keeps for it, and resets the bytes to a new
    /// thread's.
    ///
    /// # Safety
    /// Called by the goroutine in place after its destructors have run; it uses no thread-local
    /// after this.
    #[inline]
    pub(crate) unsafe fn end_of_owner(&self) {
        if !self.is_pristine() {
            self.wipe();
        }
    }

    #[cold]
    #[inline(never)]
    fn wipe(&self) {
        let set = |index: &usize| self.local_words[*index].differs();
        if !self.map.handle.is_empty() && self.map.handle.iter().all(set) {
            drop_handle();
        }
        self.note_differences();
        self.install_bytes(None);
    }

    /// The stress mode: saves the owner's bytes although nothing else needs the place, and writes a
    /// pattern, so that code of the runtime that uses a goroutine's thread-local is noticed.
    ///
    /// # Safety
    /// Called by the loop of the processor, between goroutines.
    pub(crate) unsafe fn evict(&self) {
        // SAFETY: by contract.
        unsafe { self.save_owner() };
        for local_word in &self.local_words {
            local_word.set(POISON);
        }
        for (chunk, bits) in self.differ.iter().enumerate() {
            let left = self.local_words.len() - chunk * 64;
            bits.set(if left >= 64 { u64::MAX } else { (1 << left) - 1 });
        }
        self.owner.set(ptr::null());
        self.any.set(!self.local_words.is_empty());
        self.poisoned.set(self.any.get());
    }

    #[cold]
    fn check_poison(&self) {
        self.poisoned.set(false);
        for (index, local_word) in self.local_words.iter().enumerate() {
            assert!(
                (local_word.get() ^ POISON) & local_word.mask == 0,
                "code of the runtime has used a thread-local of the program's, at {:?}",
                self.map.words.get(index)
            );
        }
    }

    /// Keeps a goroutine's floating-point control state with the goroutine, which has changed it,
    /// and restores the default for the processor's own code and for other goroutines.
    ///
    /// # Safety
    /// Called by the loop of the processor. The record is that of the goroutine that has just run.
    #[cold]
    pub(crate) unsafe fn keep_float(&self, goroutine: &PrivateWord, float: FloatControl) {
        FloatControl::DEFAULT.set();
        if !goroutine.has_private() {
            goroutine.put_private(Some(Owned::new(self.map)));
        }
        // SAFETY: the goroutine, which alone would use them, does not run.
        if let Some(private) = unsafe { goroutine.private() } {
            private.float = float;
        }
    }

    /// The reverse, before the goroutine runs.
    ///
    /// # Safety
    /// Called by the loop of the processor, before the goroutine runs.
    #[inline]
    pub(crate) unsafe fn set_float(&self, goroutine: &PrivateWord) {
        // SAFETY: as above.
        if let Some(private) = unsafe { goroutine.private() }
            && private.float != FloatControl::DEFAULT
        {
            std::mem::replace(&mut private.float, FloatControl::DEFAULT).set();
        }
    }

    /// Whether an address is among the bytes that are exchanged.
    pub(crate) fn contains(&self, address: usize) -> bool {
        self.local_words.iter().any(|local_word| {
            let byte = address.wrapping_sub(local_word.at.addr());
            byte < 8 && local_word.mask.to_ne_bytes()[byte] != 0
        })
    }
}

impl LocalWord {
    #[inline]
    fn get(&self) -> u64 {
        // SAFETY: the word is in the processor's block, which only the carrier uses.
        unsafe { self.at.read() }
    }

    #[inline]
    fn set(&self, value: u64) {
        // SAFETY: as above; bits that do not belong to goroutines stay.
        unsafe { self.at.write((self.get() & !self.mask) | (value & self.mask)) };
    }

    #[inline]
    fn differs(&self) -> bool {
        (self.get() ^ self.pristine) & self.mask != 0
    }
}

impl Pair {
    #[inline(always)]
    fn differences(&self) -> [u64; 2] {
        // SAFETY: both words are in the processor's block, which only the carrier uses.
        let now = unsafe { self.at.read_unaligned() };
        std::array::from_fn(|half| (now[half] ^ self.pristine[half]) & self.mask[half])
    }
}

/// Groups pairs by two. An odd number is filled up by repeating the last pair, which adds no
/// difference.
fn two_by_two(mut pairs: Vec<Pair>) -> Box<[[Pair; 2]]> {
    if let Some(&last) = pairs.last()
        && !pairs.len().is_multiple_of(2)
    {
        pairs.push(last);
    }
    pairs.chunks_exact(2).map(|two| [two[0], two[1]]).collect()
}

/// Groups words into pairs; `first_number` is the index of the first word. The words are in order,
/// in a block that ends at `end` and has more than one word.
fn in_pairs(local_words: &[LocalWord], first_number: usize, end: usize) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    for (local_word, number) in local_words.iter().zip(first_number as u32..) {
        let at = local_word.at.cast_const();
        // A pair must not reach beyond the block: at its end it begins a word earlier.
        let next = pairs.last().is_none_or(|pair| pair.at.addr() + 8 < at.addr());
        if next {
            let first = if at.addr() + 16 <= end { at } else { at.wrapping_sub(1) };
            pairs.push(Pair { pristine: [0; 2], mask: [0; 2], at: first.cast(), numbers: [0; 2] });
        }
        let pair = pairs.last_mut().expect("there is one now");
        let half = usize::from(pair.at.addr() != at.addr());
        (pair.pristine[half], pair.mask[half], pair.numbers[half]) =
            (local_word.pristine, local_word.mask, number);
    }
    pairs
}

/// Drops the handle that std has made for the goroutine as for a thread. std would drop its own
/// reference at the end of the thread.
fn drop_handle() {
    let handle = std::thread::current();
    // SAFETY: the thread-local owns one reference and is about to be overwritten, so that reference
    // is ours to drop. `read` copies the same pointer that `handle` has.
    drop(unsafe { ptr::read(&handle) });
    drop(handle);
}
