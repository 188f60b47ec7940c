//! Readers that take their time.

use super::*;
use crate::rpc::tests::{consume, limits, on_paused, pipe, serve_view};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Records so long that a reader's window has room for few of them.
fn long_table(seq: u64) -> Table {
    let mut table = empty();
    for i in 1..=200 {
        fill(&mut table, i, seq);
    }
    table
}

fn fill(table: &mut Table, i: u8, seq: u64) {
    let meta = [format!("role={}", i % 2), format!("z={:03}{}", i, "x".repeat(400))];
    insert(table, peer(i), seq, u64::from(i), &format!("{:03}{}", i % 90, "h".repeat(200)), &meta);
}

#[test]
fn a_slow_reader_gets_every_record_once_and_pins_no_old_snapshot() {
    on_paused(async {
        for query in [
            Query::all(),
            Query::all().reverse(),
            Query::all().limit(150),
            Query::matching(Index::meta("role", "1")),
            Query::matching(Index::meta("z", "")).prefix().reverse(),
            Query::from(Index::host("04")).to(Index::host("08")),
            Query::from(Index::meta("", "")),
        ] {
            let table = Arc::new(Mutex::new(long_table(1)));
            let source = table.clone();
            let snapshots = server::Snapshots::new(move || source.lock().unwrap().view());
            let (a, b) = pipe(4096);
            let _server = serve_view(a, Encoding::Packed, server::object(&snapshots));
            let view = consume(b, Encoding::Packed, &limits());
            let before = table.lock().unwrap().view();

            let (send, mut records) = mpsc::channel(1);
            let iteration = tokio::task::spawn_local(client::iterate(view, query.clone(), send));
            let mut got = vec![records.recv().await.unwrap().record];
            // Every record says something new meanwhile, and some are new.
            *table.lock().unwrap() = long_table(2);
            (201..=220).for_each(|i| fill(&mut table.lock().unwrap(), i, 2));
            tokio::time::sleep(Duration::from_secs(11)).await;
            assert_eq!(before.strong_count(), 1, "the first snapshot is still kept");
            while let Some(told) = records.recv().await {
                got.push(told.record);
            }
            iteration.await.unwrap().unwrap();

            let (old, new): (Vec<_>, Vec<_>) = got.iter().partition(|r| r.seq() == 1);
            assert!(!old.is_empty() && !new.is_empty(), "{query:?}: {} {}", old.len(), new.len());
            let mut peers: Vec<_> = got.iter().map(Record::peer).collect();
            let taken = peers.len();
            peers.sort();
            peers.dedup();
            assert_eq!(peers.len(), taken, "{query:?}: a record came twice");
            let must: Vec<_> = before.iter(query.clone()).map(|r| r.peer()).collect();
            if query.limit.is_none() {
                assert!(must.iter().all(|peer| peers.contains(peer)), "{query:?}");
            }
            assert!(taken <= query.limit.unwrap_or(usize::MAX));
            let positions: Vec<_> =
                got.iter().map(|r| position::Position::of(&query, r).unwrap()).collect();
            let sorted = match query.reverse {
                false => positions.is_sorted(),
                true => positions.iter().rev().is_sorted(),
            };
            assert!(sorted, "{query:?}: out of order");
        }
    });
}

#[test]
fn many_iterations_share_few_snapshots() {
    let taken = Arc::new(Mutex::new(0));
    let count = taken.clone();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async move {
        let snapshots = server::Snapshots::new(move || {
            *count.lock().unwrap() += 1;
            table(1).view()
        });
        let mut held = Vec::new();
        for _ in 0..1000 {
            held.push(snapshots.take());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let n = *taken.lock().unwrap();
        assert!((16..=24).contains(&n), "{n} snapshots for 1000 iterations within a second");
    });
}
