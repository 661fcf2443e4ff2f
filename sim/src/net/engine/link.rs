//! Links: one for each direction between two hosts.

use super::{HostId, Packet};
use crate::random::Random;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How long a packet takes within a host, in nanoseconds.
pub(super) const LOOPBACK: u64 = 10_000;

/// What a link does to packets. Without any setting they take from half a millisecond to a
/// millisecond, in a network that loses none.
///
/// # Examples
/// ```
/// use narrowboat::sim::net::Link;
/// use std::time::Duration;
///
/// let slow = Link::new()
///     .latency(Duration::from_millis(80))
///     .jitter(Duration::from_millis(20))
///     .bandwidth(125_000)
///     .loss(0.01);
/// # drop(slow);
/// ```
#[derive(Clone, Debug)]
pub struct Link {
    latency: u64,
    jitter: u64,
    bandwidth: Option<u64>,
    loss: f64,
    duplication: f64,
    reordering: f64,
}

impl Default for Link {
    fn default() -> Link {
        Link::new()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[track_caller]
fn probability(value: f64) -> f64 {
    assert!((0.0..=1.0).contains(&value), "a probability is between 0 and 1, and not {value}");
    value
}

impl Link {
    /// A link without any setting.
    ///
    /// # Examples
    /// ```
    /// let link = narrowboat::sim::net::Link::new();
    /// # drop(link);
    /// ```
    pub fn new() -> Link {
        Link {
            latency: 500_000,
            jitter: 500_000,
            bandwidth: None,
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
        }
    }

    /// The shortest time that a packet takes. The clock of a world ends after 584 years: what would
    /// arrive later never does.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sim::net::Link;
    /// let link = Link::new().latency(std::time::Duration::from_millis(80));
    /// # drop(link);
    /// ```
    pub fn latency(mut self, latency: Duration) -> Link {
        self.latency = nanoseconds(latency);
        self
    }

    /// How much longer a packet may take: each draws its time between the latency and this beyond
    /// it. Datagrams overtake each other by that; streams keep their order.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sim::net::Link;
    /// let link = Link::new().jitter(std::time::Duration::ZERO);
    /// # drop(link);
    /// ```
    pub fn jitter(mut self, jitter: Duration) -> Link {
        self.jitter = nanoseconds(jitter);
        self
    }

    /// How many bytes pass in a second. Packets wait for their turn; none is dropped for that.
    ///
    /// # Panics
    /// If it is zero.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sim::net::Link;
    /// let ten_megabits = Link::new().bandwidth(1_250_000);
    /// # drop(ten_megabits);
    /// ```
    #[track_caller]
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Link {
        assert_ne!(bytes_per_second, 0, "a link without bandwidth is a partition");
        self.bandwidth = Some(bytes_per_second);
        self
    }

    /// The probability that a packet is lost. Datagrams are then gone; what a stream has lost is
    /// sent again, and arrives later.
    ///
    /// # Panics
    /// If it is no probability.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sim::net::Link;
    /// let link = Link::new().loss(0.05);
    /// # drop(link);
    /// ```
    #[track_caller]
    pub fn loss(mut self, rate: f64) -> Link {
        self.loss = probability(rate);
        self
    }

    /// The probability that a datagram arrives twice.
    ///
    /// # Panics
    /// If it is no probability.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sim::net::Link;
    /// let link = Link::new().duplication(0.01);
    /// # drop(link);
    /// ```
    #[track_caller]
    pub fn duplication(mut self, rate: f64) -> Link {
        self.duplication = probability(rate);
        self
    }

    /// The probability that a datagram is delayed by up to four times what it would have taken, so
    /// that later ones overtake it.
    ///
    /// # Panics
    /// If it is no probability.
    ///
    /// # Examples
    /// ```
    /// use narrowboat::sim::net::Link;
    /// let link = Link::new().reordering(0.1);
    /// # drop(link);
    /// ```
    #[track_caller]
    pub fn reordering(mut self, rate: f64) -> Link {
        self.reordering = probability(rate);
        self
    }
}

/// A number from 0 to `most`.
fn up_to(most: u64, random: &mut Random) -> u64 {
    ((u128::from(random.next()) * (u128::from(most) + 1)) >> 64) as u64
}

/// True with this probability. Draws nothing where there is no choice, so that a link without
/// losses does not change the draws of others.
fn happens(probability: f64, random: &mut Random) -> bool {
    probability > 0.0 && (random.next() >> 11) as f64 / ((1u64 << 53) as f64) < probability
}

/// What becomes of a packet on a link.
pub(super) enum Passage {
    Lost,
    /// It arrives, and perhaps once more.
    Arrives {
        at: u64,
        again: Option<u64>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Open,
    Cut,
    Held,
}

/// The link of one direction between two hosts.
pub(crate) struct Directed {
    settings: Link,
    state: State,
    /// Until when the packets take that are being sent, on a link of limited bandwidth.
    busy_until: u64,
    /// What has come to the end of a link on hold.
    kept: VecDeque<Packet>,
}

impl Directed {
    pub(super) fn pass(&mut self, now: u64, size: usize, ordered: bool, random: &mut Random) -> Passage {
        if self.state == State::Cut || happens(self.settings.loss, random) {
            return Passage::Lost;
        }
        let mut sent = now;
        if let Some(bandwidth) = self.settings.bandwidth {
            let takes = u128::from(size as u64) * 1_000_000_000 / u128::from(bandwidth);
            self.busy_until = self.busy_until.max(now).saturating_add(takes as u64);
            sent = self.busy_until;
        }
        // What is later than the clock of a world can be saturates, and never arrives.
        let Link { latency, jitter, .. } = self.settings;
        let arrival =
            |random: &mut Random| sent.saturating_add(latency).saturating_add(up_to(jitter, random));
        let mut at = arrival(random);
        let mut again = None;
        if !ordered {
            if happens(self.settings.reordering, random) {
                at = at.saturating_add(up_to((at - now).saturating_mul(4), random));
            }
            again = happens(self.settings.duplication, random).then(|| arrival(random));
        }
        Passage::Arrives { at, again }
    }

    /// The longest time that a packet which has its turn takes.
    pub(super) fn longest(&self) -> u64 {
        self.settings.latency.saturating_add(self.settings.jitter)
    }

    pub(super) fn is_cut(&self) -> bool {
        self.state == State::Cut
    }

    pub(super) fn is_held(&self) -> bool {
        self.state == State::Held
    }

    pub(super) fn keep(&mut self, packet: Packet) {
        self.kept.push_back(packet);
    }

    /// Opens a link on hold, and returns what it has kept.
    pub(super) fn release(&mut self) -> VecDeque<Packet> {
        if self.state == State::Held {
            self.state = State::Open;
        }
        std::mem::take(&mut self.kept)
    }

    pub(crate) fn set(&mut self, settings: Link) {
        self.settings = settings;
    }

    /// Cuts the link. What it has kept is lost.
    pub(crate) fn cut(&mut self) {
        self.kept.clear();
        self.state = State::Cut;
    }

    pub(crate) fn hold(&mut self) {
        if self.state == State::Open {
            self.state = State::Held;
        }
    }

    pub(crate) fn heal(&mut self) {
        if self.state == State::Cut {
            self.state = State::Open;
        }
    }
}

/// The links of a world, each made at its first use.
#[derive(Default)]
pub(crate) struct Links {
    /// What a link is that nothing else was said of.
    usual: Link,
    all: BTreeMap<(HostId, HostId), Directed>,
}

impl Links {
    pub(crate) fn between(&mut self, from: HostId, to: HostId) -> &mut Directed {
        self.all.entry((from, to)).or_insert_with(|| Directed {
            settings: self.usual.clone(),
            state: State::Open,
            busy_until: 0,
            kept: VecDeque::new(),
        })
    }

    /// Sets all links, those that are there and those that will be.
    pub(crate) fn set_all(&mut self, settings: Link) {
        for link in self.all.values_mut() {
            link.set(settings.clone());
        }
        self.usual = settings;
    }

    /// The longest time from `one` to `other` and back.
    pub(super) fn round_trip(&mut self, one: HostId, other: HostId) -> u64 {
        if one == other {
            return 2 * LOOPBACK;
        }
        self.between(one, other).longest().saturating_add(self.between(other, one).longest())
    }
}
