//! Who listens to what.
//!
//! Every subscriber has a channel of its own, which a goroutine of its own writes to its socket.
//! Publishing never waits: a subscriber whose channel is full is cut off, as Redis does with one
//! whose output buffer is full. So a slow reader stalls nobody.

use crate::resp::Reply;
use narrowboat::chan::{self, Receiver, Sender};
use narrowboat::go;
use narrowboat::net::TcpStream;
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::net::Shutdown;
use std::sync::Arc;

/// Messages that may wait for one subscriber.
const BACKLOG: usize = 4096;
/// What is written at once, if so much is there.
const MAX_WRITE: usize = 64 << 10;

/// Bytes for a client. Shared, because all subscribers get the same.
pub type Outgoing = Arc<[u8]>;

#[derive(Default)]
pub struct Hub {
    channels: HashMap<Vec<u8>, HashMap<u64, Subscriber>>,
}

/// The way to one subscriber.
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
            // Whoever reads is told as well.
            if write_all(&socket, &messages).is_err() {
                let _ = socket.shutdown(Shutdown::Both);
            }
        });
        Subscriber { outbox, stream }
    }

    /// Waits for room: for the answers to a client's own commands, and while nothing is locked.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.outbox.send(bytes.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Does not wait. False if the subscriber had to be cut off.
    pub fn offer(&self, bytes: &Outgoing) -> bool {
        let taken = self.outbox.try_send(bytes.clone()).is_ok();
        if !taken {
            // Ends its reader and its writer, which then take it off the lists.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        taken
    }
}

/// Writes what comes, many messages at a time where many are there, until every sender is gone.
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
    /// Returns how many got it.
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
