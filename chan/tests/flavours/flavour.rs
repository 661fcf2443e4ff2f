//! The flavours that the catalogue is run with. They are values and not types, so that the
//! catalogue is compiled once.

use crate::ends::{Receiver, Sender, after, at, bounded, never, tick, unbounded};
use std::time::{Duration, Instant};

/// Makes a test of each function with each of the flavours before the colon. The rest is as
/// `suite!` has it.
macro_rules! catalogue {
    (on $kind:ident: [$($flavour:ident),*]; $names:tt) => {
        $(mod $flavour {
            catalogue! { @tests $kind::$flavour $names }
        })*
    };
    (@tests $kind:ident::$flavour:ident {
        $($(#[$attribute:meta])* $name:ident),* $(; scoped: $($scoped:ident),*)? $(,)?
    }) => {
        $(
            #[test]
            $(#[$attribute])*
            fn $name() {
                let test = || super::$name(crate::flavour::$kind::$flavour);
                narrowboat_testing::body(test, narrowboat_testing::Stack::Shared);
            }
        )*
        $($(
            #[test]
            fn $scoped() {
                let test = || super::$scoped(crate::flavour::$kind::$flavour);
                narrowboat_testing::body(test, narrowboat_testing::Stack::Own);
            }
        )*)?
    };
}

/// Channels with two ends.
#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the tests are named after them")]
pub enum Flavour {
    zero,
    one,
    array,
    list,
}

impl Flavour {
    pub fn capacity(self) -> Option<usize> {
        match self {
            Flavour::zero => Some(0),
            Flavour::one => Some(1),
            Flavour::array => Some(7),
            Flavour::list => None,
        }
    }

    /// How many messages the catalogue puts in where a few will do.
    pub fn holds(self) -> usize {
        self.capacity().unwrap_or(10)
    }

    pub fn make<T>(self) -> (Sender<T>, Receiver<T>) {
        self.capacity().map_or_else(unbounded, bounded)
    }
}

/// Channels that time fills, and the one that nothing does.
#[derive(Clone, Copy)]
#[allow(non_camel_case_types, reason = "the tests are named after them")]
pub enum Timed {
    after,
    at,
    tick,
    never,
}

impl Timed {
    /// How many messages there will be.
    pub fn messages(self) -> Option<usize> {
        match self {
            Timed::after | Timed::at => Some(1),
            Timed::tick => None,
            Timed::never => Some(0),
        }
    }

    pub fn make(self, delay: Duration) -> Receiver<Instant> {
        match self {
            Timed::after => after(delay),
            Timed::at => at(Instant::now() + delay),
            Timed::tick => tick(delay),
            Timed::never => never(),
        }
    }
}
