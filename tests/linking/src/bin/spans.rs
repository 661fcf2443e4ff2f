//! Ten thousand goroutines at once, each inside spans of its own: more than the registry of
//! tracing-subscriber has room for threads.
//!
//! Whether the thread-locals of its crates are left with the processors is up to
//! `NARROWBOAT_SHARED_LOCALS`.

use narrowboat::{go, sync::WaitGroup};
use std::io;
use tracing::{info_span, span::EnteredSpan};
use tracing_subscriber::{Registry, layer::SubscriberExt, registry::LookupSpan};

const GOROUTINES: usize = 10_000;

/// The names of the span that is current and of those around it, innermost first.
fn spans() -> Vec<&'static str> {
    tracing::dispatcher::get_default(|dispatch| {
        let registry = dispatch.downcast_ref::<Registry>();
        let current = dispatch.current_span();
        let innermost = current.id().zip(registry).and_then(|(id, registry)| registry.span(id));
        innermost.map(|span| span.scope().map(|span| span.name()).collect()).unwrap_or_default()
    })
}

fn main() {
    // Thousands of panics are expected.
    std::panic::set_hook(Box::new(|_| ()));
    let subscriber = Registry::default().with(tracing_subscriber::fmt::layer().with_writer(io::sink));
    tracing::subscriber::set_global_default(subscriber).unwrap();
    narrowboat::run(|| {
        let alive = WaitGroup::new();
        let goroutines: Vec<_> = (0..GOROUTINES)
            .map(|i| {
                let alive = alive.clone();
                go!(move || {
                    let outer: EnteredSpan = info_span!("outer", i).entered();
                    narrowboat::yield_now();
                    let inner = info_span!("inner", i).entered();
                    alive.wait();
                    tracing::info!("here");
                    let right = spans() == ["inner", "outer"];
                    drop((inner, outer));
                    right
                })
            })
            .collect();
        drop(alive);
        let (mut right, mut panicked) = (0, 0);
        for goroutine in goroutines {
            match goroutine.join() {
                Ok(fine) => right += usize::from(fine),
                Err(_) => panicked += 1,
            }
        }
        println!("right: {right}, wrong: {}, panicked: {panicked}", GOROUTINES - right - panicked);
    });
}
