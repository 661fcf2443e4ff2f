//! A processor's slots: which goroutine lives where, which is resident, and the copying between
//! slots and images.
//!
//! Only the carrier touches them. They know goroutines as [`Inhabitant`]s only. The copying
//! ([`Slots::bring_in`]) is done only on the processor's own stack, since the stacks that it writes
//! must not be in use.
//!
//! Most slots are shared. Those of the *reserve* have one inhabitant each while there are enough of
//! them: goroutines that would be expensive to copy, as far as can be told when they start
//! ([`super::sites`]).
//!
//! Invariants:
//! - The bytes of a suspended goroutine are in its slot if it is the slot's `occupant`, else in its
//!   image.
//! - The `occupant` of a slot is a goroutine with this slot as its home, or null.
//! - A stack of a goroutine's own has no other inhabitant, so its goroutine is always resident.
//! - The `resident` word of a slot is the number of its `occupant`, or 0; [`super::residents`] says
//!   what reads it.

use super::arena::Arena;
use super::geometry::Geometry;
use super::home::Home;
use super::image::Image;
use super::own::OwnStack;
use super::pool;
use super::scavenge::{self, History, Scavenge, Verdict, Visit, WARM, WARM_ALONE};
use super::sites::Sites;
use super::{Bounds, SMALLEST};
use std::cell::UnsafeCell;
use std::io;
use std::mem::offset_of;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a stack knows of the goroutine that lives on it: a goroutine's record.
pub(crate) trait Inhabitant {
    fn id(&self) -> u64;
    fn home(&self) -> Home;
    /// Its stack pointer while it is suspended; zero if it has never run.
    fn sp(&self) -> usize;
    /// Belongs to the slots while the inhabitant lives there.
    fn image(&self) -> &UnsafeCell<Image>;
    fn spawned_at(&self) -> &'static Location<'static>;
}

pub(super) struct Slot<T> {
    pub(super) bounds: Bounds,
    /// Live, or null: a goroutine that ends is [removed](Slots::vacate) first.
    occupant: *const T,
    /// The number of the occupant, readable by any thread; 0 if the occupant lives alone.
    pub(super) resident: &'static AtomicU64,
    /// Goroutines that have their home here.
    pub(super) inhabitants: u32,
    /// The most that was copied out since the last visit of the scavenger, in bytes.
    pub(super) used: u32,
    /// Its one inhabitant lives alone, and no other goroutine may move in.
    pub(super) alone: bool,
    /// The occupant waits with its stack in place: nothing is copied here until it goes on.
    pub(super) held: bool,
}

impl<T: Inhabitant> Slot<T> {
    /// A slot that has no memory yet.
    fn closed(resident: &'static AtomicU64) -> Slot<T> {
        let bounds = Bounds { base: 0, limit: 0 };
        Slot { bounds, occupant: ptr::null(), resident, inhabitants: 0, used: 0, alone: false, held: false }
    }

    #[inline]
    pub(super) fn occupant(&self) -> Option<&T> {
        // SAFETY: occupants are live.
        unsafe { self.occupant.as_ref() }
    }

    /// Relaxed: see [`super::residents`].
    #[inline]
    fn set_occupant(&mut self, occupant: *const T, id: u64) {
        self.occupant = occupant;
        self.resident.store(id, Ordering::Relaxed);
    }

    fn remove_occupant(&mut self) {
        self.set_occupant(ptr::null(), 0);
    }

    /// Copies the live bytes of the occupant, which is this goroutine, to its image.
    ///
    /// # Safety
    /// The occupant is suspended in this slot.
    #[inline]
    unsafe fn copy_out(&mut self, occupant: &T, sites: &mut Sites, copied: &mut Copied) {
        let base = self.bounds.base;
        // SAFETY: the image is the slots'. The occupant's live bytes are `[sp, base)` of this slot.
        unsafe { (*occupant.image().get()).save(occupant.sp(), base) };
        self.note_copy(occupant, sites, copied);
    }

    pub(super) fn is_closed_to_newcomers(&self) -> bool {
        self.alone || self.held
    }

    #[inline]
    fn note_copy(&mut self, occupant: &T, sites: &mut Sites, copied: &mut Copied) {
        let live = self.bounds.base - occupant.sp();
        self.used = self.used.max(live as u32);
        copied.times += 1;
        copied.bytes += live;
        if sites.cares(live) {
            sites.note(occupant.spawned_at(), live);
        }
    }
}

/// How often stacks have been copied out, and how many bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Copied {
    pub(crate) times: usize,
    pub(crate) bytes: usize,
}

pub(super) struct Own<T> {
    pub(super) stack: OwnStack,
    /// Null until the goroutine has entered the stack. An own stack is freed with its goroutine.
    pub(super) goroutine: *const T,
    pub(super) history: History,
}

pub(crate) struct Slots<T> {
    pub(super) geometry: Geometry,
    pub(super) arena: Arena,
    /// The address space of the reserve, once there is a use for it.
    pub(super) reserve: Option<Arena>,
    /// First the shared slots, of which only the first `shared` are open; from `reserve_begins` on
    /// those of the reserve.
    pub(super) open: Vec<Slot<T>>,
    /// One for each slot. Kept apart, so that what a switch reads stays small.
    pub(super) histories: Vec<History>,
    pub(super) shared: usize,
    pub(super) reserve_begins: usize,
    /// How many shared slots there may be, and how many slots in all: what the geometry says, or
    /// fewer once the system has refused one.
    pub(super) allowed_shared: usize,
    pub(super) allowed: usize,
    /// Open slots without inhabitants. The one used last is on top: its pages are the warmest.
    pub(super) empty: Vec<u32>,
    pub(super) empty_reserve: Vec<u32>,
    /// Whether every goroutine has a stack of its own.
    pub(super) all_alone: bool,
    /// How many goroutines of a spawn site live alone before they share.
    pub(super) probation: u32,
    /// Whether a goroutine has found no memory for a stack since the processor last gave one back
    /// or looked at all of them. The system is not asked again until then.
    pub(super) lacks_stack: bool,
    /// Where the next choice among crowded slots looks.
    pub(super) cursor: usize,
    pub(super) own: Vec<Option<Own<T>>>,
    pub(super) own_free: Vec<u32>,
    pub(super) sites: Sites,
    copied: Copied,
    pass: Option<Pass>,
}

/// A pass of the scavenger that is under way: first the slots, then the own stacks.
struct Pass {
    next: usize,
    /// How many stacks have been visited since the monitor asked.
    visited: usize,
    /// Whether anything has run since the last pass, and whether all stacks seen so far are
    /// settled.
    ran: bool,
    settled: bool,
}

/// How many stacks are visited each time that the monitor asks, which takes some milliseconds. If
/// there are more, a pass takes several requests.
const VISITS_AT_ONCE: usize = 4 << 10;

/// What eviction in the stress mode writes where the live bytes were.
const POISON: u8 = 0xdb;

impl<T: Inhabitant> Slots<T> {
    /// For a debugger: the offset among the slots of the list of open ones, the size of a slot, and
    /// the offsets in it of its base and its occupant.
    pub(crate) const DEBUGGER_OFFSETS: [usize; 4] = [
        offset_of!(Slots<T>, open),
        size_of::<Slot<T>>(),
        offset_of!(Slot<T>, bounds) + offset_of!(Bounds, base),
        offset_of!(Slot<T>, occupant),
    ];

    /// Opens the first slot at once, so that a new processor can run something.
    pub(crate) fn new(geometry: Geometry, probation: u32) -> io::Result<Slots<T>> {
        let mut slots = Slots {
            geometry,
            arena: Arena::new(geometry.stride, geometry.slots)?,
            reserve: None,
            open: Vec::new(),
            histories: Vec::new(),
            shared: 0,
            reserve_begins: geometry.slots,
            allowed_shared: geometry.slots,
            allowed: geometry.slots + geometry.reserve,
            empty: Vec::new(),
            empty_reserve: Vec::new(),
            all_alone: geometry.all_alone,
            probation,
            lacks_stack: false,
            cursor: 0,
            own: Vec::new(),
            own_free: Vec::new(),
            sites: Sites::new(),
            copied: Copied::default(),
            pass: None,
        };
        slots.open.extend((0..geometry.slots).map(|index| Slot::closed(slots.arena.resident(index))));
        slots.histories.resize_with(geometry.slots, History::default);
        let first = slots.open_shared()?;
        slots.empty.push(first);
        Ok(slots)
    }

    pub(super) fn open_shared(&mut self) -> io::Result<u32> {
        let index = self.shared;
        self.open[index].bounds = self.arena.open(index, SMALLEST)?;
        self.shared += 1;
        Ok(index as u32)
    }

    pub(super) fn open_reserved(&mut self) -> io::Result<u32> {
        let index = self.open.len() - self.reserve_begins;
        let Geometry { stride, reserve, .. } = self.geometry;
        if self.reserve.is_none() {
            self.reserve = Some(Arena::new(stride, reserve)?);
        }
        // Sharing is better than a smaller stack.
        let arena = self.reserve.as_ref().expect("just made");
        let bounds = arena.open(index, self.geometry.largest())?;
        self.open.push(Slot { bounds, ..Slot::closed(arena.resident(index)) });
        self.histories.push(History::default());
        Ok((self.open.len() - 1) as u32)
    }

    /// Whether an address is in the slots. Most goroutines run there, and not on own stacks.
    #[inline]
    pub(crate) fn contain(&self, address: usize) -> bool {
        self.arena.contains(address) || self.reserve.as_ref().is_some_and(|arena| arena.contains(address))
    }

    /// How many bytes below the base of its stack a suspended goroutine needs.
    pub(crate) fn live_bytes(&self, goroutine: &T) -> Live {
        live_bytes(Some(goroutine), self.bounds(goroutine.home()))
    }

    /// Whether the bytes of a suspended goroutine are where it runs.
    pub(crate) fn is_resident(&self, goroutine: &T) -> bool {
        goroutine.home().is_own() || ptr::eq(self.open[goroutine.home().slot()].occupant, goroutine)
    }

    /// The goroutine that has its bytes in this home.
    pub(crate) fn occupant(&self, home: Home) -> Option<&T> {
        (!home.is_own()).then(|| self.open[home.slot()].occupant()).flatten()
    }

    pub(crate) fn copied(&self) -> Copied {
        self.copied
    }

    /// How many slots and own stacks have an inhabitant.
    pub(crate) fn in_use(&self) -> usize {
        let idle = self.empty.len() + self.empty_reserve.len() + self.own_free.len();
        self.shared + (self.open.len() - self.reserve_begins) + self.own.len() - idle
    }

    pub(crate) fn bounds(&self, home: Home) -> Bounds {
        match home.own() {
            None => self.open[home.slot()].bounds,
            Some(own) => self.own[own].as_ref().expect("a goroutine's own stack outlives it").stack.bounds(),
        }
    }

    /// The base of the stack of a goroutine that is about to run for the first time.
    ///
    /// # Safety
    /// As for [`bring_in`](Slots::bring_in), which has been called.
    pub(crate) unsafe fn enter(&mut self, goroutine: &T) -> usize {
        let home = goroutine.home();
        match home.own() {
            Some(own) => self.own[own].as_mut().expect("it lives there").goroutine = goroutine,
            // The goroutine is already the occupant of a shared slot.
            None => self.open[home.slot()].occupant = goroutine,
        }
        self.bounds(home).base
    }

    /// Makes the goroutine's slot hold its bytes: copies the occupant out, and this goroutine in if
    /// it was suspended (`sp` is not zero). Afterwards the goroutine may be switched to. False if
    /// another goroutine holds the slot.
    ///
    /// # Safety
    /// Called on the processor's own stack; `goroutine` is suspended or has never run, and its home
    /// is one of these slots. It stays live until it has been [removed](Slots::vacate).
    #[inline]
    pub(crate) unsafe fn bring_in(&mut self, goroutine: &T) -> bool {
        let home = goroutine.home();
        if home.is_own() {
            return true;
        }
        let slot = &mut self.open[home.slot()];
        if ptr::eq(slot.occupant, goroutine) {
            return true;
        }
        if slot.held {
            return false;
        }
        let (base, sp) = (slot.bounds.base, goroutine.sp());
        let image = goroutine.image().get();
        // SAFETY: an occupant is live. It is suspended, so its live bytes are `[sp, base)` of this
        // slot, and nothing runs on them while we are on the processor's stack. The goroutine is
        // another one, so it was copied out when it last was the occupant, or has never run. The
        // images of both are ours.
        unsafe {
            match slot.occupant.as_ref() {
                // The usual case if many goroutines do the same.
                Some(occupant) if occupant.sp() == sp => {
                    (*image).exchange(&mut *occupant.image().get(), sp, base);
                    slot.note_copy(occupant, &mut self.sites, &mut self.copied);
                }
                occupant => {
                    if let Some(occupant) = occupant {
                        slot.copy_out(occupant, &mut self.sites, &mut self.copied);
                    }
                    if sp != 0 {
                        (*image).restore(sp, base);
                    }
                }
            }
        }
        slot.set_occupant(goroutine, goroutine.id());
        true
    }

    /// Keeps the running goroutine's bytes in its slot from now on, even while it is parked.
    pub(crate) fn hold_slot(&mut self, home: Home) {
        self.open[home.slot()].held = true;
    }

    /// The reverse.
    pub(crate) fn release_slot(&mut self, home: Home) {
        self.open[home.slot()].held = false;
    }

    /// The stress mode: copies a suspended goroutine out although its place is not needed, and
    /// poisons the bytes that it leaves behind, so that a pointer into them is noticed.
    ///
    /// # Safety
    /// As for [`bring_in`](Slots::bring_in); the goroutine is resident.
    pub(crate) unsafe fn evict(&mut self, goroutine: &T) {
        let (home, sp) = (goroutine.home(), goroutine.sp());
        if home.is_own() {
            return;
        }
        let slot = &mut self.open[home.slot()];
        if slot.held {
            return;
        }
        let Bounds { base, limit } = slot.bounds;
        // A little below the stack pointer, too: nothing may rely on those bytes either.
        let low = (sp - 256).max(limit);
        // SAFETY: the goroutine is resident by contract, hence the occupant. After the copy the
        // slot alone owns the bytes.
        unsafe {
            slot.copy_out(goroutine, &mut self.sites, &mut self.copied);
            ptr::write_bytes(low as *mut u8, POISON, base - low);
        }
        slot.remove_occupant();
    }

    /// The other stress mode: gives back all of a suspended goroutine's stack that it does not
    /// need.
    ///
    /// # Safety
    /// As for [`evict`](Slots::evict).
    pub(crate) unsafe fn strip(&mut self, goroutine: &T) {
        let bounds = self.bounds(goroutine.home());
        if let Live::Known(live) = live_bytes(Some(goroutine), bounds) {
            // SAFETY: the goroutine is suspended and resident, so it needs what is above its stack
            // pointer.
            unsafe { scavenge::strip(bounds, live) };
        }
    }

    /// Removes a finished goroutine from its home. An own stack goes to the pool.
    ///
    /// # Safety
    /// Called on the processor's own stack, once, with the home of a goroutine that will not run
    /// again and is its slot's occupant.
    pub(crate) unsafe fn vacate(&mut self, home: Home) {
        self.lacks_stack = false;
        match home.own() {
            Some(own) => {
                if let Some(own) = self.own[own].take() {
                    pool::keep(own.stack);
                }
                self.own_free.push(own as u32);
            }
            None => {
                let slot = &mut self.open[home.slot()];
                slot.remove_occupant();
                slot.inhabitants -= 1;
                if slot.inhabitants == 0 {
                    slot.alone = false;
                    let shared = home.slot() < self.reserve_begins;
                    let empty = if shared { &mut self.empty } else { &mut self.empty_reserve };
                    empty.push(home.slot() as u32);
                }
            }
        }
    }

    /// Whether it is worth to try again for a goroutine that found no memory for a stack.
    pub(crate) fn may_have_stack(&self) -> bool {
        !self.lacks_stack
    }

    /// Makes a pass over all stacks, or a part of it. It visits only a few, and stops after the
    /// first that is shrunk, because goroutines wait meanwhile.
    ///
    /// # Safety
    /// Called on the processor's own stack, by the processor that this agreement and this count of
    /// `switches` belong to.
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
                // A goroutine that finds no memory again asks for the next pass.
                self.lacks_stack = false;
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
            // The pass goes on here at the next request.
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
            Some(slot) if slot.bounds.base == 0 => return Some(Verdict::Settled),
            Some(slot) => {
                let Live::Known(live) = live_bytes(slot.occupant(), slot.bounds) else {
                    return Some(Verdict::Settled);
                };
                if let Some(occupant) = slot.occupant() {
                    // SAFETY: its bytes are in the slot, so its image, which is ours, holds nothing
                    // of value.
                    unsafe { (*occupant.image().get()).release_if_too_large(live) };
                    // Goroutines of the reserve are never copied out, so no copy notes them.
                    if index >= self.reserve_begins {
                        self.sites.note(occupant.spawned_at(), live);
                    }
                }
                let used = (std::mem::take(&mut slot.used) as usize).max(live);
                let warm = if slot.alone { WARM_ALONE } else { WARM };
                (&mut self.histories[index], Visit { bounds: slot.bounds, live, used, ran, warm })
            }
            None => {
                let Some(own) = self.own.get_mut(index - self.open.len())? else {
                    return Some(Verdict::Settled);
                };
                let bounds = own.stack.bounds();
                // SAFETY: an own stack is freed with its goroutine, so that is live.
                let Live::Known(live) = live_bytes(unsafe { own.goroutine.as_ref() }, bounds) else {
                    return Some(Verdict::Settled);
                };
                (&mut own.history, Visit { bounds, live, used: live, ran, warm: WARM_ALONE })
            }
        };
        // SAFETY: the stack is open, all goroutines are suspended, and one that is not resident has
        // its bytes in its image.
        Some(unsafe { history.visit(&visit) })
    }
}

/// What a suspended goroutine needs of its stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Live {
    /// This many bytes below the base.
    Known(usize),
    /// Perhaps all of it: the goroutine is suspended on a [foreign](super::foreign) stack. Never in
    /// a slot that it shares.
    All,
}

/// What a suspended goroutine needs of its stack. None needs nothing.
pub(super) fn live_bytes<T: Inhabitant>(goroutine: Option<&T>, bounds: Bounds) -> Live {
    match goroutine {
        Some(goroutine) if bounds.contain(goroutine.sp()) => Live::Known(bounds.base - goroutine.sp()),
        Some(goroutine) if goroutine.sp() != 0 => {
            debug_assert!(goroutine.home().is_own());
            Live::All
        }
        // No goroutine, or one that has not run: it has no bytes there.
        _ => Live::Known(0),
    }
}
