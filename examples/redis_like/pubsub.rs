//! Subscriptions: which client listens to which channel, and to which pattern of channels.
//!
//! Every subscriber has a channel of its own, which a goroutine of its own writes to its socket.
//! Publishing never waits: a subscriber with a full channel is disconnected, as Redis does with a
//! client that has a full output buffer. So a slow reader delays no other client.

use super::glob;
use super::resp::{Protocol, Replies};
use narrowboat::chan::{self, Receiver, Sender};
use narrowboat::go;
use narrowboat::net::TcpStream;
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::net::Shutdown;
use std::sync::Arc;

/// How many messages may wait for one subscriber.
const BACKLOG: usize = 4096;
/// How many bytes are collected for one write.
const MAX_WRITE: usize = 64 << 10;

/// Bytes for a client. Shared, because all subscribers get the same.
pub type Outgoing = Arc<[u8]>;

/// What a client subscribes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Channels,
    Patterns,
}

/// The names that one client subscribes to.
#[derive(Default)]
pub struct Subscriptions {
    channels: HashSet<Vec<u8>>,
    patterns: HashSet<Vec<u8>>,
}

impl Subscriptions {
    pub fn of(&mut self, kind: Kind) -> &mut HashSet<Vec<u8>> {
        match kind {
            Kind::Channels => &mut self.channels,
            Kind::Patterns => &mut self.patterns,
        }
    }

    pub fn len(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The subscribers to each name, by the ids of the clients.
type Names = HashMap<Vec<u8>, HashMap<u64, Subscriber>>;

#[derive(Default)]
pub struct Hub {
    channels: Names,
    patterns: Names,
}

/// The sending side to one subscriber.
#[derive(Clone)]
pub struct Subscriber {
    outbox: Sender<Outgoing>,
    stream: Arc<TcpStream>,
    protocol: Protocol,
}

impl Subscriber {
    /// Starts the goroutine that writes to `stream` from now on.
    pub fn new(stream: Arc<TcpStream>, protocol: Protocol) -> Subscriber {
        let (outbox, messages) = chan::bounded(BACKLOG);
        let socket = stream.clone();
        go!(move || {
            // This also ends the goroutine that reads.
            if write_all(&socket, &messages).is_err() {
                let _ = socket.shutdown(Shutdown::Both);
            }
        });
        Subscriber { outbox, stream, protocol }
    }

    /// Sends, and waits for room. For the answers to a client's own commands, when no lock is held.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.outbox.send(bytes.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Sends without waiting. False if the subscriber had to be disconnected.
    fn offer(&self, bytes: Outgoing) -> bool {
        let taken = self.outbox.try_send(bytes).is_ok();
        if !taken {
            // Ends its reader and its writer, which then remove it from the lists.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        taken
    }
}

/// Writes the messages, several with one write if several are available, until all senders are
/// dropped.
fn write_all(mut stream: &TcpStream, messages: &Receiver<Outgoing>) -> io::Result<()> {
    let mut bytes = Vec::new();
    while let Ok(message) = messages.recv() {
        bytes.extend_from_slice(&message);
        while bytes.len() < MAX_WRITE
            && let Ok(message) = messages.try_recv()
        {
            bytes.extend_from_slice(&message);
        }
        stream.write_all(&bytes)?;
        bytes.clear();
    }
    Ok(())
}

/// A message, encoded once for each protocol that a subscriber speaks.
struct Message<'a> {
    parts: &'a [&'a [u8]],
    resp2: Option<Outgoing>,
    resp3: Option<Outgoing>,
}

impl<'a> Message<'a> {
    fn new(parts: &'a [&'a [u8]]) -> Message<'a> {
        Message { parts, resp2: None, resp3: None }
    }

    fn encoded(&mut self, protocol: Protocol) -> Outgoing {
        let place = match protocol {
            Protocol::Resp2 => &mut self.resp2,
            Protocol::Resp3 => &mut self.resp3,
        };
        let encode = || {
            let mut out = Replies::new(protocol);
            out.push(self.parts.len());
            self.parts.iter().for_each(|part| out.string(part));
            out.bytes.into()
        };
        place.get_or_insert_with(encode).clone()
    }
}

/// Sends a message to all subscribers of a name, and returns how many there are.
fn deliver(subscribers: &mut HashMap<u64, Subscriber>, parts: &[&[u8]]) -> usize {
    let mut message = Message::new(parts);
    subscribers.retain(|_, subscriber| subscriber.offer(message.encoded(subscriber.protocol)));
    subscribers.len()
}

impl Hub {
    /// Returns how many subscriptions got the message.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let direct = self
            .channels
            .get_mut(channel)
            .map_or(0, |subscribers| deliver(subscribers, &[b"message", channel, message]));
        let matching = self.patterns.iter_mut().filter(|(pattern, _)| glob::matches(pattern, channel));
        let by_pattern: usize = matching
            .map(|(pattern, subscribers)| deliver(subscribers, &[b"pmessage", pattern, channel, message]))
            .sum();
        direct + by_pattern
    }

    /// Confirms each subscription under the same lock under which messages are published, so that
    /// it comes before them.
    pub fn subscribe(
        &mut self,
        id: u64,
        subscriber: &Subscriber,
        kind: Kind,
        names: &[Vec<u8>],
        mine: &mut Subscriptions,
    ) {
        let word: &[u8] = if kind == Kind::Channels { b"subscribe" } else { b"psubscribe" };
        for name in names {
            self.of(kind).entry(name.clone()).or_default().insert(id, subscriber.clone());
            mine.of(kind).insert(name.clone());
            subscriber.offer(confirmation(subscriber.protocol, word, Some(name), mine.len()));
        }
    }

    /// Without names it ends all subscriptions of the kind.
    pub fn unsubscribe(
        &mut self,
        id: u64,
        subscriber: &Subscriber,
        kind: Kind,
        names: &[Vec<u8>],
        mine: &mut Subscriptions,
    ) {
        let word: &[u8] = if kind == Kind::Channels { b"unsubscribe" } else { b"punsubscribe" };
        let all: Vec<Vec<u8>>;
        let names = if names.is_empty() {
            all = mine.of(kind).iter().cloned().collect();
            &all
        } else {
            names
        };
        if names.is_empty() {
            subscriber.offer(confirmation(subscriber.protocol, word, None, mine.len()));
        }
        for name in names {
            self.remove(id, kind, name);
            mine.of(kind).remove(name);
            subscriber.offer(confirmation(subscriber.protocol, word, Some(name), mine.len()));
        }
    }

    /// Ends all subscriptions of a client that has gone.
    pub fn leave(&mut self, id: u64, mine: &mut Subscriptions) {
        for kind in [Kind::Channels, Kind::Patterns] {
            for name in mine.of(kind).drain() {
                self.remove(id, kind, &name);
            }
        }
    }

    fn of(&mut self, kind: Kind) -> &mut Names {
        match kind {
            Kind::Channels => &mut self.channels,
            Kind::Patterns => &mut self.patterns,
        }
    }

    fn remove(&mut self, id: u64, kind: Kind, name: &[u8]) {
        let names = self.of(kind);
        if let Some(subscribers) = names.get_mut(name) {
            subscribers.remove(&id);
            if subscribers.is_empty() {
                names.remove(name);
            }
        }
    }
}

fn confirmation(protocol: Protocol, word: &[u8], name: Option<&[u8]>, count: usize) -> Outgoing {
    let mut out = Replies::new(protocol);
    out.push(3);
    out.string(word);
    out.optional(name);
    out.count(count);
    out.bytes.into()
}
