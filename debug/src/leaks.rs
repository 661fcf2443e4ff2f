//! Goroutines that have probably been forgotten.
//!
//! The runtime cannot know what else still leads to a channel or a lock, so it cannot say that a
//! wait never ends. What it sees are groups that behave so: over some seconds, no goroutine of the
//! group has gone, and others have come. A group is made of goroutines that were spawned in the same
//! line and wait in the same line for the same kind of thing. Waits that something outside of the
//! program ends (sockets, times, blocking calls) do not count.

use crate::connection::Client;
use crate::goroutines::stack;
use crate::profile::Profile;
use narrowboat_runtime::window::{Group, Names};
use narrowboat_runtime::{Dump, GoroutineId, GoroutineInfo, blocking, dump};
use std::collections::{HashMap, HashSet};
use std::panic::Location;
use std::time::Duration;

const UNIT: (&str, &str) = ("goroutine", "count");
const MAX_GROUPS: usize = 500;

type Place = &'static Location<'static>;
type Key = (String, Place, Place);

fn key(goroutine: &GoroutineInfo) -> Key {
    (format!("{:?}", goroutine.reason()), goroutine.waits_at(), goroutine.spawned_at())
}

/// The goroutines of each group, without those of processors that are `silent` in one of the looks:
/// what is not seen once has neither come nor gone.
fn members(dump: &Dump, silent: &HashSet<usize>) -> HashMap<Key, HashSet<GoroutineId>> {
    let mut members: HashMap<Key, HashSet<GoroutineId>> = HashMap::new();
    let seen = |goroutine: &&GoroutineInfo| !goroutine.is_woken() && !silent.contains(&goroutine.processor());
    for goroutine in dump.goroutines().iter().filter(seen) {
        members.entry(key(goroutine)).or_default().insert(goroutine.id());
    }
    members
}

/// Looks twice, `length` apart. The groups that have only grown meanwhile, with their members that
/// have waited for `waited` at least. `None` if the client has gone.
pub(crate) fn look(client: &Client, length: Duration, waited: Duration) -> Option<Vec<Group>> {
    let first = dump();
    if client.goes_within(length) {
        return None;
    }
    let second = dump();
    Some(blocking(move || {
        let silent = first.silent_processors().iter().chain(second.silent_processors()).copied().collect();
        let (first, now) = (members(&first, &silent), members(&second, &silent));
        let grows = |key: &Key| match (first.get(key), now.get(key)) {
            (before, Some(now)) => {
                before.is_none_or(|before| before.len() < now.len() && before.is_subset(now))
            }
            (_, None) => false,
        };
        let leaks: HashSet<GoroutineId> = second
            .goroutines()
            .iter()
            .filter(|goroutine| {
                let group = now.get(&key(goroutine));
                group.is_some_and(|group| group.contains(&goroutine.id()))
                    && goroutine.waiting_for() >= waited
                    && grows(&key(goroutine))
            })
            .map(GoroutineInfo::id)
            .collect();
        let mut names = Names::default();
        let (mut groups, _) =
            second.groups(|goroutine| leaks.contains(&goroutine.id()), MAX_GROUPS, 0, &mut names);
        groups.retain(|group| !group.external);
        groups
    }))
}

/// The profile of such groups, compressed.
pub(crate) fn profile(groups: Vec<Group>, lasted: Duration) -> Vec<u8> {
    blocking(move || {
        let mut profile = Profile::new(&[UNIT], (UNIT, 1));
        for group in &groups {
            let longest = format!("{:.1?}", group.longest);
            let labels = [
                ("waits for", group.waits_for),
                ("spawned at", &*group.spawned_at.to_string()),
                ("longest wait", &*longest),
            ];
            profile.sample(&[group.count as u64], &stack(group), &labels);
        }
        profile.finish(lasted)
    })
}
