//! What a goroutine that runs past its stack leaves behind: a report that names it, then the end of the process.
//!
//! Called from the signal handler, on the worker's alternate stack: no allocation, no locks, no formatting that needs
//! either.

use super::GUARD;
use crate::sched::processor;
use std::fmt::{self, Write};

/// Ends the process with a report if `address` lies in the guard of the running goroutine's stack; else returns.
pub(crate) fn report(address: usize) {
    let Some(stack) = processor::current_stack() else { return };
    let guard = stack.bounds.limit - GUARD..stack.bounds.limit;
    if !guard.contains(&address) {
        return;
    }
    let mut text = Text { bytes: [0; 1024], len: 0 };
    let _ = write!(text, "\nfatal: stack overflow in goroutine {}", stack.goroutine);
    if let Some(name) = stack.name {
        let _ = write!(text, " '{name}'");
    }
    let _ = write!(
        text,
        "\n  spawned at {}\n  limit {} bytes; raise it with NARROWBOAT_MAX_STACK, Config::max_stack or \
         Builder::own_stack, or recurse less\n",
        stack.spawned_at,
        stack.bounds.size(),
    );
    // SAFETY: the buffer holds `len` bytes; write is async-signal-safe.
    unsafe { libc::write(libc::STDERR_FILENO, text.bytes.as_ptr().cast(), text.len) };
    std::process::abort();
}

/// A message of bounded length on the stack; what does not fit is cut off.
struct Text {
    bytes: [u8; 1024],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let n = s.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}
