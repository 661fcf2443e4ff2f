//! Stacks that were deep once give their memory back, also when nothing else happens any more; and then nothing at all
//! happens. Memory and threads are counted for the whole process, so each body runs in a process of its own.

use narrowboat::{Builder, Config, chan, go};
use narrowboat_testing::{assert_passed, in_child_with, memory};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// Runs the calling test again in a new process; there it returns false, and the caller goes on.
#[track_caller]
fn in_a_process_of_its_own(test: &str) -> bool {
    // Stacks of 256 KiB, which goroutines have of their own, are never deep. And a report of a
    // goroutine that keeps its processor, on a busy machine, leaves memory of its own behind.
    let only_stacks = [("NARROWBOAT_STACKS", "shared"), ("NARROWBOAT_STUCK", "0")];
    let Some(output) = in_child_with(test, &only_stacks) else { return false };
    assert_passed(&output, 1);
    true
}

/// Whether the runtime is told to give everything back at every park, which leaves nothing to see here.
fn stressed() -> bool {
    std::env::var_os("NARROWBOAT_STRESS").is_some_and(|stress| stress == "scavenge")
}

fn resident() -> usize {
    memory("VmRSS")
}

/// Recurses until `bytes` of stack are in use, and calls `f` there.
fn deep(bytes: usize, f: &dyn Fn()) -> usize {
    #[inline(never)]
    fn below(end: usize, f: &dyn Fn()) -> usize {
        let frame = black_box([1u8; 1000]);
        if frame.as_ptr().addr() > end {
            return below(end, f) + usize::from(frame[end % frame.len()]);
        }
        f();
        0
    }
    let start = black_box(0u8);
    below(std::ptr::from_ref(&start).addr() - bytes, f)
}

/// Waits, on a plain thread, without a call of the runtime.
#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: {} KiB resident", resident() >> 10);
        thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a thousand goroutines that do something and then sit in a receive; returns when all do, with what holds them there.
fn a_thousand(first: impl Fn() + Send + Sync + 'static) -> chan::Sender<()> {
    const N: usize = 1000;
    let (hold, held) = chan::bounded::<()>(0);
    let ready = Arc::new(AtomicUsize::new(0));
    let first = Arc::new(first);
    for _ in 0..N {
        let (held, ready, first) = (held.clone(), ready.clone(), first.clone());
        go!(move || {
            first();
            ready.fetch_add(1, Ordering::Relaxed);
            let _ = held.recv();
        });
    }
    while ready.load(Ordering::Relaxed) < N {
        thread::sleep(Duration::from_millis(1));
    }
    hold
}

/// How often each thread but the calling one has gone off its CPU. A thread that runs at all sleeps again at the end.
fn switches() -> Vec<(String, String)> {
    let me = std::fs::read_link("/proc/thread-self").unwrap();
    let me = me.file_name().unwrap().to_owned();
    let threads = std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap());
    let switches = |path: &Path| -> String {
        let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
        status.lines().filter(|line| line.contains("ctxt_switches")).collect()
    };
    let others = threads.filter(|thread| thread.file_name() != me);
    let mut seen: Vec<_> =
        others.map(|t| (t.file_name().into_string().unwrap(), switches(&t.path()))).collect();
    seen.sort();
    seen
}

/// Passes when no other thread of the process has run for a second.
#[track_caller]
fn nothing_happens_any_more() {
    eventually("a second in which no thread runs", || {
        let before = switches();
        thread::sleep(Duration::from_secs(1));
        switches() == before
    });
}

#[test]
fn a_thousand_that_were_deep_once_cost_what_a_thousand_that_never_were_cost() {
    if in_a_process_of_its_own("a_thousand_that_were_deep_once_cost_what_a_thousand_that_never_were_cost") {
        return;
    }
    go!(|| ()).join().unwrap();
    let before = resident();
    let _shallow = a_thousand(|| ());
    let cost = resident() - before;

    let before = resident();
    let _deep = a_thousand(|| {
        deep(MIB, &|| ());
    });
    assert!(stressed() || memory("VmHWM") > before + 16 * MIB, "they were never deep");
    eventually("the cost of those that never were deep", || resident() <= before + cost);
    nothing_happens_any_more();
}

#[test]
fn a_thousand_that_parked_deep_once_cost_little_more() {
    if in_a_process_of_its_own("a_thousand_that_parked_deep_once_cost_little_more") {
        return;
    }
    go!(|| ()).join().unwrap();
    let before = resident();
    let _deep = a_thousand(|| {
        deep(MIB / 2, &|| narrowboat::sleep(Duration::from_millis(100)));
    });
    assert!(memory("VmHWM") > before + 100 * MIB, "they never parked deep");
    // Some had slots of their own by then, which stay warm.
    eventually("16 KiB for each", || resident() <= before + 16 * MIB);
}

#[test]
fn a_resident_goroutine_does_not_keep_the_image_of_a_deep_park() {
    if in_a_process_of_its_own("a_resident_goroutine_does_not_keep_the_image_of_a_deep_park") {
        return;
    }
    Config::new().workers(1).processors(1).stack_slots(1).start().unwrap();
    let (wake, woken) = chan::bounded::<()>(0);
    let (ask, asked) = chan::bounded::<()>(0);
    let before = resident();
    go!(move || {
        deep(32 * MIB, &|| woken.recv().unwrap());
        asked.recv().unwrap();
    });
    // Takes the slot, and so has the other copied out.
    go!(|| ()).join().unwrap();
    assert!(resident() > before + 32 * MIB);
    wake.send(()).unwrap();
    // From here on it parks shallow, and none wants its place.
    eventually("neither its stack nor its image is kept", || resident() < before + 2 * MIB);
    ask.send(()).unwrap();
}

#[test]
fn own_stacks_and_stacks_of_ended_goroutines_are_given_back_too() {
    if in_a_process_of_its_own("own_stacks_and_stacks_of_ended_goroutines_are_given_back_too") {
        return;
    }
    // Code of the runtime is read from its file first.
    go!(|| ()).join().unwrap();
    let (hold, held) = chan::bounded::<()>(0);
    let before = resident();
    let own = Builder::new().own_stack(64 * MIB).spawn(move || {
        let local = black_box([7u8; 4096]);
        deep(32 * MIB, &|| ());
        let _ = held.recv();
        assert_eq!(black_box(&local), &[7; 4096]);
    });
    go!(|| deep(32 * MIB, &|| ())).join().unwrap();
    assert!(memory("VmHWM") > before + 32 * MIB);
    eventually("what they do not need", || resident() < before + 2 * MIB);
    nothing_happens_any_more();
    drop(hold);
    own.unwrap().join().unwrap();
}
