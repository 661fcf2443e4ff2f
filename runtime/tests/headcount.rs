//! How many workers may be awake.

use narrowboat_runtime::{run, sleep, spawn, stats};
use narrowboat_testing::{ControlGroup, assert_passed, eventually, in_child_with};
use std::io::Write;
use std::mem::MaybeUninit;
use std::time::Duration;

/// The CPUs that the process may use.
fn cpus() -> libc::cpu_set_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the set is as large as it is said to be.
    let outcome = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) };
    assert_eq!(outcome, 0);
    // SAFETY: the call has filled it.
    unsafe { set.assume_init() }
}

fn count(set: &libc::cpu_set_t) -> usize {
    // SAFETY: it only counts.
    unsafe { libc::CPU_COUNT(set) as usize }
}

/// One of the CPUs.
fn first_of(set: &libc::cpu_set_t) -> libc::cpu_set_t {
    // SAFETY: a set of bits, which may all be clear.
    let mut one: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the number is below the size of the set.
    let first = (0..libc::CPU_SETSIZE as usize).find(|&cpu| unsafe { libc::CPU_ISSET(cpu, set) });
    // SAFETY: as above.
    unsafe { libc::CPU_SET(first.expect("there is a CPU"), &mut one) };
    one
}

/// Lets all threads of the process use these CPUs alone.
fn use_only(set: &libc::cpu_set_t) {
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let thread = thread.unwrap().file_name().into_string().unwrap().parse().unwrap();
        // SAFETY: the set is as large as it is said to be. A thread may have ended.
        unsafe { libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), set) };
    }
}

/// Runs the test in a child, on a machine with several CPUs. True in the child.
fn in_child_on_several_cpus(name: &str, variables: &[(&str, &str)]) -> bool {
    if count(&cpus()) < 2 {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {name} needs two CPUs");
        return false;
    }
    let all =
        [&[("NARROWBOAT_PIN", ""), ("NARROWBOAT_WORKERS", ""), ("NARROWBOAT_HOLD_BACK", "0")], variables]
            .concat();
    let Some(output) = in_child_with(name, &all) else { return true };
    assert_passed(&output, 1);
    false
}

/// Keeps the monitor awake.
fn do_something() {
    run(|| (0..10).for_each(|_| drop(spawn(|| sleep(Duration::from_millis(1))).join())));
}

#[test]
fn the_number_of_workers_follows_the_set_of_cpus() {
    if !in_child_on_several_cpus("the_number_of_workers_follows_the_set_of_cpus", &[]) {
        return;
    }
    do_something();
    if stats().pinned {
        return;
    }
    let all = cpus();
    for set in [&all, &first_of(&all), &all] {
        use_only(set);
        follows(count(set));
    }
}

#[test]
fn the_number_of_workers_follows_the_quota_of_a_control_group() {
    let name = "the_number_of_workers_follows_the_quota_of_a_control_group";
    if !in_child_on_several_cpus(name, &[]) {
        return;
    }
    let quota = ("cpu.cfs_quota_us", "cpu.max");
    let unlimited = |group: &ControlGroup| group.set(quota, "max").or_else(|_| group.set(quota, "-1"));
    let group = ControlGroup::new("cpu", "quota").filter(|group| unlimited(group).is_ok());
    let Some(group) = group else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {name} needs the right to make a control group");
        return;
    };
    let Ok(_inside) = group.enter() else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {name} needs the right to enter a control group");
        return;
    };
    do_something();
    if stats().pinned {
        return;
    }
    let all = count(&cpus());
    // In microseconds of each tenth of a second.
    group.set(quota, "100000").unwrap();
    follows(1);
    unlimited(&group).unwrap();
    follows(all);
}

/// Waits until so many workers may be awake.
fn follows(workers: usize) {
    eventually("the number of workers follows", || {
        do_something();
        stats().workers_allowed == workers
    });
}

#[test]
fn a_number_of_workers_that_was_chosen_stays() {
    if !in_child_on_several_cpus("a_number_of_workers_that_was_chosen_stays", &[("NARROWBOAT_WORKERS", "2")])
    {
        return;
    }
    do_something();
    use_only(&first_of(&cpus()));
    for _ in 0..150 {
        do_something();
    }
    assert_eq!(stats().workers_allowed, 2);
}
