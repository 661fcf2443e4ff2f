//! Threads of a model.

use crate::rounds::Round;
use std::sync::{Arc, Mutex, PoisonError};

pub use std::thread::yield_now;

type Inner<T> = Arc<Mutex<Option<std::thread::JoinHandle<T>>>>;

/// A thread of a model.
#[derive(Debug)]
pub struct JoinHandle<T>(Inner<T>);

impl<T> JoinHandle<T> {
    /// Waits for its end.
    ///
    /// # Errors
    /// If it has panicked, with the panic.
    pub fn join(self) -> std::thread::Result<T> {
        take(&self.0).expect("only the end of a round joins it too, after all handles").join()
    }
}

fn take<T>(handle: &Inner<T>) -> Option<std::thread::JoinHandle<T>> {
    handle.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Starts a thread, which ends before the round of the model ends.
///
/// # Panics
/// Outside of a model.
pub fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let round = Round::current();
    let inherited = round.clone();
    let thread = std::thread::spawn(move || {
        inherited.enter();
        f()
    });
    let handle = Arc::new(Mutex::new(Some(thread)));
    let left = handle.clone();
    round.at_end(Box::new(move || {
        if let Some(thread) = take(&left) {
            thread.join().map(drop).expect("a thread that the model does not join has panicked");
        }
    }));
    JoinHandle(handle)
}
