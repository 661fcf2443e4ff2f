//! Stacks are whole at every instruction: what a sampling profiler finds that unwinds in its signal
//! handler.
//!
//! The first test executes goroutines one instruction at a time, with the trap flag of the CPU, and
//! unwinds after each. The second unwinds when a timer says so, as profilers do, on several
//! workers.

use libc::{c_int, c_void, siginfo_t};
use narrowboat::{chan, go, sleep, stack, yield_now};
use narrowboat_testing::{assert_passed, in_child, in_child_with, program, sized};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

// Part of the unwinder that every Rust program is linked with.
unsafe extern "C" {
    fn _Unwind_Backtrace(visit: extern "C" fn(*mut c_void, *mut c_void) -> c_int, data: *mut c_void)
    -> c_int;
    fn _Unwind_GetIP(frame: *mut c_void) -> usize;
    fn _Unwind_GetRegionStart(frame: *mut c_void) -> usize;
    fn _Unwind_FindEnclosingFunction(address: usize) -> usize;
}

const GO_ON: c_int = 0;
const STOP: c_int = 4;
const END_OF_STACK: c_int = 5;
/// No stack here is this deep.
const MOST_FRAMES: usize = 200;

/// What a handler finds on the stack that it has interrupted.
struct Walk {
    /// The address in the frame to begin with, or 0 for the first.
    begin: usize,
    frames: usize,
    /// The start of the outermost function.
    root: usize,
    /// How many frames are of the functions between which the first test switches.
    marked: usize,
    /// Whether the outermost function is declared to be that: the unwinder shows this as a frame at
    /// address 0.
    ended: bool,
}

extern "C" fn visit(frame: *mut c_void, walk: *mut c_void) -> c_int {
    // SAFETY: `walk` passed its own; the unwinder passes a frame.
    let (walk, ip) = unsafe { (&mut *walk.cast::<Walk>(), _Unwind_GetIP(frame)) };
    if ip == 0 {
        walk.ended = true;
        return GO_ON;
    }
    if walk.frames > 0 || walk.begin == 0 || ip == walk.begin {
        walk.frames += 1;
        // SAFETY: as above.
        walk.root = unsafe { _Unwind_GetRegionStart(frame) };
        walk.marked += usize::from(MARKED.iter().any(|marked| marked.load(Relaxed) == walk.root));
    }
    if walk.frames < MOST_FRAMES { GO_ON } else { STOP }
}

/// A set of addresses that a signal handler can add to.
struct Addresses([AtomicUsize; 64]);

impl Addresses {
    const fn new() -> Addresses {
        Addresses([const { AtomicUsize::new(0) }; 64])
    }

    fn add(&self, address: usize) {
        // Those that find no room are no worse than those that are shown.
        let _ = self.0.iter().any(|place| {
            place.load(Relaxed) == address || place.compare_exchange(0, address, Relaxed, Relaxed).is_ok()
        });
    }

    /// The names of the functions that they belong to, and how far into these they are.
    fn names(&self) -> Vec<String> {
        let name = |address: usize| {
            // Both look-ups are made for return addresses, and look at the byte before.
            let address = address + 1;
            let mut name = format!("{address:#x}");
            backtrace::resolve(address as *mut c_void, |symbol| {
                // The last one, if some are inlined into others.
                name = symbol.name().map_or(name.clone(), |function| format!("{function:#}"));
            });
            // SAFETY: a look into the unwind tables.
            let start = unsafe { _Unwind_FindEnclosingFunction(address) };
            format!("{name} + {}", address - 1 - start)
        };
        let found = self.0.iter().map(|place| place.load(Relaxed));
        found.take_while(|address| *address != 0).map(name).collect()
    }
}

/// What the handlers have found.
static WALKS: AtomicUsize = AtomicUsize::new(0);
static ROOTS: Addresses = Addresses::new();
static BROKEN_WALKS: AtomicUsize = AtomicUsize::new(0);
static UNKNOWN: AtomicUsize = AtomicUsize::new(0);
static BROKEN: Addresses = Addresses::new();

/// Walks the calling stack, from the frame at the address `begin` on. `None` if that does not end
/// where it should.
fn walk(begin: usize) -> Option<Walk> {
    let mut walk = Walk { begin, frames: 0, root: 0, marked: 0, ended: false };
    // SAFETY: `visit` gets the address of the walk, and does not unwind.
    let end = unsafe { _Unwind_Backtrace(visit, (&raw mut walk).cast()) };
    (end == END_OF_STACK && walk.ended && walk.frames > 0).then_some(walk)
}

/// Walks the stack that the calling handler has interrupted, and counts what it finds.
fn look(context: *mut c_void, is_right: impl FnOnce(&Walk) -> bool) {
    WALKS.fetch_add(1, Relaxed);
    // SAFETY: the kernel passes the context to the handler.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let interrupted = registers[libc::REG_RIP as usize] as usize;
    match walk(interrupted).filter(is_right) {
        // The jump to the outermost function of an empty stack.
        Some(walk) if walk.frames == 1 => {}
        Some(walk) => ROOTS.add(walk.root),
        // The stubs through which a program calls shared libraries have no unwind tables with some
        // linkers. SAFETY: a look into the unwind tables.
        None if unsafe { _Unwind_FindEnclosingFunction(interrupted + 1) } == 0 => {
            UNKNOWN.fetch_add(1, Relaxed);
        }
        None => {
            BROKEN_WALKS.fetch_add(1, Relaxed);
            BROKEN.add(interrupted);
        }
    }
}

fn handle(signal: c_int, handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void)) {
    // What the unwinder does only once shall not be done in a handler.
    drop(black_box(std::backtrace::Backtrace::force_capture()));
    // SAFETY: the action is fully written before it is used.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigemptyset(&mut action.sa_mask);
        assert_eq!(libc::sigaction(signal, &action, ptr::null_mut()), 0);
    }
}

/// Fails if any walk did not end at the outermost function of a goroutine, of a processor's loop or
/// of a thread.
#[track_caller]
fn all_are_whole(least: usize) {
    let (walks, broken) = (WALKS.load(Relaxed), BROKEN_WALKS.load(Relaxed));
    let roots = ROOTS.names();
    assert!(
        broken == 0,
        "{broken} of {walks} walks are broken; some of the instructions: {:#?}",
        BROKEN.names()
    );
    let unknown = UNKNOWN.load(Relaxed);
    assert!(walks >= least && unknown <= walks / 100, "{walks} walks, {unknown} of them in unknown code");
    for of in ["x86_64::root +", "x86_64::root_carried +"] {
        assert!(roots.iter().any(|root| root.contains(of)), "no walk ends at {of}: {roots:#?}");
    }
    let known = |root: &&String| {
        ["::root +", "::root_carried +", "clone", "_start"].iter().any(|of| root.contains(of))
    };
    assert!(roots.iter().all(|root| known(&root)), "{roots:#?}");
}

// Step by step.

const TRAP: u64 = 1 << 8;

/// Whether every instruction is to be followed by a walk, and until when at most: on a machine that
/// is busy with other things a step takes many times as long.
static STEPPING: AtomicBool = AtomicBool::new(false);
static UNTIL: AtomicI64 = AtomicI64::new(0);
const SECONDS: i64 = 40;
/// Whether a goroutine that runs is in one of the `MARKED` functions, and the outermost function of
/// such a goroutine.
static STRICT: AtomicBool = AtomicBool::new(false);
static MARKED: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
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
    // All on one kernel thread, since a step is a thread's own.
    for pinned in ["0", "1"] {
        let variables = [
            ("NARROWBOAT_WORKERS", "1"),
            ("NARROWBOAT_PROCESSORS", "2"),
            ("NARROWBOAT_PIN", pinned),
            ("NARROWBOAT_STUCK", "0"),
        ];
        let Some(output) = in_child_with("every_instruction_of_a_switch_can_be_unwound", &variables) else {
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

// By a timer.

extern "C" fn on_sample(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: `errno` is this thread's own, and the interrupted code's.
    let errno = unsafe { *libc::__errno_location() };
    look(context, |_| true);
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

fn sample_every(period: Duration) {
    let period = libc::timeval { tv_sec: 0, tv_usec: period.as_micros() as i64 };
    let timer = libc::itimerval { it_interval: period, it_value: period };
    // SAFETY: a valid setting.
    assert_eq!(unsafe { libc::setitimer(libc::ITIMER_PROF, &timer, ptr::null_mut()) }, 0);
}

#[test]
fn a_profiler_that_unwinds_in_its_signal_finds_every_stack_whole() {
    if let Some(output) = in_child("a_profiler_that_unwinds_in_its_signal_finds_every_stack_whole") {
        return assert_passed(&output, 1);
    }
    handle(libc::SIGPROF, on_sample);
    program(|| {
        sample_every(Duration::from_micros(100));
        let start = Instant::now();
        // Samples come as often as the machine likes, mostly with the ticks of its clock.
        while start.elapsed() < Duration::from_secs(2) {
            let sums: Vec<_> = (0..100)
                .map(|_| {
                    let (tx, rx) = chan::bounded(0);
                    go!(move || (0..30).for_each(|n: u32| tx.send(n).unwrap()));
                    go!(move || stack::grow(64 << 10, || rx.iter().sum::<u32>()))
                })
                .collect();
            for sum in sums {
                assert_eq!(sum.join().unwrap(), 435);
            }
        }
        sample_every(Duration::ZERO);
    });
    all_are_whole(20);
}
