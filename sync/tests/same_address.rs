//! Locks that are locals of goroutines which share a stack by copying: all of them have one address.
//!
//! One slot for all goroutines, so that it is the same one.

use narrowboat_runtime::{Config, JoinHandle, Stacks, dump, sleep, spawn, stats, yield_now};
use narrowboat_sync::{Condvar, Mutex, Semaphore};
use narrowboat_testing::ms;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{MutexGuard, Once, PoisonError};
use std::time::Duration;

type Body = fn(usize) -> usize;
type Start = fn(Body, usize) -> JoinHandle<usize>;

// Lines that spawn, one for each use: one whose goroutines have waited with their stacks in place, or
// with much on them, does not share the slot any more. Not inlined, because each inlined copy can be a
// line of its own.

#[inline(never)]
fn permits(body: Body, n: usize) -> JoinHandle<usize> {
    spawn(move || body(n))
}

#[inline(never)]
fn notifications(body: Body, n: usize) -> JoinHandle<usize> {
    spawn(move || body(n))
}

#[inline(never)]
fn lending(body: Body, n: usize) -> JoinHandle<usize> {
    spawn(move || body(n))
}

#[inline(never)]
fn holding(body: Body, n: usize) -> JoinHandle<usize> {
    spawn(move || body(n))
}

#[inline(never)]
fn held(body: Body, n: usize) -> JoinHandle<usize> {
    spawn(move || body(n))
}

#[inline(never)]
fn describing(body: Body, n: usize) -> JoinHandle<usize> {
    spawn(move || body(n))
}

const LINES: [Start; 6] = [permits, notifications, lending, holding, held, describing];

/// Runs the body in two goroutines, on the same slot. What both return has to be one address.
fn share_an_address(start: Start, body: Body) {
    let _turn = start_runtime();
    let addresses = [0, 1].map(|n| start(body, n)).map(|handle| handle.join().unwrap());
    assert_eq!(addresses[0], addresses[1], "the test is about locks of one address");
}

/// Starts it once. One test at a time uses it: another's goroutine that holds the slot would send
/// ours elsewhere.
fn start_runtime() -> MutexGuard<'static, ()> {
    static STARTED: Once = Once::new();
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    STARTED.call_once(|| {
        Config::new().stacks(Stacks::Shared).workers(1).processors(1).stack_slots(1).start().unwrap();
        // The first of a line that spawns do not share.
        for start in LINES {
            (0..1024).for_each(|n| assert_eq!(start(|n| n, n).join().unwrap(), n));
        }
    });
    turn
}

fn address_of<T>(lock: &T) -> usize {
    std::ptr::from_ref(lock).addr()
}

#[test]
fn a_permit_goes_to_no_other_semaphore() {
    fn wait(n: usize) -> usize {
        let first = n == 0;
        let semaphore = black_box(Semaphore::new(0));
        let time = if first { ms(100) } else { ms(5) };
        assert!(semaphore.acquire_timeout(time).is_err());
        if !first {
            semaphore.add_permits(1);
            assert_eq!(semaphore.available_permits(), 1);
        }
        address_of(&semaphore)
    }
    share_an_address(permits, wait);
}

#[test]
fn a_notification_goes_to_no_other_condition_variable() {
    fn wait(n: usize) -> usize {
        let first = n == 0;
        let (mutex, condvar) = (black_box(Mutex::new(vec![7; 16])), black_box(Condvar::new()));
        let guard = mutex.lock().unwrap();
        let time = if first { ms(100) } else { ms(5) };
        let (guard, result) = condvar.wait_timeout(guard, time).unwrap();
        assert!(result.timed_out());
        assert!(mutex.try_lock().is_err(), "a second guard");
        assert_eq!(*guard, [7; 16]);
        if !first {
            condvar.notify_one();
            // Longer than anything waits patiently for a lock.
            let start = std::time::Instant::now();
            while start.elapsed() < ms(3) {}
        }
        drop(guard);
        address_of(&condvar)
    }
    share_an_address(notifications, wait);
}

/// A condition variable that is used as a bare signal: each waiter brings a mutex of its own.
fn signal(notify: fn(&Condvar)) {
    // The first 1,024 live alone.
    const WAITERS: usize = 1200;
    const PATTERN: u64 = 0x1111_1100_1111_1100;
    static SIGNAL: Condvar = Condvar::new();
    static WAITING: AtomicUsize = AtomicUsize::new(0);
    let _turn = start_runtime();
    let waiter = |n: usize| {
        move || {
            let mutex = Mutex::new(n);
            let guard = mutex.lock().unwrap();
            WAITING.fetch_add(1, Ordering::SeqCst);
            // Some of them could give up, and do not have to.
            let guard = match n % 3 {
                0 => SIGNAL.wait_timeout(guard, Duration::from_secs(60)).unwrap().0,
                _ => SIGNAL.wait(guard).unwrap(),
            };
            assert!(mutex.try_lock().is_err());
            WAITING.fetch_sub(1, Ordering::SeqCst);
            *guard
        }
    };
    let waiters: Vec<_> = (0..WAITERS).map(|n| spawn(waiter(n))).collect();
    spawn(move || {
        while WAITING.load(Ordering::SeqCst) < WAITERS {
            yield_now();
        }
        // Where the frames of the waiters are while they run.
        let words = black_box([PATTERN; 200]);
        while WAITING.load(Ordering::SeqCst) > 0 {
            notify(&SIGNAL);
            assert!(black_box(&words).iter().all(|word| *word == PATTERN), "a word has changed");
            yield_now();
        }
    })
    .join()
    .unwrap();
    assert!(waiters.into_iter().map(|waiter| waiter.join().unwrap()).eq(0..WAITERS));
}

#[test]
fn a_notification_touches_no_mutex_that_is_copied_away() {
    signal(Condvar::notify_all);
    signal(Condvar::notify_one);
}

/// Threads that have borrowed a lock find the same line as its owner, and each other's.
#[test]
fn a_lock_on_a_copied_stack_can_be_lent_to_threads() {
    fn lend(_: usize) -> usize {
        let (mutex, condvar) = (Mutex::new(0), Condvar::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let mut guard = mutex.lock().unwrap();
                        *guard += 1;
                        condvar.notify_all();
                    }
                });
            }
            scope.spawn(|| drop(condvar.wait_while(mutex.lock().unwrap(), |n| *n < 8_000).unwrap()));
        });
        assert_eq!(*mutex.lock().unwrap(), 8_000);
        0
    }
    // The first waits for its threads in the shared slot, which stays as it is meanwhile. Others of
    // that line do not share after that.
    let _turn = start_runtime();
    let both = [0, 1].map(|n| lending(lend, n));
    assert_eq!(both.map(|handle| handle.join().unwrap()), [0, 0]);
}

#[test]
fn a_dump_tells_locks_of_one_address_apart() {
    fn wait(n: usize) -> usize {
        let semaphore = black_box(Semaphore::new(3 + n));
        assert!(semaphore.acquire_many_timeout(10, Duration::from_secs(1)).is_err());
        address_of(&semaphore)
    }
    let looker = std::thread::spawn(|| {
        loop {
            let dump = dump();
            let waiting = dump.goroutines().iter();
            let mut things: Vec<_> = waiting.filter_map(|goroutine| dump.waits_for(goroutine)).collect();
            things.retain(|thing| thing.contains("permits are left"));
            things.sort();
            if things.len() == 2 {
                return things;
            }
            sleep(ms(1));
        }
    });
    share_an_address(describing, wait);
    let things = looker.join().unwrap();
    assert!(things[0].contains("3 permits") && things[1].contains("4 permits"), "{things:?}");
}

/// What a goroutine waits for can be on its stack, which is copied out, and in whose place another's
/// has to stay.
#[test]
fn a_dump_leaves_a_slot_that_is_held_to_its_holder() {
    static WAITS: AtomicUsize = AtomicUsize::new(0);
    static HELD: AtomicUsize = AtomicUsize::new(0);
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    fn wait(_: usize) -> usize {
        let semaphore = black_box(Semaphore::new(0));
        WAITS.store(1, Ordering::SeqCst);
        while SEEN.load(Ordering::SeqCst) == 0 {
            assert!(semaphore.acquire_timeout(ms(50)).is_err(), "a permit from nowhere");
        }
        address_of(&semaphore)
    }
    fn hold(_: usize) -> usize {
        while WAITS.load(Ordering::SeqCst) == 0 {
            yield_now();
        }
        let mine = black_box([0x5a5a_5a5a_usize; 64]);
        HELD.store(1, Ordering::SeqCst);
        while SEEN.load(Ordering::SeqCst) == 0 {
            std::thread::park_timeout(ms(200));
        }
        assert!(black_box(&mine).iter().all(|word| *word == 0x5a5a_5a5a), "a word has changed");
        address_of(&mine)
    }
    let _turn = start_runtime();
    let times = stats().slots_held;
    let (waits, holds) = (held(wait, 0), holding(hold, 0));
    while HELD.load(Ordering::SeqCst) == 0 {
        std::thread::sleep(ms(1));
    }
    // Dumps that show both, as far as the machine lets the processor answer in time.
    let end = std::time::Instant::now() + Duration::from_secs(60);
    let mut dumps = 0;
    while dumps < 20 {
        dumps += usize::from(dump().goroutines().len() >= 2);
        std::thread::sleep(ms(5));
        assert!(std::time::Instant::now() < end, "only {dumps} dumps have shown both");
    }
    assert!(stats().slots_held > times, "the test is about a slot that is held");
    SEEN.store(1, Ordering::SeqCst);
    waits.join().unwrap();
    holds.join().unwrap();
}
