//! What the window tells, and what becomes of it on the screen.

use serde::Deserialize;
use std::collections::{HashMap, VecDeque};

/// How many seconds of figures are kept.
const KEPT: usize = 300;

/// The figures of one moment. Each has a value for each processor, or for each worker.
#[derive(Clone, Default, Deserialize)]
pub(crate) struct Figures {
    /// Milliseconds since the connection was made.
    pub(crate) time: f64,
    processors: HashMap<String, Vec<f64>>,
    workers: HashMap<String, Vec<f64>>,
}

#[derive(Clone, Default, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) all: u64,
    pub(crate) found: u64,
    pub(crate) all_groups: u64,
    pub(crate) groups: Vec<Group>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct Group {
    pub(crate) reason: String,
    pub(crate) waits_for: String,
    pub(crate) waits_at: Option<String>,
    pub(crate) spawned_at: String,
    pub(crate) count: u64,
    /// Milliseconds.
    pub(crate) longest: u64,
    pub(crate) stack: u64,
    pub(crate) things: Vec<String>,
    #[serde(default)]
    pub(crate) labels: Vec<LabelSet>,
    pub(crate) frames: Vec<Frame>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct LabelSet {
    pub(crate) text: String,
    pub(crate) count: u64,
}

#[derive(Clone, Deserialize)]
pub(crate) struct Frame {
    pub(crate) name: String,
    pub(crate) at: String,
}

/// In which order groups stand.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Order {
    #[default]
    Count,
    Longest,
    Stack,
}

impl Order {
    pub(crate) fn next(self) -> Order {
        match self {
            Order::Count => Order::Longest,
            Order::Longest => Order::Stack,
            Order::Stack => Order::Count,
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Order::Count => "most first",
            Order::Longest => "longest wait first",
            Order::Stack => "largest stack first",
        }
    }
}

/// A line of the figures: its name, the value of each second, the latest last.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) values: VecDeque<u64>,
    of: Value,
}

#[derive(Clone, Copy)]
enum Value {
    /// The sum over all processors.
    Level(&'static str),
    /// How much the sum grows in a second.
    Rate(Of, &'static str),
    /// The share of the workers' time that they run, in percent.
    Running,
}

#[derive(Clone, Copy)]
enum Of {
    Processors,
    Workers,
}

impl Figures {
    pub(crate) fn sum(&self, name: &str) -> f64 {
        sum(&self.processors, name)
    }

    pub(crate) fn processors(&self) -> usize {
        self.processors.get("goroutines").map_or(0, Vec::len)
    }

    /// How many workers there are. A retired one has ended.
    pub(crate) fn workers(&self) -> usize {
        self.workers.get("retired").map_or(0, |retired| retired.iter().filter(|&&gone| gone == 0.0).count())
    }
}

fn sum(of: &HashMap<String, Vec<f64>>, name: &str) -> f64 {
    of.get(name).map_or(0.0, |values| values.iter().sum())
}

impl Value {
    fn of(self, now: &Figures, last: &Figures) -> f64 {
        let seconds = ((now.time - last.time) / 1000.0).max(0.001);
        let grown = |of: Of, name| {
            let of = |figures: &Figures| match of {
                Of::Processors => sum(&figures.processors, name),
                Of::Workers => sum(&figures.workers, name),
            };
            of(now) - of(last)
        };
        match self {
            Value::Level(name) => now.sum(name),
            Value::Rate(of, name) => grown(of, name) / seconds,
            Value::Running => {
                let running = grown(Of::Workers, "running");
                let all = running + grown(Of::Workers, "searching") + grown(Of::Workers, "sleeping");
                if all > 0.0 { 100.0 * running / all } else { 0.0 }
            }
        }
    }
}

/// What is shown.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) address: String,
    /// Why nothing new comes, if it does not.
    pub(crate) trouble: Option<String>,
    pub(crate) figures: Option<Figures>,
    pub(crate) series: Vec<Series>,
    pub(crate) snapshot: Snapshot,
    pub(crate) order: Order,
    pub(crate) chosen: usize,
    pub(crate) open: bool,
    pub(crate) search: String,
    pub(crate) typing: bool,
    pub(crate) stopped: bool,
}

impl State {
    pub(crate) fn new(address: String) -> State {
        use Of::{Processors, Workers};
        let series = |name, of| Series { name, values: VecDeque::new(), of };
        let series = vec![
            series("goroutines", Value::Level("goroutines")),
            series("ready", Value::Level("ready")),
            series("turns /s", Value::Rate(Processors, "switches")),
            series("spawned /s", Value::Rate(Processors, "spawned")),
            series("copies /s", Value::Rate(Processors, "copies")),
            series("sockets /s", Value::Rate(Workers, "events")),
            series("timers", Value::Level("timers")),
            series("workers run %", Value::Running),
        ];
        State { address, series, ..State::default() }
    }

    /// Takes new figures in.
    pub(crate) fn add_figures(&mut self, now: Figures) {
        // A later connection begins its time anew.
        if let Some(last) = self.figures.as_ref().filter(|last| last.time < now.time) {
            for series in &mut self.series {
                series.values.push_back(series.of.of(&now, last).max(0.0) as u64);
                if series.values.len() > KEPT {
                    series.values.pop_front();
                }
            }
        }
        self.figures = Some(now);
    }

    /// Takes new groups in.
    pub(crate) fn set_snapshot(&mut self, snapshot: Snapshot) {
        self.snapshot = snapshot;
        self.sort();
    }

    pub(crate) fn sort(&mut self) {
        let order = self.order;
        self.snapshot.groups.sort_by_key(|group| {
            std::cmp::Reverse(match order {
                Order::Count => group.count,
                Order::Longest => group.longest,
                Order::Stack => group.stack,
            })
        });
        self.chosen = self.chosen.min(self.snapshot.groups.len().saturating_sub(1));
    }

    /// Chooses the group that is so many lines further down.
    pub(crate) fn choose(&mut self, by: isize) {
        let last = self.snapshot.groups.len().saturating_sub(1);
        self.chosen = self.chosen.saturating_add_signed(by).min(last);
    }
}
