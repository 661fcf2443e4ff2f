//! Sets of labels: pairs of a key and a text that say what a goroutine works on.
//!
//! A set never changes; it is shared by the goroutines that have it. A goroutine has at most one
//! set, in the [`Extras`](super::origin::Extras) of its origin, and a child is spawned with the set
//! of its spawner. So a goroutine without labels has no word for them, and a switch does not look at
//! them.
//!
//! A signal handler may read the labels of the goroutine that it has interrupted ([`LabelCell`]).

use std::fmt::{self, Display, Write};
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
    pub(crate) fn is_empty(&self) -> bool {
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

    pub(crate) fn replace(&self, labels: Labels) -> Labels {
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
