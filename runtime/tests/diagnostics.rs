//! What a program says about itself when it is asked, or when it can never go on: read from real
//! processes.

use narrowboat_runtime::{Builder, dump, park, run, sleep, spawn, stats};
use narrowboat_testing::{eventually, fork, in_child, in_child_with};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::panic::Location;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// Waits for what never happens.
#[track_caller]
fn wait_for_nothing() {
    let me = park::Waiter::begin(park::Reason::Receive, 0, Location::caller());
    // SAFETY: nothing has been published; so it never returns.
    unsafe { me.park(None) };
}

#[track_caller]
fn says(output: &Output, parts: &[&str]) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in parts {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    text
}

#[test]
fn the_figures_count_what_has_happened() {
    let before = stats();
    run(|| {
        let ended: Vec<_> = (0..100).map(|_| spawn(narrowboat_runtime::yield_now)).collect();
        ended.into_iter().for_each(|handle| handle.join().unwrap());
    });
    eventually("101 more have finished", || stats().finished() >= before.finished() + 101);
    let after = stats();
    assert!(after.spawned() >= before.spawned() + 101);
    eventually("a hundred have yielded", || {
        stats().processors.iter().map(|p| p.yields).sum::<usize>() >= 100
    });
    assert!(after.workers.iter().any(|w| w.carried > 0 && w.running > Duration::ZERO));
    assert!(after.to_string().contains("processor 0:") && after.to_string().contains("worker 0:"));
}

#[test]
fn goroutines_are_counted_by_what_they_do() {
    let Some(output) = in_child("goroutines_are_counted_by_what_they_do") else {
        return run(|| {
            (0..20).for_each(|_| drop(spawn(|| sleep(FOR_EVER))));
            // All but the one that asks.
            let sum = |of: fn(&narrowboat_runtime::ProcessorStats) -> usize| {
                stats().processors.iter().map(of).sum::<usize>()
            };
            eventually("20 wait and one runs", || {
                sum(|p| p.waiting) == 20 && sum(|p| p.running) == 1 && sum(|p| p.goroutines) == 21
            });
            assert_eq!(sum(|p| p.unstarted) + sum(|p| p.ready), 0);
            println!("{}", stats().prometheus());
        });
    };
    assert!(output.status.success());
    let page = String::from_utf8_lossy(&output.stdout);
    assert!(page.contains("narrowboat_processor_waiting{processor=\"0\"} "), "{page}");
}

#[test]
fn a_line_of_figures_comes_every_so_often() {
    let name = "a_line_of_figures_comes_every_so_often";
    let Some(output) = in_child_with(name, &[("NARROWBOAT_SCHEDTRACE", "5")]) else {
        return run(|| sleep(Duration::from_millis(200)));
    };
    says(&output, &["narrowboat: goroutines=1 "]);
}

#[test]
fn a_dump_shows_what_each_goroutine_waits_for_and_where() {
    let line = line!() + 3;
    let sleepers: Vec<_> = (0..10)
        .map(|index| {
            Builder::new().name(format!("sleeper {index}")).spawn(|| sleep(Duration::from_secs(2))).unwrap()
        })
        .collect();
    let is_sleeper = |goroutine: &narrowboat_runtime::GoroutineInfo| {
        goroutine.name().is_some_and(|name| name.starts_with("sleeper")) && !goroutine.is_woken()
    };
    eventually("all sleep", || {
        dump().goroutines().iter().filter(|goroutine| is_sleeper(goroutine)).count() == 10
    });
    let dump = dump();
    for goroutine in dump.goroutines().iter().filter(|goroutine| is_sleeper(goroutine)) {
        assert_eq!(goroutine.reason(), park::Reason::Sleep);
        assert_eq!((goroutine.waits_at().line(), goroutine.spawned_at().line()), (line, line));
        assert!((64..64 << 10).contains(&goroutine.stack_bytes()), "{goroutine:?}");
    }
    let text = dump.to_string();
    let group = text.split("\n\n").find(|group| group.contains("'sleeper 0'")).unwrap();
    assert!(group.starts_with("10 goroutines ("), "{text}");
    assert!(group.contains("waiting for a point in time (sleep)"), "{text}");
    assert!(group.contains(&format!("diagnostics.rs:{line}")), "{text}");
    // Its own backtrace.
    assert!(group.contains("diagnostics::a_dump_shows_what_each_goroutine_waits_for"), "{text}");
    sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
}

#[test]
fn a_goroutine_can_ask_for_a_dump() {
    let found = spawn(|| dump().goroutines().iter().any(|g| g.reason() == park::Reason::Inspection)).join();
    assert!(found.unwrap());
}

#[test]
fn dumps_do_not_disturb_goroutines_that_run() {
    let workers: Vec<_> = (0..64)
        .map(|_| {
            spawn(|| {
                let mine = std::hint::black_box([7u8; 300]);
                (0..200).for_each(|_| narrowboat_runtime::yield_now());
                mine.iter().map(|&n| usize::from(n)).sum::<usize>()
            })
        })
        .collect();
    let askers: Vec<_> = (0..3).map(|_| spawn(|| (0..5).for_each(|_| drop(dump().to_string())))).collect();
    askers.into_iter().for_each(|asker| asker.join().unwrap());
    workers.into_iter().for_each(|worker| assert_eq!(worker.join().unwrap(), 2100));
}

/// A goroutine that asks is woken by the last answer, but goes on only if its processor does.
#[test]
fn a_dump_whose_asker_has_no_turn_any_more_makes_room_for_the_next() {
    let name = "a_dump_whose_asker_has_no_turn_any_more_makes_room_for_the_next";
    let one = [("NARROWBOAT_WORKERS", "1"), ("NARROWBOAT_PROCESSORS", "1")];
    let Some(output) = in_child_with(name, &one) else {
        let end = Arc::new(AtomicBool::new(false));
        let (asking, ends) = (end.clone(), end.clone());
        let asker = spawn(move || {
            while !asking.load(Ordering::Relaxed) {
                drop(dump());
            }
        });
        let (tell, told) = std::sync::mpsc::channel();
        let busy = spawn(move || {
            sleep(Duration::from_millis(20));
            tell.send(()).unwrap();
            computes(&ends)
        });
        told.recv().unwrap();
        let dump = dump();
        end.store(true, Ordering::Relaxed);
        assert_eq!(dump.silent_processors(), [0], "{dump}");
        busy.join().unwrap();
        return asker.join().unwrap();
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn when_nothing_can_ever_go_on_the_program_says_so_and_ends() {
    let name = "when_nothing_can_ever_go_on_the_program_says_so_and_ends";
    let Some(output) = in_child(name) else {
        // Not on the thread of the test: the harness waits for that one on a thread that could do
        // anything.
        return alone(|| {
            run(|| Builder::new().name("forgotten").spawn(wait_for_nothing).unwrap().join().unwrap())
        });
    };
    let text =
        says(&output, &["fatal: all goroutines are asleep - deadlock!", "'forgotten'", "'main'", "(join)"]);
    assert_eq!(output.status.code(), Some(2), "{text}");
}

/// Runs `f` in a process whose only other threads are the runtime's: a fork of this one, which then
/// ends as the fork did. Nothing of the runtime has started in this process, and the harness holds
/// no lock that `f` needs: it waits for the thread of this test, which goes on in the fork.
fn alone(f: fn()) {
    let (status, text) = fork(f);
    eprint!("{text}");
    std::process::exit(status.code().expect("no signal ends it"));
}

#[test]
fn a_thread_that_computes_keeps_it_quiet() {
    let Some(output) = in_child("a_thread_that_computes_keeps_it_quiet") else {
        return alone(|| {
            let waiter = spawn(|| sleep(Duration::from_millis(1)));
            let thread = std::thread::spawn(move || {
                let end = Instant::now() + Duration::from_millis(300);
                while Instant::now() < end {
                    std::hint::spin_loop();
                }
            });
            // Parked, with everything else asleep but that thread.
            let late = spawn(wait_for_nothing);
            thread.join().unwrap();
            waiter.join().unwrap();
            drop(late);
            eprintln!("went on");
        });
    };
    let text = says(&output, &["went on"]);
    assert!(!text.contains("fatal"), "{text}");
}

#[test]
fn threads_that_come_and_go_and_wake_others_keep_it_quiet() {
    let Some(output) = in_child("threads_that_come_and_go_and_wake_others_keep_it_quiet") else {
        return alone(|| {
            run(|| {
                for round in 0..60u64 {
                    // Each round comes to rest for as long as the search for a deadlock takes to
                    // begin, with one goroutine that only a plain thread can wake.
                    let pause = Duration::from_millis(8 + round % 9);
                    match round % 4 {
                        0 => narrowboat_runtime::blocking(move || std::thread::sleep(pause)),
                        1 => {
                            let waits = spawn(move || {
                                let inner = spawn(move || sleep(pause));
                                inner.join().unwrap();
                            });
                            waits.join().unwrap();
                        }
                        2 => narrowboat_runtime::scope(|s| {
                            s.spawn(|| narrowboat_runtime::blocking(move || std::thread::sleep(pause)));
                        }),
                        _ => {
                            let (tx, rx) = std::sync::mpsc::channel();
                            let computes = std::thread::spawn(move || {
                                let end = Instant::now() + pause;
                                while Instant::now() < end {
                                    std::hint::spin_loop();
                                }
                                // A plain thread that joins a goroutine, and is joined by one that
                                // blocks its own.
                                spawn(move || tx.send(round)).join().unwrap().unwrap();
                            });
                            assert_eq!(narrowboat_runtime::blocking(move || rx.recv()), Ok(round));
                            narrowboat_runtime::blocking(move || computes.join().unwrap());
                        }
                    }
                }
            });
            eprintln!("went on");
        });
    };
    let text = says(&output, &["went on"]);
    assert!(!text.contains("fatal"), "{text}");
}

/// Nor one that stays for the sake of a child process, whose death would be the end of that.
#[test]
fn threads_of_the_pool_without_work_do_not_keep_it_quiet() {
    let Some(output) = in_child("threads_of_the_pool_without_work_do_not_keep_it_quiet") else {
        return alone(|| {
            // SAFETY: the alarm ends the process if nothing else does.
            unsafe { libc::alarm(60) };
            run(|| {
                narrowboat_runtime::blocking(|| {
                    let mut command = std::process::Command::new("sleep");
                    // SAFETY: a plain system call.
                    unsafe {
                        command.pre_exec(|| {
                            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                            Ok(())
                        });
                    }
                    command.arg("600").stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
                    // It lives on when this returns, and the end of this process is its end.
                    drop(command.stderr(std::process::Stdio::null()).spawn().unwrap());
                });
                narrowboat_runtime::blocking(|| std::thread::sleep(Duration::from_millis(100)));
                wait_for_nothing();
            });
        });
    };
    says(&output, &["fatal: all goroutines are asleep - deadlock!"]);
}

#[test]
fn a_goroutine_that_sleeps_keeps_it_quiet() {
    let Some(output) = in_child("a_goroutine_that_sleeps_keeps_it_quiet") else {
        return alone(|| {
            drop(spawn(wait_for_nothing));
            run(|| sleep(Duration::from_millis(300)));
            eprintln!("went on");
        });
    };
    let text = says(&output, &["went on"]);
    assert!(!text.contains("fatal"), "{text}");
}

#[test]
fn it_can_be_switched_off() {
    let name = "it_can_be_switched_off";
    let Some(output) = in_child_with(name, &[("NARROWBOAT_DEADLOCK", "0")]) else {
        return alone(|| {
            drop(spawn(wait_for_nothing));
            // SAFETY: a child process that is ended a while later by the alarm.
            unsafe { libc::alarm(1) };
            run(wait_for_nothing);
        });
    };
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("fatal"), "{text}");
}

#[test]
fn sigquit_prints_all_goroutines_and_ends_the_program() {
    let Some(output) = in_child("sigquit_prints_all_goroutines_and_ends_the_program") else {
        return run(|| {
            let waiting = Builder::new().name("waiting").spawn(|| sleep(FOR_EVER)).unwrap();
            sleep(Duration::from_millis(100));
            // SAFETY: a signal to ourselves.
            unsafe { libc::kill(libc::getpid(), libc::SIGQUIT) };
            waiting.join().unwrap();
        });
    };
    let text =
        says(&output, &["SIGQUIT: all goroutines", "'waiting'", "(sleep)", "2 goroutines in 2 groups"]);
    assert_eq!(output.status.code(), Some(2), "{text}");
}

/// True some time after the runtime has counted so many goroutines that do not give way, or never
/// does. A plain thread looks, since a goroutine would give way at that call.
fn counted(stuck: usize) -> Arc<AtomicBool> {
    let seen = Arc::new(AtomicBool::new(false));
    let says = seen.clone();
    std::thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(60);
        while stats().stuck < stuck && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        // It counts first, and then asks the goroutine where it is.
        std::thread::sleep(Duration::from_millis(200));
        says.store(true, Ordering::Relaxed);
    });
    seen
}

/// Computes until then.
#[inline(never)]
fn computes(until: &AtomicBool) -> u64 {
    let mut n = 0u64;
    while !until.load(Ordering::Relaxed) {
        (0..1_000_000).for_each(|_| n = std::hint::black_box(n.wrapping_mul(3).wrapping_add(1)));
    }
    n
}

#[test]
fn a_goroutine_that_keeps_its_processor_is_named_once_for_its_spawn() {
    let name = "a_goroutine_that_keeps_its_processor_is_named_once_for_its_spawn";
    let line = line!() + 4;
    let Some(output) = in_child(name) else {
        let busy = |name: &str, n| {
            let until = counted(n);
            Builder::new().name(name).spawn(move || computes(&until)).unwrap()
        };
        busy("busy", 1).join().unwrap();
        busy("busy too", 2).join().unwrap();
        assert!(stats().stuck >= 2);
        return;
    };
    let kept = "has kept its processor for";
    let text = says(
        &output,
        &[&format!("diagnostics.rs:{line}"), kept, "diagnostics::computes", "yield_now()", "blocking()"],
    );
    assert_eq!(text.matches(kept).count(), 1, "{text}");
}

#[test]
fn a_goroutine_that_blocks_its_thread_is_named_too() {
    let line = line!() + 2;
    let Some(output) = in_child("a_goroutine_that_blocks_its_thread_is_named_too") else {
        let blocks = spawn(|| {
            let until = counted(1);
            while !until.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        return blocks.join().unwrap();
    };
    let text =
        says(&output, &["has kept its processor for", &format!("diagnostics.rs:{line}"), "blocked in"]);
    if std::fs::read("/proc/self/syscall").is_ok() {
        says(&output, &["nanosleep", "use narrowboat::sleep"]);
    }
    assert_eq!(text.matches("has kept").count(), 1, "{text}");
}

/// Calls that a handled signal ends early, whatever its action says of restarting: those that wait
/// for a limited time.
#[test]
fn a_report_interrupts_no_system_call() {
    const WAIT: Duration = Duration::from_millis(100);
    fn whole(start: Instant) {
        assert!(start.elapsed() >= WAIT, "{:?}", start.elapsed());
    }
    fn reads() {
        let (mut one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        one.set_read_timeout(Some(WAIT)).unwrap();
        let start = Instant::now();
        let error = one.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        // The kernel counts in ticks.
        assert!(start.elapsed() >= WAIT / 2, "{:?}", start.elapsed());
    }
    fn polls() {
        let start = Instant::now();
        // SAFETY: no descriptors are looked at.
        assert_eq!(unsafe { libc::poll(std::ptr::null_mut(), 0, WAIT.as_millis() as i32) }, 0);
        whole(start);
    }
    fn sleeps() {
        let start = Instant::now();
        let time = libc::timespec { tv_sec: 0, tv_nsec: WAIT.as_nanos() as i64 };
        // SAFETY: the time is read, and nothing else.
        assert_eq!(unsafe { libc::nanosleep(&time, std::ptr::null_mut()) }, 0);
        whole(start);
    }
    /// Most of the time it computes, so it is asked for its frames.
    fn computes_and_polls() {
        let end = Instant::now() + Duration::from_millis(600);
        while Instant::now() < end {
            let pause = Instant::now() + Duration::from_millis(3);
            while Instant::now() < pause {
                std::hint::spin_loop();
            }
            // SAFETY: as above.
            assert_eq!(unsafe { libc::poll(std::ptr::null_mut(), 0, 1) }, 0);
        }
    }
    let name = "a_report_interrupts_no_system_call";
    let Some(output) = in_child(name) else {
        // One after the other, and each from a line of its own: it is reported once for that.
        spawn(reads).join().unwrap();
        spawn(polls).join().unwrap();
        spawn(sleeps).join().unwrap();
        spawn(computes_and_polls).join().unwrap();
        assert!(stats().stuck >= 4);
        return;
    };
    let text = says(&output, &["has kept its processor for"]);
    assert!(output.status.success(), "{text}");
}

/// A wait may be begun and not entered, because what it is for has come. What it was for may be gone by
/// the next yield, so a dump must not look for it.
#[test]
#[cfg(target_os = "linux")]
fn a_goroutine_that_yields_waits_for_nothing() {
    let ends = Arc::new(AtomicBool::new(false));
    let end = ends.clone();
    let spawned = Builder::new().name("yields").spawn(move || {
        let word = 1u32;
        while !end.load(Ordering::Relaxed) {
            let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
            let no_timeout = std::ptr::null::<libc::timespec>();
            // SAFETY: the word is alive.
            let answer = unsafe { libc::syscall(libc::SYS_futex, &raw const word, operation, 2, no_timeout) };
            assert_eq!(answer, -1, "the word is another one");
            narrowboat_runtime::yield_now();
        }
    });
    for _ in 0..100 {
        for goroutine in dump().goroutines().iter().filter(|it| it.name() == Some("yields")) {
            assert_eq!((goroutine.reason(), goroutine.object()), (park::Reason::None, None));
        }
    }
    ends.store(true, Ordering::Relaxed);
    spawned.unwrap().join().unwrap();
}
