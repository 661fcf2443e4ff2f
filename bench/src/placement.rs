//! Where the parties of a channel case are put. Only Narrowboat can be told; it is in the environment, so that every
//! peer is started with the same arguments.

use std::str::FromStr;

/// The variable that tells a program.
pub const VARIABLE: &str = "BENCH_PLACEMENT";

/// Where goroutines that talk to each other live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Where the runtime puts them.
    #[default]
    Natural,
    /// All on one processor.
    Together,
    /// Each on a processor of its own; where there are more of them than that, no two neighbours on one.
    Spread,
}

impl Placement {
    /// What the variable says, if it is set.
    ///
    /// # Errors
    ///
    /// If it is set to something else.
    pub fn asked() -> Result<Placement, String> {
        std::env::var(VARIABLE).map_or(Ok(Placement::default()), |word| word.parse())
    }

    /// The word in the variable.
    pub fn word(self) -> &'static str {
        match self {
            Placement::Natural => "natural",
            Placement::Together => "together",
            Placement::Spread => "spread",
        }
    }
}

impl FromStr for Placement {
    type Err = String;

    fn from_str(word: &str) -> Result<Placement, String> {
        [Placement::Natural, Placement::Together, Placement::Spread]
            .into_iter()
            .find(|placement| placement.word() == word)
            .ok_or_else(|| {
                format!("{VARIABLE} is '{word}': set it to natural, together or spread, or unset it")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_is_read_from_its_own_word_and_from_no_other() {
        for placement in [Placement::Natural, Placement::Together, Placement::Spread] {
            assert_eq!(placement.word().parse(), Ok(placement));
        }
        assert!("cross".parse::<Placement>().unwrap_err().contains("cross"));
    }
}
