//! Several parties, goroutines and threads, that run random programs at once on shared channels.
//!
//! A watcher looks on. As long as one of them could go on, one has to. When all that are left wait for each other, it
//! closes the channels, and then all have to come to an end.

use crate::history::{self, Event, Outcome};
use crate::holds_for;
use crate::ledger::{Ledger, Value};
use narrowboat_chan::{Receiver, Select, Sender, bounded, unbounded};
use narrowboat_testing::{LONG, On, Work, ms, on, suite};
use proptest::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

suite! {
    a_crowd_loses_nothing_doubles_nothing_and_never_hangs,
}

/// How long a step may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Limit {
    None,
    Now,
    Micros(u64),
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize, Limit),
    Take(usize, Limit),
    Choose(Vec<(usize, bool)>, Limit),
    Close(usize),
    DropSender(usize),
    DropReceiver(usize),
    Yield,
}
use Step::*;

#[derive(Clone, Debug)]
struct Program {
    capacities: Vec<Option<usize>>,
    /// Each a goroutine, where the mode of the tests leaves the choice, or a thread.
    parties: Vec<(bool, Vec<Step>)>,
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![4 => Just(Limit::None), 2 => Just(Limit::Now), 3 => (0..150_u64).prop_map(Limit::Micros)]
}

fn step() -> impl Strategy<Value = Step> {
    let channel = || 0..3_usize;
    prop_oneof![
        12 => (channel(), limit()).prop_map(|(channel, limit)| Put(channel, limit)),
        12 => (channel(), limit()).prop_map(|(channel, limit)| Take(channel, limit)),
        12 => (prop::collection::vec((channel(), any::<bool>()), 1..5), limit())
            .prop_map(|(arms, limit)| Choose(arms, limit)),
        1 => channel().prop_map(Close),
        1 => channel().prop_map(DropSender),
        1 => channel().prop_map(DropReceiver),
        2 => Just(Yield),
    ]
}

fn program() -> impl Strategy<Value = Program> {
    let capacity = prop_oneof![3 => Just(Some(0)), 2 => Just(Some(1)), 1 => Just(Some(3)), 1 => Just(None)];
    let party = (any::<bool>(), prop::collection::vec(step(), 0..40));
    (prop::collection::vec(capacity, 1..4), prop::collection::vec(party, 1..6))
        .prop_map(|(capacities, parties)| Program { capacities, parties })
}

/// What all parties and the watcher share.
struct Stage {
    ledger: Ledger,
    /// Stamps for the beginnings and ends of operations.
    clock: AtomicUsize,
    /// For each party the step that it is at, or more than it has.
    at: Vec<AtomicUsize>,
}

type Ends = Vec<(Option<Sender<Value>>, Option<Receiver<Value>>)>;

/// One party's run.
struct Party {
    stage: Arc<Stage>,
    ends: Ends,
    events: Vec<Event>,
}

impl Party {
    fn now(&self) -> usize {
        self.stage.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn run(mut self, me: usize, steps: &[Step]) -> Vec<Event> {
        for (n, step) in steps.iter().enumerate() {
            self.stage.at[me].store(n, Ordering::SeqCst);
            let begun = self.now();
            match step {
                Put(channel, limit) => self.put(channel % self.ends.len(), *limit, begun),
                Take(channel, limit) => self.take(channel % self.ends.len(), *limit, begun),
                Choose(arms, limit) => self.choose(arms, *limit, begun),
                Close(channel) => match &self.ends[channel % self.ends.len()] {
                    (Some(tx), _) => _ = tx.close(),
                    (None, Some(rx)) => _ = rx.close(),
                    (None, None) => {}
                },
                DropSender(channel) => {
                    let channel = channel % self.ends.len();
                    self.ends[channel].0 = None;
                }
                DropReceiver(channel) => {
                    let channel = channel % self.ends.len();
                    self.ends[channel].1 = None;
                }
                Yield => narrowboat_runtime::yield_now(),
            }
        }
        // Handles are dropped before the party says that it has ended.
        drop(self.ends);
        self.stage.at[me].store(usize::MAX, Ordering::SeqCst);
        self.events
    }

    fn note(&mut self, channel: usize, begun: usize, outcome: Outcome) {
        let ended = self.now();
        self.events.push(Event { channel, begun, ended, outcome });
    }

    fn put(&mut self, channel: usize, limit: Limit, begun: usize) {
        let Some(tx) = &self.ends[channel].0 else { return };
        let value = self.stage.ledger.value();
        let id = value.id;
        let back = match limit {
            Limit::None => tx.send(value).err().map(|error| (true, error.into_inner())),
            Limit::Now => tx.try_send(value).err().map(|error| (error.is_disconnected(), error.into_inner())),
            Limit::Micros(n) => tx
                .send_timeout(value, Duration::from_micros(n))
                .err()
                .map(|error| (error.is_disconnected(), error.into_inner())),
        };
        let outcome = match back {
            None => Outcome::Sent(id),
            Some((closed, back)) => {
                assert_eq!(back.id, id, "another message came back");
                assert!(!closed || tx.is_closed());
                if closed { Outcome::Closed } else { Outcome::Nothing }
            }
        };
        self.note(channel, begun, outcome);
    }

    fn take(&mut self, channel: usize, limit: Limit, begun: usize) {
        let Some(rx) = &self.ends[channel].1 else { return };
        let result = match limit {
            Limit::None => rx.recv().map_err(|_| true),
            Limit::Now => rx.try_recv().map_err(|error| error.is_disconnected()),
            Limit::Micros(n) => {
                rx.recv_timeout(Duration::from_micros(n)).map_err(|error| error.is_disconnected())
            }
        };
        let outcome = match result {
            Ok(value) => Outcome::Received(value.id),
            Err(true) => {
                assert!(rx.is_closed() && rx.is_empty());
                Outcome::Ended
            }
            Err(false) => Outcome::Nothing,
        };
        self.note(channel, begun, outcome);
    }

    fn choose(&mut self, arms: &[(usize, bool)], limit: Limit, begun: usize) {
        let ends = &self.ends;
        let arms = live(arms, |channel| (ends[channel].0.is_some(), ends[channel].1.is_some()), ends.len());
        if arms.is_empty() {
            return;
        }
        let (channel, outcome) = {
            let mut list = Select::new();
            for (channel, sends) in &arms {
                match &ends[*channel] {
                    (Some(tx), _) if *sends => list.send(tx),
                    (_, Some(rx)) => list.recv(rx),
                    _ => unreachable!("it is not live"),
                };
            }
            let chosen = match limit {
                Limit::None => Some(list.select()),
                Limit::Now => list.try_select().ok(),
                Limit::Micros(n) => list.select_timeout(Duration::from_micros(n)).ok(),
            };
            let Some(chosen) = chosen else { return };
            let (channel, sends) = arms[chosen.index()];
            let outcome = match &ends[channel] {
                (Some(tx), _) if sends => {
                    let value = self.stage.ledger.value();
                    let id = value.id;
                    match chosen.send(tx, value) {
                        Ok(()) => Outcome::Sent(id),
                        Err(error) => {
                            assert!(error.into_inner().id == id && tx.is_closed());
                            Outcome::Closed
                        }
                    }
                }
                (_, Some(rx)) => match chosen.recv(rx) {
                    Ok(value) => Outcome::Received(value.id),
                    Err(_) => {
                        assert!(rx.is_closed() && rx.is_empty());
                        Outcome::Ended
                    }
                },
                _ => unreachable!("it is not live"),
            };
            (channel, outcome)
        };
        self.note(channel, begun, outcome);
    }
}

/// The arms whose handles are still there.
fn live(arms: &[(usize, bool)], has: impl Fn(usize) -> (bool, bool), channels: usize) -> Vec<(usize, bool)> {
    let arms = arms.iter().map(|(channel, sends)| (channel % channels, *sends));
    arms.filter(|(channel, sends)| if *sends { has(*channel).0 } else { has(*channel).1 }).collect()
}

fn start<T: Send + 'static>(goroutine: bool, f: impl FnOnce() -> T + Send + 'static) -> Work<T> {
    let on = if on() == On::Both && !goroutine { On::Threads } else { on() };
    on.go(f)
}

/// Whether a program has failed. Then the test does, whatever comes after: the program is only to be made smaller.
static FAILED: AtomicBool = AtomicBool::new(false);

/// How long all may stand still although one could move.
fn patience() -> Duration {
    if FAILED.load(Ordering::SeqCst) { ms(200) } else { LONG / 4 }
}

/// How often a program is run. Which comes first is chance, so one run says little.
fn repeats() -> usize {
    if FAILED.load(Ordering::SeqCst) { 40 } else { 4 }
}

/// What the watcher keeps: a receiver of each channel, so that whatever is left can be counted.
struct Watcher<'a> {
    program: &'a Program,
    stage: &'a Stage,
    receivers: Vec<Receiver<Value>>,
}

impl Watcher<'_> {
    /// Which operations a party waits to do without limit, if it does: channels, and whether it sends.
    fn waits_for(&self, party: usize, at: usize) -> Option<Vec<(usize, bool)>> {
        let steps = &self.program.parties[party].1;
        let channels = self.receivers.len();
        let dropped = |channel: usize| {
            let gone = |what: fn(usize) -> Step| {
                let what = what(channel);
                steps[..at].iter().any(|step| match (step, &what) {
                    (DropSender(n), DropSender(_)) | (DropReceiver(n), DropReceiver(_)) => {
                        n % channels == channel
                    }
                    _ => false,
                })
            };
            (gone(DropSender), gone(DropReceiver))
        };
        let arms = match &steps[at] {
            Put(channel, Limit::None) => vec![(*channel, true)],
            Take(channel, Limit::None) => vec![(*channel, false)],
            Choose(arms, Limit::None) => arms.clone(),
            _ => return None,
        };
        let arms = live(&arms, |channel| (!dropped(channel).0, !dropped(channel).1), channels);
        // Without an arm there is nothing to wait for, and the step is as good as done.
        (!arms.is_empty()).then_some(arms)
    }

    /// Whether one can go on: not if all that have not ended wait for what no other does.
    fn one_can_go_on(&self, at: &[usize]) -> bool {
        let mut waiting = Vec::new();
        for (party, at) in at.iter().enumerate() {
            if *at < self.program.parties[party].1.len() {
                match self.waits_for(party, *at) {
                    Some(arms) => waiting.extend(arms.into_iter().map(|arm| (party, arm))),
                    None => return true,
                }
            }
        }
        waiting.iter().any(|(party, (channel, sends))| {
            let rx = &self.receivers[*channel];
            let partner = || waiting.iter().any(|(other, arm)| other != party && *arm == (*channel, !sends));
            rx.is_closed() || if *sends { !rx.is_full() } else { !rx.is_empty() } || partner()
        })
    }

    /// The steps that the parties are at.
    fn at(&self) -> Vec<usize> {
        self.stage.at.iter().map(|at| at.load(Ordering::SeqCst)).collect()
    }

    fn ended(&self, at: &[usize]) -> bool {
        at.iter().all(|at| *at == usize::MAX)
    }

    /// Looks on until all have ended.
    fn watch(&self) {
        let mut seen = self.at();
        let mut since = Instant::now();
        while !self.ended(&seen) {
            narrowboat_runtime::sleep(Duration::from_micros(100));
            let at = self.at();
            if at != seen {
                (seen, since) = (at, Instant::now());
            } else if self.one_can_go_on(&at) {
                if since.elapsed() > patience() {
                    self.receivers.iter().for_each(|rx| _ = rx.close());
                    panic!("one could go on, and none does: parties at their steps {at:?}");
                }
            } else {
                // They wait for each other, which programs drawn by lot may do.
                self.receivers.iter().for_each(|rx| _ = rx.close());
            }
        }
    }
}

fn run(program: &Program) {
    let ledger = Ledger::default();
    let ends: Ends = program
        .capacities
        .iter()
        .map(|capacity| capacity.map_or_else(unbounded, bounded))
        .map(|(tx, rx)| (Some(tx), Some(rx)))
        .collect();
    let at = program.parties.iter().map(|_| AtomicUsize::new(0)).collect();
    let stage = Arc::new(Stage { ledger: ledger.clone(), clock: AtomicUsize::new(0), at });
    let works: Vec<_> = program
        .parties
        .iter()
        .enumerate()
        .map(|(me, (goroutine, steps))| {
            let party = Party { stage: stage.clone(), ends: ends.clone(), events: Vec::new() };
            let steps = steps.clone();
            start(*goroutine, move || {
                let ended = stage_guard(&party.stage, me);
                let events = party.run(me, &steps);
                drop(ended);
                events
            })
        })
        .collect();
    let receivers: Vec<_> = ends.into_iter().filter_map(|(_, rx)| rx).collect();
    Watcher { program, stage: &stage, receivers: receivers.clone() }.watch();
    let events: Vec<_> = works.into_iter().map(Work::join).collect();
    let left: Vec<Vec<usize>> =
        receivers.iter().map(|rx| rx.try_iter().map(|value| value.id).collect()).collect();
    history::check(&program.capacities, &events, &left);
    assert!(receivers.iter().all(Receiver::is_closed), "all senders are gone");
    drop((receivers, stage));
    assert!(ledger.alive().is_empty(), "values that are neither held nor dropped");
}

/// Marks the party as ended also if it panics, so that the watcher does not wait for it.
fn stage_guard(stage: &Arc<Stage>, me: usize) -> impl Drop + use<> {
    struct Guard(Arc<Stage>, usize);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.at[self.1].store(usize::MAX, Ordering::SeqCst);
        }
    }
    Guard(stage.clone(), me)
}

fn a_crowd_loses_nothing_doubles_nothing_and_never_hangs() {
    holds_for(400, program(), |program| {
        for _ in 0..repeats() {
            let outcome = catch_unwind(AssertUnwindSafe(|| run(program)));
            if let Err(panic) = outcome {
                FAILED.store(true, Ordering::SeqCst);
                resume_unwind(panic);
            }
        }
    });
}
