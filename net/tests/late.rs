//! The first socket comes when the runtime has been idle for long. A program of its own, because there is one runtime in each.

mod loopback;

use loopback::pair;
use narrowboat_testing::bounded;
use std::io::{Read, Write};
use std::time::Duration;

#[test]
fn sockets_that_come_when_all_workers_sleep_are_waited_for() {
    bounded(|| {
        narrowboat_runtime::spawn(|| ()).join().unwrap();
        // Long enough for workers and monitor to fall asleep, and for stacks to settle, on most days.
        std::thread::sleep(Duration::from_secs(3));
        let (mut one, mut other) = pair();
        let writing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            one.write_all(b"x").unwrap();
        });
        assert_eq!(other.read(&mut [0; 8]).unwrap(), 1);
        writing.join().unwrap();
    });
}
