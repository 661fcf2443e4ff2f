//! Which goroutines may share a stack slot: sharing is earned by a spawn site.
//!
//! A stack must not move while its goroutine waits by one of std's locks or by `thread::park`
//! ([`crate::futex`]), so a goroutine that waits so in a shared slot keeps the others that live
//! there from running; and if one of those is what it waits for, all of them wait for ever. So
//! goroutines that wait like this should live alone. Whether they do is learned by the line of
//! source that has spawned them:
//!
//! - The first [`PROBATION`] goroutines of a site live alone.
//! - The next one starts when the others have had the time to show how they wait: when all that
//!   were ready on its processor have had another turn, or some milliseconds later, or when as many
//!   have ended. If none has waited so by then, it shares, and so do all that follow.
//! - A site of which one has waited so, at any time, shares no more.
//!
//! A site is known by the address of its location. A line that is compiled into several places, as
//! a generic or inlined function is, can be several sites; each learns for itself.
//!
//! What is left is a site that does so for the first time after it has begun to share. Its slot is
//! held for that long, which [`stats`](crate::stats) counts and a dump shows.
//!
//! The table is one for the process. An entry is a word for the site and one for what is known of
//! it; both only ever go forward, so plain atomic operations will do and no order between them
//! matters: what is seen late costs a goroutine its own stack, or gives it one.

use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering::Relaxed};

/// So many goroutines of a site live alone before the first that shares. Enough that locks which
/// the goroutines of a site contend for are seen to be contended, and few enough to be no burden: a
/// stack of its own costs two pages, where a share of a slot costs some hundred bytes.
pub(crate) const PROBATION: u32 = 1024;

/// Capacity of the table. Further sites share at once.
const SITES: usize = 4096;
/// Entries that are looked at for one site.
const PROBES: usize = 16;

/// One of a site's goroutines has waited with its stack in place.
const WAITS: u32 = 1 << 31;
/// The site has earned sharing.
const SHARES: u32 = 1 << 30;

struct Entry {
    site: AtomicPtr<Location<'static>>,
    /// How many of its goroutines have started while on probation; and `WAITS`, `SHARES`.
    known: AtomicU32,
    /// How many of these have ended.
    ended: AtomicU32,
}

static TABLE: [Entry; SITES] = [const {
    Entry { site: AtomicPtr::new(ptr::null_mut()), known: AtomicU32::new(0), ended: AtomicU32::new(0) }
}; SITES];
/// How many times a shared slot has been held.
static HELD: AtomicUsize = AtomicUsize::new(0);

fn entry(at: &'static Location<'static>) -> Option<&'static Entry> {
    let site = ptr::from_ref(at).cast_mut();
    // Fibonacci hashing: the upper bits depend on all bits of the address.
    let spread = (site.addr() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let first = (spread >> (64 - SITES.ilog2())) as usize;
    (0..PROBES).map(|step| &TABLE[(first + step) % SITES]).find(|entry| {
        let there = entry.site.load(Relaxed);
        let taken = || match entry.site.compare_exchange(ptr::null_mut(), site, Relaxed, Relaxed) {
            Ok(_) => true,
            Err(other) => other == site,
        };
        there == site || (there.is_null() && taken())
    })
}

/// Where a goroutine shall live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Housing {
    /// In a slot that it shares.
    Shared,
    /// Alone, while slots last.
    OnProbation,
    /// Alone: others of its site have waited with their stacks in place.
    Alone,
    /// Not known yet.
    Undecided,
}

/// Where the next goroutine from this site shall live, if so many live alone at first. Called once
/// for each that starts.
#[inline]
pub(crate) fn housing(at: &'static Location<'static>, probation: u32, decide: bool) -> Housing {
    let Some(entry) = entry(at) else { return Housing::Shared };
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

/// A goroutine from this site has ended that lived alone by chance.
#[inline]
pub(crate) fn note_end(at: &'static Location<'static>) {
    if let Some(entry) = entry(at)
        && entry.known.load(Relaxed) & (WAITS | SHARES) == 0
    {
        entry.ended.fetch_add(1, Relaxed);
    }
}

/// A goroutine from this site waits with its stack in place; in a shared slot if `held`.
pub(crate) fn note_wait_in_place(at: &'static Location<'static>, held: bool) {
    if let Some(entry) = entry(at)
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
