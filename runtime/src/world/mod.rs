//! Simulated worlds, for `narrowboat-sim` and the crates that take part in its worlds: runs one, and
//! waits for its end. What a world is, and how its goroutines have their turns, is in
//! `crate::sched::world`.

mod ending;

pub use crate::sched::world::{
    End, Leftover, Moment, Scheduler, Turn, TurnEnd, World, clock, current, draw, epoch, fill_random, now,
};

use crate::futex;
use crate::goroutine::spawn;
use crate::park::assert_may_park;
use crate::sched::processor::Processor;
use crate::sched::record::failure::Panic;
use crate::sched::record::labels::LabelCell;
use crate::sched::record::origin::{Extras, Origin};
use crate::sched::world::{Over, Stage};
use crate::sched::{self, Destination, Runtime};
use crate::time::sleep;
use ending::Ending;
use std::any::Any;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// A world that is over.
pub struct Finished<T> {
    /// Why.
    pub end: End,
    /// What the first goroutine returned, or its panic. `None` if it has not ended.
    pub outcome: Option<Result<T, Panic>>,
    /// Nanoseconds that have passed in it.
    pub now: u64,
    /// The goroutines that are left, by number.
    pub left: Vec<Leftover>,
    /// The panics that have ended goroutines which nothing joined.
    pub panics: Vec<(u32, Panic)>,
    /// What decided in it.
    pub scheduler: Box<dyn Any + Send>,
}

/// Runs `f` as the first goroutine of a new world, in which `scheduler` decides, and waits for its
/// end.
///
/// # Errors
/// If the runtime cannot start, or the system has no memory for the world's processor.
///
/// # Panics
/// In a world, and where the caller cannot wait.
#[track_caller]
pub fn run<F, T>(scheduler: Box<dyn Scheduler>, f: F) -> io::Result<Finished<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    run_at(scheduler, Location::caller(), f)
}

/// As [`run`], with the place where the first goroutine is said to have been spawned.
///
/// # Errors
/// As [`run`].
///
/// # Panics
/// As [`run`].
pub fn run_at<F, T>(
    scheduler: Box<dyn Scheduler>,
    at: &'static Location<'static>,
    f: F,
) -> io::Result<Finished<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    assert!(current().is_none(), "a world cannot contain another one");
    assert_may_park();
    futex::register_leave();
    let runtime = sched::start_and_get()?;
    let taken = Taken::take(runtime)?;
    let ending = Arc::new(Ending::default());
    let told = Arc::clone(&ending);
    let world = Arc::new(World::new(runtime, scheduler, move |over| told.tell(over)));
    taken.stage().begin(&world);
    let extras =
        Extras { spawned_at: at, name: None, own_stack: None, labels: LabelCell::default(), late: None };
    let begins = Arc::clone(&world);
    // SAFETY: closure and result are `'static`.
    let handle = unsafe {
        spawn::launch_to(
            Destination::Other(taken.0, None),
            world.first_goroutine(),
            Origin::with(extras),
            move || {
                begins.began();
                let _watch = First(begins);
                f()
            },
        )
    };
    let Over { end, left, first_has_ended } = ending.wait(at);
    let scheduler = world.take_scheduler();
    let outcome = first_has_ended.then(|| handle.join_with_trace());
    drop(taken);
    let panics = world.empty();
    Ok(Finished { end, outcome, now: world.now().as_nanos() as u64, left, panics, scheduler })
}

/// Sees whether the first goroutine panics.
struct First(Arc<World>);

impl Drop for First {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.scheduler(|scheduler| scheduler.panicked(1));
        }
    }
}

/// A processor that the caller has for a world, until this is dropped.
struct Taken(&'static Processor);

impl Taken {
    /// Takes a processor on which no world runs: one that is there, or a new one; else waits for
    /// one.
    fn take(runtime: &'static Runtime) -> io::Result<Taken> {
        loop {
            for index in runtime.processors.for_worlds() {
                let processor = runtime.processors.get_or_create(runtime, index)?;
                if stage_of(processor).take() {
                    return Ok(Taken(processor));
                }
            }
            sleep(Duration::from_millis(1));
        }
    }

    fn stage(&self) -> &'static Stage {
        stage_of(self.0)
    }
}

fn stage_of(processor: &'static Processor) -> &'static Stage {
    processor.stage().expect("a processor for worlds")
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.stage().give_back();
    }
}
