//! Handles a goroutine that runs past its stack: writes a report that names it and shows its
//! frames, then ends the process.
//!
//! Called from the signal handler, on an alternate stack, so it neither allocates nor formats in a
//! way that does. What is certain is written first. Walking the frames is riskier, because the
//! unwinder was not made for signal handlers. So it runs on a stack of its own, for a limited time,
//! and a fault or an alarm meanwhile prints the frames found so far and then ends the process, too.

use super::frames::{FRAMES, INNERMOST};
use super::present::{self, Kind, Present};
use crate::sys::signals;
use crate::sys::symbols::Program;
use crate::{arch, clock, sys};
use libc::c_void;
use std::cell::UnsafeCell;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

/// How long the walk may take, in nanoseconds, and after how many seconds an alarm ends the report,
/// whatever it waits for.
const LONGEST_WALK: u64 = 2_000_000_000;
const ALARM: u32 = 10;

/// The kernel thread that writes a report, or 0; how many of the frames it has written.
static WRITER: AtomicI32 = AtomicI32::new(0);
static WRITTEN: AtomicUsize = AtomicUsize::new(0);

/// The stack on which the frames are walked and named. Alternate stacks are small: std's have 8
/// KiB.
#[repr(align(4096))]
struct Reserve(UnsafeCell<[u8; RESERVE_SIZE]>);

const RESERVE_SIZE: usize = 128 << 10;

// SAFETY: only the `WRITER` uses it.
unsafe impl Sync for Reserve {}

static RESERVE: Reserve = Reserve(UnsafeCell::new([0; RESERVE_SIZE]));

/// Ends the process with a report if `address` lies in the guard of the running goroutine's stack;
/// else returns. `context` is what the kernel passed to the handler.
pub(crate) fn report(address: usize, context: *const c_void) {
    let Some(present) = present::overflowed(address) else { return };
    // Acquire and release order nothing that matters here; the exchange only makes one thread the
    // first.
    if WRITER.compare_exchange(0, sys::kernel_thread_id(), Ordering::AcqRel, Ordering::Acquire).is_err() {
        // Another thread ends the process.
        signals::wait_for_the_end();
    }
    // SAFETY: by contract of the handler.
    let (ip, sp) = unsafe { arch::interrupted(context) };
    write_head(&present, sp);
    signals::last_resort(broken_off, ALARM);
    let mut unused = 0;
    // SAFETY: the stack is free, since no other thread writes a report. `write_frames` does not
    // unwind, and nothing switches to the stored stack pointer.
    unsafe {
        let base = RESERVE.0.get().addr() + size_of::<Reserve>();
        arch::call_on(base, write_frames, ip, never, &mut unused);
    }
    std::process::abort();
}

fn write_head(present: &Present, sp: usize) {
    let mut text = Text::new();
    text.add(format_args!("\nfatal: stack overflow "));
    match &present.goroutine {
        Some(goroutine) => text.add(format_args!("in goroutine {}", goroutine.id)),
        None => text.add(format_args!("on a plain thread")),
    }
    if let Some(name) = present.goroutine.as_ref().and_then(|goroutine| goroutine.name) {
        text.add(format_args!(" '{name}'"));
    }
    text.add(format_args!(
        "{}\n",
        match present.kind {
            Kind::Home => "",
            Kind::Segment => ", in a segment of stack::grow",
            Kind::System => ", in stack::on_system_stack",
        }
    ));
    // Each line is written by itself, so that a long name does not cut off what comes after it.
    text.write();
    if let Some(goroutine) = &present.goroutine {
        text.add(format_args!("  spawned at {}\n", goroutine.spawned_at));
    }
    let bounds = present.bounds;
    let remedy = match present.kind {
        Kind::Home => {
            "raise it with NARROWBOAT_MAX_STACK, Config::max_stack or Builder::own_stack, or recurse less \
             (stack::maybe_grow)"
        }
        Kind::Segment => {
            "ask stack::grow for more, or for one more segment on the way down (stack::maybe_grow)"
        }
        Kind::System => "stay on the goroutine's stack, which is larger, or call stack::grow",
    };
    text.add(format_args!("  limit {} bytes; {remedy}\n", bounds.size()));
    text.add(format_args!(
        "  live {} bytes, from {sp:#x} to {:#x}\n",
        bounds.base.saturating_sub(sp),
        bounds.base
    ));
    text.write();
}

/// Walks the frames and writes them, with their names.
///
/// # Safety
/// Called once, by `report`.
unsafe extern "C" fn write_frames(ip: usize) {
    let complete = FRAMES.walk(ip, clock::now() + LONGEST_WALK);
    let program = Program::running();
    let mut text = Text::new();
    text.add(format_args!("  frames, innermost first"));
    if let Some(program) = &program {
        text.add(format_args!("; `addr2line -ife {} ADDRESS` tells the lines", program.path()));
    }
    text.add(format_args!("\n"));
    text.write();
    write_rest(program.as_ref(), complete);
}

/// Writes the frames that have not been written yet.
fn write_rest(program: Option<&Program>, complete: bool) {
    let mut text = Text::new();
    let found = FRAMES.found();
    for index in FRAMES.kept().skip_while(|&index| index < WRITTEN.load(Ordering::Relaxed)) {
        if index > INNERMOST && index == FRAMES.first_outer() {
            text.add(format_args!("        {} frames are left out\n", index - INNERMOST));
        }
        // The address is a return address, except in the innermost frame, and may already belong to
        // the next line or function.
        let address = FRAMES.get(index) - usize::from(index > 0);
        text.add(format_args!("  {index:>4}: "));
        match program.and_then(|program| program.relative(address).map(|relative| (program, relative))) {
            Some((program, relative)) => {
                text.add(format_args!("{relative:#x}"));
                if let Some(name) = program.name(relative) {
                    text.add(format_args!(" {:#}", rustc_demangle::demangle(name)));
                }
            }
            None => text.add(format_args!("{address:#x} (absolute)")),
        }
        text.add(format_args!("\n"));
        // Counted first: if writing a frame faults, it is not tried again.
        WRITTEN.store(index + 1, Ordering::Relaxed);
        text.write();
    }
    if found == 0 {
        text.add(format_args!("        none could be found\n"));
    } else if !complete {
        text.add(format_args!("        and further ones, that were not looked at\n"));
    }
    text.write();
}

/// A fault while the report was written, or its alarm: writes the rest without names.
extern "C" fn broken_off(signal: libc::c_int) {
    if signal != libc::SIGALRM && WRITER.load(Ordering::Acquire) != sys::kernel_thread_id() {
        // A fault of another thread, which does not report.
        signals::wait_for_the_end();
    }
    signals::last_resort(die, 1);
    let mut text = Text::new();
    text.add(format_args!("        (broken off; addresses from here on are absolute)\n"));
    text.write();
    write_rest(None, false);
    std::process::abort();
}

extern "C" fn die(_signal: libc::c_int) {
    std::process::abort();
}

/// The relay of a call that is never left before it ends.
unsafe extern "C" fn never(_: usize) -> usize {
    std::process::abort()
}

/// A message of bounded length, on the stack; what does not fit is cut off.
struct Text {
    bytes: [u8; 1024],
    len: usize,
}

impl Text {
    fn new() -> Text {
        Text { bytes: [0; 1024], len: 0 }
    }

    fn add(&mut self, words: fmt::Arguments<'_>) {
        let _ = self.write_fmt(words);
    }

    /// Writes what has been added to the standard error stream.
    fn write(&mut self) {
        signals::write_to_stderr(&self.bytes[..std::mem::take(&mut self.len)]);
    }
}

impl Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let n = s.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}
