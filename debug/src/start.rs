//! `NARROWBOAT_DEBUG`: the window that opens when the runtime starts.

use crate::server;
use narrowboat_runtime::window::{self, AtStart};
use std::env;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

const VARIABLE: &str = "NARROWBOAT_DEBUG";

/// Before `main`. The runtime calls back when it starts, if it does.
extern "C" fn register() {
    window::at_start(AtStart { check: || address().map(drop), begin });
}

// SAFETY: the section is a list of C functions, which are called before `main`. This one ignores
// the arguments that it is given, and only sets a cell of the runtime's.
#[used]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static REGISTER: extern "C" fn() = register;

/// Where the environment says that the window opens.
fn address() -> io::Result<Option<SocketAddr>> {
    env::var(VARIABLE).ok().filter(|text| !text.is_empty()).map(|text| parse(&text)).transpose()
}

/// A port alone is one of the loopback interface.
fn parse(text: &str) -> io::Result<SocketAddr> {
    let port = text.strip_prefix(':').unwrap_or(text).parse().ok();
    let address = match port {
        Some(port) => Some((Ipv4Addr::LOCALHOST, port).into()),
        None => text.replace("localhost:", "127.0.0.1:").parse().ok(),
    };
    address.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{VARIABLE}={text} must be an address and a port, such as 127.0.0.1:6060, or a port alone"
            ),
        )
    })
}

/// Opens the window. That it cannot be opened does not end the program: a child process, say, has
/// the same variable, and finds the port taken.
fn begin() {
    let Ok(Some(address)) = address() else { return };
    match server::serve(address) {
        Ok(window) => {
            window::report(format_args!("narrowboat: look at http://{}/", window.local_addr()));
        }
        Err(e) => window::report(format_args!("narrowboat: {VARIABLE}={address} opens no window: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_loopback() {
        assert_eq!(parse("6060").unwrap().to_string(), "127.0.0.1:6060");
        assert_eq!(parse(":6060").unwrap().to_string(), "127.0.0.1:6060");
        assert_eq!(parse("localhost:1").unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(parse("[::1]:2").unwrap().to_string(), "[::1]:2");
        assert_eq!(parse("0.0.0.0:3").unwrap().to_string(), "0.0.0.0:3");
        assert!(parse("yes").unwrap_err().to_string().contains("NARROWBOAT_DEBUG=yes"));
        assert!(parse("127.0.0.1").is_err() && parse("70000").is_err());
    }
}
