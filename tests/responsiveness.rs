//! One goroutine that hogs its processor, by computing or by a native blocking call, and what the others feel of it.
//!
//! Goroutines of the hog's own processor wait, and are left out, but for those that have not
//! started: they move to another processor. All others must go on: with nothing done about it they
//! would wait for the whole second; the bound leaves room for a busy machine, and the figure is
//! printed.

use narrowboat::net::{TcpListener, TcpStream};
use narrowboat::{chan, go};
use narrowboat_testing::{block_natively, number_from_env, processor, program};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const HOGS_FOR: Duration = Duration::from_secs(1);
const AT_MOST: Duration = Duration::from_millis(400);

/// The longest time that something took, and the processors that it needed.
struct Longest {
    wait: Duration,
    processors: Vec<u64>,
}

/// Two goroutines that pass a number to and fro until told to stop.
fn pair(stop: Arc<AtomicBool>, report: chan::Sender<Longest>) {
    let (there, forth) = chan::bounded::<u32>(0);
    let (back, home) = chan::bounded::<u64>(0);
    go!(move || {
        for _ in forth.iter() {
            if back.send(processor()).is_err() {
                break;
            }
        }
    });
    go!(move || {
        let mut longest = Longest { wait: Duration::ZERO, processors: vec![processor()] };
        while !stop.load(Ordering::Relaxed) {
            let start = Instant::now();
            there.send(1).unwrap();
            let other = home.recv().unwrap();
            longest.wait = longest.wait.max(start.elapsed());
            if longest.processors.len() == 1 {
                longest.processors.push(other);
            }
            narrowboat::sleep(Duration::from_millis(1));
        }
        report.send(longest).unwrap();
    });
}

/// Echoes each byte after the first 32, which tell the client on which processor its goroutine runs.
fn serve(mut stream: TcpStream) {
    let mut byte = [0];
    while let Ok(1) = stream.read(&mut byte) {
        let id = format!("{:>32}", processor());
        if stream.write_all(&id.as_bytes()[..32]).is_err() {
            break;
        }
    }
}

/// A plain thread that asks a server over and over.
fn client(address: SocketAddr, stop: Arc<AtomicBool>) -> thread::JoinHandle<(Duration, String)> {
    thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let (mut longest, mut reply) = (Duration::ZERO, [0; 32]);
        while !stop.load(Ordering::Relaxed) {
            let start = Instant::now();
            stream.write_all(&[1]).unwrap();
            stream.read_exact(&mut reply).unwrap();
            longest = longest.max(start.elapsed());
            thread::sleep(Duration::from_millis(2));
        }
        (longest, String::from_utf8(reply.to_vec()).unwrap().trim().to_owned())
    })
}

/// Runs `hog` in a goroutine on another processor than `server`, and returns which.
fn hog_away_from(server: u64, hog: fn()) -> u64 {
    loop {
        // What plain threads spawn goes to the processors with the fewest goroutines in turn.
        let spawner = thread::spawn(move || {
            go!(move || {
                let here = processor();
                (here != server).then(|| {
                    hog();
                    here
                })
            })
        });
        if let Some(hogged) = spawner.join().unwrap().join().unwrap() {
            return hogged;
        }
    }
}

/// One hog at a time: a goroutine that lives beside another test's would be counted there.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|e| e.into_inner())
}

fn compute() {
    let start = Instant::now();
    while start.elapsed() < HOGS_FOR {
        std::hint::spin_loop();
    }
}

/// Runs 500 pairs, a server with eight clients and then `hog`.
fn others_go_on_beside(what: &'static str, hog: fn()) {
    let _turn = one_at_a_time();
    program(move || {
        let stop = Arc::new(AtomicBool::new(false));
        let (report, reports) = chan::unbounded();
        for _ in 0..500 {
            pair(stop.clone(), report.clone());
        }
        drop(report);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, homes) = chan::unbounded();
        go!(move || {
            for _ in 0..8 {
                let (stream, _) = listener.accept().unwrap();
                let tell = tell.clone();
                go!(move || {
                    tell.send(processor()).unwrap();
                    serve(stream);
                });
            }
        });
        let clients: Vec<_> = (0..8).map(|_| client(address, stop.clone())).collect();
        let server = homes.recv().unwrap();
        narrowboat::sleep(Duration::from_millis(50));

        let hogged = hog_away_from(server, hog);
        stop.store(true, Ordering::Relaxed);

        let elsewhere: Vec<_> = reports.iter().filter(|r| !r.processors.contains(&hogged)).collect();
        let pairs = elsewhere.iter().map(|r| r.wait).max().unwrap_or_default();
        let requests = clients.into_iter().map(|c| c.join().unwrap());
        let requests: Vec<_> = requests.filter(|(_, home)| *home != hogged.to_string()).collect();
        let served = requests.iter().map(|r| r.0).max().unwrap_or_default();
        eprintln!(
            "beside a goroutine that {what} for {HOGS_FOR:?}: {} of 500 pairs elsewhere waited at most {pairs:?}, \
             {} of 8 clients {served:?}",
            elsewhere.len(),
            requests.len(),
        );
        assert!(!elsewhere.is_empty() && !requests.is_empty(), "none lives on other processors");
        assert!(pairs < AT_MOST && served < AT_MOST);
    });
}

#[test]
fn a_computing_goroutine_delays_only_its_own_processor() {
    others_go_on_beside("computes", compute);
}

#[test]
fn a_native_blocking_call_delays_only_its_own_processor() {
    others_go_on_beside("sleeps natively", || block_natively(HOGS_FOR));
}

/// Whether goroutines can move at all: to another processor, if there is one.
fn there_are_other_processors() -> bool {
    let pinned = number_from_env("NARROWBOAT_PIN") == Some(1);
    number_from_env(if pinned { "NARROWBOAT_WORKERS" } else { "NARROWBOAT_PROCESSORS" }) != Some(1)
}

/// Runs `hog` in goroutines that have just spawned a child, and says how long it took the slowest
/// child to start.
fn children_of(hog: fn(), rounds: usize) -> Duration {
    let spawner = move |_| {
        let start = Instant::now();
        let child = go!(move || start.elapsed());
        hog();
        child.join().unwrap()
    };
    // In a goroutine each, so that they begin on different processors.
    (0..rounds).map(|round| go!(move || spawner(round)).join().unwrap()).max().unwrap()
}

#[test]
fn a_child_of_a_hog_starts_elsewhere() {
    let _turn = one_at_a_time();
    if !there_are_other_processors() {
        return;
    }
    program(|| {
        for (what, hog) in [("computes", compute as fn()), ("sleeps natively", || block_natively(HOGS_FOR))] {
            let longest = children_of(hog, 3);
            eprintln!(
                "the children of goroutines that {what} for {HOGS_FOR:?} started after {longest:?} at most"
            );
            assert!(longest < AT_MOST, "{longest:?} under one that {what}");
        }
    });
}

/// Ping-pongs teach the scheduler that it does not pay to wake a second worker for a goroutine.
/// That must not hold for a goroutine behind a hog.
#[test]
fn a_child_of_a_hog_starts_elsewhere_after_many_hand_offs() {
    let _turn = one_at_a_time();
    if !there_are_other_processors() {
        return;
    }
    program(|| {
        let (there, forth) = chan::bounded::<u32>(0);
        let (back, home) = chan::bounded::<u32>(0);
        let echo = go!(move || forth.iter().for_each(|n| back.send(n).unwrap()));
        for n in 0..20_000 {
            there.send(n).unwrap();
            assert_eq!(home.recv(), Ok(n));
        }
        drop(there);
        echo.join().unwrap();
        let longest = children_of(compute, 3);
        assert!(longest < AT_MOST, "{longest:?}");
    });
}

/// The hog waits for its child, so this hangs if the child never starts; no other worker is idle at
/// any time.
#[test]
fn a_child_that_a_native_call_waits_for_starts_on_a_busy_machine_too() {
    let _turn = one_at_a_time();
    if !there_are_other_processors() {
        return;
    }
    program(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let busy: Vec<_> = (0..200)
            .map(|_| {
                let stop = stop.clone();
                go!(move || {
                    while !stop.load(Ordering::Relaxed) {
                        narrowboat::yield_now();
                    }
                })
            })
            .collect();
        narrowboat::sleep(Duration::from_millis(20));
        let hog = go!(|| {
            let (done, waits) = mpsc::channel();
            go!(move || done.send(5).unwrap());
            waits.recv().unwrap()
        });
        assert_eq!(hog.join().unwrap(), 5);
        stop.store(true, Ordering::Relaxed);
        busy.into_iter().for_each(|goroutine| goroutine.join().unwrap());
    });
}

/// While a goroutine hogs its processor others are sent there, because hardly any live there.
#[test]
fn goroutines_sent_to_the_processor_of_a_hog_start() {
    let _turn = one_at_a_time();
    if !there_are_other_processors() {
        return;
    }
    program(|| {
        let (begins, begun) = mpsc::channel();
        let hog = thread::spawn(move || {
            go!(move || {
                begins.send(()).unwrap();
                block_natively(HOGS_FOR);
            })
        });
        begun.recv().unwrap();
        let sent = thread::spawn(|| {
            let send = |_| {
                let start = Instant::now();
                let handle = go!(move || start.elapsed());
                thread::sleep(Duration::from_millis(1));
                handle
            };
            (0..200).map(send).collect::<Vec<_>>()
        });
        let longest = sent.join().unwrap().into_iter().map(|h| h.join().unwrap()).max().unwrap();
        hog.join().unwrap().join().unwrap();
        eprintln!("goroutines sent anywhere while one slept natively started after {longest:?} at most");
        assert!(longest < AT_MOST, "{longest:?}");
    });
}
