//! std's sockets for Narrowboat: [`TcpListener`], [`TcpStream`], [`UdpSocket`] and those of
//! [`unix`]. They have std's names, signatures, errors and `Debug`. Their blocking calls park the
//! calling goroutine, and block a plain thread. Goroutines and threads may use one socket at the
//! same time.
//!
//! Streams are [`Read`](std::io::Read) and [`Write`](std::io::Write), so code that takes a blocking
//! stream takes these. For descriptors of other kinds there is [`fd::Async`].
//! # Examples
//! ```
//! use narrowboat::net::{TcpListener, TcpStream};
//! use std::io::{BufRead, BufReader, Write};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! std::thread::spawn(move || {
//!     for stream in listener.incoming() {
//!         let mut stream = stream.unwrap();
//!         let name = BufReader::new(&stream).lines().next().unwrap().unwrap();
//!         writeln!(stream, "hello, {name}").unwrap();
//!     }
//! });
//!
//! let mut stream = TcpStream::connect(address)?;
//! writeln!(stream, "boat")?;
//! let answer = BufReader::new(stream).lines().next().unwrap()?;
//! assert_eq!(answer, "hello, boat");
//! # std::io::Result::Ok(())
//! ```
//!
//! A socket beside a channel, whichever comes first:
//! ```
//! use narrowboat::chan::{bounded, select};
//! use narrowboat::net::unix::UnixStream;
//! use std::io::{Read, Write};
//!
//! let (mut stream, mut peer) = UnixStream::pair()?;
//! let (_stop, stopped) = bounded::<()>(0);
//! peer.write_all(b"ahoy")?;
//!
//! let readable = stream.readable();
//! let mut text = [0; 16];
//! select! {
//!     recv(readable) -> _ => assert_eq!(stream.read(&mut text)?, 4),
//!     recv(stopped) -> _ => println!("told to stop"),
//! }
//! # std::io::Result::Ok(())
//! ```
//!
//! # Beyond std
//! | | |
//! | --- | --- |
//! | [`set_deadline`](TcpStream::set_deadline) and for each direction | Go's deadlines, which also end what is under way; the error is `TimedOut` |
//! | [`close`](TcpListener::close) | ends everything on all handles, as Go's `Close` does |
//! | [`readable`](TcpStream::readable), [`writable`](TcpStream::writable) | a channel for `select!` |
//! | [`with_context`](TcpStream::with_context) | a handle that fails its operations when a context ends |
//! | [`into_split`](TcpStream::into_split) | two halves; dropping the writing one ends the stream for the peer |
//! | `tokio::AsyncStream` (feature `tokio`) | tokio's traits, for hyper and what is built like it |
//! | [`lookup_host`] | resolves a name while the goroutine is parked |
//!
//! # What differs from std
//! - Descriptors that are made here, and listeners, are non-blocking underneath. What
//!   [`set_nonblocking`](TcpStream::set_nonblocking) sets is the behaviour of the methods. Any
//!   other socket that is converted keeps its mode, because other processes may share it. A socket
//!   that is converted to std's type, or to a bare descriptor, gets the mode that std's would have.
//! - [`try_clone`](TcpStream::try_clone) shares the descriptor instead of duplicating it.
//! - Narrowboat keeps the timeouts, not the kernel. The error is the same, `WouldBlock`.
//! - [`connect`](TcpStream::connect) does not wait for an address that does not answer before it
//!   tries the next one.
//! - An [`accept`](TcpListener::accept) that runs out of descriptors again and again pauses before
//!   it fails.
//! - `TcpListener::only_v6` and its setter, which std has deprecated, are missing.
//!
//! # In a simulated world
//! A goroutine of a world with a simulated network has its sockets there, and names are those of
//! its hosts. Such a socket has no descriptor: [`AsFd`](std::os::fd::AsFd) and conversions to
//! descriptors panic. What differs for Unix sockets is said in [`unix`].
//!
//! # What to know
//! - After a read that returned less than it was asked for, the next one waits without a system
//!   call, because nothing can be there unless the kernel reports it. That is true of TCP; a
//!   descriptor of another kind must not be converted to a [`TcpStream`].
//! - A socket that was never waited for is not registered with the netpoller. One that was is
//!   registered once, for both directions, until its last handle is dropped.

#[cfg(all(test, narrowboat_threads))]
extern crate narrowboat_loom_on_threads as loom;

#[cfg(not(unix))]
compile_error!("narrowboat-net needs a Unix system");

mod accept;
mod context;
mod convert;
mod datagram;
mod describe;
mod direction;
pub mod fd;
mod halves;
mod handle;
mod io_safe;
mod limit;
mod methods;
mod poller;
mod ready;
mod resolve;
mod shared;
mod shim;
#[doc(hidden)]
pub mod simulated;
mod source;
mod sys;
mod tcp;
#[cfg(feature = "tokio")]
pub mod tokio;
mod transfer;
mod udp;
pub mod unix;
#[doc(hidden)]
pub mod watch;

pub use context::WithContext;
pub use halves::{ReadHalf, ReuniteError, WriteHalf};
pub use resolve::lookup_host;
pub use tcp::{Incoming, TcpListener, TcpStream};
pub use udp::UdpSocket;

pub use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
