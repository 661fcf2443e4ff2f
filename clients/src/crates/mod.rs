//! One module for each crate that is tried, and the list of them.

mod channels;
#[cfg(feature = "libcurl")]
mod curl;
#[cfg(feature = "libpq")]
mod diesel;
mod echo;
mod hyper;
mod lettre;
mod locks;
pub mod mysql;
mod nats;
pub mod postgres;
mod process;
mod r2d2;
mod rayon;
mod redis;
mod reqwest;
mod reqwest_async;
#[cfg(feature = "libsqlite3")]
mod rusqlite;
mod sqlx;
#[cfg(feature = "libssl")]
mod tls;
mod tokio;
mod tonic;
mod tracing;
mod ureq;

use crate::server::Server;
use crate::work::{Failure, Mode, Open};

/// What is the same for all callers of a process.
pub struct Setting {
    pub mode: Mode,
    /// Where the servers are.
    pub addresses: crate::server::Addresses,
}

/// What is done once in a process.
pub type Prepare = fn(&Setting) -> Result<Open, Failure>;

pub struct Client {
    /// What it is called on the command line.
    pub name: &'static str,
    /// The crate whose version is printed.
    pub package: &'static str,
    pub work: &'static str,
    pub needs: &'static [Server],
    /// How many callers at full scale, and calls of each.
    pub callers: usize,
    pub calls: usize,
    /// Why it is known not to work on goroutines.
    pub fails: Option<&'static str>,
    /// None if the program was built without its C library, whose name is in `library`.
    pub prepare: Option<Prepare>,
    pub library: &'static str,
}

const PLAIN: Client = Client {
    name: "",
    package: "",
    work: "",
    needs: &[],
    callers: 1000,
    calls: 20,
    fails: None,
    prepare: None,
    library: "",
};

/// The function, if the program was built with the feature.
macro_rules! with {
    ($feature:literal, $function:path) => {{
        #[cfg(feature = $feature)]
        let function: Option<Prepare> = Some($function);
        #[cfg(not(feature = $feature))]
        let function = None;
        function
    }};
}

pub const ALL: &[Client] = &[
    Client {
        name: "redis",
        package: "redis",
        work: "SET and GET, a connection each",
        needs: &[Server::Redis],
        calls: 100,
        prepare: Some(redis::set_and_get),
        ..PLAIN
    },
    Client {
        name: "redis-blpop",
        package: "redis",
        work: "RPUSH to a peer that waits in BLPOP, and BLPOP of its answer",
        needs: &[Server::Redis],
        callers: 500,
        calls: 50,
        prepare: Some(redis::blpop),
        ..PLAIN
    },
    Client {
        name: "mysql",
        package: "mysql",
        work: "a prepared SELECT with SLEEP(0.01), a connection each",
        needs: &[Server::Mariadb],
        calls: 50,
        prepare: Some(mysql::connections),
        ..PLAIN
    },
    Client {
        name: "mysql-pool",
        package: "mysql",
        work: "a prepared SELECT with SLEEP(0.01) on a `Pool` of 50 connections",
        needs: &[Server::Mariadb],
        calls: 5,
        prepare: Some(mysql::pool),
        ..PLAIN
    },
    Client {
        name: "postgres",
        package: "postgres",
        work: "a prepared SELECT with pg_sleep(0.1), a connection each",
        needs: &[Server::Postgres],
        callers: 200,
        prepare: Some(postgres::connections),
        ..PLAIN
    },
    Client {
        name: "diesel",
        package: "diesel",
        work: "SELECT with pg_sleep(0.1) by libpq (C), a connection each",
        needs: &[Server::Postgres],
        callers: 200,
        prepare: with!("libpq", diesel::connections),
        library: "libpq",
        ..PLAIN
    },
    Client {
        name: "ureq",
        package: "ureq",
        work: "GET that takes 10 ms, from `localhost`, an agent each",
        needs: &[Server::Own],
        calls: 50,
        prepare: Some(ureq::get),
        ..PLAIN
    },
    Client {
        name: "reqwest",
        package: "reqwest",
        work: "GET that takes 10 ms, one `blocking::Client` for all",
        needs: &[Server::Own],
        calls: 100,
        prepare: Some(reqwest::get),
        ..PLAIN
    },
    Client {
        name: "curl",
        package: "curl",
        work: "GET that takes 10 ms by libcurl (C), a handle each",
        needs: &[Server::Own],
        calls: 100,
        prepare: with!("libcurl", curl::get),
        library: "libcurl",
        ..PLAIN
    },
    Client {
        name: "rusqlite",
        package: "rusqlite",
        work: "INSERT and SELECT by libsqlite3 (C) in one file, a connection each",
        callers: 100,
        calls: 200,
        prepare: with!("libsqlite3", rusqlite::rows),
        library: "libsqlite3",
        ..PLAIN
    },
    Client {
        name: "r2d2-sqlite",
        package: "r2d2",
        work: "SELECT by libsqlite3 on a pool of 10 connections",
        calls: 500,
        prepare: with!("libsqlite3", r2d2::sqlite),
        library: "libsqlite3",
        ..PLAIN
    },
    Client {
        name: "r2d2-postgres",
        package: "r2d2",
        work: "SELECT with pg_sleep(0.01) on a pool of 50 connections",
        needs: &[Server::Postgres],
        callers: 200,
        calls: 5,
        prepare: Some(r2d2::postgres),
        ..PLAIN
    },
    Client {
        name: "lettre",
        package: "lettre",
        work: "a message by SMTP, a connection for each",
        needs: &[Server::Own],
        calls: 5,
        prepare: Some(lettre::send),
        ..PLAIN
    },
    Client {
        name: "native-tls",
        package: "native-tls",
        work: "a handshake by OpenSSL (C) over `std::net::TcpStream`, then echoed lines",
        needs: &[Server::Own],
        calls: 200,
        prepare: with!("libssl", tls::lines),
        library: "libssl",
        ..PLAIN
    },
    Client {
        name: "process",
        package: "std",
        work: "`std::process::Command`: 16 KiB through `cat` by pipes",
        callers: 200,
        calls: 25,
        prepare: Some(process::cat),
        ..PLAIN
    },
    Client {
        name: "echo",
        package: "std",
        work: "`std::net`: a server with a goroutine or thread for each connection, and its callers",
        calls: 200,
        prepare: Some(echo::echo),
        ..PLAIN
    },
    Client {
        name: "crossbeam-channel",
        package: "crossbeam-channel",
        work: "question and answer with a peer, by channels without capacity",
        calls: 500,
        prepare: Some(channels::crossbeam),
        ..PLAIN
    },
    Client {
        name: "flume",
        package: "flume",
        work: "question and answer with a peer, by channels without capacity",
        calls: 500,
        prepare: Some(channels::flume),
        ..PLAIN
    },
    Client {
        name: "mpsc",
        package: "std",
        work: "`std::sync::mpsc`: question and answer with a peer, within a second",
        callers: 100,
        calls: 5,
        fails: Some("tells threads apart by the address of a thread-local"),
        prepare: Some(channels::mpsc),
        ..PLAIN
    },
    Client {
        name: "parking_lot",
        package: "parking_lot",
        work: "a mutex for all that is held for some instructions",
        calls: 5000,
        prepare: Some(locks::short),
        ..PLAIN
    },
    Client {
        name: "parking_lot-held",
        package: "parking_lot",
        work: "a mutex for ten callers that is held across a sleep of 1 ms, within a second",
        callers: 100,
        calls: 2,
        prepare: Some(locks::held),
        ..PLAIN
    },
    Client {
        name: "rayon",
        package: "rayon",
        work: "`par_iter` over 10,000 numbers, in `narrowboat::blocking` on goroutines",
        calls: 100,
        prepare: Some(rayon::blocking),
        ..PLAIN
    },
    Client {
        name: "rayon-outside",
        package: "rayon",
        work: "`par_iter` over 10,000 numbers",
        fails: Some("lends a word of the caller's thread-locals to its workers"),
        prepare: Some(rayon::outside),
        ..PLAIN
    },
    Client {
        name: "reqwest-async",
        package: "reqwest",
        work: "GET that takes 10 ms, one async `Client` for all",
        needs: &[Server::Own],
        calls: 100,
        prepare: Some(reqwest_async::get),
        ..PLAIN
    },
    Client {
        name: "hyper",
        package: "hyper",
        work: "a server with a goroutine or thread for each connection, and its callers; 10 ms",
        calls: 50,
        prepare: Some(hyper::both_ends),
        ..PLAIN
    },
    Client {
        name: "sqlx",
        package: "sqlx",
        work: "SELECT with pg_sleep(0.01) on a `PgPool` of 50 connections",
        needs: &[Server::Postgres],
        callers: 200,
        calls: 5,
        prepare: Some(sqlx::pool),
        ..PLAIN
    },
    Client {
        name: "tonic",
        package: "tonic",
        work: "gRPC's health service, one `Channel` for all",
        calls: 50,
        prepare: Some(tonic::health),
        ..PLAIN
    },
    Client {
        name: "async-nats",
        package: "async-nats",
        work: "a request, answered by a goroutine or thread from a `select!`",
        needs: &[Server::Nats],
        calls: 50,
        prepare: Some(nats::request),
        ..PLAIN
    },
    Client {
        name: "tokio",
        package: "tokio",
        work: "a question to a task by `mpsc` and `oneshot`, answered after a timer of 10 ms",
        calls: 50,
        prepare: Some(tokio::questions),
        ..PLAIN
    },
    Client {
        name: "tracing",
        package: "tracing",
        work: "a span that is current across a sleep of 1 ms, with `tracing-subscriber`",
        calls: 500,
        prepare: Some(tracing::spans),
        ..PLAIN
    },
];

pub fn find(name: &str) -> Option<&'static Client> {
    ALL.iter().find(|client| client.name == name)
}

/// The version in the lock file. A crate that is there twice is the one that this package names.
pub fn version(package: &str) -> String {
    const LOCK: &str = include_str!("../../Cargo.lock");
    if package == "std" {
        return String::new();
    }
    let ours = LOCK.split("[[package]]").find(|entry| entry.contains("name = \"clients\"")).unwrap_or("");
    let named = ours.lines().find_map(|line| {
        line.trim().strip_prefix(&format!("\"{package} "))?.strip_suffix("\",").map(String::from)
    });
    named.unwrap_or_else(|| {
        let entry =
            LOCK.split("[[package]]").find(|entry| entry.contains(&format!("name = \"{package}\"\n")));
        let line = entry.and_then(|entry| entry.lines().find_map(|line| line.strip_prefix("version = \"")));
        line.unwrap_or("?\"").trim_end_matches('"').to_string()
    })
}
