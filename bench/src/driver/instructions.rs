//! Instructions that an operation of Narrowboat's takes: a figure that hardly depends on what else the machine does, for
//! those who change the runtime and want to know by how much.
//!
//! Each case runs twice, once with more operations; the difference is free of what starting and stopping cost. A program
//! does a tenth of its operations more than it is told, to warm up. Counted is what all threads of the process execute
//! outside the kernel, on one worker.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::driver::process::{Failure, run};

/// What is counted, the command, and its sizes before the number of operations.
const CASES: [(&str, &str, &[usize]); 9] = [
    ("context switch (yield of two)", "yield", &[2]),
    ("spawn, run and end", "spawn", &[]),
    ("message, channel of 128", "chan128", &[]),
    ("message, unbuffered", "chan0", &[]),
    ("round trip, unbuffered", "pingpong", &[]),
    ("round trip, select of 1 arm", "arms", &[1]),
    ("round trip, select of 8 arms", "arms", &[8]),
    ("round trip, receives with timeouts", "timeouts", &[]),
    ("lock and unlock of a mutex", "mutex", &[1]),
];

/// Operations of the two runs.
const FEW: usize = 20_000;
const MANY: usize = 60_000;

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
        command.args(arguments).env("NARROWBOAT_WORKERS", "1");
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

    fn count(
        self,
        program: &Path,
        command: &str,
        sizes: &[usize],
        operations: usize,
    ) -> Result<u64, Failure> {
        let mut counted = self.command();
        counted.arg(program).arg(command).args(sizes.iter().chain([&operations]).map(usize::to_string));
        let lines = run(&mut counted, LIMIT)?;
        self.counted(&lines).ok_or_else(|| Failure(format!("{self:?} has not counted: {}", lines.join(" "))))
    }

    /// The first that counts on this machine: the processor's own counters are missing in most virtual machines.
    fn find(program: &Path) -> Result<Counter, Failure> {
        let tried = |counter: Counter| counter.count(program, "yield", &[2], 10).map(|_| counter);
        tried(Counter::Perf).or_else(|_| tried(Counter::Callgrind))
    }

    fn title(self) -> &'static str {
        match self {
            Counter::Perf => "counted by the processor (perf)",
            Counter::Callgrind => "counted by valgrind, so with processors nailed to threads",
        }
    }
}

/// A table of instructions for each operation.
///
/// # Errors
///
/// If nothing on this machine counts instructions, or the program fails.
pub fn table(program: &Path) -> Result<String, Failure> {
    let counter = Counter::find(program)?;
    let mut text = format!("| instructions, {} | each |\n| --- | --- |\n", counter.title());
    for (label, command, sizes) in CASES {
        let few = counter.count(program, command, sizes, FEW)?;
        let many = counter.count(program, command, sizes, MANY)?;
        text.push_str(&format!("| {label} | {:.0} |\n", each(few, many)));
    }
    Ok(text)
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
    fn what_both_runs_cost_alike_does_not_count() {
        let run = |operations: usize| 5_000_000 + 300 * (operations + operations / 10) as u64;
        assert_eq!(each(run(FEW), run(MANY)).round(), 300.0);
    }
}
