//! MULTI, EXEC, DISCARD and WATCH: commands that are kept and then carried out under one lock.

use super::State;
use super::commands;
use super::resp::Replies;
use std::time::Instant;

/// How many bytes of commands one transaction may have. A client must not be able to store more in
/// the server without data.
const MOST: usize = 64 << 20;

/// The words of a command, the name first, in upper case.
type Words = Vec<Vec<u8>>;

/// What one client has begun.
#[derive(Default)]
pub struct Transaction {
    /// The commands since MULTI.
    queue: Option<Vec<Words>>,
    bytes: usize,
    /// A command was refused before EXEC, so that none is carried out.
    broken: bool,
    /// The watched keys, each with its version then.
    watched: Vec<(Vec<u8>, u64)>,
}

impl Transaction {
    /// Whether MULTI has come, and EXEC has not.
    pub fn is_open(&self) -> bool {
        self.queue.is_some()
    }

    pub fn begin(&mut self, out: &mut Replies) {
        if self.is_open() {
            return out.error("ERR MULTI calls can not be nested");
        }
        self.queue = Some(Vec::new());
        out.status("OK");
    }

    /// Keeps a command of an open transaction.
    pub fn keep(&mut self, name: &[u8], args: &[&[u8]], out: &mut Replies) {
        let refused = match name {
            b"WATCH" => Some("ERR WATCH inside MULTI is not allowed".to_owned()),
            b"SUBSCRIBE" | b"UNSUBSCRIBE" | b"PSUBSCRIBE" | b"PUNSUBSCRIBE" | b"HELLO" | b"CLIENT" => {
                Some("ERR Command not allowed inside a transaction".to_owned())
            }
            _ => commands::check(name, args.len()).err(),
        };
        self.bytes += name.len() + args.iter().map(|word| word.len()).sum::<usize>();
        let refused = refused.or((self.bytes > MOST).then(|| "ERR the transaction is too large".to_owned()));
        match (refused, &mut self.queue) {
            (None, Some(queue)) => {
                let words = std::iter::once(name).chain(args.iter().copied());
                queue.push(words.map(<[u8]>::to_vec).collect());
                out.status("QUEUED");
            }
            (refused, _) => {
                self.broken = true;
                out.error(&refused.unwrap_or_default());
            }
        }
    }

    pub fn discard(&mut self, state: &mut State, now: Instant, out: &mut Replies) {
        if !self.is_open() {
            return out.error("ERR DISCARD without MULTI");
        }
        self.end(state, now);
        out.status("OK");
    }

    /// Carries out the commands, unless one was refused or a watched key has changed.
    pub fn execute(&mut self, state: &mut State, now: Instant, out: &mut Replies) {
        let Some(queue) = self.queue.take() else {
            return out.error("ERR EXEC without MULTI");
        };
        let broken = self.broken;
        let unchanged = self.end(state, now);
        if broken {
            return out.error("EXECABORT Transaction discarded because of previous errors.");
        }
        if !unchanged {
            return out.nil_array();
        }
        out.array(queue.len());
        for words in &queue {
            let (name, args) = words.split_first().expect("a command has a name");
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            commands::execute(state, now, name, &args, out);
        }
    }

    /// Watches keys until EXEC, DISCARD or UNWATCH.
    pub fn watch(&mut self, state: &mut State, now: Instant, keys: &[&[u8]], out: &mut Replies) {
        for &key in keys {
            if !self.watched.iter().any(|(watched, _)| watched == key) {
                self.watched.push((key.to_vec(), state.store.watch(key, now)));
            }
        }
        out.status("OK");
    }

    /// Forgets what was begun. False if a watched key has changed.
    pub fn end(&mut self, state: &mut State, now: Instant) -> bool {
        let watched = std::mem::take(self).watched;
        watched.into_iter().fold(true, |same, (key, version)| state.store.unwatch(&key, version, now) && same)
    }

    /// Whether it watches keys.
    pub fn watches(&self) -> bool {
        !self.watched.is_empty()
    }
}
