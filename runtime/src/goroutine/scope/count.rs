//! Counts the owner and the children of a scope: steps 1 and 3 to 5 of the protocol at the top of
//! [`super`].

use crate::shim::{AtomicUsize, Ordering};

/// The owner and the children that have not left.
pub(super) struct Count {
    running: AtomicUsize,
    /// The address of the owner's waiter, once it has left.
    owner: AtomicUsize,
}

impl Count {
    /// Counts the owner.
    pub(super) fn new() -> Count {
        Count { running: AtomicUsize::new(1), owner: AtomicUsize::new(0) }
    }

    /// Step 1. Relaxed: the child is spawned after this.
    pub(super) fn enter(&self) {
        let before = self.running.fetch_add(1, Ordering::Relaxed);
        debug_assert!(before > 0, "only a counted goroutine adds a child");
    }

    /// Step 3: the owner's waiter, if the caller must wake it.
    pub(super) fn leave(&self) -> Option<usize> {
        (self.running.fetch_sub(1, Ordering::AcqRel) == 1).then(|| self.owner.load(Ordering::Relaxed))
    }

    /// Step 4: true if children remain, and the last of them will wake `waiter`.
    pub(super) fn leave_as_owner(&self, waiter: usize) -> bool {
        self.owner.store(waiter, Ordering::Relaxed);
        self.running.fetch_sub(1, Ordering::AcqRel) != 1
    }

    /// Whether step 4 can be left out: no child remains that could add another. Acquire: as the
    /// subtraction.
    pub(super) fn is_owner_alone(&self) -> bool {
        self.running.load(Ordering::Acquire) == 1
    }

    /// How many children have not left, for diagnostics.
    pub(super) fn children(&self) -> usize {
        let owner = usize::from(self.owner.load(Ordering::Relaxed) == 0);
        self.running.load(Ordering::Relaxed).saturating_sub(owner)
    }
}

#[cfg(all(test, any(loom, narrowboat_threads)))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicBool;
    use loom::thread;

    const OWNER: usize = 64;

    /// A scope. Its owner lends two values.
    struct Lent {
        count: Count,
        awake: AtomicBool,
        values: [UnsafeCell<u32>; 2],
    }

    // SAFETY: the model tests which thread may touch the values.
    unsafe impl Sync for Lent {}
    // SAFETY: as above.
    unsafe impl Send for Lent {}

    impl Lent {
        fn write(&self, value: usize) {
            // SAFETY: each value belongs to one child until the scope has ended.
            self.values[value].with_mut(|v| unsafe { *v += 1 });
        }

        fn leave(&self) {
            if let Some(owner) = self.count.leave() {
                assert_eq!(owner, OWNER);
                assert!(!self.awake.swap(true, Ordering::Release), "woken twice");
            }
        }

        fn wait(&self) {
            if !self.count.is_owner_alone() && self.count.leave_as_owner(OWNER) {
                while !self.awake.load(Ordering::Acquire) {
                    thread::yield_now();
                }
            }
            // The children's writes are seen, and the values are the owner's again.
            for value in &self.values {
                // SAFETY: the scope has ended.
                value.with_mut(|v| unsafe { assert_eq!(*v, 1) });
            }
        }
    }

    fn lent() -> Arc<Lent> {
        Arc::new(Lent {
            count: Count::new(),
            awake: AtomicBool::new(false),
            values: [UnsafeCell::new(0), UnsafeCell::new(0)],
        })
    }

    #[test]
    fn loom_a_scope_ends_after_its_children() {
        loom::model(|| {
            let lent = lent();
            for value in 0..2 {
                lent.count.enter();
                let lent = lent.clone();
                thread::spawn(move || {
                    lent.write(value);
                    lent.leave();
                });
            }
            lent.wait();
        });
    }

    #[test]
    fn loom_a_scope_ends_after_its_grandchildren() {
        loom::model(|| {
            let lent = lent();
            lent.count.enter();
            let child = lent.clone();
            thread::spawn(move || {
                child.count.enter();
                let grandchild = child.clone();
                thread::spawn(move || {
                    grandchild.write(1);
                    grandchild.leave();
                });
                child.write(0);
                child.leave();
            });
            lent.wait();
        });
    }
}
