//! From names to addresses.
//!
//! The system's resolver blocks the thread that calls it. [`lookup_host`] calls it on a thread of its own and
//! parks the caller meanwhile, goroutine or thread; anybody may call it. Everything else here resolves in
//! place.

use narrowboat_runtime::park::{Outcome, Reason, WaitQueue, Waiter};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{thread, vec};

/// Tries what `addr` stands for, address by address, until one works.
///
/// It resolves in place: an implementation of `ToSocketAddrs` need not be `Send`, and borrows from the
/// caller's stack, which no other thread may look at while the caller is parked.
///
/// # Errors
/// The last address's, or `InvalidInput` if there is none.
pub(crate) fn each_address<A: ToSocketAddrs, T>(
    addr: A,
    mut attempt: impl FnMut(&SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for address in addr.to_socket_addrs()? {
        match attempt(&address) {
            Ok(result) => return Ok(result),
            Err(error) => last = Some(error),
        }
    }
    let none = || io::Error::new(io::ErrorKind::InvalidInput, "could not resolve to any addresses");
    Err(last.unwrap_or_else(none))
}

/// The addresses of `host`, which is a name and a port (`"example.com:80"`) or an address in numbers.
///
/// A name is resolved by the system, on a thread made for the purpose, while the calling goroutine is parked
/// (a plain thread blocks). An address in numbers is returned at once. The order is the resolver's.
///
/// # Errors
/// `InvalidInput` if there is no port, the resolver's error if the name is not known, and the system's if it
/// has no thread to spare.
///
/// # Examples
/// ```
/// use narrowboat_net::{TcpListener, TcpStream, lookup_host};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let name = format!("localhost:{}", listener.local_addr()?.port());
/// let addresses: Vec<_> = lookup_host(&name)?.filter(|address| address.is_ipv4()).collect();
/// let stream = TcpStream::connect(&addresses[..])?;
/// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn lookup_host(host: &str) -> io::Result<vec::IntoIter<SocketAddr>> {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return Ok(vec![address].into_iter());
    }
    let host = host.to_owned();
    elsewhere("narrowboat-resolve", move || host.to_socket_addrs(), Location::caller())?
}

/// A result that another thread works out, and whoever waits for it. On the heap, where both sides reach it.
struct Elsewhere<T> {
    result: Option<thread::Result<T>>,
    waiters: WaitQueue,
}

fn lock<T>(shared: &Mutex<Elsewhere<T>>) -> MutexGuard<'_, Elsewhere<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` on a thread called `name`, while the caller is parked. A panic in it is the caller's.
///
/// # Errors
/// If there is no thread to be had.
fn elsewhere<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
    at: &'static Location<'static>,
) -> io::Result<T> {
    let shared = Arc::new(Mutex::new(Elsewhere { result: None, waiters: WaitQueue::new() }));
    let theirs = Arc::clone(&shared);
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let mut shared = lock(&theirs);
        shared.result = Some(result);
        let waiting = shared.waiters.pop_claim(None);
        drop(shared);
        if let Some(node) = waiting {
            // SAFETY: popped above, so valid until the unpark, which is the only one of this wait.
            unsafe { node.as_ref().waiter().unpark() };
        }
    })?;

    let waiter = Waiter::begin(Reason::Resolve, Arc::as_ptr(&shared).addr(), at);
    let node = waiter.node();
    let mut guard = lock(&shared);
    if guard.result.is_none() {
        // SAFETY: the node is the calling party's own and stands in no queue between its waits; it lives
        // until after the wait, and the lock guards it.
        unsafe {
            (*node.as_ptr()).prepare(waiter, Outcome(Outcome::FIRST), true);
            guard.waiters.push(node);
        }
        drop(guard);
        // SAFETY: from the latest `begin` of this party, and published above.
        unsafe { waiter.park(None) };
        guard = lock(&shared);
    }
    let result = guard.result.take().expect("woken when the result is there");
    drop(guard);
    result.map_err(|panic| -> io::Error { std::panic::resume_unwind(panic) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_tried_and_the_last_error_is_returned() {
        let addresses: Vec<SocketAddr> = (1..4).map(|port| ([127, 0, 0, 1], port).into()).collect();
        let mut tried = Vec::new();
        let error = each_address(&addresses[..], |address| -> io::Result<()> {
            tried.push(*address);
            Err(io::Error::other(address.port().to_string()))
        });
        assert_eq!(tried, addresses);
        assert_eq!(error.unwrap_err().to_string(), "3");
        let found = each_address(&addresses[..], |address| {
            if address.port() == 2 { Ok(address.port()) } else { Err(io::ErrorKind::Other.into()) }
        });
        assert_eq!(found.unwrap(), 2);
        let none = each_address(&addresses[..0], |_| Ok(())).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn numbers_need_no_resolver_and_names_do() {
        assert_eq!(lookup_host("[::1]:80").unwrap().collect::<Vec<_>>(), ["[::1]:80".parse().unwrap()]);
        assert!(lookup_host("localhost:80").unwrap().all(|address| address.ip().is_loopback()));
        assert_eq!(lookup_host("no port").unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn work_elsewhere_is_on_another_thread_and_its_panic_comes_back() {
        let here = thread::current().id();
        let there = elsewhere("test", || thread::current().id(), Location::caller()).unwrap();
        assert_ne!(here, there);
        let panic = std::panic::catch_unwind(|| {
            elsewhere("test", || -> () { std::panic::panic_any(7u8) }, Location::caller())
        });
        assert_eq!(panic.unwrap_err().downcast_ref::<u8>(), Some(&7));
    }
}
