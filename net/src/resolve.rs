//! Resolving names to addresses.
//!
//! The system's resolver blocks the thread that calls it. So names are resolved on the pool of
//! blocking threads while the caller waits: a goroutine parks, a thread blocks. That is so for
//! [`lookup_host`], and for every function that takes [`ToSocketAddrs`] when it is given one of
//! std's types for names. Other implementations of that trait need not be `Send` and may borrow
//! from the caller's stack, which no other thread may access while the caller is parked; they
//! resolve in place.
//!
//! In a world with a simulated network the names are those of its hosts.

use crate::context;
use crate::simulated;
use narrowboat_chan::context::Context;
use narrowboat_chan::{bounded, select};
use narrowboat_runtime::park::Reason;
use narrowboat_runtime::{spawn, waiting_for};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::Location;
use std::vec;

/// The addresses of `addr`.
pub(crate) fn addresses<A: ToSocketAddrs>(
    addr: A,
    at: &'static Location<'static>,
) -> io::Result<Vec<SocketAddr>> {
    match name::of(&addr) {
        Some(host) => resolve(host, at).map(Iterator::collect),
        None => addr.to_socket_addrs().map(Iterator::collect),
    }
}

/// The same, but for no longer than until the context is done. A resolver that is then at work
/// finishes on its own.
pub(crate) fn addresses_until_done<A: ToSocketAddrs>(
    addr: A,
    context: &Context,
    at: &'static Location<'static>,
) -> io::Result<Vec<SocketAddr>> {
    context::check(context)?;
    let Some(host) = name::of(&addr) else { return addr.to_socket_addrs().map(Iterator::collect) };
    let (answer, answered) = bounded(1);
    spawn(move || answer.send(resolve(host, at)));
    select! {
        recv(answered) -> addresses => addresses.unwrap_or_else(|_| Err(no_address())).map(Iterator::collect),
        recv(context.done()) -> _ => Err(context::check(context).err().unwrap_or_else(no_address)),
    }
}

/// Tries the addresses of `addr`, one after the other, until one works.
///
/// # Errors
/// The error of the last address, or `InvalidInput` if there is none.
pub(crate) fn each_address<A: ToSocketAddrs, T>(
    addr: A,
    at: &'static Location<'static>,
    mut attempt: impl FnMut(&SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for address in addresses(addr, at)? {
        match attempt(&address) {
            Ok(result) => return Ok(result),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(no_address))
}

pub(crate) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "could not resolve to any addresses")
}

/// The addresses of `host`, which is a name and a port (`"example.com:80"`) or a numeric address.
///
/// The system resolves a name, on a thread of the pool of
/// [`blocking`](narrowboat_runtime::blocking), while the calling goroutine is parked (a plain
/// thread blocks). A numeric address is returned at once. The order is the resolver's.
///
/// # Errors
/// `InvalidInput` if there is no port, and the resolver's error if the name is not known.
///
/// # Examples
/// ```
/// use narrowboat::net::{TcpListener, TcpStream, lookup_host};
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
    narrowboat_runtime::park::checkpoint();
    resolve(Host::Joined(host.to_owned()), Location::caller())
}

/// A name that has to be resolved, with its port.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Host {
    Joined(String),
    Apart(String, u16),
}

impl Host {
    /// The name and the port.
    ///
    /// # Errors
    /// `InvalidInput` if there is no port, as with std.
    fn parts(&self) -> io::Result<(&str, u16)> {
        let joined = match self {
            Host::Apart(name, port) => return Ok((name, *port)),
            Host::Joined(joined) => joined,
        };
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        let (name, port) = joined.rsplit_once(':').ok_or_else(|| invalid("invalid socket address"))?;
        Ok((name, port.parse().map_err(|_| invalid("invalid port value"))?))
    }
}

fn resolve(host: Host, at: &'static Location<'static>) -> io::Result<vec::IntoIter<SocketAddr>> {
    let in_numbers = match &host {
        Host::Joined(host) => host.parse().ok(),
        Host::Apart(host, port) => host.parse().ok().map(|host| SocketAddr::new(host, *port)),
    };
    if let Some(address) = in_numbers {
        return Ok(vec![address].into_iter());
    }
    if let Some(network) = simulated::network() {
        let (name, port) = host.parts()?;
        let found = network.0.resolve(name)?;
        return Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect::<Vec<_>>().into_iter());
    }
    waiting_for(Reason::Resolve, at, move || match host {
        Host::Joined(host) => host.to_socket_addrs(),
        Host::Apart(host, port) => (host, port).to_socket_addrs(),
    })
}

/// Finds a name in a value of a generic type.
mod name {
    use super::Host;
    use std::any::TypeId;
    use std::marker::PhantomData;

    /// The identity of a type that may borrow: that of the type with `'static` in place of its
    /// lifetimes.
    fn id_of<T: ?Sized>() -> TypeId {
        trait Identified {
            fn id(&self) -> TypeId
            where
                Self: 'static;
        }
        impl<T: ?Sized> Identified for PhantomData<T> {
            fn id(&self) -> TypeId
            where
                Self: 'static,
            {
                TypeId::of::<T>()
            }
        }
        let phantom = PhantomData::<T>;
        let phantom: &dyn Identified = &phantom;
        // SAFETY: only the bound on a lifetime changes. The value is empty, and the called method
        // uses only the identity of the type, which the compiler computes with all lifetimes
        // erased.
        let phantom = unsafe { std::mem::transmute::<&dyn Identified, &(dyn Identified + 'static)>(phantom) };
        phantom.id()
    }

    /// `value` as an `S`, if `S` is its type up to lifetimes; these become that of the borrow.
    ///
    /// # Safety
    /// `S` is made of the same type constructors with lifetimes that a borrow of `value` cannot
    /// outlive.
    unsafe fn cast<T, S>(value: &T, name: TypeId) -> Option<&S> {
        // SAFETY: the same type up to lifetimes, hence the same layout and the same rules for its
        // contents.
        (id_of::<T>() == name).then(|| unsafe { &*std::ptr::from_ref(value).cast::<S>() })
    }

    /// The name in `value`, if its type is one of those that std resolves names for.
    pub(super) fn of<T>(value: &T) -> Option<Host> {
        // SAFETY: each type is the named one with the lifetime of the borrow of `value`, which is
        // no longer than what `value` borrows for.
        unsafe {
            if let Some(host) = cast::<T, &str>(value, TypeId::of::<&'static str>()) {
                return Some(Host::Joined((*host).to_owned()));
            }
            if let Some(host) = cast::<T, String>(value, TypeId::of::<String>()) {
                return Some(Host::Joined(host.clone()));
            }
            if let Some(host) = cast::<T, &String>(value, TypeId::of::<&'static String>()) {
                return Some(Host::Joined((*host).clone()));
            }
            if let Some((host, port)) = cast::<T, (&str, u16)>(value, TypeId::of::<(&'static str, u16)>()) {
                return Some(Host::Apart((*host).to_owned(), *port));
            }
            let (host, port) = cast::<T, (String, u16)>(value, TypeId::of::<(String, u16)>())?;
            Some(Host::Apart(host.clone(), *port))
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn names_are_found_whatever_they_borrow_and_nothing_else_is() {
            let owned = String::from("host:80");
            let joined = || Some(Host::Joined("host:80".into()));
            assert_eq!(of(&owned), joined());
            assert_eq!(of(&&owned), joined());
            assert_eq!(of(&owned.as_str()), joined());
            assert_eq!(of(&"host:80"), joined());
            assert_eq!(of(&(&owned[..4], 80u16)), Some(Host::Apart("host".into(), 80)));
            assert_eq!(of(&(owned[..4].to_owned(), 80u16)), Some(Host::Apart("host".into(), 80)));
            assert_eq!(of(&("host", 80u32)), None);
            assert_eq!(of(&std::net::SocketAddr::from(([127, 0, 0, 1], 80))), None);
            assert_eq!(of(&owned.as_bytes()), None);
            assert_eq!(of(&&&owned), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_tried_and_the_last_error_is_returned() {
        let at = Location::caller();
        let addresses: Vec<SocketAddr> = (1..4).map(|port| ([127, 0, 0, 1], port).into()).collect();
        let mut tried = Vec::new();
        let error = each_address(&addresses[..], at, |address| -> io::Result<()> {
            tried.push(*address);
            Err(io::Error::other(address.port().to_string()))
        });
        assert_eq!(tried, addresses);
        assert_eq!(error.unwrap_err().to_string(), "3");
        let found = each_address(&addresses[..], at, |address| {
            if address.port() == 2 { Ok(address.port()) } else { Err(io::ErrorKind::Other.into()) }
        });
        assert_eq!(found.unwrap(), 2);
        let none = each_address(&addresses[..0], at, |_| Ok(())).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn numbers_need_no_resolver_and_names_do() {
        assert_eq!(lookup_host("[::1]:80").unwrap().collect::<Vec<_>>(), ["[::1]:80".parse().unwrap()]);
        assert!(lookup_host("localhost:80").unwrap().all(|address| address.ip().is_loopback()));
        assert_eq!(lookup_host("no port").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let at = Location::caller();
        assert!(addresses(("localhost", 80), at).unwrap().iter().all(|address| address.ip().is_loopback()));
        assert_eq!(addresses(("::1", 80), at).unwrap(), ["[::1]:80".parse().unwrap()]);
    }

    /// A resolver that is stuck delays only its own callers.
    #[test]
    fn resolving_leaves_the_goroutines_thread_free() {
        use std::sync::mpsc;
        let (go_on, stuck) = mpsc::channel::<()>();
        let resolving = narrowboat_runtime::spawn(move || {
            waiting_for(Reason::Resolve, Location::caller(), move || stuck.recv().unwrap());
        });
        let others: Vec<_> = (0..200).map(|n| narrowboat_runtime::spawn(move || n)).collect();
        for (n, other) in others.into_iter().enumerate() {
            assert_eq!(other.join().unwrap(), n);
        }
        assert!(!resolving.is_finished());
        go_on.send(()).unwrap();
        resolving.join().unwrap();
    }
}
