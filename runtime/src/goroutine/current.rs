//! What a goroutine can ask about itself.

use crate::sched::processor;
use crate::sched::record::id::GoroutineId;
use crate::sched::record::labels::{LabelCell, Labels};
use std::panic::Location;
use std::sync::Arc;

/// The calling goroutine: its number, its name, its labels and where it was spawned.
///
/// ```
/// let handle = narrowboat::Builder::new()
///     .name("worker")
///     .spawn(|| narrowboat::current().unwrap().name().map(str::to_owned))
///     .unwrap();
/// assert_eq!(handle.join().unwrap().as_deref(), Some("worker"));
/// ```
#[derive(Clone, Debug)]
pub struct Goroutine {
    id: GoroutineId,
    name: Option<Arc<str>>,
    labels: Labels,
    spawned_at: &'static Location<'static>,
}

impl Goroutine {
    /// Its number, unique in the process.
    ///
    /// ```
    /// let handle = narrowboat::spawn(|| narrowboat::current().unwrap().id());
    /// let id = handle.id();
    /// assert_eq!(handle.join().unwrap(), id);
    /// ```
    pub fn id(&self) -> GoroutineId {
        self.id
    }

    /// The name it was given with [`Builder::name`](crate::Builder::name).
    ///
    /// ```
    /// let handle = narrowboat::spawn(|| narrowboat::current().unwrap().name().is_none());
    /// assert!(handle.join().unwrap());
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its labels, as they were when [`current`] was called: see [`labels!`](crate::labels!).
    ///
    /// ```
    /// narrowboat::run(|| {
    ///     let _labels = narrowboat::labels!(request = 7);
    ///     assert_eq!(narrowboat::current().unwrap().labels().get("request"), Some("7"));
    /// });
    /// ```
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The source line that spawned it.
    ///
    /// ```
    /// let handle = narrowboat::spawn(|| narrowboat::current().unwrap().spawned_at().line());
    /// assert!(handle.join().unwrap() > 0);
    /// ```
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.spawned_at
    }
}

/// The calling goroutine, or `None` on a plain thread. Allocates nothing.
///
/// ```
/// assert!(narrowboat::current().is_none());
/// ```
pub fn current() -> Option<Goroutine> {
    processor::checkpoint();
    calling()
}

/// The same without giving way.
pub(crate) fn calling() -> Option<Goroutine> {
    let record = processor::calling_goroutine()?;
    Some(Goroutine {
        id: GoroutineId(record.id),
        name: record.origin.name().cloned(),
        labels: record.origin.labels().map_or_else(Labels::default, LabelCell::get),
        spawned_at: record.origin.spawned_at(),
    })
}
