//! A timer that can be stopped and set again.

use crate::Receiver;
use crate::limit::from_now;
use std::fmt;
use std::time::{Duration, Instant};

/// A single message at a point in time that can be changed.
///
/// The message comes on a [`channel`](Timer::channel), and is the instant at which it was due. All
/// methods can be called from any goroutine and any thread, even while other goroutines wait on the
/// channel, alone or in a `select!`: after [`stop`](Timer::stop) they go on waiting, after
/// [`reset`](Timer::reset) they wait for the new instant, whether it is earlier or later. When
/// either has returned, no earlier message is received.
///
/// Dropping the timer does not change its channel. A timer needs no `stop`; a timer without waiters
/// costs only its memory.
///
/// # Examples
/// ```
/// use narrowboat::time::Timer;
/// use narrowboat::chan::{select, unbounded};
/// use std::time::Duration;
///
/// let (_tx, rx) = unbounded::<i32>();
/// let timer = Timer::new(Duration::from_millis(5));
/// select! {
///     recv(rx) -> _ => unreachable!("no message is sent"),
///     recv(timer.channel()) -> due => assert!(due.unwrap() <= std::time::Instant::now()),
/// }
/// ```
pub struct Timer {
    channel: Receiver<Instant>,
}

impl Timer {
    /// A timer that fires `duration` from now. A duration past the range of the clock counts as a
    /// hundred years.
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let start = Instant::now();
    /// let timer = narrowboat::time::Timer::new(Duration::from_millis(5));
    /// timer.channel().recv().unwrap();
    /// assert!(start.elapsed() >= Duration::from_millis(5));
    /// ```
    pub fn new(duration: Duration) -> Timer {
        Timer::at(from_now(duration))
    }

    /// A timer that fires at `when`.
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let when = Instant::now() + Duration::from_millis(5);
    /// assert_eq!(narrowboat::time::Timer::at(when).channel().recv(), Ok(when));
    /// ```
    pub fn at(when: Instant) -> Timer {
        Timer { channel: Receiver::settable(when, None) }
    }

    /// The channel of the message. It never closes. Clones of it are the same channel: one of them
    /// gets the message.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let timer = narrowboat::time::Timer::new(Duration::from_secs(3600));
    /// assert!(timer.channel().try_recv().is_err());
    /// timer.reset(Duration::ZERO);
    /// assert!(timer.channel().try_recv().is_ok());
    /// ```
    pub fn channel(&self) -> &Receiver<Instant> {
        &self.channel
    }

    /// Stops the timer. True if a message was pending, due or not; it will not be received now.
    /// False if the message has been received, or the timer was stopped already.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let timer = narrowboat::time::Timer::new(Duration::ZERO);
    /// assert!(timer.stop());
    /// assert!(timer.channel().try_recv().is_err());
    /// assert!(!timer.stop());
    /// ```
    pub fn stop(&self) -> bool {
        self.channel.timer().set(None, None)
    }

    /// Sets the timer to fire `duration` from now, whatever its state. Returns what
    /// [`stop`](Timer::stop) would have.
    ///
    /// To postpone a timer again and again before it fires is cheap: it does not wake the waiters.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let timer = narrowboat::time::Timer::new(Duration::from_secs(3600));
    /// assert!(timer.reset(Duration::from_millis(5)));
    /// timer.channel().recv().unwrap();
    /// assert!(!timer.reset(Duration::from_millis(5)), "the message was received");
    /// timer.channel().recv().unwrap();
    /// ```
    pub fn reset(&self, duration: Duration) -> bool {
        self.reset_at(from_now(duration))
    }

    /// Sets the timer to fire at `when`, whatever its state. Returns what [`stop`](Timer::stop)
    /// would have.
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let timer = narrowboat::time::Timer::new(Duration::from_secs(3600));
    /// let when = Instant::now();
    /// timer.reset_at(when);
    /// assert_eq!(timer.channel().recv(), Ok(when));
    /// ```
    pub fn reset_at(&self, when: Instant) -> bool {
        self.channel.timer().set(Some(when), None)
    }

    /// Whether [`stop`](Timer::stop) would return true.
    pub(super) fn is_set(&self) -> bool {
        self.channel.timer().is_set()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Timer { .. }")
    }
}
