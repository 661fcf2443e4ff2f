//! Building what this machine can build. What it cannot is left out, and said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::driver::peers::Program;

/// The programs that were built, and what was left out.
#[derive(Debug, Default)]
pub struct Programs {
    paths: BTreeMap<Program, PathBuf>,
    /// The load generator, if it was built.
    pub load: Option<PathBuf>,
    /// Whether wrk is on the path.
    pub wrk: bool,
    /// What is not there, and why.
    pub left_out: Vec<String>,
}

impl Programs {
    /// Builds the wanted programs, the load generator if it is wanted, and looks for wrk.
    pub fn build(wanted: &BTreeSet<Program>, network: bool) -> Programs {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut programs = Programs::default();
        for &program in wanted {
            let built = match program {
                Program::Go => build_go(package),
                Program::Binary(name) => build_binary(package, name),
            };
            match built {
                Ok(path) => drop(programs.paths.insert(program, path)),
                Err(reason) => programs.left_out.push(reason),
            }
        }
        if network {
            match build_binary(package, "load") {
                Ok(path) => programs.load = Some(path),
                Err(reason) => programs.left_out.push(reason),
            }
            // Asked for its version, wrk answers and exits with 1: being there is enough.
            programs.wrk = quiet(Command::new("wrk").arg("--version")).status().is_ok();
            if !programs.wrk {
                programs
                    .left_out
                    .push("wrk: not on the path; http is driven by our own load generator".into());
            }
        }
        programs
    }

    /// Whether the program was built.
    pub fn has(&self, program: Program) -> bool {
        self.paths.contains_key(&program)
    }

    /// Where the program is.
    ///
    /// # Panics
    ///
    /// If it was not built.
    pub fn path(&self, program: Program) -> &Path {
        &self.paths[&program]
    }
}

fn build_go(package: &Path) -> Result<PathBuf, String> {
    if !quiet(Command::new("go").arg("version")).status().is_ok_and(|status| status.success()) {
        return Err("Go: no `go` on the path".into());
    }
    eprintln!("building the Go peer");
    let target = release_directory()?.join("peer-go");
    let mut build = Command::new("go");
    // There is nothing to download, so nothing may be: neither a module nor a toolchain.
    build.args(["build", "-o"]).arg(&target).arg(".").current_dir(package.join("go"));
    build.envs([("GOFLAGS", "-mod=mod"), ("GOPROXY", "off"), ("GOTOOLCHAIN", "local"), ("GOWORK", "off")]);
    finish(build, "Go").map(|()| target)
}

fn build_binary(package: &Path, name: &str) -> Result<PathBuf, String> {
    eprintln!("building {name}");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build
        .args(["build", "--release", "--quiet", "--bin", name, "--manifest-path"])
        .arg(package.join("Cargo.toml"));
    finish(build, name)?;
    Ok(release_directory()?.join(name))
}

/// Where cargo puts release binaries: beside this one, whichever profile this one was built with.
fn release_directory() -> Result<PathBuf, String> {
    let own =
        std::env::current_exe().map_err(|error| format!("the driver does not know where it is: {error}"))?;
    let target = own.ancestors().nth(2).ok_or("the driver is not in a target directory")?;
    Ok(target.join("release"))
}

fn finish(mut build: Command, name: &str) -> Result<(), String> {
    match build.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{name}: does not build, see above")),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}
