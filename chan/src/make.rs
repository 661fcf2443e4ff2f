//! Making channels.

use crate::channel::{Channel, UNBOUNDED};
use crate::receiver::Flavor;
use crate::timer::Timer;
use crate::{Receiver, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[track_caller]
fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let channel = Arc::new(Channel::new(capacity));
    (Sender { channel: channel.clone() }, Receiver { flavor: Flavor::Channel(channel) })
}

fn timer(first: Instant, period: Option<Duration>) -> Receiver<Instant> {
    Receiver { flavor: Flavor::Timer(Arc::new(Timer::new(first, period))) }
}

/// A channel that holds at most `cap` messages, for which it has the memory from the start.
///
/// With a `cap` of 0 it holds none: a send waits until a receive takes the message out of its
/// hands, and the other way round, as on Go's unbuffered channels.
///
/// # Panics
/// If `cap` messages are more than a process can address.
///
/// # Examples
/// ```
/// use std::thread;
///
/// let (tx, rx) = narrowboat::chan::bounded(1);
/// tx.send(1).unwrap();
/// thread::spawn(move || tx.send(2).unwrap()); // waits until the 1 has been received
/// assert_eq!(rx.recv(), Ok(1));
/// assert_eq!(rx.recv(), Ok(2));
/// ```
#[track_caller]
pub fn bounded<T>(cap: usize) -> (Sender<T>, Receiver<T>) {
    channel(cap)
}

/// A channel that holds any number of messages. Sends never wait.
///
/// # Examples
/// ```
/// let (tx, rx) = narrowboat::chan::unbounded();
/// for n in 0..1000 {
///     tx.send(n).unwrap();
/// }
/// drop(tx);
/// assert_eq!(rx.iter().sum::<i32>(), 499_500);
/// ```
#[track_caller]
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    channel(UNBOUNDED)
}

/// A channel that delivers one message, `duration` from now: the instant at which it was due. It
/// never closes.
///
/// # Examples
/// ```
/// use narrowboat::chan::{after, select, unbounded};
/// use std::time::Duration;
///
/// let (_tx, rx) = unbounded::<i32>();
/// select! {
///     recv(rx) -> msg => panic!("nobody sends {msg:?}"),
///     recv(after(Duration::from_millis(5))) -> _ => println!("timed out"),
/// }
/// ```
pub fn after(duration: Duration) -> Receiver<Instant> {
    // Past the range of the clock is never.
    Instant::now().checked_add(duration).map_or_else(never, at)
}

/// A channel that delivers one message, at the instant `when`: `when` itself. It never closes.
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
///
/// let when = Instant::now() + Duration::from_millis(5);
/// assert_eq!(narrowboat::chan::at(when).recv(), Ok(when));
/// assert!(Instant::now() >= when);
/// ```
pub fn at(when: Instant) -> Receiver<Instant> {
    timer(when, None)
}

/// A channel that delivers a message every `duration`: the instant at which it was due. It never
/// closes.
///
/// It holds one message at most: those that come due while it waits to be received are left out,
/// and the next one comes at its own time.
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let ticker = narrowboat::chan::tick(Duration::from_millis(5));
/// ticker.recv().unwrap();
/// ticker.recv().unwrap();
/// assert!(start.elapsed() >= Duration::from_millis(10));
/// ```
pub fn tick(duration: Duration) -> Receiver<Instant> {
    Instant::now().checked_add(duration).map_or_else(never, |first| timer(first, Some(duration)))
}

/// A channel that never delivers a message and never closes. In a `select!` it stands for an arm
/// that is switched off.
///
/// # Examples
/// ```
/// use narrowboat::chan::{after, never, select};
/// use std::time::Duration;
///
/// let limit: Option<Duration> = None;
/// let (tx, rx) = narrowboat::chan::unbounded();
/// tx.send(1).unwrap();
/// select! {
///     recv(rx) -> msg => assert_eq!(msg, Ok(1)),
///     recv(limit.map_or_else(never, after)) -> _ => unreachable!(),
/// }
/// ```
pub const fn never<T>() -> Receiver<T> {
    Receiver { flavor: Flavor::Never }
}
