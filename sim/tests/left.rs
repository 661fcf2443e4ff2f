//! What a world leaves behind. In a process of its own: other tests have goroutines, too.

use narrowboat::sim::{self, Check, Kind, net};
use narrowboat::{chan, go, leak};

#[test]
fn what_a_world_has_left_is_no_goroutine_of_the_program() {
    let before = narrowboat::num_goroutines();
    leak::check(|| {
        for _ in 0..5 {
            let failure = Check::new().environment(false).explore(|| {
                let (_tx, rx) = chan::bounded::<u32>(0);
                go!(|| narrowboat::sleep(std::time::Duration::from_secs(5)));
                let _ = rx.recv();
            });
            let failure = failure.unwrap_err();
            assert_eq!(*failure.kind(), Kind::Deadlock);
            let _ = failure.trace_file().map(std::fs::remove_file);
        }
        // Nor is what was on a host that has crashed.
        sim::run(1, || {
            drop(net::host("gone").spawn(|| narrowboat::sleep(std::time::Duration::from_secs(3600))));
            narrowboat::sleep(std::time::Duration::from_secs(1));
            net::crash("gone");
        });
    });
    assert_eq!(narrowboat::num_goroutines(), before);
    assert_eq!(narrowboat::dump().goroutines().len(), 0);
}

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
