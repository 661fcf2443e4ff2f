//! Running models.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

/// As loom's: the settings of a model.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Builder {
    /// Bounds loom's search, and has no effect here.
    pub preemption_bound: Option<usize>,
}

impl Builder {
    /// The usual settings.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// As [`model`].
    ///
    /// # Panics
    /// As the model does.
    pub fn check(&self, body: impl Fn() + Send + Sync + 'static) {
        model(body);
    }
}

/// Runs `body` as often as `NARROWBOAT_MODEL_ROUNDS` says, or once.
///
/// # Panics
/// As the model does.
pub fn model(body: impl Fn() + Send + Sync + 'static) {
    let rounds = std::env::var("NARROWBOAT_MODEL_ROUNDS").map_or(1, |text| {
        text.parse().unwrap_or_else(|_| panic!("NARROWBOAT_MODEL_ROUNDS should be a number, not {text:?}"))
    });
    for _ in 0..rounds {
        let round = Round(Arc::default());
        round.enter();
        body();
        round.end();
    }
}

type Ends = Mutex<Vec<Box<dyn FnOnce() + Send>>>;

/// One execution of a model.
#[derive(Clone)]
pub(crate) struct Round(Arc<Ends>);

thread_local! {
    static ROUND: RefCell<Option<Round>> = const { RefCell::new(None) };
}

impl Round {
    /// That of the calling thread.
    pub(crate) fn current() -> Round {
        ROUND.with_borrow(Clone::clone).expect("a thread of a model is started in a model")
    }

    /// Makes the calling thread one of the round.
    pub(crate) fn enter(&self) {
        ROUND.set(Some(self.clone()));
    }

    /// Has `f` called at the end of the round.
    pub(crate) fn at_end(&self, f: Box<dyn FnOnce() + Send>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(f);
    }

    /// Waits for the threads, which may start others meanwhile.
    fn end(self) {
        let next = || self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        while let Some(end) = next() {
            end();
        }
        ROUND.set(None);
    }
}
