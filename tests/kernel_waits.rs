//! A wake-up that goes to a goroutine also reaches a worker that waits in the kernel for the same word.

use narrowboat::go;
use narrowboat::stack::on_system_stack;
use narrowboat_testing::{again, program};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

static LOCK: Mutex<()> = Mutex::new(());
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Gives those that have said that they wait the time to do so.
fn until_waiting(count: usize) {
    while WAITING.load(Ordering::SeqCst) < count {
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_millis(50));
}

#[test]
fn a_goroutine_and_its_worker_wait_for_one_lock() {
    for _ in 0..5 {
        WAITING.store(0, Ordering::SeqCst);
        let guard = LOCK.lock().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                program(|| {
                    let parks = go!(|| {
                        WAITING.fetch_add(1, Ordering::SeqCst);
                        drop(LOCK.lock().unwrap());
                    });
                    while WAITING.load(Ordering::SeqCst) == 0 {
                        narrowboat::yield_now();
                    }
                    // The worker itself waits: on the system stack nothing parks.
                    on_system_stack(|| {
                        WAITING.fetch_add(1, Ordering::SeqCst);
                        drop(LOCK.lock().unwrap());
                    });
                    parks.join().unwrap();
                });
            });
            until_waiting(2);
            drop(guard);
        });
    }
}

#[test]
fn also_where_there_is_one_processor() {
    again("a_goroutine_and_its_worker_wait_for_one_lock", &[("NARROWBOAT_PROCESSORS", "1")]);
}
