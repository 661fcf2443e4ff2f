//! The value that is set once.

use narrowboat_runtime::{spawn, yield_now};
use narrowboat_sync::OnceLock;
use narrowboat_testing::{Census, On, join_all, send_and_sync, settle, sized, suite_on_each};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

suite_on_each! { all_get_the_same_value, of_many_that_set_it_one_does, a_panic_leaves_it_to_the_next, some_only_wait }

fn all_get_the_same_value(on: On) {
    for _ in 0..sized(200, 30) {
        let lock = Arc::new(OnceLock::new());
        let parties = on.many(10, {
            let lock = lock.clone();
            move |me| {
                let before = lock.get().copied();
                let value = *lock.get_or_init(|| {
                    yield_now();
                    me
                });
                assert!(before.is_none_or(|before| before == value));
                assert_eq!(lock.get(), Some(&value));
                value
            }
        });
        let got = join_all(parties);
        assert!(got.iter().all(|value| Some(value) == lock.get()));
    }
}

fn of_many_that_set_it_one_does(on: On) {
    let lock = Arc::new(OnceLock::new());
    let parties = on.many(10, {
        let lock = lock.clone();
        move |me| lock.set(me)
    });
    let results = join_all(parties);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let winner = *lock.get().unwrap();
    assert!(
        results.iter().enumerate().all(|(me, result)| *result == if me == winner { Ok(()) } else { Err(me) })
    );
}

fn a_panic_leaves_it_to_the_next(on: On) {
    let lock = Arc::new(OnceLock::new());
    let other = lock.clone();
    let clumsy = on.go(move || {
        other.get_or_init(|| {
            settle();
            resume_unwind(Box::new(()))
        });
    });
    assert!(clumsy.try_join().is_err());
    assert_eq!(lock.get(), None);
    assert_eq!(lock.get_or_init(|| 2), &2);
    assert_eq!(lock.get(), Some(&2));
}

fn some_only_wait(on: On) {
    let lock = Arc::new(OnceLock::new());
    let waiting = on.many(5, {
        let lock = lock.clone();
        move |_| *lock.wait()
    });
    settle();
    let panicked = catch_unwind(AssertUnwindSafe(|| lock.get_or_init(|| resume_unwind(Box::new(())))));
    assert!(panicked.is_err());
    settle();
    assert_eq!(lock.set(3), Ok(()));
    assert_eq!(join_all(waiting), [3; 5]);
}

#[test]
fn a_static_lock_needs_no_making() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    static LOCK: OnceLock<String> = OnceLock::new();
    let parties: Vec<_> = (0..10)
        .map(|n| {
            spawn(move || {
                LOCK.get_or_init(|| {
                    MADE.fetch_add(1, Ordering::Relaxed);
                    format!("made by {n}")
                })
            })
        })
        .collect();
    assert!(parties.into_iter().all(|party| Some(party.join().unwrap()) == LOCK.get()));
    assert_eq!(MADE.load(Ordering::Relaxed), 1);
}

#[test]
fn values_are_dropped_once() {
    static CENSUS: Census = Census::new();
    let mut lock = OnceLock::new();
    assert!(lock.set(CENSUS.value()).is_ok());
    assert!(lock.set(CENSUS.value()).is_err());
    assert_eq!(CENSUS.alive(), 1);
    assert!(lock.take().is_some());
    assert_eq!(CENSUS.alive(), 0);
    assert!(lock.take().is_none());
    lock.get_or_init(|| CENSUS.value());
    drop(lock);
    assert_eq!(CENSUS.alive(), 0);
    assert!(OnceLock::from(CENSUS.value()).into_inner().is_some());
    assert!(OnceLock::<u32>::new().into_inner().is_none());
    assert_eq!((CENSUS.alive(), CENSUS.made()), (0, 4));
}

#[test]
fn a_lock_that_was_emptied_can_be_set_again() {
    let mut lock = OnceLock::from(1);
    *lock.get_mut().unwrap() += 1;
    assert_eq!(lock.take(), Some(2));
    assert_eq!(lock.get_mut(), None);
    assert_eq!(lock.get(), None);
    assert_eq!(lock.set(3), Ok(()));
    assert_eq!(lock.get(), Some(&3));
}

#[test]
fn it_can_be_compared_cloned_and_printed() {
    let lock = OnceLock::new();
    assert_eq!(format!("{lock:?}"), "OnceLock(<uninit>)");
    assert_eq!(lock, lock.clone());
    lock.set(1).unwrap();
    assert_eq!(format!("{lock:?}"), "OnceLock(1)");
    assert_eq!(lock, OnceLock::from(1));
    assert_eq!(lock.clone().get(), Some(&1));
    assert_ne!(lock, OnceLock::default());
}

#[test]
fn it_is_shared_as_stds_is() {
    assert_eq!(send_and_sync!(OnceLock<u32>), (true, true));
    assert_eq!(send_and_sync!(OnceLock<Cell<u32>>), (true, false));
    assert_eq!(send_and_sync!(OnceLock<Rc<u32>>), (false, false));
    assert_eq!(send_and_sync!(OnceLock<std::sync::MutexGuard<'static, u32>>), (false, false));
}

/// What std's accepts: a value that borrows from something that is dropped before the lock.
#[test]
fn what_it_borrows_from_may_be_dropped_before_the_lock() {
    let lock = OnceLock::new();
    let text = String::from("borrowed");
    lock.set(text.as_str()).unwrap();
    assert_eq!(lock.get(), Some(&"borrowed"));

    let mut list = OnceLock::new();
    {
        let text = String::from("borrowed as well");
        assert_eq!(*list.get_or_init(|| vec![&*text]), ["borrowed as well"]);
        assert_eq!(list.get_mut().unwrap().pop(), Some("borrowed as well"));
    }
}

#[test]
fn a_value_of_any_alignment_is_dropped_once() {
    #[repr(align(64))]
    struct Wide(#[allow(dead_code, reason = "is dropped")] Rc<()>);

    let counted = Rc::new(());
    let mut lock = OnceLock::new();
    assert!(lock.set(Wide(counted.clone())).is_ok());
    assert_eq!(std::ptr::from_ref(lock.get().unwrap()).addr() % 64, 0);
    assert_eq!(Rc::strong_count(&counted), 2);
    drop(lock.take());
    assert_eq!(Rc::strong_count(&counted), 1);
    assert!(lock.get().is_none() && lock.set(Wide(counted.clone())).is_ok());
    drop(lock);
    assert_eq!(Rc::strong_count(&counted), 1);
}
