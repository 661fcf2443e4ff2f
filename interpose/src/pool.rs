//! Calls that wait in the kernel, on the runtime's pool of threads.
//!
//! Nothing that such a call writes lies in the parked goroutine's stack: what it reads and writes
//! moves into the closure, and comes back as the closure's value.
//!
//! Some calls end only when another goroutine does something: when it releases a lock, say. If they
//! had all threads of the pool, that goroutine might wait for a thread itself, in an `fsync`, and
//! the program would hang. So such calls have at most half of the threads, and each needs a
//! [`Place`]. Without one, a goroutine looks in pauses.

use crate::error::{errno, fail};
use libc::c_int;
use narrowboat_runtime::as_thread::{most_threads, on_pool_in_place, sleep_in_place};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What a function of libc's has returned: its value, or the `errno` that came with -1.
pub(crate) type Returned<T> = Result<T, c_int>;

/// What a function has just returned.
pub(crate) fn returned<T: PartialEq + From<i8>>(value: T) -> Returned<T> {
    if value == T::from(-1) { Err(errno()) } else { Ok(value) }
}

/// What the function of libc's name returns to its caller.
pub(crate) fn give<T: From<i8>>(returned: Returned<T>) -> T {
    returned.unwrap_or_else(fail)
}

/// Runs a call that ends without the help of another goroutine.
#[track_caller]
pub(crate) fn on_pool<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    on_pool_in_place(call)
}

/// Runs a call that ends when another goroutine helps, perhaps. Without a place for it, `attempt`
/// is made in pauses: the call that does not wait. The caller has just made it, in vain.
#[track_caller]
pub(crate) fn wait_on_pool<T: Send + 'static>(
    mut attempt: impl FnMut() -> Option<T>,
    call: impl FnOnce() -> T + Send + 'static,
) -> T {
    let mut pauses = Pauses::begin();
    loop {
        if let Some(place) = Place::take() {
            return on_pool_in_place(move || {
                let _place = place;
                call()
            });
        }
        pauses.sleep();
        if let Some(answer) = attempt() {
            return answer;
        }
    }
}

/// The right to have a thread of the pool for a call that may need another goroutine's help.
struct Place(());

static TAKEN: AtomicUsize = AtomicUsize::new(0);

impl Place {
    fn take() -> Option<Place> {
        let most = most_threads() / 2;
        let one_more = |taken| (taken < most).then_some(taken + 1);
        // Relaxed: a count, which orders nothing else.
        TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Place(()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes attempts in pauses until one has an answer. `None`: the deadline has passed.
#[track_caller]
pub(crate) fn pauses_until<T>(
    deadline: Option<Instant>,
    mut attempt: impl FnMut() -> Option<T>,
) -> Option<T> {
    let mut pauses = Pauses::begin();
    loop {
        // Before the attempt: the last one comes after the deadline.
        let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if let Some(answer) = attempt() {
            return Some(answer);
        }
        if is_late {
            return None;
        }
        pauses.sleep();
    }
}

/// Sleeps between looks, each a quarter of the wait so far.
pub(crate) struct Pauses {
    start: Instant,
}

impl Pauses {
    const FIRST: Duration = Duration::from_micros(20);
    const LONGEST: Duration = Duration::from_millis(5);

    pub(crate) fn begin() -> Pauses {
        Pauses { start: Instant::now() }
    }

    #[track_caller]
    pub(crate) fn sleep(&mut self) {
        let now = Instant::now();
        sleep_in_place(now + ((now - self.start) / 4).clamp(Pauses::FIRST, Pauses::LONGEST));
    }
}
