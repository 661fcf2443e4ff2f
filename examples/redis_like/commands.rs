//! The commands on the data, and their answers.

use crate::State;
use crate::glob;
use crate::resp::{Reply, number};
use crate::store::{End, Store, Value, WrongType};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Why a command was refused. The client gets it as an error.
enum Refusal {
    Text(&'static str),
    /// The command is unknown, or has another number of arguments.
    NoSuch,
}

impl From<WrongType> for Refusal {
    fn from(wrong: WrongType) -> Refusal {
        Refusal::Text(wrong.text())
    }
}

const NOT_A_NUMBER: Refusal = Refusal::Text("ERR value is not an integer or out of range");
const OVERFLOW: Refusal = Refusal::Text("ERR increment or decrement would overflow");
const SYNTAX: Refusal = Refusal::Text("ERR syntax error");

/// The names of all commands. They include those that `client` carries out, for the count and for
/// the error messages.
const NAMES: [&str; 42] = [
    "PING",
    "ECHO",
    "QUIT",
    "SELECT",
    "CLIENT",
    "COMMAND",
    "CONFIG",
    "INFO",
    "DBSIZE",
    "FLUSHALL",
    "FLUSHDB",
    "KEYS",
    "TYPE",
    "GET",
    "SET",
    "SETNX",
    "MGET",
    "MSET",
    "APPEND",
    "STRLEN",
    "DEL",
    "EXISTS",
    "EXPIRE",
    "PEXPIRE",
    "TTL",
    "PTTL",
    "PERSIST",
    "INCR",
    "DECR",
    "INCRBY",
    "DECRBY",
    "LPUSH",
    "RPUSH",
    "LPOP",
    "RPOP",
    "LLEN",
    "LRANGE",
    "BLPOP",
    "BRPOP",
    "PUBLISH",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
];

/// Carries out a command, and writes the answer. `name` is in upper case.
pub fn execute(state: &mut State, now: Instant, name: &[u8], args: &[&[u8]], out: &mut Vec<u8>) {
    let done = match name {
        b"PUBLISH" => publish(state, args, out),
        b"PING" | b"ECHO" | b"SELECT" | b"CLIENT" | b"COMMAND" | b"CONFIG" | b"INFO" => {
            about_the_server(&state.store, name, args, out)
        }
        _ => data(&mut state.store, now, name, args, out),
    };
    match done {
        Ok(()) => {}
        Err(Refusal::Text(text)) => out.error(text),
        Err(Refusal::NoSuch) => out.error(&no_such(name)),
    }
}

/// The error for a command that does not exist, or not with this number of arguments.
pub fn no_such(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(&name[..name.len().min(64)]);
    if NAMES.contains(&&*name) {
        format!("ERR wrong number of arguments for '{}' command", name.to_lowercase())
    } else {
        format!("ERR unknown command '{name}'")
    }
}

fn publish(state: &mut State, args: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Refusal> {
    let [channel, message] = args else { return Err(Refusal::NoSuch) };
    out.integer(state.hub.publish(channel, message) as i64);
    Ok(())
}

/// The commands about the connection and the server, as far as redis-cli and redis-benchmark need
/// them.
fn about_the_server(store: &Store, name: &[u8], args: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Refusal> {
    match (name, args) {
        (b"PING", []) => out.status("PONG"),
        (b"PING" | b"ECHO", [text]) => out.string(text),
        (b"SELECT", [b"0"]) => out.status("OK"),
        (b"SELECT", [_]) => return Err(Refusal::Text("ERR DB index is out of range")),
        (b"CLIENT", [_, ..]) => out.status("OK"),
        (b"COMMAND", [what]) if what.eq_ignore_ascii_case(b"COUNT") => out.integer(NAMES.len() as i64),
        (b"COMMAND", _) => out.array(0),
        (b"CONFIG", [get, name]) if get.eq_ignore_ascii_case(b"GET") => {
            out.array(2);
            out.string(name);
            out.string(if name.eq_ignore_ascii_case(b"appendonly") { b"no" } else { b"" });
        }
        (b"CONFIG", [_, ..]) => return Err(Refusal::Text("ERR nothing can be configured here")),
        (b"INFO", _) => {
            let goroutines = narrowboat::num_goroutines();
            let keys = store.len();
            out.string(
                format!(
                    "# Server\r\nredis_version:7.0.0\r\nredis_mode:standalone\r\n\
                     # Goroutines\r\ngoroutines:{goroutines}\r\n# Keyspace\r\ndb0:keys={keys}\r\n"
                )
                .as_bytes(),
            );
        }
        _ => return Err(Refusal::NoSuch),
    }
    Ok(())
}

fn data(
    store: &mut Store,
    now: Instant,
    name: &[u8],
    args: &[&[u8]],
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    match (name, args) {
        (b"GET", [key]) => match store.string(key, now)? {
            Some(string) => out.string(string),
            None => out.nil(),
        },
        (b"SET", [key, value, options @ ..]) => set(store, now, key, value, options, out)?,
        (b"INCR", [key]) => add(store, now, key, 1, out)?,
        (b"DECR", [key]) => add(store, now, key, -1, out)?,
        (b"INCRBY", [key, by]) => add(store, now, key, integer(by)?, out)?,
        (b"DECRBY", [key, by]) => add(store, now, key, integer(by)?.checked_neg().ok_or(OVERFLOW)?, out)?,
        (b"LPUSH", [key, elements @ ..]) if !elements.is_empty() => {
            push(store, now, key, End::Left, elements, out)?;
        }
        (b"RPUSH", [key, elements @ ..]) if !elements.is_empty() => {
            push(store, now, key, End::Right, elements, out)?;
        }
        (b"LPOP", [key, count @ ..]) if count.len() <= 1 => pop(store, now, key, End::Left, count, out)?,
        (b"RPOP", [key, count @ ..]) if count.len() <= 1 => pop(store, now, key, End::Right, count, out)?,
        (b"LLEN", [key]) => out.integer(store.list(key, now)?.map_or(0, |list| list.len()) as i64),
        (b"LRANGE", [key, from, to]) => range(store, now, key, integer(from)?, integer(to)?, out)?,
        (b"SETNX", [key, value]) => {
            let absent = store.get(key, now).is_none();
            if absent {
                store.set(key, Value::String(value.to_vec()), None);
            }
            out.integer(i64::from(absent));
        }
        (b"MGET", [_, ..]) => {
            out.array(args.len());
            for key in args {
                match store.get(key, now) {
                    Some(Value::String(string)) => out.string(string),
                    _ => out.nil(),
                }
            }
        }
        (b"MSET", [_, ..]) if args.len().is_multiple_of(2) => {
            for pair in args.chunks_exact(2) {
                store.set(pair[0], Value::String(pair[1].to_vec()), None);
            }
            out.status("OK");
        }
        (b"APPEND", [key, more]) => {
            let length = match store.string(key, now)? {
                Some(string) => {
                    string.extend_from_slice(more);
                    string.len()
                }
                None => {
                    store.set(key, Value::String(more.to_vec()), None);
                    more.len()
                }
            };
            out.integer(length as i64);
        }
        (b"STRLEN", [key]) => out.integer(store.string(key, now)?.map_or(0, |string| string.len()) as i64),
        (b"TYPE", [key]) => out.status(match store.get(key, now) {
            None => "none",
            Some(Value::String(_)) => "string",
            Some(Value::List(_)) => "list",
        }),
        (b"DEL", [_, ..]) => out.integer(args.iter().filter(|key| store.remove(key, now)).count() as i64),
        (b"EXISTS", [_, ..]) => {
            out.integer(args.iter().filter(|key| store.get(key, now).is_some()).count() as i64);
        }
        (b"EXPIRE", [key, seconds]) => expire(store, now, key, integer(seconds)?.checked_mul(1000), out)?,
        (b"PEXPIRE", [key, milliseconds]) => expire(store, now, key, Some(integer(milliseconds)?), out)?,
        (b"PERSIST", [key]) => {
            let had = store.expiry(key, now).flatten().is_some();
            store.set_expiry(key, None);
            out.integer(i64::from(had));
        }
        // Rounded up, so that the answer is not zero while the key exists.
        (b"TTL", [key]) => {
            let left = left(store, now, key);
            out.integer(if left < 0 { left } else { (left + 999) / 1000 });
        }
        (b"PTTL", [key]) => out.integer(left(store, now, key)),
        (b"DBSIZE", []) => out.integer(store.len() as i64),
        (b"FLUSHALL" | b"FLUSHDB", _) => {
            store.clear();
            out.status("OK");
        }
        (b"KEYS", [pattern]) => {
            let keys: Vec<_> = store.keys(now).filter(|key| glob::matches(pattern, key)).collect();
            out.array(keys.len());
            for key in keys {
                out.string(key);
            }
        }
        _ => return Err(Refusal::NoSuch),
    }
    Ok(())
}

fn integer(text: &[u8]) -> Result<i64, Refusal> {
    number(text).ok_or(NOT_A_NUMBER)
}

fn set(
    store: &mut Store,
    now: Instant,
    key: &[u8],
    value: &[u8],
    options: &[&[u8]],
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let (mut expires, mut keep, mut only_if) = (None, false, None);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let option = option.to_ascii_uppercase();
        match &option[..] {
            b"EX" | b"PX" if expires.is_none() && !keep => {
                let time = integer(options.next().ok_or(SYNTAX)?)?;
                let time = time.checked_mul(if option == b"EX" { 1000 } else { 1 });
                let invalid = Refusal::Text("ERR invalid expire time in 'set' command");
                expires = Some(time.filter(|&ms| ms > 0).and_then(|ms| later(now, ms)).ok_or(invalid)?);
            }
            b"KEEPTTL" if expires.is_none() => keep = true,
            b"NX" if only_if != Some(true) => only_if = Some(false),
            b"XX" if only_if != Some(false) => only_if = Some(true),
            _ => return Err(SYNTAX),
        }
    }
    if only_if.is_some_and(|wanted| wanted != store.get(key, now).is_some()) {
        out.nil();
        return Ok(());
    }
    if keep {
        expires = store.expiry(key, now).flatten();
    }
    store.set(key, Value::String(value.to_vec()), expires);
    out.status("OK");
    Ok(())
}

fn later(now: Instant, milliseconds: i64) -> Option<Instant> {
    now.checked_add(Duration::from_millis(u64::try_from(milliseconds).ok()?))
}

fn add(store: &mut Store, now: Instant, key: &[u8], by: i64, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let value = match store.string(key, now)? {
        Some(string) => {
            let value = integer(string)?.checked_add(by).ok_or(OVERFLOW)?;
            // Changes the value in place, so that the key keeps its expiry.
            *string = value.to_string().into_bytes();
            value
        }
        None => {
            store.set(key, Value::String(by.to_string().into_bytes()), None);
            by
        }
    };
    out.integer(value);
    Ok(())
}

fn push(
    store: &mut Store,
    now: Instant,
    key: &[u8],
    end: End,
    elements: &[&[u8]],
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let mut length = 0;
    for element in elements {
        length = store.push(key, end, element.to_vec(), now)?;
    }
    store.serve_waiting(key, now);
    out.integer(length as i64);
    Ok(())
}

fn pop(
    store: &mut Store,
    now: Instant,
    key: &[u8],
    end: End,
    count: &[&[u8]],
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let Some(count) = count.first() else {
        match store.pop(key, end, now)? {
            Some(element) => out.string(&element),
            None => out.nil(),
        }
        return Ok(());
    };
    let count = usize::try_from(integer(count)?)
        .map_err(|_| Refusal::Text("ERR value is out of range, must be positive"))?;
    let Some(length) = store.list(key, now)?.map(|list| list.len()) else {
        out.nil_array();
        return Ok(());
    };
    out.array(count.min(length));
    for _ in 0..count.min(length) {
        out.string(&store.pop(key, end, now)?.unwrap_or_default());
    }
    Ok(())
}

fn range(
    store: &mut Store,
    now: Instant,
    key: &[u8],
    from: i64,
    to: i64,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let empty = VecDeque::new();
    let list = store.list(key, now)?.map_or(&empty, |list| list);
    let length = list.len() as i64;
    // Negative indices count from the end.
    let absolute = |index: i64| if index < 0 { (index + length).max(0) } else { index.min(length) } as usize;
    let from = absolute(from);
    let to = if to < -length { 0 } else { absolute(to).saturating_add(1).min(list.len()) };
    out.array(to.saturating_sub(from));
    for element in list.range(from.min(to)..to) {
        out.string(element);
    }
    Ok(())
}

fn expire(
    store: &mut Store,
    now: Instant,
    key: &[u8],
    milliseconds: Option<i64>,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let milliseconds = milliseconds.ok_or(NOT_A_NUMBER)?;
    let there = store.get(key, now).is_some();
    if there && milliseconds <= 0 {
        store.remove(key, now);
    } else if there {
        let at = later(now, milliseconds).ok_or(Refusal::Text("ERR invalid expire time"))?;
        store.set_expiry(key, Some(at));
    }
    out.integer(i64::from(there));
    Ok(())
}

/// How many milliseconds are left; -1 if the key never expires, -2 if there is no such key.
fn left(store: &mut Store, now: Instant, key: &[u8]) -> i64 {
    match store.expiry(key, now) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => i64::try_from((at - now).as_millis()).unwrap_or(i64::MAX),
    }
}
