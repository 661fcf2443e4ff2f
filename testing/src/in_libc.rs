//! Goroutines that wait in functions of the C library, as dumps show them.

use crate::eventually;
use narrowboat_runtime::{Builder, JoinHandle, dump};

/// What a dump says of a goroutine that waits so.
const WAITS: &str = "a function of the C library";

/// Starts a goroutine of this name.
#[track_caller]
pub fn named<T: Send + 'static>(name: &str, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().name(name).spawn(f).unwrap()
}

/// Waits until a dump says of a goroutine of this name that it waits in libc, and returns what it
/// says.
pub fn waits_in_libc(name: &str) -> String {
    let mut said = String::new();
    eventually(&format!("{name} waits"), || {
        let text = dump().to_string();
        let mut groups = text.split("\n\n").filter(|group| group.contains(&format!("'{name}'")));
        let group = groups.find(|group| group.contains(WAITS));
        said = group.unwrap_or_default().to_string();
        group.is_some()
    });
    said
}

/// How many goroutines wait in libc.
pub fn parked_in_libc() -> usize {
    let text = dump().to_string();
    let groups = text.split("\n\n").filter(|group| group.contains(WAITS));
    let count = |group: &str| group.trim_start().split(' ').find_map(|word| word.parse::<usize>().ok());
    groups.map(|group| count(group).unwrap_or(1)).sum()
}
