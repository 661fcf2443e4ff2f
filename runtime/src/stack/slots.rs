//! A processor's slots: who lives where, who is resident, and the copying between.
//!
//! Touched only by whoever carries the processor; the copying ([`Slots::bring_in`]) only from the processor's own
//! stack, since the stacks it writes must not be in use.
//!
//! Most slots are shared. Those of the *reserve* have one inhabitant each while there are enough of them: goroutines that
//! would be expensive to copy, as far as can be told when they start ([`super::sites`]).
//!
//! Invariants:
//! - The bytes of a suspended goroutine are in its slot if it is the slot's `occupant`, else in its image.
//! - The `occupant` of a slot is a goroutine whose home is this slot, or null.
//! - A stack of a goroutine's own has no other inhabitant, so its goroutine is always resident.
//! - The `resident` word of a slot is the number of its `occupant`, or 0; [`super::residents`] says who reads it.

use super::arena::Arena;
use super::geometry::Geometry;
use super::own::OwnStack;
use super::scavenge::{self, History, Scavenge, Verdict, Visit};
use super::sites::{Build, Sites};
use super::{Bounds, SMALLEST};
use crate::goroutine::record::Record;
use std::io;
use std::mem::offset_of;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// A goroutine's home: the index of a slot, or of an own stack.
///
/// Three bytes, because it stands in every goroutine's record: there may be more own stacks than 15 bits can tell apart.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, packed)]
pub(crate) struct Home {
    low: u16,
    /// Zero for a slot; the mark and further bits of the index for an own stack.
    high: u8,
}

impl Home {
    const OWN: u8 = 1 << 7;
    /// How many own stacks a processor can tell apart.
    const MOST_OWN: usize = 1 << 23;

    fn of_slot(index: u16) -> Home {
        Home { low: index, high: 0 }
    }

    fn of_own(index: u32) -> Home {
        Home { low: index as u16, high: (index >> 16) as u8 | Home::OWN }
    }

    /// Whether nobody else lives here, so that the goroutine's bytes never move.
    #[inline]
    pub(crate) fn is_own(self) -> bool {
        self.high != 0
    }

    /// The index of an own stack.
    #[inline]
    fn own(self) -> Option<usize> {
        self.is_own().then_some((self.high & !Home::OWN) as usize * (1 << 16) + self.low as usize)
    }

    /// The index of a slot, if it is one.
    #[inline]
    fn slot(self) -> usize {
        self.low as usize
    }
}

struct Slot {
    bounds: Bounds,
    occupant: *mut Record,
    /// The number of the occupant, for everybody.
    resident: &'static AtomicU64,
    /// Goroutines whose home this is.
    inhabitants: u32,
    /// The most that was copied out since the last visit of the scavenger, in bytes.
    used: u32,
}

impl Slot {
    /// Relaxed: see [`super::residents`].
    #[inline]
    fn set_occupant(&mut self, occupant: *mut Record, id: u64) {
        self.occupant = occupant;
        self.resident.store(id, Ordering::Relaxed);
    }

    fn remove_occupant(&mut self) {
        self.set_occupant(ptr::null_mut(), 0);
    }

    /// Copies the live bytes of the occupant to its image.
    ///
    /// # Safety
    /// There is an occupant, and it is suspended in this slot.
    #[inline]
    unsafe fn copy_out(&mut self, sites: &mut Sites, copied: &mut Copied) {
        let base = self.bounds.base;
        // SAFETY: records of live goroutines are valid, and only their processor touches these fields. The occupant's live
        // bytes are `[sp, base)` of this slot.
        unsafe {
            let occupant = &mut *self.occupant;
            occupant.image.save(occupant.sp, base);
            self.note_copy(occupant, sites, copied);
        }
    }

    #[inline]
    fn note_copy(&mut self, occupant: &Record, sites: &mut Sites, copied: &mut Copied) {
        let live = self.bounds.base - occupant.sp;
        self.used = self.used.max(live as u32);
        copied.times += 1;
        copied.bytes += live;
        if sites.cares(live) {
            sites.note(occupant.origin.spawned_at(), live);
        }
    }
}

/// How often stacks have been copied out, and how many bytes that were.
#[derive(Clone, Copy, Default)]
pub(crate) struct Copied {
    pub(crate) times: usize,
    pub(crate) bytes: usize,
}

struct Own {
    stack: OwnStack,
    /// Null until it has entered the stack.
    goroutine: *mut Record,
    history: History,
}

pub(crate) struct Slots {
    geometry: Geometry,
    arena: Arena,
    /// Where the reserve lies, once there is a use for it.
    reserve: Option<Arena>,
    /// The shared slots, then those of the reserve.
    open: Vec<Slot>,
    /// For each open slot. Apart, so that what a switch looks at stays small.
    histories: Vec<History>,
    /// How many are shared, and how many there may be with the reserve: what the geometry says, or fewer once the system
    /// has refused one.
    shared: usize,
    allowed: usize,
    /// Open slots without inhabitants, the one used last on top: its pages are the warmest.
    empty: Vec<u16>,
    empty_reserve: Vec<u16>,
    /// Where the next choice among crowded slots looks.
    cursor: usize,
    own: Vec<Option<Own>>,
    own_free: Vec<u32>,
    sites: Sites,
    copied: Copied,
    pass: Option<Pass>,
}

/// For a debugger: where among the slots stand those that are open, how large one is, and where in it are its base and its
/// occupant.
pub(crate) const PLACES: [usize; 4] = [
    offset_of!(Slots, open),
    size_of::<Slot>(),
    offset_of!(Slot, bounds) + offset_of!(Bounds, base),
    offset_of!(Slot, occupant),
];

/// A pass of the scavenger that is under way: first the slots, then the own stacks.
struct Pass {
    next: usize,
    /// How many stacks have been visited since the monitor asked.
    visited: usize,
    /// Whether anything has run since the last pass, and whether all stacks seen so far are settled.
    ran: bool,
    settled: bool,
}

/// So many slots of the reserve are opened for goroutines that are only plump.
const RESERVED_FOR_PLUMP: usize = 64;

/// So many stacks are visited each time that the monitor asks, which takes some milliseconds. Where there are more, a pass
/// takes several times.
const VISITS_AT_ONCE: usize = 4 << 10;

/// What eviction under the stress mode leaves where the live bytes were.
const POISON: u8 = 0xdb;

impl Slots {
    /// Opens the first slot at once, so that a processor that exists can run something.
    pub(crate) fn new(geometry: Geometry) -> io::Result<Slots> {
        let mut slots = Slots {
            geometry,
            arena: Arena::new(geometry.stride, geometry.slots)?,
            reserve: None,
            open: Vec::new(),
            histories: Vec::new(),
            shared: geometry.slots,
            allowed: geometry.slots + geometry.reserve,
            empty: Vec::new(),
            empty_reserve: Vec::new(),
            cursor: 0,
            own: Vec::new(),
            own_free: Vec::new(),
            sites: Sites::new(),
            copied: Copied::default(),
            pass: None,
        };
        let first = slots.open_next()?;
        slots.empty.push(first);
        Ok(slots)
    }

    /// Opens the next slot: of the reserve if all shared ones are open.
    fn open_next(&mut self) -> io::Result<u16> {
        let index = self.open.len();
        let (bounds, resident) = match index.checked_sub(self.shared) {
            None => (self.arena.open(index, SMALLEST)?, self.arena.resident(index)),
            Some(index) => {
                let Geometry { stride, reserve, .. } = self.geometry;
                if self.reserve.is_none() {
                    self.reserve = Some(Arena::new(stride, reserve)?);
                }
                let arena = self.reserve.as_ref().expect("just made");
                // Sharing is better than a smaller stack.
                (arena.open(index, self.geometry.largest())?, arena.resident(index))
            }
        };
        self.open.push(Slot { bounds, occupant: ptr::null_mut(), resident, inhabitants: 0, used: 0 });
        self.histories.push(History::default());
        Ok(index as u16)
    }

    /// Whether the bytes of a suspended goroutine are where it runs.
    pub(crate) fn is_resident(&self, goroutine: &Record) -> bool {
        goroutine.home.is_own() || ptr::eq(self.open[goroutine.home.slot()].occupant, goroutine)
    }

    /// Whose bytes are in this home.
    ///
    /// # Safety
    /// Called by whoever carries the processor; the reference is not kept beyond the next turn.
    pub(crate) unsafe fn occupant(&self, home: Home) -> Option<&Record> {
        // SAFETY: occupants are live.
        (!home.is_own()).then(|| unsafe { self.open[home.slot()].occupant.as_ref() }).flatten()
    }

    pub(crate) fn copied(&self) -> Copied {
        self.copied
    }

    /// How many slots and own stacks have an inhabitant.
    pub(crate) fn in_use(&self) -> usize {
        let idle = self.empty.len() + self.empty_reserve.len() + self.own_free.len();
        self.open.len() + self.own.len() - idle
    }

    /// Gives a goroutine its home: `own`, or a slot as [`choose`](Slots::choose) says.
    pub(crate) fn settle(&mut self, own: Option<OwnStack>, spawned_at: &'static Location<'static>) -> Home {
        if let Some(own) = own {
            return self.settle_own(own);
        }
        let index = self.choose(spawned_at);
        self.open[index as usize].inhabitants += 1;
        Home::of_slot(index)
    }

    /// A shared slot that nobody lives in while there is one. Then one of the reserve for a goroutine that will probably be
    /// expensive to copy, and the less crowded of two shared ones for any other.
    fn choose(&mut self, spawned_at: &'static Location<'static>) -> u16 {
        if let Some(index) = self.empty.pop().or_else(|| self.open_below(self.shared)) {
            return index;
        }
        let shared = self.less_crowded(0, self.shared.min(self.open.len()));
        let mut build = self.sites.expect(spawned_at);
        if build == Build::Thin && self.open[shared as usize].inhabitants == 1 {
            // Once they share, it is too late to find out.
            self.look_at_inhabitants();
            build = self.sites.expect(spawned_at);
        }
        self.choose_reserved(build).unwrap_or(shared)
    }

    /// Notes what those are like that live in a shared slot alone, and so have not been copied.
    #[cold]
    fn look_at_inhabitants(&mut self) {
        for slot in self.open.iter().take(self.shared).filter(|slot| slot.inhabitants == 1) {
            // SAFETY: an occupant is a live record, and nobody runs while we do.
            let (occupant, live) =
                unsafe { (slot.occupant.as_ref(), live_bytes(slot.occupant, slot.bounds)) };
            if let Some(occupant) = occupant
                && self.sites.cares(live)
            {
                self.sites.note(occupant.origin.spawned_at(), live);
            }
        }
    }

    /// A slot of the reserve for a goroutine of this build, if it is to have one.
    fn choose_reserved(&mut self, build: Build) -> Option<u16> {
        let limit = match build {
            Build::Thin => return None,
            Build::Plump => self.allowed.min(self.shared + RESERVED_FOR_PLUMP),
            Build::Fat => self.allowed,
        };
        let free = self.empty_reserve.pop().or_else(|| self.open_below(limit));
        // Where there is no more, fat ones share a few of the reserve, so that the rest of them still need no copying.
        let crowded = build == Build::Fat && self.open.len() > self.shared;
        free.or_else(|| crowded.then(|| self.less_crowded(self.shared, self.open.len().min(2 * self.shared))))
    }

    /// Opens a slot if fewer than `limit` are open and the system agrees.
    fn open_below(&mut self, limit: usize) -> Option<u16> {
        if self.open.len() >= limit {
            return None;
        }
        let opened = self.open_next().ok();
        if opened.is_none() {
            // Refused: those that are open have to do.
            self.allowed = self.open.len();
            self.shared = self.shared.min(self.allowed);
        }
        opened
    }

    /// One of two slots among those from `low` to `high`.
    fn less_crowded(&mut self, low: usize, high: usize) -> u16 {
        let n = high - low;
        let (a, b) = (low + self.cursor % n, low + (self.cursor + n / 2) % n);
        self.cursor = self.cursor.wrapping_add(1);
        if self.open[b].inhabitants < self.open[a].inhabitants { b as u16 } else { a as u16 }
    }

    fn settle_own(&mut self, stack: OwnStack) -> Home {
        let own = Own { stack, goroutine: ptr::null_mut(), history: History::default() };
        let index = match self.own_free.pop() {
            Some(index) => {
                self.own[index as usize] = Some(own);
                index
            }
            None => {
                assert!(self.own.len() < Home::MOST_OWN, "too many own stacks on one processor");
                self.own.push(Some(own));
                (self.own.len() - 1) as u32
            }
        };
        Home::of_own(index)
    }

    pub(crate) fn bounds(&self, home: Home) -> Bounds {
        match home.own() {
            None => self.open[home.slot()].bounds,
            Some(own) => self.own[own].as_ref().expect("a goroutine's own stack outlives it").stack.bounds(),
        }
    }

    /// Where the stack of a goroutine begins that is about to run for the first time.
    ///
    /// # Safety
    /// As for [`bring_in`](Slots::bring_in), which has been called.
    pub(crate) unsafe fn enter(&mut self, goroutine: *mut Record) -> usize {
        // SAFETY: by contract.
        let home = unsafe { (*goroutine).home };
        if let Some(own) = home.own()
            && let Some(own) = &mut self.own[own]
        {
            own.goroutine = goroutine;
        }
        self.bounds(home).base
    }

    /// Makes the goroutine's slot hold its bytes: copies the occupant out, and the newcomer in if it was suspended
    /// (`sp` is not zero). Afterwards the goroutine may be switched to.
    ///
    /// # Safety
    /// Called on the processor's own stack; `goroutine` is suspended or has never run, and its home is one of these
    /// slots.
    #[inline]
    pub(crate) unsafe fn bring_in(&mut self, goroutine: *mut Record) {
        // SAFETY: records of live goroutines are valid, and only the processor that runs us touches these fields.
        let home = unsafe { (*goroutine).home };
        if home.is_own() {
            return;
        }
        let slot = &mut self.open[home.slot()];
        if slot.occupant == goroutine {
            return;
        }
        let base = slot.bounds.base;
        // SAFETY: the occupant is suspended, so its live bytes are `[sp, base)` of this slot, and no one runs on them while we are
        // on the processor's stack. Not being the occupant, the goroutine was copied out when it last was, or never ran.
        let id = unsafe {
            let newcomer = &mut *goroutine;
            match slot.occupant.as_mut() {
                // As it mostly is where many do the same.
                Some(occupant) if occupant.sp == newcomer.sp => {
                    newcomer.image.exchange(&mut occupant.image, newcomer.sp, base);
                    slot.note_copy(occupant, &mut self.sites, &mut self.copied);
                }
                occupant => {
                    if occupant.is_some() {
                        slot.copy_out(&mut self.sites, &mut self.copied);
                    }
                    if newcomer.sp != 0 {
                        newcomer.image.restore(newcomer.sp, base);
                    }
                }
            }
            newcomer.id
        };
        slot.set_occupant(goroutine, id);
    }

    /// Copies a suspended goroutine out although nobody wants its place, and poisons what it leaves behind, so that
    /// a pointer into it shows itself: the stress mode.
    ///
    /// # Safety
    /// As for [`bring_in`](Slots::bring_in); the goroutine is resident.
    pub(crate) unsafe fn evict(&mut self, goroutine: *mut Record) {
        // SAFETY: as in `bring_in`.
        let (home, sp) = unsafe { ((*goroutine).home, (*goroutine).sp) };
        if home.is_own() {
            return;
        }
        let slot = &mut self.open[home.slot()];
        let Bounds { base, limit } = slot.bounds;
        // A little below the stack pointer, too: nothing may rely on what lies there either.
        let low = (sp - 256).max(limit);
        // SAFETY: the goroutine is resident by contract, hence the occupant. Then the bytes are the slot's alone.
        unsafe {
            slot.copy_out(&mut self.sites, &mut self.copied);
            ptr::write_bytes(low as *mut u8, POISON, base - low);
        }
        slot.remove_occupant();
    }

    /// Gives back all of a suspended goroutine's stack that it does not need: the other stress mode.
    ///
    /// # Safety
    /// As for [`evict`](Slots::evict).
    pub(crate) unsafe fn strip(&mut self, goroutine: *mut Record) {
        // SAFETY: as in `bring_in`; being suspended and resident, it needs what lies above its stack pointer.
        unsafe {
            let bounds = self.bounds((*goroutine).home);
            scavenge::strip(bounds, live_bytes(goroutine, bounds));
        }
    }

    /// Ends a finished goroutine's stay. An own stack is unmapped here.
    ///
    /// # Safety
    /// Called on the processor's own stack, once, with the home of a goroutine that will not run again and is its
    /// slot's occupant.
    pub(crate) unsafe fn vacate(&mut self, home: Home) {
        match home.own() {
            Some(own) => {
                self.own[own] = None;
                self.own_free.push(own as u32);
            }
            None => {
                let slot = &mut self.open[home.slot()];
                slot.remove_occupant();
                slot.inhabitants -= 1;
                if slot.inhabitants == 0 {
                    let shared = home.slot() < self.shared;
                    if shared { &mut self.empty } else { &mut self.empty_reserve }.push(home.low);
                }
            }
        }
    }

    /// Makes a pass over all stacks, or a part of it: it visits not many, and no more after the first that is shrunk,
    /// because goroutines wait meanwhile.
    ///
    /// # Safety
    /// Called on the processor's own stack, by the processor with this agreement and so many `switches`.
    #[cold]
    pub(crate) unsafe fn scavenge(&mut self, agreement: &Scavenge, switches: usize) {
        const PART: usize = 64;
        let mut pass = self.pass.take().unwrap_or(Pass { next: 0, visited: 0, ran: false, settled: true });
        if pass.visited == 0 {
            pass.ran |= agreement.begin(switches);
        }
        for _ in 0..PART {
            // SAFETY: by contract.
            let Some(verdict) = (unsafe { self.visit(pass.next, pass.ran) }) else {
                agreement.end(pass.settled);
                return;
            };
            pass.next += 1;
            pass.visited += 1;
            pass.settled &= verdict == Verdict::Settled;
            if let Verdict::Shrink(_) = verdict {
                agreement.shrinks.add(1);
                break;
            }
        }
        if pass.visited >= VISITS_AT_ONCE {
            // The next time that it is asked the pass goes on here.
            pass.visited = 0;
            agreement.end(false);
        }
        self.pass = Some(pass);
    }

    /// Visits one stack; `None` if there are no more.
    ///
    /// # Safety
    /// As for `scavenge`.
    unsafe fn visit(&mut self, index: usize, ran: bool) -> Option<Verdict> {
        let (history, visit) = match self.open.get_mut(index) {
            Some(slot) => {
                // SAFETY: the occupant is a live record, and nobody runs while we do.
                let live = unsafe { live_bytes(slot.occupant, slot.bounds) };
                // SAFETY: as above. Its bytes are in the slot, so its image holds nothing of value.
                if let Some(occupant) = unsafe { slot.occupant.as_mut() } {
                    occupant.image.release_if_too_large(live);
                    // Those of the reserve are never copied out.
                    if index >= self.shared {
                        self.sites.note(occupant.origin.spawned_at(), live);
                    }
                }
                let used = (std::mem::take(&mut slot.used) as usize).max(live);
                (&mut self.histories[index], Visit { bounds: slot.bounds, live, used, ran })
            }
            None => {
                let Some(own) = self.own.get_mut(index - self.open.len())? else {
                    return Some(Verdict::Settled);
                };
                let bounds = own.stack.bounds();
                // SAFETY: a stack of a goroutine's own goes with it, so the record is live; nobody runs while we do.
                let live = unsafe { live_bytes(own.goroutine, bounds) };
                (&mut own.history, Visit { bounds, live, used: live, ran })
            }
        };
        // SAFETY: the stack is open, all goroutines are suspended, and one that is not resident has its bytes in its image.
        Some(unsafe { history.visit(&visit) })
    }
}

/// How many bytes below the base of its stack a suspended goroutine needs. Null needs none.
///
/// # Safety
/// The record is live, or null.
unsafe fn live_bytes(goroutine: *mut Record, bounds: Bounds) -> usize {
    // SAFETY: by contract.
    match unsafe { goroutine.as_ref() } {
        Some(goroutine) if goroutine.sp != 0 => {
            debug_assert!((bounds.limit..bounds.base).contains(&goroutine.sp));
            bounds.base - goroutine.sp
        }
        // Nobody, or one that has not run: nothing of its is there.
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_keeps_its_index_and_its_kind() {
        for index in [0, 1, 255, 1 << 15, u16::MAX] {
            let home = Home::of_slot(index);
            assert!(!home.is_own() && home.own().is_none() && home.slot() == index as usize);
        }
        for index in [0, 1, u16::MAX as u32, 1 << 16, Home::MOST_OWN as u32 - 1] {
            assert_eq!(Home::of_own(index).own(), Some(index as usize));
        }
    }
}
