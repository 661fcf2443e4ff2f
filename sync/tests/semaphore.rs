//! The semaphore: no more than so many at a time, and none is passed over.

use narrowboat_runtime::yield_now;
use narrowboat_sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use narrowboat_testing::{Dice, LONG, On, join_all, ms, pause, send_and_sync, settle, sized, suite_on_each};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

suite_on_each! {
    no_more_than_so_many_at_a_time, a_large_request_is_not_passed_by_small_ones,
    a_large_request_is_not_starved, it_times_out, a_permit_comes_before_the_timeout,
    a_large_request_that_gives_up_lets_those_behind_it_in, timeouts_and_releases_race_cleanly, permits_can_be_added,
    permits_travel, thousands_wait_for_permits,
}

fn no_more_than_so_many_at_a_time(on: On) {
    const PERMITS: usize = 5;
    let semaphore = Arc::new(Semaphore::new(PERMITS));
    let inside = Arc::new(AtomicUsize::new(0));
    let parties = on.many(10, {
        let semaphore = semaphore.clone();
        move |me| {
            let mut dice = Dice::new(me + 1);
            for _ in 0..sized(2_000, 200) {
                let n = dice.roll(PERMITS as u64 + 1) as usize;
                let permit = match dice.roll(4) {
                    0 => semaphore.try_acquire_many(n).ok(),
                    1 => semaphore.acquire_many_timeout(n, Duration::from_micros(dice.roll(200))).ok(),
                    _ => Some(semaphore.acquire_many(n)),
                };
                let Some(permit) = permit else { continue };
                assert_eq!(permit.num_permits(), n);
                assert!(inside.fetch_add(n, Ordering::SeqCst) + n <= PERMITS);
                if dice.roll(10) == 0 {
                    yield_now();
                }
                inside.fetch_sub(n, Ordering::SeqCst);
            }
        }
    });
    join_all(parties);
    assert_eq!(semaphore.available_permits(), PERMITS);
}

fn a_large_request_is_not_passed_by_small_ones(on: On) {
    let semaphore = Arc::new(Semaphore::new(3));
    let held = semaphore.acquire();
    let other = semaphore.clone();
    let large = on.go(move || drop(other.acquire_many(3)));
    while semaphore.try_acquire().is_ok() {
        yield_now();
    }
    assert_eq!(semaphore.available_permits(), 2, "there are some, but one waits");
    assert!(semaphore.try_acquire_many(0).is_err());
    assert!(semaphore.acquire_timeout(ms(5)).is_err());
    drop(held);
    large.join();
    assert!(semaphore.try_acquire_many(3).is_ok());
}

fn a_large_request_is_not_starved(on: On) {
    let semaphore = Arc::new(Semaphore::new(4));
    let stop = Arc::new(AtomicBool::new(false));
    let small = on.many(8, {
        let (semaphore, stop) = (semaphore.clone(), stop.clone());
        move |_| {
            while !stop.load(Ordering::Relaxed) {
                let _permit = semaphore.acquire();
                yield_now();
            }
        }
    });
    for _ in 0..20 {
        drop(semaphore.acquire_many(4));
    }
    stop.store(true, Ordering::Relaxed);
    join_all(small);
}

fn it_times_out(_: On) {
    let semaphore = Semaphore::new(1);
    let start = Instant::now();
    assert!(semaphore.acquire_many_timeout(2, ms(20)).is_err());
    assert!(semaphore.acquire_many_deadline(2, start + ms(40)).is_err());
    assert!(start.elapsed() >= ms(40));
    assert!(semaphore.acquire_many_timeout(2, Duration::ZERO).is_err());
    assert!(semaphore.acquire_timeout(Duration::ZERO).is_ok());
    assert!(semaphore.acquire_deadline(start).is_ok(), "no time is enough if there is one");
}

fn a_permit_comes_before_the_timeout(on: On) {
    let semaphore = Arc::new(Semaphore::new(0));
    let parties = on.many(2, {
        let semaphore = semaphore.clone();
        move |n| {
            let timeout = if n == 0 { LONG } else { Duration::MAX };
            semaphore.acquire_timeout(timeout).unwrap().forget();
        }
    });
    settle();
    semaphore.add_permits(2);
    join_all(parties);
    assert_eq!(semaphore.available_permits(), 0);
}

fn a_large_request_that_gives_up_lets_those_behind_it_in(on: On) {
    let semaphore = Arc::new(Semaphore::new(2));
    let (one, two) = (semaphore.clone(), semaphore.clone());
    let start = Instant::now();
    let large = on.go(move || one.acquire_many_timeout(3, ms(60)).is_err());
    // Until it waits, or may have given up already.
    while semaphore.try_acquire().is_ok() && start.elapsed() < ms(50) {
        yield_now();
    }
    let small = on.many(2, move |_| two.acquire().forget());
    assert!(large.join());
    join_all(small);
    assert_eq!(semaphore.available_permits(), 0);
}

/// Permits come one by one just when the time of those that want them is up. None is lost, none made.
fn timeouts_and_releases_race_cleanly(on: On) {
    let semaphore = Arc::new(Semaphore::new(0));
    let got = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let parties = on.many(6, {
        let (semaphore, got, stop) = (semaphore.clone(), got.clone(), stop.clone());
        move |me| {
            let mut dice = Dice::new(me + 1);
            while !stop.load(Ordering::Relaxed) {
                let n = 1 + dice.roll(2) as usize;
                if let Ok(permit) = semaphore.acquire_many_timeout(n, Duration::from_micros(dice.roll(400))) {
                    got.fetch_add(n, Ordering::Relaxed);
                    permit.forget();
                }
            }
        }
    });
    let mut dice = Dice::new(100);
    let added = sized(2_000, 500);
    for _ in 0..added {
        semaphore.add_permits(1);
        if dice.roll(3) == 0 {
            pause(Duration::from_micros(dice.roll(300)));
        }
    }
    stop.store(true, Ordering::Relaxed);
    join_all(parties);
    assert_eq!(got.load(Ordering::Relaxed) + semaphore.available_permits(), added);
    assert!(semaphore.try_acquire_many(semaphore.available_permits()).is_ok(), "none waits");
}

fn permits_can_be_added(on: On) {
    let semaphore = Arc::new(Semaphore::new(0));
    let waiting = on.many(5, {
        let semaphore = semaphore.clone();
        move |_| semaphore.acquire().forget()
    });
    settle();
    semaphore.add_permits(7);
    join_all(waiting);
    assert_eq!(semaphore.available_permits(), 2);
}

fn permits_travel(on: On) {
    let semaphore = Arc::new(Semaphore::new(2));
    let inside = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..20)
        .map(|_| {
            let permit = semaphore.clone().acquire_owned();
            let inside = inside.clone();
            on.go(move || {
                assert!(inside.fetch_add(1, Ordering::SeqCst) < 2);
                yield_now();
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(permit);
            })
        })
        .collect();
    join_all(workers);
    assert_eq!(semaphore.available_permits(), 2);
    let two = semaphore.clone().try_acquire_many_owned(2).unwrap();
    assert!(semaphore.clone().try_acquire_owned().is_err());
    two.forget();
    assert_eq!((semaphore.available_permits(), Arc::strong_count(&semaphore)), (0, 1));
}

fn thousands_wait_for_permits(on: On) {
    let parties = on.crowd(10_000);
    let semaphore = Arc::new(Semaphore::new(0));
    let waiting = on.many(parties, {
        let semaphore = semaphore.clone();
        move |n| {
            let _permit = semaphore.acquire_many(1 + n % 3);
            yield_now();
        }
    });
    settle();
    semaphore.add_permits(3);
    join_all(waiting);
    assert_eq!(semaphore.available_permits(), 3);
}

#[test]
fn a_static_semaphore_needs_no_making() {
    static ONE: Semaphore = Semaphore::new(1);
    let permit = ONE.acquire();
    assert!(ONE.try_acquire().is_err());
    drop(permit);
    assert!(ONE.try_acquire().is_ok());
}

#[test]
fn there_is_a_limit_to_permits() {
    assert!(catch_unwind(|| Semaphore::new(Semaphore::MAX_PERMITS + 1)).is_err());
    let semaphore = Semaphore::new(Semaphore::MAX_PERMITS);
    assert!(catch_unwind(|| semaphore.add_permits(1)).is_err());
    assert!(catch_unwind(|| semaphore.add_permits(usize::MAX)).is_err());
    assert_eq!(semaphore.available_permits(), Semaphore::MAX_PERMITS);
    let all = semaphore.acquire_many(Semaphore::MAX_PERMITS);
    assert_eq!(semaphore.available_permits(), 0);
    drop(all);
    assert!(semaphore.try_acquire_many(usize::MAX).is_err());
    assert!(semaphore.acquire_many_timeout(usize::MAX, ms(2)).is_err());
}

#[test]
fn it_can_be_printed_and_shared() {
    let semaphore = Semaphore::new(3);
    assert_eq!(format!("{semaphore:?}"), "Semaphore { permits: 3, .. }");
    let error = semaphore.try_acquire_many(4).unwrap_err();
    assert!(error.to_string().contains("acquire"), "{error}");
    let error = semaphore.acquire_many_timeout(4, Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("time"), "{error}");
    assert_eq!(send_and_sync!(Semaphore), (true, true));
    assert_eq!(send_and_sync!(SemaphorePermit<'static>), (true, true));
    assert_eq!(send_and_sync!(OwnedSemaphorePermit), (true, true));
}
