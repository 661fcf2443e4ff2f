//! Futures and streams on goroutines.
//!
//! Half of Rust's libraries are async. Here a goroutine calls them like any other code: it waits for
//! a future with [`block_on`] or [`wait`](FutureExt::wait), and parks meanwhile.
//!
//! | what | how |
//! | --- | --- |
//! | wait for a future | [`block_on`], [`wait`](FutureExt::wait) |
//! | not for ever | [`wait_timeout`](FutureExt::wait_timeout), [`wait_deadline`](FutureExt::wait_deadline), [`wait_with_context`](FutureExt::wait_with_context) |
//! | beside channels, timers and sockets | [`into_receiver`](FutureExt::into_receiver), in `select!` |
//! | a stream as a channel, and back | [`StreamExt::into_receiver`], [`stream()`] |
//! | channels, goroutines and sockets in async tasks | `send_async`, `recv_async`, `JoinHandle::into_future`, `readable().recv_async()`, `acquire_async` |
//! | tokio, and what is built on it | the feature `tokio`, and its module |
//!
//! # Examples
//! ```
//! use narrowboat::future::FutureExt;
//!
//! let semaphore = tokio::sync::Semaphore::new(1);
//! let permit = semaphore.acquire().wait().unwrap();
//! assert_eq!(semaphore.available_permits(), 0);
//! drop(permit);
//! ```

#[cfg(all(test, narrowboat_threads))]
extern crate narrowboat_loom_on_threads as loom;

mod block_on;
mod context;
mod error;
mod ext;
mod shim;
mod signal;
mod source;
mod stream;
#[cfg(feature = "tokio")]
pub mod tokio;

pub use block_on::block_on;
pub use error::TimeoutError;
pub use ext::{FutureExt, StreamExt};
pub use stream::{ReceiverStream, stream};
