//! Is the clock sane? Sequence numbers are taken from it: a node whose clock was
//! set back is not believed until it has caught up with what it said before,
//! and one whose clock is ahead is not believed at all.

use super::Finding;
use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// 2026-01-01, before which no build of this program was made.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);
/// 2100-01-01.
const LATEST: Duration = Duration::from_secs(4_102_444_800);

const ADVICE: &str = "set the clock, best by NTP: timedatectl set-ntp true";

/// Findings on the clock.
pub fn check() -> Vec<Finding> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut findings = vec![plausible(now)];
    findings.extend(synchronized(Path::new("/run/systemd/timesync")));
    findings
}

fn plausible(now: Duration) -> Finding {
    let shown = humantime::format_rfc3339_seconds(UNIX_EPOCH + now);
    if (EARLIEST..LATEST).contains(&now) {
        Finding::ok("clock", format!("{shown}: plausible"))
    } else {
        let message = format!("{shown} cannot be right: others would not believe this node");
        Finding::fail("clock", message, ADVICE)
    }
}

/// What systemd's time service says, where it runs.
fn synchronized(dir: &Path) -> Option<Finding> {
    if !dir.exists() {
        return None;
    }
    Some(if dir.join("synchronized").exists() {
        Finding::ok("clock", "synchronized by NTP")
    } else {
        let message = "not synchronized by NTP yet: it may be wrong by any amount";
        Finding::warn("clock", message, ADVICE)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_clock_at_its_epoch_or_far_ahead_fails() {
        assert_eq!(plausible(Duration::ZERO).status, Status::Fail);
        assert_eq!(plausible(EARLIEST).status, Status::Ok);
        assert_eq!(plausible(LATEST).status, Status::Fail);
    }

    #[test]
    fn a_time_service_that_has_not_synchronized_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(synchronized(dir.path()).unwrap().status, Status::Warn);
        std::fs::write(dir.path().join("synchronized"), "").unwrap();
        assert_eq!(synchronized(dir.path()).unwrap().status, Status::Ok);
        assert!(synchronized(&dir.path().join("absent")).is_none());
    }
}
