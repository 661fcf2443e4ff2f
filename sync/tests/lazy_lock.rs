//! The value that is computed at first use.

use narrowboat_sync::LazyLock;
use narrowboat_testing::{Census, On, join_all, send_and_sync, settle, suite_on_each};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

suite_on_each! { it_is_computed_once, a_panic_is_for_good }

fn it_is_computed_once(on: On) {
    let computed = Arc::new(AtomicUsize::new(0));
    let count = computed.clone();
    let lazy = Arc::new(LazyLock::new(move || {
        settle();
        count.fetch_add(1, Ordering::Relaxed) + 92
    }));
    assert_eq!(LazyLock::get(&lazy), None);
    assert_eq!(computed.load(Ordering::Relaxed), 0);
    let parties = on.many(10, {
        let lazy = lazy.clone();
        move |_| **lazy
    });
    assert_eq!(join_all(parties), [92; 10]);
    assert_eq!(LazyLock::get(&lazy), Some(&92));
    assert_eq!(computed.load(Ordering::Relaxed), 1);
}

fn a_panic_is_for_good(on: On) {
    let lazy: Arc<LazyLock<u32, _>> = Arc::new(LazyLock::new(|| {
        settle();
        resume_unwind(Box::new(()))
    }));
    let parties = on.many(5, {
        let lazy = lazy.clone();
        move |_| catch_unwind(AssertUnwindSafe(|| **lazy)).is_err()
    });
    assert_eq!(join_all(parties), [true; 5]);
    assert_eq!(LazyLock::get(&lazy), None);
    let again = catch_unwind(AssertUnwindSafe(|| **lazy)).unwrap_err();
    assert_eq!(again.downcast_ref(), Some(&"LazyLock instance has previously been poisoned"));
}

#[test]
fn a_static_lock_needs_no_making() {
    static NUMBERS: LazyLock<Vec<u32>> = LazyLock::new(|| vec![1, 2, 3]);
    let sum = narrowboat_runtime::spawn(|| NUMBERS.iter().sum::<u32>());
    assert_eq!(NUMBERS.len(), 3);
    assert_eq!(sum.join().unwrap(), 6);
}

#[test]
fn its_owner_may_change_it() {
    let mut lazy = LazyLock::new(|| 1);
    assert_eq!(LazyLock::get_mut(&mut lazy), None);
    *lazy += 1;
    *LazyLock::force_mut(&mut lazy) += 1;
    assert_eq!(LazyLock::get_mut(&mut lazy), Some(&mut 3));
    assert_eq!(*LazyLock::force(&lazy), 3);
}

#[test]
fn closure_and_value_are_dropped_once() {
    static CENSUS: Census = Census::new();
    let captured = CENSUS.value();
    drop(LazyLock::new(move || captured));
    assert_eq!(CENSUS.alive(), 0, "never used");
    let captured = CENSUS.value();
    let lazy = LazyLock::new(move || (captured, CENSUS.value()).1);
    LazyLock::force(&lazy);
    assert_eq!(CENSUS.alive(), 1, "the closure is gone");
    drop(lazy);
    assert_eq!(CENSUS.alive(), 0);
    let captured = CENSUS.value();
    let lazy: LazyLock<u32, _> = LazyLock::new(move || {
        let _captured = captured;
        resume_unwind(Box::new(()))
    });
    assert!(catch_unwind(AssertUnwindSafe(|| *lazy)).is_err());
    assert_eq!(CENSUS.alive(), 0);
}

#[test]
fn it_can_be_printed_and_shared() {
    let lazy = LazyLock::<u32>::default();
    assert_eq!(format!("{lazy:?}"), "LazyLock(<uninit>)");
    assert_eq!(*lazy, 0);
    assert_eq!(format!("{lazy:?}"), "LazyLock(0)");
    assert_eq!(send_and_sync!(LazyLock<u32>), (true, true));
    assert_eq!(send_and_sync!(LazyLock<Cell<u32>>), (true, false));
    assert_eq!(send_and_sync!(LazyLock<u32, Rc<u32>>), (false, false));
}
