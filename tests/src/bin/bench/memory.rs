//! Memory of a process.

use anyhow::Context as _;

/// Resident memory of a process in kB; `self` is this one.
pub fn resident(process: &str) -> anyhow::Result<i64> {
    read(process, "VmRSS:")
}

/// Peak memory of this process since [`forget_peak`], in kB.
pub fn peak() -> anyhow::Result<i64> {
    read("self", "VmHWM:")
}

/// Resets the peak.
pub fn forget_peak() -> std::io::Result<()> {
    std::fs::write("/proc/self/clear_refs", "5")
}

fn read(process: &str, what: &str) -> anyhow::Result<i64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.context("a process has memory")?.parse()?)
}
