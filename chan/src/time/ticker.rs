//! Messages at regular intervals that can be changed.

use crate::Receiver;
use crate::limit::from_now;
use std::fmt;
use std::time::{Duration, Instant};

/// Delivers a message at regular intervals, until it is stopped.
///
/// The messages come on a [`channel`](Ticker::channel), each the instant at which it was due. The
/// channel holds at most one. Messages that come due before that one is received are left out. The
/// next message comes at its own time.
///
/// As with a [`Timer`](super::Timer), all methods can be called from any goroutine and any thread
/// at any time. Dropping the ticker does not change its channel.
///
/// # Examples
/// ```
/// use narrowboat::time::Ticker;
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let ticker = Ticker::new(Duration::from_millis(5));
/// for _ in ticker.channel().iter().take(3) {}
/// assert!(start.elapsed() >= Duration::from_millis(15));
/// ```
pub struct Ticker {
    channel: Receiver<Instant>,
}

#[track_caller]
fn check(period: Duration) {
    assert!(!period.is_zero(), "a ticker needs a period longer than zero");
}

impl Ticker {
    /// A ticker. Its first message is due `period` from now. A period past the range of the clock
    /// counts as a hundred years.
    ///
    /// # Panics
    /// If `period` is zero, as in Go: there would be no time between its messages.
    /// ([`tick`](super::tick) makes a channel that always has a message.)
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let ticker = narrowboat::time::Ticker::new(Duration::from_millis(5));
    /// ticker.channel().recv().unwrap();
    /// ```
    #[track_caller]
    pub fn new(period: Duration) -> Ticker {
        check(period);
        Ticker { channel: Receiver::settable(from_now(period), Some(period)) }
    }

    /// The channel of the messages. It never closes, not even when the ticker is stopped. Clones of
    /// it are the same channel: each message goes to one of them.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let ticker = narrowboat::time::Ticker::new(Duration::from_millis(5));
    /// let first = ticker.channel().recv().unwrap();
    /// let second = ticker.channel().recv().unwrap();
    /// assert!(second - first >= Duration::from_millis(5));
    /// ```
    pub fn channel(&self) -> &Receiver<Instant> {
        &self.channel
    }

    /// Stops the ticker. After this has returned no message is received, until it is
    /// [`reset`](Ticker::reset).
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let ticker = narrowboat::time::Ticker::new(Duration::from_millis(1));
    /// ticker.stop();
    /// assert!(ticker.channel().recv_timeout(Duration::from_millis(5)).is_err());
    /// ```
    pub fn stop(&self) {
        self.channel.timer().set(None, None);
    }

    /// Starts the ticker anew: the next message is due `period` from now.
    ///
    /// # Panics
    /// If `period` is zero.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let ticker = narrowboat::time::Ticker::new(Duration::from_secs(3600));
    /// ticker.reset(Duration::from_millis(5));
    /// ticker.channel().recv().unwrap();
    /// ```
    #[track_caller]
    pub fn reset(&self, period: Duration) {
        check(period);
        self.channel.timer().set(Some(from_now(period)), Some(period));
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Ticker { .. }")
    }
}
