//! What must hold of goroutines however the program is linked.

use narrowboat::{go, time};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Enough that goroutines of a processor follow each other, and few enough that each has a stack of
/// its own while the runtime does not know yet what its line of source waits for.
const GOROUTINES: usize = 100;

/// Panics if something does not hold. `Some` says why goroutines share thread-locals: then only
/// what does not need thread-locals of their own is checked.
pub fn run() -> Option<&'static str> {
    narrowboat::run(|| {
        channels();
        hash_maps();
        panics();
        let shared = narrowboat::stats().shared_locals;
        if shared.is_none() {
            thread_locals();
            handles();
            locks();
        }
        shared
    })
}

/// The results of so many goroutines.
fn all<T: Send + 'static>(f: impl Fn(usize) -> T + Send + Sync + 'static) -> Vec<T> {
    let f = Arc::new(f);
    let goroutines: Vec<_> = (0..GOROUTINES)
        .map(|i| {
            let f = f.clone();
            go!(move || f(i))
        })
        .collect();
    goroutines.into_iter().map(|goroutine| goroutine.join().expect("a check failed")).collect()
}

fn park(i: usize) {
    if i.is_multiple_of(3) {
        time::sleep(Duration::from_micros(50 + 7 * i as u64));
    } else {
        narrowboat::yield_now();
    }
}

fn channels() {
    let (send, receive) = narrowboat::chan::bounded(3);
    let sent = go!(move || (0..1000).for_each(|i| send.send(i).unwrap()));
    assert_eq!(receive.iter().sum::<u32>(), 499_500);
    sent.join().unwrap();
}

fn hash_maps() {
    let sums = all(|i| {
        let mut map = HashMap::new();
        for key in 0..50 {
            map.insert(key, key * i);
            if key % 10 == 0 {
                park(i);
            }
        }
        map.values().sum::<usize>()
    });
    assert!(sums.iter().enumerate().all(|(i, sum)| *sum == 49 * 25 * i));
}

#[cfg(panic = "unwind")]
fn panics() {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    for (i, message) in all(|i| {
        let panicked = go!(move || -> () {
            park(i);
            panic!("number {i}")
        });
        let caught = std::panic::catch_unwind(|| {
            park(i);
            panic!("caught {i}")
        });
        let caught = *caught.unwrap_err().downcast::<String>().unwrap();
        assert_eq!(caught, format!("caught {i}"));
        *panicked.join().unwrap_err().downcast::<String>().unwrap()
    })
    .into_iter()
    .enumerate()
    {
        assert_eq!(message, format!("number {i}"));
    }
    std::panic::set_hook(quiet);
}

#[cfg(not(panic = "unwind"))]
fn panics() {}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

struct Counted(usize);

impl Drop for Counted {
    fn drop(&mut self) {
        // A destructor may park as well as any other code.
        park(self.0);
        assert_eq!(PLAIN.get(), self.0, "the other thread-locals are still the goroutine's");
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

thread_local! {
    static PLAIN: Cell<usize> = const { Cell::new(7) };
    static COUNTED: RefCell<Option<Counted>> = const { RefCell::new(None) };
    static LAZY: String = PLAIN.get().to_string();
}

fn thread_locals() {
    all(|i| {
        assert_eq!(PLAIN.replace(i), 7);
        COUNTED.with_borrow_mut(|counted| assert!(counted.replace(Counted(i)).is_none()));
        let lazy = LAZY.with(|lazy| std::ptr::from_ref(lazy).addr());
        for _ in 0..3 {
            park(i);
            assert_eq!(PLAIN.get(), i);
            COUNTED.with_borrow(|counted| assert_eq!(counted.as_ref().unwrap().0, i));
            LAZY.with(|value| {
                assert_eq!(*value, i.to_string());
                assert_eq!(std::ptr::from_ref(value).addr(), lazy);
            });
        }
    });
    assert_eq!(DROPPED.load(Ordering::Relaxed), GOROUTINES, "destructors run before join returns");
    let outside = std::thread::spawn(|| {
        COUNTED.with_borrow_mut(|counted| counted.replace(Counted(PLAIN.get())).is_none())
    });
    assert!(outside.join().unwrap());
    assert_eq!(DROPPED.load(Ordering::Relaxed), GOROUTINES + 1, "on a thread, too");
}

fn handles() {
    let ids = all(|i| {
        let before = std::thread::current().id();
        park(i);
        assert_eq!(before, std::thread::current().id());
        before
    });
    assert_eq!(ids.into_iter().collect::<HashSet<_>>().len(), GOROUTINES);
}

fn locks() {
    let count = Arc::new(Mutex::new(0));
    let shared = count.clone();
    all(move |i| {
        let mut count = shared.lock().unwrap();
        let before = *count;
        park(i);
        *count = before + 1;
    });
    assert_eq!(*count.lock().unwrap(), GOROUTINES);
    // std's own parking.
    let (send, receive) = narrowboat::chan::bounded(1);
    let parked = go!(move || {
        send.send(std::thread::current()).unwrap();
        std::thread::park();
    });
    receive.recv().unwrap().unpark();
    parked.join().unwrap();
    // A lock that a thread holds.
    let (locked, is_locked) = narrowboat::chan::bounded(0);
    let (release, released) = narrowboat::chan::bounded::<()>(0);
    let held = count.clone();
    let holder = std::thread::spawn(move || {
        let _guard = held.lock().unwrap();
        locked.send(()).unwrap();
        let _ = released.recv();
    });
    is_locked.recv().unwrap();
    let waiting = go!(move || *count.lock().unwrap());
    narrowboat::yield_now();
    drop(release);
    assert_eq!(waiting.join().unwrap(), GOROUTINES);
    holder.join().unwrap();
}
