//! Examples that listen, as processes that the tests start, look into and end.

use crate::example;
use narrowboat_testing::eventually;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An example that listens, killed when the test is over.
pub struct Server {
    process: Child,
    pub address: SocketAddr,
    /// What it has printed on stdout since it said where it listens.
    output: Arc<Mutex<String>>,
}

impl Server {
    /// The example, at a free port.
    pub fn start(name: &str) -> Server {
        Server::start_as(&mut example(name))
    }

    /// The same with arguments, which come before the address.
    pub fn start_with(name: &str, arguments: &[&str]) -> Server {
        Server::start_as(example(name).args(arguments))
    }

    /// With no more than so many descriptors, and without what it has to say about that.
    pub fn start_limited(name: &str, descriptors: usize) -> Server {
        let script = format!("ulimit -n {descriptors} && exec \"$0\" \"$1\" 2>/dev/null");
        Server::start_as(Command::new("sh").args(["-c", &script]).arg(example(name).get_program()))
    }

    /// A command that takes the address as its last argument.
    pub fn start_as(command: &mut Command) -> Server {
        Server::start_whole(command.arg("127.0.0.1:0"))
    }

    /// A command that knows its address.
    pub fn start_whole(command: &mut Command) -> Server {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("starts");
        let mut lines = BufReader::new(process.stdout.take().expect("is piped"));
        let mut said = String::new();
        let mut address = None;
        // Some have more to say before.
        while address.is_none() {
            let start = said.len();
            if lines.read_line(&mut said).expect("says something") == 0 {
                let _ = process.kill();
                panic!("{command:?} should say where it listens, not {said:?}");
            }
            address = address_in(&said[start..]);
        }
        // Kept empty from here on, or the server would block in a full pipe.
        let output = Arc::new(Mutex::new(String::new()));
        let collected = output.clone();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut output = collected.lock().expect("nothing panics while holding it");
                output.push_str(&line);
                output.push('\n');
            }
        });
        Server { process, address: address.expect("was just found"), output }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("accepts");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes a timeout");
        stream
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn threads(&self) -> usize {
        self.proc("status")
            .lines()
            .find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok())
            .expect("is there")
    }

    pub fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).expect("the server runs")
    }

    /// What its open descriptors are.
    pub fn descriptors(&self) -> Vec<String> {
        let directory = format!("/proc/{}/fd", self.process.id());
        let entries = std::fs::read_dir(directory).expect("the server runs");
        let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.map(|link| link.to_string_lossy().into_owned()).collect()
    }

    pub fn sockets(&self) -> usize {
        self.descriptors().iter().filter(|link| link.starts_with("socket:")).count()
    }

    /// How many threads it has of each kind: those whose names differ by a number are one.
    pub fn kinds_of_threads(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("the server runs");
        // One may end meanwhile.
        for name in tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok()) {
            let kind = name.trim().trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
        kinds
    }

    /// Seconds of processor time that it has used.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = self.proc("stat");
        let after_name = stat.rsplit(')').next().expect("stat has a name");
        let ticks = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<f64>().expect("is a number"));
        // SAFETY: it takes a number and returns one.
        ticks.sum::<f64>() / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64
    }

    /// Kilobytes of memory that the kernel holds for it: resident pages.
    pub fn resident(&self) -> usize {
        self.kilobytes("VmRSS:")
    }

    /// The most that it has had of them.
    pub fn peak(&self) -> usize {
        self.kilobytes("VmHWM:")
    }

    fn kilobytes(&self, what: &str) -> usize {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("is there");
        line.trim().trim_end_matches(" kB").trim().parse().expect("is a number")
    }

    pub fn output(&self) -> String {
        self.output.lock().expect("nothing panics while holding it").clone()
    }

    /// Sends it a signal, by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.process.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        self.process.try_wait().expect("it is our child").is_none()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the server ends", || {
            status = self.process.try_wait().expect("it is our child");
            status.is_some()
        });
        status.expect("was just seen")
    }

    /// Every trace of activity that the kernel keeps: processor time, and how often each thread slept or was preempted.
    pub fn activity(&self) -> Vec<String> {
        let stat = self.proc("stat");
        let after_name = stat.rsplit(')').next().expect("stat has a name");
        let mut trace: Vec<String> =
            after_name.split_whitespace().skip(11).take(2).map(String::from).collect();
        for task in std::fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("the server runs") {
            let status = task.and_then(|task| std::fs::read_to_string(task.path().join("status")));
            let status = status.unwrap_or_default();
            trace.extend(status.lines().filter(|line| line.contains("ctxt_switches")).map(String::from));
        }
        trace
    }
}

/// Where a server listens, if this line says so.
fn address_in(line: &str) -> Option<SocketAddr> {
    let line = line.trim();
    if let Some(console) = line.strip_prefix("console: nc ") {
        return console.replacen(' ', ":", 1).parse().ok();
    }
    line.strip_prefix("listening on ")?.parse().ok()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
