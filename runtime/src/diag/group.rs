//! Formats a dump: goroutines that are alike are shown once, with a count, and what they wait for
//! by number.

use super::dump::{Dump, GoroutineInfo};
use super::frames::{self, Frame};
use super::inspect::{Key, Sample};
use crate::Labels;
use crate::clock;
use crate::park::{Identity, Reason, Thing, WaitingThread};
use crate::stack::backtrace::Frames;
use crate::wait::GOROUTINE;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

const MAX_GROUPS: usize = 100;
const MAX_THREADS: usize = 20;
/// How many members of a group are named, and how many of the things that they wait for.
const MAX_NAMED: usize = 4;

/// Goroutines that are shown together.
pub(super) type Group<'a> = (Key, Vec<&'a GoroutineInfo>);

/// How many members of a group are in their order: the oldest, which are those that are named.
const MAX_ORDERED: usize = 32;

/// All groups, the largest first. Of two groups of the same size, the one with the older goroutine
/// is first. In a group, the oldest come first, and the others in any order: to sort a million
/// takes long.
pub(super) fn groups<'a>(goroutines: impl IntoIterator<Item = &'a GoroutineInfo>) -> Vec<Group<'a>> {
    let mut groups: HashMap<Key, Vec<&GoroutineInfo>> = HashMap::new();
    for goroutine in goroutines {
        groups.entry(goroutine.key()).or_default().push(goroutine);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    for (_, members) in &mut groups {
        let ordered = members.len().min(MAX_ORDERED);
        if ordered < members.len() {
            members.select_nth_unstable_by_key(ordered, |goroutine| goroutine.id);
        }
        members[..ordered].sort_unstable_by_key(|goroutine| goroutine.id);
    }
    groups.sort_unstable_by_key(|(_, members)| (usize::MAX - members.len(), members[0].id));
    groups
}

/// The sets of labels of a group's members, and how many have each: the most frequent first.
pub(super) fn labels(members: &[&GoroutineInfo]) -> Vec<(Labels, usize)> {
    let mut found: HashMap<&str, (&Labels, usize)> = HashMap::new();
    for member in members.iter().filter(|member| !member.labels.is_empty()) {
        found.entry(member.labels.text()).or_insert((&member.labels, 0)).1 += 1;
    }
    let mut found: Vec<_> = found.into_values().collect();
    found.sort_unstable_by_key(|(labels, count)| (usize::MAX - count, labels.text()));
    found.into_iter().map(|(labels, count)| (labels.clone(), count)).collect()
}

/// A dump while it is formatted.
pub(super) struct Text<'a> {
    dump: &'a Dump,
    /// The numbers of things that have been mentioned.
    numbers: RefCell<HashMap<Identity, usize>>,
}

impl<'a> Text<'a> {
    pub(super) fn of(dump: &'a Dump) -> Text<'a> {
        Text { dump, numbers: RefCell::default() }
    }

    /// Writes all groups, the largest first.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let goroutines = self.dump.goroutines();
        let groups = groups(goroutines);
        writeln!(f, "{} in {}", count(goroutines.len(), "goroutine"), count(groups.len(), "group"))?;
        for (key, members) in groups.iter().take(MAX_GROUPS) {
            self.group(f, key, members)?;
        }
        if groups.len() > MAX_GROUPS {
            writeln!(f, "\n{} smaller groups are left out", groups.len() - MAX_GROUPS)?;
        }
        for thread in self.dump.threads.iter().take(MAX_THREADS) {
            self.thread(f, thread)?;
        }
        if self.dump.threads.len() > MAX_THREADS {
            writeln!(f, "\n{} further threads wait", self.dump.threads.len() - MAX_THREADS)?;
        }
        frames::forget_symbols();
        Ok(())
    }

    fn group(&self, f: &mut fmt::Formatter<'_>, key: &Key, members: &[&GoroutineInfo]) -> fmt::Result {
        writeln!(f)?;
        match members {
            [one] => write!(f, "goroutine {}", named(one))?,
            _ => {
                let some: Vec<_> = members.iter().take(MAX_NAMED).map(|member| named(member)).collect();
                let more = if members.len() > MAX_NAMED { ", .." } else { "" };
                write!(f, "{} goroutines ({}{more})", members.len(), some.join(", "))?;
            }
        }
        let sample = self.dump.findings.samples.get(key);
        if key.reason == Reason::None {
            writeln!(f, ": ready to run")?;
        } else {
            let longest = members.iter().map(|member| member.waiting_for).max().unwrap_or_default();
            writeln!(f, ": waiting for {}, for {}", key.reason.waits_for(), lasting(longest))?;
            let mut label = "on";
            for thing in self.things(members, sample) {
                writeln!(f, "    {:<7} {thing}", std::mem::take(&mut label))?;
            }
            if !key.reason.is_below_foreign_code() {
                writeln!(f, "    at      {}", key.waits_at)?;
            }
        }
        writeln!(f, "    spawned {}", key.spawned_at)?;
        let labels = labels(members);
        if !labels.is_empty() {
            let some: Vec<_> = labels
                .iter()
                .take(MAX_NAMED)
                .map(|(labels, count)| match (printable(labels.text()), members) {
                    (text, [_]) => text.into(),
                    (text, _) => format!("{text} ({count} of them)"),
                })
                .collect();
            let more = if labels.len() > MAX_NAMED { "; .." } else { "" };
            writeln!(f, "    labels  {}{more}", some.join("; "))?;
        }
        if key.reason == Reason::Slot {
            writeln!(
                f,
                "    to mend let those spawned there have stacks of their own: Builder::own_stack, Config::stacks, or \
                 NARROWBOAT_STACKS=own"
            )?;
        }
        let woken = members.iter().filter(|member| member.woken && key.reason != Reason::None).count();
        if woken > 0 {
            writeln!(f, "    woken   {woken}, and not yet running")?;
        }
        let live = members.iter().map(|member| member.stack.live).max().unwrap_or_default();
        let resident = members.iter().filter(|member| member.stack.resident).count();
        match members {
            [_] => writeln!(
                f,
                "    stack   {live} bytes, {}",
                if resident == 1 { "resident" } else { "copied out" }
            )?,
            _ => writeln!(
                f,
                "    stack   {live} bytes at most, {resident} resident, {} copied out",
                members.len() - resident
            )?,
        }
        let backtrace = sample.and_then(|sample| sample.backtrace.as_ref());
        if key.reason.is_below_foreign_code() && key.path == 0 {
            writeln!(f, "    in      (not looked up: there are too many of them)")?;
        }
        backtrace.map_or(Ok(()), |backtrace| frames(f, backtrace, key))
    }

    /// What the members of a group wait for, a line each: the arms of a select, or one thing each.
    pub(super) fn things(&self, members: &[&GoroutineInfo], sample: Option<&Sample>) -> Vec<String> {
        // The things in a select are never on a stack.
        let arms = sample.iter().flat_map(|sample| &sample.arms);
        let mut lines: Vec<String> = arms.map(|arm| self.thing(arm, 0, None)).collect();
        // In the order of the oldest goroutine that waits for each.
        let mut waiting: HashMap<Identity, (u64, usize)> = HashMap::new();
        for (member, object) in members.iter().filter_map(|member| Some((member, member.identity()?))) {
            let (oldest, waiters) = waiting.entry(object).or_insert((member.id, 0));
            (*oldest, *waiters) = (member.id.min(*oldest), *waiters + 1);
        }
        let all = waiting.len();
        let described = |object: &Identity| self.dump.findings.things.contains_key(object);
        let mut waiting: Vec<_> = waiting.into_iter().filter(|(object, _)| described(object)).collect();
        waiting.sort_unstable_by_key(|(_, (oldest, _))| *oldest);
        waiting.truncate(MAX_NAMED);
        for (object, (_, waiters)) in &waiting {
            let waiters = (all > 1 && *waiters > 1).then_some(*waiters);
            lines.push(self.thing(&self.dump.findings.things[object], object.stack_of, waiters));
        }
        if !waiting.is_empty() && all > waiting.len() {
            lines.push(format!(".. and {} more", all - waiting.len()));
        }
        lines
    }

    /// `channel #1, unbuffered, made at src/main.rs:4:20`. `stack_of`: the goroutine that has it on
    /// its copied stack, or 0.
    pub(super) fn thing(&self, thing: &Thing, stack_of: u64, waiters: Option<usize>) -> String {
        let mut text = String::from(thing.operation);
        if !text.is_empty() {
            text.push(' ');
        }
        if thing.kind == GOROUTINE {
            return text + "goroutine " + &self.goroutine(thing.address as u64);
        }
        text += thing.kind;
        if thing.address != 0 {
            let mut numbers = self.numbers.borrow_mut();
            let next = numbers.len() + 1;
            let identity = Identity { address: thing.address, stack_of };
            text += &format!(" #{}", numbers.entry(identity).or_insert(next));
        }
        if !thing.details.is_empty() {
            text = text + ", " + &thing.details;
        }
        if let Some(tag) = thing.held_by {
            text = text + ", held by " + &self.holder(tag);
        }
        if let Some(waiters) = waiters {
            text += &format!(" ({waiters} of them)");
        }
        text
    }

    /// A goroutine by its number, with the name if it is among those that were seen.
    fn goroutine(&self, id: u64) -> String {
        let found = self.dump.goroutines().iter().find(|goroutine| goroutine.id == id);
        found.map_or_else(|| id.to_string(), named)
    }

    /// The goroutine that has left this [tag](crate::park::tag). More than one can have it only if
    /// there have been more than 65,535.
    fn holder(&self, tag: u16) -> String {
        if tag == 0 {
            return "a thread".into();
        }
        let all = self.dump.goroutines().iter();
        let some: Vec<_> =
            all.filter(|goroutine| goroutine.id as u16 == tag).take(MAX_NAMED).map(named).collect();
        match some[..] {
            [] if self.dump.silent_processors().is_empty() => "a goroutine that has ended".into(),
            [] => "a goroutine that is not shown here".into(),
            _ => format!("goroutine {}", some.join(" or ")),
        }
    }

    fn thread(&self, f: &mut fmt::Formatter<'_>, thread: &WaitingThread) -> fmt::Result {
        let name = thread.name.as_ref().map(|name| format!(" '{}'", printable(name))).unwrap_or_default();
        let lasts = Duration::from_nanos(clock::now().saturating_sub(thread.since));
        let reason = thread.reason.waits_for();
        writeln!(f, "\nthread{name}: waiting for {reason}, for {}", lasting(lasts))?;
        // The thread may go on at any moment, so its object has not been described, unless a
        // goroutine waits for it, too.
        if let Some(thing) = self.dump.findings.things.get(&thread.object) {
            writeln!(f, "    on      {}", self.thing(thing, thread.object.stack_of, None))?;
        }
        writeln!(f, "    at      {}", thread.at)
    }
}

fn named(goroutine: &GoroutineInfo) -> String {
    match &goroutine.name {
        Some(name) => format!("{} '{}'", goroutine.id, printable(name)),
        None => goroutine.id.to_string(),
    }
}

/// A name or a label, with control characters as escapes. It may come from a client of the program,
/// and must not forge lines of a log or steer the terminal that shows it.
fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => escaped.extend(character.escape_default()),
            false => escaped.push(character),
        }
    }
    escaped.into()
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Formats how long a wait has lasted. Parks are dated to about 17 ms.
fn lasting(duration: Duration) -> String {
    if duration < Duration::from_millis(20) { "less than 20ms".into() } else { format!("{duration:.1?}") }
}

/// Where the program's own part of a backtrace begins: at the call that blocks. What is before that
/// is ours.
pub(super) fn first_of_program(frames: &[Frame], key: &Key) -> usize {
    // A wait of std's has no line of the caller's. And a frame of the program's may be missing, without
    // line tables for one.
    let foreign = key.reason.is_below_foreign_code();
    let first = frames.iter().position(|frame| !foreign && frame.is_at(key.waits_at));
    first.or_else(|| frames.iter().position(|frame| !frame.is_internal())).unwrap_or_default()
}

/// Writes the program's own frames, from the call that blocks to the goroutine's root.
fn frames(f: &mut fmt::Formatter<'_>, backtrace: &Frames, key: &Key) -> fmt::Result {
    let frames = backtrace.named();
    let first = first_of_program(&frames, key);
    if key.reason.is_below_foreign_code()
        && let Some(called) = first.checked_sub(1).map(|called| &frames[called])
    {
        writeln!(f, "    in      {}", called.name)?;
        if frames[..first].iter().any(|frame| frame.name.contains("mpmc") || frame.file.contains("/mpmc/")) {
            writeln!(
                f,
                "    to mend use narrowboat::chan between goroutines: a channel of std's may not see them"
            )?;
        }
    }
    frames::write_up_to_the_root(f, &frames[first..])
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a=b, ü"), "a=b, ü");
        assert_eq!(printable("\u{1b}[31mred\n\r\u{7}"), "\\u{1b}[31mred\\n\\r\\u{7}");
    }
}
