//! Unix sockets: std's `os::unix::net`, name for name.
//!
//! # Examples
//! ```
//! use narrowboat::net::unix::UnixStream;
//! use std::io::{Read, Write};
//!
//! let (mut one, mut other) = UnixStream::pair()?;
//! one.write_all(b"through the kernel and back")?;
//! let mut text = [0; 7];
//! other.read_exact(&mut text)?;
//! assert_eq!(&text, b"through");
//! # std::io::Result::Ok(())
//! ```

mod address;
mod datagram;
mod listener;
mod stream;

pub use datagram::UnixDatagram;
pub use listener::{Incoming, UnixListener};
pub use std::os::unix::net::SocketAddr;
pub use stream::UnixStream;
