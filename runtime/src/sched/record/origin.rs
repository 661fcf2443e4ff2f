//! What a goroutine was given at its spawn besides a closure, and what it has acquired since.

use super::labels::{LabelCell, Labels};
use super::late::Late;
use crate::locals::private::{Private, PrivateWord};
use crate::stack::own::OwnStack;
use std::mem::offset_of;
use std::panic::Location;
use std::sync::Arc;

/// What a goroutine was given at its spawn besides a closure.
pub(crate) struct Extras {
    pub(crate) spawned_at: &'static Location<'static>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) own_stack: Option<OwnStack>,
    pub(crate) labels: LabelCell,
    pub(crate) late: Option<Box<Late>>,
}

impl Extras {
    /// Those of a goroutine that was given nothing.
    fn plain(spawned_at: &'static Location<'static>) -> Extras {
        Extras { spawned_at, name: None, own_stack: None, labels: LabelCell::default(), late: None }
    }
}

/// For a debugger: the tag of an origin that has extras, and the offsets in those of the spawn line
/// and the name; the tag of an origin that has private thread-locals, and the offset in those of
/// the word that the origin would be without them.
pub(crate) const DEBUGGER_OFFSETS: [usize; 5] = [
    Origin::EXTRAS,
    offset_of!(Extras, spawned_at),
    offset_of!(Extras, name),
    PrivateWord::PRIVATE,
    offset_of!(Private, word),
];

/// Where a goroutine was spawned, in one word. Most goroutines have no extras, and a million of
/// them should not pay for any. The word also leads to the goroutine's private thread-locals, once
/// it has some.
///
/// The two lowest bits are tags: one for extras, the other one belongs to [`PrivateWord`].
pub(crate) struct Origin(PrivateWord);

impl Origin {
    const EXTRAS: usize = 1;

    /// The word that leads to the goroutine's private thread-locals.
    #[inline]
    pub(crate) fn private(&self) -> &PrivateWord {
        &self.0
    }

    pub(crate) fn plain(at: &'static Location<'static>) -> Origin {
        Origin(PrivateWord::new(at as *const Location as usize))
    }

    fn into_word(self) -> usize {
        let word = self.0.word();
        std::mem::forget(self);
        word
    }

    pub(crate) fn with(extras: Extras) -> Origin {
        Origin(PrivateWord::new(Box::into_raw(Box::new(extras)) as usize | Origin::EXTRAS))
    }

    #[inline]
    fn extras(&self) -> Option<*mut Extras> {
        let word = self.0.word();
        (word & Origin::EXTRAS != 0).then_some((word & !Origin::EXTRAS) as *mut Extras)
    }

    pub(crate) fn spawned_at(&self) -> &'static Location<'static> {
        match self.extras() {
            // SAFETY: made by `with` from a box that is freed only in `drop`.
            Some(extras) => unsafe { (*extras).spawned_at },
            // SAFETY: without the tag the word is the address of a static location.
            None => unsafe { &*(self.0.word() as *const Location<'static>) },
        }
    }

    pub(crate) fn name<'a>(&self) -> Option<&'a Arc<str>> {
        // SAFETY: as above; the name is never changed.
        self.extras().and_then(|extras| unsafe { (*extras).name.as_ref() })
    }

    /// The extras, which are made if there are none yet. Called by the goroutine, which alone changes
    /// its origin, or before it starts.
    fn make_extras(&self) -> *mut Extras {
        self.extras().unwrap_or_else(|| {
            // One store of one word: a signal handler that interrupts us here may read the origin.
            let word = Origin::with(Extras::plain(self.spawned_at())).into_word();
            self.0.set_word(word);
            self.extras().expect("just made")
        })
    }

    /// Calls `f` with what the goroutine has acquired since its spawn; empty if there is nothing
    /// yet. Called by the goroutine. `f` calls no code of the program's.
    pub(crate) fn with_late<R>(&self, f: impl FnOnce(&mut Late) -> R) -> R {
        let extras = self.make_extras();
        // The box is out of reach meanwhile, so this is its only use.
        // SAFETY: made by `with` from a box that is freed only in `drop`.
        let mut late = unsafe { (*extras).late.take() }.unwrap_or_default();
        let result = f(&mut late);
        // SAFETY: as above.
        unsafe { (*extras).late = Some(late) };
        result
    }

    /// The word of the goroutine's labels, if it has had any. Async-signal-safe in code of the
    /// goroutine's own.
    #[inline]
    pub(crate) fn labels<'a>(&self) -> Option<&'a LabelCell> {
        // SAFETY: as in `name`; the cell is changed through a shared reference only.
        self.extras().map(|extras| unsafe { &(*extras).labels })
    }

    /// The same, made if there was none. Called by the goroutine.
    pub(crate) fn make_labels(&self) -> &LabelCell {
        // SAFETY: as above.
        unsafe { &(*self.make_extras()).labels }
    }

    /// Gives a goroutine that has not started the labels of its spawner.
    pub(crate) fn inherit(&mut self, labels: Labels) {
        // SAFETY: as above, and `&mut self` makes this the only access.
        unsafe { (*self.make_extras()).labels = LabelCell::new(labels) };
    }

    #[inline]
    pub(crate) fn has_late(&self) -> bool {
        // SAFETY: as above.
        self.extras().is_some_and(|extras| unsafe { (*extras).late.is_some() })
    }

    pub(crate) fn take_own_stack(&self) -> Option<OwnStack> {
        // SAFETY: as above.
        self.extras().and_then(|extras| unsafe { (*extras).own_stack.take() })
    }
}

const _: () = assert!(
    align_of::<Location>() > 3 && align_of::<Extras>() > 3 && align_of::<Private>() > 3,
    "the tags need the two lowest bits"
);

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(extras) = self.extras() {
            // SAFETY: made by `with` from a box, and dropped once.
            drop(unsafe { Box::from_raw(extras) });
        }
    }
}
