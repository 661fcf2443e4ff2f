//! The processes of the servers: those of Debian, and this program's own, each on a loopback port
//! or a socket in a folder that is removed in the end.

use crate::server::{FOLDER, Server, find};
use crate::work::{Failure, PATIENCE};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The user of this name and its group, if the caller is root: PostgreSQL does not run as root.
fn other_user(name: &str) -> Result<Option<(u32, u32)>, Failure> {
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let fields =
        users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name);
    let fields = fields.ok_or_else(|| format!("there is no user {name}"))?;
    Ok(Some((fields[2].parse()?, fields[3].parse()?)))
}

/// Ends the command's process when this one has ended, with the signal.
pub fn with_parent(command: &mut Command, signal: libc::c_int) -> &mut Command {
    // SAFETY: one system call, which may be made after a fork.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, signal) == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        })
    }
}

/// Sends a signal to a child that has not been waited for, so that the number is still its own.
pub fn signal(child: &Child, signal: libc::c_int) {
    // SAFETY: it reaches the child alone.
    unsafe { libc::kill(child.id() as libc::pid_t, signal) };
}

/// Whether it has ended within the time.
pub fn ends_within(child: &mut Child, time: Duration) -> bool {
    let start = Instant::now();
    loop {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return true;
        }
        if start.elapsed() > time {
            return false;
        }
        sleep(Duration::from_millis(10));
    }
}

fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A running server, which ends with this value.
pub struct Running {
    server: Server,
    ports: Vec<u16>,
    folder: PathBuf,
    child: Option<Child>,
}

impl Running {
    fn start(server: Server, folder: &Path) -> Result<Running, Failure> {
        let folder = folder.join(server.name().replace(' ', "-"));
        fs::create_dir(&folder)?;
        let count = if server == Server::Own { 3 } else { 1 };
        let ports = (0..count).map(|_| free_port()).collect::<Result<_, _>>()?;
        let mut running = Running { server, ports, folder, child: None };
        running.prepare()?;
        running.begin()?;
        Ok(running)
    }

    /// What is done once, before the server starts for the first time.
    fn prepare(&self) -> Result<(), Failure> {
        let data = self.folder.join("data");
        let mut command = match self.server {
            Server::Redis | Server::Nats | Server::Own => return Ok(()),
            Server::Mariadb => {
                let mut command = Command::new(find("mariadb-install-db")?);
                command.args(["--no-defaults", "--skip-test-db", "--auth-root-authentication-method=normal"]);
                command.arg("--user=root").arg(argument("--datadir=", &data));
                command
            }
            Server::Postgres => {
                let mut command = Command::new(find("initdb")?);
                command.args([
                    "--auth=trust",
                    "--username=postgres",
                    "--no-sync",
                    "--locale=C",
                    "--encoding=UTF8",
                ]);
                command.arg("-D").arg(&data);
                self.change_user(&mut command)?;
                command
            }
        };
        let output = self.quiet(&mut command, "prepare.log")?.status()?;
        if output.success() {
            Ok(())
        } else {
            let log = fs::read_to_string(self.folder.join("prepare.log")).unwrap_or_default();
            Err(format!("{} cannot be prepared: {log}", self.server.name()).into())
        }
    }

    fn change_user(&self, command: &mut Command) -> Result<(), Failure> {
        if let Some((user, group)) = other_user("postgres")? {
            chown(&self.folder, Some(user), Some(group))?;
            command.uid(user).gid(group);
        }
        Ok(())
    }

    fn quiet<'a>(&self, command: &'a mut Command, log: &str) -> Result<&'a mut Command, Failure> {
        let log = File::options().append(true).create(true).open(self.folder.join(log))?;
        Ok(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir(&self.folder))
    }

    fn begin(&mut self) -> Result<(), Failure> {
        let data = self.folder.join("data");
        let port = self.ports[0].to_string();
        let mut command = Command::new(self.server.program()?);
        match self.server {
            Server::Redis => {
                command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--maxclients", "10000"]);
                command.args(["--tcp-backlog", "4096"]);
            }
            Server::Mariadb => {
                command.args(["--no-defaults", "--user=root", "--skip-grant-tables", "--skip-name-resolve"]);
                command.args(["--skip-log-bin", "--bind-address=127.0.0.1", "--max-connections=5000"]);
                command.args(["--back-log=4096", "--innodb-flush-log-at-trx-commit=0", "--port", &port]);
                command
                    .arg(argument("--datadir=", &data))
                    .arg(argument("--socket=", &self.folder.join("socket")));
            }
            Server::Postgres => {
                command.args([
                    "-c",
                    "listen_addresses=127.0.0.1",
                    "-c",
                    "max_connections=300",
                    "-c",
                    "fsync=off",
                ]);
                command.arg("-p").arg(&port).arg("-D").arg(&data).arg("-k").arg(&self.folder);
                self.change_user(&mut command)?;
            }
            Server::Nats => {
                command.args(["--addr", "127.0.0.1", "--port", &port]);
            }
            Server::Own => {
                command.arg("serve").args(self.ports.iter().map(u16::to_string));
                command.arg(self.folder.with_file_name("own"));
            }
        }
        let signal = if self.server == Server::Postgres { libc::SIGINT } else { libc::SIGTERM };
        with_parent(self.quiet(&mut command, "log")?, signal);
        self.child = Some(command.spawn()?);
        let start = Instant::now();
        while !self.answers() {
            let ended = self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || start.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                return Err(format!("{} does not start: {log}", self.server.name()).into());
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn answers(&self) -> bool {
        match self.server {
            Server::Redis => redis::Client::open(format!("redis://{}/", self.address()))
                .and_then(|client| client.get_connection())
                .and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection))
                .is_ok(),
            Server::Mariadb => crate::crates::mysql::options(&self.address())
                .is_ok_and(|options| mysql::Conn::new(options).is_ok()),
            Server::Postgres => crate::crates::postgres::config(&self.address())
                .is_ok_and(|config| config.connect(postgres::NoTls).is_ok()),
            Server::Nats | Server::Own => {
                self.ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
            }
        }
    }

    fn address(&self) -> String {
        let addresses: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        addresses.join(" ")
    }

    /// Ends it, its connections included: in an orderly way, or at once.
    fn end(&mut self, orderly: bool) {
        let Some(mut child) = self.child.take() else { return };
        // PostgreSQL waits for its connections' ends at SIGTERM, and leaves processes behind at SIGKILL.
        let number = match (self.server, orderly) {
            (Server::Postgres, true) => libc::SIGINT,
            (Server::Postgres, false) => libc::SIGQUIT,
            (_, true) => libc::SIGTERM,
            (_, false) => libc::SIGKILL,
        };
        signal(&child, number);
        if !ends_within(&mut child, Duration::from_secs(20)) {
            // It has not been waited for, so the number is still its own.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// How long it took to end, and how long to start.
    pub fn restart(&mut self, orderly: bool) -> Result<(Duration, Duration), Failure> {
        let start = Instant::now();
        self.end(orderly);
        let ended = start.elapsed();
        self.begin()?;
        Ok((ended, start.elapsed() - ended))
    }

    pub fn server(&self) -> Server {
        self.server
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(true);
    }
}

fn argument(option: &str, file: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(option);
    argument.push(file);
    argument
}

/// All servers that could be started, and what they are told by.
pub struct Servers {
    pub running: Vec<Running>,
    pub missing: Vec<(Server, String)>,
    folder: PathBuf,
}

impl Servers {
    pub fn start(wanted: &[Server]) -> Result<Servers, Failure> {
        let folder = std::env::temp_dir().join(format!("narrowboat-clients-{}", std::process::id()));
        fs::create_dir(&folder)?;
        let mut servers = Servers { running: Vec::new(), missing: Vec::new(), folder };
        #[cfg(feature = "libssl")]
        crate::own::make_certificate(&servers.folder)?;
        for &server in wanted {
            match Running::start(server, &servers.folder) {
                Ok(running) => servers.running.push(running),
                Err(error) => servers.missing.push((server, error.to_string())),
            }
        }
        Ok(servers)
    }

    pub fn has(&self, server: Server) -> bool {
        self.running.iter().any(|running| running.server == server)
    }

    /// A file in the folder that is removed in the end.
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// This program with other arguments, and with the addresses in its environment.
    pub fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Result<Command, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).env(FOLDER, &self.folder);
        for running in &self.running {
            command.env(running.server.variable(), running.address());
        }
        with_parent(&mut command, libc::SIGKILL);
        Ok(command)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.running.clear();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
