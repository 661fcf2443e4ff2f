//! What is recorded at present, and the helper thread, never a worker, that turns it into files.
//!
//! A trace is drawn in rounds, some milliseconds apart: the faster the rings fill, the more often.
//! Each round appends whole packets to the file, so a process that is killed leaves a valid trace
//! that lacks the last round. The code that ends the trace does the last round: `stop`, on a thread
//! of the pool for calls that block, or the C library's exit handler.
//!
//! `STATE` is held for a round. `ORDERS` is held only briefly, and never while waiting for `STATE`,
//! so that a panic can order the recorder's content from anywhere.

use super::Summary;
use super::clock::{Clock, Look};
use super::picture::Picture;
use super::timeline::Timeline;
use super::turns::{self, Turns};
use crate::diag::deadlock;
use crate::lock::{Mutex, Native};
use crate::say::say;
use crate::sched::fork;
use crate::sched::processor::Processor;
use crate::telemetry::trace::{self as events, Settings};
use crate::{sched, sys};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Condvar, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

/// The time between two rounds.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);
/// How long a panic waits for the recorder's content to be written.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a trace that are kept before they are written.
const CHUNK: usize = 1 << 20;

#[derive(Default)]
struct State {
    writing: Option<Writing>,
    recorder: Option<Recorder>,
    /// How many [`Look`s](Looking) at the next moments are under way.
    looking: usize,
}

static STATE: Mutex<State> = Mutex::new(State { writing: None, recorder: None, looking: 0 });

impl State {
    /// Whether anything has to be recorded.
    fn records(&self) -> bool {
        self.writing.is_some() || self.recorder.is_some() || self.looking > 0
    }
}

/// A trace that is being written to a file.
struct Writing {
    file: Output,
    timeline: Timeline,
    picture: Picture,
    began: Look,
    last: Look,
    /// The program does not call `stop`, so an error is reported when it happens.
    unattended: bool,
}

/// A recording in memory.
struct Recorder {
    began: Look,
}

/// Requests to the helper thread.
#[derive(Default)]
struct Orders {
    helper: bool,
    /// Where the recorder's content goes when the program panics, the first time.
    at_panic: Option<PathBuf>,
    write_recorded: Option<PathBuf>,
    /// The helper is writing it.
    under_way: bool,
    /// Something has begun, so the helper must look at the state again.
    look: bool,
}

static ORDERS: Mutex<Orders> =
    Mutex::new(Orders { helper: false, at_panic: None, write_recorded: None, under_way: false, look: false });
static BELL: Condvar = Condvar::new();
static DONE: Condvar = Condvar::new();
/// The helper's kernel thread: a panic of its own must not wait for it.
static HELPER: AtomicI32 = AtomicI32::new(0);
/// The process that records. A forked child has a copy of all this, but no helper.
static PROCESS: AtomicU32 = AtomicU32::new(0);

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn orders() -> MutexGuard<'static, Orders> {
    ORDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts what the configuration asks for. Called once, when the runtime starts.
pub(crate) fn begin(settings: Settings, workers: usize) -> io::Result<()> {
    // One for the threads that are not workers.
    events::divide(settings.buffers, workers + 1);
    if let Some(path) = settings.recorder {
        start_recorder(Some(path))?;
    }
    settings.trace.map_or(Ok(()), |path| start(&path, true))
}

fn set_on() {
    events::set_on(true);
    // A processor looks once per batch: end the batches that are under way.
    if let Some(runtime) = sched::started() {
        runtime.processors.all().for_each(Processor::end_batch);
    }
}

/// Begins to write a trace.
pub(super) fn start(path: &Path, unattended: bool) -> io::Result<()> {
    fork::check()?;
    let mut state = state();
    if let Some(writing) = &state.writing {
        let path = writing.file.path.display();
        let text =
            format!("a trace is being written to '{path}': end it with narrowboat::trace::stop() first");
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    let file = Output::create(path)?;
    start_helper()?;
    let began = Look::new();
    let timeline = Timeline::from_now();
    let mut writing = Writing { file, timeline, picture: Picture::new(), began, last: began, unattended };
    // At once, so that a file that cannot be written is noticed here.
    writing.save()?;
    state.writing = Some(writing);
    set_on();
    drop(state);
    orders().look = true;
    BELL.notify_one();
    Ok(())
}

/// Ends the trace that is being written.
pub(super) fn stop() -> io::Result<Summary> {
    let mut state = state();
    let Some(mut writing) = state.writing.take() else {
        let text =
            "no trace is being written: begin one with narrowboat::trace::start(), or set NARROWBOAT_TRACE";
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    };
    events::set_on(state.records());
    drop(state);
    writing.round();
    writing.file.finish(&writing.picture)
}

pub(super) fn start_recorder(at_panic: Option<PathBuf>) -> io::Result<()> {
    fork::check()?;
    start_helper()?;
    let mut state = state();
    if state.recorder.is_none() {
        state.recorder = Some(Recorder { began: Look::new() });
        set_on();
    }
    drop(state);
    if at_panic.is_some() {
        orders().at_panic = at_panic;
    }
    Ok(())
}

pub(super) fn stop_recorder() {
    let mut state = state();
    state.recorder = None;
    events::set_on(state.records());
}

pub(in crate::diag) fn recorder_is_on() -> bool {
    state().recorder.is_some()
}

/// Events are kept in memory as by the recorder, until this is dropped.
#[derive(Debug)]
#[doc(hidden)]
pub struct Looking(());

impl Looking {
    /// Begins.
    pub fn begin() -> Looking {
        let mut state = state();
        state.looking += 1;
        set_on();
        Looking(())
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        let mut state = state();
        state.looking -= 1;
        events::set_on(state.records());
    }
}

/// The turns of the last moments, as far as events have been recorded.
pub(in crate::diag) fn latest_turns(length: Duration) -> Vec<Turns> {
    let now = Look::new();
    // Two looks make a clock, and they should not be too close to each other.
    thread::sleep(LONGEST);
    let clock = Clock::between(now, Look::new());
    let since = now.ticks().saturating_sub(clock.ticks_of(length));
    let items = Timeline::of_the_past().take(since, now.ticks());
    turns::turns(&items, &clock, clock.nanos(since), length)
}

/// Writes what the rings hold.
pub(super) fn write_recorded(path: &Path) -> io::Result<Summary> {
    let Some(began) = state().recorder.as_ref().map(|recorder| recorder.began) else {
        let text = "nothing has been recorded: call narrowboat::trace::start_recorder() early, or set \
                    NARROWBOAT_FLIGHT_RECORDER";
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    };
    let mut file = Output::create(path)?;
    let now = Look::new();
    let items = Timeline::of_the_past().take(began.ticks(), now.ticks());
    let clock = Clock::between(began, now);
    let mut picture = Picture::new();
    for item in &items {
        picture.draw(item, &clock);
        if picture.bytes().len() >= CHUNK {
            file.append(&mut picture);
        }
    }
    file.append(&mut picture);
    file.finish(&picture)
}

/// Brings the file up to date, when `run` returns.
pub(crate) fn flush() {
    if events::on()
        && let Some(writing) = &mut state().writing
    {
        writing.round();
    }
}

/// Writes the recorder's content, if the program has named a file for it. Called when the program
/// panics, can never go on, or gets SIGQUIT. It is done once, and the caller waits for it, since
/// the process may end next.
pub(crate) fn save_recording_at_failure() {
    if !events::on() || HELPER.load(Ordering::Relaxed) == sys::kernel_thread_id() {
        return;
    }
    // The processor stands still meanwhile, so that the recording ends with the failure.
    let _native = Native::begin();
    let mut orders = orders();
    if let Some(path) = orders.at_panic.take() {
        orders.write_recorded = Some(path);
        BELL.notify_one();
    }
    let busy = |orders: &mut Orders| orders.write_recorded.is_some() || orders.under_way;
    drop(DONE.wait_timeout_while(orders, PATIENCE, busy));
}

/// Starts the thread that draws, once, and makes sure that a trace is complete when the process
/// ends.
fn start_helper() -> io::Result<()> {
    extern "C" fn at_exit() {
        // In a forked child the lock may be held for ever by a thread that does not exist.
        if PROCESS.load(Ordering::Relaxed) == std::process::id()
            && let Some(mut writing) = state().writing.take()
        {
            events::set_on(false);
            writing.round();
        }
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        PROCESS.store(std::process::id(), Ordering::Relaxed);
        // SAFETY: the handler may be called at any time. If it is refused, the trace lacks the
        // events of the last milliseconds.
        unsafe { libc::atexit(at_exit) };
    });
    let mut orders = orders();
    if !orders.helper {
        thread::Builder::new().name("trace".into()).stack_size(512 << 10).spawn(helper)?;
        deadlock::note_helper();
        orders.helper = true;
    }
    Ok(())
}

fn helper() {
    HELPER.store(sys::kernel_thread_id(), Ordering::Relaxed);
    let mut pause = None;
    loop {
        let idle = |orders: &mut Orders| orders.write_recorded.is_none() && !orders.look;
        let orders = orders();
        let mut orders = match pause {
            Some(pause) => {
                BELL.wait_timeout_while(orders, pause, idle).unwrap_or_else(PoisonError::into_inner).0
            }
            None => BELL.wait_while(orders, idle).unwrap_or_else(PoisonError::into_inner),
        };
        orders.look = false;
        let path = orders.write_recorded.take();
        orders.under_way = path.is_some();
        drop(orders);
        if let Some(path) = path {
            match write_recorded(&path) {
                Ok(_) => {
                    say(format_args!("narrowboat: the last seconds before this are in '{}'", path.display()))
                }
                Err(e) => say(format_args!("narrowboat: the flight recorder's content is not complete: {e}")),
            }
            self::orders().under_way = false;
            DONE.notify_all();
        }
        pause = state().writing.as_mut().map(|writing| {
            writing.round();
            writing.timeline.pause(pause.unwrap_or(SHORTEST)).clamp(SHORTEST, LONGEST)
        });
    }
}

impl Writing {
    /// Draws what has happened since the last round, and appends it to the file.
    fn round(&mut self) {
        let now = Look::new();
        let clock = Clock::between(self.last, now);
        for item in self.timeline.take(self.began.ticks(), now.ticks()) {
            self.picture.draw(&item, &clock);
        }
        self.last = now;
        let well = self.file.error.is_none();
        if let Err(e) = self.save()
            && well
        {
            events::set_on(false);
            if self.unattended {
                say(format_args!("narrowboat: {e}"));
            }
        }
    }

    fn save(&mut self) -> io::Result<()> {
        self.file.append(&mut self.picture);
        self.file.error()
    }
}

/// A file that packets are appended to, and the error that ended it, if any.
struct Output {
    path: PathBuf,
    file: File,
    written: u64,
    error: Option<(io::ErrorKind, String)>,
}

impl Output {
    fn create(path: &Path) -> io::Result<Output> {
        let file = File::create(path).map_err(|e| {
            io::Error::new(e.kind(), format!("the trace file '{}' cannot be made: {e}", path.display()))
        })?;
        Ok(Output { path: path.into(), file, written: 0, error: None })
    }

    /// Appends what has been drawn. After an error the file ends where it was complete, and nothing
    /// more is written.
    fn append(&mut self, picture: &mut Picture) {
        if self.error.is_none() {
            match self.file.write_all(picture.bytes()) {
                Ok(()) => self.written += picture.bytes().len() as u64,
                Err(e) => {
                    // If it is not a regular file, it cannot be truncated, and its reader sees an
                    // incomplete packet at the end.
                    let _ = self.file.set_len(self.written);
                    let text = format!(
                        "the trace in '{}' ends after {} bytes: {e}",
                        self.path.display(),
                        self.written
                    );
                    self.error = Some((e.kind(), text));
                }
            }
        }
        picture.clear();
    }

    fn error(&self) -> io::Result<()> {
        self.error.as_ref().map_or(Ok(()), |(kind, text)| Err(io::Error::new(*kind, text.clone())))
    }

    fn finish(&self, picture: &Picture) -> io::Result<Summary> {
        self.error()?;
        Ok(Summary { events: picture.events, lost: picture.lost, bytes: self.written })
    }
}
