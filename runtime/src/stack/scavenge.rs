//! Gives back the memory of stacks that has not been needed lately.
//!
//! A goroutine that recursed deep once leaves its pages behind. The path of a switch does not look
//! for them. Instead, a processor passes over its stacks now and then, at the end of a batch, when
//! the monitor asks it to. If a stack has more than four times as much resident as its goroutines
//! park with, its resident part is halved (Go's rule for its stacks); the next pass halves it
//! again. So a stack loses what it needed once within a few passes, and keeps what it needs often.
//!
//! Only the system knows what is resident. It is asked about a stretch below the stack's base, and
//! then about further ones, in steps that double until one as long as all that was found holds
//! nothing. That takes about a microsecond for a stack that was never deep; asking about all of a
//! slot of 256 MiB takes fifty. Anything deeper is given back without a look. Such a gap is only
//! made by C code without stack probes, since probes touch every page of a frame.
//!
//! The steps of a pass, and what asks for one:
//!
//! 1. Every [`PERIOD`] the monitor looks at all processors. It asks a processor ([`Scavenge::ask`])
//!    that has switched since its last pass, or has stacks which another pass might halve, or has
//!    not finished the pass that it was asked for. If the processor is idle, the monitor queues it,
//!    so that some worker carries it for the pass.
//! 2. At the end of a batch the carrier checks whether it is asked, and makes the pass in parts
//!    (`Slots::scavenge`). While parts remain, the processor counts as busy, so the next batch
//!    comes.
//! 3. When the pass is over, the carrier says whether all stacks are settled. While some are not,
//!    or a processor is asked, the monitor wakes up for the next look even if everything else
//!    sleeps; after that it sleeps as long as everything else does.
//!
//! Nothing depends on when the carrier sees that it is asked: if it comes to rest in the same
//! moment, the monitor finds it still asked at its next look. Hence relaxed accesses throughout;
//! the processor's own state is handed from carrier to carrier as usual.

use super::Bounds;
use crate::counter::OneWriter;
use crate::sys::memory::{self, page_size};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The time from one look of the monitor to the next. A stack of 256 MiB is down to a page or two
/// after 16 passes, one of 1 MiB after 7.
pub(crate) const PERIOD: Duration = Duration::from_millis(500);

/// A shared stack with no more than this resident is left alone: its pages would soon be faulted in
/// again. A stack that would be halved to less loses all that it does not use.
pub(crate) const WARM: usize = 16 << 10;
/// The same for a stack that one goroutine has to itself. There can be thousands.
pub(crate) const WARM_ALONE: usize = 4 << 10;
/// A stack that grows back after every shrink is left alone for at most this many visits.
const MAX_PATIENCE: u8 = 15;
/// How far below the base the first look goes.
const FIRST_LOOK: usize = 128 << 10;
/// This much below a stack pointer is left as it is. A suspended goroutine has nothing there, since
/// the switch pushes its words. The margin tolerates code that relies on bytes there, and spares
/// the next call a fault.
const MARGIN: usize = 1 << 10;

/// A processor's part of the agreement with the monitor.
pub(crate) struct Scavenge {
    /// Set by the monitor, cleared by the carrier when the pass is over.
    asked: AtomicBool,
    /// Whether the last pass left nothing for another to do, and no goroutine has found no memory for
    /// a stack since. Written by the carrier.
    settled: AtomicBool,
    /// The processor's count of switches when its last pass began. Written by the carrier.
    switches: OneWriter,
    /// How many times a stack was halved.
    pub(crate) shrinks: OneWriter,
}

impl Scavenge {
    pub(crate) fn new() -> Scavenge {
        Scavenge {
            asked: AtomicBool::new(false),
            settled: AtomicBool::new(true),
            switches: OneWriter::default(),
            shrinks: OneWriter::default(),
        }
    }

    /// Step 1: whether a processor with this count of switches should make a pass.
    pub(crate) fn is_due(&self, switches: usize) -> bool {
        self.switches.get() != switches || !self.settled.load(Ordering::Relaxed) || self.is_asked()
    }

    /// Step 1.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Step 2.
    #[inline]
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Begins a pass. Returns whether anything has run since the last one.
    pub(crate) fn begin(&self, switches: usize) -> bool {
        let since = switches.wrapping_sub(self.switches.get());
        self.switches.add(since);
        since != 0
    }

    /// Step 3, ahead of a pass: the processor wants another one. For the carrier.
    pub(crate) fn want_another(&self) {
        self.settled.store(false, Ordering::Relaxed);
    }

    /// Step 3.
    pub(crate) fn end(&self, settled: bool) {
        self.settled.store(settled, Ordering::Relaxed);
        self.asked.store(false, Ordering::Relaxed);
    }
}

/// A stack as a pass finds it.
pub(crate) struct Visit {
    pub(crate) bounds: Bounds,
    /// What must stay: the bytes from the base down to the stack pointer of the resident goroutine.
    pub(crate) live: usize,
    /// The most that a goroutine of this stack has parked with since the last visit; at least
    /// `live`.
    pub(crate) used: usize,
    /// Whether the processor has run anything since then.
    pub(crate) ran: bool,
    /// `WARM` or `WARM_ALONE`.
    pub(crate) warm: usize,
}

impl Visit {
    /// What cannot be given back, in whole pages from the top.
    fn least(&self) -> usize {
        let above = self.bounds.base.next_multiple_of(page_size()) - self.bounds.base;
        (above + self.live + MARGIN).next_multiple_of(page_size())
    }
}

/// What to do with a stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Nothing, now or later, unless a goroutine runs.
    Settled,
    /// Nothing now.
    KeepForNow,
    /// Keep this many bytes from the base down.
    Shrink(usize),
}

/// What is remembered of a stack between visits.
#[derive(Clone, Default)]
pub(crate) struct History {
    /// The most that goroutines parked with; halved at every visit.
    used: usize,
    /// What the last visit left resident, if it shrank the stack.
    kept: Option<usize>,
    /// How many visits to skip after a shrink that brought nothing, and how many of them remain.
    patience: u8,
    waits: u8,
}

impl History {
    /// Decides about a stack that has `resident` bytes in memory.
    fn judge(&mut self, resident: usize, visit: &Visit) -> Verdict {
        self.used = visit.used.max(self.used / 2);
        match self.kept.take().map(|kept| resident > kept) {
            // No goroutine can have touched it: the memory is locked, or the system says that
            // everything is resident.
            Some(true) if !visit.ran => return Verdict::Settled,
            Some(true) => {
                self.patience = (2 * self.patience + 1).min(MAX_PATIENCE);
                self.waits = self.patience;
            }
            Some(false) => self.patience /= 2,
            None => {}
        }
        if resident <= (4 * visit.live).max(visit.warm).max(visit.least()) {
            self.waits = 0;
            self.patience /= 2;
            Verdict::Settled
        } else if resident <= 4 * self.used {
            // Until `used` has come down to `live`.
            Verdict::KeepForNow
        } else if self.waits > 0 {
            self.waits -= 1;
            Verdict::KeepForNow
        } else {
            let kept = if resident / 2 > visit.warm { resident / 2 } else { self.used + MARGIN };
            let kept = kept.next_multiple_of(page_size());
            self.kept = Some(kept);
            Verdict::Shrink(kept)
        }
    }

    /// Looks at a stack and gives back what the rule says.
    ///
    /// # Safety
    /// The stack is open and nothing runs on it. Only `visit.live` bytes below its base are needed.
    pub(crate) unsafe fn visit(&mut self, visit: &Visit) -> Verdict {
        let stack = Stack::new(visit.bounds);
        let (resident, looked_at) = stack.resident();
        let verdict = self.judge(resident, visit);
        if let Verdict::Shrink(keep) = verdict {
            // SAFETY: by contract.
            self.kept = Some(unsafe { stack.keep(keep, visit.live) });
        } else {
            // SAFETY: by contract.
            unsafe { stack.keep(looked_at, visit.live) };
        }
        verdict
    }
}

/// The stress mode: gives back all but the `live` bytes below the base, so that a mistake about
/// what is live is noticed.
///
/// # Safety
/// As for [`History::visit`].
pub(crate) unsafe fn strip(bounds: Bounds, live: usize) {
    // SAFETY: by contract.
    unsafe { Stack::new(bounds).keep(0, live) };
}

/// A stack in whole pages.
struct Stack {
    bounds: Bounds,
    top: usize,
}

impl Stack {
    fn new(bounds: Bounds) -> Stack {
        Stack { bounds, top: bounds.base.next_multiple_of(page_size()) }
    }

    /// How many bytes from the top to the deepest page in memory, and how far down it looked.
    fn resident(&self) -> (usize, usize) {
        let size = self.top - self.bounds.limit;
        let (mut found, mut looked_at) = (0, 0);
        while looked_at < size && looked_at < (2 * found).max(FIRST_LOOK) {
            let step = looked_at.max(FIRST_LOOK).min(size - looked_at);
            let high = self.top - looked_at;
            if let Some(page) = memory::lowest_resident(high - step, high) {
                found = self.top - page;
            }
            looked_at += step;
        }
        (found, looked_at)
    }

    /// Gives back everything but `keep` bytes from the top and `live` bytes from the base. Returns
    /// how many bytes remain.
    ///
    /// # Safety
    /// As for [`History::visit`].
    unsafe fn keep(&self, keep: usize, live: usize) -> usize {
        // Live bytes may also have been swapped out, whatever the system says is resident.
        let needed = self.bounds.base.saturating_sub(live + MARGIN);
        let high = self.top.saturating_sub(keep).min(needed) & !(page_size() - 1);
        if high > self.bounds.limit {
            // SAFETY: by contract the range ends below what is needed, and it begins where the
            // stack does.
            unsafe { memory::give_back(self.bounds.limit, high) };
        }
        self.top - high.max(self.bounds.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::config::Stress;
    use crate::sys::memory::Reservation;
    use std::hint::black_box;

    const PAGE: usize = 4 << 10;
    const SIZES: [usize; 9] = [0, 1, 2, 4, 5, 16, 100, 1 << 10, 1 << 16];

    fn visit(live: usize, used: usize, ran: bool) -> Visit {
        Visit { bounds: Bounds { base: 0, limit: 0 }, live, used: used.max(live), ran, warm: WARM }
    }

    /// All that a visit can decide, after every visit that can precede it.
    #[test]
    fn only_what_is_over_four_times_the_use_is_given_back_and_never_the_use() {
        let kib = SIZES.map(|size| size << 10);
        for before in kib.iter().flat_map(|r| kib.iter().map(move |u| (*r, *u))) {
            for (&resident, &used) in kib.iter().flat_map(|r| kib.iter().map(move |u| (r, u))) {
                for (live, ran) in [(0, true), (0, false), (used, true), (used, false)] {
                    let mut history = History::default();
                    history.judge(before.0, &visit(0, before.1, true));
                    let used = used.max(history.used / 2);
                    match history.judge(resident, &visit(live, used, ran)) {
                        Verdict::Shrink(keep) => {
                            assert!(
                                resident > 4 * used && resident > WARM,
                                "{resident} resident, {used} used"
                            );
                            assert!(
                                keep >= used && keep < resident,
                                "{keep} kept of {resident}, {used} used"
                            );
                            assert!(keep >= resident / 2 || resident <= 2 * WARM + 1);
                        }
                        Verdict::Settled => {
                            let grew_at_rest = !ran && before.0 > WARM && before.0 > 4 * before.1;
                            assert!(resident <= (4 * live).max(WARM) || grew_at_rest);
                        }
                        Verdict::KeepForNow => assert!(resident > WARM),
                    }
                }
            }
        }
    }

    #[test]
    fn a_stack_at_rest_settles_soon_whatever_happened_before() {
        for resident in SIZES.map(|size| size << 12) {
            for used in SIZES.map(|size| size << 10) {
                for patience in 0..=MAX_PATIENCE {
                    for kept in [None, Some(resident), Some(resident / 2)] {
                        // Whatever remains to be given back, and a base in the middle of a page.
                        for (warm, base) in [(WARM, 0), (WARM_ALONE, 0), (WARM_ALONE, PAGE - 1200)] {
                            let mut history = History { used, kept, patience, waits: patience };
                            let mut now = resident;
                            let mut visits = 0;
                            let mut ran = true;
                            loop {
                                let bounds = Bounds { base, limit: 0 };
                                let visit = Visit { bounds, warm, ..visit(100, 100, ran) };
                                match history.judge(now, &visit) {
                                    Verdict::Settled => break,
                                    Verdict::KeepForNow => {}
                                    Verdict::Shrink(keep) => now = keep.max(visit.least()),
                                }
                                ran = false;
                                visits += 1;
                                assert!(
                                    visits <= 40,
                                    "{resident} resident, {used} used: {now} after {visits} visits"
                                );
                            }
                            assert!(now <= warm.max(2 * PAGE));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_stack_that_always_grows_back_is_left_alone_more_and_more() {
        let mut history = History::default();
        let shrinks = (0..160)
            .filter(|_| matches!(history.judge(1 << 20, &visit(100, 100, true)), Verdict::Shrink(_)))
            .count();
        assert!((10..=14).contains(&shrinks), "{shrinks} times in 160 visits");
        // From now on it stays small: it is shrunk after 15 more visits, and then at every one.
        let mut resident = 1 << 20;
        for _ in 0..160 {
            if let Verdict::Shrink(keep) = history.judge(resident, &visit(100, 100, true)) {
                resident = keep;
            }
        }
        assert!(resident <= WARM);
        assert_eq!(history.patience, 0);
    }

    #[test]
    fn a_system_that_gives_nothing_back_is_not_asked_for_ever() {
        let mut history = History::default();
        assert!(matches!(history.judge(1 << 28, &visit(100, 100, true)), Verdict::Shrink(_)));
        assert_eq!(history.judge(1 << 28, &visit(100, 100, false)), Verdict::Settled);
    }

    /// An open stack of `pages` pages. Its base is a little below the top.
    fn stack(pages: usize) -> (Reservation, Bounds) {
        let memory = Reservation::new(pages * PAGE).unwrap();
        let limit = memory.low();
        memory.open(limit, limit + pages * PAGE).unwrap();
        (memory, Bounds { base: limit + pages * PAGE - 64, limit })
    }

    fn touch(bounds: Bounds, depths: impl IntoIterator<Item = usize>) {
        for depth in depths {
            // SAFETY: inside the stack, which nothing else uses.
            unsafe { ((bounds.base - depth) as *mut u8).write_volatile(7) };
        }
    }

    #[test]
    fn residency_is_found_at_any_depth_and_beyond_gaps() {
        for deepest in [1, 2, 15, 31, 32, 33, 100, 1000, 8191] {
            let (_memory, bounds) = stack(8192);
            touch(bounds, (0..deepest).map(|page| page * PAGE + 1));
            let (resident, looked_at) = Stack::new(bounds).resident();
            assert_eq!(resident, deepest * PAGE);
            assert!(looked_at >= resident);
        }
        // One page far below is found if the gap above it is no longer than what is resident above
        // the gap.
        let (_memory, bounds) = stack(8192);
        touch(bounds, (0..64).map(|page| page * PAGE + 1).chain([120 * PAGE]));
        assert_eq!(Stack::new(bounds).resident().0, 121 * PAGE);
    }

    #[test]
    fn a_shrunk_stack_keeps_what_is_live_and_loses_what_lies_beyond_a_gap() {
        let (_memory, bounds) = stack(8192);
        let deep = 600 * PAGE;
        touch(bounds, (0..64).map(|page| page * PAGE + 1).chain([deep]));
        let mut history = History::default();
        for _ in 0..6 {
            // SAFETY: nothing runs there, and the assertions below read no more than 200 bytes.
            unsafe { history.visit(&Visit { bounds, live: 200, used: 200, ran: false, warm: WARM }) };
        }
        assert!(Stack::new(bounds).resident().0 <= 2 * PAGE);
        // SAFETY: inside the stack.
        let (live, lost) =
            unsafe { (((bounds.base - 1) as *const u8).read(), ((bounds.base - deep) as *const u8).read()) };
        assert_eq!((live, lost), (7, 0));
    }

    /// Swapped-out pages are not in memory, and yet live: what the system says must not matter for
    /// what is kept.
    #[test]
    fn live_bytes_stay_however_little_is_said_to_be_resident() {
        let (_memory, bounds) = stack(64);
        touch(bounds, (0..40).map(|page| page * PAGE + 1));
        // SAFETY: nothing runs there.
        unsafe { Stack::new(bounds).keep(0, 30 * PAGE) };
        for page in 0..30 {
            // SAFETY: inside the stack.
            assert_eq!(unsafe { ((bounds.base - page * PAGE - 1) as *const u8).read() }, 7, "page {page}");
        }
    }

    #[inline(never)]
    fn recurse(depth: usize) -> usize {
        let frame = black_box([depth as u8; 1000]);
        if depth == 0 { 0 } else { recurse(depth - 1) + frame[depth % 1000] as usize }
    }

    /// The same with a real goroutine, and passes in quick succession.
    #[test]
    fn a_loop_at_the_edge_keeps_its_stack_most_of_the_time() {
        use std::sync::Arc;
        let stop = Arc::new(AtomicBool::new(false));
        let looping = {
            let stop = stop.clone();
            crate::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // Also where a stack has 256 KiB in all.
                    black_box(recurse(150));
                    crate::yield_now();
                }
            })
        };
        let shrinks = || -> usize {
            let all = crate::sched::started().unwrap().processors.all();
            all.map(|processor| processor.scavenge.shrinks.get()).sum()
        };
        const PASSES: usize = 200;
        let before = shrinks();
        let mut passes = 0;
        while passes < PASSES {
            for processor in crate::sched::started().unwrap().processors.all() {
                if !processor.scavenge.is_asked() && processor.scavenge.is_due(processor.switches.get()) {
                    processor.scavenge.ask();
                    passes += 1;
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let shrinks = shrinks() - before;
        stop.store(true, Ordering::Relaxed);
        looping.join().unwrap();
        // With everything given back at every park there is nothing left to shrink.
        let least = usize::from(crate::sched::started().unwrap().sizes.stress != Stress::Scavenge);
        assert!((least..=PASSES / 8).contains(&shrinks), "{shrinks} times in {PASSES} passes");
    }
}
