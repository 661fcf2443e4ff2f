//! The program that kills its own processes, for some seconds.

use narrowboat_testing::tool;
use std::path::PathBuf;
use std::process::Command;

#[test]
fn nothing_acknowledged_is_lost_when_processes_are_killed() {
    let path: PathBuf = std::env::current_exe().expect("a test knows its binary");
    let path = path.ancestors().nth(2).expect("the directory of builds").join("examples/survivors");
    assert!(path.exists(), "{} is missing: `cargo build --examples --features nats`", path.display());
    let installed = PathBuf::from("/usr/sbin/nats-server").exists() || tool("nats-server").is_some();
    if !installed {
        return;
    }
    let output = Command::new(path).arg("5").output().expect("it starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains("lost: none of the acknowledged"), "{out}");
    print!("{out}");
}
