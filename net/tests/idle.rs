//! Nothing happens, and nothing is done. A program of its own, because processor time is counted
//! for the whole process.

mod loopback;

use loopback::pair;
use narrowboat_net::unix::UnixDatagram;
use narrowboat_testing::{bounded, cpu_time, one_site::go, settle};
use std::io::Read;
use std::net::Shutdown;
use std::time::Duration;

/// Half of the connections have been closed in one direction, which some event loops never hear the end of.
#[test]
fn idle_connections_cost_no_processor_time() {
    bounded(|| {
        let pairs: Vec<_> = (0..100).map(|_| pair()).collect();
        let readers: Vec<_> = pairs
            .iter()
            .enumerate()
            .map(|(number, (one, other))| {
                let (mut mine, half) = if number % 2 == 0 {
                    (other.try_clone().unwrap(), None)
                } else {
                    (one.try_clone().unwrap(), Some(other))
                };
                if half.is_some() {
                    // Our end is closed for writing, so the peer has seen the end; we still wait for the
                    // peer.
                    mine.shutdown(Shutdown::Write).unwrap();
                }
                go(move || mine.read(&mut [0; 8]).unwrap())
            })
            .collect();
        for (number, (_, other)) in pairs.iter().enumerate() {
            if number % 2 == 1 {
                assert_eq!((&mut &*other).read(&mut [0; 8]).unwrap(), 0);
            }
        }
        settle();
        let before = cpu_time();
        std::thread::sleep(Duration::from_secs(1));
        let used = cpu_time() - before;
        assert!(used < Duration::from_millis(100), "{used:?} in a second");
        drop(
            pairs
                .into_iter()
                .map(|(one, other)| {
                    one.shutdown(Shutdown::Both).unwrap();
                    other.shutdown(Shutdown::Both)
                })
                .collect::<Vec<_>>(),
        );
        for reader in readers {
            assert_eq!(reader.join(), 0);
        }
    });
}

/// The kernel tells a sender again and again that it might try, although there is no room where it sends to.
#[test]
fn a_datagram_that_waits_for_room_costs_no_processor_time() {
    bounded(|| {
        let path = std::env::temp_dir().join(format!("narrowboat-idle-{}", std::process::id()));
        let receiver = UnixDatagram::bind(&path).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        while sender.send_to(b"x", &path).is_ok() {}
        sender.set_nonblocking(false).unwrap();
        let blocked = sender.try_clone().unwrap();
        let to = path.clone();
        let waiting = go(move || blocked.send_to(b"x", to));
        settle();
        let before = cpu_time();
        std::thread::sleep(Duration::from_secs(1));
        let used = cpu_time() - before;
        assert!(used < Duration::from_millis(100), "{used:?} in a second");
        receiver.recv(&mut [0; 1]).unwrap();
        assert_eq!(waiting.join().unwrap(), 1);
        std::fs::remove_file(&path).unwrap();
    });
}
