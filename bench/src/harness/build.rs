//! Building the programs that a run measures. What cannot be built is an error in words, for the report.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// This package.
pub(super) const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// Builds the Go peer; says where it is.
///
/// # Errors
///
/// If there is no `go` on the path, or it does not build.
pub fn go() -> Result<PathBuf, String> {
    if !quiet(Command::new("go").arg("version")).status().is_ok_and(|status| status.success()) {
        return Err("Go: no `go` on the path".into());
    }
    eprintln!("building the Go peer");
    let target = release_directory()?.join("peer-go");
    let mut build = Command::new("go");
    // There is nothing to download, so nothing may be: neither a module nor a toolchain.
    build.args(["build", "-o"]).arg(&target).arg(".").current_dir(Path::new(PACKAGE).join("go"));
    build.envs([("GOFLAGS", "-mod=mod"), ("GOPROXY", "off"), ("GOTOOLCHAIN", "local"), ("GOWORK", "off")]);
    finish(build, "Go").map(|()| target)
}

/// Builds a binary of this package in release; says where it is.
///
/// # Errors
///
/// If it does not build.
pub fn binary(name: &str) -> Result<PathBuf, String> {
    eprintln!("building {name}");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build
        .args(["build", "--release", "--quiet", "--bin", name, "--manifest-path"])
        .arg(Path::new(PACKAGE).join("Cargo.toml"));
    finish(build, name)?;
    Ok(release_directory()?.join(name))
}

/// Whether a tool is on the path. Asked for its version, some answer and exit with 1: answering is
/// enough.
pub fn is_there(tool: &str, version: &str) -> bool {
    quiet(Command::new(tool).arg(version)).status().is_ok()
}

/// Where cargo puts release binaries: beside this one, whichever profile this one was built with.
pub(super) fn release_directory() -> Result<PathBuf, String> {
    let own =
        std::env::current_exe().map_err(|error| format!("the driver does not know where it is: {error}"))?;
    let target = own.ancestors().nth(2).ok_or("the driver is not in a target directory")?;
    Ok(target.join("release"))
}

pub(super) fn finish(mut build: Command, name: &str) -> Result<(), String> {
    match build.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{name}: does not build, see above")),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}
