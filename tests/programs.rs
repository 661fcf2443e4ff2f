//! Whole programs through the facade: the classics of channel programming.

use narrowboat::chan::{self, Receiver, Sender};
use narrowboat::{go, select};
use narrowboat_testing::{program, sized, within};
use std::time::{Duration, Instant};

#[test]
fn sieve_in_one_process() {
    fn filter(prime: u64, numbers: Receiver<u64>, survivors: Sender<u64>) {
        for n in numbers {
            if n % prime != 0 && survivors.send(n).is_err() {
                return;
            }
        }
    }
    let count = sized(2_000, 300);
    let primes = program(move || {
        let (tx, mut numbers) = chan::bounded(0);
        go!(move || (2..).take_while(|&n| tx.send(n).is_ok()).for_each(drop));
        let mut primes = Vec::new();
        while primes.len() < count {
            let prime = numbers.recv().unwrap();
            let (tx, survivors) = chan::bounded(0);
            go!(filter(prime, numbers, tx));
            numbers = survivors;
            primes.push(prime);
        }
        primes
    });
    assert_eq!(primes[..10], [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
    assert!(primes.iter().skip(1).all(|p| (3..).step_by(2).take_while(|d| d * d <= *p).all(|d| p % d != 0)));
    if count == 2_000 {
        assert_eq!(primes.last(), Some(&17_389));
    }
}

#[test]
fn token_goes_round_a_ring_of_goroutines() {
    let (size, rounds) = (sized(100_000, 20_000), 3);
    let hops = program(move || {
        let (first, mut inbox) = chan::bounded::<u64>(0);
        for _ in 1..size {
            let (tx, rx) = chan::bounded(0);
            go!(move || {
                for token in inbox {
                    if tx.send(token + 1).is_err() {
                        return;
                    }
                }
            });
            inbox = rx;
        }
        let mut token = 0;
        for _ in 0..rounds {
            first.send(token).unwrap();
            token = inbox.recv().unwrap() + 1;
        }
        // The ring comes apart link by link, and its end arrives at us.
        drop(first);
        assert!(inbox.recv().is_err());
        token
    });
    assert_eq!(hops, (size * rounds) as u64);
}

#[test]
fn tree_of_a_million_short_lived_goroutines() {
    // Each leaf is its number; each node joins ten children and adds them up.
    fn node(first: u64, leaves: u64) -> u64 {
        if leaves == 1 {
            return first;
        }
        let part = leaves / 10;
        let children: Vec<_> = (0..10).map(|i| go!(node(first + i * part, part))).collect();
        children.into_iter().map(|child| child.join().unwrap()).sum()
    }
    let leaves = 10_u64.pow(match sized(1_000_000, 100_000) {
        1_000_000.. => 6,
        100_000.. => 5,
        _ => 3,
    });
    assert_eq!(program(move || node(0, leaves)), leaves * (leaves - 1) / 2);
}

/// How a party runs.
#[derive(Clone, Copy, PartialEq, Debug)]
enum On {
    Goroutine,
    Thread,
}

impl On {
    fn start(self, f: impl FnOnce() + Send + 'static) -> Box<dyn FnOnce() -> std::thread::Result<()> + Send> {
        match self {
            On::Goroutine => {
                let handle = narrowboat::spawn(f);
                Box::new(move || handle.join())
            }
            On::Thread => {
                let handle = std::thread::spawn(f);
                Box::new(move || handle.join())
            }
        }
    }
}

#[test]
fn ping_pong_between_goroutines_and_threads() {
    for (here, there) in [
        (On::Goroutine, On::Goroutine),
        (On::Thread, On::Thread),
        (On::Goroutine, On::Thread),
        (On::Thread, On::Goroutine),
    ] {
        for capacity in [0, 1] {
            let rounds =
                if here == there && here == On::Goroutine { sized(50_000, 5_000) } else { sized(2_000, 500) };
            within(Duration::from_secs(240), move || {
                let (ping, pings) = chan::bounded(capacity);
                let (pong, pongs) = chan::bounded(capacity);
                let returning = there.start(move || {
                    for n in pings {
                        pong.send(n + 1).unwrap();
                    }
                });
                let serving = here.start(move || {
                    for n in 0..rounds {
                        ping.send(n).unwrap();
                        assert_eq!(pongs.recv(), Ok(n + 1));
                    }
                });
                serving().unwrap();
                returning().unwrap();
            });
        }
    }
}

#[test]
fn select_collects_from_many_in_order_and_fairly() {
    const SOURCES: usize = 4;
    let each = sized(20_000, 3_000);
    program(move || {
        let receivers: Vec<Receiver<usize>> = (0..SOURCES)
            .map(|source| {
                let (tx, rx) = chan::bounded(source * source);
                // The sender outlives its messages, so that no arm is ready for want of one.
                go!(move || {
                    (0..each).for_each(|n| tx.send(n).unwrap());
                    narrowboat::sleep(Duration::from_secs(3600));
                    drop(tx);
                });
                rx
            })
            .collect();
        let mut next = [0; SOURCES];
        let mut take = |source: usize, n| {
            assert_eq!(next[source], n, "messages of one sender keep their order");
            next[source] += 1;
        };
        for _ in 0..SOURCES * each {
            select! {
                recv(receivers[0]) -> n => take(0, n.unwrap()),
                recv(receivers[1]) -> n => take(1, n.unwrap()),
                recv(receivers[2]) -> n => take(2, n.unwrap()),
                recv(receivers[3]) -> n => take(3, n.unwrap()),
            }
        }
        assert_eq!(next, [each; SOURCES]);
        select! {
            recv(receivers[0]) -> _ => panic!("there was one message too many"),
            default(Duration::from_millis(5)) => {}
        }
    });
}

#[test]
fn select_takes_every_ready_arm_now_and_then() {
    let taken = program(|| {
        let (full_tx, full) = chan::unbounded();
        let (room, _held) = chan::unbounded();
        let mut taken = [0; 3];
        let (other_tx, other) = chan::unbounded();
        for _ in 0..1_000 {
            full_tx.send(()).unwrap();
            other_tx.send(()).unwrap();
            select! {
                recv(full) -> _ => taken[0] += 1,
                send(room, ()) -> sent => { sent.unwrap(); taken[1] += 1 },
                recv(other) -> _ => taken[2] += 1,
            }
        }
        taken
    });
    // With a fair choice each is taken some 333 times; less than 100 does not happen by chance.
    assert!(taken.iter().all(|&n| n > 100), "{taken:?}");
}

#[test]
fn select_waits_for_a_message_a_deadline_or_nothing() {
    program(|| {
        let (tx, rx) = chan::bounded::<u32>(0);
        select! {
            recv(rx) -> _ => panic!("nothing sends"),
            default => {}
        }
        let start = Instant::now();
        select! {
            recv(rx) -> _ => panic!("nothing sends"),
            recv(chan::after(Duration::from_millis(20))) -> _ => {}
        }
        assert!(start.elapsed() >= Duration::from_millis(20));
        go!(move || tx.send(7).unwrap());
        select! {
            recv(rx) -> n => assert_eq!(n, Ok(7)),
            default(Duration::from_secs(60)) => panic!("the message was on its way"),
        }
    });
}
