//! The conversions that every socket type has: to and from descriptors, and to and from std's type.
//!
//! They cannot fail. Registration with the netpoller is put off until an operation has to wait, and
//! for a wrong descriptor the first operation returns the error, as with std.

/// Implements the conversions of a socket type that has one field, `source: Arc<Source>`. `accepts`
/// says whether it accepts connections.
macro_rules! descriptor_conversions {
    ($socket:ident, $std:ty, accepts: $accepts:literal) => {
        impl std::os::fd::AsFd for $socket {
            /// # Panics
            /// If the socket is one of a simulated network.
            #[track_caller]
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.source.handle().fd()
            }
        }

        impl std::os::fd::AsRawFd for $socket {
            /// # Panics
            /// If the socket is one of a simulated network.
            #[track_caller]
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                std::os::fd::AsRawFd::as_raw_fd(&self.source.handle().fd())
            }
        }

        /// Takes over the descriptor with its mode (blocking or not) and its timeouts. A listener's
        /// is made non-blocking; other processes with the same open file see that, too.
        impl From<std::os::fd::OwnedFd> for $socket {
            fn from(fd: std::os::fd::OwnedFd) -> Self {
                Self { source: std::sync::Arc::new($crate::source::Source::adopt(fd, $accepts)) }
            }
        }

        /// Gives the descriptor away, in the mode and with the timeouts that std's type would have.
        /// If there are clones, they keep the socket, and a duplicate is given away.
        ///
        /// The mode belongs to the socket and not to the descriptor: while the new owner has it
        /// blocking, an `accept` by a clone blocks its thread. Reads and writes by clones go on
        /// parking.
        ///
        /// # Panics
        /// If there are clones, and no descriptor is left for a duplicate. If the socket is one of
        /// a simulated network.
        impl From<$socket> for std::os::fd::OwnedFd {
            fn from(socket: $socket) -> Self {
                socket.source.into_fd()
            }
        }

        impl std::os::fd::FromRawFd for $socket {
            unsafe fn from_raw_fd(fd: std::os::fd::RawFd) -> Self {
                // SAFETY: the caller gives us the descriptor, by the contract of this function.
                unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) }.into()
            }
        }

        impl std::os::fd::IntoRawFd for $socket {
            fn into_raw_fd(self) -> std::os::fd::RawFd {
                std::os::fd::IntoRawFd::into_raw_fd(std::os::fd::OwnedFd::from(self))
            }
        }

        impl From<$std> for $socket {
            fn from(socket: $std) -> Self {
                std::os::fd::OwnedFd::from(socket).into()
            }
        }

        impl From<$socket> for $std {
            fn from(socket: $socket) -> Self {
                std::os::fd::OwnedFd::from(socket).into()
            }
        }
    };
}

pub(crate) use descriptor_conversions;
