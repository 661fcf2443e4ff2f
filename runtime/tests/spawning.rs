//! What is spawned does not pile up: a goroutine that spawns very many in a row gives way to them now and then.

use narrowboat_runtime::{Config, run, spawn};
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn after_a_thousand_spawns_in_a_row_some_have_started() {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    Config::new().processors(1).workers(1).start().unwrap();
    run(|| {
        for _ in 0..1024 {
            spawn(|| STARTED.fetch_add(1, Ordering::Relaxed));
        }
        // The spawner has made no other call.
        assert_ne!(STARTED.load(Ordering::Relaxed), 0);
    });
}
