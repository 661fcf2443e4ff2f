//! Instructions that an operation of Narrowboat's takes: a figure that hardly depends on what else the machine does, for
//! those who change the runtime and want to know by how much.
//!
//! Each case runs twice, once with more operations; the difference is free of what starting and stopping cost. A program
//! does a tenth of its operations more than it is told, to warm up. Counted is what all threads of the process execute
//! outside the kernel, on one worker and one processor.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::driver::process::{Failure, run};

/// An operation.
struct Case {
    label: &'static str,
    command: &'static str,
    /// Sizes before the number of operations.
    sizes: &'static [usize],
}

const fn case(label: &'static str, command: &'static str, sizes: &'static [usize]) -> Case {
    Case { label, command, sizes }
}

const CASES: [Case; 12] = [
    case("context switch", "copies", &[2, 0]),
    case("context switch with a copy out and in", "copies", &[64, 0]),
    case("context switch with a copy of 512 bytes more", "copies", &[64, 512]),
    case("spawn, run and end", "spawn", &[]),
    case("message, channel of 128", "chan128", &[]),
    case("message, unbuffered", "chan0", &[]),
    case("round trip, unbuffered", "pingpong", &[]),
    case("round trip, select of 1 arm", "arms", &[1]),
    case("round trip, select of 8 arms", "arms", &[8]),
    case("round trip, select of 64 arms", "arms", &[64]),
    case("round trip, receives with timeouts", "timeouts", &[]),
    case("lock and unlock of a mutex", "mutex", &[1]),
];

/// Operations of the two runs.
const FEW: usize = 20_000;
const MANY: usize = 60_000;

/// Percent by which two runs of the same program differ: the monitor's ticks are counted, too.
const NOISE: f64 = 3.0;

/// Longest time for one run.
const LIMIT: Duration = Duration::from_secs(120);

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counter {
    /// The processor itself.
    Perf,
    /// valgrind, which lets no thread pointer be written: processors are nailed to threads there.
    Callgrind,
}

impl Counter {
    /// The command that counts what is appended to it, and reports on standard output.
    fn command(self) -> Command {
        let (program, arguments): (_, &[&str]) = match self {
            Counter::Perf => ("perf", &["stat", "-x,", "-e", "instructions:u", "--log-fd", "1", "--"]),
            Counter::Callgrind => {
                ("valgrind", &["--tool=callgrind", "--callgrind-out-file=/dev/null", "--log-fd=1"])
            }
        };
        let mut command = Command::new(program);
        command.args(arguments).env("NARROWBOAT_WORKERS", "1").env("NARROWBOAT_PROCESSORS", "1");
        command
    }

    /// The instructions in such a report.
    fn counted(self, lines: &[String]) -> Option<u64> {
        match self {
            Counter::Perf => {
                let line = lines.iter().find(|line| line.contains(",instructions:u,"))?;
                line.split(',').next()?.parse().ok()
            }
            Counter::Callgrind => {
                let line =
                    lines.iter().find(|line| line.starts_with("==") && line.contains("Collected :"))?;
                line.split(':').nth(1)?.trim().parse().ok()
            }
        }
    }

    fn count(self, program: &Path, case: &Case, operations: usize) -> Result<u64, Failure> {
        let mut counted = self.command();
        counted.arg(program).arg(case.command);
        counted.args(case.sizes.iter().chain([&operations]).map(usize::to_string));
        let lines = run(&mut counted, LIMIT)?;
        self.counted(&lines).ok_or_else(|| Failure(format!("{self:?} has not counted: {}", lines.join(" "))))
    }

    /// The first that counts on this machine: the processor's own counters are missing in most virtual machines.
    fn find(program: &Path) -> Result<Counter, Failure> {
        let tried = |counter: Counter| counter.count(program, &CASES[0], 10).map(|_| counter);
        tried(Counter::Perf).or_else(|_| tried(Counter::Callgrind))
    }

    fn title(self) -> &'static str {
        match self {
            Counter::Perf => "counted by the processor (perf)",
            Counter::Callgrind => "counted by valgrind, so with processors nailed to threads",
        }
    }
}

/// What was counted.
#[derive(Debug, Serialize, Deserialize)]
pub struct Counts {
    counter: String,
    /// Operations, and the instructions of each.
    each: Vec<(String, f64)>,
}

impl Counts {
    /// Counts.
    ///
    /// # Errors
    ///
    /// If nothing on this machine counts instructions, or the program fails.
    pub fn take(program: &Path) -> Result<Counts, Failure> {
        let counter = Counter::find(program)?;
        let mut counts = Counts { counter: counter.title().to_owned(), each: Vec::new() };
        for (index, case) in CASES.iter().enumerate() {
            eprint!("[{}/{}] {} ... ", index + 1, CASES.len(), case.label);
            let few = counter.count(program, case, FEW)?;
            let many = counter.count(program, case, MANY)?;
            eprintln!("{:.0}", each(few, many));
            counts.each.push((case.label.to_owned(), each(few, many)));
        }
        Ok(counts)
    }

    /// Writes them to `path`.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        serde_json::to_writer_pretty(File::create(path)?, self)?;
        Ok(())
    }

    /// Reads those in `path`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or holds something else.
    pub fn read(path: &Path) -> io::Result<Counts> {
        Ok(serde_json::from_reader(BufReader::new(File::open(path)?))?)
    }

    /// As a Markdown table, beside earlier ones if there are any.
    pub fn table(&self, before: Option<&Counts>) -> String {
        let title = |counts: &Counts| format!("instructions, {}", counts.counter);
        let mut text = match before {
            None => format!("| {} | each |\n| --- | --- |\n", title(self)),
            Some(before) if before.counter == self.counter => {
                format!("| {} | before | now | change |\n| --- | --- | --- | --- |\n", title(self))
            }
            Some(before) => {
                return format!("{}\nNot compared: before, {}.\n", self.table(None), title(before));
            }
        };
        for (label, now) in &self.each {
            let earlier = before.and_then(|before| before.each.iter().find(|(known, _)| known == label));
            let _ = match (before, earlier) {
                (None, _) => writeln!(text, "| {label} | {now:.0} |"),
                (Some(_), None) => writeln!(text, "| {label} | | {now:.0} | |"),
                (Some(_), Some((_, before))) => {
                    let change = 100.0 * (now - before) / before;
                    let shown =
                        if change.abs() > NOISE { format!("**{change:+.1}%**") } else { String::new() };
                    writeln!(text, "| {label} | {before:.0} | {now:.0} | {shown} |")
                }
            };
        }
        text
    }
}

fn each(few: u64, many: u64) -> f64 {
    let with_warm_up = 1.1 * (MANY - FEW) as f64;
    (many as f64 - few as f64) / with_warm_up
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(String::from).collect()
    }

    #[test]
    fn both_counters_are_understood() {
        let report = lines("yield 1.0 ns\n==7178== Events    : Ir\n==7178== Collected : 1363297\n==7178==");
        assert_eq!(Counter::Callgrind.counted(&report), Some(1_363_297));
        let report = lines("yield 1.0 ns\n9871,,instructions:u,1002,100.00,,");
        assert_eq!(Counter::Perf.counted(&report), Some(9_871));
        let report = lines("yield 1.0 ns\n<not supported>,,instructions:u,0,100.00,,");
        assert_eq!(Counter::Perf.counted(&report), None);
    }

    #[test]
    fn a_change_beyond_the_noise_is_shown_and_other_counters_are_not_compared() {
        let counts = |counter: &str, switch, spawn| Counts {
            counter: counter.into(),
            each: vec![("switch".into(), switch), ("spawn".into(), spawn)],
        };
        let (before, now) = (counts("perf", 100.0, 200.0), counts("perf", 110.0, 202.0));
        let table = now.table(Some(&before));
        assert!(
            table.ends_with("| switch | 100 | 110 | **+10.0%** |\n| spawn | 200 | 202 |  |\n"),
            "{table}"
        );
        assert!(now.table(None).ends_with("| switch | 110 |\n| spawn | 202 |\n"));
        assert!(now.table(Some(&counts("valgrind", 100.0, 200.0))).contains("Not compared"));
    }

    #[test]
    fn what_both_runs_cost_alike_does_not_count() {
        let run = |operations: usize| 5_000_000 + 300 * (operations + operations / 10) as u64;
        assert_eq!(each(run(FEW), run(MANY)).round(), 300.0);
    }
}
