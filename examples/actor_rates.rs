//! What services cost: memory of one at rest, and messages each second.
//!
//!     cargo run --release --features actor --example actor_rates -- 1000000
//!
//! The argument is the number of services at rest, and of messages. Beside it, the same exchange
//! between two coroutines of Lua on one thread: `lua5.4 examples/ping_pong.lua 1000000`.

use narrowboat::actor::{Address, Handle, Service, System, Turn};
use std::time::Instant;

fn main() {
    let count = std::env::args().nth(1).map_or(Ok(1_000_000), |argument| argument.parse());
    let Ok(count @ 1..) = count else {
        eprintln!("usage: actor_rates [COUNT]");
        std::process::exit(2);
    };
    narrowboat::run(move || {
        at_rest(count);
        sends(count);
        calls(count, 1);
        calls(count, 100);
    });
}

/// Counts what it gets.
struct Counter(u64);

impl Service for Counter {}

impl Handle<u64> for Counter {
    type Reply = u64;

    fn handle(turn: &mut Turn<Self>, n: u64) -> u64 {
        turn.0 += n;
        turn.0
    }
}

/// Calls a counter so many times.
struct Caller(Address<Counter>);

impl Service for Caller {}

struct Calls(usize);

impl Handle<Calls> for Caller {
    type Reply = ();

    fn handle(turn: &mut Turn<Self>, Calls(count): Calls) {
        let counter = turn.0.clone();
        for _ in 0..count {
            turn.call(&counter, 1).expect("it lives");
        }
    }
}

fn at_rest(count: usize) {
    let system = System::builder().no_watchdog().build();
    let before = memory_in_bytes();
    let begun = Instant::now();
    let counters: Vec<_> = (0..count).map(|_| system.spawn(Counter(0))).collect();
    let each = begun.elapsed().as_nanos() / count as u128;
    let fresh = memory_in_bytes().saturating_sub(before) / count as u64;
    println!("{count} services at rest: {fresh} bytes and {each} ns each");
    counters.iter().for_each(|counter| counter.send(1).expect("it lives"));
    let sum: u64 = counters.iter().map(|counter| counter.call(0).expect("it lives")).sum();
    let used = memory_in_bytes().saturating_sub(before) / count as u64;
    println!("after a message and a call for each: {used} bytes each, sum {sum}");
}

fn sends(count: usize) {
    let system = System::builder().on_report(|_| ()).build();
    let counter = system.spawn(Counter(0));
    let begun = Instant::now();
    (0..count).for_each(|_| counter.send(1).expect("it lives"));
    assert_eq!(counter.call(0), Ok(count as u64));
    rate("sends to one service", count, begun);
}

/// Calls of `pairs` pairs of services at once.
fn calls(count: usize, pairs: usize) {
    let system = System::new();
    let callers: Vec<_> = (0..pairs).map(|_| system.spawn(Caller(system.spawn(Counter(0))))).collect();
    let begun = Instant::now();
    let each = count.div_ceil(pairs);
    let calling: Vec<_> = callers
        .into_iter()
        .map(|caller| narrowboat::go!(move || caller.call(Calls(each)).expect("it lives")))
        .collect();
    calling.into_iter().for_each(|calling| calling.join().expect("no panic"));
    rate(&format!("calls between {pairs} pairs of services"), each * pairs, begun);
}

fn rate(what: &str, count: usize, begun: Instant) {
    let took = begun.elapsed();
    println!("{count} {what}: {} ns each", took.as_nanos() / count as u128);
}

/// Resident memory plus page tables.
fn memory_in_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let kibibytes = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect(name);
        line.split_whitespace().nth(1).and_then(|figure| figure.parse::<u64>().ok()).expect("a figure")
    };
    (kibibytes("VmRSS:") + kibibytes("VmPTE:")) << 10
}
