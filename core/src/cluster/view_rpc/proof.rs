//! What proves a record of another node's view.

use crate::{
    Error, ErrorKind, Namespace, Result,
    cluster::{Detector, Heartbeat, Record, Table},
    pubsub::{keys::Keys, signed::SignedMessage},
};
use libp2p::PeerId;

/// A record as the other node tells it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) record: Record,
    /// The message that its peer signed; empty if it is not at hand there.
    pub(super) signed: Vec<u8>,
}

/// Checks what is told.
pub(super) struct Verifier {
    namespace: Namespace,
}

impl Verifier {
    pub(super) fn new(namespace: Namespace) -> Self {
        Self { namespace }
    }

    /// The record as its peer signed it, or, with nothing that proves it, as
    /// `by` tells it. What a peer said so long ago that it must be gone, by the
    /// clock here, proves nothing, unless it is that peer who tells it: anybody
    /// may have kept it.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if the proof is wrong: no honest node keeps one.
    pub(super) fn check(&self, by: PeerId, told: Told, unix_nanos: u64) -> Result<Record> {
        let Told { record, signed } = told;
        if signed.is_empty() {
            return Ok(record.unverified());
        }
        let proven = self.proven(&record, &signed).map(|(proven, beat)| {
            let old = Table::is_ghost(Detector::default(), &beat, proven.ttl(), unix_nanos);
            if old && proven.peer() != by { proven.unverified() } else { proven }
        });
        proven.ok_or_else(|| {
            let message = format!(
                "{by} proves its record of {} with a message that {} did not sign, that belongs \
                 to another cluster, or that says something else; ask another node",
                record.peer(),
                record.peer()
            );
            Error::new(ErrorKind::Protocol, message)
        })
    }

    fn proven(&self, record: &Record, signed: &[u8]) -> Option<(Record, Heartbeat)> {
        if signed.len() > Table::MAX_SIGNED {
            return None;
        }
        let message = SignedMessage::decode(signed).ok()?;
        message.verify(Keys::shared()).ok()?;
        let beat = Heartbeat::decode(message.data()).ok()?;
        let proven = Record::new(message.source(), message.seq(), beat.ttl?, &beat);
        let same = message.topic() == self.namespace.as_str()
            && (proven.peer(), proven.seq()) == (record.peer(), record.seq())
            // The other node may know other kinds of addresses. Those that are proven
            // count.
            && proven.says_same_but_addrs(record);
        same.then_some((proven, beat))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::identity::Keypair;
    use std::time::Duration;

    /// Only the peer itself can tell that it is still there.
    #[test]
    fn what_was_said_long_ago_is_believed_of_who_tells_it_itself() {
        const MINUTE: Duration = Duration::from_secs(60);
        let (key, now) = (Keypair::generate_ed25519(), Duration::from_secs(1 << 30));
        let (id, other) = (key.public().to_peer_id(), PeerId::random());
        let verifier = Verifier::new(Namespace::default());
        let verified = |by, ago: Option<Duration>| {
            let ttl = Duration::from_secs(10);
            let sent_at = ago.map(|ago| now - ago);
            let beat = Heartbeat {
                server: 1,
                ttl: Some(ttl),
                host: "h".into(),
                meta: vec![],
                sent_at,
                addrs: Default::default(),
            };
            let signed = SignedMessage::sign(&key, "casm", 7, &beat.encode()).unwrap();
            let record = Record::new(id, 7, ttl, &beat);
            let told = Told { record, signed: signed.encoded().to_vec() };
            let unix_nanos = u64::try_from(now.as_nanos()).unwrap();
            verifier.check(by, told, unix_nanos).unwrap().verified()
        };
        assert!(verified(other, None) && verified(other, Some(10 * MINUTE)));
        assert!(!verified(other, Some(11 * MINUTE)) && verified(id, Some(11 * MINUTE)));
    }
}
