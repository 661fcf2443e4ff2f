//! Which programs there are: what this machine can build. What it cannot is left out, and said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use narrowboat_bench::harness::build;
use narrowboat_bench::harness::java::Java;

/// The program behind a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// The Go module beside this package.
    Go,
    /// The Java program beside this package.
    Java,
    /// A binary of this package.
    Binary(&'static str),
}

/// How a program is started.
#[derive(Debug)]
enum Built {
    Executable(PathBuf),
    Java(Java),
}

/// The programs that were built, and what was left out.
#[derive(Debug, Default)]
pub struct Programs {
    built: BTreeMap<Program, Built>,
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
        let mut programs = Programs::default();
        for &program in wanted {
            let built = match program {
                Program::Go => build::go().map(Built::Executable),
                Program::Java => Java::build().map(Built::Java),
                Program::Binary(name) => build::binary(name).map(Built::Executable),
            };
            match built {
                Ok(built) => drop(programs.built.insert(program, built)),
                Err(reason) => programs.left_out.push(reason),
            }
        }
        if network {
            match build::binary("load") {
                Ok(path) => programs.load = Some(path),
                Err(reason) => programs.left_out.push(reason),
            }
            // Asked for its version, wrk answers and exits with 1: being there is enough.
            programs.wrk = build::is_there("wrk", "--version");
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
        self.built.contains_key(&program)
    }

    /// The command that starts the program with so many workers, which the environment may still
    /// have to tell it.
    ///
    /// # Panics
    ///
    /// If it was not built.
    pub fn command(&self, program: Program, workers: usize) -> Command {
        match &self.built[&program] {
            Built::Executable(path) => Command::new(path),
            Built::Java(java) => java.command(workers),
        }
    }
}
