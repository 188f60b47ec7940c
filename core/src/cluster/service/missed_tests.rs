//! Who is missed by others.

use super::tests::Fixture;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

const MOMENT: Duration = Duration::from_millis(50);

#[tokio::test(start_paused = true)]
async fn who_is_missed_says_at_once_that_it_lives() {
    let mut node = Fixture::start(false, true);
    node.published().await;
    // That one may be under way.
    sleep(Duration::from_millis(1_900)).await;
    node.cluster.is_missed();
    assert!(timeout(MOMENT, node.published()).await.is_err());
    sleep(Duration::from_millis(100)).await;
    node.cluster.is_missed();
    timeout(MOMENT, node.published()).await.expect("at once");
    // The pause begins anew.
    let began = Instant::now();
    node.published().await;
    assert!(began.elapsed() > Duration::from_millis(2_600), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_is_said_to_be_missed_without_end_says_so_once_in_two_seconds() {
    let mut node = Fixture::start(false, true);
    node.published().await;
    let (end, mut said) = (Instant::now() + Duration::from_secs(20), 0);
    while Instant::now() < end {
        for _ in 0..100 {
            node.cluster.is_missed();
        }
        said += usize::from(timeout(MOMENT, node.published()).await.is_ok());
    }
    assert!((8..=10).contains(&said), "{said}");
    let mut observer = Fixture::start(true, true);
    sleep(Duration::from_secs(5)).await;
    observer.cluster.is_missed();
    assert!(timeout(Duration::from_secs(60), observer.published()).await.is_err());
}
