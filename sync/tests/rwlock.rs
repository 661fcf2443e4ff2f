//! The reader-writer lock: many read or one writes, and neither side keeps the other out.

use narrowboat_runtime::yield_now;
use narrowboat_sync::{Barrier, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use narrowboat_testing::{
    Census, Dice, On, join_all, ms, pause, send_and_sync, settle, sized, suite_on_each,
};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

suite_on_each! {
    many_read_or_one_writes, readers_share_it, a_waiting_writer_keeps_new_readers_out,
    readers_in_the_line_enter_together, a_writer_is_not_starved_by_readers,
    a_reader_is_not_starved_by_writers, a_downgraded_lock_is_read, writers_poison_and_readers_do_not,
    it_may_be_held_across_calls_that_block,
}

fn many_read_or_one_writes(on: On) {
    let rounds = sized(5_000, 1_000);
    // Positive: so many readers. -1: a writer.
    let inside = Arc::new(AtomicIsize::new(0));
    let lock = Arc::new(RwLock::new(0));
    let parties = on.many(8, {
        let lock = lock.clone();
        move |me| {
            let mut dice = Dice::new(me + 1);
            let mut wrote = 0;
            for _ in 0..rounds {
                let choice = dice.roll(8);
                if choice < 6 {
                    let guard = if choice == 0 { lock.try_read().ok() } else { lock.read().ok() };
                    let Some(guard) = guard else { continue };
                    assert!(inside.fetch_add(1, Ordering::SeqCst) >= 0);
                    let value = *guard;
                    if dice.roll(20) == 0 {
                        yield_now();
                    }
                    assert_eq!(*guard, value);
                    assert!(inside.fetch_sub(1, Ordering::SeqCst) > 0);
                } else {
                    let guard = if choice == 6 { lock.try_write().ok() } else { lock.write().ok() };
                    let Some(mut guard) = guard else { continue };
                    assert_eq!(inside.swap(-1, Ordering::SeqCst), 0);
                    *guard += 1;
                    wrote += 1;
                    if dice.roll(20) == 0 {
                        yield_now();
                    }
                    if dice.roll(4) == 0 {
                        assert_eq!(inside.swap(1, Ordering::SeqCst), -1);
                        let _reading = RwLockWriteGuard::downgrade(guard);
                        yield_now();
                        assert!(inside.fetch_sub(1, Ordering::SeqCst) > 0);
                    } else {
                        assert_eq!(inside.swap(0, Ordering::SeqCst), -1);
                    }
                }
            }
            wrote
        }
    });
    let wrote: usize = join_all(parties).into_iter().sum();
    assert_eq!(*lock.read().unwrap(), wrote);
}

fn readers_share_it(on: On) {
    let lock = Arc::new(RwLock::new(7));
    let all_in = Arc::new(Barrier::new(10));
    let readers = on.many(10, move |_| {
        let guard = lock.read().unwrap();
        // None gets past this point before all are here, with their guards.
        all_in.wait();
        *guard
    });
    assert_eq!(join_all(readers), [7; 10]);
}

fn a_waiting_writer_keeps_new_readers_out(on: On) {
    let lock = Arc::new(RwLock::new(0));
    let reading = lock.read().unwrap();
    assert!(lock.try_read().is_ok());
    let other = lock.clone();
    let writer = on.go(move || *other.write().unwrap() = 1);
    while lock.try_read().is_ok() {
        yield_now();
    }
    assert!(matches!(lock.try_read(), Err(TryLockError::WouldBlock)));
    let other = lock.clone();
    let reader = on.go(move || *other.read().unwrap());
    settle();
    assert_eq!(*reading, 0);
    drop(reading);
    assert_eq!(reader.join(), 1, "the writer was first");
    writer.join();
}

fn readers_in_the_line_enter_together(on: On) {
    let lock = Arc::new(RwLock::new(0));
    let writing = lock.write().unwrap();
    let all_in = Arc::new(Barrier::new(5));
    let readers = on.many(5, {
        let lock = lock.clone();
        move |_| {
            let _guard = lock.read().unwrap();
            all_in.wait();
        }
    });
    settle();
    drop(writing);
    join_all(readers);
}

fn a_writer_is_not_starved_by_readers(on: On) {
    let lock = Arc::new(RwLock::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    // Four that overlap, so that there is nearly always one in.
    let readers = on.many(4, {
        let (lock, stop) = (lock.clone(), stop.clone());
        move |_| {
            while !stop.load(Ordering::Relaxed) {
                let _guard = lock.read().unwrap();
                yield_now();
            }
        }
    });
    for _ in 0..20 {
        *lock.write().unwrap() += 1;
    }
    stop.store(true, Ordering::Relaxed);
    join_all(readers);
    assert_eq!(*lock.read().unwrap(), 20);
}

fn a_reader_is_not_starved_by_writers(on: On) {
    let lock = Arc::new(RwLock::new(0_u64));
    let stop = Arc::new(AtomicBool::new(false));
    let writers = on.many(4, {
        let (lock, stop) = (lock.clone(), stop.clone());
        move |_| {
            while !stop.load(Ordering::Relaxed) {
                *lock.write().unwrap() += 1;
            }
        }
    });
    for _ in 0..20 {
        drop(lock.read().unwrap());
    }
    stop.store(true, Ordering::Relaxed);
    join_all(writers);
}

fn a_downgraded_lock_is_read(on: On) {
    let lock = Arc::new(RwLock::new(0));
    let mut writing = lock.write().unwrap();
    *writing = 1;
    let reading = RwLockWriteGuard::downgrade(writing);
    assert!(lock.try_write().is_err());
    let other = lock.clone();
    assert_eq!(on.go(move || *other.read().unwrap()).join(), 1, "others may read, too");
    let other = lock.clone();
    let writer = on.go(move || *other.write().unwrap() = 2);
    settle();
    assert_eq!(*reading, 1);
    drop(reading);
    writer.join();
    assert_eq!(*lock.read().unwrap(), 2);
}

fn writers_poison_and_readers_do_not(on: On) {
    let lock = Arc::new(RwLock::new(1));
    let other = lock.clone();
    let reader = on.go(move || {
        let _guard = other.read().unwrap();
        resume_unwind(Box::new(()));
    });
    assert!(reader.try_join().is_err());
    assert!(!lock.is_poisoned() && lock.try_write().is_ok());

    let other = lock.clone();
    let writer = on.go(move || {
        let mut guard = other.write().unwrap();
        *guard = 2;
        resume_unwind(Box::new(()));
    });
    assert!(writer.try_join().is_err());
    assert!(lock.is_poisoned());
    assert_eq!(**lock.read().unwrap_err().get_ref(), 2);
    assert!(matches!(lock.try_read(), Err(TryLockError::Poisoned(_))));
    assert!(matches!(lock.try_write(), Err(TryLockError::Poisoned(_))));
    *lock.write().unwrap_err().into_inner() = 3;
    lock.clear_poison();
    assert_eq!(*lock.read().unwrap(), 3);

    let other = lock.clone();
    let reader = on.go(move || {
        let _reading = RwLockWriteGuard::downgrade(other.write().unwrap());
        resume_unwind(Box::new(()));
    });
    assert!(reader.try_join().is_err());
    assert!(!lock.is_poisoned(), "it only read");
}

fn it_may_be_held_across_calls_that_block(on: On) {
    let lock = Arc::new(RwLock::new(0));
    let parties = on.many(10, {
        let lock = lock.clone();
        move |n| {
            if n % 2 == 0 {
                let mut guard = lock.write().unwrap();
                let before = *guard;
                pause(ms(1));
                *guard = before + 1;
            } else {
                let guard = lock.read().unwrap();
                let before = *guard;
                pause(ms(1));
                assert_eq!(*guard, before);
            }
        }
    });
    join_all(parties);
    assert_eq!(*lock.read().unwrap(), 5);
}

#[test]
fn a_static_lock_needs_no_making() {
    static LIMIT: RwLock<u32> = RwLock::new(1);
    *LIMIT.write().unwrap() += 1;
    assert_eq!(*LIMIT.read().unwrap(), 2);
}

#[test]
fn values_come_out_of_it() {
    static CENSUS: Census = Census::new();
    let mut lock = RwLock::new(CENSUS.value());
    *lock.get_mut().unwrap() = CENSUS.value();
    drop(lock.into_inner().unwrap());
    assert_eq!(CENSUS.alive(), 0);

    let mut lock = RwLock::from(5);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let _guard = lock.write().unwrap();
        resume_unwind(Box::new(()));
    }));
    assert!(caught.is_err());
    assert_eq!(**lock.get_mut().unwrap_err().get_ref(), 5);
    assert_eq!(lock.into_inner().unwrap_err().into_inner(), 5);
}

#[test]
fn values_without_a_size_fit_too() {
    let lock: &RwLock<[i32]> = &RwLock::new([1, 2, 3]);
    lock.write().unwrap()[0] = 4;
    assert_eq!(*lock.read().unwrap(), [4, 2, 3]);
}

#[test]
fn it_can_be_printed() {
    let lock = RwLock::new(5);
    let reading = lock.read().unwrap();
    assert_eq!(format!("{lock:?}"), "RwLock { data: 5, poisoned: false, .. }");
    assert_eq!(format!("{reading} {reading:?}"), "5 5");
    drop(reading);
    let writing = lock.write().unwrap();
    assert_eq!(format!("{lock:?}"), "RwLock { data: <locked>, poisoned: false, .. }");
    assert_eq!(format!("{writing} {writing:?}"), "5 5");
    assert_eq!(*RwLock::<u32>::default().read().unwrap(), 0);
}

#[test]
fn it_is_shared_as_stds_is() {
    assert_eq!(send_and_sync!(RwLock<u32>), (true, true));
    assert_eq!(send_and_sync!(RwLock<Cell<u32>>), (true, false));
    assert_eq!(send_and_sync!(RwLock<Rc<u32>>), (false, false));
    assert_eq!(send_and_sync!(RwLockReadGuard<'static, u32>), (false, true));
    assert_eq!(send_and_sync!(RwLockReadGuard<'static, Cell<u32>>), (false, false));
    assert_eq!(send_and_sync!(RwLockWriteGuard<'static, u32>), (false, true));
    assert_eq!(send_and_sync!(RwLockWriteGuard<'static, Cell<u32>>), (false, false));
}

#[test]
fn read_guards_are_covariant_as_stds_are() {
    fn shorten<'g, 'short>(
        guard: RwLockReadGuard<'g, &'static str>,
        _: &'short str,
    ) -> RwLockReadGuard<'g, &'short str> {
        guard
    }
    let lock = RwLock::new("static");
    let local = String::from("local");
    assert_eq!(*shorten(lock.read().unwrap(), &local), "static");
}
