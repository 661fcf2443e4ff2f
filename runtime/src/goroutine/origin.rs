//! What a goroutine was given at its spawn besides a closure, and what it has acquired since.

use super::failure::HookReport;
use super::labels::{LabelCell, Labels};
use super::local::Locals;
use crate::locals::private::{Owned, Private};
use crate::stack::own::OwnStack;
use std::mem::offset_of;
use std::panic::Location;
use std::ptr::NonNull;
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
    Origin::PRIVATE,
    offset_of!(Private, origin),
];

/// What a goroutine has acquired since its spawn.
#[derive(Default)]
pub(crate) struct Late {
    pub(crate) locals: Locals,
    /// The hook's report of its last panic.
    pub(crate) hook_report: Option<HookReport>,
}

/// Where a goroutine was spawned, in one word. Most goroutines have no extras, and a million of
/// them should not pay for any. The word also leads to the goroutine's private thread-locals, once
/// it has some.
pub(crate) struct Origin(usize);

impl Origin {
    const EXTRAS: usize = 1;
    const PRIVATE: usize = 2;

    /// Whether the goroutine has private thread-locals.
    #[inline]
    pub(crate) fn has_private(&self) -> bool {
        self.0 & Origin::PRIVATE != 0
    }

    fn private_at(&self) -> Option<*mut Private> {
        self.has_private().then_some((self.0 & !Origin::PRIVATE) as *mut Private)
    }

    /// The goroutine's private thread-locals.
    pub(crate) fn private(&mut self) -> Option<&mut Private> {
        // SAFETY: put here by `put_private`, and taken out before anything else is done with it.
        self.private_at().map(|private| unsafe { &mut *private })
    }

    /// Takes the private thread-locals out.
    pub(crate) fn take_private(&mut self) -> Option<Owned> {
        let private = self.private_at()?;
        // SAFETY: put here by `put_private`, and taken back once: the word no longer leads there.
        unsafe {
            self.0 = (*private).origin;
            Some(Owned::from_raw(NonNull::new_unchecked(private)))
        }
    }

    /// Puts private thread-locals in.
    pub(crate) fn put_private(&mut self, private: Option<Owned>) {
        debug_assert!(!self.has_private());
        if let Some(mut private) = private {
            private.get().origin = self.0;
            self.0 = private.into_raw() as usize | Origin::PRIVATE;
        }
    }

    /// The word as it is without private thread-locals.
    fn word(&self) -> usize {
        // SAFETY: as in `private`.
        self.private_at().map_or(self.0, |private| unsafe { (*private).origin })
    }

    pub(crate) fn plain(at: &'static Location<'static>) -> Origin {
        Origin(at as *const Location as usize)
    }

    fn into_word(self) -> usize {
        let word = self.0;
        std::mem::forget(self);
        word
    }

    pub(crate) fn with(extras: Extras) -> Origin {
        Origin(Box::into_raw(Box::new(extras)) as usize | Origin::EXTRAS)
    }

    #[inline]
    fn extras(&self) -> Option<*mut Extras> {
        let word = self.word();
        (word & Origin::EXTRAS != 0).then_some((word & !Origin::EXTRAS) as *mut Extras)
    }

    pub(crate) fn spawned_at(&self) -> &'static Location<'static> {
        match self.extras() {
            // SAFETY: made by `with` from a box that is freed only in `drop`.
            Some(extras) => unsafe { (*extras).spawned_at },
            // SAFETY: without the tag the word is the address of a static location.
            None => unsafe { &*(self.word() as *const Location<'static>) },
        }
    }

    pub(crate) fn name<'a>(&self) -> Option<&'a Arc<str>> {
        // SAFETY: as above; the name is never changed.
        self.extras().and_then(|extras| unsafe { (*extras).name.as_ref() })
    }

    /// The extras, which are made if there are none yet. Called by the goroutine, which alone changes
    /// its origin, or before it starts.
    pub(super) fn make_extras(&mut self) -> &mut Extras {
        if self.extras().is_none() {
            // One store of one word: a signal handler that interrupts us here may read the origin.
            let word = Origin::with(Extras::plain(self.spawned_at())).into_word();
            match self.private() {
                Some(private) => private.origin = word,
                None => self.0 = word,
            }
        }
        let extras = self.extras().expect("just made");
        // SAFETY: made by `with` from a box that is freed only in `drop`; and `&mut self` makes
        // this the only access but that of a signal handler, which reads what no code changes, and
        // the labels, which are atomic.
        unsafe { &mut *extras }
    }

    /// What the goroutine has acquired since its spawn; empty if there is nothing yet. Called by
    /// the goroutine.
    pub(crate) fn late(&mut self) -> &mut Late {
        self.make_extras().late.get_or_insert_default()
    }

    /// The word of the goroutine's labels, if it has had any. Async-signal-safe in code of the
    /// goroutine's own.
    #[inline]
    pub(crate) fn labels<'a>(&self) -> Option<&'a LabelCell> {
        // SAFETY: as in `name`; the cell is changed through a shared reference only.
        self.extras().map(|extras| unsafe { &(*extras).labels })
    }

    /// Gives a goroutine that has not started the labels of its spawner.
    pub(crate) fn inherit(&mut self, labels: Labels) {
        self.make_extras().labels = LabelCell::new(labels);
    }

    #[inline]
    pub(crate) fn has_late(&self) -> bool {
        // SAFETY: as above.
        self.extras().is_some_and(|extras| unsafe { (*extras).late.is_some() })
    }

    pub(crate) fn take_own_stack(&mut self) -> Option<OwnStack> {
        // SAFETY: as above, and `&mut self` makes this the only access.
        self.extras().and_then(|extras| unsafe { (*extras).own_stack.take() })
    }
}

const _: () = assert!(
    align_of::<Location>() > 3 && align_of::<Extras>() > 3 && align_of::<Private>() > 3,
    "the tags need the two lowest bits"
);

impl Drop for Origin {
    fn drop(&mut self) {
        drop(self.take_private());
        if let Some(extras) = self.extras() {
            // SAFETY: made by `with` from a box, and dropped once.
            drop(unsafe { Box::from_raw(extras) });
        }
    }
}
