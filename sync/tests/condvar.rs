//! The condition variable: no notification is lost, and none counts twice.

use narrowboat_sync::{Condvar, Mutex, OnceLock};
use narrowboat_testing::{Dice, LONG, On, join_all, ms, pause, send_and_sync, settle, sized, suite_on_each};
use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

suite_on_each! {
    notify_one_wakes_one, notify_all_wakes_all, a_notification_without_waiters_is_not_remembered,
    wait_while_waits_for_the_condition, it_times_out, a_notification_comes_before_its_timeout,
    a_timeout_does_not_eat_a_notification, those_notified_by_the_holder_wait_for_it,
    those_of_several_mutexes_go_to_their_own, a_queue_of_limited_length, timeouts_and_notifications_race_cleanly,
    thousands_are_told_at_once, a_poisoned_mutex_is_told_after_the_wait,
}

type Pair<T> = Arc<(Mutex<T>, Condvar)>;

fn pair<T>(value: T) -> Pair<T> {
    Arc::new((Mutex::new(value), Condvar::new()))
}

/// Returns when `n` have come to wait: each counts itself with the mutex held, which it releases by waiting.
fn expect_waiters(mutex: &Mutex<usize>, n: usize) {
    while *mutex.lock().unwrap() < n {
        pause(ms(1));
    }
}

fn notify_one_wakes_one(on: On) {
    let shared = pair(0);
    let woken = Arc::new(AtomicUsize::new(0));
    let waiting = on.many(5, {
        let (shared, woken) = (shared.clone(), woken.clone());
        move |_| {
            let mut guard = shared.0.lock().unwrap();
            *guard += 1;
            drop(shared.1.wait(guard).unwrap());
            woken.fetch_add(1, Ordering::SeqCst);
        }
    });
    expect_waiters(&shared.0, 5);
    for n in 1..=5 {
        shared.1.notify_one();
        while woken.load(Ordering::SeqCst) < n {
            pause(ms(1));
        }
        settle();
        assert_eq!(woken.load(Ordering::SeqCst), n);
    }
    join_all(waiting);
}

fn notify_all_wakes_all(on: On) {
    for held in [false, true] {
        let shared = pair(0);
        let waiting = on.many(20, {
            let shared = shared.clone();
            move |_| {
                let mut guard = shared.0.lock().unwrap();
                *guard += 1;
                drop(shared.1.wait(guard).unwrap());
            }
        });
        expect_waiters(&shared.0, 20);
        let guard = held.then(|| shared.0.lock().unwrap());
        shared.1.notify_all();
        drop(guard);
        join_all(waiting);
    }
}

fn a_notification_without_waiters_is_not_remembered(_: On) {
    let shared = pair(());
    shared.1.notify_one();
    shared.1.notify_all();
    let (_guard, result) = shared.1.wait_timeout(shared.0.lock().unwrap(), ms(10)).unwrap();
    assert!(result.timed_out());
}

fn wait_while_waits_for_the_condition(on: On) {
    let shared = pair(0);
    let waiting = {
        let shared = shared.clone();
        on.go(move || *shared.1.wait_while(shared.0.lock().unwrap(), |n| *n < 3).unwrap())
    };
    for _ in 0..3 {
        settle();
        *shared.0.lock().unwrap() += 1;
        shared.1.notify_one();
    }
    assert_eq!(waiting.join(), 3);
    let (guard, result) = shared.1.wait_timeout_while(shared.0.lock().unwrap(), LONG, |n| *n < 3).unwrap();
    assert_eq!((*guard, result.timed_out()), (3, false));
}

fn it_times_out(_: On) {
    let shared = pair(());
    let start = Instant::now();
    let (guard, result) = shared.1.wait_timeout(shared.0.lock().unwrap(), ms(20)).unwrap();
    assert!(result.timed_out() && start.elapsed() >= ms(20));
    assert!(shared.0.try_lock().is_err(), "the guard is a guard");
    let (guard, result) = shared.1.wait_timeout(guard, Duration::ZERO).unwrap();
    assert!(result.timed_out());
    let start = Instant::now();
    let (_guard, result) = shared.1.wait_timeout_while(guard, ms(20), |_| true).unwrap();
    assert!(result.timed_out() && start.elapsed() >= ms(20));
}

fn a_notification_comes_before_its_timeout(on: On) {
    for timeout in [LONG, Duration::MAX] {
        let shared = pair(0);
        let waiting = {
            let shared = shared.clone();
            on.go(move || {
                let mut guard = shared.0.lock().unwrap();
                *guard = 1;
                shared.1.wait_timeout(guard, timeout).unwrap().1.timed_out()
            })
        };
        expect_waiters(&shared.0, 1);
        shared.1.notify_one();
        assert!(!waiting.join());
    }
}

/// Two wait, one with a timeout that passes just when the one notification comes. One of them gets it.
fn a_timeout_does_not_eat_a_notification(on: On) {
    for round in 0..sized(200, 60) {
        let shared = pair(0);
        let wait = |timeout| {
            let shared = shared.clone();
            on.go(move || {
                let mut guard = shared.0.lock().unwrap();
                *guard += 1;
                shared.1.wait_timeout(guard, timeout).unwrap().1.timed_out()
            })
        };
        let (hurried, patient) = (wait(Duration::from_micros(300)), wait(LONG));
        expect_waiters(&shared.0, 2);
        pause(Duration::from_micros(round as u64 % 5 * 100));
        shared.1.notify_one();
        if !hurried.join() {
            shared.1.notify_one();
        }
        assert!(!patient.join(), "the notification was lost");
    }
}

fn those_notified_by_the_holder_wait_for_it(on: On) {
    let shared = pair(0);
    let released = Arc::new(AtomicBool::new(false));
    let notified = Arc::new(OnceLock::new());
    let waiting = on.many(10, {
        let (shared, released, notified) = (shared.clone(), released.clone(), notified.clone());
        move |n| {
            let mut guard = shared.0.lock().unwrap();
            *guard += 1;
            // Some with a timeout, which passes when they have been notified and it has no say any more. (On a machine
            // that is very busy it may pass before.)
            if n % 2 == 0 {
                guard = shared.1.wait(guard).unwrap();
            } else {
                let deadline = Instant::now() + ms(700);
                let (again, result) = shared.1.wait_timeout(guard, ms(700)).unwrap();
                assert!(!result.timed_out() || *notified.wait() >= deadline);
                guard = again;
            }
            assert!(released.load(Ordering::SeqCst));
            *guard += 100;
        }
    });
    expect_waiters(&shared.0, 10);
    let guard = shared.0.lock().unwrap();
    shared.1.notify_one();
    shared.1.notify_all();
    notified.set(Instant::now()).unwrap();
    pause(ms(800));
    released.store(true, Ordering::SeqCst);
    drop(guard);
    join_all(waiting);
    assert_eq!(*shared.0.lock().unwrap(), 1_010);
}

fn those_of_several_mutexes_go_to_their_own(on: On) {
    let mutexes: Arc<Vec<Mutex<usize>>> = Arc::new((0..3).map(|_| Mutex::new(0)).collect());
    let condvar = Arc::new(Condvar::new());
    let waiting = on.many(12, {
        let (mutexes, condvar) = (mutexes.clone(), condvar.clone());
        move |n| {
            let mut guard = mutexes[n % 3].lock().unwrap();
            *guard += 1;
            let mut guard = condvar.wait(guard).unwrap();
            *guard += 10;
        }
    });
    mutexes.iter().for_each(|mutex| expect_waiters(mutex, 4));
    let held = mutexes[1].lock().unwrap();
    condvar.notify_all();
    expect_waiters(&mutexes[0], 44);
    expect_waiters(&mutexes[2], 44);
    assert_eq!(*held, 4);
    drop(held);
    join_all(waiting);
    assert!(mutexes.iter().all(|mutex| *mutex.lock().unwrap() == 44));
}

fn a_queue_of_limited_length(on: On) {
    struct Queue {
        items: Mutex<VecDeque<usize>>,
        filled: Condvar,
        emptied: Condvar,
    }
    let each = sized(3_000, 500);
    let queue = Arc::new(Queue { items: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new() });
    let makers = on.many(4, {
        let queue = queue.clone();
        move |me| {
            for n in 0..each {
                let items = queue.items.lock().unwrap();
                let mut items = queue.emptied.wait_while(items, |items| items.len() >= 3).unwrap();
                items.push_back(me * each + n);
                drop(items);
                queue.filled.notify_one();
            }
        }
    });
    let takers = on.many(4, move |_| {
        let take = || {
            let items = queue.items.lock().unwrap();
            let mut items = queue.filled.wait_while(items, |items| items.is_empty()).unwrap();
            // With the mutex held, for a change.
            queue.emptied.notify_one();
            items.pop_front().unwrap()
        };
        (0..each).map(|_| take()).collect::<Vec<_>>()
    });
    join_all(makers);
    let mut taken: Vec<_> = join_all(takers).concat();
    taken.sort();
    assert!(taken.into_iter().eq(0..4 * each));
}

/// Parties with and without timeouts, notified one at a time and all at once, with the mutex held and without.
fn timeouts_and_notifications_race_cleanly(on: On) {
    let shared = pair(0_usize);
    let waiting = on.many(8, {
        let shared = shared.clone();
        move |me| {
            let mut dice = Dice::new(me + 1);
            for _ in 0..100 {
                let mut guard = shared.0.lock().unwrap();
                while *guard == 0 {
                    let timeout = Duration::from_micros(dice.roll(300));
                    guard = match dice.roll(3) {
                        0 => shared.1.wait(guard).unwrap(),
                        _ => shared.1.wait_timeout(guard, timeout).unwrap().0,
                    };
                }
                *guard -= 1;
            }
        }
    });
    let mut dice = Dice::new(100);
    let mut left = 800;
    while left > 0 {
        let some = left.min(1 + dice.roll(3) as usize);
        left -= some;
        let mut guard = shared.0.lock().unwrap();
        *guard += some;
        let guard = (dice.roll(2) == 0).then_some(guard);
        if dice.roll(2) == 0 {
            shared.1.notify_all();
        } else {
            // As many as there is something for: one lost would leave something over, and a waiter.
            (0..some).for_each(|_| shared.1.notify_one());
        }
        drop(guard);
        if dice.roll(4) == 0 {
            pause(Duration::from_micros(dice.roll(300)));
        }
    }
    join_all(waiting);
    assert_eq!(*shared.0.lock().unwrap(), 0);
}

fn thousands_are_told_at_once(on: On) {
    let parties = on.crowd(sized(10_000, 3_000));
    let shared = pair(0);
    let waiting = on.many(parties, {
        let shared = shared.clone();
        move |_| {
            let mut guard = shared.0.lock().unwrap();
            *guard += 1;
            drop(shared.1.wait(guard).unwrap());
        }
    });
    expect_waiters(&shared.0, parties);
    shared.1.notify_all();
    join_all(waiting);
}

fn a_poisoned_mutex_is_told_after_the_wait(on: On) {
    let shared = pair(0);
    let waiting = on.many(2, {
        let shared = shared.clone();
        move |n| {
            let mut guard = shared.0.lock().unwrap();
            *guard += 1;
            if n == 0 {
                shared.1.wait(guard).is_err()
            } else {
                shared.1.wait_timeout(guard, LONG).is_err_and(|error| !error.into_inner().1.timed_out())
            }
        }
    });
    expect_waiters(&shared.0, 2);
    let clumsy = on.go(move || {
        let _guard = shared.0.lock().unwrap();
        shared.1.notify_all();
        resume_unwind(Box::new(()));
    });
    assert!(clumsy.try_join().is_err());
    assert_eq!(join_all(waiting), [true, true]);
}

#[test]
fn a_static_condvar_needs_no_making() {
    static READY: Mutex<bool> = Mutex::new(false);
    static TOLD: Condvar = Condvar::new();
    let waiting =
        narrowboat_runtime::spawn(|| *TOLD.wait_while(READY.lock().unwrap(), |ready| !*ready).unwrap());
    *READY.lock().unwrap() = true;
    TOLD.notify_one();
    assert!(waiting.join().unwrap());
}

#[test]
fn it_can_be_printed_and_shared() {
    assert_eq!(format!("{:?}", Condvar::default()), "Condvar { .. }");
    assert_eq!(send_and_sync!(Condvar), (true, true));
}
