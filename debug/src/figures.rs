//! The figures of the runtime, each second, to whatever looks at them.

use crate::connection::Client;
use crate::json::Json;
use crate::reply::{Status, head};
use crate::server::Server;
use narrowboat_runtime::{ProcessorStats, Stats, WorkerStats, stats};
use std::io;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(1);

/// Sends the figures as server-sent events until the client has gone.
pub(crate) fn stream(client: &Client, server: &Server) -> io::Result<()> {
    client.send(head(Status::Fine, "text/event-stream", "", false).as_bytes())?;
    let began = Instant::now();
    while !server.is_closed() {
        client.send(format!("data: {}\n\n", json(&stats(), began.elapsed())).as_bytes())?;
        if client.goes_within(EVERY) {
            break;
        }
    }
    Ok(())
}

type OfProcessor = fn(&ProcessorStats) -> usize;
type OfWorker = fn(&WorkerStats) -> usize;

const PROCESSORS: [(&str, OfProcessor); 13] = [
    ("goroutines", |p| p.goroutines),
    ("running", |p| p.running),
    ("ready", |p| p.ready),
    ("waiting", |p| p.waiting),
    ("unstarted", |p| p.unstarted),
    ("spawned", |p| p.spawned),
    ("finished", |p| p.finished),
    ("switches", |p| p.switches),
    ("parks", |p| p.parks),
    ("yields", |p| p.yields),
    ("copies", |p| p.copies),
    ("copied_bytes", |p| p.copied_bytes),
    ("timers", |p| p.timers),
];

/// Times are in microseconds.
const WORKERS: [(&str, OfWorker); 8] = [
    ("carried", |w| w.carried),
    ("steals", |w| w.steals),
    ("polls", |w| w.polls),
    ("events", |w| w.events),
    ("running", |w| w.running.as_micros() as usize),
    ("searching", |w| w.searching.as_micros() as usize),
    ("sleeping", |w| w.sleeping.as_micros() as usize),
    ("retired", |w| w.retired.into()),
];

/// Each figure with an array: its values of all processors, or of all workers.
fn json(stats: &Stats, time: Duration) -> String {
    Json::object(|json| {
        json.key("time").number(time.as_millis() as usize);
        json.key("stuck").number(stats.stuck);
        json.key("workers_allowed").number(stats.workers_allowed);
        json.key("spares").number(stats.spares_started);
        json.key("held").number(stats.slots_held);
        json.key("processors").inner(|json| {
            for (name, of) in PROCESSORS {
                json.key(name).each(stats.processors.iter().map(of), Json::number);
            }
        });
        json.key("workers").inner(|json| {
            for (name, of) in WORKERS {
                json.key(name).each(stats.workers.iter().map(of), Json::number);
            }
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_value_for_each() {
        let mut stats = Stats::default();
        stats.processors = vec![ProcessorStats::default(); 2];
        stats.workers = vec![WorkerStats::default(); 3];
        let text = json(&stats, Duration::from_millis(7));
        assert!(text.starts_with(r#"{"time":7,"stuck":0,"#), "{text}");
        assert_eq!(text.matches("[0,0]").count(), PROCESSORS.len(), "{text}");
        assert_eq!(text.matches("[0,0,0]").count(), WORKERS.len(), "{text}");
    }
}
