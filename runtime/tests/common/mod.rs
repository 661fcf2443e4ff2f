//! Running one test of this binary again in a process of its own, to see how it ends.

// Each test binary uses some of this.
#![allow(dead_code)]

use std::process::{Command, Output};

const MARK: &str = "NARROWBOAT_TEST_CHILD";

/// In the parent: runs the test `name` of the calling test binary alone in a new process and returns how that ended.
/// In that process: `None`, and the caller does what is to be observed.
pub fn in_child(name: &str) -> Option<Output> {
    in_child_with(name, &[])
}

/// The same, with variables set in the child's environment.
pub fn in_child_with(name: &str, variables: &[(&str, &str)]) -> Option<Output> {
    if std::env::var_os(MARK).is_some() {
        return None;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(MARK, "1");
    command.envs(variables.iter().copied());
    Some(command.output().unwrap())
}
