//! Who listens while a node joins a large cluster.

use super::*;
use crate::cluster::{Arrival, Detector, Heartbeat, Limits, Now, Roles, Table, Via, server_of};
use futures::FutureExt as _;
use std::{sync::Arc, time::Duration};

const MEMBERS: usize = 10_000;

fn hear(table: &mut Table, peer: PeerId, seq: u64, load: u64) {
    let beat = Heartbeat {
        server: server_of(&peer),
        ttl: Some(Duration::from_secs(60)),
        host: "host".into(),
        meta: vec![format!("load={load}")],
        sent_at: None,
        addrs: Default::default(),
    };
    let (via, roles) = (Via::Gossip, Roles::NONE);
    let arrival = Arrival { peer, seq, from: peer, beat: &beat, signed: &[], via, roles };
    let now = Now { elapsed: Duration::ZERO, unix_nanos: 1 << 60 };
    assert!(table.insert(now, arrival).is_accepted());
}

fn taken(live: &mut LiveQuery) -> Option<Change> {
    live.next().now_or_never().flatten()
}

/// What a listener knows after it has taken all there is; after a gap it begins again.
fn picture(live: &mut LiveQuery, known: &mut HashMap<PeerId, String>) -> u64 {
    let mut lost = 0;
    while let Some(change) = taken(live) {
        match change {
            Change::Current(record) | Change::Joined(record) | Change::Updated(record) => {
                let load = record.meta().get("load").unwrap_or_default().to_owned();
                known.insert(record.peer(), load);
            }
            Change::Left(record) => assert!(known.remove(&record.peer()).is_some()),
            Change::Dropped { count } => {
                lost += count;
                known.clear();
            }
        }
    }
    lost
}

#[test]
fn who_listens_while_ten_thousand_join_has_them_all_and_then_what_changes() {
    let mut table = Table::new(PeerId::random(), Limits::default(), Detector::default(), 1);
    let hub = Arc::new(Hub::new(table.view(), &Default::default()));
    let (mut quick, mut slow) = (hub.subscribe(Query::all()), hub.subscribe(Query::all()));
    let (mut quick_known, mut slow_known) = (HashMap::new(), HashMap::new());
    let peers: Vec<_> = (0..MEMBERS).map(|_| PeerId::random()).collect();
    for (i, peer) in peers.iter().enumerate() {
        hear(&mut table, *peer, 1, 0);
        // As much as comes in one exchange.
        if i % 1024 == 1023 || i == MEMBERS - 1 {
            hub.publish(table.view(), &table.take_differences());
            assert_eq!(picture(&mut quick, &mut quick_known), 0);
        }
    }
    assert_eq!(quick_known.len(), MEMBERS);
    assert_eq!(picture(&mut slow, &mut slow_known), (MEMBERS - Live::CAPACITY) as u64);
    assert_eq!(slow_known, quick_known);
    // One that begins now, and is told of changes while it is told of what there was.
    let (mut late, mut late_known) = (hub.subscribe(Query::all()), HashMap::new());
    for _ in 0..MEMBERS / 2 {
        let Some(Change::Current(record)) = taken(&mut late) else { panic!("all come first") };
        late_known.insert(record.peer(), "0".to_owned());
    }
    for peer in &peers[..100] {
        hear(&mut table, *peer, 2, 7);
    }
    hub.publish(table.view(), &table.take_differences());
    for (live, known) in
        [(&mut quick, &mut quick_known), (&mut slow, &mut slow_known), (&mut late, &mut late_known)]
    {
        assert_eq!(picture(live, known), 0);
        let changed = peers[..100].iter().filter(|peer| known[*peer] == "7").count();
        assert_eq!((known.len(), changed), (MEMBERS, 100));
    }
}
