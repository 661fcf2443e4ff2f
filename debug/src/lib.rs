//! A window into a running program of Narrowboat: an HTTP server, on goroutines of its own, with a
//! page for people, profiles for `go tool pprof`, traces for Perfetto and figures for Prometheus.
//!
//! It is `narrowboat::diag` with the feature `debug`. A program opens the window by [`serve`], or
//! its user does by `NARROWBOAT_DEBUG=127.0.0.1:6060`. A program that does neither pays nothing for
//! it.
//!
//! ```
//! let window = narrowboat::diag::serve("127.0.0.1:0")?;
//! println!("look at http://{}/", window.local_addr());
//! # window.close();
//! # std::io::Result::Ok(())
//! ```
//!
//! | path | what it has |
//! | --- | --- |
//! | `/` | the page |
//! | `/metrics` | figures for Prometheus |
//! | `/debug/pprof/goroutine` | all goroutines as a profile; `?debug=1` and `?debug=2` as text |
//! | `/debug/pprof/profile?seconds=N` | what computes, in 100 samples for each second of CPU time |
//! | `/debug/pprof/block`, `/debug/pprof/mutex` | how long goroutines have waited, and where; `?seconds=N` for the next seconds alone |
//! | `/debug/pprof/goroutineleak` | groups of goroutines that only grow, and wait for long |
//! | `/debug/pprof/trace?seconds=N` | a trace for Perfetto, of 256 MiB or `&mebibytes=N` at most |
//! | `/api/goroutines?q=TEXT` | the goroutines that a text is found in, in groups, as JSON |
//! | `/debug/pprof/trace?recorded` | what the flight recorder holds, if it is on |
//! | `/api/goroutine?id=N` | one goroutine with its frames, as JSON |
//! | `/api/timeline` | the turns of the last second, as JSON |
//! | `/api/figures` | figures each second, as server-sent events |
//! | `/api/reports` | the latest reports of goroutines that kept their processor, as JSON |
//!
//! # Safety of the program that is looked at
//! There is no authentication, so the address should be a loopback one. Then a request that a page
//! of another site sends, or one for a name that is not `localhost`, is refused: a browser on the
//! same machine does not carry the window outside. What clients may use is limited: connections,
//! sizes of requests, the time that they take to send and to read.

mod connection;
mod cpu;
mod figures;
mod goroutines;
mod json;
mod leaks;
mod profile;
mod reply;
mod request;
mod routes;
mod server;
mod start;
mod timeline;
mod traces;
mod unwind;
mod waits;

pub use server::{Window, serve};
pub use waits::{set_block_profile_rate, set_mutex_profile_fraction};
