//! The trace of a run as a file for Perfetto, in the format of Chrome's traces.

use crate::recorder::Event;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, io, process};

/// The run, a microsecond for each turn: the time of the world stands still between most of them.
pub(crate) fn picture(events: &[Event]) -> String {
    let mut text = String::from("{\"traceEvents\":[\n");
    let mut turn = 0u64;
    let mut known = HashSet::new();
    for event in events {
        let _ = match event {
            Event::Started { number, at } => {
                known.insert(*number);
                let name = quoted(&format!("goroutine {number}, {at}"));
                writeln!(
                    text,
                    "{{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":1,\"tid\":{number},\"args\":{{\"name\":{name}}}}},"
                )
            }
            Event::Turn { number, now, end, at } => {
                turn += 1;
                let at = at.map_or_else(String::new, |(reason, at)| format!("{}, {at}", reason.waits_for()));
                let (name, at) = (quoted(&format!("{end:?}")), quoted(&at));
                writeln!(
                    text,
                    "{{\"ph\":\"X\",\"name\":{name},\"pid\":1,\"tid\":{number},\"ts\":{turn},\"dur\":1,\
                     \"args\":{{\"nanoseconds\":{now},\"waits\":{at}}}}},"
                )
            }
            Event::Switch { from, to, .. } => writeln!(
                text,
                "{{\"ph\":\"i\",\"s\":\"t\",\"name\":\"switched to {to}\",\"pid\":1,\"tid\":{from},\"ts\":{turn}}},"
            ),
            Event::Choice { .. } | Event::Instead { .. } => Ok(()),
            Event::Jump { to } => writeln!(
                text,
                "{{\"ph\":\"i\",\"s\":\"g\",\"name\":\"the clock jumps to {to} ns\",\"pid\":1,\"tid\":0,\"ts\":{turn}}},"
            ),
            Event::Draw { number, n, got } => writeln!(
                text,
                "{{\"ph\":\"i\",\"s\":\"t\",\"name\":\"draws {got} of 0..{n}\",\"pid\":1,\"tid\":{number},\"ts\":{turn}}},"
            ),
        };
    }
    text.push_str("{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":1,\"args\":{\"name\":\"world\"}}\n]}\n");
    text
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// Writes it to a new file, in the folder that `NARROWBOAT_SIM_TRACES` names, or in that for
/// temporary files.
pub(crate) fn write(events: &[Event]) -> io::Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let folder = env::var_os("NARROWBOAT_SIM_TRACES").map_or_else(env::temp_dir, PathBuf::from);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("narrowboat-sim-{}-{number}.json", process::id()));
    fs::write(&path, picture(events))?;
    Ok(path)
}
