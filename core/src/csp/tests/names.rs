//! Channels and semaphores are found by their names in records.

use super::*;

#[tokio::test]
async fn what_is_here_stands_in_the_record_until_nothing_can_be_had_of_it() {
    let place = Place::start().await;
    let standing = || place.records.lock().unwrap().len();
    let jobs = place.channel("jobs", 2);
    place.channel("jobs", 2);
    assert_eq!(standing(), 1);
    jobs.send("a").await.unwrap();
    jobs.send("b").await.unwrap();
    jobs.close().await.unwrap();
    assert_eq!(standing(), 1, "values are in it still");
    assert_eq!(jobs.recv().await.unwrap(), b"a");
    let job = jobs.take().await.unwrap();
    assert_eq!(standing(), 1, "the job may come back");
    // One of the same name takes its place, and keeps it.
    let again = place.channel("jobs", 2);
    assert_eq!(standing(), 1);
    job.done().await.unwrap();
    assert_eq!(standing(), 1);
    again.close().await.unwrap();
    assert_eq!(standing(), 0);
    // A semaphore until it is closed.
    let leader = place.csp.semaphore("leader", 1, (0, None)).unwrap();
    assert_eq!(standing(), 1);
    leader.close().unwrap();
    assert_eq!(standing(), 0);
    place.close().await;
}

#[tokio::test]
async fn who_gives_no_owner_gets_the_one_and_is_told_of_several() {
    let (here, there) = (Place::start().await, Place::start().await);
    let kind = |result: Result<Channel>| result.unwrap_err().kind();
    assert_eq!(kind(here.csp.open_channel("jobs", None).await), ErrorKind::NotFound);
    let own = there.channel("jobs", 1);
    there.csp.semaphore("leader", 1, (0, None)).unwrap();
    *here.records.lock().unwrap() = there.records.lock().unwrap().clone();
    here.knows(&there);
    let jobs = within(here.csp.open_channel("jobs", None)).await.unwrap();
    assert_eq!(jobs.owner(), there.id());
    within(jobs.send("x")).await.unwrap();
    assert_eq!(within(own.recv()).await.unwrap(), b"x");
    let leader = within(here.csp.open_semaphore("leader", None)).await.unwrap();
    within(leader.acquire()).await.unwrap();
    // Another one, here.
    here.channel("jobs", 1);
    let error = within(here.csp.open_channel("jobs", None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    for place in [&here, &there] {
        assert!(error.message().contains(&place.id().to_string()), "{error}");
    }
    let said = within(here.csp.open_channel("jobs", Some(here.id()))).await.unwrap();
    assert_eq!(said.owner(), here.id());
    here.close().await;
    there.close().await;
}

#[tokio::test]
async fn a_node_may_make_and_close_any_number_and_no_more_than_its_record_has_room_for() {
    let place = Place::start().await;
    let mut last = 0;
    for n in 0..300 {
        place.channel(&format!("c{n}"), 1).close().await.unwrap();
        let semaphore = place.csp.semaphore(&format!("s{}", n % 70), 1, (0, None)).unwrap();
        let lease = semaphore.acquire().await.unwrap();
        if n % 70 == 0 {
            assert!(lease.token() > last, "{} after {last}", lease.token());
            last = lease.token();
        }
        semaphore.close().unwrap();
    }
    let open: Vec<_> = (0..ROOM).map(|n| place.channel(&format!("c{n}"), 1)).collect();
    let full = place.csp.channel("one-more", ChannelOptions::new()).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::TooLarge);
    open[0].close().await.unwrap();
    place.channel("one-more", 0);
    place.close().await;
}
