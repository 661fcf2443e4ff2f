//! The data: strings and lists by key, when each expires, and the clients that wait for an element
//! of an empty list.

use narrowboat::chan::Sender;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;

pub enum Value {
    String(Vec<u8>),
    List(VecDeque<Vec<u8>>),
}

struct Entry {
    value: Value,
    expires: Option<Instant>,
}

/// Which end of a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Left,
    Right,
}

/// The key holds a value of another kind.
#[derive(Debug)]
pub struct WrongType;

impl WrongType {
    pub fn text(&self) -> &'static str {
        "WRONGTYPE Operation against a key holding the wrong kind of value"
    }
}

/// A key and what was popped from its list.
pub type Popped = (Vec<u8>, Vec<u8>);

struct Waiter {
    id: u64,
    end: End,
    to: Sender<Popped>,
}

pub struct Store {
    entries: HashMap<Vec<u8>, Entry>,
    /// The keys that expire, the next one first.
    deadlines: BTreeSet<(Instant, Vec<u8>)>,
    /// Gets a message when another key becomes the first of `deadlines`.
    changed: Sender<()>,
    waiting: HashMap<Vec<u8>, VecDeque<Waiter>>,
}

impl Store {
    pub fn new(changed: Sender<()>) -> Store {
        Store { entries: HashMap::new(), deadlines: BTreeSet::new(), changed, waiting: HashMap::new() }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.deadlines.clear();
    }

    pub fn keys(&self, now: Instant) -> impl Iterator<Item = &[u8]> {
        let alive = move |entry: &Entry| entry.expires.is_none_or(|at| at > now);
        self.entries.iter().filter(move |(_, entry)| alive(entry)).map(|(key, _)| &key[..])
    }

    pub fn get(&mut self, key: &[u8], now: Instant) -> Option<&mut Value> {
        self.entry(key, now).map(|entry| &mut entry.value)
    }

    /// The string at `key`, if the key exists.
    pub fn string(&mut self, key: &[u8], now: Instant) -> Result<Option<&mut Vec<u8>>, WrongType> {
        match self.get(key, now) {
            None => Ok(None),
            Some(Value::String(string)) => Ok(Some(string)),
            Some(Value::List(_)) => Err(WrongType),
        }
    }

    /// The list at `key`, if the key exists. It is never empty.
    pub fn list(&mut self, key: &[u8], now: Instant) -> Result<Option<&mut VecDeque<Vec<u8>>>, WrongType> {
        match self.get(key, now) {
            None => Ok(None),
            Some(Value::List(list)) => Ok(Some(list)),
            Some(Value::String(_)) => Err(WrongType),
        }
    }

    pub fn set(&mut self, key: &[u8], value: Value, expires: Option<Instant>) {
        match self.entries.get_mut(key) {
            Some(entry) => {
                entry.value = value;
                self.set_expiry(key, expires);
            }
            None => {
                self.entries.insert(key.to_vec(), Entry { value, expires: None });
                self.set_expiry(key, expires);
            }
        }
    }

    pub fn remove(&mut self, key: &[u8], now: Instant) -> bool {
        let alive = self.entry(key, now).is_some();
        self.forget(key);
        alive
    }

    /// When the key expires: `None` if the key does not exist, `Some(None)` if it never expires.
    pub fn expiry(&mut self, key: &[u8], now: Instant) -> Option<Option<Instant>> {
        self.entry(key, now).map(|entry| entry.expires)
    }

    /// Sets or removes the expiry of a key, if the key exists.
    pub fn set_expiry(&mut self, key: &[u8], expires: Option<Instant>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let before = std::mem::replace(&mut entry.expires, expires);
        if before == expires {
            return;
        }
        if let Some(at) = before {
            self.deadlines.remove(&(at, key.to_vec()));
        }
        if let Some(at) = expires {
            if self.deadlines.first().is_none_or(|first| at < first.0) {
                let _ = self.changed.try_send(());
            }
            self.deadlines.insert((at, key.to_vec()));
        }
    }

    /// Drops a bounded number of expired keys, and returns when the next one expires.
    pub fn drop_expired(&mut self, now: Instant) -> Option<Instant> {
        for _ in 0..1_000 {
            let (at, _) = self.deadlines.first()?;
            if *at > now {
                break;
            }
            let (_, key) = self.deadlines.pop_first()?;
            self.entries.remove(&key);
        }
        self.deadlines.first().map(|first| first.0)
    }

    /// Adds an element at one end, and returns the length of the list.
    pub fn push(&mut self, key: &[u8], end: End, element: Vec<u8>, now: Instant) -> Result<usize, WrongType> {
        if self.get(key, now).is_none() {
            self.set(key, Value::List(VecDeque::new()), None);
        }
        let list = self.list(key, now)?.expect("was just made");
        match end {
            End::Left => list.push_front(element),
            End::Right => list.push_back(element),
        }
        Ok(list.len())
    }

    /// Takes an element from one end. A list that becomes empty is removed.
    pub fn pop(&mut self, key: &[u8], end: End, now: Instant) -> Result<Option<Vec<u8>>, WrongType> {
        let Some(list) = self.list(key, now)? else { return Ok(None) };
        let element = match end {
            End::Left => list.pop_front(),
            End::Right => list.pop_back(),
        };
        if list.is_empty() {
            self.forget(key);
        }
        Ok(element)
    }

    /// Registers `to`, which has room for one message, for the next element of any of the lists.
    pub fn wait(&mut self, id: u64, keys: &[Vec<u8>], end: End, to: &Sender<Popped>) {
        for key in keys {
            let waiter = Waiter { id, end, to: to.clone() };
            self.waiting.entry(key.clone()).or_default().push_back(waiter);
        }
    }

    pub fn stop_waiting(&mut self, id: u64, keys: &[Vec<u8>]) {
        for key in keys {
            if let Some(waiters) = self.waiting.get_mut(key) {
                waiters.retain(|waiter| waiter.id != id);
                if waiters.is_empty() {
                    self.waiting.remove(key);
                }
            }
        }
    }

    /// Gives elements of a list to the clients that wait for them, in their order.
    pub fn serve_waiting(&mut self, key: &[u8], now: Instant) {
        while let Some(waiters) = self.waiting.get_mut(key) {
            let Some(waiter) = waiters.pop_front() else {
                self.waiting.remove(key);
                return;
            };
            let Ok(Some(element)) = self.pop(key, waiter.end, now) else {
                self.waiting.entry(key.to_vec()).or_default().push_front(waiter);
                return;
            };
            // A client that another of its lists has just served has no room, and the next client
            // gets the element.
            if let Err(error) = waiter.to.try_send((key.to_vec(), element)) {
                let (_, element) = error.into_inner();
                let _ = self.push(key, waiter.end, element, now);
            }
        }
    }

    /// The entry, unless it has expired. An expired entry may still exist if `drop_expired` is
    /// late.
    fn entry(&mut self, key: &[u8], now: Instant) -> Option<&mut Entry> {
        if self.deadlines.first().is_some_and(|first| first.0 <= now) {
            let expires = self.entries.get(key)?.expires;
            if expires.is_some_and(|at| at <= now) {
                self.forget(key);
            }
        }
        self.entries.get_mut(key)
    }

    fn forget(&mut self, key: &[u8]) {
        if let Some(Entry { expires: Some(at), .. }) = self.entries.remove(key) {
            self.deadlines.remove(&(at, key.to_vec()));
        }
    }
}
