//! Which commands there are, with how many words, and which keys each may change.

/// The keys that a command may change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Changes {
    Nothing,
    First,
    /// The first two words after the name.
    FirstTwo,
    /// Each word after the name.
    Each,
    /// Each word after the name except the last, which is a timeout.
    EachButLast,
    /// Every second word after the name; the words between are values.
    EverySecond,
}

struct Command {
    name: &'static str,
    /// The number of words with the name; if it is negative, at least so many.
    words: i32,
    changes: Changes,
}

const fn command(name: &'static str, words: i32, changes: Changes) -> Command {
    Command { name, words, changes }
}

/// All commands, those that `client` carries out too.
const COMMANDS: &[Command] = {
    use Changes::{Each, EachButLast, EverySecond, First, FirstTwo, Nothing};
    &[
        // The connection and the server.
        command("PING", -1, Nothing),
        command("ECHO", 2, Nothing),
        command("QUIT", -1, Nothing),
        command("HELLO", -1, Nothing),
        command("AUTH", -2, Nothing),
        command("SELECT", 2, Nothing),
        command("CLIENT", -2, Nothing),
        command("COMMAND", -1, Nothing),
        command("CONFIG", -2, Nothing),
        command("INFO", -1, Nothing),
        // Transactions.
        command("MULTI", 1, Nothing),
        command("EXEC", 1, Nothing),
        command("DISCARD", 1, Nothing),
        command("WATCH", -2, Nothing),
        command("UNWATCH", 1, Nothing),
        // Keys.
        command("DBSIZE", 1, Nothing),
        // These change every key, and the store notes it.
        command("FLUSHALL", -1, Nothing),
        command("FLUSHDB", -1, Nothing),
        command("KEYS", 2, Nothing),
        command("SCAN", -2, Nothing),
        command("TYPE", 2, Nothing),
        command("DEL", -2, Each),
        command("UNLINK", -2, Each),
        command("EXISTS", -2, Nothing),
        command("EXPIRE", 3, First),
        command("PEXPIRE", 3, First),
        command("TTL", 2, Nothing),
        command("PTTL", 2, Nothing),
        command("PERSIST", 2, First),
        // Strings.
        command("GET", 2, Nothing),
        command("SET", -3, First),
        command("SETNX", 3, First),
        command("GETDEL", 2, First),
        command("MGET", -2, Nothing),
        command("MSET", -3, EverySecond),
        command("APPEND", 3, First),
        command("STRLEN", 2, Nothing),
        command("INCR", 2, First),
        command("DECR", 2, First),
        command("INCRBY", 3, First),
        command("DECRBY", 3, First),
        // Lists.
        command("LPUSH", -3, First),
        command("RPUSH", -3, First),
        command("LPOP", -2, First),
        command("RPOP", -2, First),
        command("LLEN", 2, Nothing),
        command("LINDEX", 3, Nothing),
        command("LRANGE", 4, Nothing),
        command("BLPOP", -3, EachButLast),
        command("BRPOP", -3, EachButLast),
        // Hashes.
        command("HSET", -4, First),
        command("HMSET", -4, First),
        command("HSETNX", 4, First),
        command("HGET", 3, Nothing),
        command("HMGET", -3, Nothing),
        command("HGETALL", 2, Nothing),
        command("HKEYS", 2, Nothing),
        command("HVALS", 2, Nothing),
        command("HLEN", 2, Nothing),
        command("HEXISTS", 3, Nothing),
        command("HSTRLEN", 3, Nothing),
        command("HDEL", -3, First),
        command("HINCRBY", 4, First),
        command("HSCAN", -3, Nothing),
        // Sets.
        command("SADD", -3, First),
        command("SREM", -3, First),
        command("SCARD", 2, Nothing),
        command("SISMEMBER", 3, Nothing),
        command("SMISMEMBER", -3, Nothing),
        command("SMEMBERS", 2, Nothing),
        command("SPOP", -2, First),
        command("SRANDMEMBER", -2, Nothing),
        command("SMOVE", 4, FirstTwo),
        command("SINTER", -2, Nothing),
        command("SUNION", -2, Nothing),
        command("SDIFF", -2, Nothing),
        command("SSCAN", -3, Nothing),
        // Messages.
        command("PUBLISH", 3, Nothing),
        command("SUBSCRIBE", -2, Nothing),
        command("UNSUBSCRIBE", -1, Nothing),
        command("PSUBSCRIBE", -2, Nothing),
        command("PUNSUBSCRIBE", -1, Nothing),
    ]
};

pub const COUNT: usize = COMMANDS.len();

fn find(name: &[u8]) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name.as_bytes() == name)
}

/// Checks the name, which is in upper case, and the number of arguments.
///
/// # Errors
/// What the client is told.
pub fn check(name: &[u8], arguments: usize) -> Result<(), String> {
    let known = find(name).ok_or_else(|| {
        let name = &name[..name.len().min(64)];
        format!("ERR unknown command '{}'", String::from_utf8_lossy(name))
    })?;
    let words = i32::try_from(arguments).unwrap_or(i32::MAX).saturating_add(1);
    let fits = if known.words < 0 { words >= -known.words } else { words == known.words };
    if fits { Ok(()) } else { Err(wrong_number(name)) }
}

/// What the client is told that has given a command too many or too few arguments.
pub fn wrong_number(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name).to_lowercase();
    format!("ERR wrong number of arguments for '{name}' command")
}

/// The keys that the command may change.
pub fn changed<'a>(name: &[u8], arguments: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    let changes = find(name).map_or(Changes::Nothing, |command| command.changes);
    let (upto, step) = match changes {
        Changes::Nothing => (0, 1),
        Changes::First => (1, 1),
        Changes::FirstTwo => (2, 1),
        Changes::Each => (arguments.len(), 1),
        Changes::EachButLast => (arguments.len().saturating_sub(1), 1),
        Changes::EverySecond => (arguments.len(), 2),
    };
    arguments.iter().take(upto).step_by(step).copied()
}
