//! The methods that both kinds of datagram sockets have, written once.

/// For a type with the field `source: Arc<Source>`, addresses of the type `$Addr`, and `$shown`,
/// which makes one of the kernel's address. `$setup` makes `one` and `other`, a connected pair.
macro_rules! datagram_methods {
    ($Socket:ident, $Addr:ty, $shown:path, $setup:expr) => {
        impl $Socket {
            /// Waits for a datagram, receives it, and returns how many of its bytes are in `buf`.
            /// What does not fit is lost.
            ///
            /// # Errors
            /// The system's, for example that an earlier datagram was refused at the other end.
            /// `WouldBlock` in non-blocking mode or after the timeout, `TimedOut` after the
            /// deadline.
            ///
            /// # Examples
            /// ```
            #[doc = $setup]
            /// one.send(b"text")?;
            /// let mut text = [0; 8];
            /// let length = other.recv(&mut text)?;
            /// assert_eq!(&text[..length], b"text");
            /// # std::io::Result::Ok(())
            /// ```
            #[track_caller]
            pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
                transfer::recv(&self.source, Operation::new(Reason::Read, Location::caller()), buf, 0)
            }

            /// Receives a datagram, and also returns the address that it came from.
            ///
            /// # Errors
            /// As [`recv`](Self::recv).
            ///
            /// # Examples
            /// ```
            #[doc = $setup]
            /// one.send(b"text")?;
            /// let (length, _from) = other.recv_from(&mut [0; 8])?;
            /// assert_eq!(length, 4);
            /// # std::io::Result::Ok(())
            /// ```
            #[track_caller]
            pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, $Addr)> {
                let operation = Operation::new(Reason::Read, Location::caller());
                let (length, from) = transfer::recv_from(&self.source, operation, buf, 0)?;
                Ok((length, $shown(&from)?))
            }

            /// As [`recv`](Self::recv), and leaves the datagram there for the next one.
            ///
            /// # Errors
            /// As there.
            ///
            /// # Examples
            /// ```
            #[doc = $setup]
            /// one.send(b"text")?;
            /// assert_eq!(other.peek(&mut [0; 8])?, 4);
            /// assert_eq!(other.recv(&mut [0; 8])?, 4);
            /// # std::io::Result::Ok(())
            /// ```
            #[track_caller]
            pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
                let operation = Operation::new(Reason::Read, Location::caller());
                transfer::recv(&self.source, operation, buf, libc::MSG_PEEK)
            }

            /// As [`recv_from`](Self::recv_from), and leaves the datagram there for the next one.
            ///
            /// # Errors
            /// As there.
            ///
            /// # Examples
            /// ```
            #[doc = $setup]
            /// one.send(b"text")?;
            /// assert_eq!(other.peek_from(&mut [0; 8])?.0, 4);
            /// assert_eq!(other.recv(&mut [0; 8])?, 4);
            /// # std::io::Result::Ok(())
            /// ```
            #[track_caller]
            pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, $Addr)> {
                let operation = Operation::new(Reason::Read, Location::caller());
                let (length, from) = transfer::recv_from(&self.source, operation, buf, libc::MSG_PEEK)?;
                Ok((length, $shown(&from)?))
            }

            /// Sends a datagram to the connected address, and returns how many bytes were sent.
            ///
            /// # Errors
            /// The system's: `NotConnected` or `DestinationAddressRequired` without an address,
            /// `ConnectionRefused` if there is no receiver, and a specific one if the datagram is
            /// too long.
            ///
            /// # Examples
            /// ```
            #[doc = $setup]
            /// assert_eq!(one.send(b"text")?, 4);
            /// # drop(other);
            /// # std::io::Result::Ok(())
            /// ```
            #[track_caller]
            pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
                transfer::write(&self.source, Operation::new(Reason::Write, Location::caller()), buf)
            }
        }

        impl WithContext<$Socket> {
            /// Receives a datagram, waiting for one until the context is done.
            ///
            /// # Errors
            /// The socket's, and the context's.
            ///
            /// # Examples
            /// ```
            /// use narrowboat::context::{background, with_cancel};
            ///
            #[doc = $setup]
            /// let (ctx, cancel) = with_cancel(&background());
            /// let other = other.with_context(&ctx);
            /// one.send(b"text")?;
            /// assert_eq!(other.recv(&mut [0; 8])?, 4);
            /// cancel.cancel();
            /// assert!(other.recv(&mut [0; 8]).is_err());
            /// # std::io::Result::Ok(())
            /// ```
            #[track_caller]
            pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
                let operation = Operation::tied(Reason::Read, Location::caller(), &self.tied);
                transfer::recv(&self.tied.source, operation, buf, 0)
            }

            /// Receives a datagram, and also returns the address that it came from.
            ///
            /// # Errors
            /// The socket's, and the context's.
            ///
            /// # Examples
            /// ```
            /// use narrowboat::context::background;
            ///
            #[doc = $setup]
            /// one.send(b"text")?;
            /// assert_eq!(other.with_context(&background()).recv_from(&mut [0; 8])?.0, 4);
            /// # std::io::Result::Ok(())
            /// ```
            #[track_caller]
            pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, $Addr)> {
                let operation = Operation::tied(Reason::Read, Location::caller(), &self.tied);
                let (length, from) = transfer::recv_from(&self.tied.source, operation, buf, 0)?;
                Ok((length, $shown(&from)?))
            }

            /// Sends a datagram to the connected address, waiting for room until the context is
            /// done.
            ///
            /// # Errors
            /// The socket's, and the context's.
            ///
            /// # Examples
            /// ```
            /// use narrowboat::context::background;
            ///
            #[doc = $setup]
            /// assert_eq!(one.with_context(&background()).send(b"text")?, 4);
            /// # drop(other);
            /// # std::io::Result::Ok(())
            /// ```
            #[track_caller]
            pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
                let operation = Operation::tied(Reason::Write, Location::caller(), &self.tied);
                transfer::write(&self.tied.source, operation, buf)
            }
        }
    };
}

pub(crate) use datagram_methods;
