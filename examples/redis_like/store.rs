//! The data: values by key, when each expires, the clients that wait for an element of an empty
//! list, and the versions of the keys that transactions watch.

use indexmap::{IndexMap, IndexSet};
use narrowboat::chan::Sender;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;

/// Index maps, and not hash maps, because a scan needs an order that survives removals.
pub type Hash = IndexMap<Vec<u8>, Vec<u8>>;
pub type Set = IndexSet<Vec<u8>>;
pub type List = VecDeque<Vec<u8>>;

pub enum Value {
    String(Vec<u8>),
    List(List),
    Hash(Hash),
    Set(Set),
}

impl Value {
    /// What TYPE calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::String(_) => "string",
            Value::List(_) => "list",
            Value::Hash(_) => "hash",
            Value::Set(_) => "set",
        }
    }

    /// Whether it is a collection without elements. Such a key does not exist.
    fn is_empty(&self) -> bool {
        match self {
            Value::String(_) => false,
            Value::List(list) => list.is_empty(),
            Value::Hash(hash) => hash.is_empty(),
            Value::Set(set) => set.is_empty(),
        }
    }
}

/// A type of value that commands ask for.
pub trait Kind: Sized {
    fn of(value: &mut Value) -> Option<&mut Self>;
    fn new_value() -> Value;
}

macro_rules! kinds {
    ($($kind:ty => $variant:ident),*) => {
        $(impl Kind for $kind {
            fn of(value: &mut Value) -> Option<&mut $kind> {
                if let Value::$variant(it) = value { Some(it) } else { None }
            }

            fn new_value() -> Value {
                Value::$variant(Default::default())
            }
        })*
    };
}

kinds!(Vec<u8> => String, List => List, Hash => Hash, Set => Set);

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

/// A key that transactions watch.
#[derive(Default)]
struct Watched {
    by: usize,
    version: u64,
}

pub struct Store {
    entries: IndexMap<Vec<u8>, Entry>,
    /// The keys that expire, the next one first.
    deadlines: BTreeSet<(Instant, Vec<u8>)>,
    /// Gets a message when another key becomes the first of `deadlines`.
    changed: Sender<()>,
    waiting: HashMap<Vec<u8>, VecDeque<Waiter>>,
    /// Lists that clients wait for and that may have got an element. They are served after the
    /// command or the transaction, which so is never seen half done.
    filled: Vec<Vec<u8>>,
    watched: HashMap<Vec<u8>, Watched>,
}

impl Store {
    pub fn new(changed: Sender<()>) -> Store {
        Store {
            entries: IndexMap::new(),
            deadlines: BTreeSet::new(),
            changed,
            waiting: HashMap::new(),
            filled: Vec::new(),
            watched: HashMap::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.deadlines.clear();
        self.watched.values_mut().for_each(|watched| watched.version += 1);
    }

    /// The keys with their values, in an order that [`scan`](super::commands) can go through.
    pub fn iter(&self, now: Instant) -> impl Iterator<Item = (&[u8], &Value)> {
        let alive = move |entry: &Entry| entry.expires.is_none_or(|at| at > now);
        self.entries
            .iter()
            .filter(move |(_, entry)| alive(entry))
            .map(|(key, entry)| (&key[..], &entry.value))
    }

    /// The key at a place of that order, and its value. There are `len()` places.
    pub fn at(&self, index: usize, now: Instant) -> Option<(&[u8], &Value)> {
        let (key, entry) = self.entries.get_index(index)?;
        entry.expires.is_none_or(|at| at > now).then_some((&key[..], &entry.value))
    }

    pub fn get(&mut self, key: &[u8], now: Instant) -> Option<&mut Value> {
        self.entry(key, now).map(|entry| &mut entry.value)
    }

    /// The value at `key` as the kind that the caller names, if the key exists. A collection there
    /// has elements.
    pub fn typed<K: Kind>(&mut self, key: &[u8], now: Instant) -> Result<Option<&mut K>, WrongType> {
        self.get(key, now).map(|value| K::of(value).ok_or(WrongType)).transpose()
    }

    /// The same; a key that does not exist is made. After a removal, `prune` must follow.
    pub fn typed_or_new<K: Kind>(&mut self, key: &[u8], now: Instant) -> Result<&mut K, WrongType> {
        if self.get(key, now).is_none() {
            self.entries.insert(key.to_vec(), Entry { value: K::new_value(), expires: None });
        }
        self.typed(key, now).map(|value| value.expect("was just made"))
    }

    /// Removes the key if it holds a collection that has no elements any more.
    pub fn prune(&mut self, key: &[u8]) {
        if self.entries.get(key).is_some_and(|entry| entry.value.is_empty()) {
            self.forget(key);
        }
    }

    pub fn set(&mut self, key: &[u8], value: Value, expires: Option<Instant>) {
        match self.entries.get_mut(key) {
            Some(entry) => entry.value = value,
            None => drop(self.entries.insert(key.to_vec(), Entry { value, expires: None })),
        }
        self.set_expiry(key, expires);
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
            let (at, key) = self.deadlines.first()?;
            if *at > now {
                break;
            }
            let key = key.clone();
            self.expire(&key);
        }
        self.deadlines.first().map(|first| first.0)
    }

    /// Adds an element at one end, and returns the length of the list.
    pub fn push(&mut self, key: &[u8], end: End, element: Vec<u8>, now: Instant) -> Result<usize, WrongType> {
        let list: &mut List = self.typed_or_new(key, now)?;
        insert(list, end, element);
        let length = list.len();
        if self.waiting.contains_key(key) {
            self.filled.push(key.to_vec());
        }
        Ok(length)
    }

    /// Takes an element from one end. A list that becomes empty is removed.
    pub fn pop(&mut self, key: &[u8], end: End, now: Instant) -> Result<Option<Vec<u8>>, WrongType> {
        let Some(list) = self.typed::<List>(key, now)? else { return Ok(None) };
        let element = match end {
            End::Left => list.pop_front(),
            End::Right => list.pop_back(),
        };
        self.prune(key);
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

    /// Gives the elements that were pushed since the last call to the clients that wait for them, in
    /// their order.
    pub fn serve_waiting(&mut self, now: Instant) {
        while let Some(key) = self.filled.pop() {
            self.serve(&key, now);
        }
    }

    fn serve(&mut self, key: &[u8], now: Instant) {
        while let Some(waiters) = self.waiting.get_mut(key) {
            let Some(waiter) = waiters.pop_front() else {
                self.waiting.remove(key);
                return;
            };
            let Ok(Some(element)) = self.pop(key, waiter.end, now) else {
                self.waiting.entry(key.to_vec()).or_default().push_front(waiter);
                return;
            };
            self.touch(key);
            // A client that another of its lists has just served has no room, and the next client
            // gets the element.
            if let Err(error) = waiter.to.try_send((key.to_vec(), element)) {
                let (_, element) = error.into_inner();
                self.typed_or_new(key, now).map(|list| insert(list, waiter.end, element)).expect("a list");
            }
        }
    }

    /// Puts an element back where it was taken from, for the next client.
    pub fn put_back(&mut self, key: &[u8], end: End, element: Vec<u8>, now: Instant) {
        // Without effect if the key has become something else meanwhile: the element has no place.
        let _ = self.push(key, end, element, now);
        self.touch(key);
        self.serve_waiting(now);
    }

    /// Begins to watch a key, and returns its version now.
    pub fn watch(&mut self, key: &[u8], now: Instant) -> u64 {
        // One that has expired is gone before it is watched.
        self.entry(key, now);
        let watched = self.watched.entry(key.to_vec()).or_default();
        watched.by += 1;
        watched.version
    }

    /// Ends to watch a key. False if it is not as it was at that version.
    pub fn unwatch(&mut self, key: &[u8], version: u64, now: Instant) -> bool {
        self.entry(key, now);
        let watched = self.watched.get_mut(key).expect("a key has an entry while it is watched");
        let same = watched.version == version;
        watched.by -= 1;
        if watched.by == 0 {
            self.watched.remove(key);
        }
        same
    }

    /// Whether any key is watched, so that changes must be told by `touch`.
    pub fn is_watched(&self) -> bool {
        !self.watched.is_empty()
    }

    /// Notes that a key has changed.
    pub fn touch(&mut self, key: &[u8]) {
        if let Some(watched) = self.watched.get_mut(key) {
            watched.version += 1;
        }
    }

    /// The entry, unless it has expired. An expired entry may still exist if `drop_expired` is
    /// late.
    fn entry(&mut self, key: &[u8], now: Instant) -> Option<&mut Entry> {
        if self.deadlines.first().is_some_and(|first| first.0 <= now) {
            let expires = self.entries.get(key)?.expires;
            if expires.is_some_and(|at| at <= now) {
                self.expire(key);
            }
        }
        self.entries.get_mut(key)
    }

    fn expire(&mut self, key: &[u8]) {
        self.forget(key);
        self.touch(key);
    }

    fn forget(&mut self, key: &[u8]) {
        // The last entry takes the place of the one that is removed, which scans allow for.
        if let Some(Entry { expires: Some(at), .. }) = self.entries.swap_remove(key) {
            self.deadlines.remove(&(at, key.to_vec()));
        }
    }
}

fn insert(list: &mut List, end: End, element: Vec<u8>) {
    match end {
        End::Left => list.push_front(element),
        End::Right => list.push_back(element),
    }
}
