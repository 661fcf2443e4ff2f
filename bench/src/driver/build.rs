//! Which programs there are: what this machine can build. What it cannot is left out, and said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use narrowboat_bench::harness::build;

/// The program behind a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// The Go module beside this package.
    Go,
    /// A binary of this package.
    Binary(&'static str),
}

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
        let mut programs = Programs::default();
        for &program in wanted {
            let built = match program {
                Program::Go => build::go(),
                Program::Binary(name) => build::binary(name),
            };
            match built {
                Ok(path) => drop(programs.paths.insert(program, path)),
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
