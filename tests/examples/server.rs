//! Examples that listen, as processes that the tests start, look into and end.

use crate::example;
use narrowboat_testing::eventually;
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
        let mut process = command.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().expect("starts");
        let mut lines = BufReader::new(process.stdout.take().expect("is piped"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("says something");
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
        let address = first.trim().strip_prefix("listening on ").and_then(|address| address.parse().ok());
        let Some(address) = address else {
            let _ = process.kill();
            panic!("{command:?} should say where it listens, not {first:?}");
        };
        Server { process, address, output }
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

    /// Kilobytes of memory that the kernel holds for it: resident pages.
    pub fn resident(&self) -> usize {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("is there");
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

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
