//! Values that count how many of them are alive.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts how many of its [`Counted`] values were made and dropped.
#[derive(Debug)]
pub struct Census {
    made: AtomicUsize,
    dropped: AtomicUsize,
}

impl Census {
    /// A census that has counted nothing.
    #[expect(clippy::new_without_default, reason = "it is for statics; others use `leaked`")]
    pub const fn new() -> Census {
        Census { made: AtomicUsize::new(0), dropped: AtomicUsize::new(0) }
    }

    /// A census that is never freed, for a test that runs several times in one process.
    pub fn leaked() -> &'static Census {
        Box::leak(Box::new(Census::new()))
    }

    /// A new value.
    pub fn value(&'static self) -> Counted {
        self.made.fetch_add(1, Ordering::SeqCst);
        Counted { census: self, life: Box::new(Life { alive: true, panics: false }) }
    }

    /// A new value whose destructor panics with "explosive", after it has been counted.
    pub fn explosive(&'static self) -> Counted {
        let mut value = self.value();
        value.life.panics = true;
        value
    }

    /// How many values were made.
    pub fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// How many values were dropped.
    pub fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }

    /// How many values were made and not dropped.
    pub fn alive(&self) -> usize {
        self.made() - self.dropped()
    }
}

/// A value of a [`Census`]. A second drop fails the test; it would also free the value's memory
/// twice.
#[derive(Debug)]
pub struct Counted {
    census: &'static Census,
    life: Box<Life>,
}

#[derive(Debug)]
struct Life {
    alive: bool,
    panics: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert!(std::mem::replace(&mut self.life.alive, false), "dropped twice");
        self.census.dropped.fetch_add(1, Ordering::SeqCst);
        if self.life.panics {
            panic!("explosive");
        }
    }
}
