//! Stacks are whole at every instruction: what a sampling profiler finds that unwinds in its signal
//! handler.
//!
//! `step_by_step` executes goroutines one instruction at a time, with the trap flag of the CPU, and
//! unwinds after each. The test here unwinds when a timer says so, as profilers do, on several
//! workers.

// Other CPUs let user code set no such flag.
#[cfg(target_arch = "x86_64")]
mod step_by_step;

use libc::{c_int, c_void, siginfo_t};
use narrowboat::{chan, go, stack};
use narrowboat_testing::{assert_passed, in_child, program};
use std::ffi::CStr;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
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
            let mut name = library_of(address).unwrap_or(format!("{address:#x}"));
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

/// The functions whose frames are counted.
static MARKED: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// The file that the code at this address is from.
fn library_of(address: usize) -> Option<String> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: there is room for the answer, whose name is a C string if there is one.
    unsafe {
        let found = libc::dladdr(address as *const c_void, info.as_mut_ptr()) != 0;
        let name = info.assume_init().dli_fname;
        (found && !name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
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

/// The address of the instruction at which a handler's signal came.
///
/// # Safety
/// `context` is what the kernel passed to the handler.
unsafe fn interrupted(context: *mut c_void) -> usize {
    // SAFETY: by contract.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext };
    #[cfg(target_arch = "x86_64")]
    let at = registers.gregs[libc::REG_RIP as usize];
    #[cfg(target_arch = "aarch64")]
    let at = registers.pc;
    at as usize
}

/// Walks the stack that the calling handler has interrupted, and counts what it finds.
fn look(context: *mut c_void, is_right: impl FnOnce(&Walk) -> bool) {
    WALKS.fetch_add(1, Relaxed);
    // SAFETY: the kernel passes the context to the handler.
    let interrupted = unsafe { interrupted(context) };
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
    for of in ["root +", "root_carried +"] {
        let of = format!("{}::{of}", std::env::consts::ARCH);
        assert!(roots.iter().any(|root| root.contains(&of)), "no walk ends at {of}: {roots:#?}");
    }
    let known = |root: &&String| {
        ["::root +", "::root_carried +", "clone", "_start", "/libc.so"].iter().any(|of| root.contains(of))
    };
    assert!(roots.iter().all(|root| known(&root)), "{roots:#?}");
}

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
