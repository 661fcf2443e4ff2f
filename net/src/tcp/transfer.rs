//! `Read` and `Write` of a connection: for a reference, so that several goroutines may use one, and for the
//! type itself, which does the same.

use super::TcpStream;
use crate::sys::socket;
use narrowboat_runtime::park::Reason;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::BorrowedFd;
use std::panic::Location;

impl Read for &TcpStream {
    #[inline]
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let asked = buf.len();
        if asked == 0 {
            return Ok(0);
        }
        let call = |fd: BorrowedFd<'_>| socket::receive(fd, buf, 0);
        self.source.read_stream(asked, Location::caller(), call)
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let asked = socket::capacity(bufs);
        if asked == 0 {
            return Ok(0);
        }
        let call = |fd: BorrowedFd<'_>| socket::receive_vectored(fd, bufs);
        self.source.read_stream(asked, Location::caller(), call)
    }
}

// A write of nothing needs no room, and the kernel never makes it wait for any; it reports a dead connection,
// as with std.
impl Write for &TcpStream {
    #[inline]
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let call = |fd: BorrowedFd<'_>| socket::send(fd, buf);
        self.source.io(Reason::Write, Location::caller(), call)
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let call = |fd: BorrowedFd<'_>| socket::send_vectored(fd, bufs);
        self.source.io(Reason::Write, Location::caller(), call)
    }

    /// Does nothing: what was written is with the kernel already.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    #[inline]
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(bufs)
    }
}

impl Write for TcpStream {
    #[inline]
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bufs)
    }

    /// Does nothing: what was written is with the kernel already.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
