//! How the runtime is sized: by the program, else by the environment, else by the machine.

use crate::stack::geometry::Geometry;
use crate::sys;
use std::io;
use std::sync::Mutex;

/// Sizes the runtime. Everything left unset comes from the environment or from the machine.
///
/// ```
/// narrowboat_runtime::Config::new().workers(2).processors(16).stack_slots(32).start()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a configuration does nothing until `start` is called"]
pub struct Config {
    workers: Option<usize>,
    processors: Option<usize>,
    stack_slots: Option<usize>,
    max_stack: Option<usize>,
}

/// The sizes that the running runtime has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) workers: usize,
    pub(crate) processors: usize,
    pub(crate) geometry: Geometry,
    /// Whether workers carry processors, or each is nailed to one.
    pub(crate) carried: bool,
    /// Evict and poison at every park.
    pub(crate) stress: bool,
}

const PROCESSORS_PER_CORE: usize = 8;
const FEWEST_PROCESSORS: usize = 16;
const MOST_PROCESSORS: usize = 1024;
const DEFAULT_SLOTS: usize = 16;
const DEFAULT_MAX_STACK: usize = 256 << 20;

/// What `Config::start` left for whoever starts the runtime.
static CHOSEN: Mutex<Option<Config>> = Mutex::new(None);

impl Config {
    /// A configuration with everything unset.
    ///
    /// ```
    /// let config = narrowboat_runtime::Config::new();
    /// # let _ = config;
    /// ```
    pub fn new() -> Config {
        Config::default()
    }

    /// How many worker threads run goroutines at the same time. Unset: `NARROWBOAT_WORKERS`, else the number of CPUs.
    /// Where processors are nailed to threads, this is also the number of processors.
    ///
    /// ```
    /// let config = narrowboat_runtime::Config::new().workers(4);
    /// # let _ = config;
    /// ```
    pub fn workers(mut self, workers: usize) -> Config {
        self.workers = Some(workers);
        self
    }

    /// How many processors goroutines are spread over. Unset: `NARROWBOAT_PROCESSORS`, else eight per CPU and at
    /// least sixteen. Each that comes into use costs a sleeping thread and its stack slots.
    ///
    /// ```
    /// let config = narrowboat_runtime::Config::new().processors(32);
    /// # let _ = config;
    /// ```
    pub fn processors(mut self, processors: usize) -> Config {
        self.processors = Some(processors);
        self
    }

    /// How many stack slots the goroutines of one processor share. Unset: `NARROWBOAT_STACK_SLOTS`, else 16.
    ///
    /// ```
    /// let config = narrowboat_runtime::Config::new().stack_slots(16);
    /// # let _ = config;
    /// ```
    pub fn stack_slots(mut self, slots: usize) -> Config {
        self.stack_slots = Some(slots);
        self
    }

    /// How many bytes deep a goroutine's stack may grow. Unset: `NARROWBOAT_MAX_STACK`, else 256 MiB. Where the
    /// system refuses that much address space it is halved until it fits.
    ///
    /// ```
    /// let config = narrowboat_runtime::Config::new().max_stack(16 << 20);
    /// # let _ = config;
    /// ```
    pub fn max_stack(mut self, bytes: usize) -> Config {
        self.max_stack = Some(bytes);
        self
    }

    /// Starts the runtime with these sizes. Without this call it starts by itself at first use.
    ///
    /// # Errors
    /// If the runtime runs already, if an environment variable makes no sense, or if the system refuses the threads
    /// or the address space; the message says what to change.
    ///
    /// ```
    /// narrowboat_runtime::Config::new().workers(2).start()?;
    /// assert!(narrowboat_runtime::Config::new().start().is_err(), "there is one runtime per process");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn start(self) -> io::Result<()> {
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

    /// The sizes to start with.
    pub(super) fn resolve() -> io::Result<Sizes> {
        let chosen = CHOSEN.lock().unwrap_or_else(|e| e.into_inner()).clone().unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pick = |chosen: Option<usize>, variable: &str, default: usize| -> io::Result<usize> {
            Ok(chosen.or(number(variable)?).unwrap_or(default).max(1))
        };
        let carried = sys::can_carry() && !flag("NARROWBOAT_PIN", "1")?;
        let workers = pick(chosen.workers, "NARROWBOAT_WORKERS", cores)?.min(MOST_PROCESSORS);
        let many = (cores * PROCESSORS_PER_CORE).clamp(FEWEST_PROCESSORS, MOST_PROCESSORS);
        let processors = pick(chosen.processors, "NARROWBOAT_PROCESSORS", many)?.min(MOST_PROCESSORS);
        let processors = if carried { processors } else { workers };
        let slots = pick(chosen.stack_slots, "NARROWBOAT_STACK_SLOTS", DEFAULT_SLOTS)?;
        let max_stack = pick(chosen.max_stack, "NARROWBOAT_MAX_STACK", DEFAULT_MAX_STACK)?;
        let geometry = Geometry::fit(processors, slots, max_stack)?;
        Ok(Sizes { workers, processors, geometry, carried, stress: flag("NARROWBOAT_STRESS", "evict")? })
    }
}

/// The size of the main goroutine's own stack.
pub(crate) fn main_stack() -> usize {
    super::started().map_or(DEFAULT_MAX_STACK, |runtime| runtime.sizes.geometry.largest())
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
