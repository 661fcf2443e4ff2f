//! TCP: std's `TcpListener` and `TcpStream`, name for name.

mod listener;
mod stream;
mod transfer;

pub use listener::{Incoming, TcpListener};
pub use stream::TcpStream;
