//! What the test binaries share: sizes, a limit on time, and counted values.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Tells processors apart: goroutines of one have the same. It is the C library's name for the thread
/// that the processor has its thread-local block from.
pub fn processor() -> u64 {
    // SAFETY: no arguments, and no thread is needed for it.
    unsafe { libc::pthread_self() }
}

/// Blocks the calling thread, in a goroutine too: by a system call that is not made by libc's
/// function.
pub fn block_natively(time: Duration) {
    let time = libc::timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    // SAFETY: the time can be read, and the rest is not asked for.
    unsafe { libc::syscall(libc::SYS_nanosleep, &time, std::ptr::null_mut::<libc::timespec>()) };
}

/// The size of a test: `release` with optimisation, `debug` without, both times `NARROWBOAT_TEST_SCALE` per cent.
pub fn sized(release: usize, debug: usize) -> usize {
    let percent = number_from_env("NARROWBOAT_TEST_SCALE").unwrap_or(100);
    let size = if cfg!(debug_assertions) { debug } else { release };
    (size * percent / 100).max(1)
}

/// The number in an environment variable, if there is one.
pub fn number_from_env(name: &str) -> Option<usize> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} should be a number, not {text:?}")))
}

/// Whether every goroutine has a stack of its own, which is another answer for what depends on that.
pub fn own_stacks() -> bool {
    std::env::var_os("NARROWBOAT_STACKS").is_some_and(|stacks| stacks == "own")
}

/// Runs `f` as the main goroutine of the program, as a user's `main` would. A program that hangs fails its test.
#[track_caller]
pub fn program<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    within(Duration::from_secs(240), move || narrowboat::run(f))
}

/// Runs `f` on a plain thread and fails if it takes longer than `limit`.
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

/// Waits until `condition` holds, looking now and then; fails after a generous while.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "never happened: {what}");
        narrowboat::sleep(Duration::from_millis(2));
    }
}

/// A tool that is not Rust's. If it is not installed the test says so on the real stderr, which the test harness does
/// not capture; where `NARROWBOAT_REQUIRE_TOOLS` is set, as in the project's own checks, that is a failure.
pub fn tool(name: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(name).is_file()) {
        return Some(Command::new(name));
    }
    assert!(std::env::var_os("NARROWBOAT_REQUIRE_TOOLS").is_none(), "{name} is required and not installed");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {name} not found");
    None
}

/// Counts how many of its [`Counted`] values were made and how many dropped.
#[derive(Clone, Default)]
pub struct Counter {
    made: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

impl Counter {
    pub fn value(&self) -> Counted {
        self.made.fetch_add(1, Ordering::Relaxed);
        Counted { dropped: self.dropped.clone(), alive: Box::new(true) }
    }

    pub fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    pub fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Acquire)
    }
}

/// A value whose destructor counts, and owns memory that a second drop would free twice.
pub struct Counted {
    dropped: Arc<AtomicUsize>,
    alive: Box<bool>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert!(std::mem::replace(&mut *self.alive, false), "dropped twice");
        self.dropped.fetch_add(1, Ordering::Release);
    }
}

/// A small generator (xorshift), so that a failing torture can be repeated from its seed and lives on the stack.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit as u64) as usize
    }
}

/// Runs one test of the calling test binary again, as a process of its own with `variables` set, and passes if that does.
///
/// The runtime is one per process and reads its environment when it starts, so another mode needs another process.
#[track_caller]
pub fn again(test: &str, variables: &[(&str, &str)]) {
    let binary = std::env::current_exe().expect("a test knows its binary");
    let output = std::process::Command::new(binary)
        .args(["--exact", test, "--test-threads=1"])
        .envs(variables.iter().copied())
        .output()
        .expect("the test binary runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{test} with {variables:?}: {}\n{out}\n{err}",
        output.status
    );
}
