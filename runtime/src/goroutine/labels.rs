//! Labels: pairs of a key and a text that say what a goroutine works on.
//!
//! A set of labels never changes; it is shared by the goroutines that have it. A goroutine has at
//! most one set, in the [`Extras`](super::origin::Extras) of its origin, and a child is spawned
//! with the set of its spawner. So a goroutine without labels has no word for them, and a switch
//! does not look at them.
//!
//! A signal handler may read the labels of the goroutine that it has interrupted ([`LabelCell`]).

use crate::sched::processor::{self, Caller};
use std::fmt::{self, Display, Write};
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering, compiler_fence};

/// A set of labels: what a goroutine works on, in dumps, traces, profiles and the debug page.
///
/// [`labels!`](crate::labels!) sets the labels of the calling goroutine; this type is for code that
/// carries them elsewhere, with a job for example.
///
/// ```
/// use narrowboat::{Labels, labels, run, spawn};
///
/// run(|| {
///     let of_request = labels!(request = 7 => { Labels::current() });
///     assert!(Labels::current().is_empty());
///     let worker = spawn(move || of_request.in_scope(|| Labels::current().to_string()));
///     assert_eq!(worker.join().unwrap(), "request=7");
/// });
/// ```
#[derive(Clone, Default)]
pub struct Labels(Option<Arc<Set>>);

/// The pairs, and all of them as one text, which readers that cannot allocate use.
pub(crate) struct Set {
    pairs: Vec<(&'static str, Arc<str>)>,
    text: Box<str>,
}

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

    /// These labels and one more, which replaces one of the same key.
    ///
    /// ```
    /// let labels = narrowboat::Labels::default().with("request", 7).with("user", "ann");
    /// assert_eq!(labels.to_string(), "request=7, user=ann");
    /// assert_eq!(labels.with("request", 8).to_string(), "request=8, user=ann");
    /// ```
    #[must_use = "the labels are returned, and set by `enter` or `in_scope`"]
    pub fn with(&self, key: &'static str, value: impl Display) -> Labels {
        self.with_shared(key, value.to_string().into())
    }

    /// The value has one owner in each set that has this label.
    pub(crate) fn with_shared(&self, key: &'static str, value: Arc<str>) -> Labels {
        let mut pairs = self.0.as_ref().map(|set| set.pairs.clone()).unwrap_or_default();
        match pairs.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => pairs.push((key, value)),
        }
        let mut text = String::new();
        for (key, value) in &pairs {
            let comma = if text.is_empty() { "" } else { ", " };
            // A text takes everything.
            let _ = write!(text, "{comma}{key}={value}");
        }
        Labels(Some(Arc::new(Set { pairs, text: text.into() })))
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

    /// The value of a label.
    ///
    /// ```
    /// let labels = narrowboat::Labels::default().with("request", 7);
    /// assert_eq!((labels.get("request"), labels.get("user")), (Some("7"), None));
    /// ```
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// All labels, in the order in which they were first set.
    ///
    /// ```
    /// let labels = narrowboat::Labels::default().with("request", 7);
    /// assert_eq!(labels.iter().next(), Some(("request", "7")));
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().flat_map(|set| &set.pairs).map(|(key, value)| (*key, &**value))
    }

    /// Whether there are none.
    ///
    /// ```
    /// assert!(narrowboat::Labels::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// All labels as one text.
    pub(crate) fn text(&self) -> &str {
        self.0.as_ref().map_or("", |set| &set.text)
    }

    /// A number that two sets have in common only if they are one set.
    #[doc(hidden)]
    pub fn identity(&self) -> usize {
        self.0.as_ref().map_or(0, |set| Arc::as_ptr(set).addr())
    }

    pub(crate) fn into_raw(self) -> *const Set {
        self.0.map_or(ptr::null(), Arc::into_raw)
    }

    /// # Safety
    /// The address came from [`into_raw`](Labels::into_raw) or [`LabelCell::share`], and is taken
    /// back once.
    pub(crate) unsafe fn from_raw(set: *const Set) -> Labels {
        // SAFETY: by contract.
        Labels((!set.is_null()).then(|| unsafe { Arc::from_raw(set) }))
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Labels) -> bool {
        self.identity() == other.identity() || self.iter().eq(other.iter())
    }
}

impl Eq for Labels {}

impl Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
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

/// The word of a goroutine's labels. The goroutine writes it. It is read by the goroutine, by its
/// processor's loop, and by a signal handler that has interrupted either of them: on one kernel
/// thread at a time. So the order of instructions is what counts, and no barrier of the CPU's is
/// needed.
#[derive(Default)]
pub(crate) struct LabelCell(AtomicPtr<Set>);

impl LabelCell {
    pub(crate) fn new(labels: Labels) -> LabelCell {
        LabelCell(AtomicPtr::new(labels.into_raw().cast_mut()))
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed).is_null()
    }

    pub(crate) fn get(&self) -> Labels {
        // SAFETY: `share` adds the count that is taken here.
        unsafe { Labels::from_raw(self.share()) }
    }

    /// The set, with one more owner: for [`Labels::from_raw`]. Async-signal-safe.
    pub(crate) fn share(&self) -> *const Set {
        let set = self.0.load(Ordering::Relaxed).cast_const();
        if !set.is_null() {
            // SAFETY: the cell owns the set: `replace` gives it up only after it has stored another
            // one.
            unsafe { Arc::increment_strong_count(set) };
        }
        set
    }

    fn replace(&self, labels: Labels) -> Labels {
        let old = self.0.load(Ordering::Relaxed);
        self.0.store(labels.into_raw().cast_mut(), Ordering::Relaxed);
        // A handler that comes from here on finds the new set; one that has come before has added
        // its count to the old one.
        compiler_fence(Ordering::SeqCst);
        // SAFETY: the cell owned it, and does not lead to it any more.
        unsafe { Labels::from_raw(old) }
    }
}

impl Drop for LabelCell {
    fn drop(&mut self) {
        drop(self.replace(Labels::default()));
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
