//! What only goes wrong in a program whose first other thread is the runtime's.

use narrowboat_runtime::{run, spawn, yield_now};

fn main() {
    // SAFETY: no arguments to get wrong; ends the process if it hangs.
    unsafe { libc::alarm(60) };
    credentials_can_be_changed_from_goroutines();
    println!("test credentials_can_be_changed_from_goroutines ... ok");
}

/// The C library prepares for it when the process starts its first thread, and the runtime must come after that.
fn credentials_can_be_changed_from_goroutines() {
    run(|| {
        let goroutines: Vec<_> = (0..64)
            .map(|_| {
                spawn(|| {
                    for _ in 0..20 {
                        // SAFETY: setting the present group again needs no privilege and changes nothing.
                        assert_eq!(unsafe { libc::setgid(libc::getgid()) }, 0);
                        yield_now();
                    }
                })
            })
            .collect();
        for goroutine in goroutines {
            goroutine.join().unwrap();
        }
    });
}
