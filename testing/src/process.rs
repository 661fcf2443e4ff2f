//! Tests that run in another process, and tools.
//!
//! The runtime is one per process and reads its environment when it starts. A test of another mode,
//! of how a process ends, or of what a whole process uses needs its own process: it runs the
//! calling test binary again.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Set in a child of [`in_child`].
const CHILD: &str = "NARROWBOAT_TEST_CHILD";

/// The calling test binary, to be run again.
pub fn this_binary() -> Command {
    Command::new(std::env::current_exe().expect("a test knows its binary"))
}

/// The calling test binary, to be run again with the test `test` alone.
fn alone(test: &str) -> Command {
    let mut command = this_binary();
    command.args(["--exact", test, "--test-threads=1"]);
    command
}

/// Fails unless this is the output of a test binary in which `count` tests passed and none failed.
#[track_caller]
pub fn assert_passed(output: &Output, count: usize) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && out.contains(&format!(" {count} passed")),
        "{}\n{out}\n{err}",
        output.status
    );
}

/// Runs the test `test` of the calling binary again, in its own process with `variables` set, and
/// passes if that does.
#[track_caller]
pub fn again(test: &str, variables: &[(&str, &str)]) {
    let output = alone(test).envs(variables.iter().copied()).output().expect("the test binary runs");
    assert_passed(&output, 1);
}

/// Runs the tests of the calling binary whose names contain `filter` again, in one process with
/// `variables` set, and passes if they do and are `count`.
#[track_caller]
pub fn all_again(filter: &str, count: usize, variables: &[(&str, &str)]) {
    let output =
        this_binary().arg(filter).envs(variables.iter().copied()).output().expect("the test binary runs");
    assert_passed(&output, count);
}

/// In the parent: runs the calling test `test` alone in a new process and returns how that ended.
/// In that process: `None`, and the caller does what is to be observed.
pub fn in_child(test: &str) -> Option<Output> {
    in_child_with(test, &[])
}

/// As [`in_child`], with `variables` set in the child.
pub fn in_child_with(test: &str, variables: &[(&str, &str)]) -> Option<Output> {
    if std::env::var_os(CHILD).is_some() {
        return None;
    }
    let mut command = alone(test);
    command.arg("--nocapture").env(CHILD, "1").envs(variables.iter().copied());
    Some(command.output().expect("the test binary runs"))
}

/// The command of a tool that is not Rust's, or `None` if it is not installed.
///
/// In that case the test says so on the real stderr, which the test harness does not capture. If
/// `NARROWBOAT_REQUIRE_TOOLS` is set, as in the project's own checks, the test fails instead.
#[track_caller]
pub fn tool(name: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(name).is_file());
    found_or_skipped(found, name).then(|| Command::new(name))
}

/// Python 3, for a script that imports a module. Without either it says SKIPPED, as [`tool`] does.
pub fn python_with(module: &str) -> Option<Command> {
    // The system's own, if another comes first in the path, is the one for which the system has
    // packages.
    let imports = |python: &&str| {
        let mut import = Command::new(python);
        import.args(["-c", &format!("import {module}")]).stderr(Stdio::null());
        import.status().is_ok_and(|status| status.success())
    };
    let python = ["python3", "/usr/bin/python3"].into_iter().find(imports);
    found_or_skipped(python.is_some(), &format!("python3 with its module {module}"));
    let mut command = Command::new(python?);
    command.arg("-B");
    Some(command)
}

fn found_or_skipped(found: bool, what: &str) -> bool {
    if !found {
        assert!(
            std::env::var_os("NARROWBOAT_REQUIRE_TOOLS").is_none(),
            "{what} is required and not installed"
        );
        let _ = writeln!(std::io::stderr(), "SKIPPED: {what} not found");
    }
    found
}
