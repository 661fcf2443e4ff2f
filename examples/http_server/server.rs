//! What the connections share: the options, the counts, the list of those that are open, and
//! whether it is time to end.

use crate::options::Options;
use crate::stats::Stats;
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
    /// How many may be told at the same time that there is no room for them.
    pub refusals: Semaphore,
    stopping: AtomicBool,
    /// Second handles to the open connections, by which `stop` reaches those that wait for a
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

    /// Puts a connection on the list, until what is returned is dropped. `None` if the list is
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

    /// Takes no more connections, and ends those that wait for a request now, and the others when
    /// theirs is answered.
    ///
    /// Whoever waits for a request is woken by a deadline in the past. A connection changes its own
    /// deadline first and looks at `stopping` second, and here it is the other way round; so one of
    /// them sees the other.
    pub fn stop(&self) {
        self.stopping.store(true, SeqCst);
        // From here on the kernel refuses new connections, and an accept that is waiting ends.
        self.listener.close();
        for stream in self.connections().values() {
            let _ = stream.set_read_deadline(Some(Instant::now()));
        }
    }

    // Narrowboat's mutex and not std's, because `stop` calls Narrowboat while it holds it.
    fn connections(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.connections.lock().expect("nobody panics while holding it")
    }
}

/// A connection's place on the list of those that are open.
pub struct Entry<'a> {
    server: &'a Server,
    id: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.server.connections().remove(&self.id);
    }
}
