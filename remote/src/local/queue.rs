//! A stream in one process: a queue whose messages come back until they are acknowledged.

use crate::codec::Codec;
use crate::error::Error;
use crate::receiver::Receiver;
use crate::stream::{Delivery, StreamOptions, Ticket as AnyTicket};
use narrowboat_chan::{self as chan, bounded, select};
use narrowboat_runtime::lock::Mutex;
use narrowboat_runtime::spawn;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

/// The messages of a stream. Clones are of the same.
#[derive(Clone)]
pub(crate) struct Stream(Arc<Shared>);

struct Shared {
    options: StreamOptions,
    queue: Mutex<Queue>,
    /// Has a token if a receiver may have something to do. A receiver that takes the token and then
    /// a message puts the token back for the others.
    work: (chan::Sender<()>, chan::Receiver<()>),
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<[u8]>>,
    /// How many messages are with receivers.
    out: usize,
}

/// A message that is with a receiver. It goes back into the stream when this is dropped.
pub(crate) struct Ticket {
    stream: Arc<Shared>,
    /// `None` once it is acknowledged.
    payload: Option<Arc<[u8]>>,
}

impl Ticket {
    pub(crate) fn ack(mut self) {
        self.payload = None;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut queue = self.stream.queue();
        queue.out -= 1;
        if let Some(payload) = self.payload.take() {
            // To the front: it is the oldest of those that wait, or nearly.
            queue.waiting.push_front(payload);
        }
        drop(queue);
        self.stream.wake();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a token, unless there is one.
    fn wake(&self) {
        let _ = self.work.0.try_send(());
    }

    /// The next message, if there is one and not too many are out.
    fn take(self: &Arc<Shared>) -> Option<Ticket> {
        let mut queue = self.queue();
        if queue.out >= self.options.max_unacknowledged {
            return None;
        }
        let payload = queue.waiting.pop_front()?;
        queue.out += 1;
        drop(queue);
        Some(Ticket { stream: self.clone(), payload: Some(payload) })
    }
}

impl Stream {
    pub(crate) fn new(options: &StreamOptions) -> Stream {
        Stream(Arc::new(Shared { options: options.clone(), queue: Mutex::default(), work: bounded(1) }))
    }

    pub(crate) fn is_made_with(&self, options: &StreamOptions) -> bool {
        let mine = &self.0.options;
        (mine.max_messages, mine.max_unacknowledged) == (options.max_messages, options.max_unacknowledged)
    }

    /// The deadline is for streams that have to wait for a server.
    pub(crate) fn add(&self, payload: Vec<u8>, _deadline: Instant) -> Result<(), Error> {
        let mut queue = self.0.queue();
        if (queue.waiting.len() + queue.out) as u64 >= self.0.options.max_messages {
            return Err(Error::Full);
        }
        queue.waiting.push_back(payload.into());
        drop(queue);
        self.0.wake();
        Ok(())
    }

    pub(crate) fn count(&self) -> u64 {
        let queue = self.0.queue();
        (queue.waiting.len() + queue.out) as u64
    }

    /// A receiver, with a goroutine that hands it one message after the other.
    pub(crate) fn receiver<T>(&self, codec: Codec) -> Receiver<Delivery<T>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        // Without a buffer: what a receiver has not taken can go back into the stream.
        let (deliveries, channel) = bounded(0);
        let (until_dropped, dropped) = bounded::<()>(0);
        let stream = self.0.clone();
        spawn(move || {
            let mut goes_on = true;
            while goes_on {
                select! {
                    recv(stream.work.1) -> _ => {}
                    recv(dropped) -> _ => break,
                }
                while let Some(ticket) = stream.take() {
                    // Others may take the rest.
                    stream.wake();
                    goes_on = hand_over(ticket, codec, &deliveries, &dropped);
                    if !goes_on {
                        break;
                    }
                }
            }
            // The token that it may have taken is for another one.
            stream.wake();
        });
        Receiver::new(channel, until_dropped)
    }
}

/// Hands a message to the receiver. Returns false if that is gone.
fn hand_over<T: DeserializeOwned + Send>(
    ticket: Ticket,
    codec: Codec,
    deliveries: &chan::Sender<Result<Delivery<T>, Error>>,
    dropped: &chan::Receiver<()>,
) -> bool {
    let payload = ticket.payload.clone().expect("it is not acknowledged");
    let delivery = match codec.decode(&payload) {
        Ok(message) => Ok(Delivery::new(message, AnyTicket::Local(ticket))),
        Err(error) => {
            // It would never be of the right type.
            ticket.ack();
            Err(error)
        }
    };
    select! {
        send(deliveries, delivery) -> sent => sent.is_ok(),
        recv(dropped) -> _ => false,
    }
}
