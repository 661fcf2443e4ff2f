//! std's locks between goroutines, and between goroutines and threads: they exclude, wake and time
//! out as between threads.

use narrowboat::chan::bounded;
use narrowboat::{Builder, go, sleep, yield_now};
use narrowboat_testing::{assert_passed, fork, in_child, number_from_env, program, sized, this_binary};
use std::io::Write;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Condvar, LazyLock, Mutex, Once, OnceLock, RwLock};
use std::thread;
use std::time::{Duration, Instant};

const BRIEF: Duration = Duration::from_micros(50);
/// Longer than any wait that ends in time, on a machine that does much else.
const FOR_EVER: Duration = Duration::from_secs(100);

/// Which of several parties are threads.
#[derive(Clone, Copy, Debug)]
enum Mix {
    Goroutines,
    Half,
    OneThread,
    OneGoroutine,
}

const MIXES: [Mix; 4] = [Mix::Goroutines, Mix::Half, Mix::OneThread, Mix::OneGoroutine];

impl Mix {
    fn is_thread(self, party: usize) -> bool {
        match self {
            Mix::Goroutines => false,
            Mix::Half => party % 2 == 1,
            Mix::OneThread => party == 0,
            Mix::OneGoroutine => party != 0,
        }
    }

    /// Runs `f` as so many parties at once, and says what each returned.
    #[track_caller]
    fn crowd<T: Send + 'static>(
        self,
        parties: usize,
        f: impl Fn(usize) -> T + Clone + Send + 'static,
    ) -> Vec<T> {
        program(move || {
            let results: Vec<_> = (0..parties)
                .map(|party| {
                    let (f, (tx, rx)) = (f.clone(), bounded(1));
                    let body = move || {
                        let result = f(party);
                        let _ = tx.send(result);
                    };
                    if self.is_thread(party) {
                        drop(thread::spawn(body))
                    } else {
                        drop(go!(body))
                    }
                    rx
                })
                .collect();
            let result = |(party, rx): (usize, narrowboat::chan::Receiver<T>)| {
                rx.recv_timeout(FOR_EVER).unwrap_or_else(|e| panic!("{self:?}, party {party}: {e}"))
            };
            results.into_iter().enumerate().map(result).collect()
        })
    }
}

/// Parks somehow.
fn pause(how: usize) {
    match how % 4 {
        0 => sleep(BRIEF),
        1 => yield_now(),
        2 => {
            let (tx, rx) = bounded(0);
            go!(move || tx.send(()));
            rx.recv().unwrap();
        }
        _ => thread::park_timeout(BRIEF),
    }
}

/// Fails if two are inside at once.
#[derive(Default)]
struct Room(AtomicBool);

impl Room {
    fn visit(&self, f: impl FnOnce()) {
        assert!(!self.0.swap(true, Ordering::Relaxed), "two at once");
        f();
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn a_mutex_excludes_across_parks() {
    for mix in MIXES {
        let shared = Arc::new((Mutex::new(0), Room::default()));
        let rounds = sized(50, 20);
        let held = shared.clone();
        mix.crowd(12, move |party| {
            for round in 0..rounds {
                let mut count = held.0.lock().unwrap();
                held.1.visit(|| pause(party + round));
                *count += 1;
                drop(count);
                if let Ok(mut count) = held.0.try_lock() {
                    held.1.visit(yield_now);
                    *count += 1000;
                }
            }
        });
        assert_eq!(*shared.0.lock().unwrap() % 1000, 12 * rounds % 1000);
    }
}

#[test]
fn an_rwlock_admits_readers_or_one_writer() {
    for mix in MIXES {
        let shared = Arc::new((RwLock::new((0, 0)), Room::default()));
        let rounds = sized(50, 20);
        let held = shared.clone();
        mix.crowd(12, move |party| {
            for round in 0..rounds {
                if party % 3 == 0 {
                    let mut pair = held.0.write().unwrap();
                    pair.0 += 1;
                    held.1.visit(|| pause(party + round));
                    pair.1 += 1;
                } else {
                    let pair = held.0.read().unwrap();
                    pause(party + round);
                    assert_eq!(pair.0, pair.1);
                }
            }
        });
        assert_eq!(*shared.0.read().unwrap(), (4 * rounds, 4 * rounds));
    }
}

#[test]
fn a_condvar_wakes_one_or_all() {
    for mix in MIXES {
        // The parties take turns in a circle, each woken among all by its turn.
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let rounds = sized(30, 10);
        mix.crowd(6, move |party| {
            for round in 0..rounds {
                let turn = shared.0.lock().unwrap();
                let mine = 6 * round + party;
                let mut turn = shared.1.wait_while(turn, |turn| *turn != mine).unwrap();
                pause(round);
                *turn += 1;
                drop(turn);
                shared.1.notify_all();
            }
        });
        // Tokens, each for one of those that wait.
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let taken: usize = mix
            .crowd(8, move |party| {
                let mut taken = 0;
                for round in 0..rounds {
                    if party < 4 {
                        pause(round);
                        *shared.0.lock().unwrap() += 1;
                        shared.1.notify_one();
                    } else {
                        let mut tokens = shared.0.lock().unwrap();
                        while *tokens == 0 {
                            tokens = shared.1.wait(tokens).unwrap();
                        }
                        *tokens -= 1;
                        taken += 1;
                    }
                }
                taken
            })
            .iter()
            .sum();
        assert_eq!(taken, 4 * rounds);
    }
}

#[test]
fn waits_time_out_and_not_before_their_time() {
    const SPAN: Duration = Duration::from_millis(15);
    for mix in MIXES {
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let receiver = Arc::new(Mutex::new(mpsc::channel::<()>()));
        mix.crowd(8, move |party| {
            let start = Instant::now();
            match party % 4 {
                0 => {
                    let guard = shared.0.lock().unwrap();
                    let (guard, outcome) = shared.1.wait_timeout_while(guard, SPAN, |ready| !*ready).unwrap();
                    assert!(outcome.timed_out() && !*guard);
                }
                1 => {
                    while start.elapsed() < SPAN {
                        thread::park_timeout(SPAN.saturating_sub(start.elapsed()));
                    }
                }
                2 => {
                    let channel = receiver.lock().unwrap();
                    assert_eq!(channel.1.recv_timeout(SPAN), Err(RecvTimeoutError::Timeout));
                }
                _ => {
                    // In time for a notification that comes.
                    let pair = Arc::new((Mutex::new(false), Condvar::new()));
                    let other = pair.clone();
                    go!(move || {
                        sleep(SPAN);
                        *other.0.lock().unwrap() = true;
                        other.1.notify_one();
                    });
                    let guard = pair.0.lock().unwrap();
                    let outcome = pair.1.wait_timeout_while(guard, FOR_EVER, |set| !*set).unwrap().1;
                    assert!(!outcome.timed_out());
                }
            }
            assert!(start.elapsed() >= SPAN, "party {party}: {:?}", start.elapsed());
        });
    }
}

#[test]
fn what_is_made_once_is_made_by_one_that_parks() {
    for mix in MIXES {
        type Lazy = LazyLock<usize, Box<dyn FnOnce() -> usize + Send>>;
        let made = Arc::new(AtomicUsize::new(0));
        let make = {
            let made = made.clone();
            move |how| {
                pause(how);
                sleep(Duration::from_millis(2));
                made.fetch_add(1, Ordering::Relaxed);
                7
            }
        };
        let lazy: Arc<Lazy> = Arc::new(LazyLock::new(Box::new({
            let make = make.clone();
            move || make(0)
        })));
        let shared = Arc::new((Once::new(), OnceLock::new(), lazy));
        let seen = mix.crowd(30, move |party| {
            shared.0.call_once(|| assert_eq!(make(party), 7));
            assert!(shared.0.is_completed());
            shared.0.wait();
            *shared.1.get_or_init(|| make(party)) + **shared.2 + shared.1.wait()
        });
        assert_eq!((seen, made.load(Ordering::Relaxed)), (vec![21; 30], 3));
    }
}

#[test]
fn an_initialiser_that_panics_leaves_another_to_it() {
    for mix in MIXES {
        let shared = Arc::new((Once::new(), OnceLock::new(), AtomicUsize::new(0), AtomicUsize::new(0)));
        let seen = mix.crowd(12, move |_| {
            let tried = std::panic::catch_unwind(|| {
                *shared.1.get_or_init(|| {
                    pause(1);
                    if shared.2.fetch_add(1, Ordering::Relaxed) < 5 {
                        resume_unwind(Box::new(()));
                    }
                    9
                })
            });
            let forced = || {
                let mut poisoned = false;
                shared.0.call_once_force(|state| {
                    pause(2);
                    poisoned = state.is_poisoned();
                    if shared.3.fetch_add(1, Ordering::Relaxed) < 3 {
                        resume_unwind(Box::new(()));
                    }
                });
                poisoned
            };
            let forced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(forced));
            (tried.ok(), forced.ok())
        });
        assert_eq!(seen.iter().filter(|(tried, _)| tried.is_none()).count(), 5, "{seen:?}");
        assert_eq!(seen.iter().filter(|(_, forced)| forced.is_none()).count(), 3, "{seen:?}");
        assert_eq!(seen.iter().filter(|(_, forced)| *forced == Some(true)).count(), 1, "{seen:?}");
    }
}

#[test]
fn a_barrier_lets_all_go_at_once() {
    for mix in MIXES {
        let shared = Arc::new((Barrier::new(10), AtomicUsize::new(0)));
        let rounds = sized(30, 10);
        let leaders = mix.crowd(10, move |party| {
            let mut led = 0;
            for round in 0..rounds {
                pause(party + round);
                shared.1.fetch_add(1, Ordering::Relaxed);
                led += usize::from(shared.0.wait().is_leader());
                assert!(shared.1.load(Ordering::Relaxed) >= 10 * (round + 1));
                shared.0.wait();
            }
            led
        });
        assert_eq!(leaders.iter().sum::<usize>(), rounds);
    }
}

#[test]
fn park_waits_for_ones_own_token() {
    for mix in MIXES {
        let handles: Arc<Vec<OnceLock<thread::Thread>>> = Arc::new((0..8).map(|_| OnceLock::new()).collect());
        let token = Arc::new(AtomicUsize::new(0));
        let rounds = sized(50, 20);
        mix.crowd(8, move |party| {
            // A goroutine keeps its token across parks of other kinds. A thread's serves for those too.
            thread::current().unpark();
            if !mix.is_thread(party) {
                (0..4).for_each(pause_but_not_in_std);
            }
            thread::park();
            handles[party].set(thread::current()).unwrap();
            let next = handles[(party + 1) % 8].wait();
            for round in 0..rounds {
                while token.load(Ordering::Acquire) != 8 * round + party {
                    thread::park();
                }
                token.fetch_add(1, Ordering::Release);
                next.unpark();
                pause_but_not_in_std(round);
            }
        });
    }
    fn pause_but_not_in_std(how: usize) {
        pause(how % 3);
    }
}

#[test]
fn threads_are_waited_for() {
    for mix in MIXES {
        mix.crowd(8, |party| {
            assert_eq!(thread::spawn(move || 2 * party).join().unwrap(), 2 * party);
            assert!(thread::spawn(|| resume_unwind(Box::new(()))).join().is_err());
            // Their scope waits by `park`, which lends the stack.
            let mut numbers = [party; 3];
            let total = AtomicUsize::new(0);
            thread::scope(|scope| {
                for number in &mut numbers {
                    let total = &total;
                    scope.spawn(move || {
                        thread::sleep(Duration::from_millis(1));
                        *number += 1;
                        total.fetch_add(*number, Ordering::Relaxed);
                    });
                }
            });
            assert_eq!((numbers, total.into_inner()), ([party + 1; 3], 3 * (party + 1)));
        });
    }
}

#[test]
fn a_thread_that_waits_for_a_goroutine_can_be_joined() {
    for mix in MIXES {
        let answers = mix.crowd(8, |party| {
            let (tx, rx) = bounded(0);
            let thread = thread::spawn(move || rx.recv().unwrap());
            go!(move || tx.send(party).unwrap());
            thread.join().unwrap()
        });
        assert!(answers.into_iter().eq(0..8));
    }
}

#[test]
fn messages_of_std_arrive_between_goroutines_and_threads() {
    // Not between goroutines of one processor, which are one thread to std's channels.
    let bounds = [None, Some(0), Some(3)];
    for (mix, bound) in
        [Mix::OneThread, Mix::OneGoroutine].into_iter().flat_map(|mix| bounds.map(|b| (mix, b)))
    {
        let rounds = sized(100, 40);
        let (tx, full, rx) = match bound {
            None => {
                let (tx, rx) = mpsc::channel();
                (Some(tx), None, rx)
            }
            Some(bound) => {
                let (tx, rx) = mpsc::sync_channel(bound);
                (None, Some(tx), rx)
            }
        };
        let ends = Arc::new(Mutex::new(Some((tx, full))));
        let receiver = Arc::new(Mutex::new(Some(rx)));
        let sums = mix.crowd(6, move |party| {
            if party == 0 {
                let rx: mpsc::Receiver<usize> = receiver.lock().unwrap().take().unwrap();
                return (0..5 * rounds).map(|_| rx.recv_timeout(FOR_EVER).expect("is sent")).sum();
            }
            let (tx, full) = ends.lock().unwrap().clone().unwrap();
            for round in 0..rounds {
                pause(round);
                match (&tx, &full) {
                    (Some(tx), _) => tx.send(1).unwrap(),
                    (_, Some(full)) => full.send(1).unwrap(),
                    _ => unreachable!("it is one of them"),
                }
            }
            0
        });
        assert_eq!(sums.iter().sum::<usize>(), 5 * rounds);
    }
}

#[test]
fn a_panic_poisons_what_its_own_goroutine_held() {
    struct Parks;
    impl Drop for Parks {
        fn drop(&mut self) {
            (0..3).for_each(pause);
        }
    }
    for mix in MIXES {
        let locks = Arc::new((Mutex::new(0), RwLock::new(0), Mutex::new(0)));
        let held = locks.clone();
        mix.crowd(16, move |party| {
            if party % 2 == 0 {
                for round in 0..10 {
                    let mut other = held.2.lock().expect("that of those that do not panic");
                    pause(round);
                    *other += 1;
                }
            } else {
                let both = std::panic::AssertUnwindSafe(&*held);
                let caught = std::panic::catch_unwind(move || {
                    let _write = both.0.1.write();
                    let _guard = both.0.0.lock();
                    let _parks = Parks;
                    resume_unwind(Box::new(()));
                });
                assert!(caught.is_err());
                assert!(!thread::panicking());
            }
        });
        assert!(locks.0.is_poisoned() && locks.1.is_poisoned() && !locks.2.is_poisoned());
        assert_eq!(*locks.2.lock().unwrap(), 80);
        locks.0.clear_poison();
        assert!(locks.0.lock().is_ok());
    }
}

#[test]
fn child_prints_under_the_lock_of_stdout() {
    let Some(output) = in_child("child_prints_under_the_lock_of_stdout") else {
        println!();
        Mix::Half.crowd(40, |party| {
            for round in 0..5 {
                let mut out = std::io::stdout().lock();
                write!(out, "<{party}").unwrap();
                pause(party + round);
                write!(out, " {round} ").unwrap();
                // The lock is the goroutine's, also when it takes it again.
                print!("{party}");
                pause(party + round + 1);
                writeln!(out, ">").unwrap();
            }
        });
        return;
    };
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains(['<', '>'])).collect();
    assert_eq!(lines.len(), 200, "{text}");
    for line in lines {
        let words: Vec<_> = line.trim_matches(['<', '>']).split(' ').collect();
        assert!(words.len() == 3 && words[0] == words[2] && line.starts_with('<'), "{line:?}");
    }
}

#[test]
fn child_names_a_deadlock_on_locks_of_std() {
    let Some(output) = in_child("child_names_a_deadlock_on_locks_of_std") else {
        // In a fork, where no thread of the harness might wake something. Nothing of the runtime
        // has started here, and the other thread waits for this one without a lock.
        let (status, text) = fork(|| narrowboat::run(wait_for_each_other));
        assert_eq!(status.code(), Some(2), "{text}");
        for part in [
            "fatal: all goroutines are asleep - deadlock!",
            "'left'",
            "'right'",
            "'forgotten'",
            "waiting for a lock of std's, or an unpark",
        ] {
            assert!(text.contains(part), "{part:?} is said: {text}");
        }
        return;
    };
    assert_passed(&output, 1);
}

fn wait_for_each_other() {
    let pair = Arc::new((Mutex::new(()), Mutex::new(()), Barrier::new(2)));
    let other = pair.clone();
    let named = |name: &str| Builder::new().name(name);
    let left = named("left").spawn(move || {
        let _first = other.0.lock().unwrap();
        other.2.wait();
        drop(other.1.lock());
    });
    let right = named("right").spawn(move || {
        let _second = pair.1.lock().unwrap();
        pair.2.wait();
        drop(pair.0.lock());
    });
    let forgotten = named("forgotten").spawn(thread::park);
    for one in [left, right, forgotten] {
        let _ = one.unwrap().join();
    }
}

/// All tests of this binary but these, with so many processors.
fn all_with_processors(processors: &str) {
    if number_from_env("NARROWBOAT_PROCESSORS").is_some() {
        return;
    }
    let mut command = this_binary();
    command.args(["--skip", "child_", "--skip", "processors_", "--test-threads=4"]);
    let output = command.env("NARROWBOAT_PROCESSORS", processors).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "with {processors}: {}\n{}", said[0], said[1]);
}

#[test]
fn processors_one() {
    all_with_processors("1");
}

#[test]
fn processors_several() {
    all_with_processors("8");
}
