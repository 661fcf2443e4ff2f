//! How a dump reads: goroutines that are alike are shown once, with a count.

use super::dump::GoroutineInfo;
use super::inspect::Key;
use crate::park::{self, Reason};
use std::backtrace::Backtrace;
use std::collections::HashMap;
use std::fmt;

const MOST_GROUPS: usize = 100;
/// How many members of a group are named.
const MOST_NAMED: usize = 4;
/// Frames shown of a backtrace.
const MOST_FRAMES: usize = 24;

/// Writes all groups, the largest first; of two as large, that of the older goroutine.
pub(super) fn groups(
    f: &mut fmt::Formatter<'_>,
    goroutines: &[GoroutineInfo],
    backtraces: &[(Key, Backtrace)],
) -> fmt::Result {
    let mut groups: HashMap<Key, Vec<&GoroutineInfo>> = HashMap::new();
    for goroutine in goroutines {
        groups.entry(goroutine.key()).or_default().push(goroutine);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    for (_, members) in &mut groups {
        members.sort_unstable_by_key(|goroutine| goroutine.id);
    }
    groups.sort_unstable_by_key(|(_, members)| (usize::MAX - members.len(), members[0].id));
    writeln!(f, "{} goroutines in {} groups", goroutines.len(), groups.len())?;
    for (key, members) in groups.iter().take(MOST_GROUPS) {
        let backtrace = backtraces.iter().find(|(of, _)| of == key).map(|(_, backtrace)| backtrace);
        group(f, key, members, backtrace)?;
    }
    if groups.len() > MOST_GROUPS {
        writeln!(f, "\n{} smaller groups are left out", groups.len() - MOST_GROUPS)?;
    }
    Ok(())
}

fn group(
    f: &mut fmt::Formatter<'_>,
    key: &Key,
    members: &[&GoroutineInfo],
    backtrace: Option<&Backtrace>,
) -> fmt::Result {
    writeln!(f)?;
    match members {
        [one] => write!(f, "goroutine {}", named(one))?,
        _ => {
            let some: Vec<_> = members.iter().take(MOST_NAMED).map(|member| named(member)).collect();
            let more = if members.len() > MOST_NAMED { ", .." } else { "" };
            write!(f, "{} goroutines ({}{more})", members.len(), some.join(", "))?;
        }
    }
    if key.reason == Reason::None {
        writeln!(f, ": ready to run")?;
    } else {
        let longest = members.iter().map(|member| member.waiting_for()).max().unwrap_or_default();
        writeln!(f, ": waiting for {}, for {:.1?}", key.reason.waits_for(), longest)?;
        writeln!(f, "    at      {}{}", key.waits_at, objects(members))?;
    }
    writeln!(f, "    spawned {}", key.spawned_at)?;
    let woken = members.iter().filter(|member| member.woken && key.reason != Reason::None).count();
    if woken > 0 {
        writeln!(f, "    woken   {woken}, and not yet running")?;
    }
    let live = members.iter().map(|member| member.stack.live).max().unwrap_or_default();
    let resident = members.iter().filter(|member| member.stack.resident).count();
    writeln!(
        f,
        "    stack   {live} bytes{}, {resident} resident",
        if members.len() > 1 { " at most" } else { "" }
    )?;
    backtrace.map_or(Ok(()), |backtrace| frames(f, backtrace))
}

fn named(goroutine: &GoroutineInfo) -> String {
    match &goroutine.name {
        Some(name) => format!("{} '{name}'", goroutine.id),
        None => goroutine.id.to_string(),
    }
}

/// What the members wait for, if it has an address.
fn objects(members: &[&GoroutineInfo]) -> String {
    let mut objects: Vec<usize> = members.iter().map(|member| member.object).filter(|&o| o != 0).collect();
    objects.sort_unstable();
    objects.dedup();
    match objects[..] {
        [] => String::new(),
        [one] => format!(" ({one:#x})"),
        _ => format!(" ({} different ones)", objects.len()),
    }
}

/// The frames of the program's own: what parks it, and what is below its root, is ours.
fn frames(f: &mut fmt::Formatter<'_>, backtrace: &Backtrace) -> fmt::Result {
    let text = backtrace.to_string();
    let mut shown = 0;
    let mut ours = true;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((_, name)) = line.split_once(": ") else { continue };
        let at = lines.next_if(|next| next.trim_start().starts_with("at ")).map_or("", str::trim_start);
        let internal = is_internal(name);
        // Frames of ours are left out until the first of the program's; then all are shown, down to the root.
        ours &= internal;
        if ours || is_root(name) {
            continue;
        }
        if shown == MOST_FRAMES {
            return writeln!(f, "        .. and further ones");
        }
        writeln!(f, "      {name}{}{at}", if at.is_empty() { "" } else { "  " })?;
        shown += 1;
    }
    Ok(())
}

fn is_internal(name: &str) -> bool {
    let name = name.trim_start_matches('<');
    ["narrowboat_runtime::", "narrowboat_chan::", "narrowboat_sync::", "narrowboat_net::", "std::", "core::"]
        .iter()
        .any(|ours| name.starts_with(ours))
}

fn is_root(name: &str) -> bool {
    let name = name.trim_start_matches('<');
    name.starts_with("narrowboat_runtime::goroutine::task")
        || name.starts_with("narrowboat_runtime::arch")
        || name.starts_with("std::panic")
        || name.starts_with("core::panic")
        || name.starts_with("core::ops::function")
        || name.starts_with("__rust_try")
}

impl Reason {
    /// The words after "waiting for".
    pub(crate) fn waits_for(self) -> &'static str {
        match self {
            Reason::None => "its turn",
            Reason::Receive => "a message (receive)",
            Reason::Send => "a receiver (send)",
            Reason::Select => "one of several channels (select)",
            Reason::Sleep => "a point in time (sleep)",
            Reason::Join => "the end of other goroutines (join)",
            Reason::Read => "input (read)",
            Reason::Write => "room for output (write)",
            Reason::Accept => "a connection (accept)",
            Reason::Connect => "its peer (connect)",
            Reason::Resolve => "the addresses of a name (resolve)",
            Reason::Blocking => "a call on a thread of its own (blocking)",
            Reason::Lock => "a lock",
            Reason::Notification => "a notification (condition variable)",
            Reason::Once => "an initialisation elsewhere (once)",
            Reason::Permit => "a permit (semaphore)",
            Reason::Others => "the others of its group",
            Reason::Inspection => "this dump",
        }
    }

    /// Whether something outside of the program's threads can end the wait: a descriptor, or a resolver.
    pub(crate) fn is_external(self) -> bool {
        use Reason::*;
        match self {
            Read | Write | Accept | Connect | Resolve | Blocking | Sleep | Inspection => true,
            Select | Receive => park::channels_reach_outside(),
            _ => false,
        }
    }
}
