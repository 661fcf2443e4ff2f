//! Profiles of what computes: over HTTP, and as Go's tool reads them.

mod client;

use client::{Sample, get, pprof, profile};
use narrowboat::chan::{Receiver, bounded};
use narrowboat::diag::{Window, serve, set_block_profile_rate, set_mutex_profile_fraction};
use narrowboat::sync::Mutex;
use narrowboat::{Builder, Labels, blocking, go, labels, run, sleep, yield_now};
use narrowboat_testing::cpu_time_of_thread as cpu_time;
use narrowboat_testing::{assert_passed, in_child, program, tool};
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

fn window() -> Window {
    serve("127.0.0.1:0").unwrap()
}

/// Computes for so long, in one turn. Adds what it took to `burnt`, in nanoseconds.
#[inline(never)]
fn burn(length: Duration, burnt: &AtomicU64) {
    let begun = cpu_time();
    let mut sum = 0u64;
    while cpu_time() - begun < length {
        for n in 0..1000 {
            sum = black_box(sum.wrapping_mul(31).wrapping_add(n));
        }
    }
    burnt.fetch_add((cpu_time() - begun).as_nanos() as u64, Ordering::Relaxed);
}

#[inline(never)]
fn burns_little(burnt: &AtomicU64) {
    burn(Duration::from_millis(3), burnt);
    black_box(());
}

#[inline(never)]
fn burns_much(burnt: &AtomicU64) {
    burn(Duration::from_millis(9), burnt);
    black_box(());
}

/// Work that goes on until this is dropped.
struct Burning(Arc<AtomicBool>);

impl Drop for Burning {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Burning {
    fn new() -> Burning {
        Burning(Arc::default())
    }

    fn go(&self, mut turn: impl FnMut() + Send + 'static) {
        let end = self.0.clone();
        go!(move || {
            while !end.load(Ordering::Relaxed) {
                turn();
                yield_now();
            }
        });
    }
}

fn has(sample: &Sample, function: &str) -> bool {
    sample.frames.iter().any(|frame| frame.0.contains(function))
}

fn sum(samples: &[Sample], of: impl Fn(&Sample) -> bool) -> f64 {
    samples.iter().filter(|sample| of(sample)).map(|sample| sample.value as f64).sum()
}

#[test]
fn a_cpu_profile_has_the_shares_the_labels_and_the_lines_of_what_computes() {
    let Some(output) = in_child("a_cpu_profile_has_the_shares_the_labels_and_the_lines_of_what_computes")
    else {
        return run(|| {
            let window = window();
            let at = window.local_addr();
            let burning = Burning::new();
            let burnt: [&'static AtomicU64; 2] = [(); 2].map(|()| &*Box::leak(Box::default()));
            labels!(work = "little" => { burning.go(move || burns_little(burnt[0])) });
            labels!(work = "much" => { burning.go(move || burns_much(burnt[1])) });
            let before = burnt.map(|burnt| burnt.load(Ordering::Relaxed));
            let asked = go!(move || get(at, "/debug/pprof/profile?seconds=3&hz=250"));
            // Names are looked up after that, while it burns on.
            sleep(Duration::from_secs(3));
            let burnt = [0, 1].map(|at| (burnt[at].load(Ordering::Relaxed) - before[at]) as f64);
            let answer = asked.join().unwrap();
            drop(burning);
            let samples = client::samples(&client::unpacked(&answer.body));
            let seen = ["burns_little", "burns_much"].map(|name| sum(&samples, |sample| has(sample, name)));
            let [known, found] = [burnt, seen].map(|[little, much]| little / (little + much));
            println!(
                "share: {known:.3} known, {found:.3} found; {:.3} s of {:.3} s",
                (seen[0] + seen[1]) / 1e9,
                (burnt[0] + burnt[1]) / 1e9
            );
            assert!((known - found).abs() < 0.1, "{known} {found}");
            let all = (seen[0] + seen[1]) / (burnt[0] + burnt[1]);
            assert!((0.7..1.3).contains(&all), "{all} of the time that was used");
            let little = |sample: &&Sample| has(sample, "burns_little");
            for sample in samples.iter().filter(little) {
                assert!(sample.labels.contains(&("work".into(), "little".into())), "{:?}", sample.labels);
                let site = sample.labels.iter().find(|(key, _)| key == "spawned at").unwrap();
                assert!(site.1.contains("profiles.rs:"), "{site:?}");
            }
            // The whole way from the loop to the goroutine's closure.
            let ways = samples.iter().filter(little).filter(|sample| {
                let at = |name: &str| sample.frames.iter().position(|frame| frame.0.contains(name));
                at("burn") <= at("burns_little")
                    && sample.frames.iter().all(|frame| !frame.0.contains("task::run"))
            });
            assert!(ways.count() > 0);
            let line = samples
                .iter()
                .flat_map(|sample| &sample.frames)
                .find(|frame| frame.0.contains("burns_little"));
            let line = line.unwrap();
            assert!(line.1.ends_with("tests/profiles.rs") && line.2 > 0, "{line:?}");

            if tool("go").is_some() {
                let top = pprof(&answer.body, &["-top", "-cum"]);
                assert!(top.contains("Type: cpu") && top.contains("burns_much"), "{top}");
                let traces = pprof(&answer.body, &["-traces", "-lines"]);
                assert!(traces.contains("work:  much") && traces.contains("tests/profiles.rs:"), "{traces}");
            }
            window.close();
        });
    };
    assert_passed(&output, 1);
    print!("{}", String::from_utf8_lossy(&output.stdout));
}

/// Switches, copies of stacks and spawns, at a thousand samples a second: none may crash, and nearly
/// all that are of goroutines lead to the goroutine's closure.
#[test]
fn a_sample_is_right_in_the_middle_of_a_switch() {
    program(|| {
        let window = window();
        let at = window.local_addr();
        let burning = Burning::new();
        for n in 0..200 {
            labels!(work = "switches" => {
                burning.go(move || {
                    let mut deep = [n; 64];
                    switches(&mut deep);
                })
            });
        }
        burning.go(|| {
            (0..20).for_each(|_| drop(go!(|| black_box(labels!(child = 1 => { Labels::current() })))))
        });
        let samples = loop {
            let answer = get(at, "/debug/pprof/profile?seconds=2&hz=1000");
            match answer.status {
                200 => break client::samples(&client::unpacked(&answer.body)),
                // Another test is at it.
                409 => sleep(Duration::from_millis(50)),
                other => panic!("{other}"),
            }
        };
        drop(burning);
        let of_goroutine = |sample: &Sample| sample.labels.contains(&("work".into(), "switches".into()));
        let all = sum(&samples, of_goroutine);
        let ours = |sample: &Sample| sample.frames.iter().any(|frame| frame.1.ends_with("tests/profiles.rs"));
        let whole = sum(&samples, |sample| of_goroutine(sample) && ours(sample));
        for sample in samples.iter().filter(|sample| of_goroutine(sample) && !ours(sample)) {
            let names: Vec<_> = sample.frames.iter().map(|frame| &*frame.0).collect();
            println!("{} ms elsewhere: {}", sample.value / 1_000_000, names.join(" < "));
        }
        assert!(all > 0.0 && whole / all > 0.8, "{whole} of {all}");
        window.close();
    });
}

#[inline(never)]
fn switches(deep: &mut [i32; 64]) {
    for _ in 0..20 {
        yield_now();
        black_box(&mut *deep);
    }
}

#[test]
fn one_profile_is_taken_at_a_time() {
    program(|| {
        let window = window();
        let at = window.local_addr();
        let first = go!(move || get(at, "/debug/pprof/profile?seconds=2").status);
        let second = go!(move || get(at, "/debug/pprof/profile?seconds=2").status);
        let mut both = [first.join().unwrap(), second.join().unwrap()];
        both.sort_unstable();
        // Another test may have come first.
        assert!(both == [200, 409] || both == [409, 409], "{both:?}");
        assert_eq!(get(at, "/debug/pprof/profile?seconds=0").status, 400);
        assert_eq!(get(at, "/debug/pprof/profile?hz=5000").status, 400);
        window.close();
    });
}

#[test]
fn a_thread_of_the_pool_is_shown_by_its_name() {
    let Some(output) = in_child("a_thread_of_the_pool_is_shown_by_its_name") else {
        return run(|| {
            let window = window();
            let end = Arc::new(AtomicBool::new(false));
            let until = end.clone();
            let work = go!(move || blocking(move || {
                while !until.load(Ordering::Relaxed) {
                    burn(Duration::from_millis(5), &AtomicU64::new(0));
                }
            }));
            let samples = profile(window.local_addr(), "/debug/pprof/profile?seconds=1");
            end.store(true, Ordering::Relaxed);
            work.join().unwrap();
            let pool = ("thread".into(), "narrowboat-bloc".into());
            assert!(samples.iter().any(|sample| sample.labels.contains(&pool) && has(sample, "burn")));
            window.close();
        });
    };
    assert_passed(&output, 1);
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handler(_signal: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_handler_of_the_programs_own_gets_its_signals() {
    let Some(output) = in_child("a_handler_of_the_programs_own_gets_its_signals") else {
        let raise = || {
            // SAFETY: no pointers. The handler only counts.
            unsafe { libc::raise(libc::SIGPROF) };
            HANDLED.load(Ordering::Relaxed)
        };
        // SAFETY: the handler only counts.
        unsafe { libc::signal(libc::SIGPROF, handler as *const () as libc::sighandler_t) };
        return run(move || {
            let window = window();
            let burning = Burning::new();
            burning.go(|| burn(Duration::from_millis(1), &AtomicU64::new(0)));
            let at = window.local_addr();
            let profile = go!(move || profile(at, "/debug/pprof/profile?seconds=2"));
            sleep(Duration::from_millis(500));
            // Ours do not go there.
            assert_eq!(raise(), 1);
            assert!(!profile.join().unwrap().is_empty());
            assert_eq!(raise(), 2);
            window.close();
        });
    };
    assert_passed(&output, 1);
}

#[test]
fn a_goroutine_with_a_stack_of_its_own_is_walked_too() {
    let Some(output) = in_child("a_goroutine_with_a_stack_of_its_own_is_walked_too") else {
        return run(|| {
            let window = window();
            let end = Arc::new(AtomicBool::new(false));
            let until = end.clone();
            let own = Builder::new().own_stack(1 << 20).spawn(move || {
                while !until.load(Ordering::Relaxed) {
                    narrowboat::stack::on_system_stack(|| burns_little(&AtomicU64::new(0)));
                    burns_much(&AtomicU64::new(0));
                    yield_now();
                }
            });
            let address: SocketAddr = window.local_addr();
            let samples = profile(address, "/debug/pprof/profile?seconds=2");
            end.store(true, Ordering::Relaxed);
            own.unwrap().join().unwrap();
            for function in ["burns_little", "burns_much"] {
                let found = samples.iter().find(|sample| has(sample, function)).expect(function);
                assert!(found.labels.iter().any(|(key, _)| key == "spawned at"), "{function}");
            }
            window.close();
        });
    };
    assert_passed(&output, 1);
}

#[inline(never)]
fn waits_for_a_message(messages: &Receiver<()>) {
    let _ = messages.recv();
    black_box(());
}

#[inline(never)]
fn waits_for_a_lock(locked: &Mutex<()>) {
    drop(locked.lock());
    black_box(());
}

/// Until another goroutine has waited for it for a while.
#[inline(never)]
fn holds_a_lock(locked: &Arc<Mutex<()>>) {
    let guard = locked.lock();
    let (begun, begins) = bounded(1);
    let other = locked.clone();
    let waiter = go!(move || {
        begun.send(()).unwrap();
        waits_for_a_lock(&other);
    });
    begins.recv().unwrap();
    sleep(Duration::from_millis(60));
    drop(guard);
    waiter.join().unwrap();
}

/// Milliseconds in a profile below a function.
fn milliseconds(samples: &[Sample], function: &str) -> f64 {
    sum(samples, |sample| has(sample, function)) / 1e6
}

#[test]
fn waits_are_counted_where_they_wait_and_locks_where_they_are_released() {
    let Some(output) = in_child("waits_are_counted_where_they_wait_and_locks_where_they_are_released") else {
        return run(|| {
            let window = window();
            let at = window.local_addr();
            // Off, as nothing has switched them on.
            waits();
            assert!(profile(at, "/debug/pprof/block").is_empty());
            assert!(profile(at, "/debug/pprof/mutex").is_empty());
            set_block_profile_rate(Duration::from_millis(5));
            set_mutex_profile_fraction(1);
            waits();
            let block = profile(at, "/debug/pprof/block");
            let message = milliseconds(&block, "waits_for_a_message");
            let lock = milliseconds(&block, "waits_for_a_lock");
            assert!((40.0..2000.0).contains(&message), "{message} ms");
            assert!((20.0..2000.0).contains(&lock), "{lock} ms");
            let mutex = profile(at, "/debug/pprof/mutex");
            let held = milliseconds(&mutex, "holds_a_lock");
            assert!((20.0..2000.0).contains(&held), "{held} ms");
            assert_eq!(milliseconds(&mutex, "waits_for_a_message"), 0.0);
            if tool("go").is_some() {
                let packed = get(at, "/debug/pprof/mutex").body;
                let traces = pprof(&packed, &["-traces", "-lines"]);
                assert!(traces.contains("Type: delay") && traces.contains("holds_a_lock"), "{traces}");
                assert!(traces.contains("tests/profiles.rs:"), "{traces}");
            }

            // Of the time of a request alone, and off again.
            set_block_profile_rate(Duration::ZERO);
            set_mutex_profile_fraction(0);
            let asked = go!(move || profile(at, "/debug/pprof/block?seconds=1"));
            sleep(Duration::from_millis(300));
            waits();
            let message = milliseconds(&asked.join().unwrap(), "waits_for_a_message");
            assert!((40.0..2000.0).contains(&message), "{message} ms");
            assert_eq!(set_block_profile_rate(Duration::ZERO), Duration::ZERO);

            // A client that ends does not switch it off for another one.
            let short = go!(move || profile(at, "/debug/pprof/block?seconds=1"));
            sleep(Duration::from_millis(300));
            let long = go!(move || profile(at, "/debug/pprof/block?seconds=2"));
            short.join().unwrap();
            waits();
            let message = milliseconds(&long.join().unwrap(), "waits_for_a_message");
            assert!((40.0..2000.0).contains(&message), "{message} ms");
            assert_eq!(set_block_profile_rate(Duration::ZERO), Duration::ZERO);
            window.close();
        });
    };
    assert_passed(&output, 1);
    print!("{}", String::from_utf8_lossy(&output.stdout));
}

/// One wait of each kind.
fn waits() {
    let (tx, rx) = bounded::<()>(0);
    let (begun, begins) = bounded(1);
    let receiver = go!(move || {
        begun.send(()).unwrap();
        waits_for_a_message(&rx);
    });
    begins.recv().unwrap();
    holds_a_lock(&Arc::new(Mutex::new(())));
    tx.send(()).unwrap();
    receiver.join().unwrap();
}

#[test]
fn a_group_that_only_grows_is_shown_as_a_leak() {
    let Some(output) = in_child("a_group_that_only_grows_is_shown_as_a_leak") else {
        return run(|| {
            let window = window();
            let at = window.local_addr();
            let (keep, never) = bounded::<()>(0);
            let (tx, rx) = bounded::<()>(0);
            // Some that wait as long, but whose number stays the same.
            for _ in 0..5 {
                let rx = rx.clone();
                go!(move || {
                    let _ = rx.recv();
                    black_box(());
                });
            }
            let forgets = go!(move || for _ in 0..40 {
                let never = never.clone();
                go!(move || waits_for_a_message(&never));
                sleep(Duration::from_millis(100));
            });
            sleep(Duration::from_millis(500));
            let leaks = profile(at, "/debug/pprof/goroutineleak?seconds=2&wait=1");
            assert!(leaks.len() == 1 && has(&leaks[0], "waits_for_a_message"));
            assert!(leaks[0].value >= 5, "{}", leaks[0].value);
            drop((keep, tx));
            forgets.join().unwrap();
            window.close();
        });
    };
    assert_passed(&output, 1);
}
