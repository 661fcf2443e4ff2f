//! Timeouts as std has them, deadlines as Go has them.

mod loopback;

use loopback::{listener, pair};
use narrowboat_testing::{bounded, one_site::go, settle};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(600);

#[test]
fn a_read_times_out_and_the_next_one_works() {
    bounded(|| {
        let (mut one, mut other) = pair();
        other.set_read_timeout(Some(SHORT)).unwrap();
        for _ in 0..3 {
            let began = Instant::now();
            let error = other.read(&mut [0; 8]).unwrap_err();
            // As std on Unix has it, down to the number.
            assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::WouldBlock, Some(libc::EAGAIN)));
            assert!(began.elapsed() >= SHORT);
        }
        one.write_all(b"late").unwrap();
        assert_eq!(other.read(&mut [0; 8]).unwrap(), 4);
    });
}

#[test]
fn a_write_times_out_and_the_next_one_works() {
    bounded(|| {
        let (mut one, mut other) = pair();
        one.set_write_timeout(Some(SHORT)).unwrap();
        let mut written = 0;
        let error = loop {
            match one.write(&[7; 65_536]) {
                Ok(count) => written += count,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        one.set_write_timeout(None).unwrap();
        let writer = go(move || one.write_all(&[8; 100_000]).unwrap());
        let mut all = Vec::new();
        other.read_to_end(&mut all).unwrap();
        writer.join();
        assert_eq!(all.len(), written + 100_000);
        assert!(all[..written].iter().all(|&byte| byte == 7) && all[written..].iter().all(|&byte| byte == 8));
    });
}

/// The kernel reports room late; one that asks it gets what there is.
#[test]
fn a_write_after_one_that_timed_out_uses_whatever_room_there_is() {
    bounded(|| {
        let (mut one, mut other) = pair();
        one.set_write_deadline(Some(Instant::now() + Duration::from_secs(20))).unwrap();
        one.set_write_timeout(Some(SHORT)).unwrap();
        while one.write(&[7; 65_536]).is_ok() {}
        one.set_write_timeout(None).unwrap();
        // The socket is non-blocking underneath, so this finds out and does not wait.
        while SockRef::from(&one).send(&[7]).is_err() {
            assert!(other.read(&mut [0; 10_000]).unwrap() > 0);
        }
        assert_eq!(one.write(&[7]).unwrap(), 1);
    });
}

#[test]
fn a_timeout_of_one_direction_leaves_the_other_alone() {
    bounded(|| {
        let (one, _other) = pair();
        one.set_read_timeout(Some(SHORT)).unwrap();
        assert_eq!((one.read_timeout().unwrap(), one.write_timeout().unwrap()), (Some(SHORT), None));
        one.set_write_timeout(Some(LONG)).unwrap();
        assert_eq!(one.set_write_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(one.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!((one.read_timeout().unwrap(), one.write_timeout().unwrap()), (Some(SHORT), Some(LONG)));
    });
}

#[test]
fn timeouts_race_with_data_and_nothing_is_lost() {
    bounded(|| {
        const ROUNDS: u32 = 2_000;
        let (mut one, mut other) = pair();
        other.set_read_timeout(Some(Duration::from_micros(200))).unwrap();
        let writer = go(move || {
            for round in 0..ROUNDS {
                one.write_all(&round.to_ne_bytes()).unwrap();
                std::thread::sleep(Duration::from_micros(u64::from(round) * 7 % 400));
            }
        });
        let mut bytes = Vec::new();
        let mut part = [0; 64];
        loop {
            match other.read(&mut part) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&part[..count]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        writer.join();
        let expected: Vec<u8> = (0..ROUNDS).flat_map(u32::to_ne_bytes).collect();
        assert!(bytes == expected);
    });
}

#[test]
fn a_passed_deadline_fails_even_if_data_are_there_and_clearing_it_helps() {
    bounded(|| {
        let (mut one, mut other) = pair();
        one.write_all(b"data").unwrap();
        assert_eq!(other.peek(&mut [0; 8]).unwrap(), 4);
        other.set_deadline(Some(Instant::now())).unwrap();
        assert_eq!(other.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(other.write(b"x").unwrap_err().kind(), ErrorKind::TimedOut);
        other.set_deadline(None).unwrap();
        assert_eq!(other.read(&mut [0; 8]).unwrap(), 4);
        other.write_all(b"x").unwrap();
    });
}

#[test]
fn a_deadline_ends_what_is_under_way() {
    bounded(|| {
        let (one, _other) = pair();
        let mut blocked = one.try_clone().unwrap();
        let reader = go(move || blocked.read(&mut [0; 8]).unwrap_err().kind());
        let mut blocked = one.try_clone().unwrap();
        let writer = go(move || {
            std::iter::repeat_with(|| blocked.write(&[0; 65_536])).find_map(Result::err).unwrap().kind()
        });
        settle();
        one.set_deadline(Some(Instant::now() + SHORT)).unwrap();
        assert_eq!(reader.join(), ErrorKind::TimedOut);
        assert_eq!(writer.join(), ErrorKind::TimedOut);

        let listener = listener();
        let blocked = listener.try_clone().unwrap();
        let acceptor = go(move || blocked.accept().unwrap_err().kind());
        settle();
        listener.set_deadline(Some(Instant::now())).unwrap();
        assert_eq!(acceptor.join(), ErrorKind::TimedOut);
    });
}

/// The deadline may come at any point of an operation, the very first wait of a socket included.
#[test]
fn a_deadline_set_at_any_moment_is_seen() {
    bounded(|| {
        for round in 0..500u64 {
            let (one, _other) = pair();
            let mut blocked = one.try_clone().unwrap();
            let reader = go(move || blocked.read(&mut [0; 8]).unwrap_err().kind());
            std::thread::sleep(Duration::from_micros(round % 100));
            one.set_read_deadline(Some(Instant::now())).unwrap();
            assert_eq!(reader.join(), ErrorKind::TimedOut);
        }
    });
}

#[test]
fn a_deadline_put_off_or_taken_away_lets_the_read_wait_on() {
    bounded(|| {
        let (mut one, other) = pair();
        let mut blocked = other.try_clone().unwrap();
        other.set_read_deadline(Some(Instant::now() + LONG)).unwrap();
        let reader = go(move || blocked.read(&mut [0; 8]).unwrap());
        settle();
        other.set_read_deadline(Some(Instant::now() + LONG + LONG)).unwrap();
        settle();
        other.set_read_deadline(None).unwrap();
        settle();
        one.write_all(b"at last").unwrap();
        assert_eq!(reader.join(), 7);
    });
}

#[test]
fn of_timeout_and_deadline_the_earlier_one_counts() {
    bounded(|| {
        let (_one, mut other) = pair();
        other.set_read_timeout(Some(SHORT)).unwrap();
        other.set_read_deadline(Some(Instant::now() + LONG)).unwrap();
        assert_eq!(other.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        other.set_read_timeout(Some(LONG)).unwrap();
        other.set_read_deadline(Some(Instant::now() + SHORT)).unwrap();
        assert_eq!(other.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
    });
}
