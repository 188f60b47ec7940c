//! What proves a record of another node's view.

use crate::{
    Error, ErrorKind, Namespace, Result,
    cluster::{Heartbeat, Record, Table},
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
    keys: Keys,
}

impl Verifier {
    pub(super) fn new(namespace: Namespace) -> Self {
        Self { namespace, keys: Keys::default() }
    }

    /// The record as its peer signed it, or, with nothing that proves it, as
    /// `by` tells it.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if the proof is wrong: no honest node keeps one.
    pub(super) fn check(&self, by: PeerId, told: Told) -> Result<Record> {
        let Told { record, signed } = told;
        if signed.is_empty() {
            return Ok(record.unverified());
        }
        self.proven(&record, &signed).ok_or_else(|| {
            let message = format!(
                "{by} proves its record of {} with a message that {} did not sign, that belongs \
                 to another cluster, or that says something else; ask another node",
                record.peer(),
                record.peer()
            );
            Error::new(ErrorKind::Protocol, message)
        })
    }

    fn proven(&self, record: &Record, signed: &[u8]) -> Option<Record> {
        if signed.len() > Table::MAX_SIGNED {
            return None;
        }
        let message = SignedMessage::decode(signed).ok()?;
        message.verify(&self.keys).ok()?;
        let beat = Heartbeat::decode(message.data()).ok()?;
        let proven = Record::new(message.source(), message.seq(), beat.ttl?, &beat);
        let same = message.topic() == self.namespace.as_str()
            && (proven.peer(), proven.seq()) == (record.peer(), record.seq())
            // The other node may know other kinds of addresses. Those that are proven
            // count.
            && proven.says_same_but_addrs(record);
        same.then_some(proven)
    }
}
