//! The loop of a world's processor: like that of an ordinary one ([`super::super::batch`]), but a
//! [`Scheduler`](super::Scheduler) picks.

use super::super::batch::{Starting, report_no_stacks};
use super::super::fork;
use super::super::processor::{Loop, Processor, SwitchReason};
use super::super::record::labels::{LabelCell, Labels};
use super::super::record::{Ready, Record};
use super::super::trace;
use super::{End, Leftover, Moment, Over, Progress, Turn, TurnEnd, World, forsaken, lock};
use crate::arch::sanitizers;
use crate::lock::Native;
use crate::ours;
use crate::stack::own::OwnStack;
use crate::wait::Reason;
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long the world keeps its worker, in nanoseconds of real time.
const SLICE: u64 = 200_000;
/// The loop reads the real clock once in this many turns.
const CLOCK_EVERY: u32 = 8;
/// Locks take the lowest sixteen bits of a goroutine's id for its tag, and zero is no goroutine: so
/// when the ids come close to such a number, they go on behind it.
const TAGS: u64 = 1 << 16;
/// Bytes of stack of a goroutine without a wish of its own: address space, most of which is never
/// used.
const STACK: usize = 16 << 20;
/// More than a goroutine spawns in a turn.
const MARGIN: u64 = 2048;

/// For how many milliseconds of real time a world in which all wait is watched, if one of them
/// waits for a lock of std's: a thread or another world may have it, as that of stdout.
const PATIENCE: u32 = 30;

/// What the loop does next.
enum Step {
    Run(Ready, u32),
    /// Time has passed.
    Again,
    /// The worker has other work, and the ready queue is not empty. Or only something outside of
    /// the world can let it go on.
    Leave,
    Over(End),
}

/// The labels that a goroutine has.
fn labels_of(record: &Record) -> Labels {
    record.origin.labels().map_or_else(Labels::default, LabelCell::get)
}

/// The first function on the stack of the loop of a world's processor.
pub(in crate::sched) extern "C" fn world_loop(processor: usize) -> ! {
    // SAFETY: `Processor::new` passed its own address; processors are never freed. This is the
    // loop.
    let mut this = unsafe { Loop::new(&*(processor as *const Processor)) };
    sanitizers::acquire(processor as *const Processor);
    loop {
        this.reborrow().requeue_predecessor();
        if trace::watches(trace::EVENTS | trace::WAITS) {
            this.reborrow().run_world::<true>();
        } else {
            this.reborrow().run_world::<false>();
        }
        if fork::in_child() {
            this.reborrow().run_forked();
        }
        // Never directly to another processor: the time of this one is not the time of that.
        this.reborrow().switch_to_worker(false);
    }
}

impl Loop<'_> {
    fn run_world<const TRACED: bool>(mut self) {
        let processor = self.processor();
        let world = processor.stage().and_then(super::Stage::world);
        if let Some(world) = &world {
            self.reborrow().run_turns::<TRACED>(world);
        } else {
            self.reborrow().discard_strangers();
        }
        self.reborrow().answer_requests();
        self.publish_counters();
    }

    /// Gives turns, until the slice of time is over, or nothing in the world can run.
    fn run_turns<const TRACED: bool>(mut self, world: &World) {
        let processor = self.processor();
        let worker = self.worker.get();
        let end = worker.map_or(0, |worker| worker.refresh_now()) + SLICE;
        let mut turn = 0u32;
        self.begin(world);
        loop {
            turn = turn.wrapping_add(1);
            let late =
                turn.is_multiple_of(CLOCK_EVERY) && worker.is_some_and(|worker| worker.refresh_now() > end);
            let leaves = late || processor.is_asked() || fork::in_child();
            match self.reborrow().next_step(world, leaves) {
                Step::Run(goroutine, number) => {
                    // Each call of Narrowboat gives way.
                    processor.yield_flag.store(true, Ordering::Relaxed);
                    // A select asks the world for its order when this is zero.
                    ours::with(|ours| ours.random.set(0));
                    let record = goroutine.record();
                    if let Some(skew) = &*lock(&world.skews) {
                        processor
                            .stage()
                            .expect("a processor for worlds")
                            .set_skew(skew(&labels_of(&goroutine)));
                    }
                    self.reborrow().resume::<TRACED>(goroutine);
                    self.reborrow().after_turn(world, number, record);
                    // The child goes on with this goroutine, which is the last in the queue now.
                    if fork::in_child() {
                        return;
                    }
                }
                Step::Again => {}
                Step::Leave => return,
                Step::Over(end) => return self.end_world(world, end),
            }
        }
    }

    fn begin(&mut self, world: &World) {
        self.now.set(world.now.load(Ordering::Relaxed));
        if !std::mem::replace(&mut lock(&world.progress).begun, true) {
            // The first one has been spawned already.
            self.set_ids(world.first + 2, world.first + super::NUMBERS);
            self.keep_children();
        }
    }

    /// Collects what can run, and asks what has the next turn, unless the loop leaves.
    fn next_step(mut self, world: &World, leaves: bool) -> Step {
        let _native = Native::begin();
        self.reborrow().gather(world);
        if self.abandon(world) {
            return Step::Again;
        }
        let mut guard = lock(&world.progress);
        let progress = &mut *guard;
        if progress.first_has_ended && progress.live == 0 {
            return Step::Over(End::Complete);
        }
        self.reborrow().fire_timers();
        if self.reborrow().fire_events(world) {
            return Step::Again;
        }
        let ready = &mut self.parts().ready;
        if ready.iter().any(|goroutine| world.member(goroutine.id, progress).is_none()) {
            let (stay, gone) = std::mem::take(ready)
                .into_iter()
                .partition::<VecDeque<_>, _>(|goroutine| world.member(goroutine.id, progress).is_some());
            *ready = stay;
            drop(guard);
            self.drop_wake_ups(gone);
            return Step::Again;
        }
        if ready.is_empty() {
            return self.idle_step(world, progress);
        }
        // Only here: a processor without ready goroutines would come to rest, whatever its timers.
        if leaves {
            return Step::Leave;
        }
        // By number, whatever woke them in which order.
        ready.make_contiguous().sort_unstable_by_key(|goroutine| goroutine.id);
        progress.ready.clear();
        progress.ready.extend(ready.iter().filter_map(|goroutine| world.number(goroutine.id)));
        let waits_at = progress.last_at;
        let now = world.now.load(Ordering::Relaxed);
        let moment = Moment {
            now,
            ready: &progress.ready,
            last: progress.last,
            last_at: waits_at,
            last_frames: &progress.last_frames,
        };
        let chosen = world.scheduler(|scheduler| scheduler.next(&moment)).flatten();
        progress.patience = 0;
        match chosen.and_then(|index| ready.remove(index).zip(progress.ready.get(index))) {
            Some((goroutine, &number)) => Step::Run(goroutine, number),
            None => Step::Over(End::Stopped),
        }
    }

    /// Nothing can run now.
    fn idle_step(mut self, world: &World, progress: &mut Progress) -> Step {
        if !progress.has_come && self.parts().without_stack.is_empty() {
            // The first goroutine is still on its way here: the world is on the stage before.
            return Step::Leave;
        }
        let timer = self.parts().timers.earliest();
        let event = lock(&world.events).first_key_value().map(|(&(at, _), _)| at);
        if let Some(at) = timer.into_iter().chain(event).min() {
            if world.scheduler(|scheduler| scheduler.jump(at)) != Some(true) {
                return Step::Over(End::Stopped);
            }
            world.now.store(at, Ordering::Relaxed);
            self.processor().stage().expect("a processor for worlds").set_clock(at);
            self.now.set(at);
            return Step::Again;
        }
        let simulated = world.network.load(Ordering::Relaxed);
        let (mut outside, mut by_memory) = (false, false);
        self.all_goroutines(|record| {
            let reason = record.reason.get();
            by_memory |= reason == Reason::Futex && world.member(record.id, progress).is_some();
            let of_network = matches!(
                reason,
                Reason::Read
                    | Reason::Write
                    | Reason::Accept
                    | Reason::Connect
                    | Reason::Readiness
                    | Reason::Resolve
            );
            outside |= world.member(record.id, progress).is_some()
                && reason.is_external()
                && !(simulated && of_network);
            true
        });
        if outside {
            Step::Leave
        } else if by_memory && progress.patience < PATIENCE {
            progress.patience += 1;
            std::thread::sleep(Duration::from_millis(1));
            Step::Again
        } else if progress.first_has_ended {
            Step::Over(End::Left)
        } else {
            Step::Over(End::Deadlock)
        }
    }

    /// Collects the goroutines that have been woken, and gives each newcomer its place.
    fn gather(mut self, world: &World) {
        let processor = self.processor();
        let (local, parts) = self.open();
        processor.inbox.drain(|record| {
            // SAFETY: only live goroutines are woken, so the pointer is not null, and this is the
            // wake-up of this one.
            parts.ready.push_back(unsafe { Ready::new(NonNull::new_unchecked(record)) });
        });
        if let Some(next) = local.run_next.take() {
            parts.ready.push_back(next);
        }
        while let Some(goroutine) = self.reborrow().start_alone() {
            if let Some(number) = world.number(goroutine.id) {
                let mut progress = lock(&world.progress);
                progress.live += 1;
                progress.has_come = true;
                drop(progress);
                world.scheduler(|scheduler| scheduler.started(number, goroutine.origin.spawned_at()));
            }
            self.parts().ready.push_back(goroutine);
        }
        let next = self.next_id();
        if next % TAGS > TAGS - MARGIN {
            self.set_ids(next / TAGS * TAGS + TAGS + 1, world.first + super::NUMBERS);
        }
    }

    /// Gives the next newcomer a record, and a stack of its own.
    fn start_alone(mut self) -> Option<Ready> {
        let processor = self.processor();
        let (local, parts) = self.open();
        let retried = if parts.slots.may_have_stack() { parts.without_stack.pop_front() } else { None };
        let starting = match retried {
            Some(starting) => starting,
            None => {
                let task = local.unstarted.pop().or_else(|| processor.arrivals.take(&local.unstarted))?;
                // SAFETY: the task was spawned and is started here, once.
                let (id, origin) = unsafe { task.begin() };
                Starting { task, id, origin, since: 0, decided: 0 }
            }
        };
        // Never a slot: one that is left could hold it for ever.
        let own = starting.origin.take_own_stack().or_else(|| OwnStack::take(STACK).ok());
        let home =
            own.and_then(|own| parts.slots.settle(&mut Some(own), starting.origin.spawned_at(), true).ok());
        match home {
            Some(home) => {
                let Starting { task, id, origin, .. } = starting;
                Some(parts.slab.insert(processor, Record::new(task, id, origin, home)))
            }
            None => {
                report_no_stacks();
                processor.scavenge.want_another();
                parts.without_stack.push_back(starting);
                None
            }
        }
    }

    /// Finds those that never run again. Newcomers have their places by now. Returns whether there
    /// are any.
    fn abandon(&mut self, world: &World) -> bool {
        let abandons = std::mem::take(&mut *lock(&world.abandons));
        if abandons.is_empty() {
            return false;
        }
        let mut gone = Vec::new();
        {
            let progress = &mut *lock(&world.progress);
            self.all_goroutines(|record| {
                if let Some(number) = world.member(record.id, progress)
                    && abandons.iter().any(|is_gone| is_gone(&labels_of(record)))
                {
                    progress.abandoned.insert(number);
                    progress.live -= 1;
                    gone.push((number, NonNull::from(record)));
                }
                true
            });
        }
        self.forsake(gone);
        true
    }

    /// Takes goroutines that never run again out of what they wait for, each with its number. Others
    /// may be woken by that, and wakers of the program called: in an order that a replay has, too.
    fn forsake(&mut self, mut gone: Vec<(u32, NonNull<Record>)>) {
        gone.sort_unstable_by_key(|&(number, _)| number);
        self.install_host();
        for (_, record) in gone {
            // SAFETY: it is suspended, this is the loop, and a goroutine that does not run again
            // does not end.
            unsafe { forsaken::leave(record.as_ref()) };
        }
    }

    /// Drops the wake-ups of goroutines that never run again, and passes on what these were given.
    fn drop_wake_ups(&mut self, gone: VecDeque<Ready>) {
        self.install_host();
        for goroutine in &gone {
            // SAFETY: it is ready, so its wake-up has come, and this is the loop.
            unsafe { forsaken::pass_on(goroutine) };
        }
    }

    /// Calls what is due. Returns whether there was anything.
    fn fire_events(&mut self, world: &World) -> bool {
        let now = world.now.load(Ordering::Relaxed);
        let mut fired = false;
        loop {
            let event = {
                let mut events = lock(&world.events);
                let due = events.first_entry().filter(|event| event.key().0 <= now);
                due.map(|event| event.remove())
            };
            let Some(event) = event else { return fired };
            if !std::mem::replace(&mut fired, true) {
                // It may use std's thread-locals.
                self.install_host();
            }
            event();
        }
    }

    fn after_turn(mut self, world: &World, number: u32, record: NonNull<Record>) {
        let asked = self.asked.replace(false);
        let end = match self.switch_reason() {
            SwitchReason::Park => TurnEnd::Parked,
            SwitchReason::Finish => TurnEnd::Ended,
            SwitchReason::Yield if asked => TurnEnd::Passed,
            SwitchReason::Yield => TurnEnd::GaveWay,
        };
        let parked_at = (end == TurnEnd::Parked).then(|| {
            // SAFETY: it has parked, and nothing has run since, so its record is live.
            let record = unsafe { record.as_ref() };
            (record.reason.get(), record.waits_at.get())
        });
        let gave_way = matches!(end, TurnEnd::Passed | TurnEnd::GaveWay);
        let frames = (world.shows && gave_way).then(|| {
            // SAFETY: it can go on, and nothing has run since, so its record is live.
            self.view().backtrace_of(unsafe { record.as_ref() })
        });
        let mut progress = lock(&world.progress);
        progress.last_frames = frames.flatten().map_or_else(Vec::new, |frames| frames.addresses().to_vec());
        progress.last = Some(Turn { number, end });
        progress.last_at = parked_at;
        if end == TurnEnd::Ended {
            progress.live -= 1;
            if number == 1 {
                progress.first_has_ended = true;
                world.scheduler(|scheduler| scheduler.returned(world.now.load(Ordering::Relaxed)));
            }
        }
    }

    /// The world is over. What is left of it never runs again.
    fn end_world(mut self, world: &World, end: End) {
        let _native = Native::begin();
        let (mut left, mut gone) = (Vec::new(), Vec::new());
        self.install_host();
        let progress = lock(&world.progress);
        self.each_goroutine(|view, record| {
            if let Some(number) = world.member(record.id, &progress) {
                let waits = record.wait.head.claim.is_waiting();
                gone.push((number, NonNull::from(record)));
                let frames = if world.shows { view.backtrace_of(record) } else { None };
                left.push(Leftover {
                    frames: frames.map_or_else(Vec::new, |frames| frames.addresses().to_vec()),
                    number,
                    name: record.origin.name().cloned(),
                    spawned_at: record.origin.spawned_at(),
                    reason: if waits { record.reason.get() } else { Reason::None },
                    waits_at: record.waits_at.get(),
                });
            }
        });
        // They count no longer.
        let count = left.len() + progress.abandoned.len() + self.parts().without_stack.len();
        drop(progress);
        left.sort_unstable_by_key(|goroutine| goroutine.number);
        self.forsake(gone);
        self.reborrow().discard_strangers();
        let processor = self.processor();
        processor.census.finished.add(count);
        processor.yield_flag.store(false, Ordering::Relaxed);
        processor.stage().expect("a processor for worlds").clear();
        // Events may hold what belongs to the program.
        let events = std::mem::take(&mut *lock(&world.events));
        self.install_host();
        drop(events);
        let first_has_ended = lock(&world.progress).first_has_ended;
        world.finish(Over { end, left, first_has_ended });
    }

    /// Forgets what a world that is over has left: goroutines that could run, and timers.
    fn discard_strangers(mut self) {
        let processor = self.processor();
        let (local, parts) = self.open();
        let ready = &mut parts.ready;
        processor.inbox.drain(|record| {
            // SAFETY: only live goroutines are woken, so the pointer is not null, and this is the
            // wake-up of this one.
            ready.push_back(unsafe { Ready::new(NonNull::new_unchecked(record)) });
        });
        ready.extend(local.run_next.take());
        let gone = std::mem::take(ready);
        parts.deferred.clear();
        parts.without_stack.clear();
        parts.starting = None;
        while parts.timers.pop_due(u64::MAX).is_some() {}
        if !gone.is_empty() {
            self.drop_wake_ups(gone);
        }
    }
}
