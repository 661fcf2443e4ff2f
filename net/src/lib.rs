//! std's sockets for Narrowboat: [`TcpListener`] and [`TcpStream`] with std's names, signatures, errors and
//! `Debug`, whose blocking calls park the calling goroutine. From a plain thread they block the thread, so
//! either may be used anywhere, also on one socket at the same time.
//!
//! Streams are [`Read`](std::io::Read) and [`Write`](std::io::Write), so whatever takes a blocking stream
//! takes these.
//!
//! # Examples
//! ```
//! use narrowboat_net::{TcpListener, TcpStream};
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
//! # What differs from std
//! - Descriptors are non-blocking underneath, whatever [`set_nonblocking`](TcpStream::set_nonblocking) says;
//!   that is about what the methods do. Converting a socket to std's type, or to a bare descriptor, gives it
//!   the mode that std's would have.
//! - [`try_clone`](TcpStream::try_clone) shares the descriptor instead of duplicating it.
//! - Timeouts are kept by us and not by the kernel. The error is the same one, `WouldBlock`.
//! - There are Go's deadlines beside them: [`set_deadline`](TcpStream::set_deadline), whose error is
//!   `TimedOut`.
//!
//! # What to know
//! - Resolving a host name in `connect` or `bind` blocks the thread under the goroutine; [`lookup_host`] does
//!   not.
//! - After a read that returned less than it was asked for, the next one waits without asking the kernel
//!   again, because nothing can be there unless the kernel reports it. That is true of TCP; a descriptor of
//!   another kind has no place in a [`TcpStream`].

#[cfg(not(unix))]
compile_error!("narrowboat-net needs a Unix system");

mod convert;
mod limit;
mod poller;
mod resolve;
mod source;
mod sys;
mod tcp;

pub use resolve::lookup_host;
pub use tcp::{Incoming, TcpListener, TcpStream};

pub use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
