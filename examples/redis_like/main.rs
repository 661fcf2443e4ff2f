//! A small server that speaks Redis' protocol (RESP2 and RESP3, inline commands too): strings,
//! counters, expiry, lists with blocking pops, hashes, sets, transactions, publish and subscribe. All
//! data is in memory only.
//!
//!     cargo run --release --example redis_like -- 127.0.0.1:6380
//!
//! and in other terminals:
//!
//!     redis-cli -p 6380 set greeting hello ex 10
//!     redis-cli -p 6380 blpop jobs 0              then: redis-cli -p 6380 rpush jobs first
//!     redis-cli -p 6380 subscribe news            then: redis-cli -p 6380 publish news "it works"
//!     redis-benchmark -p 6380 -t set,get,incr,lpush,lpop -P 16 -c 500 -n 1000000 -q
//!
//! Where to read: `client` is the goroutine of one connection, `resp` the protocol, `hello` what a
//! client says of itself, `commands` the commands on the data, `transaction` several of them at once,
//! `store` the data, `pubsub` the subscriptions, `glob` the patterns.

mod client;
mod commands;
mod glob;
mod hello;
mod pubsub;
mod resp;
mod store;
mod transaction;

use narrowboat::chan::{self, Receiver};
use narrowboat::net::TcpListener;
use narrowboat::sync::{Mutex, MutexGuard};
use narrowboat::{go, select, time};
use pubsub::Hub;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;

/// The state that the connections share, behind one lock: as in Redis, one command runs at a time.
struct Database {
    state: Mutex<State>,
}

struct State {
    store: Store,
    hub: Hub,
}

impl Database {
    /// Narrowboat's mutex and not std's, because a message is published, and so sent on a channel,
    /// while the lock is held.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:6380".into());
    narrowboat::run(|| serve(address))
}

/// Serves clients at this address, for ever.
pub(crate) fn serve(address: String) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    let (changed, earlier) = chan::bounded(1);
    let state = State { store: Store::new(changed), hub: Hub::default() };
    let database = Arc::new(Database { state: Mutex::new(state) });
    go!(expire(database.clone(), earlier));
    loop {
        match listener.accept() {
            Ok((stream, _peer)) => {
                let database = database.clone();
                // A broken connection concerns only its client.
                go!(move || drop(client::serve(stream, &database)));
            }
            Err(error) => {
                // Most likely the process has no descriptors left. Open connections are still
                // served, and some of them will close.
                eprintln!("cannot accept: {error}; trying again");
                time::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Drops expired keys that no command touches. Sleeps until the next key expires, or until a key
/// with an earlier deadline is set.
fn expire(database: Arc<Database>, earlier: Receiver<()>) {
    loop {
        let next = database.lock().store.drop_expired(Instant::now());
        let due = next.map_or_else(chan::never, time::at);
        select! {
            recv(due) -> _ => {}
            recv(earlier) -> _ => {}
        }
    }
}
