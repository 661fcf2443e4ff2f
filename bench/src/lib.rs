//! What the peers and the load generator share: how sizes come in and figures go out, how memory is read, where a
//! race starts, and what an HTTP request and its reply are. Nothing here depends on a runtime, so that no peer
//! carries more of it than another.

pub mod cli;
pub mod epoll;
pub mod http;
pub mod limits;
pub mod memory;
pub mod recursion;
pub mod start;
