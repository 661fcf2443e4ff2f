//! System calls that fail: each call that a program makes fails once, and from some point on always.
//! The program gets an error value, or ends with a sentence and a code. Nothing hangs, no signal ends
//! it, no answer is wrong, and nothing that was acknowledged is lost.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod clients;
mod limits;
mod plan;
mod programs;
mod supervisor;
mod torture;

use narrowboat_testing::{Dice, number_from_env};
use plan::{Fault, Injector, KINDS, Kind};
use programs::{PROGRAMS, Program, Run, Verdict};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How many runs there are at once. They wait for most of their time.
const AT_ONCE: usize = 3;
/// At how many points of a program a fault begins, at the most.
const MOST_POINTS: usize = 60;

/// The faults for a program that makes so many calls of each kind: first one of each sort, then the
/// others, each part in a random order.
fn plan(program: Program, counts: &BTreeMap<Kind, usize>, dice: &mut Dice) -> [Vec<(Program, Fault)>; 2] {
    let (mut first, mut others) = (Vec::new(), Vec::new());
    for &kind in KINDS {
        let count = counts.get(&kind).copied().unwrap_or(0);
        for fault in Fault::all_of(kind) {
            let points = count.min(MOST_POINTS);
            if points == 0 {
                continue;
            }
            let chosen = dice.roll(points);
            for point in 0..points {
                let fault = Fault { after: point * count / points, ..fault };
                if point == chosen { &mut first } else { &mut others }.push((program, fault));
            }
        }
    }
    [shuffled(first, dice), shuffled(others, dice)]
}

fn shuffled<T>(mut items: Vec<T>, dice: &mut Dice) -> Vec<T> {
    for i in (1..items.len()).rev() {
        items.swap(i, dice.roll(i + 1));
    }
    items
}

/// `.ci/faults.sh` runs it.
#[test]
#[ignore = "takes a minute, or as many seconds as NARROWBOAT_FAULT_SECONDS says"]
fn every_call_may_fail() {
    if !supervisor::is_possible() {
        eprintln!("SKIPPED: this system does not let a process decide over another's system calls");
        return;
    }
    if let Ok(one) = std::env::var("NARROWBOAT_FAULT") {
        return show(&one);
    }
    let seconds = number_from_env("NARROWBOAT_FAULT_SECONDS").unwrap_or(60);
    let end = Instant::now() + Duration::from_secs(seconds as u64);
    let mut dice = Dice::new(number_from_env("NARROWBOAT_FAULT_SEED").unwrap_or(1) as u64);
    let (mut first, mut others) = (Vec::new(), Vec::new());
    for program in PROGRAMS {
        let run = program.run(None);
        assert_eq!(run.verdict, Verdict::Unharmed, "{} without a fault: {}", program.name(), run.stderr);
        let [some, more] = plan(program, &run.injector.counts, &mut dice);
        first.extend(some);
        others.extend(more);
    }
    let mut planned = shuffled(first, &mut dice);
    planned.extend(shuffled(others, &mut dice));
    let count = planned.len();
    let planned = Mutex::new(planned.into_iter());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while Instant::now() < end {
                    let next = planned.lock().expect("nothing panics with it").next();
                    let Some((program, fault)) = next else { break };
                    let run = program.run(Some(fault));
                    if let Verdict::Wrong(what) = &run.verdict {
                        println!("*** {}:{fault}: {what}\n{}", program.name(), run.stderr);
                    }
                    results.lock().expect("nothing panics with it").push((program, fault, run));
                }
            });
        }
    });
    let results = results.into_inner().expect("nothing panics with it");
    println!("{} of {count} planned runs", results.len());
    report_sentences(&results);
    report(&results);
    let wrong = results.iter().filter(|(_, _, run)| matches!(run.verdict, Verdict::Wrong(_))).count();
    assert_eq!(wrong, 0, "of {}", results.len());
}

/// A table: for each kind of call, what came of the faults.
fn report(results: &[(Program, Fault, Run)]) {
    let mut rows = BTreeMap::<Kind, [usize; 7]>::new();
    let mut all = [0; 7];
    for (_, fault, run) in results {
        let column = match run.verdict {
            // The program made fewer calls this time.
            _ if run.injector.injected == 0 => continue,
            Verdict::Unharmed => 2,
            Verdict::Refused => 3,
            Verdict::Ended => 4,
            Verdict::OutOfMemory => 5,
            Verdict::Wrong(_) => 6,
        };
        for row in [rows.entry(fault.kind).or_default(), &mut all] {
            row[0] += 1;
            row[1] += run.injector.injected;
            row[column] += 1;
        }
    }
    println!(
        "| call | runs | faults | unharmed | error value | ended with a sentence | out of memory | wrong |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (name, row) in rows.iter().map(|(kind, row)| (kind.name(), row)).chain([("all", &all)]) {
        let cells: Vec<String> = row.iter().map(usize::to_string).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
}

/// What programs said at their end, and how often.
fn report_sentences(results: &[(Program, Fault, Run)]) {
    let mut sentences = BTreeMap::<String, usize>::new();
    for (program, fault, run) in results {
        if !matches!(run.verdict, Verdict::Ended | Verdict::OutOfMemory) {
            continue;
        }
        // A panic has its place on a line before.
        let mut lines = run.stderr.lines().filter(|line| !line.trim().is_empty());
        let first = lines.next().unwrap_or("nothing");
        let sentence = match first.split_once("panicked at ") {
            Some((_, place)) => format!("{place} {}", lines.next().unwrap_or_default()),
            None => first.into(),
        };
        *sentences.entry(format!("{}, {}: {sentence}", program.name(), fault.kind.name())).or_default() += 1;
    }
    for (sentence, count) in sentences {
        println!("{count} x {sentence}");
    }
}

/// Runs one fault, as the test names it, and prints all of it.
fn show(name: &str) {
    let all = PROGRAMS.iter().flat_map(|program| {
        let faults = KINDS.iter().flat_map(|&kind| Fault::all_of(kind));
        faults.map(move |fault| (*program, fault))
    });
    let mut parts: Vec<&str> = name.split(':').collect();
    let after = parts.remove(3).parse().expect("a number");
    for (program, fault) in all {
        let mut its: Vec<String> =
            format!("{}:{fault}", program.name()).split(':').map(String::from).collect();
        its.remove(3);
        if its == parts {
            let run = program.run(Some(Fault { after, ..fault }));
            let Injector { counts, injected, .. } = &run.injector;
            println!("{:?}, {injected} faults, {counts:?}\n{}\n{}", run.verdict, run.stdout, run.stderr);
            return;
        }
    }
    panic!("no fault of this name");
}
