//! Moving bytes: the `Read` and `Write` of every stream, and the operations of both kinds of
//! datagram sockets, written once.
//!
//! Each is one system call inside the loop of [`crate::source`]. A [`Stream`] is implemented for
//! the socket and for the types that stand for it.

use crate::context::WithContext;
use crate::source::{Operation, Source};
use crate::sys::socket;
use narrowboat_runtime::park::{Reason, checkpoint};
use socket2::SockAddr;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::panic::Location;
use std::sync::Arc;

/// A socket that carries a stream.
pub(crate) trait Stream {
    /// Whether a read that returns less than it was asked for has emptied the socket.
    const SHORT_READ_EMPTIES: bool;

    fn source(&self) -> &Arc<Source>;
}

#[inline]
pub(crate) fn read<S: Stream>(stream: &S, operation: Operation<'_>, buf: &mut [u8]) -> io::Result<usize> {
    if buf.is_empty() {
        checkpoint();
        return Ok(0);
    }
    stream.source().operate(operation, |socket| {
        let read = socket.receive(buf, 0)?;
        Ok((read, emptied::<S>(buf.len(), read)))
    })
}

pub(crate) fn read_vectored<S: Stream>(
    stream: &S,
    operation: Operation<'_>,
    bufs: &mut [IoSliceMut<'_>],
) -> io::Result<usize> {
    let asked = socket::capacity(bufs);
    if asked == 0 {
        checkpoint();
        return Ok(0);
    }
    stream.source().operate(operation, |socket| {
        let read = socket.receive_vectored(bufs)?;
        Ok((read, emptied::<S>(asked, read)))
    })
}

/// A read of zero bytes is the end, which can be read any number of times.
pub(crate) fn emptied<S: Stream>(asked: usize, read: usize) -> bool {
    S::SHORT_READ_EMPTIES && 0 < read && read < asked
}

/// Reads without removing. The bytes are still there, so a short result does not mean that the
/// socket is empty.
pub(crate) fn peek(source: &Source, operation: Operation<'_>, buf: &mut [u8]) -> io::Result<usize> {
    if buf.is_empty() {
        checkpoint();
        return Ok(0);
    }
    source.io(operation, |socket| socket.receive(buf, libc::MSG_PEEK))
}

// A write of zero bytes needs no room, and the kernel never makes it wait for any; it reports a
// dead connection, as with std.
#[inline]
pub(crate) fn write(source: &Source, operation: Operation<'_>, buf: &[u8]) -> io::Result<usize> {
    source.io(operation, |socket| socket.send(buf))
}

pub(crate) fn write_vectored(
    source: &Source,
    operation: Operation<'_>,
    bufs: &[IoSlice<'_>],
) -> io::Result<usize> {
    source.io(operation, |socket| socket.send_vectored(bufs))
}

/// Receives a datagram; with `libc::MSG_PEEK` in `flags` it stays. Zero bytes after a shutdown of
/// the input.
pub(crate) fn recv(
    source: &Source,
    operation: Operation<'_>,
    buf: &mut [u8],
    flags: libc::c_int,
) -> io::Result<usize> {
    source.io(operation, |socket| match socket.receive(buf, flags) {
        Err(error) if socket.means_shut_down(&error, source.is_nonblocking()) => Ok(0),
        received => received,
    })
}

/// Receives a datagram and the address that it came from.
pub(crate) fn recv_from(
    source: &Source,
    operation: Operation<'_>,
    buf: &mut [u8],
    flags: libc::c_int,
) -> io::Result<(usize, SockAddr)> {
    source.io(operation, |socket| match socket.receive_from(buf, flags) {
        Err(error) if socket.means_shut_down(&error, source.is_nonblocking()) => {
            Ok((0, socket::no_address()))
        }
        received => received,
    })
}

/// Sends a datagram to an address.
pub(crate) fn send_to(
    source: &Source,
    operation: Operation<'_>,
    buf: &[u8],
    to: &SockAddr,
) -> io::Result<usize> {
    source.io(operation, |socket| socket.send_to(buf, to))
}

/// `Read` and `Write` of a stream: for a reference, so that several goroutines may use one, and for
/// the type itself, which does the same.
macro_rules! stream_io {
    ($Stream:ident) => {
        impl std::io::Read for &$Stream {
            #[inline]
            #[track_caller]
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                let operation = Operation::new(Reason::Read, Location::caller());
                $crate::transfer::read(*self, operation, buf)
            }

            #[track_caller]
            fn read_vectored(&mut self, bufs: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
                let operation = Operation::new(Reason::Read, Location::caller());
                $crate::transfer::read_vectored(*self, operation, bufs)
            }
        }

        impl std::io::Write for &$Stream {
            #[inline]
            #[track_caller]
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                let operation = Operation::new(Reason::Write, Location::caller());
                $crate::transfer::write(&self.source, operation, buf)
            }

            #[track_caller]
            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                let operation = Operation::new(Reason::Write, Location::caller());
                $crate::transfer::write_vectored(&self.source, operation, bufs)
            }

            /// Does nothing: the kernel already has what was written.
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        impl std::io::Read for $Stream {
            #[inline]
            #[track_caller]
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                (&*self).read(buf)
            }

            #[track_caller]
            fn read_vectored(&mut self, bufs: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
                (&*self).read_vectored(bufs)
            }
        }

        impl std::io::Write for $Stream {
            #[inline]
            #[track_caller]
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                (&*self).write(buf)
            }

            #[track_caller]
            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                (&*self).write_vectored(bufs)
            }

            /// Does nothing: the kernel already has what was written.
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    };
}

pub(crate) use stream_io;

impl<S: Stream> Read for WithContext<S> {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let operation = Operation::tied(Reason::Read, Location::caller(), &self.tied);
        read(self.get_ref(), operation, buf)
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let operation = Operation::tied(Reason::Read, Location::caller(), &self.tied);
        read_vectored(self.get_ref(), operation, bufs)
    }
}

impl<S: Stream> Write for WithContext<S> {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        write(&self.tied.source, Operation::tied(Reason::Write, Location::caller(), &self.tied), buf)
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        write_vectored(
            &self.tied.source,
            Operation::tied(Reason::Write, Location::caller(), &self.tied),
            bufs,
        )
    }

    /// Does nothing: the kernel already has what was written.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
