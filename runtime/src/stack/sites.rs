//! Which goroutines are expensive to copy, judged by where they were spawned.
//!
//! A goroutine's frames must stay at the addresses where they were created. So when it turns out
//! that a goroutine parks with much on its stack, it is too late to give it a better home. Its
//! successors can get one: goroutines spawned by the same line of source mostly run the same code.
//! The table belongs to a processor's slots.

use std::panic::Location;
use std::ptr;

/// With this many live bytes or more, a goroutine counts as fat. To copy them out and others in
/// takes microseconds, and all else that a switch does takes fractions of one. A slot of its own
/// takes at most twice the memory of the copy. (The pages of the bytes are as much as an image
/// would be; one more page is begun, and one is for the slot's page table.)
pub(crate) const FAT: usize = 8 << 10;
/// With this many or more, it counts as plump: copying takes longer than all else that a switch
/// does. A slot of its own takes several times the memory, so plump goroutines get only the first
/// slots of a reserve, which are some megabytes in all.
pub(crate) const PLUMP: usize = 1 << 10;

/// Capacity of the table. Further sites are not tracked.
const MAX_SITES: usize = 16;

/// How many of a site's latest goroutines were of one kind: up by one with each that was, down by
/// one with each that was not.
#[derive(Default)]
struct Score(u8);

impl Score {
    /// From this score on, most are.
    const MOST_ARE: u8 = 4;
    const HIGHEST: u8 = 32;

    fn note(&mut self, is: bool) {
        self.0 = if is { (self.0 + 1).min(Score::HIGHEST) } else { self.0.saturating_sub(1) };
    }

    fn most_are(&self) -> bool {
        self.0 >= Score::MOST_ARE
    }
}

struct Site {
    at: *const Location<'static>,
    plump: Score,
    fat: Score,
}

/// What a goroutine will probably be like.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Build {
    Thin,
    Plump,
    Fat,
}

/// The sites that have spawned plump and fat goroutines of late.
pub(crate) struct Sites(Vec<Site>);

impl Sites {
    pub(crate) const fn new() -> Sites {
        Sites(Vec::new())
    }

    /// Whether a goroutine that parks with `live` bytes is worth a [`note`](Sites::note).
    #[inline]
    pub(crate) fn cares(&self, live: usize) -> bool {
        live >= PLUMP || !self.0.is_empty()
    }

    /// Notes that a goroutine spawned here was found parked with `live` bytes on its stack.
    #[cold]
    pub(crate) fn note(&mut self, at: &'static Location<'static>, live: usize) {
        let known = self.0.iter().position(|site| ptr::eq(site.at, at));
        let index = match known {
            Some(index) => index,
            None if live >= PLUMP && self.0.len() < MAX_SITES => {
                self.0.push(Site { at, plump: Score::default(), fat: Score::default() });
                self.0.len() - 1
            }
            None => return,
        };
        let site = &mut self.0[index];
        site.plump.note(live >= PLUMP);
        site.fat.note(live >= FAT);
        if site.plump.0 == 0 {
            self.0.swap_remove(index);
        }
    }

    /// What a goroutine spawned here will probably be like.
    #[inline]
    pub(crate) fn expect(&self, at: &'static Location<'static>) -> Build {
        match self.0.iter().find(|site| ptr::eq(site.at, at)) {
            Some(site) if site.fat.most_are() => Build::Fat,
            Some(site) if site.plump.most_are() => Build::Plump,
            _ => Build::Thin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn here() -> &'static Location<'static> {
        Location::caller()
    }

    #[test]
    fn a_site_is_fat_while_most_of_its_goroutines_are() {
        let (mut sites, at, other) = (Sites::new(), here(), here());
        assert!(!sites.cares(100) && sites.cares(PLUMP));
        for _ in 0..Score::MOST_ARE {
            assert_eq!(sites.expect(at), Build::Thin);
            sites.note(at, FAT);
        }
        assert_eq!((sites.expect(at), sites.expect(other)), (Build::Fat, Build::Thin));
        assert!(sites.cares(100));
        sites.note(other, 100);
        for _ in 0..100 {
            sites.note(at, FAT);
        }
        for _ in 0..100 {
            sites.note(at, 100);
        }
        assert_eq!(sites.expect(at), Build::Thin);
        assert!(!sites.cares(100), "a site whose goroutines are all thin is forgotten");
    }

    #[test]
    fn one_fat_goroutine_among_many_makes_no_site_fat() {
        let (mut sites, at) = (Sites::new(), here());
        for n in 0..1000 {
            sites.note(at, if n % 3 == 0 { FAT } else { 100 });
            assert_eq!(sites.expect(at), Build::Thin);
        }
    }

    #[test]
    fn what_was_fat_and_is_plump_is_expected_to_be_plump() {
        let (mut sites, at) = (Sites::new(), here());
        (0..100).for_each(|_| sites.note(at, FAT));
        (0..100).for_each(|_| sites.note(at, PLUMP));
        assert_eq!(sites.expect(at), Build::Plump);
    }
}
