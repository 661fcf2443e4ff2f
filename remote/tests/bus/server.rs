//! A NATS server of a test's own, on a port and in a directory of its own.

use narrowboat::remote::Bus;
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A running server. It ends, and its directory is removed, when this is dropped.
pub struct Server {
    process: Child,
    directory: PathBuf,
    port: u16,
}

impl Server {
    /// Starts a server, or says that there is none on this machine. Fails instead if
    /// `NARROWBOAT_REQUIRE_TOOLS` is set.
    pub fn start() -> Option<Server> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("narrowboat-nats-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("a directory can be made");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it listens").port();
        drop(listener);
        match Server::run(&directory, port) {
            Ok(process) => {
                let server = Server { process, directory, port };
                server.wait();
                Some(server)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let required = std::env::var_os("NARROWBOAT_REQUIRE_TOOLS").is_some();
                assert!(!required, "nats-server is required and not installed");
                let _ = writeln!(std::io::stderr(), "SKIPPED: nats-server not found");
                None
            }
            Err(error) => panic!("nats-server: {error}"),
        }
    }

    fn run(directory: &PathBuf, port: u16) -> std::io::Result<Child> {
        let path = std::env::var("PATH").unwrap_or_default();
        // Debian has it where not all users look. The program is looked for in this path, too.
        Command::new("nats-server")
            .env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"))
            .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
            .arg(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }

    /// Waits until it takes connections.
    fn wait(&self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "nats-server does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A new connection.
    pub fn connect(&self) -> Bus {
        Bus::connect(&self.url()).expect("it listens")
    }

    /// Kills it, as a machine that fails would.
    #[allow(dead_code, reason = "not all programs that share this file do that")]
    pub fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }

    /// Starts it again, on the same port and with what it has kept.
    #[allow(dead_code, reason = "as above")]
    pub fn start_again(&mut self) {
        self.process = Server::run(&self.directory, self.port).expect("it has started before");
        self.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
