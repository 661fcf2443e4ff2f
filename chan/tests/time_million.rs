//! A million sleepers at once. Alone in its process, because it counts the memory that is in use.

use narrowboat_chan::{Receiver, Sender, bounded, time};
use narrowboat_runtime::spawn;
use narrowboat_testing::{Dice, LONG, sized, suite};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The system's allocator, with a count of the bytes in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: by contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: by contract.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The count is of all, so the tests take turns: one with a message in there has its turn. A lock of std's would hold up
/// the processor of a test that waits for it, and be kept for ever if that is the processor of the one that holds it.
static TURNS: LazyLock<(Sender<()>, Receiver<()>)> = LazyLock::new(|| bounded(1));

struct Turn;

impl Turn {
    fn wait() -> Turn {
        TURNS.0.send(()).unwrap();
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        TURNS.1.recv().unwrap();
    }
}

/// Fails if `work` for `count` sleepers leaves memory behind. It returns how much was in use at its height.
fn gives_memory_back(count: usize, work: impl Fn(usize) -> usize) {
    let _turn = Turn::wait();
    // Processors and their first memory come into being once.
    work(2_000);
    let before = IN_USE.load(Ordering::Relaxed);
    let start = Instant::now();
    let height = work(count).saturating_sub(before);
    let took = start.elapsed();
    // Less than a sleeper's place among the timers. A queue may keep room for the next that come, and
    // so does the table of places for stacks of their own.
    let own_stacks = std::env::var("NARROWBOAT_STACKS").is_ok_and(|stacks| stacks == "own");
    let most = if own_stacks { 160 } else { 16 } * count;
    let start = Instant::now();
    let left = loop {
        let left = IN_USE.load(Ordering::Relaxed).saturating_sub(before);
        // Goroutines that have let go of everything of ours may still be on their way out.
        if left < most || start.elapsed() > LONG {
            break left;
        }
        time::sleep(Duration::from_millis(5));
    };
    println!("{count} sleepers: {} B each in use, {} B left, {took:?}", height / count, left / count);
    assert!(left < most, "{left} bytes of {height} are left");
}

fn a_million_wake_at_their_own_instants() {
    let count = sized(1_000_000, 100_000);
    gives_memory_back(count, |count| {
        let start = Instant::now();
        // About as long as it takes to start them all; none wakes before, and all do within as long again.
        let begin = Duration::from_micros(count as u64 * if cfg!(debug_assertions) { 15 } else { 2 });
        let awake = std::sync::Arc::new(AtomicUsize::new(0));
        let mut dice = Dice::new(count as u64);
        for _ in 0..count {
            let until = start + begin + begin.mul_f64(dice.roll(1 << 20) as f64 / f64::from(1 << 20));
            let awake = awake.clone();
            spawn(move || {
                time::sleep_until(until);
                assert!(Instant::now() >= until, "early");
                awake.fetch_add(1, Ordering::Relaxed);
            });
        }
        let height = IN_USE.load(Ordering::Relaxed);
        while awake.load(Ordering::Relaxed) < count {
            assert!(start.elapsed() < LONG * 2, "one sleeps for ever");
            time::sleep(Duration::from_millis(5));
        }
        height
    });
}

fn a_million_are_woken_long_before() {
    let count = sized(1_000_000, 100_000);
    gives_memory_back(count, |count| {
        let (tx, rx) = bounded::<()>(0);
        let asleep = std::sync::Arc::new(AtomicUsize::new(0));
        let woken = std::sync::Arc::new(AtomicUsize::new(0));
        let mut dice = Dice::new(count as u64);
        for _ in 0..count {
            let (rx, asleep, woken) = (rx.clone(), asleep.clone(), woken.clone());
            let length = LONG * 60 + Duration::from_micros(dice.roll(1 << 30));
            spawn(move || {
                asleep.fetch_add(1, Ordering::Relaxed);
                assert!(rx.recv_timeout(length).unwrap_err().is_disconnected());
                woken.fetch_add(1, Ordering::Relaxed);
            });
        }
        let start = Instant::now();
        while asleep.load(Ordering::Relaxed) < count {
            assert!(start.elapsed() < LONG * 2, "one was not started");
            time::sleep(Duration::from_millis(5));
        }
        let height = IN_USE.load(Ordering::Relaxed);
        drop((tx, rx.close()));
        while woken.load(Ordering::Relaxed) < count {
            assert!(start.elapsed() < LONG * 2, "one sleeps for ever");
            time::sleep(Duration::from_millis(5));
        }
        height
    });
}

suite! {
    a_million_wake_at_their_own_instants,
    a_million_are_woken_long_before,
}
