//! Goroutine-local values: whose they are, and how they end.

use narrowboat_runtime::{Builder, goroutine_local, sleep, spawn, stack, yield_now};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn each_goroutine_has_its_own_across_parks() {
    goroutine_local!(static MINE: RefCell<Vec<usize>> = RefCell::default());
    let all: Vec<_> = (0..500)
        .map(|n| {
            spawn(move || {
                for step in 0..5 {
                    MINE.with_borrow_mut(|mine| mine.push(n + step));
                    yield_now();
                    // Parked while the value is borrowed.
                    MINE.with_borrow(|mine| {
                        sleep(Duration::from_micros(50));
                        assert_eq!(mine.len(), step + 1);
                    });
                }
                MINE.take()
            })
        })
        .collect();
    for (n, one) in all.into_iter().enumerate() {
        assert_eq!(one.join().unwrap(), (n..n + 5).collect::<Vec<_>>());
    }
    assert!(MINE.with_borrow(|mine| mine.is_empty()), "a thread has its own");
}

#[test]
fn they_need_not_be_send() {
    goroutine_local!(static SHARED: Rc<Cell<u32>> = Rc::new(Cell::new(1)));
    let value = spawn(|| {
        let mine = SHARED.with(Rc::clone);
        yield_now();
        mine.set(mine.get() + 1);
        yield_now();
        SHARED.with(|shared| shared.get())
    });
    assert_eq!(value.join().unwrap(), 2);
}

static LOG: Mutex<Vec<&str>> = Mutex::new(Vec::new());

struct Says(&'static str);

impl Drop for Says {
    fn drop(&mut self) {
        // A destructor may park, and may ask for other values.
        sleep(Duration::from_millis(1));
        LOG.lock().unwrap().push(self.0);
        assert_eq!(FIRST.try_with(|first| first.0).ok(), (self.0 != "first").then_some("first"));
        if self.0 == "second" {
            LATE.with(|_| ());
        }
    }
}

goroutine_local! {
    static FIRST: Says = Says("first");
    static SECOND: Says = Says("second");
    static LATE: Says = Says("late");
    static UNUSED: Says = Says("unused");
}

#[test]
fn they_are_dropped_at_the_end_the_last_one_first_and_before_the_join() {
    for detached in [false, true] {
        let one = spawn(|| {
            FIRST.with(|_| ());
            SECOND.with(|_| ());
        });
        if detached {
            drop(one);
            while LOG.lock().unwrap().len() < 3 {
                sleep(Duration::from_millis(1));
            }
        } else {
            one.join().unwrap();
        }
        // What a destructor has made is dropped next.
        assert_eq!(std::mem::take(&mut *LOG.lock().unwrap()), ["second", "late", "first"]);
    }
}

#[test]
fn on_a_thread_they_are_the_threads() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Counts;
    impl Drop for Counts {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
            assert!(THREADS.try_with(|_| ()).is_err());
        }
    }
    goroutine_local!(static THREADS: Counts = Counts);
    std::thread::spawn(|| THREADS.with(|_| ())).join().unwrap();
    assert_eq!(DROPPED.load(Ordering::Relaxed), 1);
    // The system stack is the goroutine's, too.
    spawn(|| {
        THREADS.with(|_| ());
        stack::on_system_stack(|| THREADS.with(|_| ()));
    })
    .join()
    .unwrap();
    assert_eq!(DROPPED.load(Ordering::Relaxed), 2);
}

#[test]
fn a_destructor_that_panics_ends_no_goroutine() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in a destructor, as the test wants");
        }
    }
    goroutine_local! {
        static BAD: Panics = Panics;
        static COUNTS: Counts = Counts;
    }
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Counts;
    impl Drop for Counts {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    let one = Builder::new().name("unlucky").spawn(|| {
        COUNTS.with(|_| ());
        BAD.with(|_| ());
        7
    });
    assert_eq!(one.unwrap().join().unwrap(), 7);
    assert_eq!(DROPPED.load(Ordering::Relaxed), 1);
}

#[test]
fn a_value_that_makes_itself_is_made_once_in_the_end() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Nested(u32);
    impl Drop for Nested {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    goroutine_local! {
        static ONCE: Cell<bool> = const { Cell::new(false) };
        static NESTED: Nested = if ONCE.replace(true) { Nested(1) } else { Nested(NESTED.with(|inner| inner.0 + 1)) };
    }
    assert_eq!(
        spawn(|| (NESTED.with(|nested| nested.0), NESTED.with(|nested| nested.0))).join().unwrap(),
        (2, 2)
    );
    assert_eq!(DROPPED.load(Ordering::Relaxed), 2);
}

#[test]
fn setting_makes_no_other_value() {
    goroutine_local! {
        static CELL: Cell<u32> = panic!("not asked for");
        static LIST: RefCell<Vec<u32>> = panic!("not asked for");
    }
    spawn(|| {
        CELL.set(1);
        CELL.set(CELL.get() + 1);
        LIST.set(vec![1]);
        LIST.set(vec![CELL.replace(3), CELL.take()]);
        assert_eq!(LIST.replace(Vec::new()), [2, 3]);
    })
    .join()
    .unwrap();
    // An initialisation that fails has made nothing.
    assert!(spawn(|| CELL.get()).join().is_err());
}
