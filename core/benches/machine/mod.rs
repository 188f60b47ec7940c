//! What this process takes of the machine.

use anyhow::{Context, Result};
use std::fs;

/// Processor time of this process so far.
pub fn cpu_seconds() -> Result<f64> {
    // Fields 14 and 15, counted from the pid, in hundredths of a second; the
    // second field is in brackets and may hold spaces.
    let stat = fs::read_to_string("/proc/self/stat").context("this benchmark needs Linux")?;
    let fields = stat.rsplit_once(") ").context("/proc/self/stat")?.1;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

/// Memory of this process that is in RAM.
pub fn resident_bytes() -> Result<i64> {
    let status = fs::read_to_string("/proc/self/status").context("this benchmark needs Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<i64>()? * 1024)
}

/// Bytes that the loopback interface has carried so far, of all programs in this
/// network namespace, headers included.
#[allow(dead_code, reason = "not every benchmark uses it")]
pub fn loopback_bytes() -> Result<f64> {
    let path = "/proc/self/net/dev";
    let text = fs::read_to_string(path).context("this benchmark needs Linux")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    let bytes = line.and_then(|line| line.split_whitespace().next()).context(path)?;
    Ok(bytes.parse()?)
}
