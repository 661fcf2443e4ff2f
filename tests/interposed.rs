//! Blocking functions of the C library, called by code that knows nothing of Narrowboat, park.

use narrowboat::{Builder, chan, dump, go};
use narrowboat_testing::{again, ms, number_from_env, program, sized, within, works_in_fork};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Sleeps in `count` goroutines, and says how many were asleep at once at most.
fn most_asleep(count: usize, sleep: fn(Duration)) -> usize {
    program(move || {
        let (asleep, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let sleepers: Vec<_> = (0..count)
            .map(|_| {
                let (asleep, most) = (asleep.clone(), most.clone());
                go!(move || {
                    most.fetch_max(asleep.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let start = Instant::now();
                    sleep(ms(500));
                    assert!(start.elapsed() >= ms(500), "early");
                    asleep.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
        most.load(Ordering::SeqCst)
    })
}

#[test]
fn a_thousand_goroutines_sleep_side_by_side() {
    let count = sized(1000, 200);
    let sleeps: [fn(Duration); 4] = [
        thread::sleep,
        |time| {
            let request = libc::timespec { tv_sec: 0, tv_nsec: time.as_nanos() as i64 };
            // SAFETY: the request can be read.
            assert_eq!(unsafe { libc::nanosleep(&request, ptr::null_mut()) }, 0);
        },
        // SAFETY: no pointers.
        |time| assert_eq!(unsafe { libc::usleep(time.as_micros() as u32) }, 0),
        // SAFETY: no pointers.
        |_| assert_eq!(unsafe { libc::sleep(1) }, 0),
    ];
    for sleep in sleeps {
        let most = most_asleep(count, sleep);
        // Far more than there are processors; all of them, where the machine starts them in time.
        assert!(most > count / 2, "{most} of {count} were asleep at once");
    }
}

/// The names that `define!` is given in the crate's sources.
fn names_defined() -> Vec<String> {
    let (mut folders, mut names) =
        (vec![concat!(env!("CARGO_MANIFEST_DIR"), "/interpose/src").into()], vec![]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir::<std::path::PathBuf>(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.ends_with("clock.rs") && cfg!(not(feature = "sim")) {
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            for block in text.split("\ndefine! {").skip(1) {
                let block = block.split('}').next().unwrap();
                names.extend(block.split('"').skip(1).step_by(2).map(String::from));
            }
        }
    }
    names
}

#[test]
fn every_function_is_the_programs_own_and_not_the_c_librarys() {
    /// The program or library that has an address.
    fn origin(address: *const libc::c_void) -> usize {
        let mut found = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
        // SAFETY: there is room for what is found.
        assert_ne!(unsafe { libc::dladdr(address, found.as_mut_ptr()) }, 0);
        // SAFETY: something was found.
        unsafe { found.assume_init() }.dli_fbase as usize
    }
    let own = origin(names_defined as *const libc::c_void);
    let names = names_defined();
    assert!(names.len() > 80, "{names:?}");
    let foreign: Vec<_> = names
        .iter()
        .filter(|name| {
            let name = std::ffi::CString::new(name.as_str()).unwrap();
            // SAFETY: a C string.
            let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            !address.is_null() && origin(address) != own
        })
        .collect();
    assert!(foreign.is_empty(), "{foreign:?} are not interposed");
}

#[test]
fn turned_off_they_block() {
    if std::env::var_os("NARROWBOAT_INTERPOSE").is_none() {
        return again(
            "turned_off_they_block",
            &[("NARROWBOAT_INTERPOSE", "off"), ("NARROWBOAT_PROCESSORS", "2"), ("NARROWBOAT_APART", "0")],
        );
    }
    assert!(most_asleep(6, thread::sleep) <= 2);
}

/// The locks of std park, so one may be held across a sleep of std.
#[test]
fn a_lock_of_stds_is_held_across_a_sleep_of_stds() {
    let count = sized(200, 50);
    let total = program(move || {
        let total = Arc::new(Mutex::new(0));
        let adders: Vec<_> = (0..count)
            .map(|_| {
                let total = total.clone();
                go!(move || {
                    let mut total = total.lock().unwrap();
                    let before = *total;
                    thread::sleep(Duration::from_micros(200));
                    *total = before + 1;
                })
            })
            .collect();
        adders.into_iter().for_each(|adder| adder.join().unwrap());
        *total.lock().unwrap()
    });
    assert_eq!(total, count);
}

#[test]
fn a_sleep_until_a_time_ends_then_on_either_clock() {
    program(|| {
        for clock in [libc::CLOCK_MONOTONIC, libc::CLOCK_REALTIME] {
            let now = || {
                let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
                // SAFETY: there is room for the time.
                assert_eq!(unsafe { libc::clock_gettime(clock, &mut now) }, 0);
                Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
            };
            let sleep_until = |time: Duration| {
                let until =
                    libc::timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
                // SAFETY: the time can be read.
                unsafe { libc::clock_nanosleep(clock, libc::TIMER_ABSTIME, &until, ptr::null_mut()) }
            };
            let until = now() + ms(30);
            assert_eq!(sleep_until(until), 0);
            assert!(now() >= until);
            // In the past.
            assert_eq!(sleep_until(until - ms(1000)), 0);
        }
    });
}

#[test]
fn what_the_kernel_refuses_is_refused() {
    program(|| {
        for (seconds, nanos) in [(0, 1_000_000_000), (0, -1), (-1, 0)] {
            let request = libc::timespec { tv_sec: seconds, tv_nsec: nanos };
            // SAFETY: the request can be read.
            unsafe {
                let error = libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &request, ptr::null_mut());
                assert_eq!(error, libc::EINVAL);
                assert_eq!(libc::nanosleep(&request, ptr::null_mut()), -1);
                assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINVAL));
            }
        }
        // SAFETY: null is for the kernel to refuse.
        let error = unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, ptr::null(), ptr::null_mut()) };
        assert_eq!(error, libc::EFAULT);
        let request = libc::timespec { tv_sec: 0, tv_nsec: 1 };
        // SAFETY: the request can be read.
        let error = unsafe { libc::clock_nanosleep(-1000, 0, &request, ptr::null_mut()) };
        assert_eq!(error, libc::EINVAL);
    });
}

#[test]
fn threads_are_joined_while_others_go_on() {
    let count = sized(100, 30);
    program(move || {
        let joiners: Vec<_> = (0..count)
            .map(|n| {
                go!(move || {
                    let (tx, rx) = chan::bounded(0);
                    let thread = thread::spawn(move || rx.recv().unwrap());
                    // On the processor of the one that joins, mostly.
                    go!(move || tx.send(n).unwrap());
                    thread.join().unwrap()
                })
            })
            .collect();
        assert!(joiners.into_iter().map(|joiner| joiner.join().unwrap()).eq(0..count));
    });
}

#[test]
fn a_panic_of_a_thread_reaches_the_goroutine_that_joins_it() {
    program(|| {
        let panic = thread::spawn(|| panic!("of a thread")).join().unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"of a thread"));
        let scope =
            std::panic::catch_unwind(|| thread::scope(|scope| drop(scope.spawn(|| panic!("scoped")))));
        assert!(scope.is_err());
    });
}

/// A scope's threads use a local of the goroutine while that sleeps by std: its stack stays in place.
#[test]
fn a_stack_stays_in_place_during_a_sleep() {
    program(|| {
        let lenders: Vec<_> = (0..sized(2000, 200))
            .map(|n| {
                Builder::new()
                    .spawn(move || {
                        let mine = std::hint::black_box([n; 32]);
                        let sum = thread::scope(|scope| {
                            let sum = (n % 50 == 0).then(|| {
                                scope.spawn(|| {
                                    thread::sleep(ms(5));
                                    mine.iter().sum::<usize>()
                                })
                            });
                            thread::sleep(ms(10));
                            sum.map_or(32 * n, |thread| thread.join().unwrap())
                        });
                        assert_eq!(sum, 32 * n);
                    })
                    .unwrap()
            })
            .collect();
        lenders.into_iter().for_each(|lender| lender.join().unwrap());
    });
}

#[test]
fn a_dump_shows_who_called() {
    #[inline(never)]
    fn dozes() {
        thread::sleep(ms(300));
        std::hint::black_box(());
    }
    program(|| {
        let dozing = Builder::new().name("dozing").spawn(dozes).unwrap();
        let text = loop {
            let text = dump().to_string();
            let group = text.split("\n\n").find(|group| group.contains("'dozing'"));
            match group {
                Some(group) if group.contains("a function of the C library") => break group.to_owned(),
                _ => narrowboat::sleep(ms(1)),
            }
        };
        assert!(text.contains("    in      std::thread::") && text.contains("sleep"), "{text}");
        assert!(text.contains("tests/interposed.rs:"), "{text}");
        dozing.join().unwrap();
    });
}

#[test]
fn so_it_is_in_every_mode() {
    if number_from_env("NARROWBOAT_WORKERS").is_some() {
        return;
    }
    for test in ["a_thousand_goroutines_sleep_side_by_side", "threads_are_joined_while_others_go_on"] {
        for workers in ["1", "2", "16"] {
            again(test, &[("NARROWBOAT_WORKERS", workers)]);
        }
        again(test, &[("NARROWBOAT_WORKERS", "2"), ("NARROWBOAT_STACKS", "own")]);
        again(test, &[("NARROWBOAT_WORKERS", "2"), ("NARROWBOAT_PROCESSORS", "1")]);
    }
}

/// Threads that are no goroutines, and a forked child, sleep as ever.
#[test]
fn elsewhere_nothing_changes() {
    within(Duration::from_secs(60), || {
        let start = Instant::now();
        thread::sleep(ms(20));
        thread::spawn(|| thread::sleep(ms(1))).join().unwrap();
        assert!(start.elapsed() >= ms(20));
    });
    program(|| works_in_fork(|| thread::sleep(ms(10))));
}
