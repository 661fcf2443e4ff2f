//! A UDP socket. Safe to use from any number of goroutines and threads at once; see
//! [`crate::source`].

use crate::context::WithContext;
use crate::convert::descriptor_conversions;
use crate::datagram::datagram_methods;
use crate::handle;
use crate::methods::shared_methods_both_ways;
use crate::resolve::{addresses, each_address, no_address};
use crate::simulated::Setting;
use crate::source::{Operation, Source};
use crate::sys::socket;
use crate::transfer;
use narrowboat_runtime::park::{Reason, checkpoint};
use socket2::SockAddr;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::panic::Location;
use std::sync::Arc;

/// A UDP socket: [`std::net::UdpSocket`] with blocking calls that park the calling goroutine. From
/// a plain thread they block the thread.
///
/// # Examples
/// ```
/// use narrowboat::net::UdpSocket;
///
/// let echo = UdpSocket::bind("127.0.0.1:0")?;
/// let address = echo.local_addr()?;
/// narrowboat::spawn(move || -> std::io::Result<()> {
///     let mut buffer = [0; 1500];
///     loop {
///         let (length, from) = echo.recv_from(&mut buffer)?;
///         echo.send_to(&buffer[..length], from)?;
///     }
/// });
///
/// let socket = UdpSocket::bind("127.0.0.1:0")?;
/// socket.send_to(b"over and back", address)?;
/// let mut text = [0; 16];
/// assert_eq!(socket.recv_from(&mut text)?, (13, address));
/// # std::io::Result::Ok(())
/// ```
pub struct UdpSocket {
    source: Arc<Source>,
}

impl UdpSocket {
    /// A socket at `addr`, or at the first of its addresses that works. With port 0 the system
    /// chooses. Host names are resolved as in [`TcpStream::connect`](crate::TcpStream::connect).
    ///
    /// # Errors
    /// The error of the last address, if none works. `InvalidInput` if there is no address at all.
    ///
    /// # Examples
    /// ```
    /// let socket = narrowboat::net::UdpSocket::bind("127.0.0.1:0")?;
    /// assert_ne!(socket.local_addr()?.port(), 0);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        checkpoint();
        let socket = each_address(addr, Location::caller(), handle::bind_datagram)?;
        Ok(UdpSocket { source: Arc::new(Source::new(socket)) })
    }

    /// Connects the socket: [`send`](UdpSocket::send) sends to `addr`, or to the first of its
    /// addresses that works, and only datagrams from there are received.
    ///
    /// # Errors
    /// The error of the last address, if none works.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::UdpSocket;
    ///
    /// let other = UdpSocket::bind("127.0.0.1:0")?;
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.connect(other.local_addr()?)?;
    /// assert_eq!(socket.peer_addr()?, other.local_addr()?);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        checkpoint();
        each_address(addr, Location::caller(), |address| {
            self.source.handle().connect_datagram(&SockAddr::from(*address))
        })
    }

    /// Sends a datagram to `addr`, and returns how many bytes were sent. Of several addresses it
    /// takes the first, as std does.
    ///
    /// # Errors
    /// The system's, for example that the datagram is too long. `InvalidInput` if there is no
    /// address at all.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::net::UdpSocket;
    ///
    /// let other = UdpSocket::bind("127.0.0.1:0")?;
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// assert_eq!(socket.send_to(b"text", other.local_addr()?)?, 4);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        let at = Location::caller();
        let to = addresses(addr, at)?.into_iter().next().ok_or_else(no_address)?;
        transfer::send_to(&self.source, Operation::new(Reason::Write, at), buf, &SockAddr::from(to))
    }

    /// The address of this socket.
    ///
    /// # Errors
    /// The system's, for a descriptor that is no internet socket.
    ///
    /// # Examples
    /// ```
    /// let socket = narrowboat::net::UdpSocket::bind("127.0.0.1:0")?;
    /// assert!(socket.local_addr()?.ip().is_loopback());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        checkpoint();
        self.source.handle().local_address()
    }

    /// The address that the socket is connected to.
    ///
    /// # Errors
    /// `NotConnected`, if the socket is not connected.
    ///
    /// # Examples
    /// ```
    /// let socket = narrowboat::net::UdpSocket::bind("127.0.0.1:0")?;
    /// assert_eq!(socket.peer_addr().unwrap_err().kind(), std::io::ErrorKind::NotConnected);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        checkpoint();
        self.source.handle().peer_address()
    }

    fn set(&self, setting: Setting, value: impl Into<u32>) -> io::Result<()> {
        checkpoint();
        self.source.handle().set(setting, value)
    }

    fn setting(&self, setting: Setting) -> io::Result<u32> {
        checkpoint();
        self.source.handle().setting(setting)
    }

    /// Memberships do not wait, so std's own code may change them.
    fn as_std(&self, f: impl FnOnce(&std::net::UdpSocket) -> io::Result<()>) -> io::Result<()> {
        checkpoint();
        socket::as_std(self.source.handle().of_system()?, f)
    }

    /// Whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`); off by default.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// let socket = narrowboat::net::UdpSocket::bind("127.0.0.1:0")?;
    /// socket.set_broadcast(true)?;
    /// assert_eq!(socket.broadcast()?, true);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.set(Setting::Broadcast, on)
    }

    /// Whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`).
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// narrowboat::net::UdpSocket::bind("127.0.0.1:0")?.broadcast()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn broadcast(&self) -> io::Result<bool> {
        Ok(self.setting(Setting::Broadcast)? != 0)
    }

    /// Sets the time to live of packets (`IP_TTL`).
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// let socket = narrowboat::net::UdpSocket::bind("127.0.0.1:0")?;
    /// socket.set_ttl(42)?;
    /// assert_eq!(socket.ttl()?, 42);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.set(Setting::TimeToLive, ttl)
    }

    /// The time to live of packets (`IP_TTL`).
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// narrowboat::net::UdpSocket::bind("127.0.0.1:0")?.ttl()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        self.setting(Setting::TimeToLive)
    }

    /// Whether datagrams to a group are also received by its members on this machine
    /// (`IP_MULTICAST_LOOP`); on by default.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// let socket = narrowboat::net::UdpSocket::bind("127.0.0.1:0")?;
    /// socket.set_multicast_loop_v4(false)?;
    /// assert_eq!(socket.multicast_loop_v4()?, false);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        self.set(Setting::MulticastLoopV4, on)
    }

    /// Whether datagrams to a group are also received by its members on this machine
    /// (`IP_MULTICAST_LOOP`).
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// narrowboat::net::UdpSocket::bind("127.0.0.1:0")?.multicast_loop_v4()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        Ok(self.setting(Setting::MulticastLoopV4)? != 0)
    }

    /// Sets the time to live of packets to groups (`IP_MULTICAST_TTL`), 1 by default.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// let socket = narrowboat::net::UdpSocket::bind("127.0.0.1:0")?;
    /// socket.set_multicast_ttl_v4(5)?;
    /// assert_eq!(socket.multicast_ttl_v4()?, 5);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.set(Setting::MulticastTtlV4, ttl)
    }

    /// The time to live of packets to groups (`IP_MULTICAST_TTL`).
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```
    /// narrowboat::net::UdpSocket::bind("127.0.0.1:0")?.multicast_ttl_v4()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.setting(Setting::MulticastTtlV4)
    }

    /// [`set_multicast_loop_v4`](UdpSocket::set_multicast_loop_v4) for IPv6
    /// (`IPV6_MULTICAST_LOOP`).
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```no_run
    /// let socket = narrowboat::net::UdpSocket::bind("[::1]:0")?;
    /// socket.set_multicast_loop_v6(false)?;
    /// assert_eq!(socket.multicast_loop_v6()?, false);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        self.set(Setting::MulticastLoopV6, on)
    }

    /// [`multicast_loop_v4`](UdpSocket::multicast_loop_v4) for IPv6 (`IPV6_MULTICAST_LOOP`).
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```no_run
    /// narrowboat::net::UdpSocket::bind("[::1]:0")?.multicast_loop_v6()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        Ok(self.setting(Setting::MulticastLoopV6)? != 0)
    }

    /// Joins a group: datagrams to it are received here from now on. `interface` is the address of
    /// the interface to listen at, or unspecified to let the system choose.
    ///
    /// # Errors
    /// The system's; `InvalidInput` if `multiaddr` is not the address of a group.
    ///
    /// # Examples
    /// ```no_run
    /// use std::net::Ipv4Addr;
    ///
    /// let socket = narrowboat::net::UdpSocket::bind("0.0.0.0:0")?;
    /// socket.join_multicast_v4(&Ipv4Addr::new(224, 0, 0, 123), &Ipv4Addr::UNSPECIFIED)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.as_std(|socket| socket.join_multicast_v4(multiaddr, interface))
    }

    /// Joins an IPv6 group. `interface` is the index of the interface to listen at, or 0 for any.
    ///
    /// # Errors
    /// As [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    ///
    /// # Examples
    /// ```no_run
    /// let socket = narrowboat::net::UdpSocket::bind("[::]:0")?;
    /// socket.join_multicast_v6(&"ff02::123".parse().unwrap(), 0)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.as_std(|socket| socket.join_multicast_v6(multiaddr, interface))
    }

    /// Leaves a group that was joined.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```no_run
    /// use std::net::Ipv4Addr;
    ///
    /// let socket = narrowboat::net::UdpSocket::bind("0.0.0.0:0")?;
    /// let group = Ipv4Addr::new(224, 0, 0, 123);
    /// socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)?;
    /// socket.leave_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.as_std(|socket| socket.leave_multicast_v4(multiaddr, interface))
    }

    /// Leaves an IPv6 group that was joined.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Examples
    /// ```no_run
    /// let socket = narrowboat::net::UdpSocket::bind("[::]:0")?;
    /// socket.join_multicast_v6(&"ff02::123".parse().unwrap(), 0)?;
    /// socket.leave_multicast_v6(&"ff02::123".parse().unwrap(), 0)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.as_std(|socket| socket.leave_multicast_v6(multiaddr, interface))
    }
}

impl WithContext<UdpSocket> {
    /// [`UdpSocket::send_to`], until the context is done.
    ///
    /// # Errors
    /// As there, and the context's.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::context::background;
    /// use narrowboat::net::UdpSocket;
    ///
    /// let other = UdpSocket::bind("127.0.0.1:0")?;
    /// let socket = UdpSocket::bind("127.0.0.1:0")?.with_context(&background());
    /// assert_eq!(socket.send_to(b"text", other.local_addr()?)?, 4);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        let at = Location::caller();
        let to = addresses(addr, at)?.into_iter().next().ok_or_else(no_address)?;
        let operation = Operation::tied(Reason::Write, at, &self.tied);
        transfer::send_to(&self.tied.source, operation, buf, &SockAddr::from(to))
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.handle().debug("UdpSocket", f)
    }
}

datagram_methods!(
    UdpSocket,
    SocketAddr,
    socket::internet,
    "# let [one, other] = [(); 2].map(|()| narrowboat_net::UdpSocket::bind(\"127.0.0.1:0\").unwrap());\n\
     one.connect(other.local_addr()?)?;\n\
     other.connect(one.local_addr()?)?;"
);
shared_methods_both_ways!(UdpSocket, "let socket = narrowboat_net::UdpSocket::bind(\"127.0.0.1:0\")?;");
descriptor_conversions!(UdpSocket, std::net::UdpSocket, accepts: false);
