//! `stack`: what is left of it, segments, and calls on the system stack.

use narrowboat_runtime::{Builder, Config, current, run, sleep, spawn, stack, yield_now};
use narrowboat_testing::{in_child, in_child_with};
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Runs `f` on a plain thread, in a goroutine on a shared slot, and in one on a stack of its own.
fn everywhere(f: fn()) {
    std::thread::spawn(f).join().unwrap_or_else(|failure| resume_unwind(failure));
    spawn(f).join().unwrap_or_else(|failure| resume_unwind(failure));
    let own = Builder::new().own_stack(256 * KIB).spawn(f).unwrap();
    own.join().unwrap_or_else(|failure| resume_unwind(failure));
}

/// The address of something in the caller's frame, or near it.
#[inline(never)]
fn here() -> usize {
    let local = 0u8;
    black_box(&raw const local as usize)
}

/// Recurses with a kilobyte or more in each frame, with `f` at the bottom.
#[inline(never)]
fn dig<T>(frames: usize, f: impl FnOnce() -> T) -> T {
    let frame = black_box([frames as u8; KIB]);
    let result = if frames == 0 { f() } else { dig(frames - 1, Box::new(f) as Box<dyn FnOnce() -> T>) };
    assert_eq!(black_box(&frame)[frames % KIB], frames as u8);
    result
}

#[test]
fn what_is_left_shrinks_on_the_way_down() {
    everywhere(|| {
        let above = stack::remaining().unwrap();
        let below = dig(20, || stack::remaining().unwrap());
        assert!((20 * KIB..120 * KIB).contains(&(above - below)), "{above} above, {below} below");
        assert_eq!(stack::remaining().unwrap(), above);
    });
}

#[test]
fn what_is_left_is_the_whole_stack_at_first() {
    let own = Builder::new().own_stack(3 * MIB).spawn(stack::remaining).unwrap().join().unwrap().unwrap();
    assert!((3 * MIB - 16 * KIB..3 * MIB).contains(&own), "{own}");
    let thread = std::thread::Builder::new().stack_size(3 * MIB).spawn(stack::remaining).unwrap();
    let thread = thread.join().unwrap().unwrap();
    assert!((3 * MIB - 64 * KIB..3 * MIB + 64 * KIB).contains(&thread), "{thread}");
    let slot = spawn(stack::remaining).join().unwrap().unwrap();
    assert!(slot >= 64 * KIB, "{slot}");
}

#[test]
fn a_segment_has_what_was_asked_for_and_borrows_from_the_caller() {
    everywhere(|| {
        for size in [1, 4096, 100_000, 3 * MIB + 17, 20 * MIB] {
            let mut seen = Vec::new();
            let inside = stack::grow(size, || {
                seen.push(size);
                stack::remaining().unwrap()
            });
            assert!(inside >= size, "{inside} of {size}");
            assert_eq!(seen, [size]);
        }
    });
}

#[test]
fn a_small_stack_recurses_for_megabytes() {
    fn sum(n: u64) -> u64 {
        stack::maybe_grow(32 * KIB, MIB, || if n == 0 { 0 } else { black_box(n) + sum(n - 1) })
    }
    everywhere(|| {
        let n = if cfg!(debug_assertions) { 50_000 } else { 300_000 };
        assert_eq!(sum(n), n * (n + 1) / 2);
    });
}

#[test]
fn a_loop_at_the_edge_gets_the_same_segment_again() {
    everywhere(|| {
        // Where the first frames are differs by a little.
        let near = |one: usize, other: usize| one.abs_diff(other) < 4096;
        let first = stack::grow(MIB, here);
        for _ in 0..1000 {
            assert!(near(stack::grow(MIB, here), first));
        }
        // Others that are cached as well are not in the way.
        let (outer, inner) = stack::grow(MIB, || (here(), stack::grow(MIB, here)));
        assert!(near(outer, first) && !near(inner, first));
    });
}

#[test]
fn a_goroutine_parks_inside_segments() {
    everywhere(|| {
        let outer = [3u64; 50];
        let sum = stack::grow(MIB, || {
            let middle = [5u64; 50];
            yield_now();
            let inner = stack::grow(MIB, || {
                let inner = black_box([7u64; 50]);
                sleep(Duration::from_millis(1));
                let joined = spawn(|| (yield_now(), 1).1).join().unwrap();
                yield_now();
                inner.iter().chain(&middle).chain(&outer).sum::<u64>() + joined
            });
            yield_now();
            inner + middle[1]
        });
        assert_eq!(sum, 50 * 15 + 6);
    });
}

/// Goes down through segments and frames at random, parks everywhere, and looks at everything again.
fn tortured(dice: &mut u64, below: &RefCell<Vec<(usize, u64)>>, depth: usize) -> u64 {
    *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let roll = *dice >> 33;
    let word = black_box(roll);
    below.borrow_mut().push((&raw const word as usize, roll));
    let check = || {
        for &(address, value) in below.borrow().iter() {
            // SAFETY: the locals of this goroutine's frames, all of which are still there.
            assert_eq!(unsafe { (address as *const u64).read_volatile() }, value);
        }
    };
    let mut sum = word;
    for _ in 0..2 {
        if roll.is_multiple_of(5) {
            sleep(Duration::from_micros(roll % 50));
        } else {
            yield_now();
        }
        check();
        if depth > 0 {
            sum = sum.wrapping_add(if roll.is_multiple_of(3) {
                let result = catch_unwind(AssertUnwindSafe(|| {
                    stack::grow(64 * KIB, || {
                        let sum = tortured(dice, below, depth - 1);
                        yield_now();
                        if sum.is_multiple_of(7) { resume_unwind(Box::new(sum)) } else { sum }
                    })
                }));
                result.unwrap_or_else(|payload| match payload.downcast() {
                    Ok(sum) => *sum,
                    Err(failure) => resume_unwind(failure),
                })
            } else {
                tortured(dice, below, depth - 1)
            });
        }
        check();
    }
    below.borrow_mut().pop();
    sum
}

fn torture() {
    let depth = if cfg!(debug_assertions) { 5 } else { 7 };
    let sums = |seed: u64| (0..200u64).map(move |n| seed + n % 10);
    let handles: Vec<_> =
        sums(1).map(|mut seed| spawn(move || tortured(&mut seed, &RefCell::default(), depth))).collect();
    let results: Vec<_> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
    // What a plain thread computes, which does not share its stack.
    for (mut seed, result) in sums(1).zip(results).take(10) {
        assert_eq!(tortured(&mut seed, &RefCell::default(), depth), result);
    }
}

#[test]
fn segments_and_slots_survive_many_goroutines() {
    let Some(output) = in_child("segments_and_slots_survive_many_goroutines") else {
        Config::new().stack_slots(2).processors(4).start().unwrap();
        return torture();
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn segments_and_slots_survive_eviction_at_every_park() {
    let name = "segments_and_slots_survive_eviction_at_every_park";
    let Some(output) = in_child_with(name, &[("NARROWBOAT_STRESS", "evict")]) else { return torture() };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_panic_in_a_segment_comes_out_at_the_caller() {
    struct Parks<'a>(&'a Cell<u32>);
    impl Drop for Parks<'_> {
        fn drop(&mut self) {
            yield_now();
            self.0.set(self.0.get() + 1);
        }
    }
    everywhere(|| {
        let dropped = Cell::new(0);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _outside = Parks(&dropped);
            stack::grow(MIB, || {
                let _inside = Parks(&dropped);
                stack::grow(MIB, || {
                    let _inner = Parks(&dropped);
                    yield_now();
                    resume_unwind(Box::new("out"));
                });
            });
        }));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"out"));
        assert_eq!(dropped.get(), 3);
        assert!(!std::thread::panicking());
        // The way back was the right one.
        yield_now();
        assert!(stack::grow(MIB, || stack::remaining().unwrap()) >= MIB);
    });
}

#[inline(never)]
fn calls_into_a_segment() -> String {
    black_box(stack::grow(MIB, || {
        yield_now();
        is_in_a_segment()
    }))
}

#[inline(never)]
fn calls_the_system_stack() -> String {
    black_box(stack::on_system_stack(is_in_a_segment))
}

#[inline(never)]
fn is_in_a_segment() -> String {
    black_box(Backtrace::force_capture().to_string())
}

#[test]
fn a_backtrace_goes_on_in_the_caller() {
    everywhere(|| {
        for (caller, trace) in [
            ("calls_into_a_segment", calls_into_a_segment()),
            ("calls_the_system_stack", calls_the_system_stack()),
        ] {
            let inside = trace.find("is_in_a_segment").unwrap_or_else(|| panic!("not in {trace}"));
            let outside = trace.find(caller).unwrap_or_else(|| panic!("the caller is not in {trace}"));
            assert!(inside < outside, "{trace}");
            assert!(trace[outside..].contains("a_backtrace_goes_on_in_the_caller"), "{trace}");
        }
    });
}

#[test]
fn unused_segments_are_given_back() {
    let Some(output) = in_child("unused_segments_are_given_back") else {
        let in_goroutine = spawn(|| stack::grow(MIB, here)).join().unwrap();
        let (ended, on_thread) = std::thread::spawn(|| (stack::grow(MIB, here), here())).join().unwrap();
        let here = stack::grow(MIB, here);
        let mapped = |address: usize| {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            maps.lines().any(|line| {
                let (range, rest) = line.split_once(' ').unwrap();
                let (low, high) = range.split_once('-').unwrap();
                let bound = |text| usize::from_str_radix(text, 16).unwrap();
                rest.starts_with("rw") && (bound(low)..bound(high)).contains(&address)
            })
        };
        black_box((ended, on_thread));
        let start = Instant::now();
        while mapped(in_goroutine) || mapped(here) {
            assert!(start.elapsed() < Duration::from_secs(60), "segments stay mapped");
            std::thread::sleep(Duration::from_millis(5));
        }
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_segment_that_the_system_refuses_is_a_panic_that_says_so() {
    let caught = catch_unwind(|| stack::grow(usize::MAX / 2, || ()));
    let text = caught.unwrap_err().downcast::<String>().unwrap();
    assert!(text.starts_with("cannot grow the stack: "), "{text}");
}

#[test]
fn the_system_stack_is_where_the_c_library_says() {
    everywhere(|| {
        let place = stack::on_system_stack(here);
        // SAFETY: the attributes are initialised by the first call.
        let (low, size) = stack::on_system_stack(|| unsafe {
            let mut attributes = std::mem::zeroed();
            assert_eq!(libc::pthread_getattr_np(libc::pthread_self(), &mut attributes), 0);
            let (mut low, mut size) = (std::ptr::null_mut(), 0);
            assert_eq!(libc::pthread_attr_getstack(&attributes, &mut low, &mut size), 0);
            libc::pthread_attr_destroy(&mut attributes);
            (low as usize, size)
        });
        assert!((low..low + size).contains(&place), "{place:#x} is not in {low:#x}, {size} bytes");
        let left = stack::on_system_stack(|| stack::remaining().unwrap());
        assert!((900 * KIB..size).contains(&left), "{left} of {size}");
        // From a segment, too.
        if current().is_some() {
            assert!((low..low + size).contains(&stack::grow(MIB, || stack::on_system_stack(here))));
        }
    });
}

thread_local! {
    static MARK: RefCell<Option<Rc<str>>> = const { RefCell::new(None) };
}

#[test]
fn a_call_on_the_system_stack_is_the_goroutines_own_code() {
    everywhere(|| {
        let mark: Rc<str> = "mark".into();
        MARK.with_borrow_mut(|there| *there = Some(mark.clone()));
        let id = current().map(|goroutine| goroutine.id());
        let thread = std::thread::current().id();
        let mut borrowed = 0;
        let result = stack::on_system_stack(|| {
            borrowed += 1;
            assert!(MARK.with_borrow(|there| Rc::ptr_eq(there.as_ref().unwrap(), &mark)));
            assert_eq!(current().map(|goroutine| goroutine.id()), id);
            assert_eq!(std::thread::current().id(), thread);
            // Nested calls just run, and segments can be had.
            let nested = stack::on_system_stack(|| stack::grow(MIB, || stack::on_system_stack(here)));
            yield_now();
            (nested != 0).then(|| spawn(|| 7))
        });
        assert_eq!(result.unwrap().join().unwrap(), 7);
        assert_eq!(borrowed, 1);
        yield_now();
    });
}

#[test]
fn a_panic_on_the_system_stack_comes_out_at_the_caller() {
    everywhere(|| {
        let caught = catch_unwind(|| stack::on_system_stack(|| resume_unwind(Box::new("out"))));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"out"));
        yield_now();
    });
}

#[test]
fn waiting_on_the_system_stack_is_refused() {
    fn refused(f: impl FnOnce()) {
        let caught = catch_unwind(AssertUnwindSafe(|| stack::on_system_stack(f)));
        let text = caught.unwrap_err().downcast::<String>().unwrap();
        assert!(text.contains("cannot wait on the system stack"), "{text}");
    }
    let goroutine = || {
        refused(|| sleep(Duration::from_millis(1)));
        let slow = spawn(|| sleep(Duration::from_millis(20)));
        refused(|| drop(slow.join()));
        // Nothing is left behind: it waits as it should afterwards.
        sleep(Duration::from_millis(1));
        assert_eq!(spawn(|| (yield_now(), 5).1).join().unwrap(), 5);
    };
    spawn(goroutine).join().unwrap();
    Builder::new().own_stack(256 * KIB).spawn(goroutine).unwrap().join().unwrap();
    // A plain thread is on it all the time.
    stack::on_system_stack(|| sleep(Duration::from_millis(1)));
}

/// Every goroutine of a processor uses the same stack, and the lending thread handles the signals of `setgid` on it.
#[test]
fn the_system_stack_is_shared_by_turns_and_with_the_c_library() {
    let Some(output) = in_child("the_system_stack_is_shared_by_turns_and_with_the_c_library") else {
        Config::new().workers(4).processors(4).start().unwrap();
        return run(|| {
            let handles: Vec<_> = (0..64u8)
                .map(|n| {
                    spawn(move || {
                        for round in 0..50 {
                            let sum = stack::on_system_stack(|| {
                                dig(50, || {
                                    let bytes = black_box([n; 20_000]);
                                    if round % 10 == 0 {
                                        // SAFETY: sets what is set.
                                        assert_eq!(unsafe { libc::setgid(libc::getgid()) }, 0);
                                    }
                                    bytes.iter().map(|&byte| usize::from(byte)).sum::<usize>()
                                })
                            });
                            assert_eq!(sum, 20_000 * usize::from(n));
                            yield_now();
                        }
                    })
                })
                .collect();
            for handle in handles {
                handle.join().unwrap();
            }
        });
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
