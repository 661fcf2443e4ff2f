//! `leak::check`: which goroutines a test has left behind.

use narrowboat::leak::Check;
use narrowboat::{Builder, Labels, blocking, chan, context, go, labels, leak, sleep, sync, yield_now};
use narrowboat_testing::scaled;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// The text of the panic of a check that must fail.
#[track_caller]
fn complaint<T: Send + 'static>(check: Check, body: impl FnOnce() -> T + Send + 'static) -> String {
    complaint_within(Duration::from_millis(100), check, body)
}

#[track_caller]
fn complaint_within<T: Send + 'static>(
    patience: Duration,
    check: Check,
    body: impl FnOnce() -> T + Send + 'static,
) -> String {
    let check = check.patience(patience);
    let caught = catch_unwind(AssertUnwindSafe(move || check.run(body)));
    *caught.err().expect("the check fails").downcast::<String>().expect("the panic has a text")
}

#[test]
fn what_ends_in_time_is_no_leak() {
    let sum = leak::check(|| {
        let (tx, rx) = chan::bounded(0);
        for n in 0..1_000 {
            let tx = tx.clone();
            go!(move || {
                yield_now();
                tx.send(n).unwrap();
            });
        }
        drop(tx);
        rx.iter().sum::<i32>()
    });
    assert_eq!(sum, 499_500);
    // It still runs when the body returns.
    leak::check(|| go!(|| sleep(Duration::from_millis(50))));
}

#[test]
fn a_leak_is_shown_with_where_it_was_spawned_and_where_it_waits() {
    let spawned = line!() + 5;
    let (tx, rx) = chan::bounded::<()>(0);
    let text = complaint(Check::new(), move || {
        for _ in 0..3 {
            let rx = rx.clone();
            go!(move || {
                let _ = rx.recv();
            });
        }
    });
    drop(tx);
    assert!(text.starts_with("3 goroutines are left over after 100ms: 3 goroutines in 1 group"), "{text}");
    assert!(text.contains("waiting for a message (receive)"), "{text}");
    for line in [spawned, spawned + 1] {
        assert!(text.contains(&format!("leaks.rs:{line}:")), "line {line} in {text}");
    }
}

#[test]
fn grandchildren_and_relabelled_ones_are_found_and_other_goroutines_are_not() {
    let (tx, rx) = chan::bounded::<()>(0);
    let bystander = rx.clone();
    go!(move || bystander.recv());
    let text = complaint(Check::new(), move || {
        labels!(job = "index" => {
            go!(move || {
                Builder::new().name("grandchild").spawn(move || rx.recv()).unwrap();
            });
        });
    });
    drop(tx);
    assert!(text.starts_with("a goroutine is left over"), "{text}");
    assert!(text.contains("'grandchild'") && text.contains("job=index"), "{text}");
}

#[test]
fn a_newcomer_that_changes_processors_while_they_are_looked_at_is_found() {
    for _ in 0..scaled(200) {
        let (tx, rx) = chan::bounded::<()>(0);
        let text = complaint_within(Duration::from_millis(2), Check::new(), move || {
            go!(move || drop(go!(move || rx.recv())));
        });
        drop(tx);
        // On a slow machine it, or its spawner, may still be about to run.
        assert!(text.contains("left over"), "{text}");
    }
}

#[test]
fn a_set_of_labels_that_the_program_keeps_is_no_leak() {
    let kept = Check::new().patience(Duration::from_secs(60)).run(Labels::current);
    assert!(kept.get("leak_check").is_some());
}

#[test]
fn what_waits_for_a_lock_or_a_context_is_a_leak_too() {
    let lock = Arc::new(sync::Mutex::new(()));
    let held = lock.clone();
    let guard = lock.lock().unwrap();
    let text = complaint(Check::new(), move || {
        let (ctx, cancel) = context::with_cancel(&context::background());
        go!(move || ctx.done().recv());
        std::mem::forget(cancel);
        go!(move || drop(held.lock()));
    });
    drop(guard);
    assert!(text.starts_with("2 goroutines are left over"), "{text}");
}

#[test]
fn what_is_ignored_does_not_count() {
    let (tx, rx) = chan::bounded::<()>(0);
    let check = || Check::new().ignore(|goroutine| goroutine.name() == Some("cache"));
    let cache = rx.clone();
    check().run(move || drop(Builder::new().name("cache").spawn(move || cache.recv())));
    let text = complaint(check(), move || {
        let other = rx.clone();
        let _ = Builder::new().name("cache").spawn(move || rx.recv());
        let _ = Builder::new().name("other").spawn(move || other.recv());
    });
    drop(tx);
    assert!(text.starts_with("a goroutine is left over") && text.contains("'other'"), "{text}");
}

#[test]
fn the_panic_of_the_body_passes_on() {
    let caught = catch_unwind(|| leak::check(|| panic!("of the body")));
    assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "of the body");
}

#[test]
fn a_check_may_run_in_a_goroutine_and_inside_of_another() {
    narrowboat::run(|| {
        leak::check(|| {
            leak::check(|| go!(|| blocking(|| ())));
            go!(yield_now);
        });
    });
}
