//! A processor's slots: who lives where, who is resident, and the copying between.
//!
//! Touched only by whoever carries the processor; the copying ([`Slots::bring_in`]) only from the processor's own
//! stack, since the stacks it writes must not be in use.
//!
//! Invariants:
//! - The bytes of a suspended goroutine are in its slot if it is the slot's `occupant`, else in its image.
//! - The `occupant` of a slot is a goroutine whose home is this slot, or null.
//! - A stack of a goroutine's own has no other inhabitant, so its goroutine is always resident.

use super::Bounds;
use super::arena::Arena;
use super::geometry::Geometry;
use super::own::OwnStack;
use crate::goroutine::record::Record;
use std::io;
use std::ptr;

/// A goroutine's home: the index of a shared slot, or of an own stack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Home(u16);

impl Home {
    const OWN: u16 = 1 << 15;

    fn own(self) -> Option<usize> {
        (self.0 & Home::OWN != 0).then_some((self.0 & !Home::OWN) as usize)
    }
}

struct Slot {
    bounds: Bounds,
    occupant: *mut Record,
    /// Goroutines whose home this is.
    inhabitants: u32,
}

pub(crate) struct Slots {
    arena: Arena,
    open: Vec<Slot>,
    /// How many may be open: what the geometry says, or fewer once the system has refused one.
    allowed: usize,
    /// Open slots without inhabitants, the one used last on top: its pages are the warmest.
    empty: Vec<u16>,
    /// Where the next choice among crowded slots looks.
    cursor: usize,
    own: Vec<Option<OwnStack>>,
    own_free: Vec<u16>,
}

/// What eviction under the stress mode leaves where the live bytes were.
const POISON: u8 = 0xdb;

impl Slots {
    /// Opens the first slot at once, so that a processor that exists can run something.
    pub(crate) fn new(geometry: Geometry) -> io::Result<Slots> {
        let mut slots = Slots {
            arena: Arena::new(geometry)?,
            open: Vec::new(),
            allowed: geometry.slots.min(Home::OWN as usize),
            empty: Vec::new(),
            cursor: 0,
            own: Vec::new(),
            own_free: Vec::new(),
        };
        let first = slots.open_next()?;
        slots.empty.push(first);
        Ok(slots)
    }

    fn open_next(&mut self) -> io::Result<u16> {
        let index = self.open.len();
        let bounds = self.arena.open(index)?;
        self.open.push(Slot { bounds, occupant: ptr::null_mut(), inhabitants: 0 });
        Ok(index as u16)
    }

    /// Gives a goroutine its home: `own`, or a slot nobody lives in while there is one, else the less crowded of two.
    pub(crate) fn settle(&mut self, own: Option<OwnStack>) -> Home {
        if let Some(own) = own {
            return self.settle_own(own);
        }
        let index = self.choose();
        self.open[index as usize].inhabitants += 1;
        Home(index)
    }

    fn choose(&mut self) -> u16 {
        if let Some(index) = self.empty.pop() {
            return index;
        }
        if self.open.len() < self.allowed {
            match self.open_next() {
                Ok(index) => return index,
                // Refused: those that are open have to do.
                Err(_) => self.allowed = self.open.len(),
            }
        }
        let n = self.open.len();
        let (a, b) = (self.cursor % n, (self.cursor + n / 2) % n);
        self.cursor = self.cursor.wrapping_add(1);
        if self.open[b].inhabitants < self.open[a].inhabitants { b as u16 } else { a as u16 }
    }

    fn settle_own(&mut self, own: OwnStack) -> Home {
        let index = match self.own_free.pop() {
            Some(index) => {
                self.own[index as usize] = Some(own);
                index
            }
            None => {
                assert!(self.own.len() < Home::OWN as usize - 1, "too many own stacks on one processor");
                self.own.push(Some(own));
                (self.own.len() - 1) as u16
            }
        };
        Home(index | Home::OWN)
    }

    pub(crate) fn bounds(&self, home: Home) -> Bounds {
        match home.own() {
            None => self.open[home.0 as usize].bounds,
            Some(own) => self.own[own].as_ref().expect("a goroutine's own stack outlives it").bounds(),
        }
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
        if home.own().is_some() {
            return;
        }
        let slot = &mut self.open[home.0 as usize];
        if slot.occupant == goroutine {
            return;
        }
        let base = slot.bounds.base;
        if !slot.occupant.is_null() {
            // SAFETY: the occupant is suspended, so its live bytes are `[sp, base)` of this slot, and no one runs
            // on them while we are on the processor's stack.
            unsafe {
                let occupant = &mut *slot.occupant;
                occupant.image.save(occupant.sp, base);
            }
        }
        slot.occupant = goroutine;
        // SAFETY: not being the occupant, the goroutine was copied out when it last was (or never ran); the slot's
        // bytes belong to nobody now.
        unsafe {
            let newcomer = &*goroutine;
            if newcomer.sp != 0 {
                newcomer.image.restore(newcomer.sp, base);
            }
        }
    }

    /// Copies a suspended goroutine out although nobody wants its place, and poisons what it leaves behind, so that
    /// a pointer into it shows itself: the stress mode.
    ///
    /// # Safety
    /// As for [`bring_in`](Slots::bring_in); the goroutine is resident.
    pub(crate) unsafe fn evict(&mut self, goroutine: *mut Record) {
        // SAFETY: as in `bring_in`.
        let goroutine = unsafe { &mut *goroutine };
        if goroutine.home.own().is_some() {
            return;
        }
        let slot = &mut self.open[goroutine.home.0 as usize];
        slot.occupant = ptr::null_mut();
        let Bounds { base, limit } = slot.bounds;
        // A little below the stack pointer, too: nothing may rely on what lies there either.
        let low = (goroutine.sp - 256).max(limit);
        // SAFETY: the bytes are this slot's, whose only occupant has just been copied out.
        unsafe {
            goroutine.image.save(goroutine.sp, base);
            ptr::write_bytes(low as *mut u8, POISON, base - low);
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
                self.own_free.push(own as u16);
            }
            None => {
                let slot = &mut self.open[home.0 as usize];
                slot.occupant = ptr::null_mut();
                slot.inhabitants -= 1;
                if slot.inhabitants == 0 {
                    self.empty.push(home.0);
                }
            }
        }
    }
}
