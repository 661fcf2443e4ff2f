//! The listener, and how many clients it admits.

use crate::connection::Client;
use crate::goroutines::Snapshots;
use crate::timeline::Timelines;
use narrowboat_net::{TcpListener, TcpStream, ToSocketAddrs};
use narrowboat_runtime::{Builder, sleep};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// What clients may use.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at the same time; further ones are told so and closed. A page has two at most.
    connections: usize,
    /// How long a connection may be without a request, and how long the head of one may take.
    pub(crate) head: Duration,
    /// How long each piece of a reply may take to be sent.
    pub(crate) send: Duration,
}

const USUAL: Limits =
    Limits { connections: 256, head: Duration::from_secs(20), send: Duration::from_secs(20) };

/// How long to wait when a connection cannot be accepted.
const PAUSE: Duration = Duration::from_millis(50);

/// An open window. It stays open when this is dropped.
#[derive(Clone)]
pub struct Window(Arc<Server>);

pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    closed: AtomicBool,
    open: AtomicUsize,
    pub(crate) limits: Limits,
    pub(crate) snapshots: Snapshots,
    pub(crate) timelines: Timelines,
}

/// Opens a window at an address, and returns. Goroutines of its own serve it until the process ends
/// or the window is [closed](Window::close).
///
/// # Errors
/// If the address cannot be listened at, or no goroutine started.
///
/// ```
/// use std::io::{Read, Write};
///
/// let window = narrowboat::diag::serve("127.0.0.1:0")?;
/// let mut client = narrowboat::net::TcpStream::connect(window.local_addr())?;
/// client.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
/// let mut page = String::new();
/// client.read_to_string(&mut page)?;
/// assert!(page.contains("narrowboat_goroutines"));
/// window.close();
/// # std::io::Result::Ok(())
/// ```
pub fn serve<A: ToSocketAddrs>(address: A) -> io::Result<Window> {
    serve_within(USUAL, address)
}

fn serve_within<A: ToSocketAddrs>(limits: Limits, address: A) -> io::Result<Window> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    let server = Arc::new(Server {
        listener,
        address,
        closed: AtomicBool::new(false),
        open: AtomicUsize::new(0),
        limits,
        snapshots: Snapshots::default(),
        timelines: Timelines::default(),
    });
    let window = Window(server.clone());
    Builder::new().name("debug window").spawn(move || server.accept())?;
    Ok(window)
}

impl Window {
    /// Where it listens: with the port that the system chose, if the given one was 0.
    ///
    /// ```
    /// let window = narrowboat::diag::serve("127.0.0.1:0")?;
    /// assert_ne!(window.local_addr().port(), 0);
    /// # window.close();
    /// # std::io::Result::Ok(())
    /// ```
    pub fn local_addr(&self) -> SocketAddr {
        self.0.address
    }

    /// Closes the window. Replies that are under way are finished.
    ///
    /// ```
    /// let window = narrowboat::diag::serve("127.0.0.1:0")?;
    /// window.close();
    /// assert!(std::net::TcpStream::connect(window.local_addr()).is_err());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
        self.0.listener.close();
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Window").field(&self.0.address).finish()
    }
}

impl Server {
    fn accept(self: Arc<Server>) {
        while !self.is_closed() {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(_) if self.is_closed() => return,
                // Most likely there are no descriptors left.
                Err(_) => sleep(PAUSE),
            }
        }
    }

    fn admit(self: &Arc<Server>, stream: TcpStream) {
        // Only this goroutine adds to the number.
        if self.open.load(Ordering::Relaxed) >= self.limits.connections {
            return Client::new(stream, self.limits).refuse();
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.clone());
        // Without memory for a goroutine the client finds its connection closed.
        let _ = Builder::new().name("debug window: a client").spawn(move || {
            let client = Client::new(stream, place.0.limits);
            // A broken connection concerns only its client.
            let _ = client.serve(&place.0);
        });
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Whether only programs of this machine reach it.
    pub(crate) fn is_local(&self) -> bool {
        self.address.ip().is_loopback()
    }
}

/// The place of one connection.
struct Place(Arc<Server>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use narrowboat_testing::{eventually, program};
    use std::io::{Read, Write};
    use std::time::Instant;

    const SHORT: Limits =
        Limits { connections: 3, head: Duration::from_millis(200), send: Duration::from_millis(200) };

    fn reply(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        // The client may be cut off.
        let _ = stream.read_to_string(&mut text);
        text
    }

    #[test]
    fn clients_that_are_slow_or_too_many_lose_their_connections() {
        program(|| {
            let window = serve_within(SHORT, "127.0.0.1:0").unwrap();
            let connect = || TcpStream::connect(window.local_addr()).unwrap();
            // A head that does not end, and none at all.
            let mut slow = connect();
            slow.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
            let mut silent = connect();
            let begun = Instant::now();
            assert!(reply(&mut slow).starts_with("HTTP/1.1 408 "));
            assert_eq!(reply(&mut silent), "");
            assert!(begun.elapsed() >= SHORT.head / 2);
            eventually("all have ended", || window.0.open.load(Ordering::Relaxed) == 0);

            // Requests whose replies it does not read.
            let mut deaf = connect();
            let asks = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20_000);
            // It is cut off, perhaps in the middle of this.
            let _ = deaf.write_all(&asks);
            let _ = deaf.read(&mut [0]);
            eventually("it is cut off", || window.0.open.load(Ordering::Relaxed) == 0);

            let looks: Vec<_> = (0..SHORT.connections)
                .map(|_| {
                    let mut look = connect();
                    look.write_all(b"GET /api/figures HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
                    let mut first = [0; 12];
                    look.read_exact(&mut first).unwrap();
                    assert_eq!(&first, b"HTTP/1.1 200");
                    look
                })
                .collect();
            assert!(reply(&mut connect()).starts_with("HTTP/1.1 503 "));
            drop(looks);
            eventually("all have ended", || window.0.open.load(Ordering::Relaxed) == 0);
            window.close();
        });
    }
}
