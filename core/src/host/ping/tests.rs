//! Pings between swarms, in memory and in virtual time, with peers that answer
//! in every way there is.

use super::{
    pace::{INTERVAL, PATIENCE, PATIENCE_IN_DOUBT, SILENT},
    *,
};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    Stream, StreamProtocol, Swarm, SwarmBuilder, Transport,
    core::{transport::MemoryTransport, upgrade::Version},
    noise,
    swarm::SwarmEvent,
    yamux,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::Instant;

const PING: StreamProtocol = StreamProtocol::new("/ipfs/ping/1.0.0");
/// For what virtual time doesn't show.
const SOON: Duration = Duration::from_millis(100);

fn swarm<B: NetworkBehaviour>(behaviour: B) -> Swarm<B> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_other_transport(|key| {
            MemoryTransport::default()
                .upgrade(Version::V1)
                .authenticate(noise::Config::new(key).expect("a key"))
                .multiplex(yamux::Config::default())
        })
        .expect("a transport")
        .with_behaviour(|_| behaviour)
        .expect("a behaviour")
        .with_swarm_config(|c| c.with_idle_connection_timeout(Duration::from_secs(1 << 30)))
        .build()
}

/// A swarm with our behaviour, connected to a peer.
struct Ours {
    swarm: Swarm<Behaviour>,
    round_trips: RoundTrips,
    peer: PeerId,
    since: Instant,
    /// What was told of it, and when.
    told: Vec<(Event, Duration)>,
}

/// Connects ours to this peer, which goes on by itself.
async fn connect<B>(mut peer: Swarm<B>) -> Ours
where
    B: NetworkBehaviour + Send,
    B::ToSwarm: Send,
{
    peer.listen_on("/memory/0".parse().unwrap()).unwrap();
    let addr = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = peer.select_next_some().await {
            break address;
        }
    };
    let id = *peer.local_peer_id();
    tokio::spawn(async move { while peer.next().await.is_some() {} });
    let round_trips = RoundTrips::default();
    let mut ours = swarm(Behaviour::new(INTERVAL, round_trips.clone()));
    ours.dial(addr).unwrap();
    loop {
        if let SwarmEvent::ConnectionEstablished { .. } = ours.select_next_some().await {
            let (since, told) = (Instant::now(), Vec::new());
            return Ours { swarm: ours, round_trips, peer: id, since, told };
        }
    }
}

/// Connects ours to a peer that does this with each of our streams, of which the
/// first has number 0. Also gives a handle to open streams to ours.
async fn answered<F, A>(answer: A) -> (Ours, Arc<AtomicUsize>)
where
    A: Fn(usize, Stream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let behaviour = libp2p_stream::Behaviour::new();
    let mut incoming = behaviour.new_control().accept(PING).unwrap();
    let streams = Arc::new(AtomicUsize::new(0));
    let count = streams.clone();
    tokio::spawn(async move {
        while let Some((_, stream)) = incoming.next().await {
            tokio::spawn(answer(count.fetch_add(1, Ordering::Relaxed), stream));
        }
    });
    (connect(swarm(behaviour)).await, streams)
}

/// Answers so many pings.
async fn echo(stream: &mut Stream, many: usize) {
    let mut bytes = [0; 32];
    for _ in 0..many {
        if stream.read_exact(&mut bytes).await.is_err() {
            return;
        }
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
    }
}

impl Ours {
    /// Why the connection is given up, and when; `None` if it lives so long.
    async fn failure(&mut self, within: Duration) -> Option<(Failure, Duration)> {
        let told = async {
            let mut told = None;
            loop {
                match self.swarm.select_next_some().await {
                    SwarmEvent::Behaviour(Event::Failed(failed)) => {
                        told = Some((failed.why, self.since.elapsed()))
                    }
                    SwarmEvent::Behaviour(event) => self.told.push((event, self.since.elapsed())),
                    SwarmEvent::ConnectionClosed { .. } => return told.expect("closed by itself"),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(within, told).await.ok()
    }

    async fn fails(&mut self, why: Failure, after: Duration) {
        let (told, at) = self.failure(2 * after + SOON).await.expect("a failure");
        assert_eq!(told, why);
        assert!(at >= after && at < after + SOON, "{at:?}, not {after:?}");
        assert_eq!(self.round_trips.of(&self.peer), None, "gone with the connection");
        assert!(self.round_trips.lock().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_of_ours_keep_their_connection_and_know_its_round_trip_time() {
    let theirs = RoundTrips::default();
    let mut ours = connect(swarm(Behaviour::new(INTERVAL, theirs.clone()))).await;
    assert_eq!(ours.failure(Duration::from_secs(3600)).await, None);
    assert!(ours.round_trips.of(&ours.peer).is_some());
    assert!(theirs.of(ours.swarm.local_peer_id()).is_some());
    assert_eq!(ours.round_trips.of(&PeerId::random()), None);
    ours.swarm.disconnect_peer_id(ours.peer).unwrap();
    while ours.round_trips.of(&ours.peer).is_some() {
        ours.swarm.select_next_some().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_given_up_at_the_first() {
    let mute = |_, stream| async move {
        let _stream: Stream = stream;
        std::future::pending().await
    };
    let (mut ours, streams) = answered(mute).await;
    ours.fails(Failure::Silent, PATIENCE).await;
    assert_eq!(streams.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_given_up_after_an_interval_and_the_patience() {
    let (mut ours, streams) = answered(|_, mut stream| async move {
        echo(&mut stream, 3).await;
        std::future::pending().await
    })
    .await;
    ours.fails(Failure::Silent, 3 * INTERVAL + PATIENCE).await;
    assert_eq!(streams.load(Ordering::Relaxed), 1, "all on one stream");
}

#[tokio::test(start_paused = true)]
async fn long_before_it_is_given_up_it_is_told_that_a_peer_is_late_and_silent() {
    let (mut ours, _) = answered(|n, mut stream| async move {
        if n == 0 {
            echo(&mut stream, 1).await;
            // Late, and then silent.
            tokio::time::sleep(INTERVAL + 3 * SILENT / 2).await;
            echo(&mut stream, 1).await;
        }
        std::future::pending().await
    })
    .await;
    let late = 2 * INTERVAL + 3 * SILENT / 2;
    ours.fails(Failure::Silent, late + PATIENCE).await;
    let peer = ours.peer;
    let told: Vec<_> = ours.told.iter().map(|(event, _)| *event).collect();
    let (late, silent, answers) = (Event::Late(peer), Event::Silent(peer), Event::Answers(peer));
    assert_eq!(told, [late, silent, answers, late, silent]);
    assert!(ours.told[1].1 < INTERVAL + SILENT + SOON, "{:?}", ours.told);
}

#[tokio::test(start_paused = true)]
async fn in_doubt_a_silent_peer_is_given_up_sooner() {
    let (mut ours, _) = answered(|_, mut stream| async move {
        echo(&mut stream, 1).await;
        std::future::pending().await
    })
    .await;
    let doubted = Duration::from_secs(3);
    assert_eq!(ours.failure(doubted).await, None);
    for _ in 0..3 {
        ours.swarm.behaviour_mut().check();
    }
    ours.fails(Failure::Silent, doubted + PATIENCE_IN_DOUBT).await;
}

#[tokio::test(start_paused = true)]
async fn a_check_does_a_living_connection_no_harm() {
    let mut ours = connect(swarm(Behaviour::new(INTERVAL, RoundTrips::default()))).await;
    for _ in 0..100 {
        ours.swarm.behaviour_mut().check();
        assert_eq!(ours.failure(SOON).await, None);
    }
}

/// As JavaScript's does after a while, and Go's after some silence.
#[tokio::test(start_paused = true)]
async fn a_peer_that_ends_streams_after_a_while_is_kept() {
    for lives in [Duration::ZERO, INTERVAL / 2, INTERVAL, INTERVAL * 5 / 2] {
        let (mut ours, streams) = answered(move |_, mut stream| async move {
            let until = Instant::now() + lives;
            let _ = tokio::time::timeout_at(until + SOON, echo(&mut stream, usize::MAX)).await;
        })
        .await;
        assert_eq!(ours.failure(20 * INTERVAL).await, None, "{lives:?}");
        assert!(ours.round_trips.of(&ours.peer).is_some(), "{lives:?}");
        let streams = streams.load(Ordering::Relaxed);
        assert!((6..=21).contains(&streams), "{lives:?}: {streams}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_resets_every_stream_is_kept_and_asked_no_more_often() {
    let (mut ours, streams) = answered(|_, stream| async move { drop(stream) }).await;
    assert_eq!(ours.failure(10 * INTERVAL - SOON).await, None);
    assert_eq!(ours.round_trips.of(&ours.peer), None);
    let streams = streams.load(Ordering::Relaxed);
    assert!((10..=20).contains(&streams), "{streams}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_speak_ping_is_kept() {
    let mut ours = connect(swarm(libp2p_stream::Behaviour::new())).await;
    assert_eq!(ours.failure(20 * INTERVAL).await, None);
    assert_eq!(ours.round_trips.of(&ours.peer), None);
    ours.swarm.behaviour_mut().check();
    assert_eq!(ours.failure(20 * INTERVAL).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_answer_ends_the_connection() {
    let (mut ours, _) = answered(|_, mut stream| async move {
        echo(&mut stream, 1).await;
        // Before the question has come: no peer can look nearer than it is.
        stream.write_all(&[7; 32]).await.unwrap();
        stream.flush().await.unwrap();
        std::future::pending().await
    })
    .await;
    ours.fails(Failure::Wrong, INTERVAL).await;
}

#[tokio::test(start_paused = true)]
async fn pings_of_others_are_answered_on_two_streams() {
    let behaviour = libp2p_stream::Behaviour::new();
    let mut control = behaviour.new_control();
    let mut ours = connect(swarm(behaviour)).await;
    let id = *ours.swarm.local_peer_id();
    tokio::spawn(async move { ours.failure(Duration::from_secs(1 << 30)).await });

    let mut streams = Vec::new();
    for n in 0..5u8 {
        let mut stream = control.open_stream(id, PING).await.unwrap();
        for again in 0..20 {
            // In pieces, as they may come.
            let bytes: [u8; 32] = std::array::from_fn(|at| at as u8 ^ n ^ again);
            for part in bytes.chunks(5) {
                stream.write_all(part).await.unwrap();
                stream.flush().await.unwrap();
            }
            let mut back = [0; 32];
            stream.read_exact(&mut back).await.unwrap();
            assert_eq!(back, bytes);
        }
        streams.push(stream);
    }
    // The older ones have made room.
    for (n, stream) in streams.iter_mut().enumerate() {
        let asked = async {
            stream.write_all(&[1; 32]).await?;
            stream.flush().await?;
            stream.read_exact(&mut [0; 32]).await
        };
        assert_eq!(asked.await.is_ok(), n >= 3, "stream {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_pings_holds_up_nobody() {
    let behaviour = libp2p_stream::Behaviour::new();
    let mut control = behaviour.new_control();
    let mut ours = connect(swarm(behaviour)).await;
    let id = *ours.swarm.local_peer_id();
    tokio::spawn(async move { ours.failure(Duration::from_secs(1 << 30)).await });

    // Answers that nobody takes are not heaped up: the writer has to wait.
    let mut flood = control.open_stream(id, PING).await.unwrap();
    let flooding = tokio::spawn(async move {
        let mut sent = 0usize;
        loop {
            let more = flood.write_all(&[0; 4096]);
            if tokio::time::timeout(Duration::from_secs(60), more).await.is_err() {
                return (sent, flood);
            }
            sent += 4096;
        }
    });
    let (sent, _flood) = flooding.await.unwrap();
    println!("{sent} bytes were taken");
    assert!(sent < 4 << 20);
    let mut other = control.open_stream(id, PING).await.unwrap();
    other.write_all(&[9; 32]).await.unwrap();
    other.flush().await.unwrap();
    let mut back = [0; 32];
    other.read_exact(&mut back).await.unwrap();
    assert_eq!(back, [9; 32]);
}
