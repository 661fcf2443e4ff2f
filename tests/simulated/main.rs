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
    let _alone = alone();
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

/// One story at a time. The examples print, and the lock of stdout is no world's: a goroutine that waits
/// for it while another world has it lets the time of its own pass.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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
