//! Traces of the scheduler, as real programs write them: read back and checked, event by event.
//!
//! The reader refuses what is not well formed: slices that do not nest, arrows that end where none began, names that are given nowhere.

#[path = "../examples/trace_picture/reader.rs"]
mod reader;
use narrowboat::{Builder, Config, chan, go, sleep, trace, yield_now};
use narrowboat_testing::{eventually, in_child, in_child_with, limit_resource, sized, works_in_fork};
use reader::{Slice, Trace};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than what is kept of it.
const LONG_NAME: &str = "a sender with a name that is longer than the four events which hold names";

/// A place for a trace, free of what an earlier run has left.
fn place(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("narrowboat-{}-{name}.perfetto-trace", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

#[track_caller]
fn read(path: &Path) -> Trace {
    let file = std::fs::read(path).unwrap();
    let trace = Trace::read(&file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let _ = std::fs::remove_file(path);
    assert_eq!(trace.left_over, 0, "the last packet is whole");
    trace
}

fn turns<'a>(trace: &'a Trace, name: &'a str) -> Vec<&'a Slice> {
    trace.named(name).filter(|slice| !slice.instant).collect()
}

fn then(slice: &Slice) -> &str {
    slice.texts.get("then").map_or("", String::as_str)
}

/// A goroutine that gives way, waits for a message and ends, woken by one with a name, both spawned by the main one.
fn story() {
    narrowboat::run(|| {
        let (tx, rx) = chan::bounded::<u32>(0);
        let receiver = Builder::new()
            .name("the one that receives")
            .spawn(move || {
                yield_now();
                rx.recv().unwrap()
            })
            .unwrap();
        let sender = Builder::new()
            .name(LONG_NAME)
            .spawn(move || {
                sleep(Duration::from_millis(5));
                tx.send(1).unwrap();
            })
            .unwrap();
        let thread = std::thread::spawn(|| go!(|| ()).join().unwrap());
        assert_eq!(receiver.join().unwrap(), 1);
        sender.join().unwrap();
        narrowboat::blocking(move || thread.join().unwrap());
    });
}

/// What a trace of the story has to show.
fn check_story(trace: &Trace) {
    let receiver = turns(trace, "the one that receives");
    let number = receiver[0].numbers["goroutine"];
    assert!(trace.tracks[&receiver[0].track].name.starts_with("processor "));
    assert_eq!(receiver[0].numbers.get("first turn"), Some(&1));
    assert!(receiver[0].texts["spawned at"].contains("traces.rs:"), "{:?}", receiver[0]);
    let ends: Vec<&str> = receiver.iter().map(|turn| then(turn)).collect();
    assert_eq!(ends, ["gives way", "waits for a message (receive)", "ends"], "{receiver:#?}");
    assert!(receiver[1].texts["at"].contains("traces.rs:"), "{:?}", receiver[1]);
    assert!(receiver[1].numbers["object"] != 0);
    assert!(receiver.iter().all(|turn| turn.track == receiver[0].track), "it lives on one processor");

    // Its spawn, and its wake-up by the sender, lead to the turns that follow.
    let arrow = |kind: &str| {
        let from = trace.named(kind).find(|slice| slice.numbers.get("goroutine") == Some(&number));
        let from = from.unwrap_or_else(|| panic!("no '{kind}' of goroutine {number}"));
        (from, trace.slices.iter().find(|slice| slice.arrow_to == from.arrow_from).unwrap())
    };
    let (spawn, first) = arrow("spawns");
    assert_eq!(first.begin, receiver[0].begin);
    assert!(spawn.texts["line"].contains("traces.rs:"));
    let (wake, last) = arrow("wakes");
    assert_eq!(last.begin, receiver[2].begin);
    let within =
        |turn: &Slice| turn.track == wake.track && turn.begin <= wake.begin && turn.end >= Some(wake.begin);
    let sender = turns(trace, &LONG_NAME[..64]);
    assert!(sender.iter().any(|turn| within(turn)), "the sender has woken it: {wake:#?} {sender:#?}");
    assert!(sender.iter().any(|turn| then(turn) == "waits for a point in time (sleep)"), "{sender:#?}");
    assert!(trace.named("deadline passes").count() > 0);

    // Workers carry processors while turns are taken there; threads have their own tracks.
    for turn in receiver {
        let name = trace.track_of(turn);
        let carried = trace.named(name).any(|carried| {
            carried.begin <= turn.begin
                && carried.end.is_none_or(|end| Some(end) >= turn.end)
                && trace.track_of(carried).starts_with("worker ")
        });
        assert!(carried, "some worker carried {name} then");
    }
    assert!(trace.named("sleeps").any(|slice| trace.track_of(slice).starts_with("worker ")));
    let group = |slice: &Slice| trace.tracks[&trace.tracks[&slice.track].parent].name.as_str();
    assert!(trace.named("spawns").any(|slice| group(slice) == "threads"), "a plain thread has spawned");
    assert!(trace.named("waits").any(|slice| group(slice) == "threads"));
    assert!(trace.named("goes on").any(|slice| slice.arrow_to.is_some()));
    assert_eq!(trace.named("events lost").count(), 0);
    for (index, slice) in trace.slices.iter().enumerate() {
        // On one track what comes later ends before, or begins after, what it began in.
        let inside = trace.slices[index + 1..].iter().take(50).filter(|other| other.track == slice.track);
        for other in inside.filter(|other| slice.end.is_some_and(|end| other.begin < end)) {
            assert!(other.end <= slice.end, "{slice:?} and {other:?}");
        }
    }
}

#[test]
fn a_trace_of_a_whole_process_has_every_event() {
    let path = place("process");
    let name = "a_trace_of_a_whole_process_has_every_event";
    let Some(output) = in_child_with(name, &[("NARROWBOAT_TRACE", path.to_str().unwrap())]) else {
        return story();
    };
    assert!(output.status.success(), "{output:?}");
    check_story(&read(&path));
}

#[test]
fn a_trace_can_be_begun_and_ended() {
    let name = "a_trace_can_be_begun_and_ended";
    let Some(output) = in_child(name) else {
        let path = place("begun");
        story();
        trace::start(&path).unwrap();
        let again = trace::start("elsewhere").unwrap_err().to_string();
        assert!(again.contains("trace::stop()"), "{again}");
        story();
        let summary = trace::stop().unwrap();
        assert!(summary.events > 20 && summary.lost == 0, "{summary:?}");
        assert_eq!(summary.bytes, path.metadata().unwrap().len());
        check_story(&read(&path));
        let none = trace::stop().unwrap_err().to_string();
        assert!(none.contains("trace::start()"), "{none}");
        // A second one, from a goroutine.
        narrowboat::run(|| {
            let path = place("second");
            trace::start(&path).unwrap();
            go!(yield_now).join().unwrap();
            trace::stop().unwrap();
            let trace = read(&path);
            assert!(trace.slices.iter().any(|slice| then(slice) == "gives way"), "{trace:#?}");
        });
        let nowhere = trace::start("/nowhere/at/all").unwrap_err().to_string();
        assert!(nowhere.contains("'/nowhere/at/all'"), "{nowhere}");
        return;
    };
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn what_is_overwritten_is_counted_in_the_file() {
    let name = "what_is_overwritten_is_counted_in_the_file";
    let path = place("lost");
    let variables = [("NARROWBOAT_TRACE", path.to_str().unwrap()), ("NARROWBOAT_TRACE_BUFFERS", "1")];
    let Some(output) = in_child_with(name, &variables) else {
        return narrowboat::run(|| {
            let yields: Vec<_> =
                (0..4).map(|_| go!(|| (0..sized(200_000, 50_000)).for_each(|_| yield_now()))).collect();
            yields.into_iter().for_each(|goroutine| goroutine.join().unwrap());
            let summary = trace::stop().unwrap();
            println!("lost {}", summary.lost);
            assert!(summary.lost > 0);
        });
    };
    assert!(output.status.success(), "{output:?}");
    let trace = read(&path);
    let lost: u64 = trace.named("events lost").map(|slice| slice.numbers["events"]).sum();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(&format!("lost {lost}\n")), "{lost} in the file, and the program: {said}");
}

#[test]
fn the_flight_recorder_writes_the_last_events_at_a_panic() {
    let name = "the_flight_recorder_writes_the_last_events_at_a_panic";
    let path = place("panic");
    let Some(output) = in_child_with(name, &[("NARROWBOAT_FLIGHT_RECORDER", path.to_str().unwrap())]) else {
        return narrowboat::run(|| {
            (0..20).for_each(|_| go!(yield_now).join().unwrap());
            let unlucky = Builder::new().name("unlucky").spawn(|| {
                yield_now();
                panic!("on purpose");
            });
            assert!(unlucky.unwrap().join().is_err());
            // Said once: the next does not write over it.
            assert!(go!(|| panic!("again")).join().is_err());
        });
    };
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches(path.to_str().unwrap()).count(), 1, "{said}");
    let trace = read(&path);
    let unlucky = turns(&trace, "unlucky");
    assert_eq!(then(unlucky[0]), "gives way");
    assert_eq!(unlucky[1].end, None, "it was in the middle of its turn: {unlucky:?}");
}

#[test]
fn the_flight_recorder_keeps_the_last_events_and_is_written_on_demand() {
    let name = "the_flight_recorder_keeps_the_last_events_and_is_written_on_demand";
    let Some(output) = in_child_with(name, &[("NARROWBOAT_TRACE_BUFFERS", "1")]) else {
        let none = trace::write_recorded("nowhere").unwrap_err().to_string();
        assert!(none.contains("start_recorder") && none.contains("NARROWBOAT_FLIGHT_RECORDER"), "{none}");
        trace::start_recorder().unwrap();
        narrowboat::run(|| {
            // More than there is room for, then something to look for.
            Builder::new().name("early").spawn(yield_now).unwrap().join().unwrap();
            go!(|| (0..10_000).for_each(|_| yield_now())).join().unwrap();
            Builder::new().name("late").spawn(yield_now).unwrap().join().unwrap();
        });
        let path = place("demand");
        let summary = trace::write_recorded(&path).unwrap();
        assert!(summary.events > 100 && summary.lost == 0, "{summary:?}");
        let trace = read(&path);
        assert_eq!(turns(&trace, "late").len(), 2);
        trace::stop_recorder();
        assert!(trace::write_recorded(&path).is_err());
        return;
    };
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_process_that_is_killed_leaves_a_trace_that_can_be_read() {
    let name = "a_process_that_is_killed_leaves_a_trace_that_can_be_read";
    let path = place("killed");
    let Some(output) = in_child_with(name, &[("NARROWBOAT_TRACE", path.to_str().unwrap())]) else {
        return narrowboat::run(|| {
            Builder::new().name("seen").spawn(yield_now).unwrap().join().unwrap();
            sleep(Duration::from_millis(300));
            // SAFETY: ends this process at once.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        });
    };
    assert!(!output.status.success());
    assert_eq!(turns(&read(&path), "seen").len(), 2);
}

#[test]
fn a_fork_does_not_write_into_its_parents_trace() {
    let name = "a_fork_does_not_write_into_its_parents_trace";
    let path = place("fork");
    let Some(output) = in_child_with(name, &[("NARROWBOAT_TRACE", path.to_str().unwrap())]) else {
        story();
        // By way of the exit handlers.
        works_in_fork(|| std::process::exit(0));
        return;
    };
    assert!(output.status.success(), "{output:?}");
    check_story(&read(&path));
}

#[test]
fn a_full_disk_ends_the_trace_and_not_the_program() {
    let name = "a_full_disk_ends_the_trace_and_not_the_program";
    let Some(output) = in_child(name) else {
        // What this file system takes, then no more: the limit on the size of files.
        let path = place("full");
        // Without the signal, a write beyond the limit fails as on a full disk.
        // SAFETY: ignoring a signal needs no handler.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        limit_resource(libc::RLIMIT_FSIZE, 16 << 10);
        trace::start(&path).unwrap();
        narrowboat::run(|| go!(|| (0..2_000).for_each(|_| yield_now())).join().unwrap());
        let error = trace::stop().unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains("bytes"), "{error}");
        // What is there is whole.
        read(&path);
        return;
    };
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_configuration_can_ask_for_a_trace() {
    let name = "the_configuration_can_ask_for_a_trace";
    let path = place("config");
    let Some(output) = in_child_with(name, &[("TRACE_GOES_TO", path.to_str().unwrap())]) else {
        Config::new().trace(std::env::var("TRACE_GOES_TO").unwrap()).trace_buffers(16 << 20).start().unwrap();
        return story();
    };
    assert!(output.status.success(), "{output:?}");
    check_story(&read(&path));
}

#[test]
fn stacks_that_are_copied_show_with_their_bytes() {
    let name = "stacks_that_are_copied_show_with_their_bytes";
    let path = place("copies");
    let variables = [
        ("NARROWBOAT_TRACE", path.to_str().unwrap()),
        ("NARROWBOAT_STACK_SLOTS", "1"),
        ("NARROWBOAT_WORKERS", "1"),
        ("NARROWBOAT_PROCESSORS", "1"),
        ("NARROWBOAT_STRESS", "0"),
        ("NARROWBOAT_STACKS", "shared"),
    ];
    let Some(output) = in_child_with(name, &variables) else {
        return narrowboat::run(|| {
            // The first 1,024 of a spawn site have stacks of their own.
            let some: Vec<_> = (0..1032).map(|_| go!(|| (0..10).for_each(|_| yield_now()))).collect();
            some.into_iter().for_each(|goroutine| goroutine.join().unwrap());
        });
    };
    assert!(output.status.success(), "{output:?}");
    let trace = read(&path);
    let both = |copy: &&Slice| {
        copy.numbers["bytes in"] > 0 && copy.numbers["bytes out"] > 0 && copy.numbers["copied out"] > 0
    };
    let copies: Vec<_> = trace.named("copies stacks").collect();
    assert!(copies.iter().filter(|copy| both(copy)).count() > 10, "{copies:?}");
    assert!(copies.iter().all(|copy| copy.depth == 1), "within the turn that they are for");
}

#[test]
fn a_goroutine_that_keeps_its_processor_shows() {
    let name = "a_goroutine_that_keeps_its_processor_shows";
    let path = place("stuck");
    let Some(output) = in_child_with(name, &[("NARROWBOAT_TRACE", path.to_str().unwrap())]) else {
        let stuck = || narrowboat::stats().stuck;
        let before = stuck();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = stop.clone();
        let hog = go!(move || while !seen.load(std::sync::atomic::Ordering::Relaxed) {});
        eventually("the monitor sees it", || stuck() > before);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        return hog.join().unwrap();
    };
    assert!(output.status.success(), "{output:?}");
    let trace = read(&path);
    let stuck = trace.named("stuck").next().expect("is there");
    assert!(
        stuck.numbers["milliseconds"] >= 20 && trace.track_of(stuck).starts_with("monitor "),
        "{stuck:?}"
    );
}
