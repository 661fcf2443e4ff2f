//! Many goroutines, each with so many bytes alive on its stack: how long it takes until all are parked, what each of
//! them takes in memory, and what a switch from one to the next costs.

use std::hint::black_box;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use narrowboat::chan::{Receiver, Sender, bounded};
use narrowboat::{Builder, sleep, spawn, stack, yield_now};
use narrowboat_bench::cli::{fail, per_operation, report};
use narrowboat_bench::memory::resident_here;
use narrowboat_bench::start::{Laps, Start, StartingLine};

use crate::strategy::{OWN_STACK, SEGMENT, Strategy};

/// How many stand at the gate, so that a program that is stopped can say how far it came.
static ARRIVED: AtomicUsize = AtomicUsize::new(0);

struct Crowd {
    /// Where goroutines wait before they grow fat, where that is a step of its own.
    thin: Receiver<()>,
    gate: Receiver<()>,
    laps: Laps,
    line: StartingLine,
    done: Sender<Duration>,
    /// Where those wait who are through: nobody gives back a stack while others are timed.
    end: Receiver<()>,
}

/// Runs `count` goroutines with `live` bytes each, which share `switches` yields.
pub fn run(strategy: Strategy, count: usize, live: usize, switches: usize) {
    match live {
        0 => with::<0>(strategy, count, switches),
        0x400 => with::<0x400>(strategy, count, switches),
        0x1000 => with::<0x1000>(strategy, count, switches),
        0x4000 => with::<0x4000>(strategy, count, switches),
        0x10000 => with::<0x10000>(strategy, count, switches),
        _ => fail("live bytes: 0, 1024, 4096, 16384 or 65536"),
    }
}

fn with<const LIVE: usize>(strategy: Strategy, count: usize, switches: usize) {
    tell_how_far();
    warm_up();
    let before = resident_here();
    let (grow_fat, thin) = bounded(0);
    let (open, gate) = bounded(0);
    let (done, result) = bounded(1);
    let (_end, end) = bounded(0);
    let laps = Laps::new(count, switches);
    let line = StartingLine::new(count, Start::Together);
    let crowd = Arc::new(Crowd { thin, gate, laps, line, done, end });

    let begun = Instant::now();
    for started in 0..count {
        let crowd = crowd.clone();
        match strategy {
            Strategy::Slots => drop(spawn(move || stay::<LIVE>(&crowd))),
            Strategy::Shared => drop(spawn(move || {
                ARRIVED.fetch_add(1, SeqCst);
                let _ = crowd.thin.recv();
                stay::<LIVE>(&crowd);
            })),
            Strategy::Own => {
                let spawned = Builder::new().own_stack(OWN_STACK).spawn(move || stay::<LIVE>(&crowd));
                if let Err(error) = spawned {
                    fail(&format!("ends after {started} stacks: {error}"));
                }
            }
            Strategy::Segments => drop(spawn(move || stack::grow(SEGMENT, || stay::<LIVE>(&crowd)))),
            Strategy::Uncached | Strategy::Go => fail("that strategy has no crowd here"),
        }
    }
    if strategy == Strategy::Shared {
        wait_for(count);
        ARRIVED.store(0, SeqCst);
        drop(grow_fat);
    }
    wait_for(count);
    per_operation("start", begun.elapsed(), count);
    // The last to arrive are yet to park.
    sleep(Duration::from_millis(200));
    report("memory", resident_here().saturating_sub(before) as f64 / count as f64, "bytes");
    drop(open);
    per_operation("switch", result.recv().unwrap(), count * laps.each);
    // The rest is the system's: a million goroutines need not be woken to end.
    exit(0);
}

/// What each goroutine does: it has so many bytes alive wherever it parks, and uses one of them between parks. That is the
/// worst case for copying, since nothing else needs the others in the cache.
#[inline(never)]
fn stay<const LIVE: usize>(crowd: &Crowd) {
    let mut live = [0u8; LIVE];
    let used = |live: &mut [u8; LIVE]| {
        if let Some(first) = black_box(live).first_mut() {
            *first = first.wrapping_add(1);
        }
    };
    used(&mut live);
    ARRIVED.fetch_add(1, SeqCst);
    let _ = crowd.gate.recv();
    for _ in 0..crowd.laps.warm {
        used(&mut live);
        yield_now();
    }
    let mut left = crowd.laps.each;
    if !crowd.line.arrive() {
        left -= 1;
        yield_now();
        while !crowd.line.is_open() {
            yield_now();
        }
    }
    for _ in 0..left {
        used(&mut live);
        yield_now();
    }
    if let Some(elapsed) = crowd.line.finish() {
        crowd.done.send(elapsed).unwrap();
    }
    let _ = crowd.end.recv();
}

fn wait_for(count: usize) {
    while ARRIVED.load(SeqCst) < count {
        sleep(Duration::from_millis(1));
    }
}

/// The processors, and the first pages of everything, should not count.
fn warm_up() {
    let handles: Vec<_> = (0..1000).map(|_| spawn(yield_now)).collect();
    handles.into_iter().for_each(|handle| handle.join().unwrap());
}

/// A goroutine for which there is no segment panics; that is the end of the program, and of its figures.
fn tell_how_far() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload();
        let message = message.downcast_ref::<String>().map(String::as_str);
        let message = message.or(panic.payload().downcast_ref::<&str>().copied()).unwrap_or("a panic");
        eprintln!("ends after {} stacks: {message}", ARRIVED.load(SeqCst));
        exit(2);
    }));
}
