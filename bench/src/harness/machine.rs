//! What the figures were taken on.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::java;

/// A description of the machine and of the versions measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// When, in UTC.
    pub date: String,
    /// What and which, a name and a value each.
    pub facts: Vec<(String, String)>,
}

impl Machine {
    /// Looks around.
    pub fn describe() -> Machine {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let cpu = after(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown processor".into());
        let memory = after(&read("/proc/meminfo"), "MemTotal")
            .and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
            .map_or("unknown".into(), |kibibytes| format!("{:.0} GiB", kibibytes / f64::from(1 << 20)));
        let mut facts = vec![
            ("cores".into(), format!("{cores} x {cpu}")),
            ("memory".into(), memory),
            ("kernel".into(), read("/proc/sys/kernel/osrelease").trim().into()),
            ("vm.max_map_count".into(), read("/proc/sys/vm/max_map_count").trim().into()),
            (
                "load average at the start".into(),
                read("/proc/loadavg").split(' ').next().unwrap_or("").into(),
            ),
        ];
        let tools = [("rustc", "rustc", "--version"), ("Go", "go", "version"), ("wrk", "wrk", "--version")];
        for (name, program, argument) in tools {
            facts.push((name.into(), first_line(program, &[argument]).unwrap_or("not there".into())));
        }
        let java = java::runtime().and_then(|java| first_line(java, &["--version"]));
        facts.push(("Java".into(), java.unwrap_or("not there".into())));
        let lock = read(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"));
        for name in ["narrowboat", "tokio", "may", "go-lib", "crossbeam-channel"] {
            let version = locked(&lock, name).unwrap_or("unknown");
            let commit = if name == "narrowboat" { commit() } else { String::new() };
            facts.push((name.into(), format!("{version}{commit}")));
        }
        let date = first_line("date", &["-u"]).unwrap_or("unknown".into());
        Machine { date, facts }
    }
}

/// The commit that is checked out, in brackets, and whether the library has been changed since;
/// nothing outside a repository.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(arguments).output();
        output.ok().filter(|output| output.status.success()).map(|output| output.stdout)
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return String::new() };
    let library = ["../src", "../runtime", "../chan", "../sync", "../net"];
    let is_clean =
        git(&[&["status", "--porcelain", "--"], &library[..]].concat()).is_some_and(|all| all.is_empty());
    let changed = if is_clean { "" } else { " and changes" };
    format!(" ({}{changed})", String::from_utf8_lossy(&commit).trim())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The value of the first line `name : value`.
fn after(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The first line that a program prints; `None` if it is not there, or prints nothing.
pub(super) fn first_line(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}

/// The version that a Cargo.lock names for a package.
fn locked<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("\nname = \"{name}\"\n")))?;
    entry.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_version_is_that_of_the_very_package() {
        let lock = "[[package]]\nname = \"may_queue\"\nversion = \"0.1.2\"\n\n[[package]]\nname = \"may\"\nversion = \"0.3.5\"\n";
        assert_eq!(locked(lock, "may"), Some("0.3.5"));
        assert_eq!(locked(lock, "tokio"), None);
    }
}
