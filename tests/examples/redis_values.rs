//! `redis_like`: hashes, sets, walks in steps, and both versions of the protocol, byte for byte.

use crate::redis::Client;
use crate::server::Server;
use std::collections::BTreeSet;

#[test]
fn hashes_do_what_redis_says() {
    let server = Server::start("redis_like");
    let mut client = Client::connect(&server);
    for (command, reply) in [
        ("HGET h f", "nil"),
        ("HGETALL h", "[]"),
        ("HSET h a 1 b 2", "2"),
        ("HSET h a 3 c 4", "1"),
        ("HSET h a", "-ERR wrong number of arguments for 'hset' command"),
        ("HSET h a 1 b", "-ERR wrong number of arguments for 'hset' command"),
        ("HMSET h d 5", "OK"),
        ("HGET h a", "3"),
        ("HMGET h a x b", "[3 nil 2]"),
        ("HGETALL h", "[a 3 b 2 c 4 d 5]"),
        ("HKEYS h", "[a b c d]"),
        ("HVALS h", "[3 2 4 5]"),
        ("HLEN h", "4"),
        ("HEXISTS h a", "1"),
        ("HEXISTS h x", "0"),
        ("HSTRLEN h a", "1"),
        ("HSETNX h a 9", "0"),
        ("HSETNX h e 9", "1"),
        ("HINCRBY h a 7", "10"),
        ("HINCRBY h new -1", "-1"),
        ("HSET h word x", "1"),
        ("HINCRBY h word 1", "-ERR hash value is not an integer"),
        ("HINCRBY h a x", "-ERR value is not an integer or out of range"),
        ("HSET h big 9223372036854775807", "1"),
        ("HINCRBY h big 1", "-ERR increment or decrement would overflow"),
        ("TYPE h", "hash"),
        ("GET h", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HDEL h a b x", "2"),
        ("HDEL h c d e new word big", "6"),
        ("EXISTS h", "0"),
        ("HINCRBY h f x", "-ERR value is not an integer or out of range"),
        ("EXISTS h", "0"),
    ] {
        client.expect(command, reply);
    }
}

#[test]
fn sets_do_what_redis_says() {
    let server = Server::start("redis_like");
    let mut client = Client::connect(&server);
    for (command, reply) in [
        ("SMEMBERS s", "[]"),
        ("SADD s a b a c", "3"),
        ("SADD s a", "0"),
        ("SCARD s", "3"),
        ("SISMEMBER s a", "1"),
        ("SMISMEMBER s a x b", "[1 0 1]"),
        ("SADD t b c d", "3"),
        ("SINTER s t", "[b c]"),
        ("SUNION s t", "[a b c d]"),
        ("SDIFF s t", "[a]"),
        ("SINTER s nothing", "[]"),
        ("SMOVE s t a", "1"),
        ("SMOVE s t a", "0"),
        ("SISMEMBER t a", "1"),
        ("SREM s b x", "1"),
        ("SRANDMEMBER s", "c"),
        ("SRANDMEMBER s 5", "[c]"),
        ("SRANDMEMBER s -3", "[c c c]"),
        ("SRANDMEMBER nothing", "nil"),
        ("SRANDMEMBER nothing -2", "[]"),
        ("SRANDMEMBER s -9223372036854775808", "-ERR value is out of range"),
        ("SPOP s", "c"),
        ("SPOP s", "nil"),
        ("SPOP t -1", "-ERR value is out of range, must be positive"),
        ("EXISTS s", "0"),
        ("SET text x", "OK"),
        ("SADD text a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("SMOVE t text a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("SCARD t", "4"),
        ("SUNION t text", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ] {
        client.expect(command, reply);
    }
    client.send("SPOP t 10");
    let popped = client.receive();
    let popped: BTreeSet<&str> = popped.trim_matches(['[', ']']).split(' ').collect();
    assert_eq!(popped, ["a", "b", "c", "d"].into());
}

/// Walks through everything, and does something between two steps. Returns how often each was found.
fn walk(client: &mut Client, command: &str, mut between: impl FnMut(&mut Client, usize)) -> Vec<String> {
    let (before, after) = command.split_once("CURSOR").expect("the command has a place for the cursor");
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    for step in 0.. {
        client.send(&format!("{before}{cursor}{after}"));
        let reply = client.receive();
        let inner = reply.strip_prefix('[').and_then(|reply| reply.strip_suffix("]]"));
        let (next, names) = inner.and_then(|inner| inner.split_once(" [")).expect("a cursor and an array");
        found.extend(names.split(' ').filter(|name| !name.is_empty()).map(str::to_owned));
        cursor = next.to_owned();
        if cursor == "0" {
            break;
        }
        between(client, step);
    }
    found
}

#[test]
fn a_walk_finds_all_that_stay_although_others_come_and_go() {
    let server = Server::start("redis_like");
    let mut client = Client::connect(&server);
    for i in 0..300 {
        client.expect(&format!("SET stay:{i} x"), "OK");
        client.expect(&format!("SET go:{i} x"), "OK");
    }
    let found = walk(&mut client, "SCAN CURSOR MATCH stay:* COUNT 7", |client, step| {
        // Removals at the ends and in the middle, and newcomers.
        for i in [3 * step, 3 * step + 1, 299 - 3 * step.min(99)] {
            client.send(&format!("DEL go:{i}"));
            client.receive();
        }
        client.expect(&format!("SET new:{step} x"), "OK");
    });
    let distinct: BTreeSet<String> = found.into_iter().collect();
    assert_eq!(distinct.len(), 300);
    assert!(distinct.iter().all(|key| key.starts_with("stay:")));

    client.expect("FLUSHALL", "OK");
    client.expect("HSET h a 1 b 2 c 3", "3");
    client.expect("SADD s a b c d", "4");
    client.expect("SET text x", "OK");
    assert_eq!(walk(&mut client, "HSCAN h CURSOR COUNT 1", |_, _| {}), ["c", "3", "b", "2", "a", "1"]);
    assert_eq!(walk(&mut client, "HSCAN h CURSOR NOVALUES", |_, _| {}), ["c", "b", "a"]);
    assert_eq!(walk(&mut client, "SSCAN s CURSOR MATCH [ad] COUNT 2", |_, _| {}), ["d", "a"]);
    assert_eq!(walk(&mut client, "SCAN CURSOR TYPE string", |_, _| {}), ["text"]);
    assert!(walk(&mut client, "SSCAN nothing CURSOR", |_, _| {}).is_empty());
    client.expect("SCAN x", "-ERR invalid cursor");
    client.expect("SCAN 0 COUNT 0", "-ERR syntax error");
    client.expect("SCAN 0 NONSENSE", "-ERR syntax error");
    // A cursor from before most keys went.
    client.expect("SCAN 1000000 COUNT 100", "[0 [text s h]]");
}

#[test]
fn hello_chooses_the_protocol() {
    let server = Server::start("redis_like");
    let mut client = Client::connect(&server);
    client.expect("HSET h a 1", "1");
    client.expect("SADD s a", "1");
    client.expect("HELLO 4", "-NOPROTO unsupported protocol version");
    client.expect("HELLO x", "-ERR Protocol version is not an integer or out of range");
    client.expect("HELLO 3 AUTH", "-ERR Syntax error in HELLO");
    client.expect("HELLO 3 AUTH a b", "-WRONGPASS invalid username-password pair or user is disabled.");
    client.expect("HGETALL h", "[a 1]");
    client.send("HELLO 3 SETNAME me");
    let hello = client.receive();
    assert!(hello.starts_with("{server redis version ") && hello.contains(" proto 3 id "), "{hello}");
    client.expect("CLIENT GETNAME", "me");
    client.expect("CLIENT SETINFO LIB-NAME test", "OK");
    client.expect("CLIENT NONSENSE", "-ERR unknown subcommand 'NONSENSE'");
    client.expect("HGETALL h", "{a 1}");
    client.expect("SMEMBERS s", "~[a]");
    client.send_bytes(b"GET nothing\r\nBLPOP nothing 0.01\r\n");
    assert_eq!([client.receive(), client.receive()], ["nil", "nil"]);

    // A listener in RESP3 may use all commands, and sees what is no reply.
    client.expect("SUBSCRIBE news", ">[subscribe news 1]");
    client.expect("GET nothing", "nil");
    client.expect("HELLO 2", "-ERR the protocol cannot change after a subscription");
    let mut old = Client::connect(&server);
    old.expect("SUBSCRIBE news", "[subscribe news 1]");
    let mut publisher = Client::connect(&server);
    publisher.expect("PUBLISH news hello", "2");
    assert_eq!(client.receive(), ">[message news hello]");
    assert_eq!(old.receive(), "[message news hello]");
}
