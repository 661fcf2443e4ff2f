//! A process that a goroutine of a world forks.

use narrowboat::sync::Mutex;
use narrowboat::{go, sim, sleep, yield_now};
use narrowboat_testing::works_in_fork;
use std::sync::Arc;
use std::time::Duration;

/// The child goes on with the goroutine that has forked, also where that has woken another one just
/// before, which would be the next in the parent.
#[test]
fn the_child_of_a_goroutine_goes_on_with_that_goroutine() {
    for seed in 0..20 {
        sim::run(seed, || {
            let parent = std::process::id();
            let mutex = Arc::new(Mutex::new(()));
            let held = mutex.lock().unwrap();
            let other = {
                let mutex = mutex.clone();
                go!(move || {
                    drop(mutex.lock());
                    if std::process::id() != parent {
                        eprintln!("the other goroutine runs in the child");
                        std::process::exit(3);
                    }
                })
            };
            sleep(Duration::from_secs(1));
            // Gives it to the other goroutine, and does not give way.
            drop(held);
            works_in_fork(|| (0..10).for_each(|_| yield_now()));
            other.join().unwrap();
        });
    }
}
