//! Memory of a process as the kernel counts it.

use std::fs;

/// Resident memory and page tables of process `pid` (or `"self"`), in bytes; `None` once the process is gone.
///
/// Page tables count because a design that touches one page here and one there pays for them too.
pub fn resident(pid: &str) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kibibytes = |line: &str| line.split_whitespace().nth(1)?.parse::<usize>().ok();
    let counted = status.lines().filter(|line| line.starts_with("VmRSS:") || line.starts_with("VmPTE:"));
    let total: usize = counted.filter_map(kibibytes).sum();
    (total > 0).then_some(total << 10)
}

/// Resident memory and page tables of this process, in bytes.
pub fn resident_here() -> usize {
    resident("self").expect("/proc must be mounted to measure memory")
}
