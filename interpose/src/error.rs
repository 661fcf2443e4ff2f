//! `errno`, and answers of libc's functions.

use libc::c_int;

/// The calling thread's `errno`.
pub(crate) fn errno() -> c_int {
    // SAFETY: the thread's own word.
    unsafe { *libc::__errno_location() }
}

/// Sets the calling thread's `errno`, and returns what a function that failed does. The word is looked
/// up now: a goroutine may have parked meanwhile.
pub(crate) fn fail<T: From<i8>>(error: c_int) -> T {
    // SAFETY: the thread's own word.
    unsafe { *libc::__errno_location() = error };
    T::from(-1)
}

/// An answer that may say that a call has failed.
pub(crate) trait Answer: Copy {
    fn failed(self) -> bool;
}

impl Answer for c_int {
    fn failed(self) -> bool {
        self < 0
    }
}

impl Answer for isize {
    fn failed(self) -> bool {
        self < 0
    }
}

/// Whether a call has failed because it would have had to wait. (`EWOULDBLOCK` is the same number.)
pub(crate) fn would_block<T: Answer>(answer: T) -> bool {
    answer.failed() && errno() == libc::EAGAIN
}
