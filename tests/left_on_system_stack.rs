//! A coroutine of another library that is suspended on the system stack, and is never ended: its
//! goroutine ends without it. On one processor, so that it is the same stack.

use corosensei::{Coroutine, CoroutineResult};
use narrowboat::{Config, go, stack};
use std::hint::black_box;

type Kept = Coroutine<(), (), u32>;

#[test]
fn a_call_that_was_left_keeps_the_stack() {
    if std::env::var_os("NARROWBOAT_PIN").is_some_and(|pin| pin == "1") {
        // The worker needs the stack itself, so the process would be aborted.
        return;
    }
    Config::new().processors(1).start().unwrap();
    go!(|| {
        let mut coroutine = Kept::new(|yielder, ()| {
            stack::on_system_stack(|| {
                let words = black_box([7; 64]);
                yielder.suspend(());
                assert!(black_box(&words).iter().all(|word| *word == 7));
            });
            5
        });
        assert!(matches!(coroutine.resume(()), CoroutineResult::Yield(())));
        std::mem::forget(coroutine);
    })
    .join()
    .unwrap();
    let panic = go!(|| stack::on_system_stack(|| black_box([9; 4096])[0])).join().unwrap_err();
    assert!(panic.downcast_ref::<&str>().unwrap().contains("is still suspended there"));
    // The goroutine that was refused is whole, and so are others.
    assert_eq!(go!(|| black_box([9; 4096])[0]).join().unwrap(), 9);
}
