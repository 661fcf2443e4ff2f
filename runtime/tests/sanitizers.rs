//! Programs for AddressSanitizer and ThreadSanitizer (`.ci/sanitizers.sh`): what goroutines do to
//! stacks by the thousand. Without them they are tests like others.

use narrowboat_runtime::{Builder, JoinHandle, spawn, stack, yield_now};
use std::cell::UnsafeCell;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const GOROUTINES: usize = 2000;

/// Frames with gaps between their variables, suspended at several depths.
#[inline(never)]
fn nest(depth: usize) -> usize {
    let mut local = [depth; 20];
    black_box(&mut local);
    let below = if depth == 0 { 0 } else { nest(depth - 1) };
    yield_now();
    below + black_box(local)[depth % 20]
}

fn join_all<T>(handles: Vec<JoinHandle<T>>) -> Vec<T> {
    handles.into_iter().map(|handle| handle.join().unwrap()).collect()
}

#[test]
fn frames_of_all_depths_are_parked_copied_and_left() {
    let handles = (0..GOROUTINES).map(|i| spawn(move || nest(i % 12))).collect();
    let expected: usize = (0..GOROUTINES).map(|i| (0..=i % 12).sum::<usize>()).sum();
    assert_eq!(join_all(handles).into_iter().sum::<usize>(), expected);
}

#[test]
fn a_mutex_is_held_across_parks() {
    let sum = Arc::new(Mutex::new(Vec::new()));
    let each = |i| {
        let sum = sum.clone();
        spawn(move || {
            let mut held = sum.lock().unwrap();
            held.push(i);
            if i % 8 == 0 {
                yield_now();
            }
        })
    };
    join_all((0..GOROUTINES).map(each).collect());
    assert_eq!(sum.lock().unwrap().len(), GOROUTINES);
}

#[test]
fn stacks_of_their_own_serve_one_after_another() {
    for _ in 0..4 {
        let own = |i: usize| Builder::new().own_stack(128 << 10).spawn(move || nest(i % 12)).unwrap();
        join_all((0..100).map(own).collect());
    }
}

/// Panics below some frames, which do not return.
#[inline(never)]
fn panic_below(depth: usize) {
    let mut local = [depth; 20];
    black_box(&mut local);
    if depth == 0 {
        yield_now();
        std::panic::resume_unwind(Box::new("on purpose"));
    }
    panic_below(depth - 1);
    black_box(local);
}

#[test]
fn panics_leave_nothing_behind() {
    let handles: Vec<_> = (0..GOROUTINES / 4).map(|i| spawn(move || panic_below(i % 12))).collect();
    assert!(handles.into_iter().all(|handle| handle.join().is_err()));
    let caught = |i: usize| {
        spawn(move || {
            assert!(std::panic::catch_unwind(|| panic_below(i % 12)).is_err());
            nest(i % 7)
        })
    };
    join_all((0..GOROUTINES / 4).map(caught).collect());
}

#[test]
fn segments_and_the_system_stack_are_known_too() {
    let each = |i: usize| {
        spawn(move || {
            let inside = stack::grow(64 << 10, || {
                let caught = std::panic::catch_unwind(|| panic_below(i % 12)).is_err();
                (caught, nest(i % 12))
            });
            let system = stack::on_system_stack(|| {
                std::panic::catch_unwind(|| {
                    let mut local = [i; 20];
                    black_box(&mut local);
                    std::panic::resume_unwind(Box::new("on purpose"))
                })
                .is_err()
            });
            inside.0 && system && nest(i % 5) <= 10
        })
    };
    assert!(join_all((0..GOROUTINES / 10).map(each).collect()).into_iter().all(|ok| ok));
}

/// For `.ci/sanitizers.sh`: the sanitizer must end the process here, or it sees nothing.
#[test]
#[ignore = "a use after free"]
fn wrong_use_of_the_heap_is_found() {
    let seen = spawn(|| {
        let freed = Box::into_raw(Box::new(7u64));
        yield_now();
        // SAFETY: of the last line, none: that is what is to be found.
        unsafe {
            drop(Box::from_raw(freed));
            freed.read_volatile()
        }
    });
    println!("{:?}", seen.join().map_err(drop));
}

/// As above.
#[test]
#[ignore = "a read beyond an array"]
fn wrong_use_of_the_stack_is_found() {
    let seen = spawn(|| {
        let array = [7u8; 40];
        let first = black_box(&array).as_ptr();
        // SAFETY: none, as above. The address is one of the goroutine's stack.
        unsafe { first.add(black_box(40)).read_volatile() }
    });
    println!("{:?}", seen.join().map_err(drop));
}

/// As above, for LeakSanitizer, which looks when the process ends. Many, since a pointer that is left
/// anywhere hides one.
#[test]
#[ignore = "a leak"]
fn wrong_end_of_blocks_is_found() {
    let lose = || std::mem::forget(black_box(Box::new([7u8; 24])));
    join_all((0..GOROUTINES).map(|_| spawn(lose)).collect());
}

/// As above, for ThreadSanitizer. The goroutines run at once, and so on two processors: what one
/// processor runs is in order.
#[test]
#[ignore = "a data race"]
fn wrong_order_of_goroutines_is_found() {
    struct Shared {
        cell: UnsafeCell<usize>,
        running: AtomicUsize,
    }
    // SAFETY: none, as above.
    unsafe impl Sync for Shared {}

    // More than once, because it misses some.
    for _ in 0..20 {
        let shared = Arc::new(Shared { cell: UnsafeCell::new(0), running: AtomicUsize::new(0) });
        let writer = |value| {
            let shared = shared.clone();
            spawn(move || {
                // Relaxed, which puts nothing in order.
                shared.running.fetch_add(1, Ordering::Relaxed);
                while shared.running.load(Ordering::Relaxed) < 2 {
                    std::hint::spin_loop();
                }
                // SAFETY: none, as above.
                unsafe { shared.cell.get().write_volatile(value) };
            })
        };
        join_all(vec![writer(1), writer(2)]);
    }
}
