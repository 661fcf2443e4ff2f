//! Schedules of a simulated world. The bytes are a small program of channels, selects and locks, and
//! the decisions of a schedule that it runs under, as `NARROWBOAT_SIM_REPLAY` has them. The same
//! schedule twice is the same run. What waits in the end waits for what cannot happen, as a model
//! says, and what has come through the channels was sent, in its order. And any text is read as a
//! schedule, or refused.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use narrowboat::chan::{self, Receiver, Select, Sender};
use narrowboat::sim::{Check, Replay, Schedule};
use narrowboat::sync::Mutex;
use narrowboat::{go, sleep, yield_now};
use std::sync::{self, Arc};
use std::time::Duration;

const CHANNELS: usize = 3;
const LOCKS: usize = 2;

#[derive(Arbitrary, Debug)]
struct Input {
    program: Program,
    seed: u64,
    decisions: Vec<Decision>,
    text: String,
}

#[derive(Arbitrary, Debug, Clone)]
struct Program {
    capacities: [u8; CHANNELS],
    goroutines: [Vec<Operation>; 4],
}

#[derive(Arbitrary, Debug)]
struct Decision {
    goroutine: u8,
    count: u8,
    draws: bool,
    value: u8,
}

#[derive(Arbitrary, Debug, Clone)]
enum Operation {
    Send(u8),
    Receive(u8),
    Select(Vec<Arm>),
    Close(u8),
    /// Adds to a counter in two steps, with a place for a switch between them.
    Add(u8),
    /// Both locks, in their order.
    AddToBoth,
    GiveWay,
    Sleep(u8),
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Arm {
    Send(u8),
    Receive(u8),
}

impl Arm {
    fn channel(self) -> usize {
        let (Arm::Send(n) | Arm::Receive(n)) = self;
        usize::from(n) % CHANNELS
    }
}

/// What has happened, in its order.
#[derive(Clone, PartialEq, Debug)]
enum Event {
    Sent(usize, u32),
    NotSent(usize),
    Received(usize, Option<u32>),
    Closed(usize, bool),
    Added(usize, u64),
    Ended,
}

/// What all goroutines see. In a world nothing runs beside the one that looks, and it never waits
/// for `log`, which is not held across a call that may switch.
struct Shared {
    channels: Vec<(Sender<u32>, Receiver<u32>)>,
    capacities: Vec<usize>,
    counters: [Mutex<u64>; LOCKS],
    log: sync::Mutex<Log>,
}

#[derive(Default)]
struct Log {
    events: Vec<(usize, Event)>,
    /// The arms that each goroutine waits for.
    waits: [Vec<Arm>; 4],
}

impl Shared {
    fn log(&self) -> sync::MutexGuard<'_, Log> {
        self.log.lock().expect("nothing panics with it")
    }

    fn note(&self, goroutine: usize, event: Event) {
        let mut log = self.log();
        log.waits[goroutine].clear();
        log.events.push((goroutine, event));
    }

    fn wait_for(&self, goroutine: usize, arms: &[Arm]) {
        self.log().waits[goroutine] = arms.to_vec();
    }
}

fn step(shared: &Shared, me: usize, operation: &Operation, message: u32) {
    match *operation {
        Operation::Send(n) => select(shared, me, &[Arm::Send(n)], message),
        Operation::Receive(n) => select(shared, me, &[Arm::Receive(n)], message),
        Operation::Select(ref arms) => select(shared, me, &arms[..arms.len().min(4)], message),
        Operation::Close(n) => {
            let channel = usize::from(n) % CHANNELS;
            let was_open = shared.channels[channel].0.close();
            shared.note(me, Event::Closed(channel, was_open));
        }
        Operation::Add(n) => {
            let lock = usize::from(n) % LOCKS;
            add(shared, me, lock, &mut shared.counters[lock].lock().unwrap());
        }
        Operation::AddToBoth => {
            let [one, other] = &shared.counters;
            let (mut one, mut other) = (one.lock().unwrap(), other.lock().unwrap());
            add(shared, me, 0, &mut one);
            add(shared, me, 1, &mut other);
        }
        Operation::GiveWay => yield_now(),
        Operation::Sleep(n) => sleep(Duration::from_millis(n.into())),
    }
}

fn add(shared: &Shared, me: usize, lock: usize, counter: &mut u64) {
    let before = *counter;
    yield_now();
    *counter = before + 1;
    shared.note(me, Event::Added(lock, *counter));
}

/// One arm without a select, and several with one.
fn select(shared: &Shared, me: usize, arms: &[Arm], message: u32) {
    let ends = |arm: Arm| &shared.channels[arm.channel()];
    shared.wait_for(me, arms);
    let (arm, event) = match *arms {
        [] => return,
        [arm @ Arm::Send(_)] => (arm, ends(arm).0.send(message).is_ok().then_some(message)),
        [arm @ Arm::Receive(_)] => (arm, ends(arm).1.recv().ok()),
        _ => {
            let mut select = Select::new();
            for &arm in arms {
                match arm {
                    Arm::Send(_) => select.send(&ends(arm).0),
                    Arm::Receive(_) => select.recv(&ends(arm).1),
                };
            }
            let operation = select.select();
            let arm = arms[operation.index()];
            match arm {
                Arm::Send(_) => (arm, operation.send(&ends(arm).0, message).is_ok().then_some(message)),
                Arm::Receive(_) => (arm, operation.recv(&ends(arm).1).ok()),
            }
        }
    };
    let channel = arm.channel();
    shared.note(
        me,
        match (arm, event) {
            (Arm::Send(_), Some(message)) => Event::Sent(channel, message),
            (Arm::Send(_), None) => Event::NotSent(channel),
            (Arm::Receive(_), message) => Event::Received(channel, message),
        },
    );
}

/// All wait, since the time has come for this. Nothing of what they wait for is possible.
fn assert_that_all_wait_in_vain(shared: &Shared) {
    let log = shared.log();
    for channel in 0..CHANNELS {
        let (sender, receiver) = &shared.channels[channel];
        let waits = |wanted: fn(&Arm) -> bool| -> Vec<usize> {
            let has = |arms: &Vec<Arm>| arms.iter().any(|arm| arm.channel() == channel && wanted(arm));
            (0..4).filter(|&goroutine| has(&log.waits[goroutine])).collect()
        };
        let sends = waits(|arm| matches!(arm, Arm::Send(_)));
        let receives = waits(|arm| matches!(arm, Arm::Receive(_)));
        let is_closed = log.events.iter().any(|(_, event)| *event == Event::Closed(channel, true));
        if is_closed {
            assert!(sends.is_empty() && receives.is_empty(), "{:?} wait at a closed channel", log.waits);
        }
        assert!(sends.is_empty() || sender.is_full(), "{sends:?} wait to send, and there is room");
        assert!(receives.is_empty() || receiver.is_empty(), "{receives:?} wait, and there is a message");
        let meet = sends.iter().any(|one| receives.iter().any(|other| other != one));
        assert!(!meet, "{sends:?} and {receives:?} wait for each other");
    }
}

/// The events are such as the channels and locks can have.
fn assert_possible(shared: &Shared) {
    let log = shared.log();
    for channel in 0..CHANNELS {
        let of = |wanted: fn(&Event) -> Option<(usize, u32)>| -> Vec<(usize, u32)> {
            let mine = |(goroutine, event): &(usize, Event)| {
                wanted(event).filter(|(at, _)| *at == channel).map(|(_, message)| (*goroutine, message))
            };
            log.events.iter().filter_map(mine).collect()
        };
        let sent =
            of(|event| if let Event::Sent(at, message) = event { Some((*at, *message)) } else { None });
        let received =
            of(
                |event| {
                    if let Event::Received(at, Some(message)) = event { Some((*at, *message)) } else { None }
                },
            );
        // Messages have the number of their sender, and grow.
        for sender in 0..4 {
            let sent: Vec<_> = sent.iter().filter(|(by, _)| *by == sender).map(|(_, it)| *it).collect();
            assert!(sent.is_sorted());
            // Each receiver sees those of one sender in their order.
            for receiver in 0..4 {
                let seen =
                    received.iter().filter(|(by, message)| *by == receiver && of_sender(*message) == sender);
                let seen: Vec<_> = seen.map(|(_, message)| *message).collect();
                assert!(seen.is_sorted(), "{seen:?} of {sent:?}");
            }
        }
        let mut left: Vec<u32> = sent.iter().map(|(_, message)| *message).collect();
        for (_, message) in &received {
            let place = left.iter().position(|sent| sent == message);
            left.swap_remove(place.unwrap_or_else(|| panic!("{message} was received and not sent")));
        }
        assert_eq!(left.len(), shared.channels[channel].1.len());
        assert!(left.len() <= shared.capacities[channel]);
    }
    for lock in 0..LOCKS {
        let added = |(_, event): &&(usize, Event)| matches!(event, Event::Added(at, _) if *at == lock);
        let count = log.events.iter().filter(added).count() as u64;
        assert_eq!(*shared.counters[lock].lock().unwrap(), count, "an addition is lost");
    }
}

fn of_sender(message: u32) -> usize {
    (message >> 16) as usize
}

fn run(program: &Program) -> Vec<(usize, Event)> {
    let capacities: Vec<usize> = program.capacities.iter().map(|byte| usize::from(byte % 3)).collect();
    let channels = capacities.iter().map(|&capacity| chan::bounded(capacity)).collect();
    let shared =
        Arc::new(Shared { channels, capacities, counters: Default::default(), log: sync::Mutex::default() });
    let goroutines: Vec<_> = program
        .goroutines
        .iter()
        .enumerate()
        .map(|(me, operations)| {
            let operations: Vec<Operation> = operations.iter().take(12).cloned().collect();
            let shared = Arc::clone(&shared);
            go!(move || {
                for (n, operation) in operations.iter().enumerate() {
                    step(&shared, me, operation, (me as u32) << 16 | n as u32);
                }
                shared.note(me, Event::Ended);
            })
        })
        .collect();
    // Time passes when nothing else can.
    sleep(Duration::from_secs(3600));
    assert_that_all_wait_in_vain(&shared);
    for (sender, _) in &shared.channels {
        sender.close();
    }
    goroutines.into_iter().for_each(|goroutine| goroutine.join().unwrap());
    assert_possible(&shared);
    let log = shared.log();
    assert_eq!(log.events.iter().filter(|(_, event)| *event == Event::Ended).count(), 4);
    log.events.clone()
}

fuzz_target!(|input: Input| {
    let read = input.text.parse::<Replay>();
    if let Ok(replay) = &read {
        assert_eq!(replay.to_string().parse::<Replay>().as_ref(), Ok(replay));
    }
    if let Ok(schedule) = input.text.parse::<Schedule>() {
        assert_eq!(schedule.to_string().parse::<Schedule>(), Ok(schedule));
    }
    let entries = input.decisions.iter().map(|it| {
        let kind = if it.draws { '=' } else { '>' };
        format!("{}.{}{kind}{}", it.goroutine % 8, it.count % 64, it.value % 8)
    });
    let written = format!("1:{}:{}:{:016x}", input.seed, entries.collect::<Vec<_>>().join(","), 0);
    let replay: Replay = written.parse().expect("it is a schedule");
    assert_eq!(replay.to_string(), written);

    let runs = [(); 2].map(|()| {
        let (program, replay) = (input.program.clone(), replay.clone());
        let log = Arc::new(sync::Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        let check = Check::new().environment(false).shorten(false).replay(replay);
        let summary = check.run(move || *kept.lock().unwrap() = run(&program));
        let events = std::mem::take(&mut *log.lock().unwrap());
        (events, summary.schedules)
    });
    assert_eq!(runs[0], runs[1], "the same schedule, and another run");
});
