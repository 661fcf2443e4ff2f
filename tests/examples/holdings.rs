//! What a server holds on to at rest: while it has no connection but the one that asks.

use crate::server::Server;
use narrowboat_testing::eventually;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

#[derive(Debug)]
pub struct Holdings {
    /// What each of them is.
    pub descriptors: Vec<String>,
    /// How many threads there are of each kind.
    pub threads: BTreeMap<String, usize>,
    pub goroutines: usize,
    pub kilobytes: usize,
}

impl Holdings {
    /// Waits until there are no more than `sockets`, which it has without any connection.
    /// `goroutines` asks how many of those there are.
    pub fn of(server: &Server, sockets: usize, goroutines: impl Fn() -> usize) -> Holdings {
        eventually("the connections are closed", || server.sockets() <= sockets);
        // Some need a moment to end. The fewest that are seen in a row of looks is what is there to
        // stay.
        let looks = (0..20).map(|_| (goroutines(), std::thread::sleep(Duration::from_millis(10))).0);
        let goroutines = looks.min().expect("looked");
        eventually("those that asked are closed as well", || server.sockets() <= sockets);
        // A look of the runtime's at /proc takes a moment, too.
        let looks = (0..5).map(|_| (server.descriptors(), std::thread::sleep(Duration::from_millis(2))).0);
        let descriptors = looks.min_by_key(Vec::len).expect("looked");
        Holdings { descriptors, threads: server.kinds_of_threads(), goroutines, kilobytes: server.resident() }
    }

    /// What connections have left behind.
    pub fn left_since(&self, before: &Holdings) -> Vec<String> {
        let mut grown = Vec::new();
        if self.goroutines > before.goroutines {
            grown.push(format!("{} goroutines became {}", before.goroutines, self.goroutines));
        }
        if self.descriptors.len() > before.descriptors.len() {
            grown.push(format!("{:?} became {:?}", before.descriptors, self.descriptors));
        }
        grown
    }

    /// How much more memory it has than it had `before`. A tenth and 2 MiB do not count.
    pub fn memory_since(&self, before: &Holdings) -> Option<String> {
        let grown = self.kilobytes > before.kilobytes + before.kilobytes / 10 + 2048;
        grown.then(|| format!("{} kB became {}", before.kilobytes, self.kilobytes))
    }

    /// What there is more of than there was `before`, memory aside.
    pub fn grown_since(&self, before: &Holdings) -> Vec<String> {
        let mut grown = self.left_since(before);
        for (kind, &count) in &self.threads {
            let more = count - before.threads.get(kind).copied().unwrap_or(0).min(count);
            let may_be_more = match &kind[..] {
                // A processor has one from its first use on. How many there are is a setting.
                "processor" => usize::MAX,
                // They stand in for those that are stuck, or wait for work for some seconds before
                // they end.
                "worker" | "narrowboat-bloc" => 4,
                _ => 0,
            };
            if more > may_be_more {
                grown.push(format!("{more} more threads of the kind {kind}"));
            }
        }
        grown
    }
}

impl fmt::Display for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (descriptors, threads) = (self.descriptors.len(), self.threads.values().sum::<usize>());
        let Holdings { goroutines, kilobytes, threads: kinds, .. } = self;
        write!(
            f,
            "{kilobytes} kB, {descriptors} descriptors, {goroutines} goroutines, {threads} threads {kinds:?}"
        )
    }
}

#[test]
fn what_has_grown_is_named() {
    let holdings = |descriptors: usize, kind: &str, threads, goroutines| Holdings {
        descriptors: vec![String::new(); descriptors],
        threads: [(kind.to_owned(), threads)].into(),
        goroutines,
        kilobytes: 0,
    };
    let before = holdings(3, "worker", 2, 4);
    assert!(holdings(2, "worker", 6, 4).grown_since(&before).is_empty());
    assert!(holdings(3, "processor", 80, 3).grown_since(&before).is_empty());
    for (grown, what) in [
        (holdings(4, "worker", 2, 4), "became"),
        (holdings(3, "worker", 2, 5), "4 goroutines became 5"),
        (holdings(3, "worker", 7, 4), "5 more threads of the kind worker"),
        (holdings(3, "helper", 1, 4), "1 more threads of the kind helper"),
    ] {
        let said = grown.grown_since(&before);
        assert!(said.len() == 1 && said[0].contains(what), "{said:?}");
    }
    let with = |kilobytes| Holdings { kilobytes, ..holdings(3, "worker", 2, 4) };
    assert_eq!(with(24_000).memory_since(&with(20_000)), None);
    assert_eq!(with(24_100).memory_since(&with(20_000)).as_deref(), Some("20000 kB became 24100"));
}
