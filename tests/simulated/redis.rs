//! `redis_like`.

use super::{Client, SECOND, each_twice, redis_like};
use narrowboat::sim::net;
use narrowboat::sleep;
use std::io::{ErrorKind, Write};

pub fn start() {
    net::host("redis").program(|| redis_like::serve("0.0.0.0:6379".into()).unwrap());
    sleep(SECOND);
}

pub fn keys_expire_in_the_time_of_the_world() {
    each_twice(0..5, || {
        start();
        let mut client = Client::connect("redis:6379").unwrap();
        assert_eq!(client.command(&["SET", "boat", "narrow", "EX", "3600"]).unwrap(), "+OK");
        sleep(3590 * SECOND);
        assert_eq!(client.command(&["GET", "boat"]).unwrap(), "narrow");
        sleep(20 * SECOND);
        assert_eq!(client.command(&["GET", "boat"]).unwrap(), "nothing");
        net::crash("redis");
    });
}

pub fn counters_survive_partitions_and_not_a_crash() {
    each_twice(0..10, || {
        start();
        let counting: Vec<_> = (0..3)
            .map(|n| {
                net::host(&format!("client{n}")).spawn(|| {
                    let mut client = Client::connect("redis:6379").unwrap();
                    for _ in 0..20 {
                        client.command(&["INCR", "count"]).unwrap();
                        sleep(SECOND / 2);
                    }
                })
            })
            .collect();
        sleep(3 * SECOND);
        net::partition("client0", "redis");
        sleep(5 * SECOND);
        net::heal("client0", "redis");
        counting.into_iter().for_each(|client| client.join().unwrap());
        let mut client = Client::connect("redis:6379").unwrap();
        assert_eq!(client.command(&["GET", "count"]).unwrap(), "60");
        net::crash("redis");
        net::restart("redis");
        let lost = client.command(&["GET", "count"]).unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::ConnectionReset);
        sleep(SECOND);
        let mut client = Client::connect("redis:6379").unwrap();
        assert_eq!(client.command(&["GET", "count"]).unwrap(), "nothing");
        net::crash("redis");
    });
}

pub fn a_blocking_pop_waits_for_what_another_host_pushes() {
    each_twice(0..10, || {
        start();
        let popping = net::host("worker").spawn(|| {
            let mut client = Client::connect("redis:6379").unwrap();
            client.stream.get_ref().set_read_timeout(None).unwrap();
            let header = client.command(&["BLPOP", "jobs", "0"]).unwrap();
            (header, client.reply().unwrap(), client.reply().unwrap())
        });
        sleep(3600 * SECOND);
        let mut client = Client::connect("redis:6379").unwrap();
        client.command(&["RPUSH", "jobs", "first"]).unwrap();
        let popped = popping.join().unwrap();
        assert_eq!((&popped.0[..], &popped.1[..], &popped.2[..]), ("*2", "jobs", "first"));
        net::crash("redis");
    });
}

/// A client that sends and does not read is cut off, and hurts no other.
pub fn a_reader_that_is_too_slow_is_cut_off_in_its_time() {
    each_twice(0..3, || {
        start();
        let mut client = Client::connect("redis:6379").unwrap();
        client.command(&["SET", "long", &"x".repeat(10_000)]).unwrap();
        let greedy = net::host("greedy").spawn(|| {
            let mut client = Client::connect("redis:6379").unwrap();
            client.stream.get_ref().set_write_timeout(Some(300 * SECOND)).unwrap();
            loop {
                if let Err(error) = client.stream.get_mut().write_all(&b"GET long\r\n".repeat(1000)) {
                    return error.kind();
                }
            }
        });
        sleep(30 * SECOND);
        assert_eq!(client.command(&["STRLEN", "long"]).unwrap(), ":10000");
        assert_eq!(greedy.join().unwrap(), ErrorKind::ConnectionReset);
        net::crash("redis");
    });
}
