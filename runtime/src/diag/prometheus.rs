//! The figures in the text form that Prometheus reads (version 0.0.4).

use super::stats::{ProcessorStats, Stats, WorkerStats};
use std::fmt::Write;

impl Stats {
    /// The figures as a page for Prometheus: metrics named `narrowboat_*`, those of processors and
    /// workers with their number as a label, times in seconds.
    ///
    /// ```
    /// let page = narrowboat::stats().prometheus();
    /// assert!(page.contains("# TYPE narrowboat_goroutines gauge"));
    /// ```
    pub fn prometheus(&self) -> String {
        let mut page = String::new();
        let mut single = |name: &str, kind: &str, help: &str, value: usize| {
            head(&mut page, name, kind, help);
            let _ = writeln!(page, "narrowboat_{name} {value}");
        };
        single("goroutines", "gauge", "Goroutines that have not ended.", self.goroutines());
        single("workers_allowed", "gauge", "Workers that may be awake now.", self.workers_allowed);
        single("spares_started_total", "counter", "Workers started for stuck ones.", self.spares_started);
        single("stuck_total", "counter", "Goroutines found to keep their processor.", self.stuck);
        single("pinned", "gauge", "1 if processors are pinned to threads.", self.pinned.into());
        single("private_locals_bytes", "gauge", "Thread-locals of a goroutine's own.", self.private_locals);
        single("slots_held_total", "counter", "Waits that held a shared stack slot.", self.slots_held);
        type OfProcessor = fn(&ProcessorStats) -> usize;
        let metrics: [(&str, &str, &str, OfProcessor); 14] = [
            ("processor_goroutines", "gauge", "Goroutines that have not ended.", |p| p.goroutines),
            ("processor_running", "gauge", "Goroutines that run.", |p| p.running),
            ("processor_waiting", "gauge", "Goroutines that wait for something.", |p| p.waiting),
            ("processor_ready", "gauge", "Goroutines ready to run.", |p| p.ready),
            ("processor_unstarted", "gauge", "Goroutines that have not started.", |p| p.unstarted),
            ("processor_spawned_total", "counter", "Goroutines spawned.", |p| p.spawned),
            ("processor_finished_total", "counter", "Goroutines that have ended.", |p| p.finished),
            ("processor_switches_total", "counter", "Switches to a goroutine.", |p| p.switches),
            ("processor_parks_total", "counter", "Goroutines that began to wait.", |p| p.parks),
            ("processor_yields_total", "counter", "Goroutines that gave way.", |p| p.yields),
            ("processor_copies_total", "counter", "Stacks copied out.", |p| p.copies),
            ("processor_copied_bytes_total", "counter", "Bytes copied out.", |p| p.copied_bytes),
            ("processor_slots", "gauge", "Stack slots in use.", |p| p.slots),
            ("processor_timers", "gauge", "Goroutines that wait with a deadline.", |p| p.timers),
        ];
        for (name, kind, help, of) in metrics {
            head(&mut page, name, kind, help);
            for (index, processor) in self.processors.iter().enumerate() {
                let _ = writeln!(page, "narrowboat_{name}{{processor=\"{index}\"}} {}", of(processor));
            }
        }
        type OfWorker = fn(&WorkerStats) -> f64;
        let metrics: [(&str, &str, OfWorker); 7] = [
            ("worker_carried_total", "Turns of processors carried.", |w| w.carried as f64),
            ("worker_steals_total", "Processors and goroutines taken from elsewhere.", |w| w.steals as f64),
            ("worker_polls_total", "Looks into the netpoller.", |w| w.polls as f64),
            ("worker_events_total", "Events found by them.", |w| w.events as f64),
            ("worker_running_seconds_total", "Time with a processor.", |w| w.running.as_secs_f64()),
            ("worker_searching_seconds_total", "Time without one.", |w| w.searching.as_secs_f64()),
            ("worker_sleeping_seconds_total", "Time asleep.", |w| w.sleeping.as_secs_f64()),
        ];
        for (name, help, of) in metrics {
            head(&mut page, name, "counter", help);
            for (index, worker) in self.workers.iter().enumerate() {
                let _ = writeln!(page, "narrowboat_{name}{{worker=\"{index}\"}} {}", of(worker));
            }
        }
        page
    }
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(page, "# HELP narrowboat_{name} {help}\n# TYPE narrowboat_{name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_has_a_type_and_a_number() {
        let stats = Stats {
            processors: vec![Default::default(); 2],
            workers: vec![Default::default(); 3],
            ..Default::default()
        };
        let page = stats.prometheus();
        let mut typed = "";
        let mut seen = std::collections::HashSet::new();
        for line in page.lines() {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (name, kind) = declared.split_once(' ').unwrap();
                assert!(seen.insert(name), "{name} is declared twice");
                // What only grows is a counter, and is called so.
                assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
                assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
                typed = name;
            } else if !line.starts_with('#') {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                assert_eq!(sample.split('{').next().unwrap(), typed);
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        assert_eq!(page.lines().filter(|line| line.contains("{worker=\"2\"}")).count(), 7);
    }
}
