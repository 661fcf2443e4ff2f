//! The state that the connections share: the options, the counts, the list of open connections, and
//! whether the server is stopping.

use super::options::Options;
use super::stats::Stats;
use narrowboat::chan::Receiver;
use narrowboat::net::{TcpListener, TcpStream};
use narrowboat::sync::{Mutex, MutexGuard, Semaphore};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Instant;

pub struct Server {
    pub listener: TcpListener,
    pub options: Options,
    pub stats: Stats,
    /// Limits how many clients may be refused at the same time.
    pub refusals: Semaphore,
    stopping: AtomicBool,
    /// Second handles to the open connections, through which `stop` wakes those that wait for a
    /// request.
    connections: Mutex<HashMap<u64, TcpStream>>,
    next: AtomicU64,
}

impl Server {
    pub fn new(listener: TcpListener, options: Options) -> (Arc<Server>, Receiver<()>) {
        let (stats, traffic) = Stats::new();
        let server = Server {
            listener,
            options,
            stats,
            refusals: Semaphore::new(64),
            stopping: AtomicBool::new(false),
            connections: Mutex::default(),
            next: AtomicU64::new(0),
        };
        (Arc::new(server), traffic)
    }

    /// Adds a connection to the list, until the returned entry is dropped. `None` if the list is
    /// full.
    pub fn enter(&self, stream: &TcpStream) -> io::Result<Option<Entry<'_>>> {
        let stream = stream.try_clone()?;
        let mut connections = self.connections();
        if connections.len() >= self.options.max_connections {
            return Ok(None);
        }
        let id = self.next.fetch_add(1, SeqCst);
        connections.insert(id, stream);
        Ok(Some(Entry { server: self, id }))
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.connections().len()
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    /// Accepts no more connections. Ends connections that wait for a request at once, and other
    /// connections when their request is answered.
    ///
    /// A deadline in the past wakes the connections that wait for a request. A connection sets its
    /// own deadline first and reads `stopping` second. This function does it in the opposite order.
    /// So at least one of the two sees the other's change.
    pub fn stop(&self) {
        self.stopping.store(true, SeqCst);
        // From here on the kernel refuses new connections, and an accept that is waiting ends.
        self.listener.close();
        for stream in self.connections().values() {
            let _ = stream.set_read_deadline(Some(Instant::now()));
        }
    }

    // Narrowboat's mutex and not std's, because `stop` calls Narrowboat while it holds the lock.
    fn connections(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.connections.lock().expect("no holder of the lock panics")
    }
}

/// A connection's entry in the list of open connections. Dropping it removes the connection.
pub struct Entry<'a> {
    server: &'a Server,
    id: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.server.connections().remove(&self.id);
    }
}
