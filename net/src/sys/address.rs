//! Unix addresses as the kernel has them, and as std shows them.

use socket2::SockAddr;
use std::io;
use std::os::unix::net::SocketAddr;
use std::path::Path;

/// The address of a path.
///
/// # Errors
/// `InvalidInput` if the path is too long or has a zero byte in it, as with std.
pub(crate) fn of_path(path: &Path) -> io::Result<SockAddr> {
    // std knows which paths are valid, and reports what is wrong with one.
    of(&SocketAddr::from_pathname(path)?)
}

/// The kernel's form of std's address.
pub(crate) fn of(address: &SocketAddr) -> io::Result<SockAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = address.as_abstract_name() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        // A zero byte in front makes it a name instead of a path.
        return SockAddr::unix(OsStr::from_bytes(&[b"\0", name].concat()));
    }
    SockAddr::unix(address.as_pathname().unwrap_or(Path::new("")))
}

/// std's form of the kernel's address.
pub(crate) fn shown(address: &SockAddr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = address.as_abstract_namespace() {
        return SocketAddr::from_abstract_name(name);
    }
    // For a datagram, an address without a name has no family either.
    SocketAddr::from_pathname(address.as_pathname().unwrap_or(Path::new("")))
}

#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_to_the_kernel_and_back() {
        let path = SocketAddr::from_pathname("/tmp/some/where").unwrap();
        assert_eq!(shown(&of(&path).unwrap()).unwrap().as_pathname(), Some(Path::new("/tmp/some/where")));
        let unnamed = SocketAddr::from_pathname("").unwrap();
        assert!(unnamed.is_unnamed() && shown(&of(&unnamed).unwrap()).unwrap().is_unnamed());
        let long = "x".repeat(200);
        assert_eq!(of_path(Path::new(&long)).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        #[cfg(target_os = "linux")]
        for name in [&b"name"[..], b"", b"with\0zero"] {
            let address = SocketAddr::from_abstract_name(name).unwrap();
            assert_eq!(shown(&of(&address).unwrap()).unwrap().as_abstract_name(), Some(name));
        }
    }
}
