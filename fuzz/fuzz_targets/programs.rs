//! Random programs on goroutines, on threads and on both: channels, locks, timers, selects, spawns,
//! deep calls. No message is lost or doubled, no lock lets two in, stacks and thread-locals keep what
//! they hold, and all of it ends.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use narrowboat::chan::{self, Receiver, Sender};
use narrowboat::{Builder, blocking, select, sleep, spawn, stack, sync, yield_now};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(Arbitrary, Debug)]
struct Program {
    parties: Vec<Party>,
}

#[derive(Arbitrary, Debug)]
struct Party {
    on: On,
    /// How much it has on its stack.
    frame: u8,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum On {
    Shared,
    Own,
    Thread,
    SharedToo,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Send(u8),
    Receive(u8),
    SelectSend(u8, u8),
    SelectReceive(u8, u8),
    Lock,
    LockAndPark,
    StdLock,
    Acquire,
    Read,
    Sleep(u8),
    Yield,
    ThreadSleep,
    Unpark,
    Deep(u8),
    Spawn(u8),
    Blocking,
    Context,
}

/// What all parties share.
struct World {
    senders: Vec<Sender<u64>>,
    receivers: Vec<Receiver<u64>>,
    /// Sums of what was sent and received: numbers that are no two the same.
    sent: AtomicU64,
    received: AtomicU64,
    next: AtomicU64,
    counter: sync::Mutex<(u64, u64)>,
    std_counter: std::sync::Mutex<(u64, u64)>,
    values: sync::RwLock<(u64, u64)>,
    permits: sync::Semaphore,
    inside: AtomicU64,
}

thread_local! {
    static OWN: Cell<u64> = const { Cell::new(0) };
}

const SHORT: Duration = Duration::from_micros(300);

fuzz_target!(|program: Program| {
    narrowboat::run(move || run(program));
});

fn run(program: Program) {
    let (senders, receivers) = [chan::bounded(0), chan::bounded(2), chan::unbounded()].into_iter().unzip();
    let world = Arc::new(World {
        senders,
        receivers,
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
        next: AtomicU64::new(1),
        counter: sync::Mutex::new((0, 0)),
        std_counter: std::sync::Mutex::new((0, 0)),
        values: sync::RwLock::new((0, 0)),
        permits: sync::Semaphore::new(2),
        inside: AtomicU64::new(0),
    });
    let mut parties: Vec<Box<dyn FnOnce() -> bool>> = Vec::new();
    for party in program.parties.into_iter().take(12) {
        let world = world.clone();
        let on = party.on;
        let f = move || act(&world, party);
        parties.push(match on {
            On::Shared | On::SharedToo => {
                let handle = spawn(f);
                Box::new(move || handle.join().is_ok())
            }
            On::Own => {
                let handle = Builder::new().own_stack(256 << 10).spawn(f).expect("there is memory");
                Box::new(move || handle.join().is_ok())
            }
            On::Thread => {
                let handle = std::thread::spawn(f);
                Box::new(move || handle.join().is_ok())
            }
        });
    }
    for party in parties {
        assert!(party(), "a party has panicked");
    }
    for receiver in &world.receivers {
        let rest: u64 = receiver.try_iter().sum();
        world.received.fetch_add(rest, Ordering::Relaxed);
    }
    assert_eq!(world.sent.load(Ordering::Relaxed), world.received.load(Ordering::Relaxed));
    let (one, other) = *world.counter.lock().expect("no holder panics");
    assert_eq!(one, other);
    let (one, other) = *world.std_counter.lock().expect("no holder panics");
    assert_eq!(one, other);
    assert_eq!(world.permits.available_permits(), 2);
}

fn act(world: &Arc<World>, party: Party) {
    let mark = world.next.fetch_add(1, Ordering::Relaxed);
    OWN.set(mark);
    match party.frame % 3 {
        0 => with_frame::<16>(world, party.steps, mark),
        1 => with_frame::<900>(world, party.steps, mark),
        _ => with_frame::<5_000>(world, party.steps, mark),
    }
    assert_eq!(OWN.get(), mark);
}

fn with_frame<const N: usize>(world: &Arc<World>, steps: Vec<Step>, mark: u64) {
    let bytes = [mark as u8; N];
    for step in steps.into_iter().take(24) {
        take(world, step);
        assert_eq!(OWN.get(), mark, "another's thread-local");
        assert!(std::hint::black_box(&bytes).iter().all(|&byte| byte == mark as u8), "another's stack");
    }
}

impl World {
    fn message(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn note_sent(&self, message: u64, was_sent: bool) {
        self.sent.fetch_add(if was_sent { message } else { 0 }, Ordering::Relaxed);
    }

    fn note_received(&self, message: Option<u64>) {
        self.received.fetch_add(message.unwrap_or(0), Ordering::Relaxed);
    }
}

fn take(world: &Arc<World>, step: Step) {
    let index = |n: u8| usize::from(n) % 3;
    match step {
        Step::Send(n) => {
            let message = world.message();
            world.note_sent(message, world.senders[index(n)].send_timeout(message, SHORT).is_ok());
        }
        Step::Receive(n) => world.note_received(world.receivers[index(n)].recv_timeout(SHORT).ok()),
        Step::SelectSend(n, m) => {
            let message = world.message();
            select! {
                send(world.senders[index(n)], message) -> sent => world.note_sent(message, sent.is_ok()),
                recv(world.receivers[index(m)]) -> other => world.note_received(other.ok()),
                default(SHORT) => {}
            }
        }
        Step::SelectReceive(n, m) => select! {
            recv(world.receivers[index(n)]) -> message => world.note_received(message.ok()),
            recv(world.receivers[index(m)]) -> message => world.note_received(message.ok()),
            recv(chan::after(SHORT)) -> _ => {}
        },
        Step::Lock => {
            let mut counter = world.counter.lock().expect("no holder panics");
            counter.0 += 1;
            counter.1 += 1;
        }
        Step::LockAndPark => {
            let mut counter = world.counter.lock().expect("no holder panics");
            counter.0 += 1;
            yield_now();
            counter.1 += 1;
            assert_eq!(counter.0, counter.1, "two hold the lock");
        }
        Step::StdLock => {
            let mut counter = world.std_counter.lock().expect("no holder panics");
            counter.0 += 1;
            std::thread::sleep(Duration::from_micros(20));
            counter.1 += 1;
            assert_eq!(counter.0, counter.1, "two hold the lock");
        }
        Step::Acquire => {
            let permit = world.permits.acquire();
            assert!(world.inside.fetch_add(1, Ordering::AcqRel) < 2, "three have two permits");
            yield_now();
            world.inside.fetch_sub(1, Ordering::AcqRel);
            drop(permit);
        }
        Step::Read => {
            let (one, other) = *world.values.read().expect("no holder panics");
            assert_eq!(one, other, "half a write");
            let mut values = world.values.write().expect("no holder panics");
            values.0 += 1;
            yield_now();
            values.1 += 1;
        }
        Step::Sleep(n) => sleep(Duration::from_micros(u64::from(n))),
        Step::Yield => yield_now(),
        Step::ThreadSleep => std::thread::sleep(Duration::from_micros(30)),
        Step::Unpark => {
            std::thread::current().unpark();
            std::thread::park();
        }
        Step::Deep(n) => assert_eq!(deep(usize::from(n) % 60), usize::from(n) % 60),
        Step::Spawn(n) => {
            let world = world.clone();
            let child = spawn(move || {
                take(&world, Step::Send(n));
                take(&world, Step::Receive(n.wrapping_add(1)));
                n
            });
            assert_eq!(child.join().expect("does not panic"), n);
        }
        Step::Blocking => assert_eq!(blocking(|| 7), 7),
        Step::Context => {
            let (context, cancel) =
                narrowboat::context::with_timeout(&narrowboat::context::background(), SHORT);
            let child = spawn(move || context.done().recv().is_err());
            yield_now();
            cancel.cancel();
            assert!(child.join().expect("does not panic"));
        }
    }
}

fn deep(n: usize) -> usize {
    let frame = [n; 100];
    let below = if n == 0 { 0 } else { 1 + stack::maybe_grow(16 << 10, 256 << 10, || deep(n - 1)) };
    if n % 16 == 1 {
        yield_now();
    }
    assert!(std::hint::black_box(&frame).iter().all(|&it| it == n), "another's stack");
    below
}
