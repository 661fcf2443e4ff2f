//! The mutex: one at a time, none for ever.

use narrowboat_chan::bounded;
use narrowboat_runtime::{sleep, spawn, yield_now};
use narrowboat_sync::{Mutex, MutexGuard, TryLockError};
use narrowboat_testing::{Census, On, join_all, ms, pause, send_and_sync, settle, sized, suite_on_each};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

suite_on_each! {
    one_holds_it_at_a_time, a_party_that_waits_gets_it, try_lock_fails_only_while_it_is_held,
    a_hog_cannot_keep_others_out, thousands_wait_for_one_mutex,
    it_may_be_held_across_calls_that_block, a_panic_of_its_holder_poisons_it,
    a_guard_made_while_unwinding_does_not_poison, it_may_go_with_its_last_user,
    many_mutexes_do_not_disturb_each_other,
}

fn one_holds_it_at_a_time(on: On) {
    let rounds = sized(10_000, 1_000);
    // Two words that are equal whenever the mutex is free, and a witness that is no part of it.
    let mutex = Arc::new(Mutex::new((0, 0)));
    let inside = Arc::new(AtomicUsize::new(0));
    let parties = on.many(8, {
        let mutex = mutex.clone();
        move |me| {
            for round in 0..rounds {
                let mut pair = mutex.lock().unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                pair.0 += 1;
                if (round + me) % 64 == 0 {
                    yield_now();
                }
                pair.1 += 1;
                assert_eq!(pair.0, pair.1);
                assert_eq!(inside.fetch_sub(1, Ordering::Relaxed), 1);
            }
        }
    });
    join_all(parties);
    assert_eq!(*mutex.lock().unwrap(), (8 * rounds, 8 * rounds));
}

fn a_party_that_waits_gets_it(on: On) {
    let mutex = Arc::new(Mutex::new(1));
    let mut guard = mutex.lock().unwrap();
    let other = mutex.clone();
    let waiting = on.go(move || *other.lock().unwrap());
    settle();
    *guard = 2;
    drop(guard);
    assert_eq!(waiting.join(), 2);
}

fn try_lock_fails_only_while_it_is_held(on: On) {
    let mutex = Arc::new(Mutex::new(0));
    let guard = mutex.try_lock().unwrap();
    assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
    let other = mutex.clone();
    assert!(on.go(move || other.try_lock().is_err()).join());
    drop(guard);
    assert!(mutex.try_lock().is_ok());
    // One that tries until it works does not keep the holder from going on.
    let parties = on.many(4, {
        let mutex = mutex.clone();
        move |_| {
            for _ in 0..5 {
                let mut guard = loop {
                    if let Ok(guard) = mutex.try_lock() {
                        break guard;
                    }
                };
                yield_now();
                *guard += 1;
            }
        }
    });
    join_all(parties);
    assert_eq!(*mutex.lock().unwrap(), 20);
}

/// A hog never leaves the mutex alone for longer than it takes to lock it again, and never gives way.
fn a_hog_cannot_keep_others_out(on: On) {
    let mutex = Arc::new(Mutex::new(0_u64));
    let stop = Arc::new(AtomicBool::new(false));
    let hogs = on.many(2, {
        let (mutex, stop) = (mutex.clone(), stop.clone());
        move |_| {
            while !stop.load(Ordering::Relaxed) {
                *mutex.lock().unwrap() += 1;
            }
        }
    });
    let others = on.many(4, {
        let mutex = mutex.clone();
        move |_| {
            for _ in 0..10 {
                drop(mutex.lock().unwrap());
            }
        }
    });
    join_all(others);
    stop.store(true, Ordering::Relaxed);
    join_all(hogs);
}

fn thousands_wait_for_one_mutex(on: On) {
    let parties = on.crowd(10_000);
    let mutex = Arc::new(Mutex::new(0));
    let guard = mutex.lock().unwrap();
    let waiting = on.many(parties, {
        let mutex = mutex.clone();
        move |n| {
            let mut count = mutex.lock().unwrap();
            *count += 1;
            if n % 100 == 0 {
                // Held while others run, which all see that it is.
                yield_now();
            }
        }
    });
    settle();
    drop(guard);
    join_all(waiting);
    assert_eq!(*mutex.lock().unwrap(), parties);
}

fn it_may_be_held_across_calls_that_block(on: On) {
    let mutex = Arc::new(Mutex::new(Vec::new()));
    let (tx, rx) = bounded(0);
    let holders = on.many(4, {
        let mutex = mutex.clone();
        move |me| {
            let mut got = mutex.lock().unwrap();
            got.push((me, rx.recv().unwrap()));
            sleep(ms(2));
            got.push((me, rx.recv().unwrap()));
        }
    });
    for n in 0..8 {
        tx.send(n).unwrap();
    }
    join_all(holders);
    let got = mutex.lock().unwrap();
    assert!(got.iter().map(|(_, n)| *n).eq(0..8), "{got:?}");
    assert!(got.chunks(2).all(|pair| pair[0].0 == pair[1].0), "holders do not mix: {got:?}");
}

fn a_panic_of_its_holder_poisons_it(on: On) {
    let mutex = Arc::new(Mutex::new(1));
    let (other, waiter) = (mutex.clone(), mutex.clone());
    let clumsy = on.go(move || {
        let mut guard = other.lock().unwrap();
        *guard = 2;
        settle();
        resume_unwind(Box::new("clumsy"));
    });
    while mutex.try_lock().is_ok_and(|value| *value == 1) {
        pause(ms(1));
    }
    let waiting = on.go(move || waiter.lock().is_err());
    assert!(clumsy.try_join().is_err());
    assert!(waiting.join(), "it was held by the clumsy one when this one came");
    assert!(mutex.is_poisoned());
    assert_eq!(**mutex.lock().unwrap_err().get_ref(), 2);
    assert!(matches!(mutex.try_lock(), Err(TryLockError::Poisoned(error)) if **error.get_ref() == 2));

    mutex.clear_poison();
    assert!(!mutex.is_poisoned());
    assert_eq!(*mutex.lock().unwrap(), 2);
}

/// Locks, when it is dropped.
struct LockOnDrop(Arc<Mutex<u32>>);

impl Drop for LockOnDrop {
    fn drop(&mut self) {
        *self.0.lock().unwrap() += 1;
    }
}

fn a_guard_made_while_unwinding_does_not_poison(on: On) {
    let mutex = Arc::new(Mutex::new(1));
    let other = mutex.clone();
    let party = on.go(move || {
        let _locks = LockOnDrop(other);
        resume_unwind(Box::new(()));
    });
    assert!(party.try_join().is_err());
    assert_eq!(*mutex.lock().unwrap(), 2);
}

/// The one that unlocks it may be its last user, as soon as another has locked and unlocked it.
fn it_may_go_with_its_last_user(on: On) {
    let census = Census::leaked();
    for _ in 0..sized(2_000, 300) {
        let mutex = Arc::new(Mutex::new(census.value()));
        let other = mutex.clone();
        let party = on.go(move || drop(other.lock().unwrap()));
        drop(mutex.lock().unwrap());
        drop(mutex);
        party.join();
    }
    assert_eq!(census.alive(), 0);
}

fn many_mutexes_do_not_disturb_each_other(on: On) {
    let mutexes: Arc<Vec<Mutex<usize>>> = Arc::new((0..500).map(Mutex::new).collect());
    let guards: Vec<_> = mutexes.iter().map(|mutex| mutex.lock().unwrap()).collect();
    let waiting = on.many(on.crowd(500), {
        let mutexes = mutexes.clone();
        move |n| *mutexes[n].lock().unwrap()
    });
    settle();
    // Back to front, so that it is not the order of anything.
    guards.into_iter().rev().for_each(drop);
    assert!(join_all(waiting).into_iter().enumerate().all(|(n, got)| n == got));
}

#[test]
fn a_static_mutex_needs_no_making() {
    static TOTAL: Mutex<u32> = Mutex::new(0);
    let parties: Vec<_> = (0..10).map(|n| spawn(move || *TOTAL.lock().unwrap() += n)).collect();
    parties.into_iter().for_each(|party| party.join().unwrap());
    assert_eq!(*TOTAL.lock().unwrap(), 45);
}

#[test]
fn values_come_out_of_it() {
    static CENSUS: Census = Census::new();
    let mut mutex = Mutex::new(CENSUS.value());
    *mutex.get_mut().unwrap() = CENSUS.value();
    assert_eq!(CENSUS.alive(), 1);
    let counted = mutex.into_inner().unwrap();
    assert_eq!(CENSUS.alive(), 1);
    drop(counted);
    drop(Mutex::new(CENSUS.value()));
    assert_eq!(CENSUS.alive(), 0);

    let mut mutex = Mutex::from(5);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _guard = mutex.lock().unwrap();
        resume_unwind(Box::new(()));
    }));
    assert!(caught.is_err());
    assert_eq!(**mutex.get_mut().unwrap_err().get_ref(), 5);
    assert_eq!(mutex.into_inner().unwrap_err().into_inner(), 5);
}

#[test]
fn values_without_a_size_fit_too() {
    let mutex: &Mutex<[i32]> = &Mutex::new([1, 2, 3]);
    {
        let mut slice = mutex.lock().unwrap();
        slice[0] = 4;
        slice[2] = 5;
    }
    assert_eq!(*mutex.lock().unwrap(), [4, 2, 5]);
}

#[test]
fn it_can_be_printed() {
    let mutex = Mutex::new(5);
    assert_eq!(format!("{mutex:?}"), "Mutex { data: 5, poisoned: false, .. }");
    let guard = mutex.lock().unwrap();
    assert_eq!(format!("{mutex:?}"), "Mutex { data: <locked>, poisoned: false, .. }");
    assert_eq!(format!("{guard} {guard:?}"), "5 5");
    assert_eq!(*Mutex::<u32>::default().lock().unwrap(), 0);
}

#[test]
fn it_is_shared_as_stds_is() {
    assert_eq!(send_and_sync!(Mutex<u32>), (true, true));
    assert_eq!(send_and_sync!(Mutex<Cell<u32>>), (true, true));
    assert_eq!(send_and_sync!(Mutex<Rc<u32>>), (false, false));
    assert_eq!(send_and_sync!(MutexGuard<'static, u32>), (false, true));
    assert_eq!(send_and_sync!(MutexGuard<'static, Cell<u32>>), (false, false));
}

#[test]
fn it_is_as_small_as_stds() {
    assert_eq!(size_of::<Mutex<()>>(), size_of::<std::sync::Mutex<()>>());
    assert_eq!(size_of::<Mutex<u64>>(), size_of::<std::sync::Mutex<u64>>());
}
