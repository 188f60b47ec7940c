//! Synthetic data, for measuring the way into a language, and for its tests.

use crate::{
    Error, ErrorKind, Event, Keypair, LeaveReason, Listener, Node, Query, Record, Result,
    Subscription, View, source::Synthetic, subscription::subscribe,
};
use casm::cluster::{
    Arrival, Detector, Heartbeat, Limits, Now, Outcome, Roles, Table, Via, server_of,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;

/// Calls a listener so many times with an event about the node itself, by the
/// way that real events take. None is dropped: they come as fast as they are
/// taken.
///
/// # Errors
/// `Closed`; `NotFound` if the node is not in its own view (an observer).
pub fn bench_events(
    node: &Node,
    count: u64,
    listener: impl Listener<Event>,
) -> Result<Subscription> {
    synthetic(node, count, |record| Event::PeerUpdated { record }, listener)
}

/// Tells a listener once that the node itself has failed, by the way that real events
/// take: for tests of a language, whose own nodes see that of others after minutes alone.
///
/// # Errors
/// As of [`bench_events`].
pub fn bench_failed(node: &Node, listener: impl Listener<Event>) -> Result<Subscription> {
    let failed =
        |record: Record| Event::PeerLeft { peer: record.peer(), reason: LeaveReason::Failed };
    synthetic(node, 1, failed, listener)
}

fn synthetic(
    node: &Node,
    count: u64,
    event: impl FnOnce(Record) -> Event,
    listener: impl Listener<Event>,
) -> Result<Subscription> {
    let record = node.view()?.refs(&Query::all()).next().cloned().ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "the view is empty: measure with a node that is in it")
    })?;
    let source = Synthetic { event: event(record), left: count };
    let dispatcher = node.dispatcher().ok_or_else(|| Error::closed("node"))?;
    subscribe(&dispatcher, source, CancellationToken::new(), listener)
}

/// A view of so many records, each with a host and two meta fields.
///
/// # Errors
/// `TooLarge` if the table refuses one.
pub fn bench_view(records: u32) -> Result<View> {
    let own = Keypair::generate_ed25519().public().to_peer_id();
    let limits = Limits::default();
    let mut table = Table::new(own, limits, Detector::default(), 0);
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix_nanos = u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX);
    let now = Now { elapsed: Duration::from_secs(1), unix_nanos };
    for n in 0..records {
        let peer = Keypair::generate_ed25519().public().to_peer_id();
        let beat = Heartbeat {
            server: server_of(&peer),
            ttl: Some(Duration::from_secs(10)),
            host: format!("host-{n}"),
            meta: vec!["role=worker".into(), format!("zone=z{}", n % 16)],
            sent_at: None,
            addrs: Default::default(),
        };
        let arrival = Arrival {
            peer,
            seq: unix_nanos,
            from: peer,
            beat: &beat,
            signed: &[],
            via: Via::Gossip,
            roles: Roles::NONE,
        };
        let outcome = table.insert(now, arrival);
        if !matches!(outcome, Outcome::Joined) {
            let message = format!("record {n} of {records} is refused: {outcome:?}");
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
    }
    Ok(table.view())
}
