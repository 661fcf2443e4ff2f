//! Goroutines in gdb, of a real process and of a core file of it.

use narrowboat::chan::{Receiver, Sender, bounded};
use narrowboat::{Builder, JoinHandle};
use narrowboat_testing::{cpu_time_of_thread, eventually, tool};
use std::io::Write;
use std::process::Command;
use std::time::Duration;

const SLEEPERS: u64 = 6;
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/gdb/narrowboat.py");

/// A breakpoint.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn narrowboat_test_stops_here(n: u64) -> u64 {
    if std::env::var_os(PROGRAM).is_some_and(|how| how == "aborts") {
        std::process::abort();
    }
    std::hint::black_box(n) + 1
}

/// Set where this is the program to be looked at.
const PROGRAM: &str = "NARROWBOAT_TEST_PROGRAM";

#[inline(never)]
fn goes_down(levels: u64, gate: &Receiver<()>) -> u64 {
    let kept = std::hint::black_box([levels; 4]);
    if levels > 0 { goes_down(levels - 1, gate) + kept[3] } else { waits_below(gate) + kept[0] }
}

#[inline(never)]
fn waits_below(gate: &Receiver<()>) -> u64 {
    assert!(gate.recv().is_err());
    std::hint::black_box(1)
}

#[inline(never)]
fn runs_meanwhile(gate: Sender<()>) -> u64 {
    let n = narrowboat_test_stops_here(1);
    drop(gate);
    std::hint::black_box(n)
}

#[inline(never)]
fn computes() -> u64 {
    // Half a second of its own, however busy the machine and whatever the build: a hundred samples.
    let end = cpu_time_of_thread() + Duration::from_millis(500);
    let mut n = 1;
    while cpu_time_of_thread() < end {
        n = (0..1_000_000).fold(n, |n, m| std::hint::black_box(n ^ m));
    }
    n | 1
}

fn go(name: String, f: impl FnOnce() -> u64 + Send + 'static) -> JoinHandle<u64> {
    Builder::new().name(name).spawn(f).unwrap()
}

/// What gdb looks at: goroutines that wait, more than there are slots, and one that runs.
#[test]
fn the_program() {
    match std::env::var(PROGRAM).as_deref() {
        Err(_) => return,
        Ok("computes") => return assert_ne!(go("computer".into(), computes).join().unwrap(), 0),
        Ok(_) => {}
    }
    // The first of a spawn site have stacks of their own, which are never copied out.
    (0..1024).for_each(|_| assert_eq!(go("first".into(), || 0).join().unwrap(), 0));
    let (tx, rx) = bounded(0);
    let sleepers: Vec<_> = (0..SLEEPERS)
        .map(|n| {
            let rx = rx.clone();
            go(format!("sleeper {n}"), move || goes_down(n, &rx))
        })
        .collect();
    eventually("they wait", || {
        narrowboat::dump().goroutines().iter().filter(|goroutine| !goroutine.is_woken()).count() as u64
            == SLEEPERS
    });
    let runner = go("runner".into(), move || runs_meanwhile(tx));
    assert_eq!(runner.join().unwrap(), 2);
    for (n, sleeper) in (0..).zip(sleepers) {
        assert_eq!(sleeper.join().unwrap(), 1 + n * (n + 1) / 2);
    }
    println!("all went on");
}

/// Runs gdb with these commands.
fn gdb(gdb: &mut Command, commands: &[&str], last: &[&str]) -> String {
    gdb.args(["-nx", "-batch"]);
    // A release build has the debug information of lines alone, which is enough.
    for command in
        ["set pagination off", "set debuginfod enabled off", "set width 0", "set breakpoint pending on"]
    {
        gdb.args(["-iex", command]);
    }
    for command in commands {
        gdb.args(["-ex", command]);
    }
    let output = gdb.args(last).output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    text
}

fn program<'a>(command: &'a mut Command, how: &str) -> &'a mut Command {
    for (name, value) in [
        (PROGRAM, how),
        ("NARROWBOAT_PROCESSORS", "1"),
        ("NARROWBOAT_STACK_SLOTS", "2"),
        ("NARROWBOAT_STACKS", "shared"),
        // A core file has all of every stack.
        ("NARROWBOAT_MAX_STACK", "262144"),
    ] {
        command.env(name, value);
    }
    command.env_remove("NARROWBOAT_STRESS")
}

/// That the backtraces of all goroutines are there, and each ends at its root.
#[track_caller]
fn shows_all(text: &str) {
    let goroutines: Vec<_> = text.split("\ngoroutine ").skip(1).collect();
    assert_eq!(goroutines.len() as u64, SLEEPERS + 1, "{text}");
    let mut copied_out = 0;
    for goroutine in goroutines {
        let (head, backtrace) = goroutine.split_once('\n').unwrap();
        let frames: Vec<_> = backtrace.lines().filter(|line| line.starts_with('#')).collect();
        let count = |of: &str| frames.iter().filter(|frame| frame.contains(of)).count();
        assert!(frames.last().unwrap().contains("root"), "{text}");
        assert!(!backtrace.contains("corrupt stack"), "{text}");
        if head.contains("'runner'") {
            assert!(head.contains("runs"), "{head}");
            assert!(backtrace.contains("narrowboat_test_stops_here"), "{backtrace}");
            assert_eq!(count("runs_meanwhile"), 1, "{backtrace}");
            continue;
        }
        let n: usize = head.split_once("'sleeper ").unwrap().1.split('\'').next().unwrap().parse().unwrap();
        assert!(head.contains("waiting for a message (receive) at tests/debugger.rs:"), "{head}");
        assert_eq!(count("goes_down"), n + 1, "{head} {backtrace}");
        assert_eq!(count("waits_below"), 1, "{backtrace}");
        copied_out += usize::from(head.contains("(copied out)"));
    }
    assert!((1..SLEEPERS as usize).contains(&copied_out), "{text}");
}

fn this() -> String {
    std::env::current_exe().unwrap().to_str().unwrap().into()
}

const ARGUMENTS: [&str; 4] = ["--exact", "the_program", "--nocapture", "--test-threads=1"];

#[test]
fn a_live_process_shows_every_stack_and_goes_on() {
    let Some(mut debugger) = tool("gdb") else { return };
    let this = this();
    let mut last = vec!["--args", this.as_str()];
    last.extend(ARGUMENTS);
    let text = gdb(
        program(&mut debugger, "runs"),
        &[
            "break narrowboat_test_stops_here",
            "run",
            "echo --- running\\n",
            "bt",
            &format!("source {SCRIPT}"),
            "echo --- info\\n",
            "info goroutines",
            "echo --- all\\n",
            "goroutine all",
            "echo --- end\\n",
            "continue",
        ],
        &last,
    );
    let part = |name: &str| {
        let (_, after) =
            text.split_once(&format!("--- {name}\n")).unwrap_or_else(|| panic!("{name}: {text}"));
        after.split("\n--- ").next().unwrap()
    };
    // Without any script: a goroutine that runs is a thread's stack that ends cleanly.
    let running = part("running");
    assert!(running.lines().last().unwrap().contains("root"), "{running}");
    assert!(running.contains("runs_meanwhile"), "{running}");
    let info = part("info");
    assert_eq!(info.matches("'sleeper ").count() as u64, SLEEPERS, "{text}");
    assert!(info.contains("(resident)") && info.contains("spawned at tests/debugger.rs:"), "{info}");
    shows_all(part("all"));
    // It was all put back.
    assert!(text.contains("all went on"), "{text}");
}

#[test]
fn a_core_file_shows_every_stack() {
    let Some(mut debugger) = tool("gdb") else { return };
    // Not gdb's `generate-core-file`, which gives up the rest of a mapping at the first guard page in it.
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.starts_with(['|', '/', '@']) {
        let _ = writeln!(std::io::stderr(), "SKIPPED: core files go elsewhere ({})", pattern.trim());
        return;
    }
    let directory = std::env::temp_dir().join(format!("narrowboat-core-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c unlimited && exec \"$@\"", "sh", &this()]).args(ARGUMENTS);
    let status = program(&mut command, "aborts").current_dir(&directory).output().unwrap().status;
    let core = std::fs::read_dir(&directory).unwrap().next();
    if let Some(core) = core {
        let source = format!("source {SCRIPT}");
        let core = core.unwrap().path();
        let last = [&this(), core.to_str().unwrap()];
        let text = gdb(&mut debugger, &[&source, "echo --- all\\n", "goroutine all"], &last);
        shows_all(text.split_once("--- all\n").unwrap().1);
    } else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: no core file was written ({status})");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_profiler_sees_whose_work_it_is() {
    let Some(mut perf) = tool("perf") else { return };
    let data = std::env::temp_dir().join(format!("narrowboat-{}.perf", std::process::id()));
    perf.args(["record", "-q", "-e", "cpu-clock", "-F", "200", "--call-graph", "dwarf", "-o"])
        .arg(&data)
        .arg(this())
        .args(ARGUMENTS);
    let recorded = program(&mut perf, "computes").output().unwrap();
    if !recorded.status.success() {
        // A kernel may keep its counters to itself.
        let why = String::from_utf8_lossy(&recorded.stderr);
        let _ = writeln!(std::io::stderr(), "SKIPPED: perf cannot record here: {}", why.trim());
        return;
    }
    let output = tool("perf").unwrap().args(["script", "--no-inline", "-i"]).arg(&data).output().unwrap();
    std::fs::remove_file(&data).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let samples: Vec<_> = text.split("\n\n").filter(|sample| sample.contains("computes")).collect();
    // One that is taken in the middle of a prologue may be cut off.
    let whole = samples.iter().filter(|sample| sample.contains("narrowboat_runtime::goroutine::task::run"));
    let whole = whole.count();
    assert!(whole > 10 && whole * 2 > samples.len(), "{text}");
}
