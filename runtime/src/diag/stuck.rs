//! A goroutine that keeps its processor: named once per spawn site, with the backtrace of its thread.
//!
//! The monitor sees that a worker has not switched for a while. Who runs there only the thread itself can tell, so it is sent
//! a signal (SIGURG, which nobody minds), and the handler leaves its answer in static words:
//!
//! 1. The monitor names the thread and asks: `IDLE` becomes `ASKED`. There is one monitor, hence one question at a time.
//! 2. The handler on that thread turns `ASKED` into `WRITING`, writes, and says `DONE` (release).
//! 3. The monitor reads what it finds with `DONE` (acquire), and is `IDLE` again. If the answer takes too long it takes the question back,
//!    unless it is being written; then it waits for that.
//!
//! The frames are walked only if the signal has interrupted the program's own code, not a library: so neither the allocator nor the
//! dynamic linker nor the unwinder itself is in the middle of something.

use super::say;
use crate::sched::processor;
use crate::stack::frames;
use crate::sys::signals;
use crate::sys::symbols::Program;
use crate::{arch, sys};
use libc::c_void;
use std::collections::HashSet;
use std::panic::Location;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const IDLE: u32 = 0;
const ASKED: u32 = 1;
const WRITING: u32 = 2;
const DONE: u32 = 3;

/// Frames and bytes of a name that an answer has room for.
const FRAMES: usize = 32;
const NAME: usize = 64;
/// How often the monitor looks for the answer before it gives up, and how long it sleeps between.
const LOOKS: u32 = 100;
const PAUSE: Duration = Duration::from_micros(50);
/// After so many questions nothing is asked any more, only counted: the program is like that.
const MOST_QUESTIONS: usize = 1000;

struct Answer {
    state: AtomicU32,
    thread: AtomicI32,
    goroutine: AtomicU64,
    spawned_at: AtomicPtr<Location<'static>>,
    name: [AtomicU8; NAME],
    name_len: AtomicUsize,
    frames: [AtomicUsize; FRAMES],
    found: AtomicUsize,
}

static ANSWER: Answer = Answer {
    state: AtomicU32::new(IDLE),
    thread: AtomicI32::new(0),
    goroutine: AtomicU64::new(0),
    spawned_at: AtomicPtr::new(std::ptr::null_mut()),
    name: [const { AtomicU8::new(0) }; _],
    name_len: AtomicUsize::new(0),
    frames: [const { AtomicUsize::new(0) }; _],
    found: AtomicUsize::new(0),
};

static PROGRAM: OnceLock<Option<Program>> = OnceLock::new();

/// What the monitor remembers of what it has reported.
#[derive(Default)]
pub(crate) struct Reports {
    sites: HashSet<&'static Location<'static>>,
    questions: usize,
    /// Whether the signal is ours, once that is known.
    listens: Option<bool>,
}

impl Reports {
    /// The worker with this kernel thread has been with one goroutine for so long. Called by the monitor.
    pub(crate) fn report(&mut self, thread: i32, since: Duration) {
        let listens = *self.listens.get_or_insert_with(|| {
            PROGRAM.get_or_init(Program::running);
            signals::listen_for_questions(on_question)
        });
        self.questions += 1;
        if !listens || self.questions > MOST_QUESTIONS || !ask(thread) {
            return;
        }
        // SAFETY: what a handler stores here is the address of a location, or null.
        if let Some(site) = unsafe { ANSWER.spawned_at.load(Ordering::Relaxed).as_ref() }
            && self.sites.insert(site)
        {
            say(format_args!("{}", text(site, since).trim_end()));
        }
        ANSWER.state.store(IDLE, Ordering::Relaxed);
    }
}

/// Steps 1 and 3: true if there is an answer to be read.
fn ask(thread: i32) -> bool {
    let state = &ANSWER.state;
    ANSWER.thread.store(thread, Ordering::Relaxed);
    state.store(ASKED, Ordering::Release);
    sys::signals::send_question(thread);
    for _ in 0..LOOKS {
        if state.load(Ordering::Acquire) == DONE {
            return true;
        }
        thread::sleep(PAUSE);
    }
    if state.compare_exchange(ASKED, IDLE, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        return false;
    }
    while state.load(Ordering::Acquire) != DONE {
        thread::sleep(PAUSE);
    }
    true
}

/// Step 2. Async-signal-safe.
fn on_question(context: *const c_void) {
    let answer = &ANSWER;
    if answer.thread.load(Ordering::Relaxed) != sys::kernel_thread_id()
        || answer.state.compare_exchange(ASKED, WRITING, Ordering::Acquire, Ordering::Relaxed).is_err()
    {
        return;
    }
    answer.spawned_at.store(std::ptr::null_mut(), Ordering::Relaxed);
    answer.found.store(0, Ordering::Relaxed);
    if let Some(record) = processor::calling_goroutine() {
        // SAFETY: we have interrupted the goroutine, so its record is live, and these fields do not change.
        let record = unsafe { record.as_ref() };
        let name = record.origin.name().map_or(&[][..], |name| name.as_bytes());
        for (to, byte) in answer.name.iter().zip(name) {
            to.store(*byte, Ordering::Relaxed);
        }
        answer.name_len.store(name.len().min(NAME), Ordering::Relaxed);
        answer.goroutine.store(record.id, Ordering::Relaxed);
        answer.spawned_at.store(std::ptr::from_ref(record.origin.spawned_at()).cast_mut(), Ordering::Relaxed);
        // SAFETY: what the kernel passed to the handler.
        let (ip, _) = unsafe { arch::interrupted(context) };
        let program = PROGRAM.get().and_then(Option::as_ref);
        if program.is_some_and(|program| program.relative(ip).is_some()) {
            frames::walk(ip, &mut |ip| {
                let at = answer.found.load(Ordering::Relaxed);
                answer.frames[at].store(ip, Ordering::Relaxed);
                answer.found.store(at + 1, Ordering::Relaxed);
                at + 1 < FRAMES
            });
        }
    }
    answer.state.store(DONE, Ordering::Release);
}

fn text(site: &Location<'_>, since: Duration) -> String {
    let answer = &ANSWER;
    let name: Vec<u8> = answer.name[..answer.name_len.load(Ordering::Relaxed)]
        .iter()
        .map(|byte| byte.load(Ordering::Relaxed))
        .collect();
    let name = String::from_utf8_lossy(&name);
    let quoted = if name.is_empty() { String::new() } else { format!(" '{name}'") };
    let mut text = format!(
        "\nnarrowboat: goroutine {}{quoted}, spawned at {site}, has kept its processor for {since:.0?}\n  the other \
         goroutines there wait meanwhile: call yield_now() now and then in long computations, and make calls that \
         block in blocking() or on a std::thread\n  (said once for this spawn; NARROWBOAT_STUCK=MS sets the limit, 0 says nothing)\n",
        answer.goroutine.load(Ordering::Relaxed),
    );
    let program = PROGRAM.get().and_then(Option::as_ref);
    let found = answer.found.load(Ordering::Relaxed);
    for (index, frame) in answer.frames[..found].iter().enumerate() {
        // Whoever is called has the return address, which may already belong to the next function.
        let address = frame.load(Ordering::Relaxed) - usize::from(index > 0);
        let relative = program.and_then(|program| Some((program, program.relative(address)?)));
        let name = relative.and_then(|(program, relative)| program.name(relative));
        match (relative, name) {
            (Some((_, relative)), Some(name)) => {
                text += &format!("  {index:>4}: {relative:#x} {:#}\n", rustc_demangle::demangle(name));
            }
            (Some((_, relative)), None) => text += &format!("  {index:>4}: {relative:#x}\n"),
            _ => text += &format!("  {index:>4}: {address:#x} (absolute)\n"),
        }
    }
    if found == 0 {
        text += "        it is in a library or in the system now, so its frames were not looked at\n";
    }
    text
}
