//! Calls that block their thread, on threads that exist for that.
//!
//! A pool of threads, empty at first. It guarantees that submitted work runs once, that there are
//! no more threads than the bound says, and that threads without work end after a while. Any
//! goroutine or thread may submit work. The caller waits for it as for anything else, parked or
//! blocked, and gets its result or its panic.
//!
//! Under the one lock of the pool:
//!
//! 1. *Hand in.* The work goes to the end of the queue. If the queue has more work than there are
//!    free threads, and the bound allows, the caller counts a new thread, and starts it when the
//!    lock has been released; else it notifies one.
//! 2. *Take.* A thread takes the first work of the queue and runs it without the lock. If there is
//!    none, it counts itself free and waits. It stops counting when it wakes: a thread that was
//!    notified and has not woken yet still counts for the work it was notified of, which is still
//!    in the queue.
//! 3. *End.* A thread that has waited for the pool's patience looks into the queue once more; if
//!    there is nothing, it subtracts itself, all in one critical section. So work that came in time
//!    for it is not left behind. A thread with child processes stays: for children that asked the
//!    kernel for a signal at the end of their parent (`PR_SET_PDEATHSIG`), its end would be that of
//!    the parent.
//! 4. *Refused.* If the system has no thread to give, the caller subtracts it again. If that was
//!    the last one, no thread is left to take what is in the queue, so the caller does, in place.
//!
//! The result passes through a cell on the heap with a lock of its own. Under that lock, the thread
//! stores the result and takes the waiter out, and the caller looks and enters.

use crate::lock::Mutex;
use crate::ours;
use crate::park::in_place::park_in_place;
use crate::park::{self, Outcome, Reason, WaitQueue, Waiter};
use crate::sched::config::DEFAULT_BLOCKING_THREADS;
use crate::sched::{self, fork, world};
use crate::sys;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

type Work = Box<dyn FnOnce() + Send>;

struct Pool {
    state: Mutex<State>,
    work_came: Condvar,
    /// How long a thread without work stays.
    patience: Duration,
}

struct State {
    queue: VecDeque<Work>,
    threads: usize,
    free: usize,
    /// How many times a thread has begun or ended.
    changes: u64,
}

impl State {
    fn count_in(&mut self) {
        self.threads += 1;
        self.changes += 1;
    }

    fn count_out(&mut self) {
        self.threads -= 1;
        self.changes += 1;
    }
}

static POOL: Pool = Pool::new(Duration::from_secs(10));

/// Runs `f` on a thread where it may block, and waits for it: the calling goroutine is parked, so
/// that the other goroutines of its processor go on. It is for calls that wait in the system and
/// know nothing of Narrowboat: files, a C library, a child process.
///
/// The threads are a pool of at most 512
/// ([`Config::blocking_threads`](crate::Config::blocking_threads) and `NARROWBOAT_BLOCKING_THREADS`
/// change that), made when there is work for them; one that had none for ten seconds ends, unless
/// processes live that were started on it. If all are busy, `f` waits for its turn. Called from
/// inside such an `f`, it runs what it is given in place.
///
/// `f` does not see the goroutine's thread-locals but a pool thread's, which earlier work may have
/// used. Computation is better left in the goroutine: the pool is not limited to the number of
/// cores.
///
/// In a simulated world `f` runs in place, on the stack and with the thread-locals of the caller: a
/// thread of its own could not be repeated.
///
/// # Panics
/// If `f` does, with its payload.
///
/// # Examples
/// ```
/// let text = narrowboat::blocking(|| std::fs::read_to_string("/proc/self/comm")).unwrap();
/// assert!(text.ends_with('\n'));
/// ```
#[track_caller]
pub fn blocking<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    waiting_for(Reason::Blocking, Location::caller(), f)
}

/// [`blocking`] for another crate of Narrowboat, which says what the work is for.
#[doc(hidden)]
pub fn waiting_for<F, T>(reason: Reason, at: &'static Location<'static>, f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    run_on(&POOL, most_threads(), reason, at, f).unwrap_or_else(|panic| resume_unwind(panic))
}

/// How many threads the pool may have.
#[doc(hidden)]
pub fn most_threads() -> usize {
    sched::started().map_or(DEFAULT_BLOCKING_THREADS, |runtime| runtime.sizes.blocking_threads)
}

/// Threads of the pool that wait for work: they wake nothing by themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IdleThreads {
    pub(crate) count: usize,
    /// Grows with each thread that begins or ends. If two looks are equal, they have seen the same
    /// threads.
    changes: u64,
}

pub(crate) fn idle_threads() -> IdleThreads {
    let state = POOL.lock();
    let count = if state.queue.is_empty() { state.free } else { 0 };
    IdleThreads { count, changes: state.changes }
}

/// [`blocking`] for a function of the C library: the caller's stack stays in place meanwhile.
///
/// # Panics
/// If [`may_park`](crate::as_thread::may_park) would not say so, and if `f` does.
#[doc(hidden)]
#[track_caller]
pub fn on_pool_in_place<F, T>(f: F) -> T
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    waiting_for(Reason::Libc, Location::caller(), f)
}

fn run_on<F, T>(
    pool: &'static Pool,
    most: usize,
    reason: Reason,
    at: &'static Location<'static>,
    f: F,
) -> thread::Result<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // In a forked process there is no pool, and no other goroutine has to go on. A world has to
    // know when the work is done.
    let in_world = world::current().is_some();
    if ours::with(|ours| ours.of_the_pool.get()) || fork::in_child() || in_world {
        let outcome = catch_unwind(AssertUnwindSafe(f));
        if in_world && reason != Reason::Libc {
            park::checkpoint();
        }
        return outcome;
    }
    park::assert_may_park();
    let answer = Arc::new(Answer { state: Mutex::new((None, WaitQueue::new())) });
    let theirs = Arc::clone(&answer);
    pool.hand_in(Box::new(move || theirs.put(catch_unwind(AssertUnwindSafe(f)))), most);
    answer.take(reason, at)
}

impl Pool {
    const fn new(patience: Duration) -> Pool {
        let state = State { queue: VecDeque::new(), threads: 0, free: 0, changes: 0 };
        Pool { state: Mutex::new(state), work_came: Condvar::new(), patience }
    }

    /// Nothing panics while the lock is held.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Step 1.
    fn hand_in(&'static self, work: Work, most: usize) {
        let mut state = self.lock();
        state.queue.push_back(work);
        if state.queue.len() <= state.free || state.threads >= most {
            drop(state);
            self.work_came.notify_one();
            return;
        }
        state.count_in();
        drop(state);
        let thread = thread::Builder::new().name("narrowboat-blocking".into());
        if fork::watch().and_then(|()| thread.spawn(|| self.serve())).is_err() {
            self.run_in_place();
        }
    }

    /// Steps 2 and 3.
    fn serve(&self) {
        ours::with(|ours| ours.of_the_pool.set(true));
        let mut state = self.lock();
        loop {
            if let Some(work) = state.queue.pop_front() {
                drop(state);
                work();
                state = self.lock();
                continue;
            }
            state.free += 1;
            if state.queue.is_empty() {
                // Until now the monitor may have counted on this thread to wake something.
                sched::wake_monitor();
            }
            let (guard, waited) =
                self.work_came.wait_timeout(state, self.patience).unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.free -= 1;
            if waited.timed_out() && state.queue.is_empty() && !sys::has_children() {
                state.count_out();
                return;
            }
        }
    }

    /// Step 4.
    #[cold]
    fn run_in_place(&self) {
        let mut state = self.lock();
        state.count_out();
        while state.threads == 0
            && let Some(work) = state.queue.pop_front()
        {
            drop(state);
            work();
            state = self.lock();
        }
    }
}

/// Where a result is stored, and the queue of its waiter. On the heap, where both sides reach it.
struct Answer<T> {
    state: Mutex<(Option<thread::Result<T>>, WaitQueue)>,
}

impl<T> Answer<T> {
    fn lock(&self) -> MutexGuard<'_, (Option<thread::Result<T>>, WaitQueue)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, result: thread::Result<T>) {
        let mut state = self.lock();
        state.0 = Some(result);
        let waiting = state.1.pop_claim(None);
        drop(state);
        if let Some(node) = waiting {
            // SAFETY: popped above, so valid until the unpark, which is the only one of this wait.
            unsafe { node.as_ref().waiter().unpark() };
        }
    }

    fn take(&self, reason: Reason, at: &'static Location<'static>) -> thread::Result<T> {
        // No object: a socket that connects here waits for the same reason as one that waits for
        // its descriptor, but has no descriptor to describe.
        let waiter = Waiter::begin(reason, 0, at);
        let node = waiter.node();
        let mut state = self.lock();
        if state.0.is_none() {
            // SAFETY: the node is the waiter's own and is in no queue between its waits; it lives
            // until after the wait, and the lock guards it. The waiter is from its latest `begin`.
            // What waits for libc is a goroutine.
            unsafe {
                (*node.as_ptr()).prepare(waiter, Outcome(Outcome::FIRST), true);
                state.1.push(node);
                drop(state);
                if reason == Reason::Libc {
                    park_in_place(waiter, None);
                } else {
                    waiter.park(None);
                }
            }
            state = self.lock();
        }
        state.0.take().expect("woken when the result is there")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spawn;
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn run<T: Send + 'static>(
        pool: &'static Pool,
        most: usize,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> thread::Result<T> {
        run_on(pool, most, Reason::Blocking, Location::caller(), f)
    }

    fn pool() -> &'static Pool {
        pool_with(Duration::from_secs(60))
    }

    fn pool_with(patience: Duration) -> &'static Pool {
        // Kept here, so that a tool which looks for leaks does not take it for one.
        static ALL: Mutex<Vec<&'static Pool>> = Mutex::new(Vec::new());
        let pool = Box::leak(Box::new(Pool::new(patience)));
        ALL.lock().unwrap().push(pool);
        pool
    }

    #[test]
    #[cfg_attr(miri, ignore = "a goroutine runs on assembly")]
    fn work_runs_elsewhere_and_its_panic_comes_back() {
        let here = thread::current().id();
        let there = spawn(move || blocking(|| thread::current().id())).join().unwrap();
        assert_ne!(here, there);
        let panic = spawn(|| blocking(|| -> () { std::panic::panic_any(7u8) })).join().unwrap_err();
        assert_eq!(panic.downcast_ref::<u8>(), Some(&7));
        // The thread on which it happened remains in service.
        assert_eq!(blocking(|| 5), 5);
    }

    #[test]
    #[cfg_attr(miri, ignore = "a goroutine runs on assembly")]
    fn there_are_as_many_threads_as_the_bound_allows_and_no_more() {
        const MOST: usize = 3;
        static INSIDE: AtomicUsize = AtomicUsize::new(0);
        static HIGHEST: AtomicUsize = AtomicUsize::new(0);
        let pool = pool();
        let callers: Vec<_> = (0..40)
            .map(|_| {
                spawn(move || {
                    run(pool, MOST, || {
                        HIGHEST.fetch_max(INSIDE.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(3));
                        INSIDE.fetch_sub(1, Ordering::SeqCst);
                        thread::current().id()
                    })
                    .unwrap()
                })
            })
            .collect();
        let threads: HashSet<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        assert!(threads.len() <= MOST, "{threads:?}");
        assert_eq!(HIGHEST.load(Ordering::SeqCst), threads.len());
        assert_eq!(pool.lock().threads, threads.len());
    }

    #[test]
    #[cfg_attr(miri, ignore = "a thread of the pool looks for child processes, which Miri does not")]
    fn one_after_the_other_needs_one_thread() {
        let pool = pool();
        for n in 0..200 {
            assert_eq!(run(pool, 100, move || n).unwrap(), n);
            // The thread counts itself free a moment after the result is there.
            while pool.lock().free == 0 {
                thread::yield_now();
            }
        }
        assert_eq!(pool.lock().threads, 1);
    }

    #[test]
    #[cfg_attr(miri, ignore = "a goroutine runs on assembly")]
    fn threads_without_work_end_and_new_work_finds_new_ones() {
        let pool = pool_with(Duration::from_millis(1));
        for _ in 0..20 {
            let callers: Vec<_> = (0..8).map(|n| spawn(move || run(pool, 4, move || n).unwrap())).collect();
            assert!(callers.into_iter().map(|caller| caller.join().unwrap()).eq(0..8));
            let start = std::time::Instant::now();
            while pool.lock().threads > 0 {
                assert!(start.elapsed() < Duration::from_secs(60), "they stay");
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(pool.lock().free, 0);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri starts no processes")]
    fn a_thread_stays_while_a_process_lives_that_was_started_on_it() {
        let pool = pool_with(Duration::from_millis(1));
        let start = || std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let mut child = run(pool, 1, start).unwrap();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(pool.lock().threads, 1);
        child.kill().unwrap();
        child.wait().unwrap();
        let start = std::time::Instant::now();
        while pool.lock().threads > 0 {
            assert!(start.elapsed() < Duration::from_secs(60), "it stays for ever");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "a thread of the pool looks for child processes, which Miri does not")]
    fn work_that_calls_for_more_runs_it_in_place() {
        let pool = pool();
        let (outer, inner) = run(pool, 1, move || {
            let inner = run(pool, 1, || thread::current().id()).unwrap();
            (thread::current().id(), inner)
        })
        .unwrap();
        assert_eq!(outer, inner);
    }

    #[test]
    fn without_a_thread_the_caller_does_the_work() {
        let pool = pool();
        // As `hand_in` leaves it when the system has refused the first thread.
        let done = Arc::new(AtomicUsize::new(0));
        let mut state = pool.lock();
        state.threads = 1;
        for _ in 0..3 {
            let done = Arc::clone(&done);
            state.queue.push_back(Box::new(move || {
                done.fetch_add(1, Ordering::SeqCst);
            }));
        }
        drop(state);
        pool.run_in_place();
        assert_eq!(done.load(Ordering::SeqCst), 3);
        assert_eq!(pool.lock().threads, 0);
    }

    #[test]
    #[cfg_attr(miri, ignore = "a goroutine runs on assembly")]
    fn a_crowd_of_callers_all_get_their_own_result() {
        let pool = pool();
        let callers: Vec<_> = (0..500u64)
            .map(|n| spawn(move || (0..10).all(|k| run(pool, 4, move || n * k).unwrap() == n * k)))
            .collect();
        assert!(callers.into_iter().all(|caller| caller.join().unwrap()));
        assert!(pool.lock().queue.is_empty());
    }
}
