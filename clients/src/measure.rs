//! One client in one mode, in a process of its own: `clients measure NAME MODE CALLERS CALLS`.

use crate::crates::{self, Setting};
use crate::server::Addresses;
use crate::work::{Failure, Mode, Open};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

/// What one caller has seen.
struct Seen {
    /// Microseconds of each call that had a right reply.
    latencies: Vec<u32>,
    errors: Vec<String>,
    begun: Instant,
    ended: Instant,
}

/// A figure of `/proc/self/status`.
pub fn status(field: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Raises the limit of descriptors as far as it goes.
pub fn raise_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: there is room for the limit, and it can be read.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

fn caller(open: &Open, id: usize, calls: usize, all_open: &Barrier) -> Seen {
    let opened = open(id);
    all_open.wait();
    let begun = Instant::now();
    let mut latencies = Vec::with_capacity(calls);
    let mut errors = Vec::new();
    match opened {
        Ok(mut call) => {
            for n in 0..calls {
                let start = Instant::now();
                match call(n) {
                    Ok(()) => latencies.push(start.elapsed().as_micros() as u32),
                    Err(error) => errors.push(error.to_string()),
                }
            }
        }
        Err(error) => errors.push(format!("cannot open: {error}")),
    }
    Seen { latencies, errors, begun, ended: Instant::now() }
}

/// Prints the figures on one line, each with its name.
pub fn run(name: &str, mode: Mode, callers: usize, calls: usize) -> Result<(), Failure> {
    raise_descriptors();
    let client = crates::find(name).ok_or("no such client")?;
    if mode == Mode::Goroutines {
        narrowboat::Config::new().workers(2).start()?;
        // So that the first goroutine is not part of the memory.
        let _ = narrowboat::spawn(|| {}).join();
    }
    let open = client.prepare.ok_or("built without it")?(&Setting { mode, addresses: Addresses })?;
    let threads = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let sampler = {
        let (threads, done) = (threads.clone(), done.clone());
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                // This thread is none of the client's.
                threads.fetch_max((status("Threads") as usize).saturating_sub(1), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        })
    };
    let before = status("VmRSS");
    let all_open = Arc::new(Barrier::new(callers));
    let start = Instant::now();
    let handles: Vec<_> = (0..callers)
        .map(|id| {
            let (open, all_open) = (open.clone(), all_open.clone());
            mode.spawn(move || caller(&open, id, calls, &all_open))
        })
        .collect();
    let mut all = Vec::new();
    let mut panics = 0;
    for handle in handles {
        match handle.join() {
            Some(seen) => all.push(seen),
            None => panics += 1,
        }
    }
    done.store(true, Ordering::Relaxed);
    let _ = sampler.join();
    let most = status("VmHWM");
    let begun = all.iter().map(|seen| seen.begun).min().unwrap_or(start);
    let ended = all.iter().map(|seen| seen.ended).max().unwrap_or(start);
    let mut latencies: Vec<u32> = all.iter().flat_map(|seen| &seen.latencies).copied().collect();
    latencies.sort_unstable();
    let at = |share: f64| {
        latencies.get(((latencies.len() as f64 * share) as usize).min(latencies.len().max(1) - 1))
    };
    let errors: Vec<&String> = all.iter().flat_map(|seen| &seen.errors).collect();
    println!(
        "seconds={:.3} right={} rate={:.0} p50={} p99={} memory={} threads={} errors={} panics={panics} first={}",
        (ended - begun).as_secs_f64(),
        latencies.len(),
        latencies.len() as f64 / (ended - begun).as_secs_f64(),
        at(0.5).unwrap_or(&0),
        at(0.99).unwrap_or(&0),
        most.saturating_sub(before),
        threads.load(Ordering::Relaxed),
        errors.len(),
        errors.first().map_or(String::new(), |error| error.replace('\n', " ")),
    );
    Ok(())
}
