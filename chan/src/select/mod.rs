//! Waiting for several channel operations at once.

mod arm;
pub(crate) mod entry;
mod handle;
mod macros;
mod nodes;
mod operation;
mod order;
pub(crate) mod ready;
mod recv;
mod run;
mod send;
mod shuffle;
mod token;

pub use arm::Arm;
pub use operation::SelectedOperation;
pub use order::Order;

use crate::error::{ReadyTimeoutError, SelectTimeoutError, TryReadyError, TrySelectError};
use crate::limit::Limit;
use crate::{Receiver, Sender};
use run::choose;
use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};
use token::Token;

/// A select over a list of operations that is known only at run time.
///
/// If the operations are known when the program is written, [`select!`](crate::select!) is shorter.
/// [`send`](Select::send) and [`recv`](Select::recv) add an operation and return its index.
/// [`select`](Select::select) and its variants choose an operation and return a
/// [`SelectedOperation`], which *must* be completed, with the sender or receiver that was added.
///
/// An operation is also chosen when its channel is closed: completing it then gives the error.
///
/// [`ready`](Select::ready) and its variants choose nothing: they wait until an operation is
/// possible, return its index, and leave it to the caller to attempt it.
///
/// # Examples
/// ```
/// use narrowboat::chan::{Select, unbounded};
///
/// let channels: Vec<_> = (0..3).map(|_| unbounded()).collect();
/// channels[1].0.send("from the second").unwrap();
///
/// let mut select = Select::new();
/// for (_, rx) in &channels {
///     select.recv(rx);
/// }
/// let chosen = select.select();
/// let index = chosen.index();
/// assert_eq!(index, 1);
/// assert_eq!(chosen.recv(&channels[index].1), Ok("from the second"));
/// ```
pub struct Select<'a> {
    arms: Vec<Arm<'a>>,
    /// The index of the next operation. Indices of removed operations are not used again.
    next: usize,
    order: Order,
    added_on: AddedOn,
}

// SAFETY: the operations point to senders and receivers of any message type, including types that
// must stay on their thread. A select moves messages as bytes, under the locks of their channels,
// which no thread can observe. Only the receiver of a message gives access to it, and a receiver of
// such a type cannot be on another thread. Only one operation of a select runs code of the
// message's type: the drop of a message that was chosen and never completed. On any thread but the
// one that all its operations were added on, a select forgets the message instead (see `AddedOn`).
unsafe impl Send for Select<'_> {}
// SAFETY: a shared select can only be cloned and printed. For the clone, see above.
unsafe impl Sync for Select<'_> {}

/// The thread on which the operations of a select were added.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AddedOn {
    /// No operation was added yet.
    Nowhere,
    /// All were added on the thread with this address of `MARK`.
    Thread(usize),
    /// They were added on several threads.
    Several,
}

impl AddedOn {
    fn here() -> AddedOn {
        thread_local!(static MARK: u8 = const { 0 });
        // The address of a thread-local identifies a living thread. If a thread has the address of
        // a dead one, no thread is left that could share the message.
        AddedOn::Thread(MARK.with(|mark| (&raw const *mark).addr()))
    }

    fn add(&mut self) {
        *self = match *self {
            AddedOn::Nowhere => AddedOn::here(),
            added_on if added_on == AddedOn::here() => added_on,
            _ => AddedOn::Several,
        };
    }
}

impl<'a> Select<'a> {
    /// A select without operations. If several are possible, each has the same chance.
    ///
    /// ```
    /// let mut select = narrowboat::chan::Select::new();
    /// let (tx, _rx) = narrowboat::chan::unbounded::<i32>();
    /// assert_eq!(select.send(&tx), 0);
    /// ```
    pub fn new() -> Select<'a> {
        Select::with(Order::Fair)
    }

    /// A select without operations. If several are possible, the first one added is chosen.
    ///
    /// ```
    /// use narrowboat::chan::{Select, unbounded};
    ///
    /// let (tx, rx) = unbounded();
    /// tx.send(1).unwrap();
    /// let mut select = Select::new_biased();
    /// let receive = select.recv(&rx);
    /// select.send(&tx);
    /// let chosen = select.select();
    /// assert_eq!(chosen.index(), receive);
    /// assert_eq!(chosen.recv(&rx), Ok(1));
    /// ```
    pub fn new_biased() -> Select<'a> {
        Select::with(Order::Biased)
    }

    fn with(order: Order) -> Select<'a> {
        Select { arms: Vec::new(), next: 0, order, added_on: AddedOn::Nowhere }
    }

    fn add(&mut self, arm: impl FnOnce(usize) -> Arm<'a>) -> usize {
        let index = self.next;
        self.added_on.add();
        self.arms.push(arm(index));
        self.next += 1;
        index
    }

    /// Adds a send. Returns its index.
    ///
    /// ```
    /// let (tx, _rx) = narrowboat::chan::unbounded::<i32>();
    /// let mut select = narrowboat::chan::Select::new();
    /// let index = select.send(&tx);
    /// let chosen = select.select();
    /// assert_eq!(chosen.index(), index);
    /// chosen.send(&tx, 10).unwrap();
    /// ```
    pub fn send<T>(&mut self, s: &'a Sender<T>) -> usize {
        self.add(|index| Arm::send(s, index))
    }

    /// Adds a receive. Returns its index.
    ///
    /// ```
    /// let (tx, rx) = narrowboat::chan::unbounded();
    /// tx.send(10).unwrap();
    /// let mut select = narrowboat::chan::Select::new();
    /// let index = select.recv(&rx);
    /// let chosen = select.select();
    /// assert_eq!(chosen.index(), index);
    /// assert_eq!(chosen.recv(&rx), Ok(10));
    /// ```
    pub fn recv<T>(&mut self, r: &'a Receiver<T>) -> usize {
        self.add(|index| Arm::recv(r, index))
    }

    /// Removes an operation. Use it, for example, for an operation on a closed channel, which would
    /// be chosen again and again.
    ///
    /// # Panics
    /// If there is no operation of this index.
    ///
    /// ```
    /// use narrowboat::chan::{Select, unbounded};
    ///
    /// let (tx1, rx1) = unbounded::<i32>();
    /// let (tx2, rx2) = unbounded();
    /// drop(tx1);
    /// tx2.send(2).unwrap();
    ///
    /// let mut select = Select::new();
    /// let first = select.recv(&rx1);
    /// let second = select.recv(&rx2);
    /// select.remove(first);
    /// let chosen = select.select();
    /// assert_eq!(chosen.index(), second);
    /// assert_eq!(chosen.recv(&rx2), Ok(2));
    /// ```
    pub fn remove(&mut self, index: usize) {
        assert!(index < self.next, "index out of bounds; {index} >= {}", self.next);
        let position = self.arms.iter().position(|arm| arm.index == index);
        self.arms.remove(position.expect("no operation with this index"));
    }

    fn choose(&mut self, limit: Limit, at: &'static Location<'static>) -> Option<SelectedOperation<'a>> {
        let mut token = Token::new();
        let chosen = choose(&mut self.arms, &mut token, self.order, limit, at)?;
        Some(SelectedOperation::of_list(self.arms[chosen], token, self.added_on != AddedOn::here()))
    }

    /// Chooses an operation, waiting until one is possible.
    ///
    /// # Panics
    /// If no operations have been added.
    ///
    /// ```
    /// let (tx, rx) = narrowboat::chan::unbounded();
    /// let mut select = narrowboat::chan::Select::new();
    /// select.recv(&rx);
    /// std::thread::spawn(move || tx.send(10).unwrap());
    /// assert_eq!(select.select().recv(&rx), Ok(10));
    /// ```
    #[track_caller]
    pub fn select(&mut self) -> SelectedOperation<'a> {
        assert!(!self.arms.is_empty(), "no operations have been added to `Select`");
        self.choose(Limit::None, Location::caller()).expect("a select without limit ends with an operation")
    }

    /// Chooses an operation that is possible at once.
    ///
    /// # Errors
    /// If there is none.
    ///
    /// ```
    /// let (tx, rx) = narrowboat::chan::unbounded();
    /// let mut select = narrowboat::chan::Select::new();
    /// select.recv(&rx);
    /// assert!(select.try_select().is_err());
    /// tx.send(10).unwrap();
    /// assert_eq!(select.try_select().unwrap().recv(&rx), Ok(10));
    /// ```
    #[track_caller]
    pub fn try_select(&mut self) -> Result<SelectedOperation<'a>, TrySelectError> {
        self.choose(Limit::Now, Location::caller()).ok_or(TrySelectError)
    }

    /// Chooses an operation, waiting for at most `timeout`. One that is possible at once is chosen
    /// even when `timeout` is zero.
    ///
    /// # Errors
    /// If the time was up.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = narrowboat::chan::unbounded();
    /// let mut select = narrowboat::chan::Select::new();
    /// select.recv(&rx);
    /// assert!(select.select_timeout(Duration::from_millis(5)).is_err());
    /// tx.send(10).unwrap();
    /// assert_eq!(select.select_timeout(Duration::ZERO).unwrap().recv(&rx), Ok(10));
    /// ```
    #[track_caller]
    pub fn select_timeout(&mut self, timeout: Duration) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.choose(Limit::within(timeout), Location::caller()).ok_or(SelectTimeoutError)
    }

    /// Chooses an operation, waiting no longer than until `deadline`. One that is possible at once
    /// is chosen even when `deadline` has passed.
    ///
    /// # Errors
    /// If the time was up.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (_tx, rx) = narrowboat::chan::unbounded::<i32>();
    /// let mut select = narrowboat::chan::Select::new();
    /// select.recv(&rx);
    /// assert!(select.select_deadline(Instant::now() + Duration::from_millis(5)).is_err());
    /// ```
    #[track_caller]
    pub fn select_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.choose(Limit::Until(deadline), Location::caller()).ok_or(SelectTimeoutError)
    }

    fn await_ready(&mut self, limit: Limit, at: &'static Location<'static>) -> Option<usize> {
        ready::ready(&mut self.arms, self.order, limit, at)
    }

    /// Waits until an operation is possible, without carrying it out. Returns its index.
    ///
    /// The caller may now attempt the operation, with [`try_recv`](Receiver::try_recv) or
    /// [`try_send`](Sender::try_send), or leave it. Another operation on the channel may come
    /// first, so be prepared to wait again.
    ///
    /// On a channel without buffer an operation becomes possible when a counterpart has begun its
    /// own. A wait for readiness is no such counterpart.
    ///
    /// # Panics
    /// If no operations have been added.
    ///
    /// ```
    /// use narrowboat::chan::{Receiver, RecvError, Select};
    ///
    /// fn recv_from_any<T>(receivers: &[Receiver<T>]) -> Result<T, RecvError> {
    ///     let mut select = Select::new();
    ///     for rx in receivers {
    ///         select.recv(rx);
    ///     }
    ///     loop {
    ///         let index = select.ready();
    ///         match receivers[index].try_recv() {
    ///             Err(error) if error.is_empty() => continue,
    ///             result => return result.map_err(|_| RecvError),
    ///         }
    ///     }
    /// }
    ///
    /// let (tx, rx) = narrowboat::chan::bounded(0);
    /// std::thread::spawn(move || tx.send(10).unwrap());
    /// assert_eq!(recv_from_any(&[rx]), Ok(10));
    /// ```
    #[track_caller]
    pub fn ready(&mut self) -> usize {
        assert!(!self.arms.is_empty(), "no operations have been added to `Select`");
        self.await_ready(Limit::None, Location::caller())
            .expect("a wait without limit ends with an operation")
    }

    /// The index of an operation that is possible at once.
    ///
    /// # Errors
    /// If there is none.
    ///
    /// ```
    /// let (tx, rx) = narrowboat::chan::unbounded();
    /// let mut select = narrowboat::chan::Select::new();
    /// let receive = select.recv(&rx);
    /// assert!(select.try_ready().is_err());
    /// tx.send(10).unwrap();
    /// assert_eq!(select.try_ready(), Ok(receive));
    /// assert_eq!(rx.try_recv(), Ok(10));
    /// ```
    #[track_caller]
    pub fn try_ready(&mut self) -> Result<usize, TryReadyError> {
        self.await_ready(Limit::Now, Location::caller()).ok_or(TryReadyError)
    }

    /// As [`ready`](Select::ready), waiting for at most `timeout`. An operation that is possible at
    /// once is found even when `timeout` is zero.
    ///
    /// # Errors
    /// If the time was up.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = narrowboat::chan::unbounded();
    /// let mut select = narrowboat::chan::Select::new();
    /// let receive = select.recv(&rx);
    /// assert!(select.ready_timeout(Duration::from_millis(5)).is_err());
    /// tx.send(10).unwrap();
    /// assert_eq!(select.ready_timeout(Duration::ZERO), Ok(receive));
    /// ```
    #[track_caller]
    pub fn ready_timeout(&mut self, timeout: Duration) -> Result<usize, ReadyTimeoutError> {
        self.await_ready(Limit::within(timeout), Location::caller()).ok_or(ReadyTimeoutError)
    }

    /// As [`ready`](Select::ready), waiting no longer than until `deadline`. An operation that is
    /// possible at once is found even when `deadline` has passed.
    ///
    /// # Errors
    /// If the time was up.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (_tx, rx) = narrowboat::chan::unbounded::<i32>();
    /// let mut select = narrowboat::chan::Select::new();
    /// select.recv(&rx);
    /// assert!(select.ready_deadline(Instant::now() + Duration::from_millis(5)).is_err());
    /// ```
    #[track_caller]
    pub fn ready_deadline(&mut self, deadline: Instant) -> Result<usize, ReadyTimeoutError> {
        self.await_ready(Limit::Until(deadline), Location::caller()).ok_or(ReadyTimeoutError)
    }
}

impl Clone for Select<'_> {
    fn clone(&self) -> Self {
        Select { arms: self.arms.clone(), next: self.next, order: self.order, added_on: self.added_on }
    }
}

impl Default for Select<'_> {
    fn default() -> Self {
        Select::new()
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Select { .. }")
    }
}

#[cfg(test)]
mod tests {
    use crate::receiver::Flavor;
    use crate::waiters::USES;
    use crate::{Receiver, Select, bounded, select, select_biased, unbounded};
    use std::time::Duration;

    fn queues_are_empty<T>(rx: &Receiver<T>) -> bool {
        let Flavor::Channel(channel) = &rx.flavor else { return true };
        let state = channel.lock();
        state.recvs.is_empty() && state.sends.is_empty()
    }

    #[test]
    fn a_million_selects_leave_nothing_on_a_silent_channel() {
        let (_keep, done) = bounded::<()>(0);
        let (tx, rx) = unbounded();
        for n in 0..if cfg!(miri) { 300 } else { 1_000_000_u32 } {
            tx.send(n).unwrap();
            select! { recv(done) -> _ => unreachable!(), recv(rx) -> msg => assert_eq!(msg, Ok(n)) }
        }
        assert!(queues_are_empty(&done));

        // The same, but every select has to wait.
        let (tx, rx) = bounded(0);
        let waits = if cfg!(miri) { 100 } else { 20_000 };
        let sender = std::thread::spawn(move || (0..waits).for_each(|n| tx.send(n).unwrap()));
        for n in 0..waits {
            select! {
                recv(done) -> _ => unreachable!(),
                recv(rx) -> msg => assert_eq!(msg, Ok(n)),
                recv(done) -> _ => unreachable!(),
            }
            assert!(queues_are_empty(&done));
        }
        sender.join().unwrap();
    }

    /// How often the calling thread uses a queue of a channel in `rounds` selects that wait at
    /// `done` and receive from another channel.
    fn uses(rounds: u32, done: &Receiver<()>) -> usize {
        let (tx, rx) = bounded(0);
        let sender = std::thread::spawn(move || {
            for n in 0..rounds {
                // Sends only when the select waits, so that the select always takes the same path.
                let mut select = Select::new();
                select.send(&tx);
                select.ready();
                tx.send(n).unwrap();
            }
        });
        let before = USES.get();
        for n in 0..rounds {
            select_biased! { recv(done) -> _ => unreachable!(), recv(rx) -> msg => assert_eq!(msg, Ok(n)) }
        }
        let uses = USES.get() - before;
        sender.join().unwrap();
        uses
    }

    #[test]
    #[cfg_attr(miri, ignore = "a goroutine runs on assembly")]
    fn a_select_costs_no_more_beside_ten_thousand_others() {
        const ROUNDS: u32 = 200;
        const OTHERS: usize = 10_000;
        let (keep, done) = bounded::<()>(0);
        let alone = uses(ROUNDS, &done);
        assert!(alone <= 8 * ROUNDS as usize, "{alone} uses of a queue");

        let (waiting_tx, waiting) = unbounded();
        let others: Vec<_> = (0..OTHERS)
            .map(|_| {
                let (done, waiting) = (done.clone(), waiting_tx.clone());
                narrowboat_runtime::spawn(move || {
                    let (_keep, silent) = bounded::<()>(0);
                    waiting.send(()).unwrap();
                    select! { recv(done) -> msg => msg.is_err(), recv(silent) -> _ => false }
                })
            })
            .collect();
        waiting.iter().take(OTHERS).for_each(drop);
        assert_eq!(uses(ROUNDS, &done), alone);
        drop(keep);
        assert!(others.into_iter().all(|other| other.join().unwrap()));
        assert!(queues_are_empty(&done));
    }

    #[test]
    fn a_select_that_could_only_meet_itself_waits_in_both_queues() {
        let (tx, rx) = bounded(0);
        let both = {
            let (tx, rx) = (tx.clone(), rx.clone());
            std::thread::spawn(move || select! { send(tx, 1) -> _ => 0, recv(rx) -> msg => msg.unwrap() })
        };
        let Flavor::Channel(channel) = &rx.flavor else { unreachable!() };
        let start = std::time::Instant::now();
        loop {
            let state = channel.lock();
            if state.recvs.has_waiter() && state.sends.has_waiter() {
                break;
            }
            drop(state);
            assert!(start.elapsed() < Duration::from_secs(30), "the select starts over again and again");
            std::thread::yield_now();
        }
        tx.send(2).unwrap();
        assert_eq!(both.join().unwrap(), 2);
        assert!(queues_are_empty(&rx));
    }

    #[test]
    fn timeouts_leave_nothing() {
        let (tx, rx) = bounded(0);
        for n in 0..if cfg!(miri) { 10 } else { 200 } {
            select! {
                recv(rx) -> _ => unreachable!(),
                send(tx, n) -> _ => unreachable!(),
                default(Duration::from_micros(20)) => {}
            }
            assert!(rx.recv_timeout(Duration::from_micros(20)).is_err());
            assert!(tx.send_timeout(n, Duration::from_micros(20)).is_err());
            assert!(queues_are_empty(&rx));
        }
    }
}
