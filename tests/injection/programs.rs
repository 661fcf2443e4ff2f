//! The programs that meet faults, and whether what they did is right.

use crate::clients;
use crate::plan::{Fault, Injector, KINDS, Kind, Times};
use crate::supervisor;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// Longer than anything takes on a machine that has much else to do.
pub const LONG: Duration = Duration::from_secs(100);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Program {
    Hello,
    Torture,
    Http,
    Redis,
}

pub const PROGRAMS: [Program; 4] = [Program::Hello, Program::Torture, Program::Http, Program::Redis];

/// How a run ended.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// All that was asked has been done.
    Unharmed,
    /// Something failed with an error, and the program went on.
    Refused,
    /// The program ended with a sentence and a code.
    Ended,
    /// Memory was refused to the allocator or to a new thread of std's, and std has ended the process
    /// with its own sentence.
    OutOfMemory,
    /// What must not be.
    Wrong(String),
}

pub struct Run {
    pub verdict: Verdict,
    pub injector: Injector,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    pub fn name(self) -> &'static str {
        match self {
            Program::Hello => "hello",
            Program::Torture => "torture",
            Program::Http => "http_server",
            Program::Redis => "redis_like",
        }
    }

    fn command(self) -> Command {
        let mut path: PathBuf = std::env::current_exe().expect("a test knows its binary");
        if self == Program::Torture {
            let mut command = Command::new(path);
            command.args([
                "--exact",
                "torture::under_faults",
                "--nocapture",
                "--ignored",
                "--test-threads=1",
            ]);
            return command;
        }
        path.pop();
        path.pop();
        path.extend(["examples", self.name()]);
        assert!(path.exists(), "{} is missing: `cargo build --examples` builds it", path.display());
        let mut command = Command::new(path);
        match self {
            Program::Http => command.args(["--grace", "1", "127.0.0.1:0"]),
            Program::Redis => command.arg("127.0.0.1:0"),
            Program::Hello | Program::Torture => &mut command,
        };
        command
    }

    /// Runs it with a fault, or with none.
    pub fn run(self, fault: Option<Fault>) -> Run {
        let (child, supervisor) =
            supervisor::start(self.piped(), KINDS, Injector::new(fault)).expect("a process starts");
        let mut process = Process::new(child);
        let verdict = self.watch(&mut process, Allowed::under(fault));
        process.kill();
        let injector = supervisor.join().expect("the supervisor does not panic");
        Run { verdict, injector, stdout: process.stdout.rest(), stderr: process.stderr.rest() }
    }

    /// Runs it with less than it would take of something, as `prepare` says. Returns its words on
    /// stderr, too.
    pub fn run_limited(self, patience: Duration, prepare: impl FnOnce(&mut Command)) -> (Verdict, String) {
        let mut command = self.piped();
        prepare(&mut command);
        let mut process = Process::new(command.spawn().expect("a process starts"));
        process.patience = patience;
        let verdict = self.watch(&mut process, Allowed { refusals: true, ..Allowed::default() });
        process.kill();
        (verdict, process.stderr.rest())
    }

    fn piped(self) -> Command {
        let mut command = self.command();
        // With one, the sentences would be hard to find, and a program out of memory is busy for
        // seconds.
        command.env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn watch(self, process: &mut Process, allowed: Allowed) -> Verdict {
        let verdict = match self {
            Program::Hello | Program::Torture => {
                process.end().map(|status| self.verdict_on(status, process, allowed))
            }
            Program::Http | Program::Redis => self.serve(process, allowed),
        };
        verdict.unwrap_or_else(|| {
            Verdict::Wrong(format!("it does not end; its threads wait in {}", process.waits()))
        })
    }

    /// The verdict on a program that has ended by itself.
    fn verdict_on(self, status: ExitStatus, process: &mut Process, allowed: Allowed) -> Verdict {
        // Of the allocator, of a thread of std's, and of std's own start.
        const OUT_OF_MEMORY: [&str; 2] = ["memory allocation of", "alternative stack"];
        let (out, err) = (process.stdout.rest(), process.stderr.rest());
        let right = match self {
            Program::Hello => out == "hello from goroutines: 23 letters\n",
            Program::Torture => out.ends_with("all of it was right\n"),
            Program::Http | Program::Redis => true,
        };
        match (status.code(), status.signal()) {
            (Some(0), _) if right => Verdict::Unharmed,
            (Some(0), _) => Verdict::Wrong(format!("it succeeds and says {out:?}")),
            (Some(code), _) if err.trim().is_empty() && !allowed.silence => {
                Verdict::Wrong(format!("it ends with {code} and no word"))
            }
            (Some(_), _) => Verdict::Ended,
            (None, Some(libc::SIGABRT)) if OUT_OF_MEMORY.iter().any(|words| err.contains(words)) => {
                Verdict::OutOfMemory
            }
            (None, signal) => Verdict::Wrong(format!("signal {signal:?}")),
        }
    }

    /// Has clients use a server. `None` if it does not end.
    fn serve(self, process: &mut Process, allowed: Allowed) -> Option<Verdict> {
        let Some(address) = process.address() else {
            return process.end().map(|status| self.verdict_on(status, process, allowed));
        };
        let used = match self {
            Program::Http => clients::use_http(address),
            _ => clients::use_redis(address),
        };
        if let Some(status) = process.ended() {
            return Some(self.verdict_on(status, process, allowed));
        }
        let verdict = match used {
            // One fault may cost a connection. It may not cost those that come later, and an answer
            // that never comes is worse than an error.
            Ok(used) if used.late > 0 && !allowed.refusals => Verdict::Wrong(format!(
                "{} answers never came; threads wait in {}",
                used.late,
                process.waits()
            )),
            Ok(used) if !used.last && !allowed.refusals => {
                Verdict::Wrong("it serves nothing any more".into())
            }
            Ok(used) if used.refused + used.late > 0 || !used.last => Verdict::Refused,
            Ok(_) => Verdict::Unharmed,
            Err(what) => Verdict::Wrong(what),
        };
        if self == Program::Http && !allowed.deafness {
            process.terminate();
            let status = process.end()?;
            if status.code() != Some(0) {
                return Some(self.verdict_on(status, process, allowed));
            }
        }
        Some(verdict)
    }
}

/// What a program may do that is wrong otherwise.
#[derive(Clone, Copy, Default)]
struct Allowed {
    /// It serves nothing that comes later, or does not answer.
    refusals: bool,
    /// It ends without a word.
    silence: bool,
    /// It does not end when it is told to.
    deafness: bool,
}

impl Allowed {
    fn under(fault: Option<Fault>) -> Allowed {
        let Some(fault) = fault else { return Allowed::default() };
        let always = fault.times == Times::Always;
        Allowed {
            refusals: always,
            silence: fault.kind == Kind::Write,
            // A signal reaches the server through a socket of its own, and it says something then.
            deafness: match fault.kind {
                Kind::Send => true,
                Kind::Receive | Kind::Read | Kind::Write => always,
                _ => false,
            },
        }
    }
}

/// A process whose streams are collected.
struct Process {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    /// How long its end may take.
    patience: Duration,
}

/// Lines of a stream as they come.
struct Lines {
    come: Receiver<String>,
    all: String,
}

impl Lines {
    fn new(stream: impl Read + Send + 'static) -> Lines {
        let (line, come) = mpsc::channel();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut bytes = Vec::new();
            while stream.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
                let _ = line.send(String::from_utf8_lossy(&bytes).into_owned());
                bytes.clear();
            }
        });
        Lines { come, all: String::new() }
    }

    fn next(&mut self, patience: Duration) -> Option<&str> {
        let line = self.come.recv_timeout(patience).ok()?;
        let start = self.all.len();
        self.all.push_str(&line);
        Some(&self.all[start..])
    }

    /// All that came, to the end of the stream.
    fn rest(&mut self) -> String {
        while self.next(LONG).is_some() {}
        self.all.clone()
    }
}

impl Process {
    fn new(mut child: Child) -> Process {
        let stdout = Lines::new(child.stdout.take().expect("is piped"));
        let stderr = Lines::new(child.stderr.take().expect("is piped"));
        Process { child, stdout, stderr, patience: LONG }
    }

    /// Where a server listens, when it says so.
    fn address(&mut self) -> Option<SocketAddr> {
        let line = self.stdout.next(LONG)?;
        line.trim().strip_prefix("listening on ")?.parse().ok()
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Waits for its end.
    fn end(&mut self) -> Option<ExitStatus> {
        let began = Instant::now();
        while began.elapsed() < self.patience {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        None
    }

    fn terminate(&mut self) {
        if self.ended().is_none() {
            // SAFETY: it is our child and has not been waited for.
            unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// In which system calls its threads are.
    fn waits(&self) -> String {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let of_task = |task: std::fs::DirEntry| {
            let file = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let call = file("syscall");
            format!("{}: {}", file("comm").trim(), call.split(' ').next().unwrap_or_default())
        };
        let all: Vec<String> = tasks.into_iter().flatten().flatten().map(of_task).collect();
        all.join(", ")
    }
}
