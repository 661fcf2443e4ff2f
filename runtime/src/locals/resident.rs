//! A processor's part: which goroutine's thread-locals are in place, and the exchange.
//!
//! Touched only by the code that carries the processor. Invariants:
//! - The bytes in place are those of the `owner`: a goroutine, the processor's own code (`HOST`:
//!   its loop when it needs std, or a pinned worker), or of a new thread.
//! - All others have theirs in their [`Private`], or have none and are as a new thread.
//! - `differ` says, for each word, whether what is in place may differ from a new thread's since
//!   the last exchange. It is not kept up while an owner runs.

use super::map::{self, Map};
use super::ours;
use super::private::{Owned, bits};
use crate::arch::FloatControl;
use crate::goroutine::record::Record;
use crate::sys;
use std::ptr;

/// One word of what is exchanged, in the processor's block.
struct Place {
    at: *mut u64,
    /// Which of its bits are a goroutine's.
    mask: u64,
    /// What a new thread finds there.
    pristine: u64,
}

/// Two neighbouring words, of which at least one is exchanged: what is compared at once.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Pair {
    pristine: [u64; 2],
    mask: [u64; 2],
    at: *const [u64; 2],
    /// Which places they are; of no meaning where the mask is zero.
    numbers: [u32; 2],
}

pub(crate) struct Resident {
    owner: *mut Record,
    /// Whether any bit of `differ` is set.
    any: bool,
    /// Under the stress mode: the bytes in place are a pattern, which nothing may have changed.
    poisoned: bool,
    map: &'static Map,
    /// In order of their addresses, but for the last ones, which are those of a C++ runtime.
    places: Box<[Place]>,
    /// All places, for the look at every switch: two pairs at a time.
    pairs: Box<[[Pair; 2]]>,
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
        // Found by what is in it: a module that was loaded late has its block anywhere, once it is
        // used.
        let base = ours::with(|ours| ptr::from_ref(ours).addr()) - map.ours;
        let mut places = Vec::new();
        for word in &map.words {
            let at = (base + word.at) as *mut u64;
            places.push(Place { at, mask: word.mask, pristine: word.pristine });
        }
        let mut pairs = in_pairs(&places, 0, base + map.length);
        if map.exceptions
            && let Some(globals) = sys::exception_globals()
        {
            let theirs = (0..map::EXCEPTION_WORDS).map(|word| Place {
                at: globals.wrapping_add(word),
                mask: u64::MAX,
                pristine: 0,
            });
            let first = places.len();
            places.extend(theirs);
            let end = globals.wrapping_add(map::EXCEPTION_WORDS).addr();
            pairs.extend(in_pairs(&places[first..], first, end));
        }
        Resident {
            owner: HOST,
            any: false,
            poisoned: false,
            map,
            differ: vec![0; map.chunks()].into(),
            places: places.into(),
            pairs: two_by_two(pairs),
            host: None,
        }
    }

    /// Puts a goroutine's bytes in place.
    ///
    /// # Safety
    /// Called by the loop of the processor. The record is one of this processor's goroutines',
    /// which runs next.
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
            // Neither has anything of its own: what most goroutines pay.
            if self.owner > HOST
                && !(*self.owner).origin.has_private()
                && !(*goroutine).origin.has_private()
                && self.is_pristine()
            {
                self.any = false;
                self.owner = goroutine;
                return;
            }
            self.exchange_private(goroutine);
        }
    }

    /// # Safety
    /// As for `install`.
    #[inline(never)]
    unsafe fn exchange_private(&mut self, goroutine: *mut Record) {
        // SAFETY: as above.
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
            // What had something of its own mostly has it still.
            let had = self.owner != HOST && (*self.owner).origin.has_private();
            if had || !self.is_pristine() {
                self.save();
            } else {
                self.any = false;
                if self.owner == HOST {
                    self.host = None;
                }
            }
        }
    }

    /// Whether what is in place is what a new thread finds. The common case of every switch.
    #[inline]
    fn is_pristine(&self) -> bool {
        // The compiler makes vectors of this, whose instructions are most of what a switch pays.
        let mut all = [0; 2];
        for [one, other] in &self.pairs {
            let (one, other) = (one.differences(), other.differences());
            all = std::array::from_fn(|half| all[half] | one[half] | other[half]);
        }
        all[0] | all[1] == 0
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
        private.keep(self.map, &self.differ, |index| this.places[index].get());
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
        self.differ.fill(0);
        for pair in self.pairs.as_flattened() {
            let differ = pair.differences();
            if differ[0] | differ[1] == 0 {
                continue;
            }
            self.any = true;
            for (differs, number) in differ.into_iter().zip(pair.numbers) {
                if differs != 0 {
                    self.differ[number as usize / 64] |= 1 << (number % 64);
                }
            }
        }
    }

    /// Writes these bytes where they belong, and a new thread's where they have nothing and
    /// something else is.
    #[cold]
    #[inline(never)]
    fn bring(&mut self, private: Option<&Owned>) {
        let kept: &[u64] = private.map_or(&[], |private| private.kept(self.map));
        let mut words = private.map_or(&[][..], |private| private.words(self.map)).iter();
        let mut any = false;
        for (chunk, (differ, places)) in self.differ.iter_mut().zip(self.places.chunks(64)).enumerate() {
            let kept = kept.get(chunk).copied().unwrap_or(0);
            if self.any {
                for place in bits(*differ & !kept) {
                    places[place].set(places[place].pristine);
                }
            }
            for (place, word) in bits(kept).zip(&mut words) {
                places[place].set(*word);
            }
            *differ = kept;
            any |= kept != 0;
        }
        self.any = any;
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
        let set = |index: &usize| self.places[*index].differs();
        if !self.map.handle.is_empty() && self.map.handle.iter().all(set) {
            give_back_handle();
        }
        self.note_differences();
        self.bring(None);
    }

    /// Under the stress mode: saves the owner's bytes although nothing wants the place, and leaves
    /// a pattern, so that code of the runtime that uses a goroutine's thread-local is found out.
    ///
    /// # Safety
    /// Called by the loop of the processor, between goroutines.
    pub(crate) unsafe fn evict(&mut self) {
        // SAFETY: by contract.
        unsafe { self.put_away() };
        for place in &self.places {
            place.set(POISON);
        }
        for (chunk, bits) in self.differ.iter_mut().enumerate() {
            let left = self.places.len() - chunk * 64;
            *bits = if left >= 64 { u64::MAX } else { (1 << left) - 1 };
        }
        self.owner = ptr::null_mut();
        self.any = !self.places.is_empty();
        self.poisoned = self.any;
    }

    #[cold]
    fn check_poison(&mut self) {
        self.poisoned = false;
        for (index, place) in self.places.iter().enumerate() {
            assert!(
                (place.get() ^ POISON) & place.mask == 0,
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
        self.places.iter().any(|place| {
            let byte = address.wrapping_sub(place.at.addr());
            byte < 8 && place.mask.to_ne_bytes()[byte] != 0
        })
    }
}

impl Place {
    #[inline]
    fn get(&self) -> u64 {
        // SAFETY: the word lies in the processor's block, which only the carrier uses.
        unsafe { self.at.read() }
    }

    #[inline]
    fn set(&self, value: u64) {
        // SAFETY: as above; bits that are not a goroutine's stay.
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
        // SAFETY: both words lie in the processor's block, which only the carrier uses.
        let now = unsafe { self.at.read_unaligned() };
        std::array::from_fn(|half| (now[half] ^ self.pristine[half]) & self.mask[half])
    }
}

/// With one more if the number is odd, in which nothing differs.
fn two_by_two(mut pairs: Vec<Pair>) -> Box<[[Pair; 2]]> {
    if let Some(&last) = pairs.last()
        && !pairs.len().is_multiple_of(2)
    {
        pairs.push(last);
    }
    pairs.chunks_exact(2).map(|two| [two[0], two[1]]).collect()
}

/// Pairs that have all of these places in them, the first of which has this number. They are in
/// order and lie in a block that ends there and has more than one word.
fn in_pairs(places: &[Place], first_number: usize, end: usize) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    for (place, number) in places.iter().zip(first_number as u32..) {
        let at = place.at.cast_const();
        // A pair must not reach beyond the block: at its end it begins a word earlier.
        let next = pairs.last().is_none_or(|pair| pair.at.addr() + 8 < at.addr());
        if next {
            let first = if at.addr() + 16 <= end { at } else { at.wrapping_sub(1) };
            pairs.push(Pair { pristine: [0; 2], mask: [0; 2], at: first.cast(), numbers: [0; 2] });
        }
        let pair = pairs.last_mut().expect("there is one now");
        let half = usize::from(pair.at.addr() != at.addr());
        (pair.pristine[half], pair.mask[half], pair.numbers[half]) = (place.pristine, place.mask, number);
    }
    pairs
}

/// std made a handle for the goroutine as for a thread, and would give its own reference up when
/// the thread ends.
fn give_back_handle() {
    let handle = std::thread::current();
    // SAFETY: the thread-local owns one reference and is about to be overwritten, so that reference
    // is ours to drop. What is read is the same pointer as `handle`'s own.
    drop(unsafe { ptr::read(&handle) });
    drop(handle);
}
