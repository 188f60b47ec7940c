//! No more connections when this process takes most of the machine's memory.

use libp2p::memory_connection_limits::Behaviour;

/// The limit at this fraction of the machine's memory.
pub(super) fn limit(fraction: f64) -> Behaviour {
    // The crate that libp2p asks can say all of a system and its processes, and
    // is as large: here it is left out.
    #[cfg(target_os = "linux")]
    return Behaviour::with_max_bytes(linux::share(linux::total(), fraction));
    #[cfg(not(target_os = "linux"))]
    Behaviour::with_max_percentage(fraction)
}

#[cfg(target_os = "linux")]
mod linux {
    /// The machine's memory in bytes; `None` if `/proc` doesn't tell.
    pub(super) fn total() -> Option<u64> {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    }

    /// A share of it. Where the machine's memory is not known, nor is what of it
    /// this process takes: nothing is refused.
    pub(super) fn share(total: Option<u64>, fraction: f64) -> usize {
        total.map_or(usize::MAX, |total| (total as f64 * fraction) as usize)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_share_of_the_machine_s_memory_is_the_limit() {
            let total = total().expect("/proc tells");
            assert!((1 << 26..1 << 46).contains(&total), "{total}");
            let limit = super::super::limit(0.5).max_allowed_bytes() as u64;
            assert!(limit.abs_diff(total / 2) <= 1, "{limit} of {total}");
            assert_eq!(share(None, 0.5), usize::MAX);
        }
    }
}
