//! One connection: a goroutine that reads the available bytes, carries out all complete commands in
//! them under one lock, and answers them with one write.

use super::Database;
use super::commands;
use super::hello::{self, Identity};
use super::pubsub::{Kind, Subscriber, Subscriptions};
use super::resp::{self, MAX_COMMAND, Protocol, Replies};
use super::store::{End, Popped};
use super::transaction::Transaction;
use narrowboat::chan::{self, Receiver};
use narrowboat::net::TcpStream;
use narrowboat::{go, select, time};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many bytes of answers may gather before they are written, even if more commands have
/// arrived. So the answers to a client that sends without reading fill its socket, and not our
/// memory.
const MAX_OUTPUT: usize = 256 << 10;
/// The size to which the input buffer returns after a large command.
const USUAL_INPUT: usize = 64 << 10;

struct Client<'a> {
    identity: Identity,
    database: &'a Database,
    stream: Arc<TcpStream>,
    /// `input[start..end]` has not been carried out yet.
    input: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether the last read filled the buffer, so that there may be more to read.
    filled: bool,
    output: Replies,
    transaction: Transaction,
    /// From the first SUBSCRIBE on, all output to the client goes through this.
    subscriber: Option<Subscriber>,
    subscriptions: Subscriptions,
}

/// Why a batch of commands ended.
enum Pause {
    /// There is no further complete command.
    NeedInput,
    /// Many answers must be written first.
    Full,
    Pop {
        keys: Vec<Vec<u8>>,
        end: End,
        timeout: Option<Duration>,
    },
    Subscribe(Kind, Vec<Vec<u8>>),
    Unsubscribe(Kind, Vec<Vec<u8>>),
    Close,
}

/// Returns when the connection has ended, or with the error that broke it.
pub fn serve(stream: TcpStream, database: &Database) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    stream.set_nodelay(true)?;
    // Ends the connection of a client that does not read its answers.
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    let mut client = Client {
        identity: Identity::new(NEXT.fetch_add(1, Ordering::Relaxed)),
        database,
        stream: Arc::new(stream),
        input: Vec::new(),
        start: 0,
        end: 0,
        filled: false,
        output: Replies::new(Protocol::Resp2),
        transaction: Transaction::default(),
        subscriber: None,
        subscriptions: Subscriptions::default(),
    };
    client.run()
}

impl Client<'_> {
    fn run(&mut self) -> io::Result<()> {
        loop {
            self.make_room();
            let received = (&*self.stream).read(&mut self.input[self.end..])?;
            if received == 0 {
                return Ok(());
            }
            self.end += received;
            self.filled = self.end == self.input.len();
            loop {
                let pause = self.execute_all();
                self.flush()?;
                match pause {
                    Pause::NeedInput => break,
                    Pause::Full => {}
                    Pause::Pop { keys, end, timeout } => self.pop(&keys, end, timeout)?,
                    Pause::Subscribe(kind, names) => self.subscribe(kind, &names),
                    Pause::Unsubscribe(kind, names) => self.unsubscribe(kind, &names),
                    Pause::Close => return Ok(()),
                }
            }
        }
    }

    /// Moves the remaining input to the front, and makes room behind it.
    fn make_room(&mut self) {
        self.input.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == 0 && self.input.len() > USUAL_INPUT {
            self.input = Vec::new();
        }
        // Starts small and grows, because most connections are idle. A command longer than the
        // limit is refused before the buffer reaches its maximum.
        if self.end == self.input.len() || (self.filled && self.input.len() < USUAL_INPUT) {
            self.input.resize((2 * self.input.len()).clamp(512, MAX_COMMAND + USUAL_INPUT), 0);
        }
    }

    /// Carries out commands, under one lock, until there is a reason to pause.
    // Not inlined: the caller parks, and its frame should be small then.
    #[inline(never)]
    fn execute_all(&mut self) -> Pause {
        let mut words: Vec<&[u8]> = Vec::with_capacity(8);
        let mut name = [0; 16];
        // The lock is taken for the first command that needs it, and never while a command is
        // incomplete.
        let mut locked = None;
        loop {
            if self.output.bytes.len() >= MAX_OUTPUT {
                return Pause::Full;
            }
            match resp::parse(&self.input[self.start..self.end], &mut words) {
                Ok(Some(length)) => self.start += length,
                Ok(None) => return Pause::NeedInput,
                Err(what) => {
                    self.output.error(&format!("ERR Protocol error: {what}"));
                    return Pause::Close;
                }
            }
            let Some((word, args)) = words.split_first() else { continue };
            // No command has a name longer than the array, so the rest of such a name does not
            // matter.
            let length = word.len().min(name.len());
            name[..length].copy_from_slice(&word[..length]);
            name[..length].make_ascii_uppercase();
            let name = if word.len() > name.len() { word } else { &name[..length] };
            let owned = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect();
            let listens = !self.subscriptions.is_empty() && self.output.protocol == Protocol::Resp2;
            match (name, args) {
                (b"QUIT", _) => {
                    self.output.status("OK");
                    return Pause::Close;
                }
                (b"MULTI", []) => self.transaction.begin(&mut self.output),
                (b"EXEC" | b"DISCARD" | b"UNWATCH", []) | (b"WATCH", [_, ..])
                    if !self.transaction.is_open() || name == b"EXEC" || name == b"DISCARD" =>
                {
                    let (state, now) = locked.get_or_insert_with(|| (self.database.lock(), Instant::now()));
                    let (transaction, out) = (&mut self.transaction, &mut self.output);
                    match name {
                        b"EXEC" => transaction.execute(state, *now, out),
                        b"DISCARD" => transaction.discard(state, *now, out),
                        b"WATCH" => transaction.watch(state, *now, args, out),
                        _ => {
                            transaction.end(state, *now);
                            out.status("OK");
                        }
                    }
                    state.store.serve_waiting(*now);
                }
                _ if self.transaction.is_open() => self.transaction.keep(name, args, &mut self.output),
                (b"SUBSCRIBE", [_, ..]) => return Pause::Subscribe(Kind::Channels, owned(args)),
                (b"PSUBSCRIBE", [_, ..]) => return Pause::Subscribe(Kind::Patterns, owned(args)),
                (b"UNSUBSCRIBE", _) => return Pause::Unsubscribe(Kind::Channels, owned(args)),
                (b"PUNSUBSCRIBE", _) => return Pause::Unsubscribe(Kind::Patterns, owned(args)),
                (b"PING", _) if listens => {
                    self.output.array(2);
                    self.output.string(b"pong");
                    self.output.string(args.first().copied().unwrap_or_default());
                }
                _ if listens => self.output.error(
                    "ERR only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT are allowed in this context",
                ),
                (b"HELLO", _) => {
                    let may_change = self.subscriber.is_none();
                    hello::hello(&mut self.identity, args, may_change, &mut self.output);
                }
                (b"CLIENT", [what, args @ ..]) => {
                    hello::client(&mut self.identity, what, args, &mut self.output)
                }
                (b"BLPOP" | b"BRPOP", [keys @ .., timeout]) if !keys.is_empty() => match seconds(timeout) {
                    Some(timeout) => {
                        let end = if name == b"BLPOP" { End::Left } else { End::Right };
                        return Pause::Pop { keys: owned(keys), end, timeout };
                    }
                    None => self.output.error("ERR timeout is not a float or out of range"),
                },
                _ => {
                    let (state, now) = locked.get_or_insert_with(|| (self.database.lock(), Instant::now()));
                    commands::execute(state, *now, name, args, &mut self.output);
                    state.store.serve_waiting(*now);
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = &mut self.output.bytes;
        if !bytes.is_empty() {
            match &self.subscriber {
                Some(subscriber) => subscriber.send(bytes)?,
                None => (&*self.stream).write_all(bytes)?,
            }
            bytes.clear();
            bytes.shrink_to(USUAL_INPUT);
        }
        Ok(())
    }

    fn subscriber(&mut self) -> Subscriber {
        let (stream, protocol) = (&self.stream, self.output.protocol);
        self.subscriber.get_or_insert_with(|| Subscriber::new(stream.clone(), protocol)).clone()
    }

    fn subscribe(&mut self, kind: Kind, names: &[Vec<u8>]) {
        let subscriber = self.subscriber();
        let mut state = self.database.lock();
        state.hub.subscribe(self.identity.id, &subscriber, kind, names, &mut self.subscriptions);
    }

    fn unsubscribe(&mut self, kind: Kind, names: &[Vec<u8>]) {
        let subscriber = self.subscriber();
        let mut state = self.database.lock();
        state.hub.unsubscribe(self.identity.id, &subscriber, kind, names, &mut self.subscriptions);
    }

    /// Answers with the next element of the first list that has one. Waits for one if necessary.
    fn pop(&mut self, keys: &[Vec<u8>], end: End, timeout: Option<Duration>) -> io::Result<()> {
        let (to, popped) = chan::bounded(1);
        let now = Instant::now();
        let mut state = self.database.lock();
        for key in keys {
            match state.store.pop(key, end, now) {
                Ok(None) => continue,
                Ok(Some(element)) => {
                    state.store.touch(key);
                    self.answer_pop(Some(&(key.clone(), element)));
                }
                Err(wrong) => self.output.error(wrong.text()),
            }
            drop(state);
            return self.flush();
        }
        state.store.wait(self.identity.id, keys, end, &to);
        drop(state);

        let late = timeout.map_or_else(chan::never, time::after);
        let mut gone = self.watch_for_the_end()?;
        let mut ended = false;
        let mut element = None;
        loop {
            select! {
                recv(popped) -> it => element = it.ok(),
                recv(late) -> _ => {}
                recv(gone) -> word => match word {
                    Ok(()) => ended = true,
                    // Another command has arrived meanwhile, so the end of the connection can no
                    // longer be seen.
                    Err(_) => {
                        gone = chan::never();
                        continue;
                    }
                }
            }
            break;
        }

        let mut state = self.database.lock();
        state.store.stop_waiting(self.identity.id, keys);
        // An element may have arrived at the last moment.
        let element = element.or_else(|| popped.try_recv().ok());
        if ended {
            // The client is gone, so the element is put back where it came from.
            if let Some((key, element)) = element {
                state.store.put_back(&key, end, element, Instant::now());
            }
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        drop(state);
        self.answer_pop(element.as_ref());
        self.flush()
    }

    fn answer_pop(&mut self, popped: Option<&Popped>) {
        match popped {
            Some((key, element)) => {
                self.output.array(2);
                self.output.string(key);
                self.output.string(element);
            }
            None => self.output.nil_array(),
        }
    }

    /// Returns a channel that tells when the client has closed the connection, while this goroutine
    /// does not read from it.
    fn watch_for_the_end(&self) -> io::Result<Receiver<()>> {
        let (tell, gone) = chan::bounded(1);
        let stream = self.stream.try_clone()?;
        // Peeks, so that a command that arrives meanwhile stays in the socket. The goroutine ends
        // when a command or the end of the connection arrives.
        go!(move || match stream.peek(&mut [0]) {
            Ok(1..) => {}
            Ok(0) | Err(_) => drop(tell.send(())),
        });
        Ok(gone)
    }
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        if !self.subscriptions.is_empty() || self.transaction.watches() {
            let mut state = self.database.lock();
            state.hub.leave(self.identity.id, &mut self.subscriptions);
            self.transaction.end(&mut state, Instant::now());
        }
    }
}

/// Parses a timeout. Zero means no timeout.
fn seconds(text: &[u8]) -> Option<Option<Duration>> {
    let seconds: f64 = str::from_utf8(text).ok()?.parse().ok()?;
    let timeout = Duration::try_from_secs_f64(seconds).ok()?;
    Some(if timeout.is_zero() { None } else { Some(timeout) })
}
