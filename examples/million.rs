//! A million goroutines, all parked in a receive. Then each is woken, and adds its message to a
//! sum.
//!
//!     cargo run --release --example million -- 1000000
//!
//! Memory is what the kernel reports for this process: resident pages plus page tables.

use narrowboat::{chan, go, time};
use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The counts that the goroutines update. A wake-up does not order these accesses, hence the
/// release and acquire below.
#[derive(Default)]
struct Tally {
    receiving: AtomicUsize,
    finished: AtomicUsize,
    sum: AtomicU64,
}

fn main() {
    let count = std::env::args().nth(1).map_or(Ok(1_000_000), |arg| arg.parse());
    let Ok(count @ 1..) = count else {
        eprintln!("usage: million [GOROUTINES]");
        std::process::exit(2);
    };
    if !narrowboat::run(move || million(count)) {
        std::process::exit(1);
    }
}

/// Runs the whole program with `count` goroutines. Returns whether their sum was right.
fn million(count: usize) -> bool {
    let tally = Arc::new(Tally::default());
    let (numbers, inbox) = chan::unbounded::<u64>();
    let (all_done, done) = chan::bounded(1);
    let before = memory_in_bytes();

    let started = Instant::now();
    let mut progress = Progress::new("started", count);
    for i in 0..count {
        let (tally, inbox, all_done) = (tally.clone(), inbox.clone(), all_done.clone());
        go!(move || {
            tally.receiving.fetch_add(1, Ordering::Relaxed);
            let number = inbox.recv().expect("one number for each");
            tally.sum.fetch_add(number, Ordering::Relaxed);
            if tally.finished.fetch_add(1, Ordering::AcqRel) + 1 == count {
                all_done.send(()).expect("the main goroutine holds the receiver");
            }
        });
        progress.show(i + 1);
    }
    while tally.receiving.load(Ordering::Relaxed) < count {
        time::sleep(Duration::from_millis(1));
    }
    let start_time = started.elapsed();
    let each = memory_in_bytes().saturating_sub(before) as f64 / count as f64;
    println!("{count} goroutines parked in a receive: {each:.0} bytes each, all told");
    println!("started in {start_time:.2?} ({} ns each)", start_time.as_nanos() / count as u128);

    let woken = Instant::now();
    let mut progress = Progress::new("woken", count);
    for number in 1..=count {
        numbers.send(number as u64).expect("the main goroutine holds a receiver");
        progress.show(number);
    }
    done.recv().expect("the main goroutine holds a sender");
    let wake_time = woken.elapsed();
    println!("woken and finished in {wake_time:.2?} ({} ns each)", wake_time.as_nanos() / count as u128);

    let (sum, expected) = (tally.sum.load(Ordering::Relaxed), count as u64 * (count as u64 + 1) / 2);
    println!("sum {sum}, {}", if sum == expected { "right" } else { "WRONG" });
    sum == expected
}

/// Resident memory plus page tables.
fn memory_in_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let kibibytes = |field| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or("0");
        line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    (kibibytes("VmRSS:") + kibibytes("VmPTE:")) * 1024
}

/// A progress line on stderr. On a terminal it is rewritten at each percent, elsewhere one is added
/// at each tenth.
struct Progress {
    what: &'static str,
    total: usize,
    step: usize,
    terminal: bool,
}

impl Progress {
    fn new(what: &'static str, total: usize) -> Progress {
        let terminal = stderr().is_terminal();
        Progress { what, total, step: (total / if terminal { 100 } else { 10 }).max(1), terminal }
    }

    fn show(&mut self, done: usize) {
        if !done.is_multiple_of(self.step) && done != self.total {
            return;
        }
        let (start, end) =
            if self.terminal { ("\r", if done == self.total { "\n" } else { "" }) } else { ("", "\n") };
        // A failed write of the progress line is no reason to stop.
        let _ = write!(stderr(), "{start}{} {done} of {}{end}", self.what, self.total);
    }
}
