//! Offences: 100 points close a connection, and half of them are forgotten after a
//! minute.

use super::{Expected, Key, Model};
use crate::gossip::engine::Offence;
use libp2p::PeerId;
use std::time::Duration;

/// Points that are too few or too many by less are a matter of rounding.
const ROUNDING: f64 = 1e-6;

/// When, how much, and whether something was forged.
pub(super) type Charge = (Duration, f64, bool);

/// The points that are left.
pub(super) fn sum<'a>(now: Duration, charges: impl IntoIterator<Item = &'a Charge>) -> f64 {
    let left = |(at, points, _): &Charge| points * (-(now - *at).as_secs_f64() / 60.0).exp2();
    charges.into_iter().map(left).sum()
}

fn points(offence: Offence) -> (f64, &'static str) {
    match offence {
        Offence::Signature => (34.0, "bad-signature"),
        Offence::Malformed => (50.0, "malformed-frame"),
        Offence::Graft => (10.0, "graft-in-backoff"),
        Offence::Prune => (10.0, "prune-of-unknown-topic"),
        Offence::Substream => (10.0, "further-substream"),
        Offence::Promise => (5.0, "broken-promise"),
        Offence::Asked => (5.0, "asked-again"),
        Offence::Topics => (100.0, "too-many-topics"),
    }
}

impl Model {
    pub(super) fn charge(&mut self, now: Duration, id: PeerId, offence: Offence) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let (points, reason) = points(offence);
        peer.offences.push((now, points, offence == Offence::Signature));
        let all = sum(now, &peer.offences);
        let forged = sum(now, peer.offences.iter().filter(|(.., forged)| *forged));
        assert!((all - 100.0).abs() > ROUNDING || all == 100.0, "a choice of rounding");
        if all >= 100.0 && !peer.closing {
            peer.closing = true;
            self.expected.push(Expected::Close { peer: id, reason, refuse: forged >= 100.0 });
        }
    }

    pub(super) fn charge_key(&mut self, now: Duration, key: Key, offence: Offence) {
        if let Some(id) = self.peer_of(key) {
            self.charge(now, id, offence);
        }
    }
}
