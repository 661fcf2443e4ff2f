//! Channels whose messages are states of something outside this crate: a socket that can be read,
//! for one.
//!
//! Such a channel has a message whenever [`EventSource::is_so`] says that it is so; to receive it
//! changes nothing, and the next receive looks again. So a select that takes another arm has taken
//! nothing away here. What is waited for keeps the queue of those who wait; like a timer's, it
//! hands nobody anything: who is woken looks again.
//!
//! This module is for the other crates of Narrowboat, which alone may implement the trait.

use crate::Receiver;
use crate::block::{At, Limit};
use crate::error::RecvTimeoutError;
use crate::receiver::Flavor;
use crate::select::ready::ready;
use crate::select::{Arm, Order};
use crate::timer::{Event, Recheck, sleep};
use crate::waiters::NodeRef;
use narrowboat_runtime::park::{
    Outcome, Reason, Thing, WaitNode, Waiter, checkpoint, note_channel_to_outside,
};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

/// Something that is so or not, from time to time, and that parties wait for.
///
/// # Safety
/// A node that was entered is touched under the lock of its queue only, until it was taken out; a
/// party that is taken out has had its wait ended by that, and is then woken, once.
pub unsafe trait EventSource: Send + Sync {
    /// Whether it is so now.
    fn is_so(&self) -> bool;

    /// Prepares the node and puts it into the queue, unless it is so now, or may have been since
    /// the look that this call takes: then it returns false, and the node is nowhere. `until` is
    /// set to the instant at which the party has to look again by itself, if there is one. `sole`
    /// says that nothing else can end the wait but such an instant.
    ///
    /// # Safety
    /// The node is the calling party's, for its current wait, in no queue, and on the heap, where
    /// it stays until [`leave`](EventSource::leave), or until the caller returns from a park that this
    /// node ended.
    unsafe fn enter(
        &self,
        node: NonNull<WaitNode>,
        me: Waiter,
        outcome: Outcome,
        sole: bool,
        until: &mut Option<Instant>,
    ) -> bool;

    /// Takes the node out of the queue, if it is still there.
    ///
    /// # Safety
    /// [`enter`](EventSource::enter) has put it there, and it is alive.
    unsafe fn leave(&self, node: NonNull<WaitNode>);

    /// What a dump says of it.
    fn describe(&self) -> Thing;
}

/// A receiver that has a message whenever it is so.
pub fn receiver(what: impl EventSource + 'static) -> Receiver<()> {
    note_channel_to_outside();
    Receiver { flavor: Flavor::Event(Arc::new(EventChannel { what: Box::new(what), message: || () })) }
}

/// Waits until one of two receivers has a message, or is closed, and takes nothing. False if
/// `deadline` came first.
pub fn either(one: &Receiver<()>, other: &Receiver<()>, deadline: Option<Instant>, at: At) -> bool {
    let mut arms = [Arm::recv(one, 0), Arm::recv(other, 1)];
    ready(&mut arms, Order::Biased, deadline.map_or(Limit::None, Limit::Until), at).is_some()
}

/// The channel of a state.
pub(crate) struct EventChannel<T> {
    what: Box<dyn EventSource>,
    /// `T` is `()`, which the type of a receiver does not know.
    message: fn() -> T,
}

impl<T> EventChannel<T> {
    pub(crate) fn try_recv(&self) -> Option<T> {
        self.what.is_so().then(self.message)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.what.is_so()
    }

    pub(crate) fn thing(&self) -> Thing {
        self.what.describe()
    }

    pub(crate) fn recv(&self, limit: Limit, at: At) -> Result<T, RecvTimeoutError> {
        loop {
            if let Some(message) = self.try_recv() {
                checkpoint();
                return Ok(message);
            }
            sleep(self, limit, at)?;
        }
    }
}

// Not inlined, as for timers.
impl<T> Event for EventChannel<T> {
    const REASON: Reason = Reason::Readiness;

    #[inline(never)]
    unsafe fn enter(&self, node: NodeRef, me: Waiter, outcome: Outcome, sole: bool) -> Recheck {
        let mut until = None;
        // SAFETY: by contract.
        if unsafe { self.what.enter(node.as_ptr(), me, outcome, sole, &mut until) } {
            Recheck::Later(until)
        } else {
            Recheck::Now
        }
    }

    #[inline(never)]
    unsafe fn leave(&self, node: NodeRef) {
        // SAFETY: by contract.
        unsafe { self.what.leave(node.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bounded, select};
    use narrowboat_runtime::park::WaitQueue;
    use std::sync::Mutex;
    use std::time::Duration;

    /// A lamp that somebody switches on and off.
    #[derive(Default)]
    struct Lamp(Mutex<(bool, Queue)>);

    #[derive(Default)]
    struct Queue(Option<WaitQueue>);

    impl Lamp {
        fn switch(&self, on: bool) {
            let mut called = Vec::new();
            let mut lamp = self.0.lock().unwrap();
            lamp.0 = on;
            while let Some(node) = lamp.1.0.as_mut().and_then(|queue| queue.pop_claim(None)) {
                // SAFETY: claimed by the line above, and woken below, once.
                called.push(unsafe { node.as_ref() }.waiter());
            }
            drop(lamp);
            for party in called {
                // SAFETY: as above.
                unsafe { party.unpark() };
            }
        }
    }

    // SAFETY: the queue and its nodes are touched under the lock, and `switch` wakes whom it takes
    // out.
    unsafe impl EventSource for Arc<Lamp> {
        fn is_so(&self) -> bool {
            self.0.lock().unwrap().0
        }

        unsafe fn enter(
            &self,
            mut node: NonNull<WaitNode>,
            me: Waiter,
            outcome: Outcome,
            sole: bool,
            _: &mut Option<Instant>,
        ) -> bool {
            let mut lamp = self.0.lock().unwrap();
            if !lamp.0 {
                // SAFETY: by contract.
                unsafe {
                    node.as_mut().prepare(me, outcome, sole);
                    lamp.1.0.get_or_insert_default().push(node);
                }
            }
            !lamp.0
        }

        unsafe fn leave(&self, node: NonNull<WaitNode>) {
            // SAFETY: by contract.
            unsafe { self.0.lock().unwrap().1.0.as_mut().unwrap().remove(node) };
        }

        fn describe(&self) -> Thing {
            unreachable!("nobody asks for a dump")
        }
    }

    impl Lamp {
        fn nobody_waits(&self) -> bool {
            self.0.lock().unwrap().1.0.as_ref().is_none_or(WaitQueue::is_empty)
        }
    }

    #[test]
    fn a_state_is_a_message_for_as_long_as_it_is_so() {
        let lamp = Arc::new(Lamp::default());
        let rx = receiver(lamp.clone());
        assert!(rx.try_recv().is_err() && rx.is_empty() && !rx.is_closed());
        assert!(rx.recv_timeout(Duration::from_millis(5)).unwrap_err().is_timeout());
        assert!(lamp.nobody_waits());
        lamp.switch(true);
        for _ in 0..3 {
            assert_eq!((rx.recv(), rx.try_recv(), rx.len()), (Ok(()), Ok(()), 1));
        }
        lamp.switch(false);
        assert!(rx.try_recv().is_err());
        assert!(rx.same_channel(&rx.clone()) && !rx.same_channel(&receiver(lamp)));
    }

    #[test]
    fn a_select_waits_for_a_state_beside_messages() {
        let lamp = Arc::new(Lamp::default());
        let rx = receiver(lamp.clone());
        let (tx, messages) = bounded::<u32>(0);
        let (switched, next) = bounded(0);
        let selecting = std::thread::spawn(move || {
            let (mut sum, mut lights) = (0, 0);
            loop {
                select! {
                    recv(rx) -> light => {
                        light.unwrap();
                        lights += 1;
                        next.recv().unwrap();
                    }
                    recv(messages) -> msg => match msg {
                        Ok(n) => sum += n,
                        Err(_) => return (sum, lights),
                    }
                }
            }
        });
        for n in 0..200 {
            tx.send(n).unwrap();
            if n % 4 == 0 {
                lamp.switch(true);
                // Seen by now, or soon; it is off when the other goes on.
                std::thread::sleep(Duration::from_micros(n as u64 * 7 % 200));
                select! { send(switched, lamp.switch(false)) -> res => res.unwrap() }
            }
        }
        drop(tx);
        let (sum, lights) = selecting.join().unwrap();
        assert_eq!((sum, lights), (199 * 100, 50));
        assert!(lamp.nobody_waits());
    }
}
