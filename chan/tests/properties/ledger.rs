//! Values that are counted one by one.

use std::sync::{Arc, Mutex, PoisonError};

/// Which party has made which values, and how often each was dropped.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Vec<u32>>>);

/// A message. On the heap, so that a second drop would not go unnoticed by the allocator either.
pub struct Value {
    pub id: usize,
    ledger: Ledger,
    _heap: Box<usize>,
}

impl Ledger {
    pub fn value(&self) -> Value {
        let mut drops = self.drops();
        drops.push(0);
        let id = drops.len() - 1;
        Value { id, ledger: self.clone(), _heap: Box::new(id) }
    }

    fn drops(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The values that have not been dropped.
    pub fn alive(&self) -> Vec<usize> {
        let drops = self.drops();
        assert!(drops.iter().all(|n| *n <= 1), "dropped twice: {drops:?}");
        (0..drops.len()).filter(|id| drops[*id] == 0).collect()
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.ledger.drops()[self.id] += 1;
    }
}
