//! The page on stuck programs shows what the stuck programs really print.

use super::example;

const PAGE: &str = include_str!("../../docs/diagnostics/stuck.md");

/// What the page shows below the command of this case.
fn shown(case: &str) -> &'static str {
    let (_, after) =
        PAGE.split_once(&format!("stuck {case}\n")).unwrap_or_else(|| panic!("{case} is not on the page"));
    after.split("```").next().unwrap().trim()
}

/// The text without what differs from run to run: numbers of goroutines, durations, bytes of stack. With `frames` or without.
fn normal(text: &str, frames: bool) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("    stack ") && (frames || !line.starts_with("      ")));
    let line = |line: &str| {
        let (line, _) = line.split_once(", for ").unwrap_or((line, ""));
        let mut words = Vec::new();
        for word in line.split(' ') {
            let number = word.trim_start_matches('(').trim_end_matches(':');
            // Lines of the source are not numbers alone.
            words.push(if number.parse::<u64>().is_ok_and(|n| n > 9) { "N" } else { word });
        }
        words.join(" ")
    };
    lines.map(line).collect::<Vec<_>>().join("\n").trim().into()
}

#[track_caller]
fn prints_what_is_shown(case: &str) {
    let output = example("stuck").arg(case).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    // What is inlined has other names.
    let frames = cfg!(debug_assertions);
    assert_eq!(
        normal(&text, frames),
        normal(shown(case), frames),
        "docs/diagnostics/stuck.md shows something else than:\n{text}"
    );
}

#[test]
fn a_deadlocked_pipeline_is_as_the_page_shows_it() {
    prints_what_is_shown("pipeline");
}

#[test]
fn a_lost_wake_up_is_as_the_page_shows_it() {
    prints_what_is_shown("wakeup");
}

#[test]
fn a_forgotten_receiver_is_as_the_page_shows_it() {
    prints_what_is_shown("receiver");
}

#[test]
fn a_mutex_cycle_is_as_the_page_shows_it() {
    prints_what_is_shown("mutexes");
}
