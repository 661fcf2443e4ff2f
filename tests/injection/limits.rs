//! Programs that get less than they would take: address space, descriptors, threads, processor time,
//! memory. They do all of it, or refuse, or end with a sentence. Goroutines that wait for each other,
//! and for the stack of one more, wait for ever, which is said (docs/limits.md). For want of memory
//! that a group of processes may not have, the kernel kills.

use crate::programs::{LONG, Program, Verdict};
use narrowboat_testing::ControlGroup;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
enum Limit {
    /// Mebibytes.
    AddressSpace(u64),
    Descriptors(u64),
    /// In a group of processes of its own.
    Tasks(u64),
    /// Thousandths of one processor.
    Processor(u64),
    /// Mebibytes that may be in use, likewise.
    Memory(u64),
}

const LIMITS: [Limit; 28] = [
    Limit::AddressSpace(100),
    Limit::AddressSpace(200),
    Limit::AddressSpace(300),
    Limit::AddressSpace(450),
    Limit::AddressSpace(700),
    Limit::AddressSpace(1_000),
    Limit::AddressSpace(2_000),
    Limit::AddressSpace(6_000),
    Limit::Descriptors(3),
    Limit::Descriptors(4),
    Limit::Descriptors(5),
    Limit::Descriptors(6),
    Limit::Descriptors(7),
    Limit::Descriptors(9),
    Limit::Descriptors(12),
    Limit::Descriptors(20),
    Limit::Tasks(1),
    Limit::Tasks(2),
    Limit::Tasks(3),
    Limit::Tasks(4),
    Limit::Tasks(5),
    Limit::Tasks(7),
    Limit::Tasks(10),
    Limit::Processor(100),
    Limit::Processor(400),
    Limit::Memory(4),
    Limit::Memory(12),
    Limit::Memory(64),
];

/// The group of processes in which a program gets no more. `None` if the system does not let us.
fn group(limit: Limit, program: Program) -> Option<ControlGroup> {
    let (controller, setting, value) = match limit {
        Limit::Tasks(n) => ("pids", ("pids.max", "pids.max"), n.to_string()),
        Limit::Processor(n) => ("cpu", ("cpu.cfs_quota_us", "cpu.max"), (n * 100).to_string()),
        Limit::Memory(n) => ("memory", ("memory.limit_in_bytes", "memory.max"), (n << 20).to_string()),
        Limit::AddressSpace(_) | Limit::Descriptors(_) => return None,
    };
    let name = format!("{}-{limit:?}", program.name()).replace(['(', ')'], "_");
    let group = ControlGroup::new(controller, &name)?;
    group.set(setting, &value).ok()?;
    Some(group)
}

fn set_limit(command: &mut Command, resource: libc::__rlimit_resource_t, value: u64) {
    let set = move || {
        let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
        // SAFETY: the limit can be read.
        let result = unsafe { libc::setrlimit(resource, &raw const limit) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes a system call alone.
    unsafe { command.pre_exec(set) };
}

/// How a program does with a limit; `None` if the system does not let us set it.
fn run(program: Program, limit: Limit) -> Option<(Verdict, String)> {
    let prepare: Box<dyn FnOnce(&mut Command)> = match limit {
        Limit::AddressSpace(mebibytes) => {
            Box::new(move |command| set_limit(command, libc::RLIMIT_AS, mebibytes << 20))
        }
        Limit::Descriptors(n) => Box::new(move |command| set_limit(command, libc::RLIMIT_NOFILE, n)),
        Limit::Tasks(_) | Limit::Processor(_) | Limit::Memory(_) => {
            let group = group(limit, program)?;
            let members = group.members();
            let mut command_of = move |command: &mut Command| {
                let members = members.clone();
                // SAFETY: what it allocates, the C library lets a child of a fork allocate.
                unsafe { command.pre_exec(move || fs::write(&members, std::process::id().to_string())) };
            };
            let result = program.run_limited(LONG, &mut command_of);
            drop(group);
            return Some(result);
        }
    };
    // Some wait for ever under such a limit.
    Some(program.run_limited(Duration::from_secs(30), prepare))
}

/// `.ci/faults.sh` runs it.
#[test]
#[ignore = "takes half a minute, in which it mostly waits"]
fn limits_are_errors_or_sentences() {
    let programs = [Program::Hello, Program::Torture, Program::Http, Program::Redis];
    let all = LIMITS.iter().flat_map(|&limit| programs.map(|program| (program, limit)));
    let (all, wrong) = (Mutex::new(all), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let next = all.lock().expect("nothing panics with it").next();
                    let Some((program, limit)) = next else { break };
                    let Some((verdict, stderr)) = run(program, limit) else {
                        println!("SKIPPED: {}, {limit:?}: no group of processes", program.name());
                        continue;
                    };
                    let may_be = match (&verdict, limit) {
                        (Verdict::Wrong(what), Limit::Memory(_)) => what == "signal Some(9)",
                        (Verdict::Wrong(what), Limit::AddressSpace(_)) => {
                            what.starts_with("it does not end")
                                && stderr.contains("no memory for the stack of another goroutine")
                        }
                        (verdict, _) => !matches!(verdict, Verdict::Wrong(_)),
                    };
                    let said = stderr.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
                    println!("{}, {limit:?}: {verdict:?} {said}", program.name());
                    if !may_be {
                        wrong.lock().expect("nothing panics with it").push((program, limit, verdict, stderr));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("nothing panics with it");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
