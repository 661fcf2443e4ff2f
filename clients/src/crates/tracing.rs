//! `tracing` with the subscriber of `tracing-subscriber`: the current span is one of a thread.

use super::Setting;
use crate::work::{Failure, Open, expect};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tracing::{Span, info, info_span};

static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Where the events are written.
struct Sink;

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        BYTES.fetch_add(line.len(), Ordering::Relaxed);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub fn spans(_: &Setting) -> Result<Open, Failure> {
    tracing_subscriber::fmt().with_ansi(false).with_writer(|| Sink).try_init()?;
    Ok(Arc::new(move |id| {
        Ok(Box::new(move |n| {
            let span = info_span!("call", id, n);
            let _entered = span.enter();
            info!("asked");
            std::thread::sleep(Duration::from_millis(1));
            info!("answered");
            expect(Span::current().id(), span.id())?;
            expect(span.id().is_some() && BYTES.load(Ordering::Relaxed) > 0, true)
        }))
    }))
}
