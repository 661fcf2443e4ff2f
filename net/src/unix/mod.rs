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
//!
//! # In a simulated world
//! A goroutine of a world with a simulated network has its Unix sockets there. They are those of
//! Linux but for this:
//!
//! - The names belong to the goroutine's host, and only sockets of the same host can be reached.
//! - No file is made at a path, so neither directories nor permissions matter. A path is free again
//!   when its socket is gone, and not before. From then on a `connect` to it fails with
//!   `ConnectionRefused`, as where a file is left, and never with `NotFound`.
//! - The files of std are the machine's in a world, too.
//!   [`remove_file`](std::fs::remove_file) **removes what really is at the path**, which may be the
//!   socket of a program that runs there, and [`exists`](std::fs::exists) says what is there. Let
//!   tests use paths in a directory of their own.
//! - What is sent is there at once. No link, partition or loss affects it.
//! - A waiting writer goes on as soon as there is any room. Linux does not wake it before three
//!   quarters of the send buffer are free.

mod datagram;
mod listener;
mod stream;

pub use datagram::UnixDatagram;
pub use listener::{Incoming, UnixListener};
pub use std::os::unix::net::SocketAddr;
pub use stream::UnixStream;
