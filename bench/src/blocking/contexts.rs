//! Cases of contexts. The peer's own names come from `super::backend`.

use std::time::Instant;

use narrowboat_bench::cli::per_operation;

use super::backend::{CANCELLED, Context, background, with_cancel};

/// One context with `count` children, made and cancelled.
pub fn wide(count: usize) {
    tree("wide", count, |root, _last| root.clone());
}

/// `count` contexts, each the child of the one before.
pub fn chain(count: usize) {
    tree("chain", count, |_root, last| last.clone());
}

/// Makes `count` contexts below a root, cancels the root, and looks at all of them; the second time
/// it counts. `parent` picks the next one's out of the root and the last one.
fn tree(name: &str, count: usize, parent: fn(&Context, &Context) -> Context) {
    for timed in [false, true] {
        let (root, cancel) = with_cancel(&background());
        let mut made = Vec::with_capacity(count);
        let begun = Instant::now();
        let mut last = root.clone();
        for _ in 0..count {
            let (child, keep) = with_cancel(&parent(&root, &last));
            last = child.clone();
            made.push((child, keep));
        }
        let making = begun.elapsed();

        let begun = Instant::now();
        cancel.cancel();
        let cancelling = begun.elapsed();
        assert!(made.iter().all(|(child, _)| child.err() == Some(CANCELLED)));
        if timed {
            per_operation(&format!("{name}-make"), making, count);
            per_operation(&format!("{name}-cancel"), cancelling, count);
        }
    }
}
