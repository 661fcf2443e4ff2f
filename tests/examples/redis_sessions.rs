//! `redis_like`: what depends on what a client did before: transactions and patterns.

use crate::redis::Client;
use crate::server::Server;
use narrowboat_testing::eventually;

#[test]
fn a_transaction_is_carried_out_whole_or_not_at_all() {
    let server = Server::start("redis_like");
    let (mut client, mut other) = (Client::connect(&server), Client::connect(&server));
    for (command, reply) in [
        ("EXEC", "-ERR EXEC without MULTI"),
        ("DISCARD", "-ERR DISCARD without MULTI"),
        ("MULTI", "OK"),
        ("MULTI", "-ERR MULTI calls can not be nested"),
        ("SET a 1", "QUEUED"),
        ("INCR a", "QUEUED"),
        ("LPUSH a x", "QUEUED"),
        ("BLPOP nothing 0", "QUEUED"),
        ("GET a", "QUEUED"),
    ] {
        client.expect(command, reply);
    }
    other.expect("GET a", "nil");
    client.expect("EXEC", "[OK 2 -WRONGTYPE Operation against a key holding the wrong kind of value nil 2]");
    client.expect("MULTI", "OK");
    client.expect("SET a 9", "QUEUED");
    client.expect("DISCARD", "OK");
    client.expect("GET a", "2");
    for wrong in ["NONSENSE", "GET", "SUBSCRIBE x", "WATCH a"] {
        client.expect("MULTI", "OK");
        client.expect("SET a 9", "QUEUED");
        client.send(wrong);
        assert!(client.receive().starts_with("-ERR "), "{wrong}");
        client.expect("EXEC", "-EXECABORT Transaction discarded because of previous errors.");
        client.expect("GET a", "2");
    }
}

#[test]
fn a_transaction_fails_if_a_watched_key_has_changed() {
    let server = Server::start("redis_like");
    let (mut client, mut other) = (Client::connect(&server), Client::connect(&server));
    let changes = [
        "SET k 1",
        "INCR k",
        "APPEND k 1",
        "EXPIRE k 100",
        "PERSIST k",
        "DEL k",
        "MSET x 1 k 2",
        "GETDEL k",
        "RPUSH k a b",
        "LPOP k",
        "BLPOP nothing k 1",
        "HSET k f v",
        "HDEL k f",
        "SADD k m n",
        "SPOP k",
        "SMOVE k x2 m",
        "FLUSHALL",
    ];
    for change in changes {
        client.expect("WATCH other k", "OK");
        other.send(change);
        assert!(!other.receive().starts_with('-'), "{change}");
        client.expect("MULTI", "OK");
        client.expect("SET own 1", "QUEUED");
        client.expect("EXEC", "nil");
    }
    other.send("SPOP k");
    other.receive();
    // What changes nothing of it, and what UNWATCH or the end of a transaction has undone.
    for (first, change) in [("WATCH k", "SET other 1"), ("WATCH k", "GET k"), ("UNWATCH", "SET k 1")] {
        client.expect(first, "OK");
        other.send(change);
        other.receive();
        client.expect("MULTI", "OK");
        client.expect("SET own 1", "QUEUED");
        client.expect("EXEC", "[OK]");
    }
    // One that expires has changed, whether or not a command finds that out.
    client.expect("SET k 1 PX 20", "OK");
    client.expect("WATCH k", "OK");
    std::thread::sleep(std::time::Duration::from_millis(50));
    client.expect("MULTI", "OK");
    client.expect("EXEC", "nil");
    // A client that leaves while it watches.
    let mut leaver = Client::connect(&server);
    leaver.expect("WATCH k", "OK");
    drop(leaver);
    other.expect("SET k 2", "OK");
}

#[test]
fn a_waiting_client_never_sees_half_a_transaction() {
    let server = Server::start("redis_like");
    let (mut waiter, mut client) = (Client::connect(&server), Client::connect(&server));
    waiter.send("BLPOP list 0");
    // Nothing outside tells that it waits; a moment is enough, and without it the test is easier to
    // pass.
    std::thread::sleep(std::time::Duration::from_millis(100));
    for (command, reply) in [
        ("MULTI", "OK"),
        ("RPUSH list taken", "QUEUED"),
        ("LPOP list", "QUEUED"),
        ("RPUSH list given", "QUEUED"),
        ("EXEC", "[1 taken 1]"),
    ] {
        client.expect(command, reply);
    }
    assert_eq!(waiter.receive(), "[list given]");
}

#[test]
fn patterns_hear_every_channel_that_matches() {
    let server = Server::start("redis_like");
    let (mut listener, mut publisher) = (Client::connect(&server), Client::connect(&server));
    listener.expect("PSUBSCRIBE news.* *.local", "[psubscribe news.* 1]");
    assert_eq!(listener.receive(), "[psubscribe *.local 2]");
    listener.expect("SUBSCRIBE news.local", "[subscribe news.local 3]");
    publisher.expect("PUBLISH news.local hello", "3");
    let mut heard: Vec<String> = (0..3).map(|_| listener.receive()).collect();
    heard.sort();
    assert_eq!(
        heard,
        [
            "[message news.local hello]",
            "[pmessage *.local news.local hello]",
            "[pmessage news.* news.local hello]"
        ]
    );
    publisher.expect("PUBLISH sport unheard", "0");
    listener.expect("PUNSUBSCRIBE *.local", "[punsubscribe *.local 2]");
    listener.expect("PUNSUBSCRIBE", "[punsubscribe news.* 1]");
    listener.expect("PUNSUBSCRIBE", "[punsubscribe nil 1]");
    publisher.expect("PUBLISH news.local again", "1");
    assert_eq!(listener.receive(), "[message news.local again]");
    listener.expect("PSUBSCRIBE *", "[psubscribe * 2]");
    drop(listener);
    eventually("the one that left is forgotten", || {
        publisher.send("PUBLISH news.local late");
        publisher.receive() == "0"
    });
}
