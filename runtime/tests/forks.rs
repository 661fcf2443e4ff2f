//! Forks without exec, by plain threads and by goroutines: the child has none of the runtime's
//! threads. What needs none works there, and the rest ends with a sentence, at once.

use narrowboat_runtime::{Builder, Config, blocking, park, run, sleep, spawn, stack, yield_now};
use narrowboat_testing::{FORKED, fork, in_child, works_in_fork};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// `f` ends the process with one sentence.
#[track_caller]
fn ends(f: impl FnOnce(), words: &str) {
    let (status, text) = fork(f);
    assert_eq!(status.code(), Some(2), "{status}: {text}");
    assert!(text.contains(FORKED) && text.contains(words), "{text}");
}

/// `f` panics with the sentence.
#[track_caller]
fn panics(f: impl FnOnce()) {
    works_in_fork(|| {
        let panic = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
        let text = panic.downcast_ref::<String>().expect("with a text");
        assert!(text.contains(FORKED), "{text}");
    });
}

#[track_caller]
fn wait(deadline: Option<Instant>) -> park::Outcome {
    let me = park::Waiter::begin(park::Reason::Receive, 0, Location::caller());
    // SAFETY: nothing has been published; only the deadline ends it.
    unsafe { me.park(deadline) }
}

/// What can be tried on a thread and in a goroutine alike.
fn try_everything() {
    works_in_fork(|| ());
    works_in_fork(|| {
        let start = Instant::now();
        sleep(Duration::from_millis(20));
        sleep(Duration::from_millis(20));
        assert!(start.elapsed() >= Duration::from_millis(40));
    });
    works_in_fork(|| {
        let start = Instant::now();
        let deadline = start + Duration::from_millis(20);
        assert_eq!(wait(Some(deadline)), park::Outcome::TIMED_OUT);
        assert!(start.elapsed() >= Duration::from_millis(20));
    });
    works_in_fork(|| (0..3).for_each(|_| yield_now()));
    works_in_fork(|| (0..3).for_each(|_| park::checkpoint()));
    works_in_fork(|| assert_eq!(blocking(|| 5), 5));
    works_in_fork(|| assert!(catch_unwind(|| blocking(|| panic!("over there"))).is_err()));
    works_in_fork(|| assert!(catch_unwind(|| panic!("here")).is_err()));
    works_in_fork(|| assert_eq!(stack::grow(1 << 20, || (sleep(Duration::from_millis(1)), 7).1), 7));
    works_in_fork(|| assert_eq!(stack::on_system_stack(|| 7), 7));
    works_in_fork(|| {
        let thread = std::thread::spawn(|| sleep(Duration::from_millis(1)));
        thread.join().unwrap();
    });
    works_in_fork(|| {
        let (status, text) = fork(|| sleep(Duration::from_millis(1)));
        assert!(status.success(), "{text}");
    });
    works_in_fork(|| assert!(Command::new("true").status().unwrap().success()));
    works_in_fork(|| {
        use std::os::unix::process::CommandExt;
        panic!("{}", Command::new("true").exec());
    });
    works_in_fork(|| {
        let dump = narrowboat_runtime::dump();
        assert_eq!((dump.goroutines().len(), narrowboat_runtime::stats().goroutines()), (0, 0));
    });

    panics(|| drop(spawn(|| ())));
    panics(|| run(|| ()));
    works_in_fork(|| {
        let error = Builder::new().spawn(|| ()).unwrap_err();
        assert!(error.to_string().contains(FORKED), "{error}");
        let error = Config::new().start().unwrap_err();
        assert!(error.to_string().contains(FORKED), "{error}");
        let path = std::env::temp_dir().join("not-written");
        let error = narrowboat_runtime::trace::start(path).unwrap_err();
        assert!(error.to_string().contains(FORKED), "{error}");
    });
    ends(|| assert_eq!(wait(None), park::Outcome::TIMED_OUT), "forks.rs:");
    // SAFETY: a signal to ourselves.
    let (status, text) = fork(|| assert_eq!(unsafe { libc::raise(libc::SIGQUIT) }, 0));
    assert_eq!(status.signal(), Some(libc::SIGQUIT), "{text}");
}

#[test]
fn a_fork_of_a_plain_thread_works_or_says_a_sentence() {
    let Some(output) = in_child("a_fork_of_a_plain_thread_works_or_says_a_sentence") else {
        let parked = spawn(|| assert_eq!(wait(None), park::Outcome::TIMED_OUT));
        run(|| spawn(|| ()).join().unwrap());
        try_everything();
        assert!(!parked.is_finished());
        ends(|| parked.join().unwrap(), "end of a goroutine");
        // The parent is well.
        run(|| spawn(|| sleep(Duration::from_millis(1))).join().unwrap());
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_fork_of_a_goroutine_works_or_says_a_sentence() {
    let Some(output) = in_child("a_fork_of_a_goroutine_works_or_says_a_sentence") else {
        let body = || {
            // Neighbours with work to do, and with deadlines, which must do none of it in the child.
            let parent = std::process::id();
            let stop = Arc::new(AtomicBool::new(false));
            let neighbours: Vec<_> = (0..40)
                .map(|n| {
                    let stop = stop.clone();
                    spawn(move || {
                        while !stop.load(Ordering::Relaxed) {
                            if n % 2 == 0 {
                                yield_now()
                            } else {
                                sleep(Duration::from_millis(1))
                            }
                            assert_eq!(std::process::id(), parent);
                        }
                    })
                })
                .collect();
            try_everything();
            stop.store(true, Ordering::Relaxed);
            neighbours.into_iter().for_each(|handle| handle.join().unwrap());
        };
        run(body);
        spawn(body).join().unwrap();
        // The goroutine ends in the child.
        let (mut reader, writer) = std::io::pipe().unwrap();
        run(move || {
            use std::os::fd::AsRawFd;
            // SAFETY: as in `fork`, but that the child goes on as the goroutine.
            unsafe {
                let child = libc::fork();
                if child == 0 {
                    libc::alarm(60);
                    libc::dup2(writer.as_raw_fd(), 2);
                    return;
                }
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &mut status, 0), child);
                assert_eq!(ExitStatus::from_raw(status).code(), Some(2));
            }
        });
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.contains(FORKED) && text.contains("has ended"), "{text}");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_fork_before_the_first_use_is_a_program_like_any_other() {
    let Some(output) = in_child("a_fork_before_the_first_use_is_a_program_like_any_other") else {
        works_in_fork(|| run(|| spawn(|| sleep(Duration::from_millis(1))).join().unwrap()));
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
