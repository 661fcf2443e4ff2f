//! An unwind after every instruction.

use super::{MARKED, all_are_whole, handle, look, walk};
use libc::{c_int, c_void, siginfo_t};
use narrowboat::{chan, go, sleep, stack, yield_now};
use narrowboat_testing::{assert_passed, in_child_with, program, sized};
use std::hint::black_box;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

const TRAP: u64 = 1 << 8;

/// Whether every instruction is to be followed by a walk, and until when at most: on a machine that
/// is busy with other things a step takes many times as long.
static STEPPING: AtomicBool = AtomicBool::new(false);
static UNTIL: AtomicI64 = AtomicI64::new(0);
const SECONDS: i64 = 40;
/// Whether a goroutine that runs is in one of the [`MARKED`] functions, and the outermost function of
/// such a goroutine.
static STRICT: AtomicBool = AtomicBool::new(false);
static GOROUTINE_ROOT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_step(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: asks the clock.
    if !STEPPING.load(Relaxed) || unsafe { libc::time(ptr::null_mut()) } > UNTIL.load(Relaxed) {
        // SAFETY: the kernel passes the context to the handler, and takes the flags out of it when
        // that returns.
        unsafe {
            (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_EFL as usize] &= !(TRAP as i64);
        }
        return;
    }
    look(context, |walk| {
        // In the middle of a switch the function that switches, which the switch is inlined into,
        // appears twice.
        let wanted = if walk.root == GOROUTINE_ROOT.load(Relaxed) { 1..=2 } else { 0..=0 };
        !STRICT.load(Relaxed) || wanted.contains(&walk.marked)
    });
}

/// Runs `f`, and has the handler called after every instruction that the kernel thread executes
/// meanwhile.
fn step_by_step(f: impl FnOnce()) {
    // SAFETY: asks the clock.
    UNTIL.store(unsafe { libc::time(ptr::null_mut()) } + SECONDS, Relaxed);
    STEPPING.store(true, Relaxed);
    // SAFETY: sets a flag, by way of a word that is taken off the stack again.
    unsafe { std::arch::asm!("pushfq", "or qword ptr [rsp], {}", "popfq", const TRAP) };
    f();
    STEPPING.store(false, Relaxed);
}

/// Two goroutines that switch to each other, in functions that a walk recognises.
fn switches() {
    static INSIDE: AtomicUsize = AtomicUsize::new(0);
    static DONE: AtomicBool = AtomicBool::new(false);

    #[inline(never)]
    extern "C" fn ping() {
        INSIDE.fetch_add(1, Relaxed);
        while INSIDE.load(Relaxed) < 2 {
            yield_now();
        }
        GOROUTINE_ROOT.store(walk(0).expect("a goroutine's stack ends").root, Relaxed);
        STRICT.store(true, Relaxed);
        step_by_step(|| (0..sized(10, 5)).for_each(|_| yield_now()));
        STRICT.store(false, Relaxed);
        DONE.store(true, Relaxed);
    }

    #[inline(never)]
    extern "C" fn pong() {
        INSIDE.fetch_add(1, Relaxed);
        while !DONE.load(Relaxed) {
            yield_now();
        }
    }

    MARKED[0].store(ping as *const () as usize, Relaxed);
    MARKED[1].store(pong as *const () as usize, Relaxed);
    let both = [go!(|| black_box(ping)()), go!(|| black_box(pong)())];
    for goroutine in both {
        goroutine.join().unwrap();
    }
}

/// Everything else that changes stacks.
fn everything() {
    let (there, back) = (chan::bounded(0), chan::bounded(0));
    let (question, answer) = (there.1, back.0);
    let echo = go!(move || question.iter().for_each(|n: u64| answer.send(n).unwrap()));
    for n in 0..sized(4, 2) as u64 {
        there.0.send(n).unwrap();
        assert_eq!(back.1.recv(), Ok(n));
    }
    let handles: Vec<_> = (0..sized(4, 2)).map(|_| go!(|| (yield_now(), 1).1)).collect();
    assert_eq!(handles.into_iter().map(|handle| handle.join().unwrap()).sum::<usize>(), sized(4, 2));
    sleep(Duration::from_millis(1));
    stack::grow(1 << 20, || {
        yield_now();
        stack::grow(1 << 20, || sleep(Duration::from_millis(1)));
        stack::on_system_stack(|| black_box(1));
    });
    // Each goroutine takes its own backtrace: a million instructions without optimisation.
    assert!(cfg!(debug_assertions) || narrowboat::dump().goroutines().len() > 1);
    drop(there.0);
    echo.join().unwrap();
}

#[test]
fn every_instruction_of_a_switch_can_be_unwound() {
    const TEST: &str = "step_by_step::every_instruction_of_a_switch_can_be_unwound";
    // All on one kernel thread, since a step is a thread's own.
    for pinned in ["0", "1"] {
        let variables = [
            ("NARROWBOAT_WORKERS", "1"),
            ("NARROWBOAT_PROCESSORS", "2"),
            ("NARROWBOAT_PIN", pinned),
            ("NARROWBOAT_STUCK", "0"),
        ];
        let Some(output) = in_child_with(TEST, &variables) else {
            return unwind_every_instruction();
        };
        assert_passed(&output, 1);
    }
}

fn unwind_every_instruction() {
    handle(libc::SIGTRAP, on_step);
    program(|| {
        switches();
        // Threads cannot be started step by step, so those that are needed are started before.
        everything();
        step_by_step(everything);
    });
    all_are_whole(10_000);
}
