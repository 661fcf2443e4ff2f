//! Channels for events outside this crate: for example, that a socket can be read.
//!
//! Such a channel has a message whenever [`EventSource::is_ready`] returns true. A receive changes
//! nothing, and the next receive looks again. So a select that takes another arm loses nothing
//! here. The event source keeps the queue of waiters. Like a timer, it hands them nothing: a woken
//! waiter looks again.
//!
//! This module is for the other crates of Narrowboat. Only they may implement the trait.

use crate::error::RecvError;
use crate::event::{Event, Recheck};
use crate::node::NodeRef;
use narrowboat_runtime::park::{Outcome, Reason, Thing, WaitNode, Waiter};
use std::ptr::NonNull;
use std::time::Instant;

/// A condition that becomes true and false again, and that waiters wait for.
///
/// # Safety
/// A node that was entered is touched only under the lock of its queue, until it is taken out.
/// Taking a node out ends the wait of its waiter, which is then woken, once. `enter` and `leave` do
/// not panic: the waiter may have nodes in other queues, which a panic would leave there.
pub unsafe trait EventSource: Send + Sync {
    /// Whether the condition is true now.
    fn is_ready(&self) -> bool;

    /// Looks whether the condition is true, and if not, prepares the node and puts it into the
    /// queue. If the condition is true, or may have become true since the look, this returns false,
    /// and the node is in no queue. Sets `until` to the instant at which the waiter has to look
    /// again by itself, if there is one. `sole` says that, besides the queue, only such an instant
    /// can end the wait.
    ///
    /// # Safety
    /// The node is the caller's, for its current wait. It is in no queue, and on the heap, where it
    /// stays until [`leave`](EventSource::leave), or until the caller returns from a park that this
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

    /// The object as dumps show it.
    fn describe(&self) -> Thing;
}

/// The channel of an event source.
pub(crate) struct EventChannel<T> {
    what: Box<dyn EventSource>,
    /// Makes the message. `T` is `()`, but the type of a receiver does not say so.
    message: fn() -> T,
}

impl EventChannel<()> {
    pub(crate) fn new(what: impl EventSource + 'static) -> EventChannel<()> {
        EventChannel { what: Box::new(what), message: || () }
    }
}

// SAFETY: it has the default id, and its reason is that of event channels alone, which all have
// messages of one type, as `new` is the only constructor.
unsafe impl<T> Event<T> for EventChannel<T> {
    fn reason(&self) -> Reason {
        Reason::Readiness
    }

    fn try_recv(&self) -> Option<Result<T, RecvError>> {
        self.what.is_ready().then(|| Ok((self.message)()))
    }

    fn is_ready(&self) -> bool {
        self.what.is_ready()
    }

    fn thing(&self) -> Thing {
        self.what.describe()
    }

    // Not inlined, as for timers.
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
    use crate::make::receiver;
    use crate::{bounded, select};
    use narrowboat_runtime::park::WaitQueue;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// A lamp that a test switches on and off.
    #[derive(Default)]
    struct Lamp(Mutex<(bool, Queue)>);

    #[derive(Default)]
    struct Queue(Option<WaitQueue>);

    impl Lamp {
        fn switch(&self, on: bool) {
            let mut claimed = Vec::new();
            let mut lamp = self.0.lock().unwrap();
            lamp.0 = on;
            while let Some(node) = lamp.1.0.as_mut().and_then(|queue| queue.pop_claim(None)) {
                // SAFETY: `pop_claim` has claimed it, and it is woken below, once.
                claimed.push(unsafe { node.as_ref() }.waiter());
            }
            drop(lamp);
            for waiter in claimed {
                // SAFETY: as above.
                unsafe { waiter.unpark() };
            }
        }
    }

    // SAFETY: the queue and its nodes are touched under the lock, and `switch` wakes each waiter
    // that it takes out.
    unsafe impl EventSource for Arc<Lamp> {
        fn is_ready(&self) -> bool {
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
            unreachable!("these tests make no dump")
        }
    }

    impl Lamp {
        fn has_no_waiter(&self) -> bool {
            self.0.lock().unwrap().1.0.as_ref().is_none_or(WaitQueue::is_empty)
        }
    }

    #[test]
    fn a_condition_is_a_message_for_as_long_as_it_is_true() {
        let lamp = Arc::new(Lamp::default());
        let rx = receiver(lamp.clone());
        assert!(rx.try_recv().is_err() && rx.is_empty() && !rx.is_closed());
        assert!(rx.recv_timeout(Duration::from_millis(5)).unwrap_err().is_timeout());
        assert!(lamp.has_no_waiter());
        lamp.switch(true);
        for _ in 0..3 {
            assert_eq!((rx.recv(), rx.try_recv(), rx.len()), (Ok(()), Ok(()), 1));
        }
        lamp.switch(false);
        assert!(rx.try_recv().is_err());
        assert!(rx.same_channel(&rx.clone()) && !rx.same_channel(&receiver(lamp)));
    }

    #[test]
    fn a_select_waits_for_a_condition_beside_messages() {
        let lamp = Arc::new(Lamp::default());
        let rx = receiver(lamp.clone());
        let (tx, messages) = bounded::<u32>(0);
        let (switched, next) = bounded(0);
        let selecting = std::thread::spawn(move || {
            let (mut sum, mut seen) = (0, 0);
            loop {
                select! {
                    recv(rx) -> lamp_is_on => {
                        lamp_is_on.unwrap();
                        seen += 1;
                        next.recv().unwrap();
                    }
                    recv(messages) -> msg => match msg {
                        Ok(n) => sum += n,
                        Err(_) => return (sum, seen),
                    }
                }
            }
        });
        let messages = if cfg!(miri) { 20 } else { 200 };
        for n in 0..messages {
            tx.send(n).unwrap();
            if n % 4 == 0 {
                lamp.switch(true);
                // The other thread sees it now, or soon. The lamp is off before that thread
                // continues.
                std::thread::sleep(Duration::from_micros(n as u64 * 7 % 200));
                select! { send(switched, lamp.switch(false)) -> res => res.unwrap() }
            }
        }
        drop(tx);
        let (sum, seen) = selecting.join().unwrap();
        assert_eq!((sum, seen), ((messages - 1) * messages / 2, messages / 4));
        assert!(lamp.has_no_waiter());
    }
}
