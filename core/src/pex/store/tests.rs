use super::*;
use crate::Keypair;
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

fn record(seq: u64) -> SignedRecord {
    let key = Keypair::generate_ed25519();
    SignedRecord::sign(&key, &["/ip4/127.0.0.1/tcp/1".parse().unwrap()], seq).unwrap()
}

fn ns(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

#[test]
fn what_was_saved_is_there_after_a_restart_and_for_its_namespace_alone() {
    let dir = tempfile::tempdir().unwrap();
    let saved = Saved { view: vec![record(1), record(2)], standby: vec![record(3)] };
    let store = Store::open(dir.path(), Default::default(), &Default::default()).unwrap();
    store.save(&ns("a"), &saved).unwrap();
    store.set("seq", &7u64.to_le_bytes()).unwrap();
    let busy = Store::open(dir.path(), Default::default(), &Default::default()).unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Busy, "{busy}");
    drop(store);
    let store = Store::open(dir.path(), Default::default(), &Default::default()).unwrap();
    assert_eq!(store.load(&ns("a")).unwrap(), saved);
    for other in ["a/b", "b", "A"] {
        assert_eq!(store.load(&ns(other)).unwrap(), Saved::default());
    }
    assert_eq!(store.get("seq").unwrap().unwrap(), 7u64.to_le_bytes());
}

#[tokio::test]
async fn tokens_go_up_though_the_clock_is_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Default::default(), &Default::default()).unwrap();
    let (first, had_some) = store.next_token(1000).await.unwrap();
    assert!(!had_some);
    drop(store);
    let store = Store::open(dir.path(), Default::default(), &Default::default()).unwrap();
    let (next, had_some) = store.next_token(10).await.unwrap();
    assert!(first >= 1000 && next >= first + TOKENS && had_some);
    assert_eq!(Store::none().next_token(10).await.unwrap(), (10, false));
}

#[test]
fn a_directory_that_was_taken_away_is_made_and_filled_again() {
    let dir = tempfile::tempdir().unwrap();
    let (data, troubles) = (dir.path().join("data"), Troubles::default());
    let store = Store::open(&data, troubles.clone(), &Default::default()).unwrap();
    store.set("seq", &7u64.to_le_bytes()).unwrap();
    assert!(!store.is_lost());
    // Something else is in its place.
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::write(&data, "").unwrap();
    assert!(store.is_lost());
    let saved = Saved { view: vec![record(1)], standby: vec![] };
    for _ in 0..2 {
        let error = store.save(&ns("a"), &saved).unwrap_err();
        assert_eq!((error.kind(), troubles.count().get()), (ErrorKind::Io, 1), "{error}");
    }
    std::fs::remove_file(&data).unwrap();
    store.save(&ns("a"), &saved).unwrap();
    assert_eq!(troubles.count().get(), 0);
    drop(store);
    let store = Store::open(&data, troubles, &Default::default()).unwrap();
    assert_eq!(store.load(&ns("a")).unwrap(), saved);
    assert_eq!(store.get("seq").unwrap().unwrap(), 7u64.to_le_bytes());
}

#[test]
fn a_disk_that_was_full_is_written_to_again() {
    let dir = tempfile::tempdir().unwrap();
    let (troubles, full) = (Troubles::default(), || std::io::ErrorKind::StorageFull.into());
    let store = Store::open(dir.path(), troubles.clone(), &Default::default()).unwrap();
    store.set("seq", b"1").unwrap();
    let opened = store.0.as_ref().unwrap();
    let failed = opened.with("a write", |_| Done::<()>::Err(redb::Error::Io(full())));
    assert_eq!((failed.unwrap_err().kind(), troubles.count().get()), (ErrorKind::Io, 1));
    // A database that failed takes nothing any more until it is opened anew.
    assert!(opened.state().database.is_none());
    assert_eq!(store.get("seq").unwrap().unwrap(), b"1");
    assert_eq!(troubles.count().get(), 0);
}

#[test]
fn a_damaged_file_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    for damage in [&b"this is no database"[..], &[0; 4096], &[0xff; 100_000]] {
        std::fs::write(&path, damage).unwrap();
        let store = Store::open(dir.path(), Default::default(), &Default::default()).unwrap();
        store.set("x", b"y").unwrap();
    }
    assert_eq!(
        Store::open(dir.path(), Default::default(), &Default::default())
            .unwrap()
            .get("x")
            .unwrap()
            .unwrap(),
        b"y"
    );
    let aside = std::fs::read_dir(dir.path()).unwrap().count() - 1;
    assert_eq!(aside, 3);
}

#[tokio::test]
async fn a_clock_that_was_set_back_makes_no_record_older() {
    let dir = tempfile::tempdir().unwrap();
    let start = async || {
        Store::start(Some(dir.path().into()), Default::default(), &Default::default())
            .await
            .unwrap()
    };
    let (store, least) = start().await;
    assert_eq!(least, 1);
    // The last run's clock was an hour ahead, and its addresses changed once.
    let last = unix_nanos() + 3_600_000_000_000;
    let (sender, receiver) = watch::channel(record(last));
    let keep = tokio::spawn(store.clone().keep_seq(receiver).await.unwrap());
    assert_eq!(store.get(SEQ).unwrap().unwrap(), last.to_le_bytes());
    sender.send_replace(record(last + 5));
    drop(sender);
    keep.await.unwrap();
    drop(store);
    assert_eq!(start().await.1, last + 6);
}

#[tokio::test]
async fn without_a_directory_nothing_is_kept() {
    let (store, least) = Store::start(None, Default::default(), &Default::default()).await.unwrap();
    assert!(!store.keeps() && least == 0);
    store.save(&ns("a"), &Saved { view: vec![record(1)], standby: vec![] }).unwrap();
    assert_eq!(store.load(&ns("a")).unwrap(), Saved::default());
}

/// What the next test kills: writes numbers, and says each when it is written.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os("CASM_STORE_CHILD") else { return };
    let store = Store::open(Path::new(&dir), Default::default(), &Default::default()).unwrap();
    let last = store.get("n").unwrap().map_or(0, |b| u64::from_le_bytes(b.try_into().unwrap()));
    for n in last + 1.. {
        store.set("n", &n.to_le_bytes()).unwrap();
        println!("\nwritten {n}");
    }
}

#[test]
fn every_acknowledged_write_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for _ in 0..50 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["pex::store::tests::child_that_writes_until_it_is_killed", "--exact"])
            .arg("--nocapture")
            .env("CASM_STORE_CHILD", dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut read = |acknowledged: &mut u64| {
            for line in lines.by_ref().map_while(Result::ok) {
                if let Some(n) = line.strip_prefix("written ") {
                    *acknowledged = n.parse().unwrap();
                    return true;
                }
            }
            false
        };
        // Killed at a random moment after at least one write.
        assert!(read(&mut acknowledged), "the child writes");
        std::thread::sleep(Duration::from_micros(rand::random_range(0..20_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        while read(&mut acknowledged) {}
        let store = Store::open(dir.path(), Default::default(), &Default::default()).unwrap();
        let bytes = store.get("n").unwrap().unwrap();
        let kept = u64::from_le_bytes(bytes.try_into().unwrap());
        assert!(kept >= acknowledged, "{kept} kept, {acknowledged} acknowledged");
    }
    println!("50 kills, {acknowledged} writes acknowledged, all kept");
    let files = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(files, 1, "none was set aside");
}
