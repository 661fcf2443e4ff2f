//! The methods that several socket types have, written once. All of them forward to
//! [`crate::source`]. The types differ only in the line of the examples that makes the socket.

/// For a type with the field `source: Arc<Source>`. `$setup` is a line of Rust that defines
/// `socket`.
macro_rules! shared_methods {
    ($Socket:ident, $setup:expr) => {
        impl $Socket {
            /// Another handle to the same socket.
            ///
            /// Unlike std's, it shares the descriptor, too: the netpoller sees one descriptor, and
            /// cloning costs none. Timeouts, deadlines and mode are shared, as with std.
            ///
            /// # Errors
            /// None at present; the signature is std's.
            ///
            /// # Examples
            /// ```
            #[doc = $setup]
            /// let other = socket.try_clone()?;
            /// assert_eq!(format!("{socket:?}"), format!("{other:?}"));
            /// # std::io::Result::Ok(())
            /// ```
            pub fn try_clone(&self) -> std::io::Result<$Socket> {
                Ok($Socket { source: std::sync::Arc::clone(&self.source) })
            }

            /// Takes the error that is pending on the socket (`SO_ERROR`), if there is one.
            ///
            /// # Errors
            /// The system's, if it cannot be asked.
            ///
            /// # Examples
            /// ```
            #[doc = $setup]
            /// assert!(socket.take_error()?.is_none());
            /// # std::io::Result::Ok(())
            /// ```
            pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
                narrowboat_runtime::park::checkpoint();
                self.source.handle().take_error()
            }

            /// In non-blocking mode, operations fail with `WouldBlock` instead of waiting. The mode
            /// is for code that does its own waiting; goroutines do not need it, just as threads do
            /// not.
            ///
            /// # Errors
            /// None at present; the signature is std's.
            ///
            /// # Examples
            /// ```
            #[doc = $setup]
            /// socket.set_nonblocking(true)?;
            /// # std::io::Result::Ok(())
            /// ```
            pub fn set_nonblocking(&self, nonblocking: bool) -> std::io::Result<()> {
                narrowboat_runtime::park::checkpoint();
                self.source.set_nonblocking(nonblocking);
                Ok(())
            }

            /// Ends everything on this socket, for all its handles: operations under way and later
            /// ones fail with `NotConnected`, and peers see the end. A read that the kernel is just
            /// answering may still see the end instead. It is Go's `Close`; calling it again does
            /// nothing.
            ///
            /// The descriptor itself is closed when the last handle is dropped, and an operation
            /// under way counts as a handle. So its number is never another socket's while it is in
            /// use.
            ///
            /// # Examples
            /// ```
            #[doc = $setup]
            /// let other = socket.try_clone()?;
            /// other.close();
            /// # std::io::Result::Ok(())
            /// ```
            pub fn close(&self) {
                narrowboat_runtime::park::checkpoint();
                self.source.close();
            }

            /// A handle that fails its operations when the context ends: see
            /// [`WithContext`](crate::WithContext).
            ///
            /// # Examples
            /// ```
            /// use narrowboat::context::{background, with_timeout};
            ///
            #[doc = $setup]
            /// let (ctx, _cancel) = with_timeout(&background(), std::time::Duration::from_secs(1));
            /// let socket = socket.with_context(&ctx);
            /// assert!(socket.context().deadline().is_some());
            /// # std::io::Result::Ok(())
            /// ```
            pub fn with_context(
                &self,
                context: &narrowboat_chan::context::Context,
            ) -> $crate::WithContext<$Socket> {
                let handle = $Socket { source: std::sync::Arc::clone(&self.source) };
                $crate::WithContext::new(handle, &self.source, context)
            }

            /// A channel for a `select!` that has a message whenever a read (an accept, a receive)
            /// would not have to wait, which includes one that would fail. Nothing is read by that,
            /// so nothing is lost if another arm is chosen.
            ///
            /// If other code reads from the socket as well, the read that follows may find nothing
            /// and wait. A loop should make the channel once, before it begins: it is a small
            /// allocation. The channel counts as a handle of the socket.
            ///
            /// # Examples
            /// ```
            /// use narrowboat::chan::{after, select};
            /// use std::time::Duration;
            ///
            #[doc = $setup]
            /// select! {
            ///     recv(socket.readable()) -> _ => unreachable!("nothing was sent"),
            ///     recv(after(Duration::from_millis(5))) -> _ => {}
            /// }
            /// # std::io::Result::Ok(())
            /// ```
            pub fn readable(&self) -> narrowboat_chan::Receiver<()> {
                narrowboat_runtime::park::checkpoint();
                $crate::ready::ready(&self.source, $crate::direction::Direction::Input)
            }
        }
    };
}

/// The same for sockets that also have output.
macro_rules! shared_methods_both_ways {
    ($Socket:ident, $setup:expr) => {
        $crate::methods::shared_methods!($Socket, $setup);

        impl $Socket {
            /// A channel for a `select!` that has a message whenever there is room for a write, or
            /// the write would fail. Like [`readable`](Self::readable).
            ///
            /// # Examples
            /// ```
            /// use narrowboat::chan::{after, select};
            /// use std::time::Duration;
            ///
            #[doc = $setup]
            /// select! {
            ///     recv(socket.writable()) -> _ => {}
            ///     recv(after(Duration::from_secs(60))) -> _ => unreachable!("there is room"),
            /// }
            /// # std::io::Result::Ok(())
            /// ```
            pub fn writable(&self) -> narrowboat_chan::Receiver<()> {
                narrowboat_runtime::park::checkpoint();
                $crate::ready::ready(&self.source, $crate::direction::Direction::Output)
            }

            /// Sets the longest time that one read may wait; `None` is without limit. A read that
            /// waits longer fails with `WouldBlock`, which is what std returns on Unix. It takes
            /// effect with the next read.
            ///
            /// # Errors
            /// `InvalidInput` if the timeout is zero.
            ///
            /// # Examples
            /// ```
            /// use std::time::Duration;
            ///
            #[doc = $setup]
            /// socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            /// assert_eq!(socket.read_timeout()?, Some(Duration::from_secs(5)));
            /// # std::io::Result::Ok(())
            /// ```
            pub fn set_read_timeout(&self, dur: Option<std::time::Duration>) -> std::io::Result<()> {
                narrowboat_runtime::park::checkpoint();
                self.source.set_timeout($crate::direction::Direction::Input, dur)
            }

            /// Sets the longest time that one write may wait; `None` is without limit. A write that
            /// waits longer fails with `WouldBlock`, which is what std returns on Unix. It takes
            /// effect with the next write.
            ///
            /// # Errors
            /// `InvalidInput` if the timeout is zero.
            ///
            /// # Examples
            /// ```
            /// use std::time::Duration;
            ///
            #[doc = $setup]
            /// socket.set_write_timeout(Some(Duration::from_secs(5)))?;
            /// assert!(socket.set_write_timeout(Some(Duration::ZERO)).is_err());
            /// # std::io::Result::Ok(())
            /// ```
            pub fn set_write_timeout(&self, dur: Option<std::time::Duration>) -> std::io::Result<()> {
                narrowboat_runtime::park::checkpoint();
                self.source.set_timeout($crate::direction::Direction::Output, dur)
            }

            /// The longest time that one read may wait.
            ///
            /// # Errors
            /// None at present; the signature is std's.
            ///
            /// # Examples
            /// ```
            #[doc = $setup]
            /// assert_eq!(socket.read_timeout()?, None);
            /// # std::io::Result::Ok(())
            /// ```
            pub fn read_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                narrowboat_runtime::park::checkpoint();
                Ok(self.source.timeout($crate::direction::Direction::Input))
            }

            /// The longest time that one write may wait.
            ///
            /// # Errors
            /// None at present; the signature is std's.
            ///
            /// # Examples
            /// ```
            #[doc = $setup]
            /// assert_eq!(socket.write_timeout()?, None);
            /// # std::io::Result::Ok(())
            /// ```
            pub fn write_timeout(&self) -> std::io::Result<Option<std::time::Duration>> {
                narrowboat_runtime::park::checkpoint();
                Ok(self.source.timeout($crate::direction::Direction::Output))
            }
        }

        $crate::methods::deadline_methods!($Socket, $setup);
    };
}

/// Go's deadlines, for sockets that also have output.
macro_rules! deadline_methods {
    ($Socket:ident $(<$T:ident: $bound:path>)?, $setup:expr) => {
        impl$(<$T: $bound>)? $Socket$(<$T>)? {
            /// Sets the point in time after which operations fail with `TimedOut`: those that begin
            /// later, even if they would not have to wait, and those under way. `None` removes the
            /// limit. It is Go's `SetDeadline`.
            ///
            /// # Errors
            /// None at present.
            ///
            /// # Examples
            /// ```
            /// use std::time::{Duration, Instant};
            ///
            #[doc = $setup]
            /// socket.set_deadline(Some(Instant::now() + Duration::from_millis(10)))?;
            /// // An operation that takes longer than that fails.
            /// socket.set_deadline(None)?;
            /// # std::io::Result::Ok(())
            /// ```
            pub fn set_deadline(&self, deadline: Option<std::time::Instant>) -> std::io::Result<()> {
                self.set_read_deadline(deadline)?;
                self.set_write_deadline(deadline)
            }

            /// [`set_deadline`](Self::set_deadline) for reads only.
            ///
            /// # Errors
            /// None at present.
            ///
            /// # Examples
            /// ```
            /// use std::time::{Duration, Instant};
            ///
            #[doc = $setup]
            /// socket.set_read_deadline(Some(Instant::now() + Duration::from_secs(5)))?;
            /// # std::io::Result::Ok(())
            /// ```
            pub fn set_read_deadline(&self, deadline: Option<std::time::Instant>) -> std::io::Result<()> {
                narrowboat_runtime::park::checkpoint();
                self.source.set_deadline($crate::direction::Direction::Input, deadline);
                Ok(())
            }

            /// [`set_deadline`](Self::set_deadline) for writes only.
            ///
            /// # Errors
            /// None at present.
            ///
            /// # Examples
            /// ```
            /// use std::time::{Duration, Instant};
            ///
            #[doc = $setup]
            /// socket.set_write_deadline(Some(Instant::now() + Duration::from_secs(5)))?;
            /// # std::io::Result::Ok(())
            /// ```
            pub fn set_write_deadline(&self, deadline: Option<std::time::Instant>) -> std::io::Result<()> {
                narrowboat_runtime::park::checkpoint();
                self.source.set_deadline($crate::direction::Direction::Output, deadline);
                Ok(())
            }
        }
    };
}

/// The same for listeners, which only accept.
macro_rules! listener_deadline {
    ($Socket:ident, $setup:expr) => {
        impl $Socket {
            /// Sets the point in time after which `accept` fails with `TimedOut`, also one that is
            /// waiting now, and even if a connection is there. `None` removes the limit.
            ///
            /// # Errors
            /// None at present.
            ///
            /// # Examples
            /// ```
            /// use std::time::{Duration, Instant};
            ///
            #[doc = $setup]
            /// socket.set_deadline(Some(Instant::now() + Duration::from_millis(10)))?;
            /// assert_eq!(socket.accept().unwrap_err().kind(), std::io::ErrorKind::TimedOut);
            /// # std::io::Result::Ok(())
            /// ```
            pub fn set_deadline(&self, deadline: Option<std::time::Instant>) -> std::io::Result<()> {
                narrowboat_runtime::park::checkpoint();
                self.source.set_deadline($crate::direction::Direction::Input, deadline);
                Ok(())
            }
        }
    };
}

pub(crate) use {deadline_methods, listener_deadline, shared_methods, shared_methods_both_ways};
