//! Counting goroutines: alone in its process, so that no others are counted.

use narrowboat::{chan, go, num_goroutines};
use narrowboat_testing::{eventually, program, sized};

#[test]
fn number_of_goroutines_goes_up_and_back() {
    let count = sized(10_000, 2_000);
    program(move || {
        let before = num_goroutines();
        assert!(before >= 1, "the main goroutine counts itself");
        let (tx, rx) = chan::bounded::<()>(0);
        let parked: Vec<_> = (0..count)
            .map(|n| {
                let rx = rx.clone();
                go!(move || {
                    let _ = rx.recv();
                    if n % 100 == 0 {
                        std::panic::resume_unwind(Box::new(()));
                    }
                })
            })
            .collect();
        // The sum over the processors is exact once nothing moves between them.
        eventually("each is counted", || num_goroutines() == before + count);
        drop(tx);
        let (joined, detached): (Vec<_>, Vec<_>) =
            parked.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
        drop(detached);
        let panicked = joined.into_iter().filter_map(|(_, goroutine)| goroutine.join().err()).count();
        assert_eq!(panicked, count.div_ceil(100));
        eventually("only those from before are left", || num_goroutines() == before);
    });
}
