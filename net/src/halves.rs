//! The two directions of a stream as two values, which can have different owners.

use crate::source::{Operation, Source};
use crate::transfer::{self, Stream};
use narrowboat_runtime::park::Reason;
use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::panic::Location;
use std::sync::Arc;

/// The half of a stream that reads; made by its `into_split`.
///
/// # Examples
/// ```
/// use narrowboat::net::unix::UnixStream;
/// use std::io::{Read, Write};
///
/// let (stream, mut other) = UnixStream::pair()?;
/// let (mut reader, writer) = stream.into_split();
/// other.write_all(b"text")?;
/// drop((other, writer));
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!(text, "text");
/// # std::io::Result::Ok(())
/// ```
pub struct ReadHalf<S>(S);

/// The half of a stream that writes; made by its `into_split`. Dropping it ends the stream in that
/// direction: the peer reads the end. The other half can go on reading.
///
/// # Examples
/// ```
/// use narrowboat::net::unix::UnixStream;
/// use std::io::{Read, Write};
///
/// let (stream, mut other) = UnixStream::pair()?;
/// let (_reader, mut writer) = stream.into_split();
/// writer.write_all(b"question")?;
/// drop(writer);
/// let mut text = String::new();
/// other.read_to_string(&mut text)?;
/// assert_eq!(text, "question");
/// # std::io::Result::Ok(())
/// ```
pub struct WriteHalf<S> {
    stream: S,
    end: End,
}

/// Ends the output of the stream when dropped, unless the stream is taken out before.
struct End(Option<Arc<Source>>);

impl Drop for End {
    fn drop(&mut self) {
        if let Some(source) = &self.0 {
            // It fails if the connection is gone; the stream has then ended, too.
            let _ = source.shutdown(Shutdown::Write);
        }
    }
}

/// The error of a `reunite` of halves that do not belong together. It contains both.
///
/// # Examples
/// ```
/// use narrowboat::net::unix::UnixStream;
///
/// let (one, other) = UnixStream::pair()?;
/// let (reader, _writer) = one.into_split();
/// let (_reader, writer) = other.into_split();
/// let error = reader.reunite(writer).unwrap_err();
/// assert_eq!(error.to_string(), "the halves are of two different streams");
/// # std::io::Result::Ok(())
/// ```
pub struct ReuniteError<S>(pub ReadHalf<S>, pub WriteHalf<S>);

pub(crate) fn split<S: Stream>(reading: S, writing: S) -> (ReadHalf<S>, WriteHalf<S>) {
    let end = End(Some(Arc::clone(writing.source())));
    (ReadHalf(reading), WriteHalf { stream: writing, end })
}

impl<S> ReadHalf<S> {
    /// The stream, for everything but reading: addresses, options, deadlines.
    ///
    /// # Examples
    /// ```
    /// let (reader, _writer) = narrowboat::net::unix::UnixStream::pair()?.0.into_split();
    /// reader.get_ref().set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn get_ref(&self) -> &S {
        &self.0
    }
}

#[allow(private_bounds, reason = "which types are streams is in the documentation of each")]
impl<S: Stream> ReadHalf<S> {
    /// Puts the halves together again.
    ///
    /// # Errors
    /// If the halves are of two different streams.
    ///
    /// # Examples
    /// ```
    /// let (one, mut other) = narrowboat::net::unix::UnixStream::pair()?;
    /// let (reader, writer) = one.into_split();
    /// let one = reader.reunite(writer).unwrap();
    /// drop(one);
    /// assert_eq!(std::io::Read::read(&mut other, &mut [0; 8])?, 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn reunite(self, mut writer: WriteHalf<S>) -> Result<S, ReuniteError<S>> {
        if !Arc::ptr_eq(self.0.source(), writer.stream.source()) {
            return Err(ReuniteError(self, writer));
        }
        writer.end.0 = None;
        Ok(self.0)
    }
}

impl<S> WriteHalf<S> {
    /// The stream, for everything but writing.
    ///
    /// # Examples
    /// ```
    /// let (_reader, writer) = narrowboat::net::unix::UnixStream::pair()?.0.into_split();
    /// writer.get_ref().set_write_timeout(Some(std::time::Duration::from_secs(5)))?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Drops the half without ending the stream, which goes on in other handles.
    ///
    /// # Examples
    /// ```
    /// let (one, other) = narrowboat::net::unix::UnixStream::pair()?;
    /// other.set_read_timeout(Some(std::time::Duration::from_millis(5)))?;
    /// let (_reader, writer) = one.into_split();
    /// writer.forget();
    /// assert!(std::io::Read::read(&mut &other, &mut [0; 8]).is_err(), "nothing comes, and no end");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn forget(mut self) {
        self.end.0 = None;
    }
}

impl<S: Stream> Read for ReadHalf<S> {
    #[track_caller]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        transfer::read(&self.0, Operation::new(Reason::Read, Location::caller()), buf)
    }

    #[track_caller]
    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        transfer::read_vectored(&self.0, Operation::new(Reason::Read, Location::caller()), bufs)
    }
}

impl<S: Stream> Write for WriteHalf<S> {
    #[track_caller]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        transfer::write(self.stream.source(), Operation::new(Reason::Write, Location::caller()), buf)
    }

    #[track_caller]
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        transfer::write_vectored(
            self.stream.source(),
            Operation::new(Reason::Write, Location::caller()),
            bufs,
        )
    }

    /// Does nothing: the kernel already has what was written.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: fmt::Debug> fmt::Debug for ReadHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadHalf").field(&self.0).finish()
    }
}

impl<S: fmt::Debug> fmt::Debug for WriteHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WriteHalf").field(&self.stream).finish()
    }
}

impl<S: fmt::Debug> fmt::Debug for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReuniteError").field(&self.0).field(&self.1).finish()
    }
}

impl<S> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("the halves are of two different streams")
    }
}

impl<S: fmt::Debug> Error for ReuniteError<S> {}

/// `into_split`, for a type with the field `source: Arc<Source>`. `$setup` makes `one` and `other`,
/// a connected pair.
macro_rules! split_methods {
    ($Stream:ident, $setup:expr) => {
        impl $Stream {
            /// Two halves that can have different owners. When the writing half is dropped, the
            /// peer reads the end of the stream. [`reunite`](crate::ReadHalf::reunite) joins them
            /// again. If each side only needs a reference, no split is necessary: `&stream` is
            /// `Read` and `Write`.
            ///
            /// # Examples
            /// ```
            /// use std::io::{Read, Write};
            ///
            #[doc = $setup]
            /// let (mut reader, mut writer) = one.into_split();
            /// let echo = std::thread::spawn(move || std::io::copy(&mut &other, &mut &other));
            /// writer.write_all(b"over and back")?;
            /// drop(writer);
            /// let mut text = String::new();
            /// reader.read_to_string(&mut text)?;
            /// assert_eq!(text, "over and back");
            /// assert_eq!(echo.join().unwrap()?, 13);
            /// # std::io::Result::Ok(())
            /// ```
            pub fn into_split(self) -> ($crate::ReadHalf<$Stream>, $crate::WriteHalf<$Stream>) {
                let writing = $Stream { source: std::sync::Arc::clone(&self.source) };
                $crate::halves::split(self, writing)
            }
        }
    };
}

pub(crate) use split_methods;
