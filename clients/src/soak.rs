//! All clients at once in one process, while the servers are restarted.

use crate::crates::{ALL, Client, Setting};
use crate::measure::{raise_descriptors, status};
use crate::report::{missing, wanted};
use crate::server::Addresses;
use crate::servers::{Servers, ends_within};
use crate::work::{Failure, Mode, Open};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Callers of each client.
const CALLERS: usize = 16;
/// Kilobytes that `mysql` may come to touch for each connection of a pool: it has two buffers of 4
/// MiB, fills them from one end to the other, and begins anew. Connections that are closed after
/// some calls never come so far.
const BUFFERS_OF_MYSQL: u64 = 8 << 10;
/// No call takes longer, those included that wait for a server which restarts.
const LONGEST: Duration = Duration::from_secs(45);

/// Starts the servers and the process with the clients, and restarts each server twice.
pub fn run(seconds: u64, mode: Mode, only: &[String]) -> Result<bool, Failure> {
    let is_wanted = |client: &&Client| match only {
        [] => client.fails.is_none(),
        only => only.iter().any(|name| name == client.name),
    };
    let chosen: Vec<&Client> = ALL.iter().filter(is_wanted).collect();
    let mut servers = Servers::start(&wanted(&chosen))?;
    let mut names = Vec::new();
    for client in chosen {
        match missing(client, &servers) {
            Some(why) => println!("*** SKIPPED {}: {why}", client.name),
            None => names.push(client.name),
        }
    }
    let mut arguments = vec!["soak-clients".to_string(), seconds.to_string(), mode.name().to_string()];
    arguments.extend(names.into_iter().map(String::from));
    let start = Instant::now();
    let mut child = servers.command(&arguments)?.spawn()?;
    let count = servers.running.len().max(1) as u64;
    for round in 1..=2 {
        for index in 0..servers.running.len() {
            // In the middle third of the time.
            let step = (round - 1) * count + index as u64;
            let at = Duration::from_millis(seconds * 1000 / 3 + seconds * 1000 * step / (6 * count));
            while start.elapsed() < at {
                if !matches!(child.try_wait(), Ok(None)) {
                    return Ok(false);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let server = &mut servers.running[index];
            let at = start.elapsed().as_secs();
            // First in an orderly way, then at once.
            let (end, begin) = server.restart(round == 1)?;
            println!(
                "{at:>6}  {} ends within {:.1} s, and starts within {:.1} s",
                server.server().name(),
                end.as_secs_f64(),
                begin.as_secs_f64()
            );
        }
    }
    let left = (Duration::from_secs(seconds) + 2 * LONGEST).saturating_sub(start.elapsed());
    if !ends_within(&mut child, left) {
        println!("FAILED  the clients do not end");
        crate::servers::signal(&child, libc::SIGQUIT);
        if !ends_within(&mut child, Duration::from_secs(5)) {
            let _ = child.kill();
        }
    }
    Ok(child.wait()?.success())
}

/// What is known of one client's callers.
struct Tally {
    name: &'static str,
    right: AtomicU64,
    errors: AtomicU64,
    /// Replies that were not what was asked for.
    wrong: AtomicU64,
    last: std::sync::Mutex<String>,
    /// When each caller's present call began, in milliseconds after the start; 0 if it has ended.
    since: Vec<AtomicU64>,
    /// Right calls after the last error of a caller of its own.
    after: AtomicU64,
    left: AtomicUsize,
}

impl Tally {
    fn failed(&self, error: Failure) {
        let error = error.to_string();
        if error.starts_with("wrong reply") {
            self.wrong.fetch_add(1, Relaxed);
        }
        self.errors.fetch_add(1, Relaxed);
        self.after.store(0, Relaxed);
        *self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = error;
    }
}

fn caller(open: &Open, tally: &Tally, index: usize, start: Instant, stop: &AtomicBool) {
    let now = || (start.elapsed().as_millis() as u64).max(1);
    let mut n = 0;
    while !stop.load(Relaxed) {
        tally.since[index].store(now(), Relaxed);
        match open(index) {
            Err(error) => tally.failed(error),
            Ok(mut call) => {
                // Connections are made anew from time to time.
                for _ in 0..200 {
                    if stop.load(Relaxed) {
                        break;
                    }
                    tally.since[index].store(now(), Relaxed);
                    n += 1;
                    if let Err(error) = call(n) {
                        tally.failed(error);
                        break;
                    }
                    tally.right.fetch_add(1, Relaxed);
                    tally.after.fetch_add(1, Relaxed);
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        tally.since[index].store(0, Relaxed);
        std::thread::sleep(Duration::from_millis(200));
    }
    tally.left.fetch_sub(1, Relaxed);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count())
}

/// The process with the clients.
pub fn clients(seconds: u64, mode: Mode, names: &[String]) -> Result<bool, Failure> {
    raise_descriptors();
    if mode == Mode::Goroutines {
        narrowboat::Config::new().workers(2).start()?;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let mut tallies: Vec<Arc<Tally>> = Vec::new();
    for name in names {
        let client = crate::crates::find(name).ok_or("no such client")?;
        let setting = Setting { mode, addresses: Addresses };
        let open = client.prepare.ok_or("built without it")?(&setting)?;
        let tally = Arc::new(Tally {
            name: client.name,
            right: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            wrong: AtomicU64::new(0),
            last: Default::default(),
            since: (0..CALLERS).map(|_| AtomicU64::new(0)).collect(),
            after: AtomicU64::new(0),
            left: AtomicUsize::new(CALLERS),
        });
        tallies.push(tally.clone());
        for index in 0..CALLERS {
            let (open, tally, stop) = (open.clone(), tally.clone(), stop.clone());
            mode.spawn(move || caller(&open, &tally, index, start, &stop));
        }
    }

    println!(
        "{:>6}  {:>9}  {:>7}  {:>9}  {:>7}  {:>7}  {:>11}",
        "second", "right", "errors", "RSS, MB", "fds", "threads", "longest, ms"
    );
    let interval = Duration::from_secs((seconds / 12).max(1));
    let mut samples = Vec::new();
    let mut hung = false;
    let end = start + Duration::from_secs(seconds);
    let mut next = start + interval;
    while Instant::now() < end {
        std::thread::sleep(next.min(end).saturating_duration_since(Instant::now()));
        next += interval;
        let now = start.elapsed().as_millis() as u64;
        let sum = |f: fn(&Tally) -> u64| tallies.iter().map(|tally| f(tally)).sum::<u64>();
        let since = tallies.iter().flat_map(|tally| &tally.since).map(|since| since.load(Relaxed));
        let longest =
            since.filter(|since| *since != 0).map(|since| now.saturating_sub(since)).max().unwrap_or(0);
        hung |= longest > LONGEST.as_millis() as u64;
        let sample = (status("VmRSS"), descriptors(), status("Threads"));
        samples.push(sample);
        println!(
            "{:>6}  {:>9}  {:>7}  {:>9.1}  {:>7}  {:>7}  {longest:>11}",
            now / 1000,
            sum(|tally| tally.right.load(Relaxed)),
            sum(|tally| tally.errors.load(Relaxed)),
            sample.0 as f64 / 1024.0,
            sample.1,
            sample.2,
        );
    }
    stop.store(true, Relaxed);
    let last = Instant::now() + LONGEST;
    while tallies.iter().any(|tally| tally.left.load(Relaxed) > 0) && Instant::now() < last {
        std::thread::sleep(Duration::from_millis(20));
    }

    let mut good = true;
    let mut fail = |text: String| {
        println!("FAILED  {text}");
        good = false;
    };
    for tally in &tallies {
        let error = tally.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).replace('\n', " ");
        println!(
            "{:<18} {:>8} right, {:>5} errors{}{error}",
            tally.name,
            tally.right.load(Relaxed),
            tally.errors.load(Relaxed),
            if error.is_empty() { "" } else { ", the last: " },
        );
        if tally.left.load(Relaxed) > 0 {
            fail(format!("{}: {} callers hang", tally.name, tally.left.load(Relaxed)));
        }
        if tally.wrong.load(Relaxed) > 0 {
            fail(format!("{}: {} wrong replies", tally.name, tally.wrong.load(Relaxed)));
        }
        if tally.after.load(Relaxed) == 0 {
            fail(format!("{}: no right reply at the end", tally.name));
        }
    }
    if hung {
        fail(format!("a call took longer than {} s", LONGEST.as_secs()));
    }
    // The quarter before the restarts, and the last one.
    if let [.., last] = &samples[..] {
        let before = &samples[samples.len() / 4];
        let flat = |before: u64, last: u64, slack: u64| last <= before + before / 5 + slack;
        let pooled = names.iter().filter(|name| *name == "mysql-pool").count() * CALLERS;
        if !flat(before.0, last.0, (16 << 10) + pooled as u64 * BUFFERS_OF_MYSQL) {
            fail(format!("memory grew from {} to {} kB", before.0, last.0));
        }
        if !flat(before.1 as u64, last.1 as u64, 64) {
            fail(format!("descriptors grew from {} to {}", before.1, last.1));
        }
        if !flat(before.2, last.2, 8) {
            fail(format!("threads grew from {} to {}", before.2, last.2));
        }
    }
    if !good && mode == Mode::Goroutines {
        eprintln!("{}", narrowboat::dump());
    }
    // What waits still is abandoned.
    Ok(good)
}
