//! A chosen operation that is not completed is told of, although another goroutine of the processor
//! is unwinding. On one processor, so that it is the same.

use narrowboat_chan::{Receiver, Select, Sender, bounded};
use narrowboat_runtime::{Config, spawn};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Says so when it is dropped, and waits.
struct Waits(Sender<bool>, Receiver<()>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.send(std::thread::panicking()).unwrap();
        let _ = self.1.recv();
    }
}

#[test]
fn a_dropped_choice_panics_while_another_goroutine_unwinds() {
    Config::new().processors(1).start().unwrap();
    let body = spawn(|| {
        let (go_on, wait) = bounded(0);
        let (says, unwinds) = bounded(0);
        let other = spawn(move || {
            let _waits = Waits(says, wait);
            panic!("on purpose");
        });
        assert!(unwinds.recv().unwrap() && !std::thread::panicking());
        let (tx, _rx) = bounded::<i32>(1);
        let mut select = Select::new();
        select.send(&tx);
        let chosen = select.select();
        let panic = catch_unwind(AssertUnwindSafe(|| drop(chosen))).expect_err("it was not completed");
        assert!(panic.downcast_ref::<&str>().unwrap().contains("without completing"));
        assert!(!tx.is_full(), "the place is free again");
        drop(go_on);
        assert!(other.join().is_err());
    });
    body.join().unwrap();
}
