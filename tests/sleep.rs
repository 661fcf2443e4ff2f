//! Sleeping for no time, until a time that has passed, and for longer than programs run. One test, so that the CPU time of
//! the process is its own.

use narrowboat::{Builder, go};
use narrowboat_testing::{cpu_time, program};
use std::time::{Duration, Instant};

fn at_once() {
    let now = Instant::now();
    for _ in 0..1000 {
        narrowboat::sleep(Duration::ZERO);
        narrowboat::time::sleep_until(now);
    }
    if let Some(past) = now.checked_sub(Duration::from_secs(3600)) {
        narrowboat::time::sleep_until(past);
    }
}

#[test]
fn nothing_and_the_past_return_at_once_and_for_ever_costs_nothing() {
    // Starts the netpoller, whose wait then has the far deadlines for limits.
    drop(narrowboat::net::TcpListener::bind("127.0.0.1:0").unwrap());
    at_once();
    program(at_once);

    let far = Instant::now().checked_add(Duration::from_secs(1 << 40));
    let mut sleepers = vec![
        go!(narrowboat::sleep(Duration::MAX)),
        go!(narrowboat::sleep(Duration::from_secs(i64::MAX as u64))),
        go!(narrowboat::sleep(Duration::from_nanos(u64::MAX))),
        Builder::new().own_stack(1 << 20).spawn(|| narrowboat::sleep(Duration::MAX)).unwrap(),
    ];
    sleepers.extend(far.map(|far| go!(narrowboat::time::sleep_until(far))));
    let thread = std::thread::spawn(|| narrowboat::sleep(Duration::MAX));

    let start = Instant::now();
    program(|| narrowboat::sleep(Duration::from_millis(20)));
    assert!(start.elapsed() >= Duration::from_millis(20));
    let before = cpu_time();
    std::thread::sleep(Duration::from_millis(500));
    let used = cpu_time() - before;
    assert!(used < Duration::from_millis(250), "{used:?} of CPU time in half a second of sleep");
    assert!(sleepers.iter().all(|sleeper| !sleeper.is_finished()) && !thread.is_finished());
}
