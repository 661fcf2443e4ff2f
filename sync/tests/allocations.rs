//! Where locks allocate. An allocator may use a lock of std's. In a goroutine that has begun a wait
//! and not parked it must not park, so what wakes others, as a release in a wait for a condition
//! does, allocates where nothing parks.

use narrowboat_runtime::{as_thread, spawn};
use narrowboat_sync::RwLock;
use std::alloc::{GlobalAlloc, Layout, System};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Waker};

/// Counts, while it watches, the calls in which a wait for a lock would park a goroutine.
struct Watching;

static WATCHES: AtomicBool = AtomicBool::new(false);
static WOULD_PARK: AtomicUsize = AtomicUsize::new(0);

fn look() {
    if WATCHES.load(Ordering::Relaxed) && as_thread::may_park() {
        WOULD_PARK.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: it is the system's.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        look();
        // SAFETY: by contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        look();
        // SAFETY: by contract.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static WATCHING: Watching = Watching;

#[test]
fn a_release_that_wakes_tasks_allocates_where_nothing_parks() {
    let seen = spawn(|| {
        let lock = RwLock::new(());
        let held = lock.write();
        let mut readers = [const { None }; 20];
        let mut cx = Context::from_waker(Waker::noop());
        // Some are dropped between their wake-up and their poll, some polled.
        for reader in &mut readers {
            let future = Box::pin(lock.read_async());
            let future = reader.insert(future);
            assert!(pin!(future).poll(&mut cx).is_pending());
        }
        WATCHES.store(true, Ordering::Relaxed);
        drop(held);
        WATCHES.store(false, Ordering::Relaxed);
        for reader in readers.iter_mut().flatten() {
            assert!(pin!(reader).poll(&mut cx).is_ready());
        }
        WOULD_PARK.load(Ordering::Relaxed)
    });
    assert_eq!(seen.join().unwrap(), 0);
}
