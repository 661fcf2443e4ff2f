//! A goroutine that keeps its processor: named once per spawn site, with the backtrace of its
//! thread or the system call that it is blocked in.
//!
//! The monitor sees that a worker has not switched for a while, and the processor publishes where
//! the goroutine was spawned. A thread that is blocked in a system call is only looked at: a signal
//! would interrupt its call, and calls on a socket with a time limit are not restarted. A thread
//! that computes is asked for its frames. That takes a signal (SIGURG, which is ignored by
//! default), sent by a [`Question`], which never interrupts a call. The handler leaves its answer
//! in static words:
//!
//! 1. The monitor names the thread and asks: `IDLE` becomes `ASKED`. There is one monitor, and one
//!    question at a time.
//! 2. The handler on that thread turns `ASKED` into `WRITING`, writes, and stores `DONE` (release).
//! 3. The monitor looks at each tick. When it finds `DONE` (acquire), it reads the answer and sets
//!    `IDLE` again. If the answer takes too long, it takes the question back, unless the answer is
//!    being written; then it looks again at the next tick.
//!
//! The frames are walked only if the signal has interrupted the program's own code, not a library:
//! so neither the allocator nor the dynamic linker nor the unwinder itself is interrupted halfway.

use crate::lock::Mutex;
use crate::say::say;
use crate::sched::above::StuckReports;
use crate::sched::processor;
use crate::stack::frames::walk;
use crate::sys::blocked::{self, Kind};
use crate::sys::symbols::Program;
use crate::sys::{Question, signals};
use crate::{arch, sys};
use libc::c_void;
use std::collections::{HashSet, VecDeque};
use std::panic::Location;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{OnceLock, PoisonError};
use std::time::{Duration, Instant};

const IDLE: u32 = 0;
const ASKED: u32 = 1;
const WRITING: u32 = 2;
const DONE: u32 = 3;

/// How many frames and bytes of a name fit an answer.
const FRAMES: usize = 32;
const NAME: usize = 64;
/// How long the monitor waits for the answer. The thread has to get a CPU, and then a tick of the
/// kernel's clock has to find it there.
const PATIENCE: Duration = Duration::from_millis(500);

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
    name: [const { AtomicU8::new(0) }; NAME],
    name_len: AtomicUsize::new(0),
    frames: [const { AtomicUsize::new(0) }; FRAMES],
    found: AtomicUsize::new(0),
};

static PROGRAM: OnceLock<Option<Program>> = OnceLock::new();

/// What the monitor remembers of what it has reported.
#[derive(Default)]
pub(super) struct Reports {
    sites: HashSet<&'static Location<'static>>,
    asked: Option<Asked>,
    /// Whether the signal is ours, once that is known.
    listens: Option<bool>,
}

/// A question under way.
struct Asked {
    site: &'static Location<'static>,
    kept: Duration,
    since: Instant,
    _question: Question,
}

impl StuckReports for Reports {
    fn report(
        &mut self,
        thread: i32,
        blocked: bool,
        site: &'static Location<'static>,
        kept: Duration,
    ) -> bool {
        if self.sites.contains(site) {
            return true;
        }
        if self.asked.is_some() {
            return false;
        }
        self.sites.insert(site);
        if blocked {
            print(&text_of_blocked(thread, site, kept));
        } else if !self.ask(thread, site, kept) {
            print(&text(site, kept, false));
        }
        true
    }

    /// Step 3.
    fn look(&mut self) {
        let Some(asked) = &self.asked else { return };
        let state = &ANSWER.state;
        let answered = state.load(Ordering::Acquire) == DONE;
        if !answered
            && (asked.since.elapsed() < PATIENCE
                || state.compare_exchange(ASKED, IDLE, Ordering::Relaxed, Ordering::Relaxed).is_err())
        {
            return;
        }
        // By the time of the answer another goroutine may have been running there.
        let spawned_at = ANSWER.spawned_at.load(Ordering::Relaxed).cast_const();
        let answered = answered && std::ptr::eq(spawned_at, asked.site);
        print(&text(asked.site, asked.kept, answered));
        state.store(IDLE, Ordering::Relaxed);
        self.asked = None;
    }

    fn is_waiting(&self) -> bool {
        self.asked.is_some()
    }
}

impl Reports {
    /// Step 1. False if there is no way to ask.
    fn ask(&mut self, thread: i32, site: &'static Location<'static>, kept: Duration) -> bool {
        let listens = *self.listens.get_or_insert_with(|| {
            PROGRAM.get_or_init(Program::running);
            signals::listen_for_questions(on_question)
        });
        if !listens {
            return false;
        }
        ANSWER.thread.store(thread, Ordering::Relaxed);
        ANSWER.state.store(ASKED, Ordering::Release);
        let Some(question) = Question::to(thread) else {
            ANSWER.state.store(IDLE, Ordering::Relaxed);
            return false;
        };
        self.asked = Some(Asked { site, kept, since: Instant::now(), _question: question });
        true
    }
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
            walk(ip, &mut |ip| {
                let at = answer.found.load(Ordering::Relaxed);
                answer.frames[at].store(ip, Ordering::Relaxed);
                answer.found.store(at + 1, Ordering::Relaxed);
                at + 1 < FRAMES
            });
        }
    }
    answer.state.store(DONE, Ordering::Release);
}

/// The latest reports, the oldest first.
static REPORTS: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

const MAX_REPORTS: usize = 32;

/// Prints a report, and keeps it.
fn print(text: &str) {
    let text = text.trim_end();
    say(format_args!("{text}"));
    let mut reports = REPORTS.lock().unwrap_or_else(PoisonError::into_inner);
    if reports.len() == MAX_REPORTS {
        reports.pop_front();
    }
    reports.push_back(text.trim_start().into());
}

/// The latest reports, the oldest first.
pub fn reports() -> Vec<String> {
    REPORTS.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

/// The last line of each report.
const ONCE: &str = "(said once for this spawn; NARROWBOAT_STUCK=MS sets the limit, 0 says nothing)";

/// The report about a goroutine that is blocked in the system.
fn text_of_blocked(thread: i32, site: &Location<'_>, kept: Duration) -> String {
    let call = blocked::call_of(thread);
    let instead = match call.map_or(Kind::Other, |call| call.kind) {
        Kind::Socket => {
            "use the sockets of narrowboat::net, or make the call in blocking() or on a std::thread"
        }
        Kind::Lock => {
            "use the channels and locks of Narrowboat and join() of its handles where std's wait, or wait in blocking() or \
             on a std::thread"
        }
        Kind::Time => "use narrowboat::sleep",
        Kind::Descriptors => {
            "use narrowboat::net (fd::Async for descriptors of other kinds), or wait in blocking() or on a std::thread"
        }
        Kind::File => {
            "make the call in blocking() or on a std::thread; for a pipe or a terminal there is narrowboat::net::fd::Async"
        }
        Kind::Other => "make the call in blocking() or on a std::thread",
    };
    let call = match call.map(|call| (call.name, call.number)) {
        Some((Some(name), _)) => format!("the system call {name}"),
        Some((None, number)) => format!("system call {number}"),
        None => "the system".into(),
    };
    format!(
        "\nnarrowboat: a goroutine, spawned at {site}, has kept its processor for {kept:.0?}: it is blocked in {call}\n  the other \
         goroutines there wait meanwhile: {instead}\n  {ONCE}\n"
    )
}

/// The report about a goroutine that computes. `answered` if the answer is about it.
fn text(site: &Location<'_>, kept: Duration, answered: bool) -> String {
    let answer = &ANSWER;
    let name: Vec<u8> = answer.name[..answer.name_len.load(Ordering::Relaxed)]
        .iter()
        .map(|byte| byte.load(Ordering::Relaxed))
        .collect();
    let name = String::from_utf8_lossy(&name);
    let which = match answer.goroutine.load(Ordering::Relaxed) {
        _ if !answered => "a goroutine".into(),
        id if name.is_empty() => format!("goroutine {id}"),
        id => format!("goroutine {id} '{name}'"),
    };
    let mut text = format!(
        "\nnarrowboat: {which}, spawned at {site}, has kept its processor for {kept:.0?}\n  the other \
         goroutines there wait meanwhile: call yield_now() now and then in long computations, and make calls that \
         block in blocking() or on a std::thread\n  {ONCE}\n",
    );
    let found = if answered { answer.found.load(Ordering::Relaxed) } else { 0 };
    let program = PROGRAM.get().and_then(Option::as_ref);
    for (index, frame) in answer.frames[..found].iter().enumerate() {
        // A caller's frame has the return address, which can already belong to the next function.
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
    if let (Some(program), 1..) = (program, found) {
        text += &format!("        `addr2line -ife {} ADDRESS` tells the lines\n", program.path());
    }
    if !answered {
        text += "        it did not say in time where it is, so its frames were not looked at\n";
    } else if found == 0 {
        text += "        it is in a library now, so its frames were not looked at\n";
    }
    text
}
