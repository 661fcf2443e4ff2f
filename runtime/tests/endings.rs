//! How a process ends, or does not: stack overflows, panics, foreign faults, credentials.

mod common;

use common::{in_child, in_child_with};
use narrowboat_runtime::{Builder, Config, run, sleep, spawn, yield_now};
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

fn recurse(depth: usize) -> usize {
    let frame = black_box([depth as u8; 512]);
    if depth == usize::MAX { 0 } else { recurse(depth + 1) + frame[depth % 512] as usize }
}

#[test]
fn an_overflow_names_the_goroutine_where_it_was_spawned_and_the_limit() {
    let name = "an_overflow_names_the_goroutine_where_it_was_spawned_and_the_limit";
    let line = line!() + 3;
    let Some(output) = in_child_with(name, &[("NARROWBOAT_MAX_STACK", "1048576")]) else {
        run(|| {
            let digger = Builder::new().name("digger").spawn(|| recurse(0)).unwrap();
            black_box(digger.join().ok());
        });
        return;
    };
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
    for part in
        ["stack overflow in goroutine", "'digger'", &format!("endings.rs:{line}"), "limit 1048576 bytes"]
    {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}

#[test]
fn an_overflow_of_an_own_stack_is_reported_too() {
    let Some(output) = in_child("an_overflow_of_an_own_stack_is_reported_too") else {
        let digger = Builder::new().own_stack(256 << 10).spawn(|| recurse(0)).unwrap();
        black_box(digger.join().ok());
        return;
    };
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
    assert!(text.contains("limit 262144 bytes"), "{text}");
}

#[test]
fn a_fault_that_is_no_overflow_goes_to_whoever_had_it_before() {
    let Some(output) = in_child("a_fault_that_is_no_overflow_goes_to_whoever_had_it_before") else {
        let wild = spawn(|| {
            let nowhere = black_box(16usize) as *const u8;
            // SAFETY: none; the fault is the test.
            black_box(unsafe { nowhere.read_volatile() });
        });
        black_box(wild.join().ok());
        return;
    };
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("stack overflow"));
}

#[test]
fn an_overflow_of_a_plain_thread_is_still_reported_by_std() {
    let Some(output) = in_child("an_overflow_of_a_plain_thread_is_still_reported_by_std") else {
        spawn(|| ()).join().unwrap();
        black_box(std::thread::spawn(|| recurse(0)).join().ok());
        return;
    };
    assert_eq!(output.status.signal(), Some(libc::SIGABRT));
    assert!(String::from_utf8_lossy(&output.stderr).contains("has overflowed its stack"));
}

#[test]
fn a_panic_is_printed_once_with_the_goroutine_and_hurts_nobody_else() {
    let name = "a_panic_is_printed_once_with_the_goroutine_and_hurts_nobody_else";
    let Some(output) = in_child(name) else {
        run(|| {
            let others: Vec<_> = (0..100)
                .map(|n| {
                    spawn(move || {
                        for _ in 0..100 {
                            yield_now();
                        }
                        n
                    })
                })
                .collect();
            let bad = Builder::new().name("bad").spawn(|| panic!("said {}", black_box("once"))).unwrap();
            let payload = bad.join().unwrap_err();
            assert_eq!(payload.downcast_ref::<String>().unwrap(), "said once");
            assert_eq!(others.into_iter().map(|h| h.join().unwrap()).sum::<i32>(), 4950);
        });
        return;
    };
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches("said once").count(), 1, "{text}");
    assert!(text.contains("'bad', spawned at "), "{text}");
}

/// glibc makes every thread repeat the call, and waits for each of them.
#[test]
fn credentials_can_be_changed_from_goroutines() {
    let Some(output) = in_child("credentials_can_be_changed_from_goroutines") else {
        Config::new().workers(4).processors(16).start().unwrap();
        run(|| {
            let all: Vec<_> = (0..64)
                .map(|_| {
                    spawn(|| {
                        for _ in 0..20 {
                            // SAFETY: setting the present group again needs no privilege and changes nothing.
                            assert_eq!(unsafe { libc::setgid(libc::getgid()) }, 0);
                            yield_now();
                        }
                    })
                })
                .collect();
            for one in all {
                one.join().unwrap();
            }
        });
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_second_start_and_senseless_variables_are_errors_that_say_what_to_do() {
    let name = "a_second_start_and_senseless_variables_are_errors_that_say_what_to_do";
    let Some(output) = in_child_with(name, &[("NARROWBOAT_WORKERS", "many")]) else {
        let error = Config::new().start().unwrap_err();
        assert!(error.to_string().contains("NARROWBOAT_WORKERS is 'many'"), "{error}");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_small_address_space_halves_the_stacks_and_works() {
    let Some(output) = in_child("a_small_address_space_halves_the_stacks_and_works") else {
        let limit = libc::rlimit { rlim_cur: 4 << 30, rlim_max: 4 << 30 };
        // SAFETY: a valid limit.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
        let all: Vec<_> = (0..1000).map(|n| spawn(move || (sleep(Duration::from_millis(1)), n).1)).collect();
        assert_eq!(all.into_iter().map(|h| h.join().unwrap()).sum::<i32>(), 499_500);
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
