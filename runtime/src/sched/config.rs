//! How the runtime is sized: by the program, else by the environment, else by the machine.

use crate::lock::Mutex;
use crate::stack::geometry::Geometry;
use crate::sys;
use crate::telemetry::trace;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Sizes the runtime. Everything left unset comes from the environment or from the machine.
///
/// ```
/// narrowboat::Config::new().workers(2).processors(16).stack_slots(32).start()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a configuration does nothing until `start` is called"]
pub struct Config {
    workers: Option<usize>,
    hold_back_workers: Option<bool>,
    processors: Option<usize>,
    processors_apart: Option<usize>,
    stack_slots: Option<usize>,
    max_stack: Option<usize>,
    blocking_threads: Option<usize>,
    deadlock: Option<bool>,
    quit_exits: Option<bool>,
    stuck: Option<Duration>,
    trace: Option<PathBuf>,
    flight_recorder: Option<PathBuf>,
    trace_buffers: Option<usize>,
    stacks: Option<Stacks>,
    shared_locals: Vec<String>,
}

/// How goroutines get their stacks: [`Config::stacks`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Stacks {
    /// Most share a few large stacks, and are copied out when another goroutine needs the place.
    #[default]
    Shared,
    /// Each has a stack of its own, which never moves.
    Own,
}

/// The sizes that the running runtime has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) workers: usize,
    /// Whether their number changes with that of the cores, and with what others want of these.
    pub(crate) follows_cores: bool,
    pub(crate) follows_load: bool,
    pub(crate) processors: usize,
    /// How many processors there may be beyond these, for goroutines that keep them for long.
    pub(crate) apart: usize,
    pub(crate) geometry: Geometry,
    pub(crate) blocking_threads: usize,
    /// Whether workers carry processors, or each is pinned to one.
    pub(crate) carried: bool,
    pub(crate) stress: Stress,
    /// How often to print a line of figures.
    pub(crate) schedtrace: Option<Duration>,
    /// Whether to end the process when no goroutine can ever run again, and after a dump at
    /// SIGQUIT.
    pub(crate) deadlock: bool,
    pub(crate) quit_exits: bool,
    /// After how many nanoseconds a goroutine that keeps its processor is reported.
    pub(crate) stuck: Option<u64>,
}

/// What is done deliberately, far too often, to expose mistakes about stacks: `NARROWBOAT_STRESS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stress {
    Off,
    /// Every goroutine is copied out at every park, and the bytes that it leaves behind are
    /// poisoned.
    Evict,
    /// At every park, all parts of the stack that the goroutine does not need are given back to the
    /// system.
    Scavenge,
}

const PROCESSORS_PER_CORE: usize = 8;
const MIN_PROCESSORS: usize = 16;
const MAX_PROCESSORS: usize = 1024;
const DEFAULT_APART: usize = 64;
const DEFAULT_SLOTS: usize = 16;
const DEFAULT_MAX_STACK: usize = 256 << 20;
/// The stack size if each goroutine has its own: eight of them share a page of page table, so a
/// parked goroutine takes little more than a page.
const DEFAULT_OWN_STACK: usize = 256 << 10;
const MAIN_STACK: usize = 64 << 20;
/// Enough for many slow calls at once, and few enough not to burden the system.
pub(crate) const DEFAULT_BLOCKING_THREADS: usize = 512;

/// The configuration that `Config::start` left for the code that starts the runtime.
static CHOSEN: Mutex<Option<Config>> = Mutex::new(None);

impl Config {
    /// A configuration with everything unset.
    ///
    /// ```
    /// let config = narrowboat::Config::new();
    /// # let _ = config;
    /// ```
    pub fn new() -> Config {
        Config::default()
    }

    /// How many worker threads run goroutines at the same time. Unset: `NARROWBOAT_WORKERS`, else
    /// the number of CPUs that the program may use, which is followed when it changes (also when
    /// that is a quota of a control group). Where processors are pinned to threads, this is also
    /// the number of processors, and does not change.
    ///
    /// ```
    /// let config = narrowboat::Config::new().workers(4);
    /// # let _ = config;
    /// ```
    pub fn workers(mut self, workers: usize) -> Config {
        self.workers = Some(workers);
        self
    }

    /// Whether a worker may be held back while other threads want its core, where fewer workers do
    /// more work. Unset: yes, unless `NARROWBOAT_HOLD_BACK` is 0.
    ///
    /// That is so where the threads that compete are those that the program works for, such as a
    /// client on the same machine: the runtime tries it for some milliseconds, again and again,
    /// while its workers wait for cores, and compares how many turns goroutines have.
    /// [`Stats::workers_allowed`](crate::Stats::workers_allowed) says what it has found.
    ///
    /// ```
    /// let config = narrowboat::Config::new().hold_back_workers(false);
    /// # let _ = config;
    /// ```
    pub fn hold_back_workers(mut self, may: bool) -> Config {
        self.hold_back_workers = Some(may);
        self
    }

    /// How many processors goroutines are spread over. Unset: `NARROWBOAT_PROCESSORS`, else eight
    /// per CPU and at least sixteen. Each that comes into use costs a sleeping thread and its stack
    /// slots.
    ///
    /// ```
    /// let config = narrowboat::Config::new().processors(32);
    /// # let _ = config;
    /// ```
    pub fn processors(mut self, processors: usize) -> Config {
        self.processors = Some(processors);
        self
    }

    /// How many processors there may be beyond [`processors`](Config::processors), for goroutines
    /// that keep their processor for long: that block their thread in a way that cannot be made to
    /// park, or compute. Unset: `NARROWBOAT_APART`, else 64. Zero: none.
    ///
    /// The runtime learns which lines spawn such goroutines, and places those that follow there, so
    /// that they hold up only each other. Each that comes into use costs a sleeping thread, and
    /// another one while its goroutine blocks or computes: these do not count as
    /// [`workers`](Config::workers). None are made where there is one processor in all,
    /// where processors are pinned to threads, or where the system does not grant the stacks that
    /// were asked for.
    ///
    /// ```
    /// let config = narrowboat::Config::new().processors_apart(16);
    /// # let _ = config;
    /// ```
    pub fn processors_apart(mut self, processors: usize) -> Config {
        self.processors_apart = Some(processors);
        self
    }

    /// How many stack slots the goroutines of one processor share. Unset: `NARROWBOAT_STACK_SLOTS`,
    /// else 16.
    ///
    /// Goroutines that park with 8 KiB or more on their stacks get slots of their own beyond these,
    /// as long as there is address space for them and no more than 32,768 slots in the process
    /// (8,192 before Linux 6.13); so do the first 64 of a processor that park with 1 KiB or more.
    ///
    /// ```
    /// let config = narrowboat::Config::new().stack_slots(16);
    /// # let _ = config;
    /// ```
    pub fn stack_slots(mut self, slots: usize) -> Config {
        self.stack_slots = Some(slots);
        self
    }

    /// How many bytes deep a goroutine's stack may grow. Unset: `NARROWBOAT_MAX_STACK`, else 256
    /// MiB. More than 2 GiB counts as 2 GiB. Where the system refuses that much address space it is
    /// halved until it fits. Up to a sixty-fourth of it keeps the stacks of a processor apart in
    /// the caches.
    ///
    /// ```
    /// let config = narrowboat::Config::new().max_stack(16 << 20);
    /// # let _ = config;
    /// ```
    pub fn max_stack(mut self, bytes: usize) -> Config {
        self.max_stack = Some(bytes);
        self
    }

    /// How many threads [`blocking`](crate::blocking) may use. Unset:
    /// `NARROWBOAT_BLOCKING_THREADS`, else 512. They are made when there is work for them, and end
    /// when there is none.
    ///
    /// ```
    /// let config = narrowboat::Config::new().blocking_threads(64);
    /// # let _ = config;
    /// ```
    pub fn blocking_threads(mut self, threads: usize) -> Config {
        self.blocking_threads = Some(threads);
        self
    }

    /// Whether the process ends, with a dump and code 2, when no goroutine can ever run again.
    /// Unset: yes, unless `NARROWBOAT_DEADLOCK=0`.
    ///
    /// A program that wakes goroutines from a signal handler switches it off. Any thread that is
    /// not parked in a call of Narrowboat's keeps it quiet anyhow.
    ///
    /// ```
    /// let config = narrowboat::Config::new().detect_deadlocks(false);
    /// # let _ = config;
    /// ```
    pub fn detect_deadlocks(mut self, detect: bool) -> Config {
        self.deadlock = Some(detect);
        self
    }

    /// After how long a goroutine that makes no call of Narrowboat's, and so keeps all others of
    /// its processor waiting, is counted ([`Stats::stuck`](crate::Stats::stuck)) and reported on
    /// the standard error stream, once for each line that spawns such. Zero: never. Less than 20 ms
    /// counts as 20. Unset: `NARROWBOAT_STUCK` in milliseconds, else 20 ms.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let config = narrowboat::Config::new().report_stuck_after(Duration::from_millis(100));
    /// # let _ = config;
    /// ```
    pub fn report_stuck_after(mut self, limit: Duration) -> Config {
        self.stuck = Some(limit);
        self
    }

    /// Whether the process ends, with code 2, after SIGQUIT has made it print all goroutines.
    /// Unset: yes.
    ///
    /// If the program handles or ignores the signal when the runtime starts, nothing is printed.
    ///
    /// ```
    /// let config = narrowboat::Config::new().exit_on_sigquit(false);
    /// # let _ = config;
    /// ```
    pub fn exit_on_sigquit(mut self, exit: bool) -> Config {
        self.quit_exits = Some(exit);
        self
    }

    /// Writes a [trace](crate::trace) of the whole life of the process to this file. Unset: to the
    /// one that `NARROWBOAT_TRACE` names; if that is unset, none.
    ///
    /// ```
    /// let config = narrowboat::Config::new().trace("run.perfetto-trace");
    /// # let _ = config;
    /// ```
    pub fn trace(mut self, file: impl Into<PathBuf>) -> Config {
        self.trace = Some(file.into());
        self
    }

    /// Runs the [flight recorder](crate::trace) from the start, and writes what it holds to this
    /// file at the first panic of a goroutine or a thread, which waits for that; on SIGQUIT, and
    /// when no goroutine can ever go on, too. Unset: to the file that `NARROWBOAT_FLIGHT_RECORDER`
    /// names; if that is unset, the recorder does not run until
    /// [`trace::start_recorder`](crate::trace::start_recorder).
    ///
    /// ```
    /// let config = narrowboat::Config::new().flight_recorder("last.perfetto-trace");
    /// # let _ = config;
    /// ```
    pub fn flight_recorder(mut self, file: impl Into<PathBuf>) -> Config {
        self.flight_recorder = Some(file.into());
        self
    }

    /// How many bytes of memory all buffers of [traces](crate::trace) take together, at most.
    /// Unset: `NARROWBOAT_TRACE_BUFFERS`, else 64 MiB.
    ///
    /// An event takes 32 bytes. Each worker has an equal share, rounded down to a power of two, and
    /// at least 64 KiB. What is never recorded takes no memory.
    ///
    /// ```
    /// let config = narrowboat::Config::new().trace_buffers(256 << 20);
    /// # let _ = config;
    /// ```
    pub fn trace_buffers(mut self, bytes: usize) -> Config {
        self.trace_buffers = Some(bytes);
        self
    }

    /// Whether goroutines share stacks or each has its own. Unset: `NARROWBOAT_STACKS`, which may
    /// be `shared` or `own`, else [`Stacks::Shared`].
    ///
    /// With stacks of their own goroutines may lend what lies on them while they are parked: in
    /// scoped threads of other libraries, by futures pinned there, and on the stacks of coroutine
    /// libraries. A parked goroutine then takes some 5 KiB instead of some hundred bytes, and
    /// [`max_stack`](Config::max_stack) is 256 KiB unless it is set.
    ///
    /// ```
    /// let config = narrowboat::Config::new().stacks(narrowboat::Stacks::Own);
    /// # let _ = config;
    /// ```
    pub fn stacks(mut self, stacks: Stacks) -> Config {
        self.stacks = Some(stacks);
        self
    }

    /// Leaves the thread-locals of some crates with the processors, so that the goroutines of one
    /// processor share them: for crates that number threads, or keep something large for each. Also
    /// `NARROWBOAT_SHARED_LOCALS`, a list with commas.
    ///
    /// # Safety
    /// Code of these crates must be sound if goroutines take turns at any call that may park, with
    /// the same thread-locals. It is not if it puts something into a thread-local for the length of
    /// a closure of the caller's, or lends out a reference that another call on the same thread may
    /// end. (The variable of the environment makes the same promise; like a preloaded library it is
    /// the user's, and not the program's.)
    ///
    /// # Examples
    /// ```
    /// // SAFETY: `sharded-slab` hands out shards by thread, and calls nothing of the program's meanwhile.
    /// let config = unsafe { narrowboat::Config::new().shared_locals(["sharded-slab"]) };
    /// # let _ = config;
    /// ```
    pub unsafe fn shared_locals(mut self, crates: impl IntoIterator<Item = impl Into<String>>) -> Config {
        self.shared_locals.extend(crates.into_iter().map(Into::into));
        self
    }

    /// Starts the runtime with these sizes. Without this call it starts by itself at first use.
    ///
    /// # Errors
    /// If the runtime runs already, if an environment variable makes no sense, or if the system
    /// refuses the threads or the address space; the message says what to change.
    ///
    /// ```
    /// narrowboat::Config::new().workers(2).start()?;
    /// assert!(narrowboat::Config::new().start().is_err(), "there is one runtime per process");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn start(self) -> io::Result<()> {
        super::fork::check()?;
        let mut chosen = CHOSEN.lock().unwrap_or_else(|e| e.into_inner());
        if super::is_started() || chosen.is_some() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the runtime has started already: call Config::start before anything else of narrowboat",
            ));
        }
        *chosen = Some(self);
        drop(chosen);
        super::start()
    }

    /// The configuration that `start` was called for.
    fn chosen() -> Config {
        CHOSEN.lock().unwrap_or_else(|e| e.into_inner()).clone().unwrap_or_default()
    }

    /// The crates that leave their thread-locals with the processors.
    pub(super) fn crates_with_shared_locals() -> Vec<String> {
        let named = variable("NARROWBOAT_SHARED_LOCALS").unwrap_or_default();
        let named = named.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        Config::chosen().shared_locals.into_iter().chain(named).collect()
    }

    /// What to record from the start.
    pub(super) fn traces() -> io::Result<trace::Settings> {
        let Config { trace, flight_recorder, trace_buffers, .. } = Config::chosen();
        let path = |name| variable(name).map(PathBuf::from);
        let buffers = trace_buffers.or(number("NARROWBOAT_TRACE_BUFFERS")?);
        Ok(trace::Settings {
            trace: trace.or_else(|| path("NARROWBOAT_TRACE")),
            recorder: flight_recorder.or_else(|| path("NARROWBOAT_FLIGHT_RECORDER")),
            buffers: buffers.unwrap_or(trace::DEFAULT_BUFFERS),
        })
    }

    /// The sizes to start with.
    pub(super) fn resolve() -> io::Result<Sizes> {
        let chosen = Config::chosen();
        let cores = cores();
        let pick = |chosen: Option<usize>, variable: &str, default: usize| -> io::Result<usize> {
            Ok(chosen.or(number(variable)?).unwrap_or(default).max(1))
        };
        let carried = sys::can_carry() && !flag("NARROWBOAT_PIN", "1")?;
        let follows_cores = chosen.workers.is_none() && variable("NARROWBOAT_WORKERS").is_none();
        let follows_load = match chosen.hold_back_workers {
            Some(may) => may,
            None => variable("NARROWBOAT_HOLD_BACK").is_none() || flag("NARROWBOAT_HOLD_BACK", "1")?,
        };
        let workers = pick(chosen.workers, "NARROWBOAT_WORKERS", cores)?.min(MAX_PROCESSORS);
        let many = (cores * PROCESSORS_PER_CORE).clamp(MIN_PROCESSORS, MAX_PROCESSORS);
        let processors = pick(chosen.processors, "NARROWBOAT_PROCESSORS", many)?.min(MAX_PROCESSORS);
        let processors = if carried { processors } else { workers };
        let slots = pick(chosen.stack_slots, "NARROWBOAT_STACK_SLOTS", DEFAULT_SLOTS)?;
        let own_stacks = chosen.stacks.map_or_else(stacks, Ok)? == Stacks::Own;
        let max_stack = if own_stacks { DEFAULT_OWN_STACK } else { DEFAULT_MAX_STACK };
        let max_stack = pick(chosen.max_stack, "NARROWBOAT_MAX_STACK", max_stack)?;
        let blocking_threads =
            pick(chosen.blocking_threads, "NARROWBOAT_BLOCKING_THREADS", DEFAULT_BLOCKING_THREADS)?;
        sys::memory::look_for_locking();
        sys::share_arenas_under_a_limit();
        let geometry = if own_stacks {
            Geometry::fit_all_alone(processors, max_stack)?
        } else {
            Geometry::fit(processors, slots, max_stack)?
        };
        let apart = match (chosen.processors_apart, variable("NARROWBOAT_APART").as_deref()) {
            (Some(n), _) => n,
            (None, Some("0")) => 0,
            (None, _) => number("NARROWBOAT_APART")?.unwrap_or(DEFAULT_APART),
        };
        let may_be_apart = carried && processors > 1 && !geometry.tight;
        let apart = if may_be_apart { apart.min(MAX_PROCESSORS) } else { 0 };
        let schedtrace = number("NARROWBOAT_SCHEDTRACE")?.map(|ms| Duration::from_millis(ms as u64));
        let deadlock = chosen.deadlock.unwrap_or(variable("NARROWBOAT_DEADLOCK").as_deref() != Some("0"));
        let quit_exits = chosen.quit_exits.unwrap_or(true);
        let stress = stress()?;
        let stuck = match (chosen.stuck, variable("NARROWBOAT_STUCK").as_deref()) {
            (Some(limit), _) => limit,
            (None, Some("0")) => Duration::ZERO,
            (None, _) => Duration::from_millis(number("NARROWBOAT_STUCK")?.unwrap_or(20) as u64),
        };
        let stuck = (!stuck.is_zero()).then_some(stuck.as_nanos() as u64);
        Ok(Sizes {
            workers,
            follows_cores,
            follows_load,
            processors,
            apart,
            geometry,
            blocking_threads,
            carried,
            stress,
            schedtrace,
            deadlock,
            quit_exits,
            stuck,
        })
    }
}

/// How many cores the program may use now, by the set of CPUs and the quota of its control group.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The size of the main goroutine's own stack: as deep as all others. The size is known once the
/// runtime has started.
pub(crate) fn main_stack() -> io::Result<usize> {
    let geometry = super::start_and_get()?.sizes.geometry;
    // There is only one, so it may be large even if other stacks are small.
    let least = if geometry.all_alone { MAIN_STACK } else { 0 };
    Ok(geometry.largest().max(least))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> io::Result<Option<usize>> {
    let Some(value) = variable(name) else { return Ok(None) };
    match value.parse() {
        Ok(n) if n > 0 => Ok(Some(n)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name} is '{value}': set it to a whole number above zero, or unset it"),
        )),
    }
}

fn stress() -> io::Result<Stress> {
    match variable("NARROWBOAT_STRESS").as_deref() {
        None | Some("0") => Ok(Stress::Off),
        Some("scavenge") => Ok(Stress::Scavenge),
        Some("evict") => Ok(Stress::Evict),
        Some(value) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("NARROWBOAT_STRESS is '{value}': set it to evict or scavenge, or unset it"),
        )),
    }
}

fn stacks() -> io::Result<Stacks> {
    match variable("NARROWBOAT_STACKS").as_deref() {
        None | Some("shared") => Ok(Stacks::Shared),
        Some("own") => Ok(Stacks::Own),
        Some(value) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("NARROWBOAT_STACKS is '{value}': set it to shared or own, or unset it"),
        )),
    }
}

fn flag(name: &str, on: &str) -> io::Result<bool> {
    match variable(name).as_deref() {
        None | Some("0") => Ok(false),
        Some(value) if value == on => Ok(true),
        Some(value) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name} is '{value}': set it to {on}, or unset it"),
        )),
    }
}
