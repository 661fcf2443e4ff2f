//! Sockets of every kind, and what all of them have in common.

#[path = "../loopback/mod.rs"]
mod loopback;

mod closing;
mod connecting;
mod contexts;
mod deadlines;
mod descriptors;
mod halves;
mod selecting;
mod shutdown;
mod udp;
mod unix;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A path for a socket, of which the file goes away at the end.
struct TestPath(PathBuf);

impl TestPath {
    fn new() -> TestPath {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        TestPath(std::env::temp_dir().join(format!("narrowboat-test-{}-{number}", std::process::id())))
    }
}

impl std::ops::Deref for TestPath {
    type Target = std::path::Path;

    fn deref(&self) -> &std::path::Path {
        &self.0
    }
}

impl AsRef<std::path::Path> for TestPath {
    fn as_ref(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for TestPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
