//! How large a test is.

/// The number in the environment variable `name`, if it is set.
#[track_caller]
pub fn number_from_env(name: &str) -> Option<usize> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} should be a number, not {text:?}")))
}

/// The size of a heavy test: `NARROWBOAT_TEST_SCALE` per cent of `size`, and at least 1.
#[track_caller]
pub fn scaled(size: usize) -> usize {
    (size * number_from_env("NARROWBOAT_TEST_SCALE").unwrap_or(100) / 100).max(1)
}

/// The size of a test that is smaller without optimization: `release` or `debug`, [`scaled`].
#[track_caller]
pub fn sized(release: usize, debug: usize) -> usize {
    scaled(if cfg!(debug_assertions) { debug } else { release })
}
