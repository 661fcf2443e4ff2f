//! The ways to give a goroutine its stack that are compared.

/// A way, as this program or the Go peer carries it out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Strategy {
    /// Copying slots, as users get them.
    Slots,
    /// Copying slots, by goroutines that grow fat only when all have been placed: nothing can be known of them before, so
    /// they share, and every switch copies.
    Shared,
    /// A reservation and a guard for each goroutine.
    Own,
    /// A small first segment for each goroutine and further ones chained to it, with the cache of segments.
    Segments,
    /// The same without the cache: every segment is asked of the system, and given back.
    Uncached,
    /// Go's contiguous stacks, which are copied to twice the size as they grow.
    Go,
}

impl Strategy {
    pub const ALL: [Strategy; 6] = [
        Strategy::Slots,
        Strategy::Shared,
        Strategy::Own,
        Strategy::Segments,
        Strategy::Uncached,
        Strategy::Go,
    ];

    /// Its name on command lines.
    pub fn key(self) -> &'static str {
        match self {
            Strategy::Slots => "slots",
            Strategy::Shared => "shared",
            Strategy::Own => "own",
            Strategy::Segments => "segments",
            Strategy::Uncached => "uncached",
            Strategy::Go => "go",
        }
    }

    /// Its name in tables and plots.
    pub fn label(self) -> &'static str {
        match self {
            Strategy::Slots => "copying slots",
            Strategy::Shared => "copying slots, always shared",
            Strategy::Own => "a stack each",
            Strategy::Segments => "segments",
            Strategy::Uncached => "segments, no cache",
            Strategy::Go => "Go",
        }
    }

    pub fn named(key: &str) -> Option<Strategy> {
        Strategy::ALL.into_iter().find(|strategy| strategy.key() == key)
    }
}

/// What is reserved for a stack of its own. It has to be chosen beforehand, which is what is wrong with it.
pub const OWN_STACK: usize = 256 << 10;

/// A first segment, and one of those chained to it, where the cache is to keep them.
pub const SEGMENT: usize = 64 << 10;

/// The cache keeps no segments of more than 64 MiB. They are reserved, not used, so asking for one takes no longer.
pub const UNCACHED_SEGMENT: usize = 65 << 20;
