//! Making channels.

use crate::channel::Channel;
use crate::info::UNBOUNDED;
use crate::outside::{EventChannel, EventSource};
use crate::receiver::{Flavor, Receiver};
use crate::sender::Sender;
use crate::timer::Timer;
use narrowboat_runtime::park::note_channel_to_outside;
use narrowboat_runtime::world;
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

/// Makes a channel that holds at most `cap` messages. It allocates their memory at once.
///
/// With a `cap` of 0 it holds none: a send waits until a receive takes its message, and a receive
/// waits until a send gives it one, as on Go's unbuffered channels.
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

/// Makes a channel that holds any number of messages. Sends never wait.
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

/// Makes a channel that delivers one message, `duration` from now. The message is the instant at
/// which it was due. The channel never closes.
///
/// # Examples
/// ```
/// use narrowboat::chan::{after, select, unbounded};
/// use std::time::Duration;
///
/// let (_tx, rx) = unbounded::<i32>();
/// select! {
///     recv(rx) -> msg => panic!("unexpected message {msg:?}"),
///     recv(after(Duration::from_millis(5))) -> _ => println!("timed out"),
/// }
/// ```
pub fn after(duration: Duration) -> Receiver<Instant> {
    // An instant past the range of the clock never comes.
    world::now().checked_add(duration).map_or_else(never, at)
}

/// Makes a channel that delivers one message, at the instant `when`. The message is `when` itself.
/// The channel never closes.
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

/// Makes a channel that delivers a message every `duration`. Each message is the instant at which
/// it was due. The channel never closes.
///
/// It holds at most one message. Messages that come due before that one is received are left out.
/// The next message comes at its own time.
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
    world::now().checked_add(duration).map_or_else(never, |first| timer(first, Some(duration)))
}

/// Makes a channel that never delivers a message and never closes. In a `select!` it disables an
/// arm.
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

/// A receiver that has a message whenever the condition of the source is true. For the other crates
/// of Narrowboat.
pub fn receiver(what: impl EventSource + 'static) -> Receiver<()> {
    note_channel_to_outside();
    Receiver { flavor: Flavor::Event(Arc::new(EventChannel::new(what))) }
}
