//! Counts requests, and prints a line each second in which there was one.

use super::server::Server;
use narrowboat::chan::{self, Receiver, Sender};
use narrowboat::{num_goroutines, time};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

pub struct Stats {
    requests: AtomicU64,
    /// Whether the printer is awake. It then sees a request that is counted now.
    watched: AtomicBool,
    traffic: Sender<()>,
}

impl Stats {
    /// Returns the counts, and the channel that wakes the printer when there are requests to print.
    pub fn new() -> (Stats, Receiver<()>) {
        let (traffic, seen) = chan::bounded(1);
        (Stats { requests: AtomicU64::new(0), watched: AtomicBool::new(false), traffic }, seen)
    }

    /// Counts first and reads the flag second. The printer clears the flag first and reads the
    /// count second. So at least one of the two sees the other's change.
    pub fn count(&self, requests: u64) {
        self.requests.fetch_add(requests, SeqCst);
        if requests > 0 && !self.watched.load(SeqCst) && !self.watched.swap(true, SeqCst) {
            let _ = self.traffic.try_send(());
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
        let requests = self.requests.load(SeqCst);
        write!(f, "{requests} requests in all, {} goroutines, {threads} threads", num_goroutines())
    }
}

/// Prints the lines. Without requests it is parked in the receive, so an idle server sleeps.
pub fn print(server: Arc<Server>, traffic: Receiver<()>) {
    let stats = &server.stats;
    let mut before = 0;
    while traffic.recv().is_ok() {
        let start = Instant::now();
        time::sleep(Duration::from_secs(1));
        stats.watched.store(false, SeqCst);
        let requests = stats.requests.load(SeqCst);
        let rate = (requests - before) as f64 / start.elapsed().as_secs_f64();
        println!("{rate:.0} requests/s; {stats}, {} connections", server.open());
        before = requests;
    }
}
