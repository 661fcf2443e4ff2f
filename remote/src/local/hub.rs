//! Receivers by subject.

use super::queue::Stream;
use crate::error::Error;
use crate::inbox::{Inbox, Incoming, Pushed};
use crate::request::ReplyTo;
use crate::sender::Order;
use crate::stream::StreamOptions;
use crate::subject::matches;
use narrowboat_chan::bounded;
use narrowboat_runtime::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// What the bus of a process knows.
#[derive(Default)]
pub(crate) struct Hub {
    receivers: lock::Mutex<Receivers>,
    streams: lock::Mutex<HashMap<String, Stream>>,
}

#[derive(Default)]
struct Receivers {
    latest: u64,
    list: Vec<Arc<Entry>>,
}

struct Entry {
    number: u64,
    pattern: String,
    group: Option<String>,
    /// Decoding runs code of the program, which may wait, so this is no lock of the runtime's.
    inbox: Mutex<Box<dyn Inbox>>,
}

/// A receiver's place, which it leaves when this is dropped.
pub(crate) struct Subscription {
    hub: Weak<Hub>,
    number: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            let mut receivers = hub.receivers();
            let position = receivers.list.iter().position(|entry| entry.number == self.number);
            let entry = position.map(|position| receivers.list.remove(position));
            drop(receivers);
            drop(entry);
        }
    }
}

impl Entry {
    fn push(&self, payload: &[u8], reply: Option<ReplyTo>) -> Pushed {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).push(Incoming { payload, reply })
    }

    fn is_of_group_of(&self, other: &Entry) -> bool {
        self.group.is_some() && self.group == other.group
    }
}

impl Hub {
    fn receivers(&self) -> MutexGuard<'_, Receivers> {
        self.receivers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn subscribe(
        hub: &Arc<Hub>,
        pattern: &str,
        group: Option<&str>,
        inbox: Box<dyn Inbox>,
    ) -> Subscription {
        let mut receivers = hub.receivers();
        receivers.latest += 1;
        let number = receivers.latest;
        receivers.list.push(Arc::new(Entry {
            number,
            pattern: pattern.to_owned(),
            group: group.map(str::to_owned),
            inbox: Mutex::new(inbox),
        }));
        Subscription { hub: Arc::downgrade(hub), number }
    }

    pub(crate) fn carry_out(&self, order: Order) {
        match order {
            Order::Publish { subject, payload } => _ = self.publish(&subject, &payload, None),
            Order::Reply { to, payload } => match to {
                // Fails if the caller has given up.
                ReplyTo::Local(caller) => _ = caller.try_send(payload),
                #[cfg(feature = "nats")]
                ReplyTo::Subject(_) => unreachable!("a request of this bus has a caller in this process"),
            },
            Order::Flush(done) => _ = done.try_send(Ok(())),
        }
    }

    /// Gives a message to all receivers of its subject, and to one of each group. Returns how many
    /// there were.
    fn publish(&self, subject: &str, payload: &[u8], reply: Option<&ReplyTo>) -> usize {
        let mut receivers = self.receivers();
        let of_subject = receivers.list.iter().filter(|entry| matches(&entry.pattern, subject));
        let mut left: Vec<Arc<Entry>> = of_subject.cloned().collect();
        let mut turns = Vec::new();
        while !left.is_empty() {
            // A receiver without a group, or the first of a group with the others of it behind it.
            let first = left.remove(0);
            let (mut turn, rest) = left.into_iter().partition(|entry| entry.is_of_group_of(&first));
            left = rest;
            turn.insert(0, first);
            turns.push(turn);
        }
        // The first of a group goes to the end of the line.
        for first in turns.iter().filter(|turn| turn.len() > 1).map(|turn| &turn[0]) {
            let position = receivers.list.iter().position(|entry| entry.number == first.number);
            let entry = receivers.list.remove(position.expect("it is in the list"));
            receivers.list.push(entry);
        }
        drop(receivers);
        let mut reached = 0;
        for turn in turns {
            // Of a group the first that has room.
            let mut pushed = turn.iter().map(|entry| entry.push(payload, reply.cloned()));
            reached += usize::from(pushed.any(|pushed| pushed == Pushed::Kept));
        }
        reached
    }

    pub(crate) fn request(&self, subject: &str, payload: &[u8], timeout: Duration) -> Result<Vec<u8>, Error> {
        let (caller, reply) = bounded(1);
        if self.publish(subject, payload, Some(&ReplyTo::Local(caller))) == 0 {
            return Err(Error::NoReceiver);
        }
        match reply.recv_timeout(timeout) {
            Ok(Some(payload)) => Ok(payload),
            Ok(None) => Err(Error::NoReply),
            Err(error) if error.is_timeout() => Err(Error::Timeout),
            // The request was in the buffer of a receiver that is gone, or was no request there.
            Err(_) => Err(Error::NoReply),
        }
    }

    pub(crate) fn stream(&self, name: &str, options: &StreamOptions) -> Result<Stream, Error> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = streams.entry(name.to_owned()).or_insert_with(|| Stream::new(options));
        if !stream.is_made_with(options) {
            return Err(Error::Transport(format!("the stream {name:?} has other options")));
        }
        Ok(stream.clone())
    }
}
