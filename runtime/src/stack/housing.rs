//! Chooses the home of a goroutine that is about to start.
//!
//! Touched only by the loop of the processor.

use super::home::Home;
use super::own::OwnStack;
use super::scavenge::History;
use super::sharing::{self, Housing};
use super::sites::Build;
use super::slots::{Inhabitant, Live, Own, Slots, live_bytes};
use crate::sys::memory;
use std::panic::Location;
use std::ptr;

/// How many slots of the reserve are opened for goroutines that are only plump.
const RESERVED_FOR_PLUMP: usize = 64;

/// The minimum size of a stack apart from the slots.
const MIN_APART: usize = 256 << 10;

/// Why a goroutine cannot start yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lack {
    /// The system has no memory for the stack of another one.
    Stack,
    /// It is not known yet how other goroutines of its spawn site wait.
    SiteKnowledge,
}

impl<T: Inhabitant> Slots<T> {
    /// Gives a goroutine its home: `own`, a slot for it alone, or a shared one as
    /// [`choose`](Slots::choose) says. If it is not known yet how the goroutines of its site wait,
    /// the goroutine cannot start, unless `decide` is set: then it shares.
    ///
    /// # Errors
    /// What the goroutine lacks. The caller can try again; for a stack, once [`Slots::may_have_stack`]
    /// says so.
    pub(crate) fn settle(
        &mut self,
        own: &mut Option<OwnStack>,
        spawned_at: &'static Location<'static>,
        decide: bool,
    ) -> Result<Home, Lack> {
        let settled = self.find_home(own, spawned_at, decide);
        if settled == Err(Lack::Stack) {
            self.lacks_stack = true;
        }
        settled
    }

    fn find_home(
        &mut self,
        own: &mut Option<OwnStack>,
        spawned_at: &'static Location<'static>,
        decide: bool,
    ) -> Result<Home, Lack> {
        if let Some(own) = own.take() {
            return Ok(self.settle_own(own));
        }
        if self.all_alone && self.lacks_stack {
            return Err(Lack::Stack);
        }
        if self.all_alone {
            let alone = self.choose_alone().map(|index| Home::of_slot_alone(index, true));
            return alone.ok_or(Lack::Stack);
        }
        let housing = sharing::housing(spawned_at, self.probation, decide);
        if housing == Housing::Undecided {
            return Err(Lack::SiteKnowledge);
        }
        if housing == Housing::Alone && self.lacks_stack {
            return Err(Lack::Stack);
        }
        if housing != Housing::Shared {
            if let Some(index) = self.choose_alone() {
                return Ok(Home::of_slot_alone(index, false));
            }
            // Other lines may have taken all slots: then it gets a stack apart from them.
            if (housing == Housing::Alone || !self.geometry.tight)
                && let Some(own) = self.stack_apart()
            {
                return Ok(self.settle_own(own));
            }
            // In a shared slot it might keep the goroutine that it waits for from running.
            if housing == Housing::Alone {
                return Err(Lack::Stack);
            }
        }
        let index = self.choose(spawned_at);
        self.open[index as usize].inhabitants += 1;
        Ok(Home::of_slot(index))
    }

    /// A stack that is in no slot, as large as the system has memory for. Under a limit on address
    /// space it leaves as much again, and what the allocator needs, to the rest of the program.
    fn stack_apart(&self) -> Option<OwnStack> {
        const FOR_THE_PROGRAM: usize = 256 << 20;
        let mut size = self.geometry.largest();
        loop {
            let pooled = OwnStack::take_pooled(size);
            let fits = || memory::would_fit(2 * size + FOR_THE_PROGRAM);
            match pooled.or_else(|| fits().then(|| OwnStack::new(size).ok()).flatten()) {
                Some(own) => return Some(own),
                None if size > MIN_APART => size = (size / 4).max(MIN_APART),
                None => return None,
            }
        }
    }

    /// A slot of the reserve for one goroutine alone.
    fn choose_alone(&mut self) -> Option<u32> {
        let index = self.empty_reserve.pop().or_else(|| self.open_reserved_below(self.allowed))?;
        let slot = &mut self.open[index as usize];
        (slot.inhabitants, slot.alone) = (1, true);
        Some(index)
    }

    /// Chooses a shared slot without inhabitants while there is one. After that, a slot of the
    /// reserve for a goroutine that will probably be expensive to copy, and the less crowded of two
    /// shared slots for any other.
    fn choose(&mut self, spawned_at: &'static Location<'static>) -> u32 {
        if let Some(index) = self.empty.pop().or_else(|| self.open_another_shared()) {
            return index;
        }
        let shared = self.less_crowded(0, self.shared).expect("the first slot is open");
        let mut build = self.sites.expect(spawned_at);
        if build == Build::Thin && self.open[shared as usize].inhabitants == 1 {
            // Once they share, it is too late to find out.
            self.look_at_inhabitants();
            build = self.sites.expect(spawned_at);
        }
        self.choose_reserved(build).unwrap_or(shared)
    }

    /// Notes what the goroutines are like that live alone in a shared slot, and so have not been
    /// copied.
    #[cold]
    fn look_at_inhabitants(&mut self) {
        for slot in self.open.iter().take(self.shared).filter(|slot| slot.inhabitants == 1) {
            let occupant = slot.occupant();
            if let (Some(occupant), Live::Known(live)) = (occupant, live_bytes(occupant, slot.bounds))
                && self.sites.cares(live)
            {
                self.sites.note(occupant.spawned_at(), live);
            }
        }
    }

    /// A slot of the reserve for a goroutine of this build, if it should have one.
    fn choose_reserved(&mut self, build: Build) -> Option<u32> {
        let limit = match build {
            Build::Thin => return None,
            Build::Plump => self.allowed.min(self.reserve_begins + RESERVED_FOR_PLUMP),
            Build::Fat => self.allowed,
        };
        let free = self.empty_reserve.pop().or_else(|| self.open_reserved_below(limit));
        // If no slot is left, fat goroutines share a few of the reserve, so that the rest of the
        // reserve still needs no copying.
        let crowded = build == Build::Fat && self.open.len() > self.reserve_begins;
        let low = self.reserve_begins;
        let high = self.open.len().min(low + self.allowed_shared);
        free.or_else(|| crowded.then(|| self.less_crowded(low, high)).flatten())
    }

    /// Opens another shared slot if there may be one and the system permits it.
    fn open_another_shared(&mut self) -> Option<u32> {
        if self.shared >= self.allowed_shared {
            return None;
        }
        let opened = self.open_shared().ok();
        if opened.is_none() {
            // Refused: those that are open must be enough.
            self.allowed_shared = self.shared;
        }
        opened
    }

    /// Opens a slot of the reserve if fewer than `limit` slots are open and the system permits it.
    fn open_reserved_below(&mut self, limit: usize) -> Option<u32> {
        if self.open.len() >= limit {
            return None;
        }
        let opened = self.open_reserved().ok();
        if opened.is_none() {
            self.allowed = self.open.len();
        }
        opened
    }

    /// The less crowded of two slots among those from `low` to `high`, or another one if these are
    /// closed to newcomers.
    fn less_crowded(&mut self, low: usize, high: usize) -> Option<u32> {
        let n = high.checked_sub(low).filter(|n| *n > 0)?;
        let (a, b) = (low + self.cursor % n, low + (self.cursor + n / 2) % n);
        self.cursor = self.cursor.wrapping_add(1);
        let less = if self.open[b].inhabitants < self.open[a].inhabitants { b } else { a };
        if self.open[less].is_closed_to_newcomers() {
            let another = (low..high).find(|&index| !self.open[index].is_closed_to_newcomers());
            // All are held: then one more goroutine waits until that is over.
            let index = another.or_else(|| (low..high).find(|&index| !self.open[index].alone));
            return index.map(|index| index as u32);
        }
        Some(less as u32)
    }

    fn settle_own(&mut self, stack: OwnStack) -> Home {
        let own = Own { stack, goroutine: ptr::null(), history: History::default() };
        let index = match self.own_free.pop() {
            Some(index) => {
                self.own[index as usize] = Some(own);
                index
            }
            None => {
                assert!(self.own.len() < Home::MAX_OWN, "too many own stacks on one processor");
                self.own.push(Some(own));
                (self.own.len() - 1) as u32
            }
        };
        Home::of_own(index)
    }
}
