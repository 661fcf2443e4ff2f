//! The servers among the examples, unchanged, in worlds: with partitions, crashes and slow readers, by
//! seeds that repeat.

#[allow(dead_code, reason = "an example is a program of its own")]
#[path = "../../examples/http_server/main.rs"]
mod http_server;
#[allow(dead_code, reason = "as above")]
#[path = "../../examples/proxy.rs"]
mod proxy;
#[allow(dead_code, reason = "as above")]
#[path = "../../examples/redis_like/main.rs"]
mod redis_like;
#[allow(dead_code, reason = "as above")]
#[path = "../../examples/resolver/main.rs"]
mod resolver;

mod day;
mod http;
mod redis;
mod relays;
mod resolving;

use narrowboat::net::TcpStream;
use narrowboat::sim::net;
use narrowboat_testing::number_from_env;
use std::io::{self, BufReader, Read, Write};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Runs a story in worlds of several seeds, each twice at least, and compares the records of
/// their networks. `NARROWBOAT_TEST_WORLDS` says how many worlds there are for a seed.
fn each_twice(seeds: std::ops::Range<u64>, story: fn()) {
    let run = |seed| {
        narrowboat::sim::run(seed, move || {
            net::record();
            story();
            net::recorded()
        })
    };
    let worlds = number_from_env("NARROWBOAT_TEST_WORLDS").unwrap_or(2);
    for seed in seeds {
        let first = run(seed);
        assert!(first.lines().count() > 10);
        for _ in 1..worlds {
            assert!(run(seed) == first, "seed {seed} has two stories");
        }
    }
}

/// All in one test: the examples print, and the lock of stdout is no world's. A goroutine that waits for
/// it while another thread has it lets the time of its own world pass.
#[test]
fn servers_of_the_examples_run_in_worlds_that_repeat() {
    let stories: &[(&str, fn())] = &[
        (
            "day::a_day_of_redis_with_a_partition_each_minute_takes_seconds",
            day::a_day_of_redis_with_a_partition_each_minute_takes_seconds,
        ),
        ("http::the_load_of_its_own_is_answered", http::the_load_of_its_own_is_answered),
        (
            "http::limits_of_time_hold_through_a_partition_and_a_slow_client",
            http::limits_of_time_hold_through_a_partition_and_a_slow_client,
        ),
        ("http::a_graceful_end_finishes_what_is_under_way", http::a_graceful_end_finishes_what_is_under_way),
        ("redis::keys_expire_in_the_time_of_the_world", redis::keys_expire_in_the_time_of_the_world),
        (
            "redis::counters_survive_partitions_and_not_a_crash",
            redis::counters_survive_partitions_and_not_a_crash,
        ),
        (
            "redis::a_blocking_pop_waits_for_what_another_host_pushes",
            redis::a_blocking_pop_waits_for_what_another_host_pushes,
        ),
        (
            "redis::a_reader_that_is_too_slow_is_cut_off_in_its_time",
            redis::a_reader_that_is_too_slow_is_cut_off_in_its_time,
        ),
        (
            "relays::a_relay_passes_on_what_comes_its_ends_and_its_breaks",
            relays::a_relay_passes_on_what_comes_its_ends_and_its_breaks,
        ),
        (
            "relays::back_pressure_passes_through_a_partition",
            relays::back_pressure_passes_through_a_partition,
        ),
        (
            "resolving::names_are_resolved_over_a_link_that_loses_and_doubles",
            resolving::names_are_resolved_over_a_link_that_loses_and_doubles,
        ),
        (
            "resolving::a_silent_client_is_cut_off_in_its_time_and_others_are_answered",
            resolving::a_silent_client_is_cut_off_in_its_time_and_others_are_answered,
        ),
    ];
    for (name, story) in stories {
        println!("{name}");
        story();
    }
}

/// A client of a protocol with lines.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: &str) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(20 * SECOND))?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes())
    }

    /// Sends a command to `redis_like`, and returns its reply, which is a line, or a bulk string.
    fn command(&mut self, words: &[&str]) -> io::Result<String> {
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.send(&text)?;
        self.reply()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match io::BufRead::read_line(&mut self.stream, &mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    fn reply(&mut self) -> io::Result<String> {
        let line = self.line()?;
        match line.strip_prefix('$') {
            Some("-1") => Ok("nothing".into()),
            Some(length) => {
                let mut text = vec![0; length.parse::<usize>().expect("a length") + 2];
                self.stream.read_exact(&mut text)?;
                text.truncate(text.len() - 2);
                Ok(String::from_utf8(text).expect("text"))
            }
            None => Ok(line),
        }
    }
}
