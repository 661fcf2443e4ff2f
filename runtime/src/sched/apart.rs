//! Processors apart: goroutines that keep their processor for long live where they hold up only
//! their own kind.
//!
//! Some code blocks its thread in a way that no library can make park: a raw system call, a page of
//! a slow disk, C code with locks of its own. Other code computes for long. Meanwhile the other
//! goroutines of the processor wait, and they cannot move away, since they have started. So the
//! monitor learns which spawn sites have such goroutines:
//!
//! 1. It notes each goroutine that has kept its processor for some milliseconds, and was blocked or
//!    computed (and did not only wait for a CPU). The time counts for the goroutine's spawn site.
//!    Half of it is forgotten each second.
//! 2. A site with [`KNOWN`] is known. The processor where that happened is *apart* from then on: no
//!    goroutine of another site is placed there any more. No more than half of the ordinary
//!    processors are: something must be left for the others.
//! 3. Goroutines from known sites are placed on processors beyond the ordinary ones: on an empty
//!    one; else on a new one, up to a limit; else on the least crowded.
//! 4. A worker that carries a processor apart counts as stuck from the beginning: what it has
//!    queued goes to the other workers, and one more may be awake meanwhile
//!    ([`Worker::step_aside`]).
//! 5. A site that has not been noted for some seconds is forgotten. An ordinary processor is no
//!    longer apart when it is empty, or has not been noted for [`ORDINARY_AGAIN`]. While the monitor
//!    sleeps, nothing is forgotten.
//!
//! Goroutines that have started stay where they are. Where processors are pinned to threads there
//! is none of this.
//!
//! Everything here is a hint, which nothing orders for its readers: a spawn that sees a site as
//! known too late is placed as any other. Two spawns at the same time may choose the same empty
//! processor; then the monitor moves the one that waits ([`super::relief`]).
//!
//! [`Worker::step_aside`]: super::worker::Worker::step_aside

use super::Runtime;
use super::processor::{Here, Processor};
use crate::lock::{Mutex, Native};
use crate::sys;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much time, in nanoseconds, makes a site known.
const KNOWN: u64 = 20_000_000;
/// A site with less is forgotten.
const FORGOTTEN: u64 = 1_000_000;
/// How long ago an ordinary processor was last noted when it is no longer apart, in nanoseconds.
const ORDINARY_AGAIN: u64 = 10_000_000_000;
/// How long a goroutine keeps its processor before the monitor looks what it does, in nanoseconds.
const FIRST_LOOK: u64 = 2_000_000;
/// The longest time between two looks, in nanoseconds.
const LONGEST_GAP: u64 = 1_000_000_000;

pub(crate) struct Apart {
    /// How many sites are known, so that a spawn mostly costs a load.
    known: AtomicUsize,
    /// How many processors beyond the ordinary ones there may be.
    most: usize,
    state: Mutex<State>,
}

struct State {
    sites: Vec<Site>,
    /// Ordinary processors that are apart now, and when each was last noted.
    ordinary: Vec<(&'static Processor, u64)>,
    /// How many processors beyond the ordinary ones have been made, or are being made.
    made: usize,
    /// How many there may be for now: no more than there are, once the system has refused one.
    most: usize,
}

/// A line of the source. One that is compiled into several places has several addresses.
struct Site {
    at: &'static Location<'static>,
    /// How long its goroutines have kept their processors, as far as that is not forgotten.
    kept: u64,
    known: bool,
}

/// A goroutine that keeps its processor, as the monitor sees it now.
pub(super) struct Stay {
    pub(super) processor: &'static Processor,
    /// The kernel's number of the worker's thread.
    pub(super) thread: i32,
    /// The number of the goroutine's turn.
    pub(super) switches: usize,
    /// For how long it has kept the processor, in nanoseconds, and the time.
    pub(super) kept: u64,
    pub(super) now: u64,
}

/// What the monitor remembers of it: how long it had kept the processor at the last look, and how
/// much CPU time its thread had used by then.
#[derive(Clone, Copy)]
pub(super) struct Look {
    kept: u64,
    used: u64,
}

impl Apart {
    pub(super) fn new(most: usize) -> Apart {
        let state = State { sites: Vec::new(), ordinary: Vec::new(), made: 0, most };
        Apart { known: AtomicUsize::new(0), most, state: Mutex::new(state) }
    }

    /// Step 1: looks at a goroutine if it has kept its processor for twice as long as at the last
    /// look, or for a second more. Returns what to remember. If the system does not say what
    /// threads do, nothing is learned.
    pub(super) fn look(&self, runtime: &Runtime, stay: &Stay, last: Option<Look>) -> Option<Look> {
        let kept = stay.kept;
        let next = last.map_or(FIRST_LOOK, |last| last.kept + last.kept.min(LONGEST_GAP));
        if kept < next || !runtime.processors.may_be_apart() || stay.processor.stage().is_some() {
            return last;
        }
        let Some((used, wants)) = sys::use_of_processor(stay.thread) else { return last };
        if let Some(last) = last
            && (!wants || used.saturating_sub(last.used) >= (kept - last.kept) / 2)
            && let Some(at) = stay.processor.turn_of(stay.switches)
        {
            self.note(runtime, stay, at, kept - last.kept);
        }
        Some(Look { kept, used })
    }

    /// Steps 1 and 2.
    fn note(&self, runtime: &Runtime, stay: &Stay, at: &'static Location<'static>, kept: u64) {
        let &Stay { processor, now, .. } = stay;
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        let State { sites, ordinary, .. } = &mut *state;
        let site = match sites.iter().position(|site| site.at == at) {
            Some(index) => &mut sites[index],
            None => {
                sites.push(Site { at, kept: 0, known: false });
                sites.last_mut().expect("just pushed")
            }
        };
        site.kept += kept;
        if site.kept < KNOWN {
            return;
        }
        if !std::mem::replace(&mut site.known, true) {
            self.known.fetch_add(1, Ordering::Relaxed);
        }
        if let Some((_, noted)) = ordinary.iter_mut().find(|(other, _)| ptr::eq(*other, processor)) {
            *noted = now;
        } else if runtime.processors.is_ordinary(processor)
            && ordinary.len() < runtime.processors.ordinary() / 2
        {
            ordinary.push((processor, now));
            processor.set_apart(true);
        }
    }

    /// Step 5. Called once a second.
    pub(super) fn forget(&self, now: u64) {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        // The system may have room again.
        state.most = self.most;
        state.sites.retain_mut(|site| {
            site.kept /= 2;
            let remembered = site.kept >= FORGOTTEN;
            if !remembered && site.known {
                self.known.fetch_sub(1, Ordering::Relaxed);
            }
            remembered
        });
        state.ordinary.retain(|(processor, noted)| {
            let apart = processor.census.load() > 0 && now.saturating_sub(*noted) < ORDINARY_AGAIN;
            if !apart {
                processor.set_apart(false);
            }
            apart
        });
    }

    /// Step 3: the processor for a goroutine from this site, if the site is known and there is one.
    #[inline]
    pub(super) fn home(
        &self,
        runtime: &'static Runtime,
        at: &'static Location<'static>,
    ) -> Option<&'static Processor> {
        if self.known.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.find_home(runtime, at)
    }

    #[cold]
    fn find_home(
        &self,
        runtime: &'static Runtime,
        at: &'static Location<'static>,
    ) -> Option<&'static Processor> {
        // What a world's goroutine spawns stays in the world.
        if Here::now().is_some_and(|here| here.processor().stage().is_some()) {
            return None;
        }
        // Nothing may park here: the caller changes its processor's state meanwhile.
        let _native = Native::begin();
        let known = {
            let state = self.state.lock().unwrap_or_else(|e| e.into_inner());
            state.sites.iter().any(|site| site.known && site.at == at)
        };
        if known { self.least_crowded(runtime) } else { None }
    }

    /// A processor beyond the ordinary ones: an empty one, else a new one, else the least crowded.
    pub(super) fn least_crowded(&self, runtime: &'static Runtime) -> Option<&'static Processor> {
        let table = &runtime.processors;
        let least = table.extra().min_by_key(|processor| processor.census.load());
        if least.is_some_and(|processor| processor.census.load() == 0) {
            return least;
        }
        let index = {
            let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
            if state.made >= state.most {
                return least;
            }
            state.made += 1;
            state.made - 1
        };
        if let Ok(processor) = table.get_or_create(runtime, table.ordinary() + index) {
            return Some(processor);
        }
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        if state.made == index + 1 {
            state.made = index;
        }
        state.most = state.made;
        least
    }
}
