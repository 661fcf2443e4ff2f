//! A day of `redis_like`, with keys that expire and a partition each minute.

use super::{Client, SECOND, redis};
use narrowboat::sim::{self, net};
use narrowboat::sleep;
use std::time::{Duration, Instant};

/// Writes a key each ten seconds that lives for a minute, and looks whether the last ones are there
/// as long as they should be. Connects again when the connection is lost. Returns how many commands
/// were answered.
fn use_for_a_day(name: &str) -> u64 {
    let (mut answered, mut client) = (0, None);
    for round in 0..8640u32 {
        let mut work = || {
            if client.is_none() {
                client = Some(Client::connect("redis:6379")?);
            }
            let client = client.as_mut().expect("made above");
            let key = format!("{name}:{round}");
            assert_eq!(client.command(&["SET", &key, "here", "EX", "60"])?, "+OK");
            let old = format!("{name}:{}", round.saturating_sub(8));
            if round > 8 {
                assert_eq!(client.command(&["GET", &old])?, "nothing", "80 seconds old");
            }
            assert_eq!(client.command(&["GET", &key])?, "here");
            std::io::Result::Ok(())
        };
        match work() {
            Ok(()) => answered += 3,
            Err(_) => client = None,
        }
        sleep(10 * SECOND);
    }
    answered
}

fn day(seed: u64) -> (u64, Duration) {
    let start = Instant::now();
    let answered = sim::run(seed, || {
        redis::start();
        let clients: Vec<_> = ["ann", "bob"]
            .map(|name| net::host(name).spawn(move || use_for_a_day(name)))
            .into_iter()
            .collect();
        for minute in 0..1440 {
            sleep(30 * SECOND);
            let cut = if minute % 2 == 0 { "ann" } else { "bob" };
            net::partition(cut, "redis");
            sleep(30 * SECOND);
            net::heal(cut, "redis");
        }
        let answered = clients.into_iter().map(|client| client.join().unwrap()).sum();
        net::crash("redis");
        answered
    });
    (answered, start.elapsed())
}

pub fn a_day_of_redis_with_a_partition_each_minute_takes_seconds() {
    let (answered, took) = day(1);
    println!(
        "a day of redis_like: {answered} answers in {took:.2?}, {:.0} times as fast as the clock",
        86_400.0 / took.as_secs_f64()
    );
    assert!(answered > 30_000, "{answered}");
    assert!(took < Duration::from_secs(600), "{took:?}");
}
