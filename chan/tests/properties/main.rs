//! Random programs of channel operations.
//!
//! Those of one party run step by step beside a model, which says what each step has to come to. Those of several
//! parties run as they like, and their history is judged afterwards. A program that fails is shrunk, and printed.

mod crowd;
mod history;
mod ledger;
mod model;
mod solo;

use narrowboat_testing::scaled;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRunner};
use std::fmt::Debug;

/// Runs a property on as many random inputs as `NARROWBOAT_TEST_SCALE` per cent of `cases`, or on
/// `NARROWBOAT_TEST_CASES` for a longer hunt. If the whole process dies, `PROPTEST_VERBOSE=2` and `--nocapture` show the
/// input it died of.
#[track_caller]
fn holds_for<S: Strategy>(cases: usize, inputs: S, property: impl Fn(&S::Value))
where
    S::Value: Debug,
{
    let wanted =
        std::env::var("NARROWBOAT_TEST_CASES").ok().map(|text| text.parse().expect("a number of cases"));
    let config = Config {
        cases: wanted.unwrap_or(scaled(cases) as u32),
        max_shrink_iters: 20_000,
        max_shrink_time: 60_000,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&inputs, |input| {
        property(&input);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
