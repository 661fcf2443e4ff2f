//! The labels of the calling goroutine: how they are read and set.

use crate::sched::processor::{self, Caller};
use crate::sched::record::labels::{LabelCell, Labels};
use std::marker::PhantomData;

impl Labels {
    /// The labels of the calling goroutine. Empty on a plain thread.
    ///
    /// ```
    /// assert!(narrowboat::Labels::current().is_empty());
    /// ```
    pub fn current() -> Labels {
        let goroutine = processor::calling_goroutine();
        let cell = goroutine.and_then(|goroutine| goroutine.origin.labels());
        cell.map_or_else(Labels::default, LabelCell::get)
    }

    /// Gives the calling goroutine these labels, in place of those that it has, until the guard is
    /// dropped. Does nothing on a plain thread.
    ///
    /// ```
    /// use narrowboat::{Labels, run};
    ///
    /// run(|| {
    ///     let guard = Labels::default().with("job", "index").enter();
    ///     assert_eq!(Labels::current().get("job"), Some("index"));
    ///     drop(guard);
    ///     assert!(Labels::current().is_empty());
    /// });
    /// ```
    pub fn enter(&self) -> EnteredLabels {
        let before = processor::calling_goroutine().map(|goroutine| replace(goroutine, self.clone()));
        EnteredLabels { before, _of_this_goroutine: PhantomData }
    }

    /// Calls `f` with these labels set, as by [`enter`](Labels::enter).
    ///
    /// ```
    /// use narrowboat::{Labels, run};
    ///
    /// let labels = Labels::default().with("job", "index");
    /// assert_eq!(run(move || labels.in_scope(|| Labels::current().to_string())), "job=index");
    /// ```
    pub fn in_scope<T>(&self, f: impl FnOnce() -> T) -> T {
        let _entered = self.enter();
        f()
    }
}

/// Restores the labels that a goroutine had before, when it is dropped: see [`Labels::enter`] and
/// [`labels!`](crate::labels!).
#[derive(Debug)]
#[must_use = "the labels are taken away when this is dropped"]
pub struct EnteredLabels {
    before: Option<Labels>,
    /// It belongs to one goroutine.
    _of_this_goroutine: PhantomData<*mut ()>,
}

impl Drop for EnteredLabels {
    fn drop(&mut self) {
        if let (Some(before), Some(goroutine)) = (self.before.take(), processor::calling_goroutine()) {
            drop(replace(goroutine, before));
        }
    }
}

/// Sets the labels of the calling goroutine, and returns those that it had.
fn replace(goroutine: Caller, labels: Labels) -> Labels {
    match goroutine.origin.labels() {
        Some(cell) => cell.replace(labels),
        None if labels.is_empty() => labels,
        None => goroutine.origin.make_labels().replace(labels),
    }
}

/// The labels that a goroutine has from its spawner, which is the caller, if it has any.
#[inline(always)]
pub(super) fn inherited() -> Option<Labels> {
    let cell = processor::calling_goroutine()?.origin.labels()?;
    if cell.is_empty() {
        return None;
    }
    Some(cell.get())
}

/// Says what the calling goroutine works on. Dumps, traces, profiles and the debug page show it,
/// and goroutines that it spawns begin with the same labels.
///
/// With a block, the labels are set while that runs, and its value is that of the macro. Without
/// one they are set until the guard that is returned is dropped. Then those of before are back.
/// Labels that are not named stay, so inner ones add to outer ones. On a plain thread the macro has
/// no effect.
///
/// | form | key | value |
/// | --- | --- | --- |
/// | `request = id` | `request` | `id`, by `Display` |
/// | `request = ?id` | `request` | `id`, by `Debug` |
/// | `id` | `id` | the variable, by `Display` |
/// | `http.path = p` | `http.path` | `p`, by `Display` |
///
/// A value is formatted when it is set: some hundred nanoseconds. A goroutine without labels costs
/// what it cost before.
///
/// ```
/// use narrowboat::{Labels, labels, run, spawn};
///
/// run(|| {
///     let id = 7;
///     let answer = labels!(request = id, user = "ann" => {
///         // A child has them, too.
///         spawn(|| Labels::current().to_string()).join().unwrap()
///     });
///     assert_eq!(answer, "request=7, user=ann");
///
///     let _labels = labels!(id, http.path = ?"/");
///     assert_eq!(Labels::current().to_string(), r#"id=7, http.path="/""#);
/// });
/// ```
#[macro_export]
macro_rules! labels {
    (@set [$labels:expr] $($key:ident).+ = ? $value:expr) => {
        $labels.with($crate::labels!(@key $($key).+), ::core::format_args!("{:?}", $value)).enter()
    };
    (@set [$labels:expr] $($key:ident).+ = ? $value:expr , $($rest:tt)*) => {
        $crate::labels!(@next [$labels.with($crate::labels!(@key $($key).+), ::core::format_args!("{:?}", $value))] $($rest)*)
    };
    (@set [$labels:expr] $($key:ident).+ = ? $value:expr => $body:block) => {{
        let labels = $labels.with($crate::labels!(@key $($key).+), ::core::format_args!("{:?}", $value));
        let _entered = labels.enter();
        $body
    }};
    (@set [$labels:expr] $($key:ident).+ = $value:expr) => {
        $labels.with($crate::labels!(@key $($key).+), &$value).enter()
    };
    (@set [$labels:expr] $($key:ident).+ = $value:expr , $($rest:tt)*) => {
        $crate::labels!(@next [$labels.with($crate::labels!(@key $($key).+), &$value)] $($rest)*)
    };
    (@set [$labels:expr] $($key:ident).+ = $value:expr => $body:block) => {{
        let labels = $labels.with($crate::labels!(@key $($key).+), &$value);
        let _entered = labels.enter();
        $body
    }};
    (@set [$labels:expr] $key:ident) => { $crate::labels!(@set [$labels] $key = $key) };
    (@set [$labels:expr] $key:ident , $($rest:tt)*) => { $crate::labels!(@set [$labels] $key = $key, $($rest)*) };
    (@set [$labels:expr] $key:ident => $body:block) => { $crate::labels!(@set [$labels] $key = $key => $body) };
    // After a comma, which may be the last.
    (@next [$labels:expr]) => { $labels.enter() };
    (@next [$labels:expr] => $body:block) => {{
        let labels = $labels;
        let _entered = labels.enter();
        $body
    }};
    (@next [$labels:expr] $($rest:tt)+) => { $crate::labels!(@set [$labels] $($rest)+) };
    (@key $first:ident $(. $rest:ident)*) => {
        ::core::concat!(::core::stringify!($first) $(, ".", ::core::stringify!($rest))*)
    };
    ($($label:tt)+) => { $crate::labels!(@set [$crate::Labels::current()] $($label)+) };
}
