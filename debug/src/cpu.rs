//! The CPU profile: samples of what computes, added up while they are taken.

use crate::profile::Profile;
use crate::unwind::Unwinder;
use narrowboat_runtime::window::{CpuSample, Frame, Names, Sampler, up_to_the_root};
use narrowboat_runtime::{Labels, blocking};
use std::collections::HashMap;
use std::io;
use std::panic::Location;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Samples for each second of CPU time.
pub(crate) const USUAL_HZ: u64 = 100;
pub(crate) const MOST_HZ: u64 = 1000;
/// How often samples are taken over. The runtime has room for some thousand a second.
const ROUND: Duration = Duration::from_millis(20);
/// In one of so many rounds, threads and libraries that have come since are looked for.
const ROUNDS_PER_LOOK: u32 = 5;
/// The most different samples. Further ones are added up without their labels and frames.
const MAX_KINDS: usize = 1 << 14;

const SAMPLES: (&str, &str) = ("samples", "count");
const CPU: (&str, &str) = ("cpu", "nanoseconds");

/// A profile that is being taken, until this is dropped.
pub(crate) struct Taking {
    /// Dropped to end it.
    end: Option<Sender<()>>,
    collector: Option<thread::JoinHandle<Collector>>,
}

/// What samples have in common that are added up.
#[derive(PartialEq, Eq, Hash)]
struct Kind {
    frames: Vec<u64>,
    spawned_at: Option<&'static Location<'static>>,
    labels: String,
    thread: Option<String>,
}

struct Collector {
    period: Duration,
    began: Instant,
    lasted: Duration,
    found: HashMap<Kind, (u64, Labels)>,
    lost: u64,
}

impl Taking {
    /// Begins to take `hz` samples for each second of CPU time.
    pub(crate) fn begin(hz: u64) -> io::Result<Taking> {
        let period = Duration::from_secs(1) / hz as u32;
        // On a thread of its own: goroutines that compute keep others from their turn.
        let (begun, has_begun) = channel();
        let (end, ended) = channel();
        let collector = thread::Builder::new().name("narrowboat-profile".into()).spawn(move || {
            let mut collector = Collector::new(period);
            match Sampler::start(period) {
                Ok(sampler) => {
                    let _ = begun.send(Ok(()));
                    collector.collect(sampler, &ended);
                }
                Err(e) => drop(begun.send(Err(e))),
            }
            collector
        })?;
        let taking = Taking { end: Some(end), collector: Some(collector) };
        blocking(move || has_begun.recv())
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
            .map(|()| taking)
    }

    /// Ends it. The profile, compressed.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.end.take();
        let Some(collector) = self.collector.take() else { return Vec::new() };
        blocking(move || collector.join().map(Collector::profile).unwrap_or_default())
    }
}

impl Collector {
    fn new(period: Duration) -> Collector {
        let found = HashMap::new();
        Collector { period, began: Instant::now(), lasted: Duration::ZERO, found, lost: 0 }
    }

    fn collect(&mut self, mut sampler: Sampler, ended: &Receiver<()>) {
        let mut unwinder = Unwinder::new();
        let mut names = HashMap::new();
        for round in 1u32.. {
            let goes_on = ended.recv_timeout(ROUND) == Err(RecvTimeoutError::Timeout);
            let samples = sampler.drain();
            let unknown = || samples.iter().any(|sample| !unwinder.knows(sample.instruction()));
            if round % ROUNDS_PER_LOOK == 0 && unknown() {
                // Perhaps a library that has been loaded since. Code that was made at run time stays
                // unknown.
                unwinder = Unwinder::new();
            }
            for sample in samples {
                self.add(sample, &mut unwinder, &mut names);
            }
            if !goes_on {
                break;
            }
            if round % ROUNDS_PER_LOOK == 0 {
                sampler.add_threads();
            }
        }
        self.lasted = self.began.elapsed();
        self.lost = sampler.lost;
    }

    fn add(&mut self, sample: CpuSample, unwinder: &mut Unwinder, names: &mut HashMap<i32, Option<String>>) {
        let frames = unwinder.frames(&sample);
        let mut name_of = |thread| names.entry(thread).or_insert_with(|| Sampler::name_of(thread)).clone();
        let thread = if sample.goroutine.is_none() { name_of(sample.thread) } else { None };
        let (spawned_at, labels) = match sample.goroutine {
            Some(goroutine) => (Some(goroutine.spawned_at), goroutine.labels),
            None => (None, Labels::default()),
        };
        let mut kind = Kind { frames, spawned_at, labels: labels.to_string(), thread };
        let mut labels = labels;
        if self.found.len() >= MAX_KINDS && !self.found.contains_key(&kind) {
            (kind.frames, kind.labels, labels) = (Vec::new(), String::new(), Labels::default());
        }
        self.found.entry(kind).or_insert((0, labels)).0 += sample.periods;
    }

    fn profile(self) -> Vec<u8> {
        let period = self.period.as_nanos() as u64;
        let mut profile = Profile::new(&[SAMPLES, CPU], (CPU, period));
        let mut names = Names::default();
        for (kind, (periods, labels)) in &self.found {
            let frames: Vec<Frame> =
                kind.frames.iter().flat_map(|&address| names.of(address as usize).to_vec()).collect();
            let frames = if kind.spawned_at.is_some() { up_to_the_root(&frames) } else { &frames };
            let spawned_at = kind.spawned_at.map(ToString::to_string);
            let ours = [("spawned at", spawned_at.as_deref()), ("thread", kind.thread.as_deref())];
            let ours = ours.into_iter().filter_map(|(key, value)| Some((key, value?)));
            let labels: Vec<_> = labels.iter().chain(ours).collect();
            profile.sample(&[*periods, periods * period], frames, &labels);
        }
        names.forget_symbols();
        if self.lost > 0 {
            profile
                .comment(&format!("{} samples were lost: they came faster than they were read", self.lost));
        }
        profile.finish(self.lasted)
    }
}
