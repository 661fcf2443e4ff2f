//! What a dump says of channels, selects, locks, sockets and the rest.

use narrowboat::chan::{self, Select, after, bounded, never, unbounded};
use narrowboat::context::{background, with_cancel, with_timeout};
use narrowboat::net::{TcpListener, TcpStream, UdpSocket, unix::UnixStream};
use narrowboat::sync::{Barrier, Condvar, Mutex, RwLock, Semaphore, WaitGroup};
use narrowboat::{Builder, JoinHandle, dump, select};
use narrowboat_testing::{eventually, program, sized};
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn go<T: Send + 'static>(name: &str, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().name(name).spawn(f).unwrap()
}

/// What a dump says of the goroutine of this name, once it says all `parts`.
#[track_caller]
fn said_of(name: &str, parts: &[&str]) -> String {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let text = dump().to_string();
        let group = text
            .split("\n\n")
            .find(|group| group.contains(&format!("'{name}'")) && !group.starts_with("thread"));
        if let Some(group) = group
            && parts.iter().all(|part| group.contains(part))
        {
            return group.into();
        }
        assert!(Instant::now() < end, "{parts:?} are not all there: {text}");
        narrowboat::sleep(Duration::from_millis(5));
    }
}

/// How many goroutines that this line spawned wait.
fn waiting(line: u32) -> usize {
    let dump = dump();
    let of_line = |goroutine: &&narrowboat::GoroutineInfo| {
        let at = goroutine.spawned_at();
        at.file().ends_with("tests/dumps.rs") && at.line() == line
    };
    dump.goroutines().iter().filter(of_line).filter(|goroutine| !goroutine.is_woken()).count()
}

#[test]
fn a_channel_is_told_from_others() {
    program(|| {
        let made = line!() + 1;
        let (tx, rx) = bounded::<u32>(0);
        let receiver = go("receiver", move || rx.recv());
        let text = said_of(
            "receiver",
            &[
                "a message (receive)",
                "unbuffered, 1 sender, 1 receiver",
                &format!("made at tests/dumps.rs:{made}:"),
            ],
        );
        assert!(text.contains("on      channel #"), "{text}");
        tx.send(1).unwrap();
        receiver.join().unwrap().unwrap();

        let (tx, rx) = bounded(1);
        tx.send(0).unwrap();
        let sender = go("sender", move || tx.send(1).is_ok());
        said_of(
            "sender",
            &["room or a receiver (send)", "capacity 1 and full, 1 sender, 1 receiver, made at"],
        );
        drop(rx);
        assert!(!sender.join().unwrap());
    });
}

#[test]
fn two_that_wait_for_the_same_are_seen_to() {
    program(|| {
        let (tx, rx) = unbounded::<u32>();
        let receivers: Vec<_> = (0..2)
            .map(|n| {
                let rx = rx.clone();
                // Not from one line, or they would be one group.
                if n == 0 { go("one", move || rx.recv()) } else { go("other", move || rx.recv()) }
            })
            .collect();
        said_of("one", &["channel #"]);
        said_of("other", &["channel #"]);
        let dump = dump();
        let of = |name| dump.goroutines().iter().find(|goroutine| goroutine.name() == Some(name)).unwrap();
        assert!(of("one").object().is_some());
        assert_eq!(of("one").object(), of("other").object());
        assert!(dump.waits_for(of("one")).unwrap().contains("unbounded and empty"));
        drop(tx);
        receivers.into_iter().for_each(|receiver| assert!(receiver.join().unwrap().is_err()));
    });
}

#[test]
fn a_select_has_its_arms() {
    program(|| {
        let (in_tx, in_rx) = bounded::<u32>(3);
        let (out_tx, out_rx) = bounded::<u32>(0);
        let (ctx, cancel) = with_cancel(&background());
        let done = ctx.done().clone();
        let line = line!() + 2;
        let selecting = go("selecting", move || {
            select! {
                recv(in_rx) -> message => message.is_ok(),
                send(out_tx, 1) -> sent => sent.is_ok(),
                recv(done) -> _ => false,
                recv(after(Duration::from_secs(1000))) -> _ => false,
                recv(never::<()>()) -> _ => false,
            }
        });
        let text = said_of(
            "selecting",
            &[
                "one of several channels (select)",
                "receive from channel #",
                "capacity 3 and empty",
                "send to channel #",
                "unbuffered",
                "end of context #",
                "receive from timer #",
                "due in 99",
                "receive from never",
            ],
        );
        assert!(text.contains(&format!("at      tests/dumps.rs:{line}:")), "{text}");
        assert_eq!(text.matches("tests/dumps.rs:").count(), 6, "{text}");
        cancel.cancel();
        assert!(!selecting.join().unwrap());
        drop((in_tx, out_rx));
    });
}

#[test]
fn a_select_that_was_copied_out_has_its_arms_too() {
    program(|| {
        let (tx, rx) = bounded::<u32>(0);
        let selecting: Vec<_> = (0..300)
            .map(|_| {
                let rx = rx.clone();
                go("crowd", move || {
                    let mut select = Select::new();
                    let (index, other) = (select.recv(&rx), never::<u32>());
                    select.recv(&other);
                    select.ready() == index
                })
            })
            .collect();
        let text = said_of("crowd", &["300 goroutines (", "receive from channel #"]);
        assert!(
            !text.contains(", 0 copied out") || std::env::var_os("NARROWBOAT_PROCESSORS").is_none(),
            "{text}"
        );
        drop(tx);
        selecting.into_iter().for_each(|one| assert!(one.join().unwrap()));
    });
}

#[test]
fn a_lock_names_its_holder() {
    program(|| {
        let mutex = Arc::new(Mutex::new(0));
        let (let_go, wait) = bounded::<()>(0);
        let holder = go("holder", {
            let (mutex, wait) = (mutex.clone(), wait.clone());
            move || {
                let guard = mutex.lock().unwrap();
                let _ = wait.recv();
                drop(guard);
            }
        });
        said_of("holder", &["receive"]);
        let other = go("other", {
            let mutex = mutex.clone();
            move || *mutex.lock().unwrap()
        });
        said_of(
            "other",
            &["waiting for a lock", "on      lock #", &format!("held by goroutine {} 'holder'", holder.id())],
        );
        drop(let_go);
        holder.join().unwrap();
        other.join().unwrap();
        // After a wait for a notification it is the holder of the lock again.
        let pair = Arc::new((Mutex::new(false), Condvar::new()));
        let (let_go, wait) = bounded::<()>(0);
        let holder = go("notified", {
            let pair = pair.clone();
            move || {
                let guard = pair.1.wait_while(pair.0.lock().unwrap(), |ready| !*ready).unwrap();
                let _ = wait.recv();
                drop(guard);
            }
        });
        said_of("notified", &["a notification (condition variable)", "condition variable #"]);
        *pair.0.lock().unwrap() = true;
        pair.1.notify_one();
        said_of("notified", &["receive"]);
        let other = go("late", {
            let pair = pair.clone();
            move || drop(pair.0.lock())
        });
        said_of("late", &["held by goroutine", "'notified'"]);
        drop(let_go);
        holder.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn a_lock_whose_holder_is_gone_says_so() {
    program(|| {
        let lock = Arc::new(RwLock::new(0));
        let forgets = lock.clone();
        go("forgets", move || std::mem::forget(forgets.write().unwrap())).join().unwrap();
        go("waits for ever", move || drop(lock.read()));
        said_of("waits for ever", &["lock #", "held by a goroutine that has ended"]);
        let lock = Arc::new(RwLock::new(0));
        let reading = lock.read().unwrap();
        let writer = go("writer", {
            let lock = lock.clone();
            move || drop(lock.write())
        });
        said_of("writer", &["lock #", "shared by 1 reader"]);
        drop(reading);
        writer.join().unwrap();
    });
}

#[test]
fn the_rest_of_sync_counts() {
    program(|| {
        let semaphore = Arc::new(Semaphore::new(1));
        let permit = semaphore.clone();
        let takes = go("takes two", move || drop(permit.acquire_many(2)));
        said_of("takes two", &["a permit (semaphore)", "semaphore #", "1 permit is left"]);
        semaphore.add_permits(1);
        takes.join().unwrap();

        let group = WaitGroup::new();
        let member = group.clone();
        let waits = go("waits", move || group.wait());
        said_of("waits", &["(wait group)", "wait group #", "1 member is left"]);
        drop(member);
        waits.join().unwrap();

        let barrier = Arc::new(Barrier::new(3));
        let parties: Vec<_> = (0..2)
            .map(|_| {
                let barrier = barrier.clone();
                go("party", move || barrier.wait().is_leader())
            })
            .collect();
        said_of("party", &["the others (barrier)", "barrier #", "2 of 3 are here"]);
        assert!(barrier.wait().is_leader());
        parties.into_iter().for_each(|party| assert!(!party.join().unwrap()));

        let (tx, rx) = bounded::<()>(0);
        let child = go("child", move || rx.recv().is_err());
        let id = child.id();
        let parent = go("parent", move || child.join().unwrap());
        said_of("parent", &["(join)", &format!("on      goroutine {id} 'child'")]);
        drop(tx);
        assert!(parent.join().unwrap());
    });
}

#[test]
fn a_socket_has_its_addresses() {
    program(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = go("accepting", move || listener.accept().unwrap());
        said_of("accepting", &["(accept)", "TCP socket #", &format!("{address}, descriptor ")]);
        let mut client = TcpStream::connect(address).unwrap();
        let (server, peer) = accepting.join().unwrap();
        let reading = go("reading", move || client.read(&mut [0; 8]).unwrap());
        said_of("reading", &["input (read)", &format!("{peer} -> {address}, descriptor ")]);
        drop(server);
        assert_eq!(reading.join().unwrap(), 0);

        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let (ctx, cancel) = with_timeout(&background(), Duration::from_secs(1000));
        let receiving = go("receiving", move || socket.with_context(&ctx).recv(&mut [0; 8]).is_err());
        said_of(
            "receiving",
            &["input of UDP socket #", &address.to_string(), "end of context #", "due in 99"],
        );
        cancel.cancel();
        assert!(receiving.join().unwrap());

        let (mut one, other) = UnixStream::pair().unwrap();
        let reading = go("unix", move || one.read(&mut [0; 8]).unwrap());
        said_of("unix", &["Unix stream #", "(unnamed) -> (unnamed)"]);
        drop(other);
        reading.join().unwrap();
    });
}

#[test]
fn waits_for_time_are_no_waits_for_messages() {
    program(|| {
        let (timer, ctx) = (after(Duration::from_secs(1000)), with_cancel(&background()));
        let done = ctx.0.done().clone();
        go("timed", move || timer.recv());
        let ended = go("until the end", move || done.recv().is_err());
        go("for ever", || never::<u32>().recv());
        said_of("timed", &["the time of a timer", "timer #", "due in 99"]);
        said_of("until the end", &["the end of a context", "context #", "made at tests/dumps.rs"]);
        said_of("for ever", &["a message that never comes"]);
        ctx.1.cancel();
        assert!(ended.join().unwrap());
    });
}

#[test]
fn threads_that_wait_are_shown_as_well() {
    let (tx, rx) = chan::bounded::<()>(0);
    let line = line!() + 3;
    let waiting = std::thread::Builder::new().name("a thread".into()).spawn({
        let rx = rx.clone();
        move || rx.recv().is_err()
    });
    let beside = go("beside it", move || rx.recv().is_err());
    said_of("beside it", &["channel #"]);
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let text = dump().to_string();
        let thread =
            text.split("\n\n").find(|group| group.starts_with("thread 'a thread': waiting for a message"));
        if let Some(thread) = thread {
            assert!(thread.contains("channel #"), "{thread}");
            assert!(thread.contains(&format!("tests/dumps.rs:{line}:")), "{thread}");
            break;
        }
        assert!(Instant::now() < end, "{text}");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(tx);
    assert!(waiting.unwrap().join().unwrap() && beside.join().unwrap());
}

#[test]
fn a_crowd_is_a_few_lines() {
    let count = sized(1_000_000, 50_000);
    program(move || {
        let (tx, rx) = bounded::<()>(0);
        let spawn = line!() + 3;
        for _ in 0..count {
            let rx = rx.clone();
            narrowboat::spawn(move || rx.recv().is_err());
        }
        eventually("all wait", || narrowboat::stats().goroutines() > count && waiting(spawn) == count);
        // On a busy machine a processor may not answer in time, and is named as silent.
        let (dump, stopped, start) = loop {
            let start = Instant::now();
            let dump = dump();
            if dump.silent_processors().is_empty() {
                break (dump, start.elapsed(), start);
            }
        };
        let text = dump.to_string();
        println!("{count} goroutines: seen in {stopped:.1?}, told in {:.1?}", start.elapsed() - stopped);
        assert!(text.contains(&format!("\n{count} goroutines (")), "{text}");
        assert!(text.contains(" copied out\n") && text.len() < 20_000, "{text}");
        drop(tx);
    });
}

/// Waits of std's are told apart by the line of the program that waits, and say what it has called.
#[test]
fn a_wait_for_a_lock_of_stds_is_shown_with_the_callers_line() {
    #[inline(never)]
    fn lock(lock: &std::sync::Mutex<()>) {
        drop(lock.lock());
    }
    #[inline(never)]
    fn park() {
        std::thread::park();
    }
    program(|| {
        let mutex = Arc::new(std::sync::Mutex::new(()));
        let guard = mutex.lock();
        let waiters: Vec<_> = ["locks 1", "locks 2", "parks"]
            .into_iter()
            .map(|name| {
                let mutex = mutex.clone();
                let (tell, told) = chan::bounded(1);
                // On stacks of their own, so that none keeps another from running in any mode.
                let waiter = Builder::new().name(name).own_stack(1 << 18).spawn(move || {
                    tell.send(std::thread::current()).unwrap();
                    if name == "parks" { park() } else { lock(&mutex) }
                });
                let waiter = waiter.unwrap();
                (waiter, told.recv().unwrap())
            })
            .collect();
        let locking = said_of("locks 1", &["locks 2", "2 goroutines", "a lock of std's"]);
        let parking = said_of("parks", &["a lock of std's"]);
        for (text, called) in [(&locking, "lock"), (&parking, "park")] {
            let mut lines = text.lines().skip_while(|line| !line.starts_with("    in      "));
            assert!(lines.next().is_some_and(|line| line.contains(called)), "{text}");
            // The first frame that is shown is the program's.
            let first = lines.next().unwrap_or_default();
            assert!(first.contains("tests/dumps.rs:"), "{text}");
        }
        assert!(!locking.contains("futex") && !parking.contains("locks"), "{locking}\n{parking}");
        drop(guard);
        for (waiter, thread) in waiters {
            thread.unpark();
            waiter.join().unwrap();
        }
    });
}

/// Where more wait for locks of std's than are looked at one by one, a backtrace stands only for
/// those that came the same way.
#[test]
fn a_backtrace_does_not_stand_for_goroutines_that_came_another_way() {
    #[inline(never)]
    fn here(lock: &std::sync::Mutex<()>) {
        drop(lock.lock());
        std::hint::black_box(1);
    }
    #[inline(never)]
    fn there(lock: &std::sync::Mutex<()>) {
        drop(lock.lock());
        std::hint::black_box(2);
    }
    const COUNT: usize = 3000;
    program(|| {
        let mutex = Arc::new(std::sync::Mutex::new(()));
        let guard = mutex.lock();
        let spawn = line!() + 6;
        let waiters: Vec<_> = (0..COUNT)
            .map(|n| {
                let mutex = mutex.clone();
                // On stacks of their own, so that none keeps another from running in any mode.
                let builder = Builder::new().own_stack(1 << 16);
                builder.spawn(move || if n % 2 == 0 { here(&mutex) } else { there(&mutex) }).unwrap()
            })
            .collect();
        eventually("all wait", || waiting(spawn) == COUNT);
        let text = dump().to_string();
        assert!(text.contains("    in      (not looked up"), "{text}");
        for function in ["here", "there"] {
            // A debug build names a function with its path.
            let names = [format!(" {function}  at "), format!("::{function}  at ")];
            let groups = text.split("\n\n").filter(|group| names.iter().any(|name| group.contains(name)));
            let counts = groups.map(|group| group.split(' ').next().unwrap().parse::<usize>().unwrap());
            let counts: Vec<_> = counts.collect();
            assert!(counts.len() == 1 && counts[0] <= COUNT / 2, "{counts:?} of {function}: {text}");
        }
        drop(guard);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}
