//! How long a test may take. A program that hangs fails its test.

use crate::{On, Stack, ms, on, pause};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// So long that only a lost wake-up reaches it.
pub const LONG: Duration = Duration::from_secs(60);

/// Runs `f` on a new thread. Fails if `f` takes longer than `limit`.
#[track_caller]
pub fn within<T: Send + 'static>(limit: Duration, f: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let _ = done.send(f());
    });
    match result.recv_timeout(limit) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("not finished within {limit:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("it sends before it ends"),
        },
    }
}

/// Runs `f` as the main goroutine of the program, as a user's `main` would, for at most four
/// minutes.
#[track_caller]
pub fn program<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    within(Duration::from_secs(240), move || narrowboat_runtime::run(f))
}

/// As [`program`], with one worker and one processor. Tests that use this take turns; in their
/// binary, nothing else starts the runtime.
#[track_caller]
pub fn program_on_one_processor<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    // Fails after the first time.
    let _ = narrowboat_runtime::Config::new().processors(1).workers(1).start();
    program(f)
}

/// Runs `f` as the body of a test, on what `NARROWBOAT_TEST_ON` says, for at most two minutes.
pub fn bounded(f: impl FnOnce() + Send + 'static) {
    on().bounded(f);
}

impl On {
    /// Runs `f` as the body of a test, for at most two minutes. As a goroutine it shares its stack.
    pub fn bounded(self, f: impl FnOnce() + Send + 'static) {
        within(Duration::from_secs(120), move || self.body(f, Stack::Shared));
    }
}

/// Polls `condition` until it holds. Fails after [`LONG`].
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "never happened: {what}");
        pause(ms(1));
    }
}
