//! Memory of a process as the kernel counts it.

use std::fs;

/// Resident memory and page tables of process `pid` (or `"self"`), in bytes; `None` once the process is gone.
///
/// Page tables count because a design that touches one page here and one there pays for them too.
pub fn resident(pid: &str) -> Option<usize> {
    counted(pid, &["VmRSS:", "VmPTE:"])
}

/// Resident anonymous memory of a process, in bytes: what it has written itself. Neither page tables are in it, which
/// differ between kernels, nor pages of its file.
pub fn anonymous(pid: &str) -> Option<usize> {
    counted(pid, &["RssAnon:"])
}

/// Resident memory and page tables of this process, in bytes.
pub fn resident_here() -> usize {
    resident("self").expect("/proc must be mounted to measure memory")
}

fn counted(pid: &str, names: &[&str]) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kibibytes = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [name, value, _unit] if names.contains(&name) => value.parse::<usize>().ok(),
        _ => None,
    };
    let total: usize = status.lines().filter_map(kibibytes).sum();
    (total > 0).then_some(total << 10)
}
