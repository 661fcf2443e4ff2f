//! Systems that are meaner than the developer's: limits on memory, processes and stacks, locked memory, child processes.
//!
//! Each runs in a process of its own. What the system does not let the test set up is said on the real stderr, which
//! the test harness does not capture.

use narrowboat_runtime::{Builder, Config, num_goroutines, run, sleep, spawn, stack, yield_now};
use narrowboat_testing::{assert_passed, cpu_time, fork, limit_resource, memory, sized};
use std::fs;
use std::hint::black_box;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::FromRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

#[track_caller]
fn succeeds(output: &Output) {
    assert_passed(output, 1);
    if let Some(skipped) =
        String::from_utf8_lossy(&output.stderr).lines().find(|line| line.starts_with("SKIPPED"))
    {
        let _ = writeln!(std::io::stderr(), "{skipped}");
    }
}

/// What the environment does to stacks is seen where goroutines share them.
fn in_child_with(name: &str, variables: &[(&str, &str)]) -> Option<std::process::Output> {
    let all = [&[("NARROWBOAT_STACKS", "shared")], variables].concat();
    narrowboat_testing::in_child_with(name, &all)
}

fn in_child(name: &str) -> Option<std::process::Output> {
    in_child_with(name, &[])
}

/// Goroutines on all processors, parked at the same time, some deep in their stacks.
fn works() {
    let goroutines: Vec<_> = (0..1000)
        .map(|n| {
            spawn(move || {
                sleep(Duration::from_millis(1));
                let deep = if n % 100 == 0 { dig(20 << 10) } else { 0 };
                n + deep
            })
        })
        .collect();
    assert_eq!(goroutines.into_iter().map(|h| h.join().unwrap()).sum::<usize>(), 499_500);
}

/// Goes down at least so many bytes, parks there, and returns 0.
#[inline(never)]
fn dig(bytes: usize) -> usize {
    let frame = black_box([0u8; 4096]);
    let deeper = if bytes > 4096 { dig(bytes - 4096) } else { (yield_now(), 0).1 };
    deeper + frame[bytes % 4096] as usize
}

/// What strict overcommit (`vm.overcommit_memory=2`) does to slots: bytes count when they are opened, touched or not.
#[test]
fn a_limit_on_data_halves_the_stacks_and_works() {
    let Some(output) = in_child("a_limit_on_data_halves_the_stacks_and_works") else {
        limit_resource(libc::RLIMIT_DATA, 512 << 20);
        return works();
    };
    succeeds(&output);
}

#[test]
fn a_limit_that_not_even_the_smallest_stacks_fit_is_an_error_that_says_so() {
    let Some(output) = in_child("a_limit_that_not_even_the_smallest_stacks_fit_is_an_error_that_says_so")
    else {
        limit_resource(libc::RLIMIT_DATA, 256 << 20);
        // Pinned, there is a processor for each worker.
        let error = Config::new().workers(256).processors(256).stack_slots(16).start().unwrap_err();
        assert!(error.to_string().contains("no address space for goroutine stacks"), "{error}");
        return;
    };
    succeeds(&output);
}

/// The C library reserves 64 MiB of it for each thread that allocates, by default.
#[test]
fn a_limit_on_address_space_leaves_room_for_memory() {
    let name = "a_limit_on_address_space_leaves_room_for_memory";
    let Ok(room) = std::env::var("ROOM") else {
        for room in ["1024", "200"] {
            succeeds(&in_child_with(name, &[("ROOM", room)]).unwrap());
        }
        return;
    };
    limit_resource(libc::RLIMIT_AS, (memory("VmSize") + room.parse::<usize>().unwrap() * MIB) as u64);
    static PARKED: AtomicUsize = AtomicUsize::new(0);
    run(|| {
        // What they take in all fits easily.
        let goroutines = sized(100_000, 20_000);
        for _ in 0..goroutines {
            spawn(|| {
                PARKED.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_secs(1000));
            });
        }
        while PARKED.load(Ordering::Relaxed) < goroutines {
            sleep(Duration::from_millis(1));
        }
    });
    works();
}

/// The waiters need a stack each, and the system has memory for a part of them. The others neither
/// keep the one that ends all waits from starting, nor the processor from resting.
#[test]
fn goroutines_that_find_no_memory_for_a_stack_wait_at_rest_and_hold_up_no_others() {
    let name = "goroutines_that_find_no_memory_for_a_stack_wait_at_rest_and_hold_up_no_others";
    for processors in ["1", "16"] {
        let Some(output) = in_child_with(name, &[("NARROWBOAT_PROCESSORS", processors)]) else {
            limit_resource(libc::RLIMIT_AS, 4 << 30);
            // What hangs ends here.
            // SAFETY: no pointers.
            unsafe { libc::alarm(60) };
            return run(|| {
                let state = Arc::new((Mutex::new(0), Mutex::new(false), Condvar::new()));
                let waiter = |_| {
                    let state = state.clone();
                    spawn(move || {
                        *state.0.lock().unwrap() += 1;
                        drop(state.2.wait_while(state.1.lock().unwrap(), |ended| !*ended).unwrap());
                    })
                };
                let waiters: Vec<_> = (0..3000).map(waiter).collect();
                sleep(Duration::from_secs(1));
                let waiting = *state.0.lock().unwrap();
                assert!(waiting < 3000, "the test is about memory that does not do for all");
                let before = cpu_time();
                sleep(Duration::from_secs(3));
                let spent = cpu_time() - before;
                assert!(spent < Duration::from_secs(1), "{spent:?} at rest, {waiting} wait");
                let end = spawn(move || {
                    *state.1.lock().unwrap() = true;
                    state.2.notify_all();
                });
                end.join().unwrap();
                waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
            });
        };
        succeeds(&output);
    }
}

/// No turn of another goroutine has them try again on a processor that has run nothing since the
/// scavenger last looked at it.
#[test]
fn goroutines_that_find_no_memory_on_a_processor_at_rest_start_once_there_is_some() {
    let name = "goroutines_that_find_no_memory_on_a_processor_at_rest_start_once_there_is_some";
    let Some(output) = in_child_with(name, &[("NARROWBOAT_PROCESSORS", "64")]) else {
        // What hangs ends here.
        // SAFETY: no pointers.
        unsafe { libc::alarm(60) };
        let state = Arc::new((AtomicUsize::new(0), Mutex::new(false), Condvar::new()));
        let waiter = |_| {
            let state = state.clone();
            spawn(move || {
                state.0.fetch_add(1, Ordering::Relaxed);
                drop(state.2.wait_while(state.1.lock().unwrap(), |ended| !*ended).unwrap());
            })
        };
        (0..256).map(|_| spawn(yield_now)).for_each(|handle| handle.join().unwrap());
        // From here on, goroutines of this line have stacks of their own.
        let mut waiters = vec![waiter(0)];
        std::thread::sleep(Duration::from_secs(2));
        let limit = limit_resource(libc::RLIMIT_DATA, (memory("VmData") + 8 * MIB) as u64);
        waiters.extend((0..64).map(waiter));
        std::thread::sleep(Duration::from_secs(2));
        let started = state.0.load(Ordering::Relaxed);
        limit_resource(libc::RLIMIT_DATA, limit);
        assert!(started < 64, "{started} started, the test is about memory that does not do for all");
        *state.1.lock().unwrap() = true;
        state.2.notify_all();
        return waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    };
    succeeds(&output);
}

#[test]
fn segments_give_way_when_memory_is_short() {
    let Some(output) = in_child("segments_give_way_when_memory_is_short") else {
        limit_resource(libc::RLIMIT_AS, 2 << 30);
        // Kept for the next call, and in the way of a larger one.
        let before = memory("VmSize");
        stack::grow(48 * MIB, || ());
        assert!(memory("VmSize") >= before + 48 * MIB);
        let room = (2 << 30) - memory("VmSize");
        stack::grow(room + 24 * MIB, || dig(4096));
        return;
    };
    succeeds(&output);
}

#[test]
fn stacks_are_never_huge_pages() {
    let Some(output) = in_child("stacks_are_never_huge_pages") else {
        let inspect = |what: &'static str| {
            dig(6 * MIB);
            let local = 0u8;
            let address = &raw const local as usize;
            let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
            let mut lines = smaps.lines().skip_while(|line| {
                let bounds = line.split(' ').next().and_then(|range| range.split_once('-'));
                let parse = |text| usize::from_str_radix(text, 16).ok();
                let range = bounds.and_then(|(low, high)| Some(parse(low)?..parse(high)?));
                !range.is_some_and(|range| range.contains(&address))
            });
            let mut value = |name: &str| {
                let line = lines.find(|line| line.starts_with(name)).unwrap();
                line[name.len()..].trim().to_owned()
            };
            let resident: usize = value("Rss:").trim_end_matches(" kB").parse().unwrap();
            assert!(resident >= 6 << 10, "{what}: {resident} KiB");
            assert_eq!(value("AnonHugePages:"), "0 kB", "{what}");
            assert!(value("VmFlags:").split(' ').any(|flag| flag == "nh"), "{what}");
        };
        spawn(move || inspect("a slot")).join().unwrap();
        let own = Builder::new().own_stack(32 * MIB).spawn(move || inspect("an own stack")).unwrap();
        own.join().unwrap();
        spawn(move || stack::grow(32 * MIB, || inspect("a segment"))).join().unwrap();
        return;
    };
    succeeds(&output);
}

#[test]
fn mappings_do_not_grow_with_goroutines() {
    let Some(output) = in_child("mappings_do_not_grow_with_goroutines") else {
        run(|| {
            let goroutines = sized(200_000, 20_000);
            for _ in 0..goroutines {
                spawn(|| sleep(Duration::from_secs(1000)));
            }
            let start = Instant::now();
            while num_goroutines() < goroutines && start.elapsed() < Duration::from_secs(60) {
                yield_now();
            }
            sleep(Duration::from_millis(50));
            let mappings = fs::read_to_string("/proc/self/maps").unwrap().lines().count();
            // The default of vm.max_map_count is 65,530.
            assert!(mappings < 65_530 / 4, "{mappings} mappings");
        });
        return;
    };
    succeeds(&output);
}

#[test]
fn locked_memory_takes_only_the_pages_that_are_used() {
    let name = "locked_memory_takes_only_the_pages_that_are_used";
    let Some(output) = in_child(name) else {
        // SAFETY: no memory is touched by it.
        if unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) } != 0 {
            let error = std::io::Error::last_os_error();
            let _ = writeln!(std::io::stderr(), "SKIPPED: {name}: mlockall: {error}");
            return;
        }
        let before = memory("VmHWM");
        Config::new().processors(2).stack_slots(8).max_stack(64 * MIB).start().unwrap();
        works();
        run(|| assert_eq!(dig(8 * MIB), 0));
        let after = memory("VmHWM");
        assert!(after - before < 200 * MIB, "{before} bytes before, {after} bytes after");
        // What has been touched is locked.
        assert!(memory("VmLck") > 8 * MIB);
        return;
    };
    succeeds(&output);
}

#[test]
fn child_processes_run_and_end_while_goroutines_do() {
    let Some(output) = in_child("child_processes_run_and_end_while_goroutines_do") else {
        run(|| {
            let busy: Vec<_> = (0..200).map(|_| spawn(|| (0..2000).for_each(|_| yield_now()))).collect();
            let children: Vec<_> = (0..sized(24, 12))
                .map(|n| {
                    spawn(move || {
                        let mut command = Command::new("sh");
                        command.args(["-c", "cat; exit 3"]).stdin(std::process::Stdio::piped());
                        command.stdout(std::process::Stdio::piped());
                        if n % 2 == 0 {
                            // SAFETY: between fork and exec it only makes a system call. (With it, std forks and does not
                            // use posix_spawn.)
                            unsafe {
                                command.pre_exec(|| match libc::setpgid(0, 0) {
                                    0 => Ok(()),
                                    _ => Err(std::io::Error::last_os_error()),
                                })
                            };
                        }
                        let mut child = command.spawn().unwrap();
                        writeln!(child.stdin.take().unwrap(), "from goroutine {n}").unwrap();
                        let output = child.wait_with_output().unwrap();
                        assert_eq!(output.status.code(), Some(3));
                        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("from goroutine {n}\n"));
                    })
                })
                .collect();
            // On a segment and on the system stack, too.
            stack::grow(MIB, || assert!(Command::new("true").status().unwrap().success()));
            stack::on_system_stack(|| assert!(!Command::new("false").status().unwrap().success()));
            for handle in busy.into_iter().chain(children) {
                handle.join().unwrap();
            }
        });
        return;
    };
    succeeds(&output);
}

/// A fork without exec has one thread, which carries the goroutine that forked: it may end, and nothing else.
#[test]
fn a_fork_of_a_goroutine_can_leave() {
    let Some(output) = in_child("a_fork_of_a_goroutine_can_leave") else {
        // SAFETY: the child only leaves.
        let (status, text) = run(|| fork(|| unsafe { libc::_exit(7) }));
        assert_eq!(status.code(), Some(7), "{text}");
        return;
    };
    succeeds(&output);
}

#[test]
fn a_stack_of_a_gibibyte_can_be_used() {
    let name = "a_stack_of_a_gibibyte_can_be_used";
    let Some(output) = in_child_with(name, &[("NARROWBOAT_MAX_STACK", "1073741824")]) else {
        let depth = sized(900, 60).min(900) * MIB;
        if stack_of_a_goroutine() < 1 << 30 {
            let _ =
                writeln!(std::io::stderr(), "SKIPPED: {name}: the system refuses that much address space");
            return;
        }
        assert_eq!(spawn(move || dig_without_parking(depth)).join().unwrap(), 0);
        assert_eq!(run(move || dig_without_parking(depth)), 0);
        return;
    };
    succeeds(&output);
}

/// Also if that is what starts the runtime, so that nothing is known of sizes before.
#[test]
fn the_main_goroutine_is_as_deep_as_any_other() {
    let name = "the_main_goroutine_is_as_deep_as_any_other";
    for size in ["1048576", "1073741824"] {
        let Some(output) = in_child_with(name, &[("NARROWBOAT_MAX_STACK", size)]) else {
            let main = run(|| stack::remaining().unwrap());
            let other = stack_of_a_goroutine();
            return assert!(main.abs_diff(other) < 64 << 10, "{main} bytes in main, {other} in others");
        };
        succeeds(&output);
    }
}

fn stack_of_a_goroutine() -> usize {
    spawn(|| stack::remaining().unwrap() + 16384).join().unwrap()
}

#[inline(never)]
fn dig_without_parking(bytes: usize) -> usize {
    let here = stack::remaining().unwrap();
    let frame = black_box([0u8; 4096]);
    let used = here - stack::remaining().unwrap().min(here) + 4096;
    if bytes > used { dig_without_parking(bytes - used) + frame[bytes % 4096] as usize } else { 0 }
}

/// The kernel writes into pages that the program has not touched.
#[test]
fn the_kernel_reads_into_a_large_local() {
    #[inline(never)]
    fn reads_into_a_large_local() {
        const SIZE: usize = 4 * MIB;
        let mut pipe = [0; 2];
        // SAFETY: the descriptors are new and owned by the two files from here on.
        let (mut from, mut to) = unsafe {
            assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
            (fs::File::from_raw_fd(pipe[0]), fs::File::from_raw_fd(pipe[1]))
        };
        let writer = std::thread::spawn(move || to.write_all(&vec![0x5a; SIZE]).unwrap());
        let mut local = MaybeUninit::<[u8; SIZE]>::uninit();
        // SAFETY: the kernel only writes, and what it says it has written is initialised.
        let local = unsafe {
            let mut filled = 0;
            while filled < SIZE {
                let at = local.as_mut_ptr().cast::<u8>().add(filled);
                let n = libc::read(std::os::fd::AsRawFd::as_raw_fd(&from), at.cast(), SIZE - filled);
                assert!(n > 0, "{}", std::io::Error::last_os_error());
                filled += n as usize;
            }
            yield_now();
            local.assume_init_ref()
        };
        assert!(local.iter().all(|&byte| byte == 0x5a));
        writer.join().unwrap();
        assert_eq!(from.read(&mut [0]).unwrap(), 0);
    }
    let Some(output) = in_child("the_kernel_reads_into_a_large_local") else {
        Config::new().stack_slots(1).processors(1).start().unwrap();
        // They take turns on one slot.
        let others: Vec<_> = (0..4).map(|_| spawn(|| (0..100).for_each(|_| yield_now()))).collect();
        spawn(reads_into_a_large_local).join().unwrap();
        let own = Builder::new().own_stack(32 * MIB).spawn(reads_into_a_large_local).unwrap();
        own.join().unwrap();
        spawn(|| stack::grow(32 * MIB, reads_into_a_large_local)).join().unwrap();
        others.into_iter().for_each(|other| other.join().unwrap());
        return;
    };
    succeeds(&output);
}

/// The kernel ties such a child to the thread that has made it: a worker, a worker that stood in
/// for a stuck one, a thread of the pool. The last two end when they have had nothing to do for 5
/// and for 10 seconds.
#[test]
fn children_that_die_with_their_parent_live_as_long_as_the_process() {
    let Some(output) = in_child("children_that_die_with_their_parent_live_as_long_as_the_process") else {
        let start = || {
            let mut command = Command::new("sleep");
            command.arg("600");
            // SAFETY: a plain system call.
            unsafe {
                command.pre_exec(|| {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    Ok(())
                });
            }
            command.spawn().unwrap()
        };
        run(move || {
            let blocked: Vec<_> = (0..12)
                .map(|_| {
                    spawn(move || {
                        let child = start();
                        std::thread::sleep(Duration::from_millis(100));
                        child
                    })
                })
                .collect();
            let mut children: Vec<_> = blocked.into_iter().map(|handle| handle.join().unwrap()).collect();
            children.extend((0..4).map(|_| narrowboat_runtime::blocking(start)));
            sleep(Duration::from_secs(13));
            let ended = children.iter_mut().filter_map(|child| child.try_wait().unwrap()).count();
            for child in &mut children {
                let _ = child.kill();
                let _ = child.wait();
            }
            assert_eq!(ended, 0);
        });
        return;
    };
    succeeds(&output);
}

/// A limit on the stack of the main thread changes the layout of the address space, and the default of C's threads.
#[test]
fn the_limit_on_the_main_threads_stack_does_not_matter() {
    let name = "the_limit_on_the_main_threads_stack_does_not_matter";
    let Some(output) = in_child(name) else {
        let Ok(kind) = std::env::var("STACK_LIMIT") else {
            // The limit counts from the next program on.
            for kind in ["unlimited", "128"] {
                let mut command = Command::new("sh");
                command.args(["-c", "ulimit -s \"$STACK_LIMIT\" && exec \"$0\" \"$@\""]);
                command.arg(std::env::current_exe().unwrap());
                command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env("STACK_LIMIT", kind);
                succeeds(&command.output().unwrap());
            }
            return;
        };
        works();
        assert_eq!(run(|| dig(4 * MIB)), 0);
        assert!(stack::remaining().is_some(), "{kind}");
        assert_eq!(stack::maybe_grow(16 * MIB, 16 * MIB, || dig(4 * MIB)), 0);
        return;
    };
    succeeds(&output);
}

#[test]
fn fewer_threads_than_processors_will_do() {
    let name = "fewer_threads_than_processors_will_do";
    let Some(output) = in_child(name) else {
        // Its superuser is not limited, and another user may have any number of processes. So: a user without any.
        let nobody = 3_000_000_000 + std::process::id();
        // SAFETY: plain system calls.
        if unsafe { libc::setgid(nobody) != 0 || libc::setuid(nobody) != 0 } {
            let error = std::io::Error::last_os_error();
            let _ = writeln!(std::io::stderr(), "SKIPPED: {name}: setuid: {error}");
            return;
        }
        let threads = fs::read_dir("/proc/self/task").unwrap().count() as u64;
        // A lending thread, a worker, the monitor, and two more.
        limit_resource(libc::RLIMIT_NPROC, threads + 5);
        assert!(std::thread::Builder::new().spawn(|| ()).is_ok());
        works();
        assert_eq!(run(|| dig(MIB)), 0);
        return;
    };
    succeeds(&output);
}

#[test]
fn no_threads_at_all_is_an_error_that_says_so() {
    let name = "no_threads_at_all_is_an_error_that_says_so";
    let Some(output) = in_child(name) else {
        let nobody = 3_000_000_000 + std::process::id();
        // SAFETY: plain system calls.
        if unsafe { libc::setgid(nobody) != 0 || libc::setuid(nobody) != 0 } {
            let error = std::io::Error::last_os_error();
            let _ = writeln!(std::io::stderr(), "SKIPPED: {name}: setuid: {error}");
            return;
        }
        limit_resource(libc::RLIMIT_NPROC, 1);
        let error = Config::new().start().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
        return;
    };
    succeeds(&output);
}
