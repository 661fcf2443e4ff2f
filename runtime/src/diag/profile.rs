//! A CPU profile: what runs each time a thread has computed for a while.
//!
//! A timer sends a signal to the thread ([`sampling`]). The handler must be right at every
//! instruction: in an allocator, in the loader, in the middle of a switch of stacks. So it neither
//! unwinds nor allocates nor locks. It copies the registers and the innermost part of the stack
//! into a place that is free, and a reader (`unwind.rs` of `narrowboat-debug`) finds the frames
//! later, from the copy. An unwinder in the handler could lock, and could not go through a library
//! without care; and one that follows frame pointers would find nothing, since Rust's std and most
//! libraries are built without them.
//!
//! The stack is copied by the kernel, which checks each address. Whatever the stack pointer is, the
//! handler does not fault.
//!
//! Places are passed on in this way:
//!
//! 1. A handler looks for a place that is `FREE` and makes it `WRITING` (acquire: after the reader
//!    of step 3). If there is none, the sample is counted as lost.
//! 2. It writes, and stores `READY` (release).
//! 3. The reader takes what is `READY` (acquire), and stores `FREE` (release). There is one reader
//!    at a time, under the lock of [`SESSION`].
//!
//! A handler may come when the session has ended, from a signal that was under way. Its sample
//! stays until the next session, which discards it.
//!
//! Which goroutine has computed is known by the processor's `current` one, which is set a little
//! before its stack is entered and reset a little after that has been left. So a stack pointer in
//! the stack of the loop overrules it. Between the two instructions of a switch that set the stack
//! pointer and the thread pointer, the handler finds no processor, or one that runs nothing: then
//! the sample is no goroutine's.

use crate::lock::Mutex;
use crate::sched::processor;
use crate::sched::record::labels::{self, LabelCell};
use crate::sys::sampling::{self, Sampled};
use crate::{Labels, arch, sys};
use libc::c_void;
use std::cell::UnsafeCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// How many samples may wait for the reader. It comes often enough for some thousand a second.
const PLACES: usize = 128;
/// The most bytes of a stack that are copied: frames further out are missing.
const STACK: usize = 32 << 10;

const FREE: u32 = 0;
const WRITING: u32 = 1;
const READY: u32 = 2;

/// The registers of a sample, by their numbers in DWARF.
pub mod registers {
    /// How many there are.
    pub const COUNT: usize = crate::arch::REGISTERS;
    /// The stack pointer.
    pub const STACK_POINTER: usize = crate::arch::STACK_POINTER;
    /// The return address; in the innermost frame, the address of the instruction.
    pub const RETURN_ADDRESS: usize = crate::arch::RETURN_ADDRESS;
    /// The register by which unwind information says where the return address is.
    pub const LINK: usize = crate::arch::LINK;
    /// Those that a function keeps for its caller.
    pub const KEPT: &[usize] = &crate::arch::KEPT_BY_FUNCTIONS;
}

/// One sample: the state of a thread that has computed.
#[derive(Debug)]
pub struct CpuSample {
    /// How many periods it stands for.
    pub periods: u64,
    /// The kernel's id of the thread.
    pub thread: i32,
    /// The goroutine that ran there. `None` for a plain thread, and for the scheduler.
    pub goroutine: Option<Goroutine>,
    /// The registers, by their numbers in DWARF.
    pub registers: [u64; registers::COUNT],
    /// The bytes of the stack, from the stack pointer on.
    pub stack: Vec<u8>,
}

impl CpuSample {
    /// The address of the instruction that was interrupted.
    pub fn instruction(&self) -> u64 {
        self.registers[registers::RETURN_ADDRESS]
    }
}

/// What a sample says of its goroutine.
#[derive(Clone, Debug)]
pub struct Goroutine {
    /// The line that spawned it.
    pub spawned_at: &'static Location<'static>,
    /// Its labels at that moment.
    pub labels: Labels,
}

struct Place {
    state: AtomicU32,
    sample: UnsafeCell<Raw>,
}

// SAFETY: the sample is touched by the one thread that the state says (steps 1 to 3).
unsafe impl Sync for Place {}

// SAFETY: a place in transit belongs to no thread; lines are static, and labels may be shared.
unsafe impl Send for Place {}

struct Raw {
    periods: u32,
    thread: i32,
    /// Null if no goroutine ran.
    spawned_at: *const Location<'static>,
    /// Owned by the sample.
    labels: *const labels::Set,
    registers: [u64; registers::COUNT],
    copied: usize,
    stack: [u8; STACK],
}

/// Made by the first profile, and kept: a handler may come at any time.
static ALL_PLACES: OnceLock<Box<[Place]>> = OnceLock::new();
static LOST: AtomicU64 = AtomicU64::new(0);
/// Held by the sampler at work.
static SESSION: Mutex<bool> = Mutex::new(false);

/// Takes samples, until it is dropped. There is one at a time.
pub struct Sampler {
    period: Duration,
    timers: HashMap<i32, Sampled>,
    /// Samples that found no place.
    pub lost: u64,
}

fn session() -> MutexGuard<'static, bool> {
    SESSION.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sampler {
    /// Begins to take samples, one each time a thread has computed for `period`.
    ///
    /// # Errors
    /// If another one is at work (`AlreadyExists`), or the signal cannot be had.
    pub fn start(period: Duration) -> io::Result<Sampler> {
        let mut at_work = session();
        if *at_work {
            let text = "a profile is being taken: there is one at a time";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        ALL_PLACES.get_or_init(|| {
            let place = || Place {
                state: AtomicU32::new(FREE),
                sample: UnsafeCell::new(Raw {
                    periods: 0,
                    thread: 0,
                    spawned_at: ptr::null(),
                    labels: ptr::null(),
                    registers: [0; registers::COUNT],
                    copied: 0,
                    stack: [0; STACK],
                }),
            };
            std::iter::repeat_with(place).take(PLACES).collect()
        });
        sampling::install(take)?;
        *at_work = true;
        drop(at_work);
        let mut sampler = Sampler { period, timers: HashMap::new(), lost: 0 };
        // What came late in the last session.
        drop(sampler.drain());
        sampler.lost = 0;
        sampler.add_threads();
        Ok(sampler)
    }

    /// The samples since the last call. Also begins to sample threads that have started since. To
    /// be called every 20 ms or so, outside of goroutines.
    pub fn drain(&mut self) -> Vec<CpuSample> {
        let places = ALL_PLACES.get().map_or(&[][..], |places| places);
        let mut samples = Vec::new();
        for place in places {
            // Step 3.
            if place.state.load(Ordering::Acquire) == READY {
                // SAFETY: it is ready, so it is ours.
                samples.push(unsafe { (*place.sample.get()).take() });
                place.state.store(FREE, Ordering::Release);
            }
        }
        self.lost += LOST.swap(0, Ordering::Relaxed);
        samples
    }

    /// Begins to sample threads that have started since the last call.
    pub fn add_threads(&mut self) {
        let threads = sampling::all_threads();
        self.timers.retain(|thread, _| threads.contains(thread));
        for thread in threads {
            if !self.timers.contains_key(&thread)
                && let Some(timer) = Sampled::every(self.period, thread)
            {
                self.timers.insert(thread, timer);
            }
        }
    }

    /// The name of a thread.
    pub fn name_of(thread: i32) -> Option<String> {
        sampling::name_of_thread(thread)
    }
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampler").field("period", &self.period).finish_non_exhaustive()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.timers.clear();
        *session() = false;
    }
}

impl Raw {
    fn take(&mut self) -> CpuSample {
        // SAFETY: the sample owns the labels, and gives them up here, once.
        let labels = unsafe { Labels::from_raw(std::mem::take(&mut self.labels)) };
        // SAFETY: null, or the address of a static location.
        let spawned_at = unsafe { self.spawned_at.as_ref() };
        CpuSample {
            periods: self.periods.into(),
            thread: self.thread,
            goroutine: spawned_at.map(|spawned_at| Goroutine { spawned_at, labels }),
            registers: self.registers,
            stack: self.stack[..self.copied].to_vec(),
        }
    }
}

/// Steps 1 and 2. Async-signal-safe.
fn take(context: *const c_void, periods: u32) {
    let places = ALL_PLACES.get().map_or(&[][..], |places| places);
    let free = places.iter().find(|place| {
        place.state.compare_exchange(FREE, WRITING, Ordering::Acquire, Ordering::Relaxed).is_ok()
    });
    let Some(place) = free else {
        LOST.fetch_add(periods.into(), Ordering::Relaxed);
        return;
    };
    // SAFETY: the place is ours from step 1 on; `context` is what the kernel passed to the handler.
    unsafe {
        let raw = &mut *place.sample.get();
        raw.registers = arch::interrupted_registers(context);
        raw.periods = periods;
        raw.thread = sys::kernel_thread_id();
        let sp = raw.registers[arch::STACK_POINTER] as usize;
        let until = raw.note_goroutine(sp);
        raw.copied = sampling::copy_mapped(sp, until, &mut raw.stack);
    }
    place.state.store(READY, Ordering::Release);
}

impl Raw {
    /// Notes which goroutine runs with this stack pointer. Returns where its stack ends, as far as
    /// that is known.
    fn note_goroutine(&mut self, sp: usize) -> usize {
        (self.spawned_at, self.labels) = (ptr::null(), ptr::null());
        let Some(processor) = processor::current_processor() else { return usize::MAX };
        let in_loop = processor.loop_bounds();
        if in_loop.contain(sp) {
            return in_loop.base;
        }
        // What we have interrupted. Nothing but the labels changes while it runs, and those are
        // made to be read here.
        let Some(goroutine) = processor::calling_goroutine() else { return usize::MAX };
        let origin = &goroutine.origin;
        self.spawned_at = origin.spawned_at();
        self.labels = origin.labels().map_or(ptr::null(), LabelCell::share);
        // A goroutine may also be on another stack, of which nothing is known.
        processor::current_home().filter(|home| home.contain(sp)).map_or(usize::MAX, |home| home.base)
    }
}
