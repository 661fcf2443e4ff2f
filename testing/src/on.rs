//! What a test runs on: its body, and the work that it starts beside it.

use crate::{eventually, ms, pause};
use std::env::VarError;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What the body of a test and the work that it starts with [`go`] run on.
///
/// | value | body | work |
/// | --- | --- | --- |
/// | `Threads` | a thread | threads |
/// | `Both` | a thread | goroutines |
/// | `Goroutines` | a goroutine | goroutines |
/// | `Mixed` | a thread | threads and goroutines by turns |
///
/// With `Mixed` a test may also use what it tests as an async task does, where
/// [`as_task`] says so.
///
/// A test gets its value in one of two ways: [`suite!`](crate::suite) takes that of the
/// environment, and [`suite_on_each!`](crate::suite_on_each) makes one test for each value but
/// `Both`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum On {
    /// Everything is a thread.
    Threads,
    /// Goroutines, and a body that is a thread.
    Both,
    /// Everything is a goroutine.
    Goroutines,
    /// The body is a thread, and every second piece of work is a goroutine.
    Mixed,
}

/// The stack of a body that is a goroutine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stack {
    /// Shared with other goroutines, by copying.
    Shared,
    /// Its own, so that other goroutines and threads may borrow its locals.
    Own,
}

impl On {
    /// Runs the body of a test. All bodies of a process have one spawn site.
    pub fn body(self, test: impl FnOnce() + Send + 'static, stack: Stack) {
        if self != On::Goroutines {
            return test();
        }
        let mut builder = narrowboat_runtime::Builder::new().name("the test's body");
        if stack == Stack::Own {
            builder = builder.own_stack(4 << 20);
        }
        let body = builder.spawn(test).expect("the runtime starts");
        body.join().unwrap_or_else(|panic| resume_unwind(panic));
    }

    /// Starts work beside the caller.
    ///
    /// All work of a process has one spawn site, so it earns shared stacks after the first thousand
    /// goroutines, even if each test starts few.
    pub fn go<T: Send + 'static>(self, f: impl FnOnce() -> T + Send + 'static) -> Work<T> {
        self.go_from_the_callers_line(f)
    }

    #[track_caller]
    fn go_from_the_callers_line<T: Send + 'static>(self, f: impl FnOnce() -> T + Send + 'static) -> Work<T> {
        static TURN: AtomicUsize = AtomicUsize::new(0);
        let thread = match self {
            On::Threads => true,
            On::Both | On::Goroutines => false,
            On::Mixed => TURN.fetch_add(1, Ordering::Relaxed).is_multiple_of(2),
        };
        if thread {
            Work::Thread(std::thread::spawn(f))
        } else {
            Work::Goroutine(narrowboat_runtime::spawn(f))
        }
    }

    /// Starts `n` pieces of work. Each gets its number.
    pub fn many<T: Send + 'static>(
        self,
        n: usize,
        f: impl Fn(usize) -> T + Clone + Send + 'static,
    ) -> Vec<Work<T>> {
        let mut works = Vec::with_capacity(n);
        for i in 0..n {
            let f = f.clone();
            works.push(self.go(move || f(i)));
        }
        works
    }

    /// The size of a crowd: `goroutines`, or at most 100 if some of them are threads.
    pub fn crowd(self, goroutines: usize) -> usize {
        match self {
            On::Both | On::Goroutines => goroutines,
            On::Threads | On::Mixed => goroutines.min(100),
        }
    }
}

/// What `NARROWBOAT_TEST_ON` says: `threads`, `both` (or unset), `goroutines` or `mixed`.
#[track_caller]
pub fn on() -> On {
    match std::env::var("NARROWBOAT_TEST_ON").as_deref() {
        Ok("threads") => On::Threads,
        Ok("both") | Err(VarError::NotPresent) => On::Both,
        Ok("goroutines") => On::Goroutines,
        Ok("mixed") => On::Mixed,
        other => {
            panic!(
                "NARROWBOAT_TEST_ON is {other:?}: set it to threads, both, goroutines or mixed, or unset it"
            )
        }
    }
}

/// Whether the caller's next operation is to be that of an async task, where it has such a form: with
/// `mixed`, every second one.
pub fn as_task() -> bool {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    // The turns of threads and goroutines are random enough among each other.
    on() == On::Mixed && TURN.fetch_add(1, Ordering::Relaxed).is_multiple_of(2)
}

/// Runs the body of a test, on what `NARROWBOAT_TEST_ON` says.
pub fn body(test: impl FnOnce() + Send + 'static, stack: Stack) {
    on().body(test, stack);
}

/// Starts work beside the caller, on what `NARROWBOAT_TEST_ON` says. The spawn site is the caller's
/// line, as in a program.
#[track_caller]
pub fn go<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Work<T> {
    on().go_from_the_callers_line(f)
}

/// Work that has one spawn site, whichever line starts it: see [`On::go`].
pub mod one_site {
    use super::{Work, on};

    /// Starts work beside the caller, on what `NARROWBOAT_TEST_ON` says.
    pub fn go<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Work<T> {
        on().go(f)
    }
}

/// As [`go`], for work that soon waits for the caller's next step: returns when the work runs and
/// has had the time to begin its wait.
#[track_caller]
pub fn waits<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Work<T> {
    let started = Arc::new(AtomicBool::new(false));
    let starts = started.clone();
    let work = go(move || {
        starts.store(true, Ordering::SeqCst);
        f()
    });
    eventually("it starts", || started.load(Ordering::SeqCst));
    pause(ms(3));
    work
}

/// Work that was started; ends with its result, or with the panic it ended with.
pub enum Work<T> {
    /// It runs as a goroutine.
    Goroutine(narrowboat_runtime::JoinHandle<T>),
    /// It runs as a thread.
    Thread(std::thread::JoinHandle<T>),
}

impl<T: Send + 'static> Work<T> {
    /// Waits for the end of the work. Passes a panic on.
    #[track_caller]
    pub fn join(self) -> T {
        self.try_join().unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// As `join`, for work that ends soon unless a wake-up was lost, which fails the test.
    #[track_caller]
    pub fn join_soon(self) -> T {
        eventually("the end of the work", || self.is_finished());
        self.join()
    }

    /// Waits for the end of the work; a panic is an error.
    #[track_caller]
    pub fn try_join(self) -> std::thread::Result<T> {
        match self {
            Work::Goroutine(handle) => handle.join(),
            // On the pool: in a goroutine std's join would block the processor, and what the thread
            // waits for may be there.
            Work::Thread(handle) => narrowboat_runtime::blocking(move || handle.join()),
        }
    }

    /// Whether the work has ended.
    pub fn is_finished(&self) -> bool {
        match self {
            Work::Goroutine(handle) => handle.is_finished(),
            Work::Thread(handle) => handle.is_finished(),
        }
    }
}

/// Waits for the end of each.
#[track_caller]
pub fn join_all<T: Send + 'static>(works: Vec<Work<T>>) -> Vec<T> {
    works.into_iter().map(Work::join).collect()
}

/// Whether every goroutine has its own stack, so that tests of shared stacks expect something else.
pub fn own_stacks() -> bool {
    std::env::var_os("NARROWBOAT_STACKS").is_some_and(|stacks| stacks == "own")
}

/// Makes tests of functions, which run on what `NARROWBOAT_TEST_ON` says. A function that is not
/// listed is dead code, which the compiler reports.
///
/// The functions after `scoped:` lend their locals to scoped threads. As goroutines they need their
/// own stack; all others share theirs.
#[macro_export]
macro_rules! suite {
    ($($(#[$attribute:meta])* $name:ident),* $(; scoped: $($scoped:ident),*)? $(,)?) => {
        mod suite {
            $(
                #[test]
                $(#[$attribute])*
                fn $name() {
                    $crate::body(super::$name, $crate::Stack::Shared);
                }
            )*
            $($(
                #[test]
                fn $scoped() {
                    $crate::body(super::$scoped, $crate::Stack::Own);
                }
            )*)?
        }
    };
}

/// Makes three tests of each function of an [`On`]: on threads, on goroutines, and mixed. Those on
/// goroutines run once more in a process with one worker and one processor, where a wait that
/// blocks the thread hangs.
#[macro_export]
macro_rules! suite_on_each {
    ($($name:ident),* $(,)?) => {
        mod on_threads {
            $(#[test] fn $name() { $crate::On::Threads.bounded(|| super::$name($crate::On::Threads)); })*
        }
        mod on_goroutines {
            $(#[test] fn $name() { $crate::On::Goroutines.bounded(|| super::$name($crate::On::Goroutines)); })*
        }
        mod mixed {
            $(#[test] fn $name() { $crate::On::Mixed.bounded(|| super::$name($crate::On::Mixed)); })*
        }
        #[test]
        fn on_one_worker_of_one_processor() {
            let count = [$(stringify!($name)),*].len();
            let one = [("NARROWBOAT_PROCESSORS", "1"), ("NARROWBOAT_WORKERS", "1")];
            $crate::all_again("on_goroutines", count, &one);
        }
    };
}
