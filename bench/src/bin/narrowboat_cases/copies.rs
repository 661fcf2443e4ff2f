//! Goroutines of one processor that take turns with bytes alive on their stacks. Few have a stack each, and a switch is a
//! switch; many share the stacks of their processor (16, unless told), and each switch copies the bytes of one out and of another in.

use std::hint::black_box;
use std::time::{Duration, Instant};

use narrowboat::{JoinHandle, spawn, yield_now};
use narrowboat_bench::cli::fail;

/// `goroutines` share `operations` switches, with `live` bytes on the stack of each.
pub fn switches(goroutines: usize, live: usize, operations: usize) -> Duration {
    match live {
        0 => take_turns::<0>(goroutines, operations),
        512 => take_turns::<512>(goroutines, operations),
        // With a KiB or more, goroutines get a stack of their own as long as there are some.
        _ => fail("live bytes: 0 or 512"),
    }
}

fn take_turns<const LIVE: usize>(goroutines: usize, operations: usize) -> Duration {
    let begun = Instant::now();
    let turns = operations.div_ceil(goroutines);
    let take = move || {
        let mut live = [1u8; LIVE];
        for _ in 0..turns {
            yield_now();
            black_box(&mut live);
        }
        assert!(live.iter().all(|&byte| byte == 1), "the copy is right");
    };
    let all: Vec<JoinHandle<()>> = (0..goroutines).map(|_| spawn(take)).collect();
    all.into_iter().for_each(|goroutine| goroutine.join().expect("it does not panic"));
    begun.elapsed()
}
