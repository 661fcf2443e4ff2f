//! Channels under loom: plain threads run whole operations, including the runtime's park, in every
//! order.
//!
//! A message is a [`Parcel`]. loom checks its content: an access that the hand-over does not order
//! after the sender's is an error, and so is a parcel that is never dropped. A waiter that is never
//! woken is a deadlock.

use crate::{Receiver, RecvError, Select, SendTimeoutError, Sender, bounded, never};
use loom::alloc::Track;
use loom::cell::UnsafeCell;
use loom::thread;
use std::time::{Duration, Instant};

struct Parcel(Track<UnsafeCell<usize>>);

// SAFETY: the models test that accesses to the content are ordered.
unsafe impl Send for Parcel {}

impl Parcel {
    fn new(content: usize) -> Parcel {
        let parcel = Parcel(Track::new(UnsafeCell::new(0)));
        // SAFETY: no other thread has it yet.
        parcel.0.get_ref().with_mut(|cell| unsafe { *cell = content });
        parcel
    }

    fn open(self) -> usize {
        // SAFETY: loom fails here if the sender's write is not ordered before.
        self.0.get_ref().with(|cell| unsafe { *cell })
    }
}

/// Runs a model over all schedules, or, if there are too many, over those with at most
/// `preemptions` preemptions (switches away from a thread that could have continued).
fn model(preemptions: Option<usize>, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(body);
}

type Channel = (Sender<Parcel>, Receiver<Parcel>);

/// Two channels without buffer, in the order of their addresses: a select enters them in that
/// order, and a model must run the same way every time.
fn two() -> (Channel, Channel) {
    let (first, second) = (bounded(0), bounded(0));
    if first.0.channel.address() < second.0.channel.address() { (first, second) } else { (second, first) }
}

/// A deadline that is never reached in real time. In a model it may pass whenever a thread sleeps
/// until it.
fn later() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// Operations without select: in every order the messages arrive, in their order, and then the
/// close.
fn hand_over(capacity: usize, messages: usize) {
    model(Some(4), move || {
        let (tx, rx) = bounded(capacity);
        let sender = thread::spawn(move || {
            for n in 1..=messages {
                assert!(tx.send(Parcel::new(n)).is_ok());
            }
        });
        for n in 1..=messages {
            assert_eq!(rx.recv().map(Parcel::open), Ok(n));
        }
        assert_eq!(rx.recv().map(Parcel::open), Err(RecvError));
        sender.join().unwrap();
    });
}

#[test]
fn loom_a_send_and_a_receive_meet() {
    hand_over(0, 2);
}

#[test]
fn loom_messages_pass_through_a_buffer_of_one() {
    hand_over(1, 3);
}

/// A receive that times out against a send: the message is received, or the send returns it.
#[test]
fn loom_a_receive_times_out_while_a_message_comes() {
    model(None, || {
        let (tx, rx) = bounded(0);
        let sender = thread::spawn(move || tx.send(Parcel::new(1)).map_err(|error| error.0.open()));
        let received = rx.recv_deadline(later()).map(Parcel::open);
        drop(rx);
        match sender.join().unwrap() {
            Ok(()) => assert_eq!(received, Ok(1)),
            Err(returned) => assert!(returned == 1 && received.unwrap_err().is_timeout()),
        }
    });
}

/// The same for a send that times out.
#[test]
fn loom_a_send_times_out_while_a_receiver_comes() {
    model(None, || {
        let (tx, rx) = bounded(0);
        let receiver = thread::spawn(move || rx.recv().map(Parcel::open));
        let sent = tx.send_deadline(Parcel::new(1), later());
        drop(tx);
        match (sent, receiver.join().unwrap()) {
            (Ok(()), Ok(1)) => {}
            (Err(SendTimeoutError::Timeout(parcel)), Err(RecvError)) => assert_eq!(parcel.open(), 1),
            _ => panic!("lost or doubled"),
        }
    });
}

/// A close against a send and a receive of one channel: both end, and the message is received or
/// returned.
fn close_against(receive: fn(&Receiver<Parcel>, &Receiver<Parcel>) -> Result<Parcel, RecvError>) {
    model(None, move || {
        let ((tx, rx), (_keep, silent)) = two();
        // Keeps the channel open on both sides, so that nothing else closes it.
        let closer = (tx.clone(), rx.clone());
        let sender = thread::spawn(move || tx.send(Parcel::new(1)).map_err(|error| error.0.open()));
        let receiver = thread::spawn(move || receive(&rx, &silent).map(Parcel::open));
        assert!(closer.0.close());
        match (sender.join().unwrap(), receiver.join().unwrap()) {
            (Ok(()), Ok(1)) | (Err(1), Err(RecvError)) => {}
            other => panic!("lost or doubled: {other:?}"),
        }
    });
}

#[test]
fn loom_a_close_ends_a_send_and_a_receive() {
    close_against(|rx, _| rx.recv());
}

#[test]
fn loom_a_close_ends_a_send_and_a_select() {
    close_against(|rx, silent| {
        let mut select = Select::new_biased();
        select.recv(silent);
        select.recv(rx);
        let chosen = select.select();
        assert_eq!(chosen.index(), 1);
        chosen.recv(rx)
    });
}

/// Sends into one channel or receives from the other, whichever is chosen. Returns the message, if
/// it received one.
fn exchange(tx: &Sender<Parcel>, rx: &Receiver<Parcel>, content: usize) -> Option<usize> {
    let mut select = Select::new_biased();
    let send = select.send(tx);
    select.recv(rx);
    let chosen = select.select();
    if chosen.index() == send {
        assert!(chosen.send(tx, Parcel::new(content)).is_ok());
        None
    } else {
        Some(chosen.recv(rx).map(Parcel::open).unwrap())
    }
}

/// Two selects that could satisfy each other through either of two channels do so through one of
/// them.
#[test]
fn loom_two_selects_satisfy_each_other_once() {
    model(None, || {
        let ((tx1, rx1), (tx2, rx2)) = two();
        // This thread keeps both sides of both channels open until both are done.
        let keep = (tx1.clone(), rx1.clone(), tx2.clone(), rx2.clone());
        let other = thread::spawn(move || exchange(&tx2, &rx1, 2));
        let mine = exchange(&keep.0, &keep.3, 1);
        match (mine, other.join().unwrap()) {
            (Some(2), None) | (None, Some(1)) => {}
            unequal => panic!("both or neither: {unequal:?}"),
        }
    });
}

/// A select that must not wait gives up only if at some moment nothing is possible. Here there is
/// always a message in one channel or in the other, because each is sent before the previous one is
/// received.
fn one_is_always_possible(found: fn([&Receiver<Parcel>; 2]) -> bool) {
    model(None, move || {
        let ((tx1, rx1), (tx2, rx2)) = (bounded(1), bounded(1));
        assert!(tx1.send(Parcel::new(1)).is_ok());
        let other = {
            let (rx1, rx2) = (rx1.clone(), rx2.clone());
            thread::spawn(move || {
                for (tx, rx) in [(&tx2, &rx1), (&tx1, &rx2), (&tx2, &rx1)] {
                    assert!(tx.try_send(Parcel::new(2)).is_ok());
                    drop(rx.try_recv());
                }
                (tx1, tx2)
            })
        };
        // The second channel first, which is empty at the start.
        assert!(found([&rx2, &rx1]));
        other.join().unwrap();
    });
}

#[test]
fn loom_a_select_gives_up_only_if_nothing_is_possible() {
    one_is_always_possible(|receivers| {
        let mut select = Select::new_biased();
        for rx in receivers {
            select.recv(rx);
        }
        let Ok(chosen) = select.try_select() else { return false };
        let rx = receivers[chosen.index()];
        chosen.recv(rx).map(Parcel::open).is_ok()
    });
}

#[test]
fn loom_a_watch_gives_up_only_if_nothing_is_possible() {
    one_is_always_possible(|receivers| {
        let mut select = Select::new_biased();
        for rx in receivers {
            select.recv(rx);
        }
        select.try_ready().is_ok()
    });
}

/// Two sends, each with its own channel's lock, and one select that waits at both: one of them ends
/// the wait, and the next select receives from the other.
#[test]
fn loom_two_counterparts_find_one_select() {
    model(Some(4), || {
        let channels = two();
        let senders = [(channels.0.0, 1), (channels.1.0, 2)]
            .map(|(tx, content)| thread::spawn(move || assert!(tx.send(Parcel::new(content)).is_ok())));
        let receivers = [channels.0.1, channels.1.1];
        let mut select = Select::new_biased();
        for rx in &receivers {
            select.recv(rx);
        }
        let mut sum = 0;
        for _ in 0..2 {
            let chosen = select.select();
            let index = chosen.index();
            sum += chosen.recv(&receivers[index]).map(Parcel::open).unwrap();
            // Its channel is closed now, or soon.
            select.remove(index);
        }
        assert_eq!(sum, 3);
        for sender in senders {
            sender.join().unwrap();
        }
    });
}

/// Two selects, each waiting at two channels, for one message: one gets it, and the other goes on
/// waiting until the close.
#[test]
fn loom_two_selects_race_for_one_counterpart() {
    model(Some(4), || {
        let ((tx1, rx1), (tx2, rx2)) = two();
        let rivals: Vec<_> = [false, true]
            .map(|turned| {
                let (rx1, rx2) = (rx1.clone(), rx2.clone());
                thread::spawn(move || {
                    let of = if turned { [&rx2, &rx1] } else { [&rx1, &rx2] };
                    let mut select = Select::new_biased();
                    for rx in of {
                        select.recv(rx);
                    }
                    let chosen = select.select();
                    let rx = of[chosen.index()];
                    chosen.recv(rx).map(Parcel::open).ok()
                })
            })
            .into();
        assert!(tx1.send(Parcel::new(7)).is_ok());
        tx2.close();
        let got: Vec<_> = rivals.into_iter().filter_map(|rival| rival.join().unwrap()).collect();
        assert_eq!(got, [7]);
    });
}

/// A selected send reserves a place before it has its message, against a receive and a close.
#[test]
fn loom_a_selected_send_delivers_or_keeps_its_message() {
    for capacity in [0, 1] {
        model(None, move || {
            let (tx, rx) = bounded(capacity);
            let sender = thread::spawn(move || {
                // The second arm makes it a real select, although that arm is never possible.
                let silent = never::<Parcel>();
                let mut select = Select::new_biased();
                select.recv(&silent);
                select.send(&tx);
                select.select().send(&tx, Parcel::new(1)).map_err(|error| error.0.open())
            });
            let received = rx.recv_deadline(later()).map(Parcel::open).ok();
            drop(rx);
            match (sender.join().unwrap(), received) {
                (Ok(()), Some(1)) | (Err(1), None) => {}
                // The message was in the buffer, and was dropped with the last receiver.
                (Ok(()), None) => assert_eq!(capacity, 1),
                other => panic!("lost or doubled: {other:?}"),
            }
        });
    }
}

/// A receive that does not wait until a message is made leaves it to the next receive.
#[test]
fn loom_a_message_that_takes_long_goes_to_the_next_receive() {
    model(Some(4), || {
        let (tx, rx) = bounded(0);
        let sender = thread::spawn(move || {
            let silent = never::<Parcel>();
            let mut select = Select::new_biased();
            select.recv(&silent);
            select.send(&tx);
            assert!(select.select().send(&tx, Parcel::new(1)).is_ok());
        });
        let received = rx.recv_deadline(later()).map(Parcel::open);
        match received {
            Ok(content) => assert_eq!(content, 1),
            Err(_) => assert_eq!(rx.recv().map(Parcel::open), Ok(1)),
        }
        sender.join().unwrap();
        assert!(rx.recv().is_err());
    });
}

/// A watcher of a receive is woken by a send that blocks, or that leaves its message in the buffer.
#[test]
fn loom_a_watcher_is_told_of_a_send() {
    for capacity in [0, 1] {
        model(None, move || {
            let (tx, rx) = bounded(capacity);
            let sender = thread::spawn(move || {
                assert!(tx.send(Parcel::new(1)).is_ok());
                // Keeps the channel open. An operation that is possible only for a moment may pass
                // unnoticed, and the select must not notice the close instead.
                tx
            });
            let mut select = Select::new();
            select.recv(&rx);
            assert_eq!(select.ready(), 0);
            assert_eq!(rx.try_recv().map(Parcel::open), Ok(1));
            sender.join().unwrap();
        });
    }
}

/// A watcher of a send is woken by a receive that blocks, or that makes room.
#[test]
fn loom_a_watcher_is_told_of_a_receive() {
    for capacity in [0, 1] {
        model(None, move || {
            let (tx, rx) = bounded(capacity);
            for _ in 0..capacity {
                assert!(tx.send(Parcel::new(1)).is_ok());
            }
            let receiver = thread::spawn(move || {
                assert_eq!(rx.recv().map(Parcel::open), Ok(1));
                rx
            });
            let mut select = Select::new();
            select.send(&tx);
            assert_eq!(select.ready(), 0);
            assert!(tx.try_send(Parcel::new(1)).is_ok());
            receiver.join().unwrap();
        });
    }
}

/// A watcher takes no message from a receiver beside it, and the close after the message wakes it.
#[test]
fn loom_a_watcher_takes_no_turn_and_hears_of_the_close() {
    model(Some(4), || {
        let (tx, rx) = bounded(0);
        let watched = rx.clone();
        let watcher = thread::spawn(move || {
            let mut select = Select::new();
            select.recv(&watched);
            select.ready()
        });
        let receiver = thread::spawn(move || rx.recv().map(Parcel::open));
        assert!(tx.send(Parcel::new(1)).is_ok());
        drop(tx);
        assert_eq!(receiver.join().unwrap(), Ok(1));
        assert_eq!(watcher.join().unwrap(), 0);
    });
}

/// An async receive is dropped, or polled again, while a message comes: the message is received,
/// by it or by the next receive.
fn async_receive(capacity: usize, dropped: bool) {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    model(Some(3), move || {
        let (tx, rx) = bounded(capacity);
        let sends = thread::spawn(move || tx.send(Parcel::new(7)).unwrap());
        let mut message = None;
        {
            let mut receive = pin!(rx.recv_async());
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..if dropped { 1 } else { 2 } {
                if let Poll::Ready(received) = receive.as_mut().poll(&mut cx) {
                    message = Some(received.unwrap());
                    break;
                }
            }
        }
        let message = message.unwrap_or_else(|| rx.recv().unwrap());
        assert_eq!(message.open(), 7);
        sends.join().unwrap();
    });
}

#[test]
fn loom_a_dropped_async_receive_gives_its_message_back() {
    async_receive(0, true);
    async_receive(1, true);
}

#[test]
fn loom_an_async_receive_sees_its_message() {
    async_receive(0, false);
}

/// A broadcast, its reader, and its end: the reader gets every message, in their order.
#[test]
fn loom_a_broadcast_reaches_its_receiver() {
    model(Some(2), || {
        let (tx, mut rx) = crate::broadcast::channel(2);
        let sends = thread::spawn(move || (1..=2).for_each(|n| _ = tx.send(n)));
        assert_eq!(rx.recv(), Ok(1));
        assert_eq!(rx.recv(), Ok(2));
        assert_eq!(rx.recv(), Err(crate::broadcast::RecvError::Closed));
        sends.join().unwrap();
    });
}

/// A change, and the end, are not missed by a watcher that is about to sleep.
#[test]
fn loom_a_change_is_not_missed() {
    model(Some(2), || {
        let (tx, mut rx) = crate::watch::channel(0);
        let sends = thread::spawn(move || tx.send(1).unwrap());
        rx.changed().unwrap();
        assert_eq!(*rx.borrow_and_update(), 1);
        assert_eq!(rx.changed(), Err(RecvError));
        sends.join().unwrap();
    });
}
