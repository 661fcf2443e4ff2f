//! Goroutines on stacks of other libraries: `stacker`, which puts a call on one, and coroutines of
//! `corosensei`.

use corosensei::{Coroutine, CoroutineResult};
use narrowboat::{Builder, JoinHandle, chan, go, sleep, stack, yield_now};
use narrowboat_testing::{again, eventually, program, sized};
use std::cell::Cell;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::os::unix::thread::JoinHandleExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Enough for all that is dug here, without optimisation too.
const OWN: usize = 512 * KIB;

/// Two ways to a foreign stack.
#[derive(Clone, Copy)]
enum By {
    Stacker,
    Corosensei,
}

const BOTH: [By; 2] = [By::Stacker, By::Corosensei];

impl By {
    fn call<T: 'static>(self, f: impl FnOnce() -> T + 'static) -> T {
        match self {
            By::Stacker => stacker::grow(MIB, f),
            By::Corosensei => {
                let mut coroutine = Coroutine::new(move |_, ()| f());
                match coroutine.resume(()) {
                    CoroutineResult::Return(result) => result,
                    CoroutineResult::Yield(()) => unreachable!(),
                }
            }
        }
    }
}

fn on_own_stack<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().own_stack(OWN).spawn(f).unwrap()
}

/// Runs `f` in a goroutine that shares its stack: its line has earned that.
#[track_caller]
fn on_shared_stack<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let mut f = Some(f);
    let mut last = None;
    for n in (0..1100).rev() {
        let f = if n == 0 { f.take() } else { None };
        last = Some(narrowboat::spawn(move || f.map(|f| f())));
        if n > 0 {
            last.take().unwrap().join().unwrap();
        }
    }
    let handle = last.unwrap();
    narrowboat::spawn(move || handle.join().unwrap().unwrap())
}

#[track_caller]
fn refused(f: impl FnOnce()) {
    let caught = catch_unwind(AssertUnwindSafe(f));
    let text = caught.unwrap_err();
    let text = text.downcast_ref::<String>().expect("the panic of a refusal");
    assert!(text.contains("cannot wait on the stack of another library's coroutine"), "{text}");
    assert!(text.contains("Builder::own_stack"), "{text}");
}

/// All ways to wait that the runtime has of its own, and a look at the stack after each.
fn waits(n: u64, gate: &chan::Receiver<u64>) -> u64 {
    let pad = black_box([n; 64]);
    let whole = || assert!(black_box(&pad).iter().all(|&word| word == n));
    let sum = gate.recv().unwrap();
    whole();
    sleep(Duration::from_millis(1));
    whole();
    yield_now();
    whole();
    let joined = go!(move || (yield_now(), n).1).join().unwrap();
    whole();
    let segment = stack::grow(64 * KIB, || (yield_now(), sleep(Duration::from_millis(1)), n).2);
    whole();
    sum + joined + segment
}

/// Goes down so many bytes, calls `f`, and looks whether everything on the way is still there.
#[inline(never)]
fn dig<T>(bytes: usize, f: impl FnOnce() -> T) -> T {
    let pad = black_box([bytes as u8; KIB]);
    let result = if bytes < KIB { f() } else { dig(bytes - KIB, Box::new(f) as Box<dyn FnOnce() -> T>) };
    assert!(black_box(&pad).iter().all(|&byte| byte == bytes as u8));
    result
}

fn goroutines_wait_on_foreign_stacks() {
    for by in BOTH {
        let (tx, rx) = chan::bounded(0);
        let goroutines = sized(100, 20) as u64;
        let handles: Vec<_> = (0..goroutines)
            .map(|n| {
                let rx = rx.clone();
                on_own_stack(move || {
                    // Deep first: what is not in use any more may be taken from the stack.
                    dig(100 * KIB, || ());
                    dig(20 * KIB, || by.call(move || waits(n, &rx)))
                })
            })
            .collect();
        for n in 0..goroutines {
            tx.send(n).unwrap();
            if n % 10 == 0 {
                // Looks at those that wait there, too.
                black_box(narrowboat::dump().to_string());
            }
        }
        let sum: u64 = handles.into_iter().map(|handle| handle.join().unwrap()).sum();
        assert_eq!(sum, 3 * goroutines * (goroutines - 1) / 2);
    }
}

#[test]
fn a_goroutine_whose_stack_never_moves_waits_on_a_foreign_one() {
    program(goroutines_wait_on_foreign_stacks);
}

#[test]
fn so_it_does_in_every_mode() {
    for (variable, value) in [
        ("NARROWBOAT_STRESS", "evict"),
        // Every stack loses at every park what it does not need.
        ("NARROWBOAT_STRESS", "scavenge"),
        ("NARROWBOAT_PIN", "1"),
        ("NARROWBOAT_STACKS", "own"),
    ] {
        again("a_goroutine_whose_stack_never_moves_waits_on_a_foreign_one", &[(variable, value)]);
    }
}

/// Longer than some visits of the scavenger.
#[test]
fn a_stack_that_was_left_in_the_middle_loses_nothing() {
    program(|| {
        let (tx, rx) = chan::bounded(0);
        let goroutine = on_own_stack(move || dig(100 * KIB, || By::Stacker.call(move || rx.recv().unwrap())));
        eventually("it waits", || {
            narrowboat::dump()
                .goroutines()
                .iter()
                .any(|it| it.id() == goroutine.id() && it.stack_bytes() == OWN)
        });
        sleep(Duration::from_millis(2000));
        tx.send(42).unwrap();
        assert_eq!(goroutine.join().unwrap(), 42);
    });
}

#[test]
fn where_few_have_started_none_has_to_ask_for_a_stack() {
    // Under the stress modes the first of a spawn site share, too: they are about copying.
    if std::env::var_os("NARROWBOAT_STRESS").is_some_and(|stress| stress != "0") {
        return;
    }
    program(|| {
        let handles: Vec<_> = (0..400u64)
            .map(|n| {
                let (tx, rx) = chan::bounded(0);
                go!(move || (0..10).for_each(|m| tx.send(m).unwrap()));
                go!(move || stacker::grow(256 * KIB, || rx.iter().sum::<u64>() + n))
            })
            .collect();
        let sum: u64 = handles.into_iter().map(|handle| handle.join().unwrap()).sum();
        assert_eq!(sum, 400 * 45 + 400 * 399 / 2);
    });
}

/// Where each goroutine has a stack of its own nothing is refused.
fn all_have_their_own() -> bool {
    std::env::var_os("NARROWBOAT_STACKS").is_some_and(|stacks| stacks == "own")
}

#[test]
fn waiting_there_is_refused_where_the_goroutines_own_stack_is_shared() {
    if all_have_their_own() {
        return;
    }
    program(|| {
        for by in BOTH {
            let (tx, rx) = chan::bounded(0);
            let body = move || {
                let (_quiet, inside) = chan::bounded::<u64>(0);
                let again = inside.clone();
                by.call(move || {
                    refused(|| assert!(inside.recv().is_err()));
                    refused(|| sleep(Duration::from_millis(1)));
                    let slow = go!(|| sleep(Duration::from_millis(1)));
                    refused(move || drop(slow.join()));
                    // What only gives way does not.
                    yield_now();
                    assert!(inside.try_recv().is_err());
                    // Neither does a segment help.
                    stack::grow(MIB, || refused(|| sleep(Duration::from_millis(1))));
                    assert_eq!(stack::remaining(), None);
                });
                stack::grow(MIB, move || by.call(|| refused(|| sleep(Duration::from_millis(1)))));
                // All is as it was.
                assert!(again.recv_timeout(Duration::from_millis(1)).is_err());
                stack::grow(MIB, yield_now);
                rx.recv().unwrap()
            };
            // Two lines: one of which a goroutine has waited with its stack in place, as by the
            // lock around a panic's message, shares no more.
            let goroutine = match by {
                By::Stacker => on_shared_stack(body),
                By::Corosensei => on_shared_stack(body),
            };
            tx.send(7).unwrap();
            assert_eq!(goroutine.join().unwrap(), 7);
        }
    });
}

/// A coroutine that is suspended inside of `stack::grow`, and goes on inside of another one.
fn suspended_in_a_segment(wait: fn()) -> u64 {
    let inner = Cell::new(0);
    let mut coroutine = Coroutine::new(move |yielder: &corosensei::Yielder<(), ()>, ()| {
        stack::grow(MIB, || {
            wait();
            yielder.suspend(());
            wait();
            7
        })
    });
    assert!(matches!(coroutine.resume(()), CoroutineResult::Yield(())));
    wait();
    let sum = stack::grow(MIB, || {
        wait();
        stack::grow(MIB, || {
            wait();
            let CoroutineResult::Return(n) = coroutine.resume(()) else { unreachable!() };
            wait();
            inner.set(stack::remaining().unwrap());
            n + 1
        })
    });
    assert!(inner.get() > MIB - 64 * KIB);
    wait();
    stack::grow(MIB, wait);
    sum
}

#[test]
fn segments_may_end_in_another_order_than_they_began() {
    fn waits() {
        yield_now();
        sleep(Duration::from_millis(1));
        yield_now();
    }
    assert_eq!(std::thread::spawn(|| suspended_in_a_segment(waits)).join().unwrap(), 8);
    program(|| {
        let handles: Vec<_> = (0..20).map(|_| on_own_stack(|| suspended_in_a_segment(waits))).collect();
        assert!(handles.into_iter().all(|handle| handle.join().unwrap() == 8));
        let handles: Vec<_> = (0..20)
            .map(|_| {
                on_shared_stack(|| {
                    let sum = suspended_in_a_segment(yield_now);
                    waits();
                    sum
                })
            })
            .collect();
        assert!(handles.into_iter().all(|handle| handle.join().unwrap() == 8));
    });
}

fn this_thread() -> libc::pthread_t {
    // SAFETY: a plain query.
    unsafe { libc::pthread_self() }
}

/// What the C library says of the stack of a thread that has not ended: where it begins, and its size.
fn stack_of(thread: libc::pthread_t) -> (usize, usize) {
    let mut attributes = MaybeUninit::uninit();
    let (mut low, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the attributes are initialised by the first call, and destroyed once.
    unsafe {
        assert_eq!(libc::pthread_getattr_np(thread, attributes.as_mut_ptr()), 0);
        assert_eq!(libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut size), 0);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
    (low as usize, size)
}

#[test]
fn the_c_library_knows_the_stack_of_a_goroutine() {
    fn agrees() {
        let near = || stack::remaining().unwrap().abs_diff(stacker::remaining_stack().unwrap());
        assert!(near() < 16 * KIB, "{} bytes apart", near());
        yield_now();
        assert!(near() < 16 * KIB, "{} bytes apart", near());
    }
    program(|| {
        on_own_stack(agrees).join().unwrap();
        on_shared_stack(agrees).join().unwrap();
        let grown = || stack::grow(MIB, agrees);
        on_own_stack(grown).join().unwrap();
        on_shared_stack(grown).join().unwrap();
        // What it says of another thread is right there.
        let (tx, rx) = chan::bounded(0);
        let thread = std::thread::spawn(move || (stack_of(this_thread()), rx.recv().unwrap()).0);
        let asked = on_own_stack({
            let id = thread.as_pthread_t();
            move || (stack_of(id), stack_of(this_thread()))
        });
        let (of_thread, of_goroutine) = asked.join().unwrap();
        tx.send(()).unwrap();
        assert_eq!(thread.join().unwrap(), of_thread);
        assert_eq!(of_goroutine.1, OWN);
        // So a recursion gets another stack when the present one is used up, and not before.
        let calls = |n: usize| {
            fn down(n: usize) -> usize {
                let pad = black_box([1u8; KIB]);
                let grown = stacker::remaining_stack().unwrap() < 64 * KIB;
                let below = if n == 0 { 0 } else { stacker::maybe_grow(64 * KIB, MIB, || down(n - 1)) };
                below + usize::from(grown) * usize::from(pad[n % KIB])
            }
            down(n)
        };
        let in_a_small_one = on_own_stack(move || calls(1000)).join().unwrap();
        assert!((1..60).contains(&in_a_small_one), "{in_a_small_one}");
        if !all_have_their_own() {
            assert_eq!(on_shared_stack(move || calls(600)).join().unwrap(), 0);
        }
    });
}
