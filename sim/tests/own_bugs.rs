//! Programs that saw bugs of Narrowboat's own, when those were put back. They pass every schedule.

use narrowboat::chan::{Select, bounded};
use narrowboat::go;
use narrowboat::sim::{Check, Strategy};
use narrowboat::sync::{Mutex, RwLock};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const PCT: Strategy = Strategy::Pct { depth: 3 };
const EXHAUSTIVE: Strategy = Strategy::Exhaustive { preemptions: 2 };

fn check(strategy: Strategy) -> Check {
    Check::new().environment(false).strategy(strategy).iterations(300)
}

/// Some goroutines write under a lock and mostly read, and there are so few preemptions that each
/// could go on to its end. A preemption under the lock has all of them wait once.
fn jam() {
    const GOROUTINES: usize = 8;
    const OPERATIONS: usize = 100;
    let lock = Arc::new(RwLock::new(()));
    // Which of them used the lock last, and how often it was another one than before.
    let used = Arc::new(Mutex::new((0, 0)));
    let all: Vec<_> = (0..GOROUTINES)
        .map(|me| {
            let (lock, used) = (lock.clone(), used.clone());
            go!(move || {
                for operation in 0..OPERATIONS {
                    let writes = (operation + 3 * me) % 20 == 0;
                    let writing = writes.then(|| lock.write().unwrap());
                    let reading = (!writes).then(|| lock.read().unwrap());
                    // Another goroutine may have its turn here, and find the lock taken.
                    let mut used = used.lock().unwrap();
                    *used = (me, used.1 + usize::from(used.0 != me));
                    drop((writing, reading));
                }
            })
        })
        .collect();
    all.into_iter().for_each(|one| one.join().unwrap());
    let changes = used.lock().unwrap().1;
    // At most 19 in thousands of schedules. It was 32 and more when a release granted the lock to
    // all readers that waited.
    assert!(changes < 4 * GOROUTINES, "the lock went from one to another {changes} times");
}

#[test]
fn a_jam_at_a_lock_dissolves() {
    check(PCT).iterations(100).run(jam);
}

/// A writer gives the lock up and wants it again at once, while readers wait.
fn released() {
    let (lock, inside) = (Arc::new(RwLock::new(())), Arc::new(AtomicUsize::new(0)));
    let elsewhere = Arc::new(Mutex::new(()));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (lock, inside, elsewhere) = (lock.clone(), inside.clone(), elsewhere.clone());
            go!(move || {
                let _reading = lock.read().unwrap();
                inside.fetch_add(1, Relaxed);
                drop(elsewhere.lock().unwrap());
                inside.fetch_sub(1, Relaxed);
            })
        })
        .collect();
    let writing = lock.write().unwrap();
    drop(elsewhere.lock().unwrap());
    drop(writing);
    let again = lock.try_write();
    assert!(again.is_ok() || inside.load(Relaxed) > 0, "a reader that does not run has the lock");
    drop(again);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

#[test]
fn a_released_lock_is_free_until_a_woken_reader_runs() {
    for strategy in [Strategy::Uniform, PCT, EXHAUSTIVE] {
        check(strategy).run(released);
    }
}

/// A chosen operation is dropped while the destructors of another goroutine run, which has panicked.
fn dropped_choice() {
    struct Cleanup(Arc<Mutex<()>>);

    impl Drop for Cleanup {
        fn drop(&mut self) {
            // Another goroutine may have its turn at each of them.
            for _ in 0..3 {
                drop(self.0.lock().unwrap());
            }
        }
    }

    let shared = Arc::new(Mutex::new(()));
    let cleanup = Cleanup(shared.clone());
    let other = go!(move || {
        let _cleanup = cleanup;
        drop(shared.lock().unwrap());
        panic!("on purpose");
    });
    let (tx, _rx) = bounded::<i32>(1);
    let mut select = Select::new();
    select.send(&tx);
    let chosen = select.select();
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(chosen)));
    assert!(other.join().is_err());
    assert!(dropped.is_err(), "a chosen operation was dropped without a word");
}

#[test]
fn a_dropped_choice_is_told_of_while_another_goroutine_unwinds() {
    for strategy in [Strategy::Uniform, PCT, EXHAUSTIVE] {
        check(strategy).run(dropped_choice);
    }
}
