//! What a world leaves behind is no goroutine of the program. The only test of this program: those
//! of another would be counted.

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
