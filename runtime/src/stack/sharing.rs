//! Which goroutines may share a stack slot: a spawn site has to earn sharing.
//!
//! A stack must not move while its goroutine waits by one of std's locks or by `thread::park`
//! ([`crate::futex`]). So a goroutine that waits like this in a shared slot keeps the other
//! goroutines of that slot from running; and if it waits for one of those, all of them wait for
//! ever. Hence goroutines that wait like this should live alone. Whether they do is learned per
//! spawn site:
//!
//! - The first [`PROBATION`] goroutines of a site live alone.
//! - The next one starts when the others have had time to show how they wait: when all that were
//!   ready on its processor have had another turn, or some milliseconds later, or when as many have
//!   ended. If none has waited like this by then, it shares, and so do all that follow.
//! - Once a goroutine of a site has waited like this, at any time, the site no longer shares.
//!
//! A site is identified by the address of its location. A line that is compiled into several
//! places, as a generic or inlined function is, can be several sites; each learns for itself.
//!
//! The remaining case is a site that waits like this for the first time after it has begun to
//! share. Its slot is held for that long, which [`stats`](crate::stats) counts and a dump shows.
//!
//! There is one table for the process. An entry is a word for the site and one for what is known of
//! it. Both only move forward, so plain atomic operations are enough and no order between them
//! matters: a value that is seen late costs a goroutine its own stack, or gives it one.

use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering::Relaxed};

/// How many goroutines of a site live alone before the first that shares. Enough to see whether the
/// goroutines of a site contend for locks, and few enough not to be a burden: a stack of its own
/// costs two pages, a share of a slot some hundred bytes.
pub(crate) const PROBATION: u32 = 1024;

/// Capacity of the table. The goroutines of further sites live alone, as nothing is learned of them.
const SITES: usize = 4096;
/// How many entries are tried for one site.
const PROBES: usize = 16;

/// One of the site's goroutines has waited with its stack in place.
const WAITS: u32 = 1 << 31;
/// The site has earned sharing.
const SHARES: u32 = 1 << 30;

struct SiteEntry {
    site: AtomicPtr<Location<'static>>,
    /// How many of its goroutines have started on probation; and `WAITS`, `SHARES`.
    known: AtomicU32,
    /// How many of these have ended.
    ended: AtomicU32,
}

struct Table([SiteEntry; SITES]);

static TABLE: Table = Table::new();
/// How many times a shared slot has been held.
static HELD: AtomicUsize = AtomicUsize::new(0);

impl Table {
    const fn new() -> Table {
        Table(
            [const {
                SiteEntry {
                    site: AtomicPtr::new(ptr::null_mut()),
                    known: AtomicU32::new(0),
                    ended: AtomicU32::new(0),
                }
            }; SITES],
        )
    }

    /// The entry of a site, a new one if need be; none if all where it could be are taken.
    fn entry(&self, at: &'static Location<'static>) -> Option<&SiteEntry> {
        let site = ptr::from_ref(at).cast_mut();
        // Fibonacci hashing: the upper bits depend on all bits of the address.
        let spread = (site.addr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let first = (spread >> (64 - SITES.ilog2())) as usize;
        (0..PROBES).map(|step| &self.0[(first + step) % SITES]).find(|entry| {
            let there = entry.site.load(Relaxed);
            let taken = || match entry.site.compare_exchange(ptr::null_mut(), site, Relaxed, Relaxed) {
                Ok(_) => true,
                Err(other) => other == site,
            };
            there == site || (there.is_null() && taken())
        })
    }

    /// As the function of that name.
    #[inline]
    fn housing(&self, at: &'static Location<'static>, probation: u32, decide: bool) -> Housing {
        let Some(entry) = self.entry(at) else { return Housing::Alone };
        match entry.known.load(Relaxed) {
            known if known & WAITS != 0 => Housing::Alone,
            known if known & SHARES != 0 => Housing::Shared,
            known if known < probation => {
                entry.known.fetch_add(1, Relaxed);
                Housing::OnProbation
            }
            _ if decide || entry.ended.load(Relaxed) >= probation => {
                entry.known.fetch_or(SHARES, Relaxed);
                Housing::Shared
            }
            _ => Housing::Undecided,
        }
    }
}

/// Where a goroutine should live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Housing {
    /// In a slot that it shares.
    Shared,
    /// Alone, while slots last.
    OnProbation,
    /// Alone: another goroutine of its site has waited with its stack in place.
    Alone,
    /// Not known yet.
    Undecided,
}

/// Where the next goroutine from this site should live, if `probation` of them live alone at first.
/// Called once for each that starts.
#[inline]
pub(crate) fn housing(at: &'static Location<'static>, probation: u32, decide: bool) -> Housing {
    TABLE.housing(at, probation, decide)
}

/// Notes that a goroutine from this site has ended that lived alone by chance.
#[inline]
pub(crate) fn note_end(at: &'static Location<'static>) {
    if let Some(entry) = TABLE.entry(at)
        && entry.known.load(Relaxed) & (WAITS | SHARES) == 0
    {
        entry.ended.fetch_add(1, Relaxed);
    }
}

/// Notes that a goroutine from this site waits with its stack in place; in a shared slot if `held`.
pub(crate) fn note_wait_in_place(at: &'static Location<'static>, held: bool) {
    if let Some(entry) = TABLE.entry(at)
        && entry.known.load(Relaxed) & WAITS == 0
    {
        entry.known.fetch_or(WAITS, Relaxed);
    }
    if held {
        HELD.fetch_add(1, Relaxed);
    }
}

/// How many times a shared slot has been held.
pub(crate) fn times_held() -> usize {
    HELD.load(Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn here() -> &'static Location<'static> {
        Location::caller()
    }

    #[test]
    fn a_site_earns_sharing_and_loses_it_for_good() {
        let (at, other) = (here(), here());
        for _ in 0..PROBATION {
            assert_eq!(housing(at, PROBATION, false), Housing::OnProbation);
        }
        assert_eq!(housing(at, PROBATION, false), Housing::Undecided);
        assert_eq!(housing(at, PROBATION, true), Housing::Shared);
        assert_eq!(
            (housing(at, PROBATION, false), housing(other, PROBATION, false)),
            (Housing::Shared, Housing::OnProbation)
        );
        note_wait_in_place(at, true);
        assert_eq!(
            (housing(at, PROBATION, false), housing(other, PROBATION, false)),
            (Housing::Alone, Housing::OnProbation)
        );
        note_wait_in_place(other, false);
        assert_eq!(housing(other, PROBATION, false), Housing::Alone);
    }

    /// Nothing is learned of a site without an entry, so its goroutines may wait in any way.
    #[test]
    fn the_goroutines_of_sites_that_find_no_entry_live_alone() {
        let table: &'static Table = Box::leak(Box::new(Table::new()));
        let sites: &'static [Location<'static>] = vec![*here(); 2 * SITES].leak();
        let alone = sites.iter().filter(|at| table.housing(at, PROBATION, true) == Housing::Alone).count();
        assert!(alone >= SITES, "{alone}");
        for at in sites.iter().filter(|at| table.entry(at).is_none()) {
            assert_eq!(table.housing(at, PROBATION, true), Housing::Alone);
        }
    }

    #[test]
    fn a_site_whose_goroutines_have_ended_is_decided() {
        let at = here();
        for _ in 0..PROBATION {
            assert_eq!(housing(at, PROBATION, false), Housing::OnProbation);
            note_end(at);
        }
        assert_eq!(housing(at, PROBATION, false), Housing::Shared);
    }
}
