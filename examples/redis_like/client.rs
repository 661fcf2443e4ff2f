//! One connection: a goroutine that reads what has come, carries out every command that is complete
//! in it under one lock, and answers them with one write.

use crate::Database;
use crate::commands;
use crate::pubsub::Subscriber;
use crate::resp::{self, MAX_COMMAND, Reply};
use crate::store::{End, Popped};
use narrowboat::chan::{self, Receiver};
use narrowboat::net::TcpStream;
use narrowboat::{go, select, time};
use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Answers that may gather before they are written, whatever else has come: so a client that sends
/// without reading has its answers pile up in its own socket and not here.
const MAX_OUTPUT: usize = 256 << 10;
/// What the buffer for input is again after a large command.
const USUAL_INPUT: usize = 64 << 10;

struct Client<'a> {
    id: u64,
    database: &'a Database,
    stream: Arc<TcpStream>,
    /// `input[start..end]` is not carried out yet.
    input: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether the last read could have had more.
    filled: bool,
    output: Vec<u8>,
    /// From the first SUBSCRIBE on, all that goes to the client goes this way.
    subscriber: Option<Subscriber>,
    subscriptions: HashSet<Vec<u8>>,
}

/// Why a batch of commands ended.
enum Pause {
    /// Nothing more is complete.
    Starved,
    /// Much is to be written first.
    Full,
    Pop {
        keys: Vec<Vec<u8>>,
        end: End,
        timeout: Option<Duration>,
    },
    Subscribe(Vec<Vec<u8>>),
    Unsubscribe(Vec<Vec<u8>>),
    Close,
}

/// Returns when the connection has ended, or with what broke it.
pub fn serve(stream: TcpStream, database: &Database) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    stream.set_nodelay(true)?;
    // One that does not read its answers is given up, sooner or later.
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    let mut client = Client {
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        database,
        stream: Arc::new(stream),
        input: Vec::new(),
        start: 0,
        end: 0,
        filled: false,
        output: Vec::new(),
        subscriber: None,
        subscriptions: HashSet::new(),
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
                let pause = self.carry_out();
                self.flush()?;
                match pause {
                    Pause::Starved => break,
                    Pause::Full => {}
                    Pause::Pop { keys, end, timeout } => self.pop(&keys, end, timeout)?,
                    Pause::Subscribe(names) => self.subscribe(&names),
                    Pause::Unsubscribe(names) => self.unsubscribe(names),
                    Pause::Close => return Ok(()),
                }
            }
        }
    }

    /// Moves what is left to the front, and sees to it that something fits behind it.
    fn make_room(&mut self) {
        self.input.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == 0 && self.input.len() > USUAL_INPUT {
            self.input = Vec::new();
        }
        // Grows from little, since most connections idle. A command longer than the limit is
        // refused before that.
        if self.end == self.input.len() || (self.filled && self.input.len() < USUAL_INPUT) {
            self.input.resize((2 * self.input.len()).clamp(512, MAX_COMMAND + USUAL_INPUT), 0);
        }
    }

    /// Carries out commands, under one lock, until something else has to happen.
    // Not inlined: the caller parks, and its frame is to be small then.
    #[inline(never)]
    fn carry_out(&mut self) -> Pause {
        let mut words: Vec<&[u8]> = Vec::with_capacity(8);
        let mut name = [0; 16];
        // Taken for the first command that needs it, and not for half a command.
        let mut locked = None;
        loop {
            if self.output.len() >= MAX_OUTPUT {
                return Pause::Full;
            }
            match resp::parse(&self.input[self.start..self.end], &mut words) {
                Ok(Some(length)) => self.start += length,
                Ok(None) => return Pause::Starved,
                Err(what) => {
                    self.output.error(&format!("ERR Protocol error: {what}"));
                    return Pause::Close;
                }
            }
            let Some((word, args)) = words.split_first() else { continue };
            // A name too long for the array is no command's, whatever is left of it.
            let length = word.len().min(name.len());
            name[..length].copy_from_slice(&word[..length]);
            name[..length].make_ascii_uppercase();
            let name = if word.len() > name.len() { word } else { &name[..length] };
            let owned = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect();
            match (name, args) {
                (b"QUIT", _) => {
                    self.output.status("OK");
                    return Pause::Close;
                }
                (b"SUBSCRIBE", [_, ..]) => return Pause::Subscribe(owned(args)),
                (b"UNSUBSCRIBE", _) => return Pause::Unsubscribe(owned(args)),
                (b"PING", _) if !self.subscriptions.is_empty() => {
                    self.output.array(2);
                    self.output.string(b"pong");
                    self.output.string(args.first().copied().unwrap_or_default());
                }
                _ if !self.subscriptions.is_empty() => {
                    self.output.error("ERR only (UN)SUBSCRIBE, PING and QUIT are allowed in this context")
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
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            match &self.subscriber {
                Some(subscriber) => subscriber.send(&self.output)?,
                None => (&*self.stream).write_all(&self.output)?,
            }
            self.output.clear();
            self.output.shrink_to(USUAL_INPUT);
        }
        Ok(())
    }

    fn subscriber(&mut self) -> Subscriber {
        let stream = &self.stream;
        self.subscriber.get_or_insert_with(|| Subscriber::new(stream.clone())).clone()
    }

    fn subscribe(&mut self, names: &[Vec<u8>]) {
        let subscriber = self.subscriber();
        let mut state = self.database.lock();
        state.hub.subscribe(self.id, &subscriber, names, &mut self.subscriptions);
    }

    fn unsubscribe(&mut self, mut names: Vec<Vec<u8>>) {
        let subscriber = self.subscriber();
        if names.is_empty() {
            names.extend(self.subscriptions.iter().cloned());
        }
        let mut state = self.database.lock();
        state.hub.unsubscribe(self.id, &subscriber, &names, &mut self.subscriptions);
    }

    /// The next element of the first list that has one, waiting for it if need be.
    fn pop(&mut self, keys: &[Vec<u8>], end: End, timeout: Option<Duration>) -> io::Result<()> {
        let (to, popped) = chan::bounded(1);
        let now = Instant::now();
        let mut state = self.database.lock();
        for key in keys {
            match state.store.pop(key, end, now) {
                Ok(None) => continue,
                Ok(Some(element)) => self.answer_pop(Some(&(key.clone(), element))),
                Err(wrong) => self.output.error(wrong.text()),
            }
            drop(state);
            return self.flush();
        }
        state.store.wait(self.id, keys, end, &to);
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
                    // Another command has come meanwhile, so nothing can be known.
                    Err(_) => {
                        gone = chan::never();
                        continue;
                    }
                }
            }
            break;
        }

        let mut state = self.database.lock();
        state.store.stop_waiting(self.id, keys);
        // One may have come at the last moment.
        let element = element.or_else(|| popped.try_recv().ok());
        if ended {
            // Nobody is there to have it: it goes back where it came from.
            if let Some((key, element)) = element {
                let now = Instant::now();
                let _ = state.store.push(&key, end, element, now);
                state.store.serve_waiting(&key, now);
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

    /// Says when the client has gone, to one who does not read from it meanwhile.
    fn watch_for_the_end(&self) -> io::Result<Receiver<()>> {
        let (tell, gone) = chan::bounded(1);
        let stream = self.stream.try_clone()?;
        // Looks without taking, so that a command which comes meanwhile stays where it is; then
        // this goroutine is done. If nothing comes it is done when the next command does.
        go!(move || match stream.peek(&mut [0]) {
            Ok(1..) => {}
            Ok(0) | Err(_) => drop(tell.send(())),
        });
        Ok(gone)
    }
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        if !self.subscriptions.is_empty() {
            let mut state = self.database.lock();
            for name in &self.subscriptions {
                state.hub.remove(self.id, name);
            }
        }
    }
}

/// A timeout; zero means none.
fn seconds(text: &[u8]) -> Option<Option<Duration>> {
    let seconds: f64 = str::from_utf8(text).ok()?.parse().ok()?;
    let timeout = Duration::try_from_secs_f64(seconds).ok()?;
    Some(if timeout.is_zero() { None } else { Some(timeout) })
}
