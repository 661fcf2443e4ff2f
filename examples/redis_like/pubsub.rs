//! Subscriptions: which client listens to which channel.
//!
//! Every subscriber has a channel of its own, which a goroutine of its own writes to its socket.
//! Publishing never waits: a subscriber with a full channel is disconnected, as Redis does with a
//! client that has a full output buffer. So a slow reader delays no other client.

use crate::resp::Reply;
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

#[derive(Default)]
pub struct Hub {
    channels: HashMap<Vec<u8>, HashMap<u64, Subscriber>>,
}

/// The sending side to one subscriber.
#[derive(Clone)]
pub struct Subscriber {
    outbox: Sender<Outgoing>,
    stream: Arc<TcpStream>,
}

impl Subscriber {
    /// Starts the goroutine that writes to `stream` from now on.
    pub fn new(stream: Arc<TcpStream>) -> Subscriber {
        let (outbox, messages) = chan::bounded(BACKLOG);
        let socket = stream.clone();
        go!(move || {
            // This also ends the goroutine that reads.
            if write_all(&socket, &messages).is_err() {
                let _ = socket.shutdown(Shutdown::Both);
            }
        });
        Subscriber { outbox, stream }
    }

    /// Sends, and waits for room. For the answers to a client's own commands, when no lock is held.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.outbox.send(bytes.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Sends without waiting. False if the subscriber had to be disconnected.
    pub fn offer(&self, bytes: &Outgoing) -> bool {
        let taken = self.outbox.try_send(bytes.clone()).is_ok();
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

impl Hub {
    /// Returns how many subscribers got the message.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let Some(subscribers) = self.channels.get_mut(channel) else { return 0 };
        let mut bytes = Vec::new();
        bytes.array(3);
        bytes.string(b"message");
        bytes.string(channel);
        bytes.string(message);
        let bytes = bytes.into();
        subscribers.retain(|_, subscriber| subscriber.offer(&bytes));
        subscribers.len()
    }

    /// Confirms each subscription under the same lock under which messages are published, so that
    /// it comes before them.
    pub fn subscribe(
        &mut self,
        id: u64,
        subscriber: &Subscriber,
        names: &[Vec<u8>],
        mine: &mut HashSet<Vec<u8>>,
    ) {
        for name in names {
            self.channels.entry(name.clone()).or_default().insert(id, subscriber.clone());
            mine.insert(name.clone());
            subscriber.offer(&confirmation(b"subscribe", Some(name), mine.len()));
        }
    }

    pub fn unsubscribe(
        &mut self,
        id: u64,
        subscriber: &Subscriber,
        names: &[Vec<u8>],
        mine: &mut HashSet<Vec<u8>>,
    ) {
        if names.is_empty() {
            subscriber.offer(&confirmation(b"unsubscribe", None, mine.len()));
        }
        for name in names {
            self.remove(id, name);
            mine.remove(name);
            subscriber.offer(&confirmation(b"unsubscribe", Some(name), mine.len()));
        }
    }

    pub fn remove(&mut self, id: u64, name: &[u8]) {
        if let Some(subscribers) = self.channels.get_mut(name) {
            subscribers.remove(&id);
            if subscribers.is_empty() {
                self.channels.remove(name);
            }
        }
    }
}

fn confirmation(what: &[u8], name: Option<&[u8]>, count: usize) -> Outgoing {
    let mut bytes = Vec::new();
    bytes.array(3);
    bytes.string(what);
    match name {
        Some(name) => bytes.string(name),
        None => bytes.nil(),
    }
    bytes.integer(count as i64);
    bytes.into()
}
