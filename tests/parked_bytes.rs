//! How many bytes of its stack a goroutine keeps while it waits for a message: the main cost of a
//! million of them.

use narrowboat::{chan, go, stats};
use narrowboat_testing::{assert_passed, in_child_with};
use std::time::Duration;

/// The frames from the goroutine's function down to the switch. What a receive keeps over its wait
/// is on each of these stacks. The compiler decides how much that is: 224 bytes at present, and at
/// 272 something is kept for nothing.
#[test]
fn a_goroutine_that_waits_for_a_message_keeps_a_quarter_of_a_kilobyte() {
    let alone =
        [("NARROWBOAT_STRESS", "evict"), ("NARROWBOAT_STACKS", "shared"), ("NARROWBOAT_PROCESSORS", "1")];
    let test = "a_goroutine_that_waits_for_a_message_keeps_a_quarter_of_a_kilobyte";
    if let Some(output) = in_child_with(test, &alone) {
        assert_passed(&output, 1);
        return;
    }
    const N: usize = 1000;
    let copied = || {
        let stats = stats();
        let sum =
            |of: fn(&narrowboat::ProcessorStats) -> usize| stats.processors.iter().map(of).sum::<usize>();
        (sum(|p| p.copies), sum(|p| p.copied_bytes))
    };
    let (_hold, held) = chan::bounded::<u64>(0);
    let before = copied();
    for _ in 0..N {
        let held = held.clone();
        go!(move || held.recv());
    }
    while copied().0 - before.0 < N {
        std::thread::sleep(Duration::from_millis(1));
    }
    let after = copied();
    let each = (after.1 - before.1) / (after.0 - before.0);
    println!("{each} bytes");
    // Without optimization, and on other CPUs, frames are as large as they are.
    let most = if cfg!(all(target_arch = "x86_64", not(debug_assertions))) { 256 } else { 4096 };
    assert!((64..=most).contains(&each), "{each} bytes each");
}
