//! Is the clock sane? Sequence numbers are taken from it: a node whose clock is
//! far ahead is not believed, and one whose clock was set back counts on from what
//! its data holds.

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

const ALONE: &str = "set the clock that is wrong, best by NTP: timedatectl set-ntp true";

/// Findings on the clock.
pub fn check(data: Option<&Path>) -> Vec<Finding> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut findings = vec![plausible(now)];
    findings.extend(synchronized(Path::new("/run/systemd/timesync")));
    findings.extend(data.and_then(|dir| sequence(dir, now)));
    findings.extend(data.and_then(|dir| last_run(dir, now)));
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

/// Whether the clock has passed the last sequence number of the node that keeps
/// its data here.
fn sequence(dir: &Path, now: Duration) -> Option<Finding> {
    let last = match casm::pex::last_seq(dir) {
        Ok(last) => last?,
        Err(error) if error.kind() == casm::ErrorKind::Busy => {
            let message = format!(
                "{}: a node runs with this data; how its clock differs from those of its peers is \
                 in its log, and casm_clock_offset_seconds in its metrics",
                dir.display()
            );
            return Some(Finding::ok("sequence", message));
        }
        Err(error) => {
            let advice = "start the node once: it mends its data, or sets it aside";
            return Some(Finding::warn("sequence", error.to_string(), advice));
        }
    };
    let shown = humantime::format_rfc3339_seconds(last);
    let Ok(behind) = last.duration_since(UNIX_EPOCH + now) else {
        return Some(Finding::ok(
            "sequence",
            format!("the clock has passed this node's last one, of {shown}"),
        ));
    };
    let far = behind > casm::cluster::Table::MAX_AHEAD;
    let behind = humantime::format_duration(Duration::from_secs(behind.as_secs().max(1)));
    if far {
        // Whose clock was right refused such numbers, and remembers nothing of them.
        let message = format!(
            "an earlier run's clock was {behind} ahead of this one: if it was wrong then, others \
             did not believe it, and believe this one; if this one is behind, set it"
        );
        return Some(Finding::ok("sequence", message));
    }
    let message = format!(
        "the clock is {behind} behind this node's last sequence number, of {shown}: until then \
         the node counts on from there, and would be hidden without its data"
    );
    Some(Finding::warn("sequence", message, ADVICE))
}

/// What the last run of the node that keeps its data here has found.
fn last_run(dir: &Path, now: Duration) -> Option<Finding> {
    // What cannot be read is told already.
    let found = casm::pex::last_clock(dir).ok()??;
    let by = Duration::from_millis(found.offset_ms.unsigned_abs());
    let by = humantime::format_duration(Duration::from_secs(by.as_secs()));
    let at = humantime::format_rfc3339_seconds(found.at);
    // By a clock that was ahead, what was found then is still to come: of this
    // one it says nothing.
    if found.offset_ms < 0 && found.at > UNIX_EPOCH + now {
        let message = format!(
            "the node's last run found the clock {by} ahead, and it has been set back since"
        );
        return Some(Finding::ok("clock", message));
    }
    let way = if found.offset_ms > 0 { "behind" } else { "ahead of" };
    let (whose, advice) = match found.peers {
        1 => ("that of its peer: one of the two is wrong".into(), ALONE),
        peers => (format!("those of {peers} peers"), ADVICE),
    };
    let message = format!("the node's last run, at {at}, found this clock {by} {way} {whose}");
    Some(Finding::warn("clock", message, advice))
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

    #[tokio::test]
    async fn a_clock_behind_the_nodes_last_sequence_number_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        assert!(sequence(dir.path(), now()).is_none());
        let node = casm::Node::builder()
            .listen("/ip4/127.0.0.1/tcp/0")
            .boot(["none"])
            .pex(casm::pex::Config::default())
            .data(dir.path())
            .start();
        let node = node.await.unwrap();
        // Its data is its own now: where else it tells is said.
        let finding = sequence(dir.path(), now()).unwrap();
        assert_eq!(finding.status, Status::Ok);
        for said in ["a node runs", "in its log", "casm_clock_offset_seconds"] {
            assert!(finding.message.contains(said), "{finding:?}");
        }
        node.close().await.unwrap();
        drop(node);
        assert_eq!(sequence(dir.path(), now()).unwrap().status, Status::Ok);
        let finding = sequence(dir.path(), now() - Duration::from_secs(300)).unwrap();
        assert_eq!(finding.status, Status::Warn);
        assert!(finding.message.contains("behind this node's last sequence number"), "{finding:?}");
        assert_eq!(finding.advice.as_deref(), Some(ADVICE));
        // So far ahead nobody has believed it.
        let month = Duration::from_secs(30 * 86_400);
        let finding = sequence(dir.path(), now() - month).unwrap();
        assert_eq!(finding.status, Status::Ok, "{finding:?}");
        assert!(last_run(dir.path(), now()).is_none());
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
