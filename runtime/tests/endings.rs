//! How a process ends, or does not: stack overflows, panics, foreign faults, credentials.

use narrowboat_runtime::{Builder, Config, run, sleep, spawn, stack, yield_now};
use narrowboat_testing::{in_child, in_child_with, limit_resource};
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
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
    let spawned = format!("endings.rs:{line}");
    let text = reported(&output, &["in goroutine", "'digger'", &spawned, "limit 1048576 bytes"]);
    // All of it was live, but for the guard that the last frame stepped into.
    let live: usize = text.split("live ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((1 << 19..(1 << 20) + (64 << 10)).contains(&live), "{text}");
}

/// The process has ended with a report of a stack overflow that says all this and shows the frames.
#[track_caller]
fn reported(output: &Output, parts: &[&str]) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
    for part in
        parts.iter().copied().chain(["fatal: stack overflow", "recurse", "frames are left out", "   0: 0x"])
    {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    text
}

#[test]
fn the_report_of_an_overflow_shows_the_innermost_and_the_outermost_frames() {
    let name = "the_report_of_an_overflow_shows_the_innermost_and_the_outermost_frames";
    #[inline(never)]
    fn begins_to_dig() {
        black_box(recurse(0));
        black_box(());
    }
    let Some(output) = in_child_with(name, &[("NARROWBOAT_MAX_STACK", "1048576")]) else {
        let _ = spawn(begins_to_dig).join();
        return;
    };
    let text = reported(&output, &["endings"]);
    let (inner, outer) = text.split_once("frames are left out").unwrap();
    assert_eq!(inner.lines().filter(|line| line.contains("endings::recurse")).count(), 32, "{text}");
    assert!(outer.contains("begins_to_dig") && outer.contains("root"), "{text}");
    assert_eq!(outer.lines().filter(|line| line.contains("0x")).count(), 16, "{text}");
}

#[test]
fn an_overflow_of_an_own_stack_is_reported_too() {
    let Some(output) = in_child("an_overflow_of_an_own_stack_is_reported_too") else {
        let digger = Builder::new().own_stack(256 << 10).spawn(|| recurse(0)).unwrap();
        black_box(digger.join().ok());
        return;
    };
    reported(&output, &["limit 262144 bytes"]);
}

#[test]
fn an_overflow_of_a_segment_is_reported_as_such() {
    let Some(output) = in_child("an_overflow_of_a_segment_is_reported_as_such") else {
        let digger = Builder::new().name("digger").spawn(|| {
            yield_now();
            stack::grow(1 << 20, || (yield_now(), recurse(0)).1)
        });
        black_box(digger.unwrap().join().ok());
        return;
    };
    // A page more than was asked for.
    reported(&output, &["in goroutine", "'digger', in a segment of stack::grow", "limit 1052672 bytes"]);
}

#[test]
fn an_overflow_of_a_segment_of_a_plain_thread_is_reported_as_such() {
    let name = "an_overflow_of_a_segment_of_a_plain_thread_is_reported_as_such";
    let Some(output) = in_child(name) else {
        // Nothing has started the runtime here.
        let thread = std::thread::spawn(|| stack::grow(1 << 20, || recurse(0)));
        black_box(thread.join().ok());
        return;
    };
    reported(&output, &["on a plain thread, in a segment of stack::grow", "limit 1052672 bytes"]);
}

#[test]
fn an_overflow_of_the_system_stack_is_reported_as_such() {
    let Some(output) = in_child("an_overflow_of_the_system_stack_is_reported_as_such") else {
        let digger = Builder::new().name("digger").spawn(|| stack::on_system_stack(|| recurse(0)));
        black_box(digger.unwrap().join().ok());
        return;
    };
    reported(&output, &["'digger', in stack::on_system_stack"]);
}

#[test]
fn frames_larger_than_the_guard_do_not_get_past_it() {
    #[inline(never)]
    fn recurse(depth: usize) -> usize {
        let frame = black_box([depth as u8; 1 << 20]);
        if depth == usize::MAX { 0 } else { recurse(depth + 1) + frame[depth % (1 << 20)] as usize }
    }
    let name = "frames_larger_than_the_guard_do_not_get_past_it";
    // In a debug build 39 of such frames, and what `black_box` copies.
    let Some(output) = in_child_with(name, &[("NARROWBOAT_MAX_STACK", "134217728")]) else {
        let _ = spawn(|| recurse(0)).join();
        return;
    };
    reported(&output, &["limit 134217728 bytes"]);
}

/// Two at once: one report, not a mixture, and an end.
#[test]
fn overflows_at_the_same_time_end_the_process_once() {
    let Some(output) = in_child("overflows_at_the_same_time_end_the_process_once") else {
        Config::new().workers(4).processors(4).max_stack(1 << 20).start().unwrap();
        run(|| {
            let diggers: Vec<_> = (0..8).map(|_| spawn(|| recurse(0))).collect();
            for digger in diggers {
                black_box(digger.join().ok());
            }
        });
        return;
    };
    let text = reported(&output, &["limit 1048576 bytes"]);
    assert_eq!(text.matches("fatal: ").count(), 1, "{text}");
}

#[test]
fn a_fault_that_is_no_overflow_goes_to_the_former_handler() {
    let Some(output) = in_child("a_fault_that_is_no_overflow_goes_to_the_former_handler") else {
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
fn a_panic_is_printed_once_with_the_goroutine_and_hurts_no_other() {
    let name = "a_panic_is_printed_once_with_the_goroutine_and_hurts_no_other";
    // Printing a backtrace can keep a processor for longer than is told.
    let Some(output) = in_child_with(name, &[("NARROWBOAT_STUCK", "0")]) else {
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
        limit_resource(libc::RLIMIT_AS, 4 << 30);
        let all: Vec<_> = (0..1000).map(|n| spawn(move || (sleep(Duration::from_millis(1)), n).1)).collect();
        assert_eq!(all.into_iter().map(|h| h.join().unwrap()).sum::<i32>(), 499_500);
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The words in front of a panic's message must not panic themselves, which would end the process.
#[test]
fn a_panic_ends_one_goroutine_also_if_nothing_reads_the_standard_error_stream() {
    let name = "a_panic_ends_one_goroutine_also_if_nothing_reads_the_standard_error_stream";
    let unread = || {
        let mut ends = [0; 2];
        // SAFETY: there is room for two descriptors, which then are open and ours alone.
        unsafe {
            assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
            assert_eq!(libc::dup2(ends[1], libc::STDERR_FILENO), libc::STDERR_FILENO);
            assert_eq!(libc::close(ends[0]) + libc::close(ends[1]), 0);
        }
    };
    let Some(output) = in_child(name) else {
        unread();
        assert!(spawn(|| panic!("for none to read")).join().is_err());
        assert_eq!(spawn(|| 7).join().unwrap(), 7);
        return;
    };
    assert!(output.status.success(), "{output:?}");
}
