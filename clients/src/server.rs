//! Which servers there are, and where: their programs, and the addresses in the environment.

use crate::work::Failure;
use std::fs;
use std::path::PathBuf;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Redis,
    Mariadb,
    Postgres,
    Nats,
    /// `clients serve`: HTTP, SMTP and TLS.
    Own,
}

impl Server {
    pub const ALL: [Server; 5] =
        [Server::Redis, Server::Mariadb, Server::Postgres, Server::Nats, Server::Own];

    /// The program, and the name of the variable with its address.
    pub fn name(self) -> &'static str {
        match self {
            Server::Redis => "redis-server",
            Server::Mariadb => "mariadbd",
            Server::Postgres => "postgres",
            Server::Nats => "nats-server",
            Server::Own => "clients serve",
        }
    }

    pub fn variable(self) -> &'static str {
        match self {
            Server::Redis => "CLIENTS_REDIS",
            Server::Mariadb => "CLIENTS_MARIADB",
            Server::Postgres => "CLIENTS_POSTGRES",
            Server::Nats => "CLIENTS_NATS",
            Server::Own => "CLIENTS_OWN",
        }
    }

    pub fn program(self) -> Result<PathBuf, Failure> {
        match self {
            Server::Own => Ok(std::env::current_exe()?),
            server => find(server.name()),
        }
    }
}

/// Where servers are, as their processes' children find it in the environment.
pub struct Addresses;

pub const FOLDER: &str = "CLIENTS_FOLDER";

impl Addresses {
    pub fn of(&self, server: Server) -> Result<&'static str, Failure> {
        let address = std::env::var(server.variable()).map_err(|_| format!("no {}", server.name()))?;
        // A handful in the life of a process.
        Ok(address.leak())
    }

    /// One of several addresses with spaces between them.
    pub fn part(&self, server: Server, index: usize) -> Result<&'static str, Failure> {
        Ok(self.of(server)?.split(' ').nth(index).ok_or("no such address")?)
    }

    pub fn folder(&self) -> Result<PathBuf, Failure> {
        Ok(std::env::var(FOLDER)?.into())
    }
}

/// A program of this name, where servers are.
pub fn find(name: &str) -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    found.ok_or_else(|| format!("{name} is not installed").into())
}
