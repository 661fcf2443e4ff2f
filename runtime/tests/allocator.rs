//! A global allocator that has a lock of std's: a wait for that may come in the middle of the
//! runtime's own steps, and must block the thread there.

use narrowboat_runtime::{spawn, yield_now};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

struct Locked;

static LOCK: Mutex<()> = Mutex::new(());

fn lock() -> MutexGuard<'static, ()> {
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

// SAFETY: passes everything on.
unsafe impl GlobalAlloc for Locked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _locked = lock();
        // SAFETY: by contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let _locked = lock();
        // SAFETY: by contract. Nothing may look there any more.
        unsafe {
            at.write_bytes(0xdb, layout.size());
            System.dealloc(at, layout);
        }
    }
}

#[global_allocator]
static ALLOCATOR: Locked = Locked;

/// How far the thread has got that holds the allocator's lock for a while.
static STEP: AtomicU32 = AtomicU32::new(IDLE);
const IDLE: u32 = 0;
const WANTED: u32 = 1;
const HELD: u32 = 2;

/// Waits without a wait of the scheduler's, and without the allocator.
fn spin_until(step: u32) {
    while STEP.load(Ordering::Acquire) != step {
        std::hint::spin_loop();
    }
}

/// A thread that holds the lock for a while when it is wanted.
fn holder() -> thread::JoinHandle<()> {
    thread::spawn(|| {
        spin_until(WANTED);
        let locked = lock();
        STEP.store(HELD, Ordering::Release);
        thread::sleep(Duration::from_millis(30));
        drop(locked);
    })
}

/// Others that want the processor all the time, on each that there is.
fn company(stop: &'static AtomicBool) -> Vec<narrowboat_runtime::JoinHandle<()>> {
    let busy = move || {
        while !stop.load(Ordering::Relaxed) {
            yield_now();
        }
    };
    (0..8).map(|_| spawn(busy)).collect()
}

#[test]
fn a_destructor_is_registered_although_the_allocator_waits_meanwhile() {
    static DROPPED: AtomicU32 = AtomicU32::new(0);
    static STOP: AtomicBool = AtomicBool::new(false);
    struct Noisy;
    impl Drop for Noisy {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    thread_local! {
        static SMALL: Cell<u64> = const { Cell::new(0) };
        static LARGE: Cell<[u64; 32]> = const { Cell::new([0; 32]) };
        static NOISY: Noisy = const { Noisy };
    }

    let holder = holder();
    let company = company(&STOP);
    let goroutine = spawn(|| {
        // It has something of its own, which has been saved; and then much more, which has not.
        SMALL.set(1);
        yield_now();
        LARGE.set([1; 32]);
        STEP.store(WANTED, Ordering::Release);
        spin_until(HELD);
        NOISY.with(|_| ());
        yield_now();
        assert_eq!((SMALL.get(), LARGE.get()), (1, [1; 32]));
    });
    goroutine.join().unwrap();
    holder.join().unwrap();
    STOP.store(true, Ordering::Relaxed);
    company.into_iter().for_each(|other| other.join().unwrap());
    assert_eq!(DROPPED.load(Ordering::Relaxed), 1);
}
