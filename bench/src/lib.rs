//! What the peers and the load generator share: how sizes come in and figures go out, how memory
//! and CPU time are read and cores are held, where a race starts, when sleepers wake, what disturbs
//! a server, and what an HTTP request and its reply are. Nothing here depends on a runtime, so that
//! no peer carries more of it than another. What drivers share is in `harness`.

pub mod cli;
pub mod cores;
pub mod cpu;
pub mod disturbance;
pub mod epoll;
pub mod harness;
pub mod http;
pub mod limits;
pub mod locks;
pub mod memory;
pub mod messages;
pub mod placement;
pub mod recursion;
pub mod start;
pub mod timing;
