//! How much memory a failed world leaves. The only test of this program: the memory of another would
//! be counted.

use narrowboat::{chan, go, sim};

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

/// The goroutines that a failed world leaves keep their stacks and what they own. The documentation
/// says how much that is: run it with `--nocapture` for the figures.
#[test]
fn what_a_failed_world_leaves_takes_some_kilobytes_for_each_goroutine() {
    const GOROUTINES: usize = 10;
    let failing = |worlds| {
        for seed in 0..worlds {
            let run = std::panic::catch_unwind(|| {
                sim::run(seed, || {
                    let (_tx, rx) = chan::bounded::<u32>(0);
                    for _ in 1..GOROUTINES {
                        let rx = rx.clone();
                        go!(move || rx.recv());
                    }
                    let _ = rx.recv();
                });
            });
            assert!(run.is_err());
        }
    };
    failing(10);
    let (bytes, maps) = (resident(), mappings());
    let worlds = 300;
    failing(worlds);
    let left = worlds as usize * GOROUTINES;
    let (bytes, maps) = (resident().saturating_sub(bytes) / left, mappings().saturating_sub(maps));
    println!("each: {bytes} bytes; {left} in all: {maps} mappings");
    assert!(bytes < 64 << 10, "{bytes} bytes for each goroutine that is left");
}
