//! The thread that looks for turns that do not end.
//!
//! A thread and not a goroutine: endless loops may keep all processors.

use crate::report::{Report, StuckAction};
use crate::system::Shared;
use crate::table::AnyService;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

/// How often the limit is divided for a look. A report is late by at most one of these parts.
const LOOKS: u32 = 4;

/// Between looks the thread sleeps in parts of at most this length, so that it ends soon after its
/// system.
const NAP: Duration = Duration::from_millis(500);

pub(crate) fn start(system: Weak<Shared>, limit: Duration, action: StuckAction) {
    thread::Builder::new()
        .name("actor watchdog".into())
        .spawn(move || {
            let period = limit / LOOKS;
            let mut slept = Duration::ZERO;
            loop {
                let nap = (period - slept).min(NAP).max(Duration::from_millis(1));
                thread::sleep(nap);
                slept += nap;
                let Some(system) = system.upgrade() else { return };
                if slept >= period {
                    slept = Duration::ZERO;
                    look(&system, limit, action);
                }
            }
        })
        .expect("a thread can be started");
}

fn look(system: &Shared, limit: Duration, action: StuckAction) {
    for service in system.services() {
        let Some((job, lasted)) = service.stuck(limit) else { continue };
        system.report(&Report::Stuck {
            id: service.id(),
            name: service.name().map(|name| name.to_string()),
            kind: service.kind(),
            message: (job.kind)(),
            source: job.origin.source,
            session: job.origin.session,
            lasted,
        });
        act(service, action);
    }
}

fn act(service: Arc<dyn AnyService>, action: StuckAction) {
    match action {
        StuckAction::Report => {}
        StuckAction::Restart => {
            if !service.clone().restart() {
                service.end();
            }
        }
        StuckAction::Kill => service.end(),
    }
}
