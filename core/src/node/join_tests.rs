use super::{super::pace::KEPT, *};
use crate::{
    Error, ErrorKind, Keypair, PeerInfo, Power,
    boot::{BootConfig, Discovery},
    event::EventBus,
    metrics::Metrics,
    scope::Scope,
};
use futures::{FutureExt, future::BoxFuture, stream};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::watch;

/// What a node of the usual profile wants.
const WANTED: usize = Power::Normal.profile().wanted;
const HOUR: Duration = Duration::from_secs(3600);

/// A network of which the node hears what `answers` says, in each search.
#[derive(Default)]
struct Network {
    answers: RefCell<Vec<PeerId>>,
    live: RefCell<BTreeSet<PeerId>>,
    connected: RefCell<BTreeSet<PeerId>>,
    known: RefCell<BTreeSet<PeerId>>,
    dialled: RefCell<Vec<PeerId>>,
    searches: RefCell<Vec<Instant>>,
    taken: watch::Sender<u64>,
}

impl Network {
    fn lose(&self, events: &EventBus) {
        let peer = self.connected.borrow_mut().pop_first().unwrap();
        events.emit(Event::Disconnected { peer });
    }

    /// Runs the node until it has so many connections. How long that took.
    async fn run_until(&self, events: &EventBus, connected: usize) -> Duration {
        let begun = Instant::now();
        let there = async {
            while self.connected.borrow().len() < connected {
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = join(self, events.subscribe()) => panic!("it ended"),
            () = there => {}
            () = sleep(HOUR) => panic!("{} connections", self.connected.borrow().len()),
        }
        begun.elapsed()
    }
}

impl Around for Network {
    fn standing(&self) -> Standing {
        let view = 1 + self.known.borrow().len();
        let profile = Power::Normal.profile();
        Standing { connected: self.connected.borrow().len(), view, profile }
    }

    fn is_connected(&self, peer: &PeerId) -> bool {
        self.connected.borrow().contains(peer)
    }

    fn knows(&self, peer: &PeerId) -> bool {
        self.known.borrow().contains(peer)
    }

    fn find(&self, time: Duration) -> Finding {
        self.searches.borrow_mut().push(Instant::now());
        let found =
            self.answers.borrow().clone().into_iter().map(|id| {
                Ok(Found { source: "test".into(), peer: PeerInfo { id, addrs: vec![] } })
            });
        stream::iter(found).chain(stream::pending()).take_until(sleep(time)).boxed()
    }

    fn taken(&self) -> watch::Receiver<u64> {
        self.taken.subscribe()
    }

    /// Those that don't live never answer.
    async fn connect(&self, Found { peer, .. }: &Found) -> Result<()> {
        self.dialled.borrow_mut().push(peer.id);
        if !self.live.borrow().contains(&peer.id) {
            std::future::pending::<()>().await;
        }
        sleep(Duration::from_millis(20)).await;
        self.connected.borrow_mut().insert(peer.id);
        self.known.borrow_mut().insert(peer.id);
        Ok(())
    }

    async fn disconnect(&self, peer: PeerId) {
        self.connected.borrow_mut().remove(&peer);
    }
}

/// A network in which a discovery of the boot service finds the peers, each time
/// with other ones of their addresses.
struct Discovered {
    network: Network,
    boot: Boot,
}

struct InTurn {
    peers: Vec<PeerId>,
    searches: AtomicU64,
}

impl Discovery for InTurn {
    fn find_peers(&self, _: &Namespace, _: FindOptions) -> Finding {
        let nth = self.searches.fetch_add(1, Ordering::Relaxed);
        let addr = |net| format!("/ip4/10.0.{net}.1/tcp/4001").parse().unwrap();
        let addrs = match nth % 2 {
            1 => vec![addr(2), addr(1)],
            _ if nth < 10 => vec![addr(1), addr(2)],
            _ => vec![addr(2)],
        };
        let found =
            move |id| Found { source: "test".into(), peer: PeerInfo { id, addrs: addrs.clone() } };
        let found: Vec<_> = self.peers.iter().copied().map(found).map(Ok).collect();
        stream::iter(found).chain(stream::pending()).boxed()
    }

    fn advertise(&self, _: &Namespace, _: Duration) -> BoxFuture<'static, Result<()>> {
        std::future::ready(Ok(())).boxed()
    }
}

impl Around for Discovered {
    fn standing(&self) -> Standing {
        self.network.standing()
    }

    fn is_connected(&self, peer: &PeerId) -> bool {
        self.network.is_connected(peer)
    }

    fn knows(&self, peer: &PeerId) -> bool {
        self.network.knows(peer)
    }

    fn find(&self, time: Duration) -> Finding {
        self.boot.find_peers(&Namespace::default(), FindOptions::default().timeout(time))
    }

    fn connect(&self, found: &Found) -> impl Future<Output = Result<()>> {
        self.network.connect(found)
    }

    async fn disconnect(&self, peer: PeerId) {
        self.network.disconnect(peer).await;
    }

    fn taken(&self) -> watch::Receiver<u64> {
        self.network.taken()
    }
}

fn peers(n: usize) -> BTreeSet<PeerId> {
    (0..n).map(|_| PeerId::random()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_is_tried_a_few_times() {
    for (fails, reached) in [(0, true), (1, true), (3, true), (4, false), (100, false)] {
        let tried = Cell::new(0);
        let result = retry(async || {
            tried.set(tried.get() + 1);
            if tried.get() > fails {
                return Ok(());
            }
            Err(Error::new(ErrorKind::Unreachable, "not yet"))
        });
        assert_eq!(result.await.is_ok(), reached, "{fails}");
        assert_eq!(tried.get(), fails.min(RETRIES.len()) + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn answers_for_peers_that_are_gone_do_not_end_a_search() {
    let (network, live) = (Network::default(), peers(WANTED));
    *network.answers.borrow_mut() = peers(2 * TRIES).into_iter().chain(live.clone()).collect();
    *network.live.borrow_mut() = live;
    let took = network.run_until(&EventBus::default(), WANTED).await;
    assert!(took < Goal::Peers.time(&Power::Normal.profile()), "{took:?}");
    assert_eq!(network.searches.borrow().len(), 1, "in the first search");
}

#[tokio::test(start_paused = true)]
async fn a_search_that_many_answer_makes_no_more_connections_than_are_wanted() {
    let (network, live) = (Network::default(), peers(1000));
    *network.answers.borrow_mut() = live.iter().copied().collect();
    *network.live.borrow_mut() = live;
    network.run_until(&EventBus::default(), WANTED).await;
    assert_eq!(network.dialled.borrow().len(), WANTED);
}

#[tokio::test(start_paused = true)]
async fn a_content_node_finds_another_cluster_and_leaves_its_own_members_alone() {
    let network = Network::default();
    let own = peers(20);
    *network.known.borrow_mut() = own.clone();
    *network.live.borrow_mut() = own.clone();
    *network.answers.borrow_mut() = own.iter().copied().collect();
    *network.connected.borrow_mut() = own.into_iter().take(WANTED).collect();
    let events = EventBus::default();
    tokio::select! {
        () = join(&network, events.subscribe()) => panic!("it ended"),
        () = sleep(HOUR) => {}
    }
    assert!(network.dialled.borrow().is_empty());
    let searches = network.searches.borrow().len();
    assert!((18..40).contains(&searches), "{searches} in an hour, with a view of 21");

    let others = peers(5);
    network.live.borrow_mut().extend(&others);
    network.answers.borrow_mut().extend(&others);
    network.run_until(&events, WANTED + 1).await;
    assert!(network.dialled.borrow().iter().all(|peer| others.contains(peer)));
    assert!(network.dialled.borrow().len() <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_content_notices_that_it_is_no_longer() {
    let network = Network::default();
    let live = peers(10_000);
    *network.known.borrow_mut() = live.clone();
    *network.live.borrow_mut() = live.clone();
    *network.answers.borrow_mut() = live.iter().copied().take(100).collect();
    *network.connected.borrow_mut() = live.into_iter().take(WANTED).collect();
    let events = EventBus::default();
    let decays = async {
        // The first search of a start is over.
        sleep(Duration::from_secs(60)).await;
        assert_eq!(network.searches.borrow().len(), 1, "a large view is searched rarely");
        for _ in 1..WANTED {
            network.lose(&events);
            sleep(Duration::from_millis(10)).await;
        }
        let lost = Instant::now();
        while network.connected.borrow().len() < WANTED {
            sleep(Duration::from_millis(100)).await;
        }
        lost.elapsed()
    };
    tokio::select! {
        () = join(&network, events.subscribe()) => panic!("it ended"),
        took = decays => assert!(took < Duration::from_secs(20), "{took:?}"),
    }
    // Without the last one: at once.
    let begun = network.searches.borrow().len();
    let all_lost = async {
        sleep(Duration::from_secs(60)).await;
        let before = network.searches.borrow().len();
        while !network.connected.borrow().is_empty() {
            network.lose(&events);
        }
        sleep(Duration::from_millis(100)).await;
        network.searches.borrow().len() - before
    };
    tokio::select! {
        () = join(&network, events.subscribe()) => panic!("it ended"),
        searches = all_lost => assert_eq!(searches, 1, "after {begun} before"),
    }
}

#[tokio::test(start_paused = true)]
async fn peers_that_slow_searches_find_again_are_told_of_once() {
    let (network, live) = (Network::default(), peers(WANTED + 5));
    *network.live.borrow_mut() = live.clone();
    let (events, scope) = (EventBus::default(), Scope::default());
    let (_addrs, none) = watch::channel(Arc::from([]));
    let boot = BootConfig { boot: vec![], ..BootConfig::default() };
    let (key, view) = (Keypair::generate_ed25519(), Arc::new(|| 1));
    let boot =
        Boot::start(boot, key, none, view, Metrics::default(), scope.clone(), events.clone());
    let boot = boot.unwrap();
    let searches =
        Arc::new(InTurn { peers: live.iter().copied().collect(), searches: AtomicU64::new(0) });
    boot.add(searches.clone());
    let mut told = events.subscribe();
    let discovered = Discovered { network, boot };
    let mut found = Vec::new();
    let listen = async {
        while let Some(event) = told.next().await {
            if let Event::PeersFound { peer, .. } = event {
                found.push(peer.id);
            }
        }
    };
    tokio::select! {
        () = join(&discovered, events.subscribe()) => panic!("it ended"),
        () = listen => panic!("it ended"),
        () = sleep(24 * HOUR) => {}
    }
    let searches = searches.searches.load(Ordering::Relaxed);
    assert!(searches > 300, "{searches} searches in a day");
    assert_eq!(found.len(), live.len());
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), live);
    discovered.boot.close().await;
}

#[tokio::test(start_paused = true)]
async fn strangers_without_end_are_not_connected_without_end() {
    let network = Network::default();
    *network.connected.borrow_mut() = peers(WANTED);
    // New ones in each search.
    let live = peers(1000);
    *network.live.borrow_mut() = live.clone();
    *network.answers.borrow_mut() = live.into_iter().collect();
    let events = EventBus::default();
    tokio::select! {
        () = join(&network, events.subscribe()) => panic!("it ended"),
        () = sleep(24 * HOUR) => {}
    }
    let dialled = network.dialled.borrow().len();
    assert!(dialled > 2 * KEPT, "{dialled}");
    assert!(network.connected.borrow().len() <= WANTED + KEPT + 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_alone_looks_at_once_for_who_is_taken_again() {
    let network = Network::default();
    let events = EventBus::default();
    let undenied = async {
        // Searches have become rare.
        sleep(HOUR).await;
        let live = peers(1);
        *network.live.borrow_mut() = live.clone();
        *network.answers.borrow_mut() = live.into_iter().collect();
        network.taken.send_modify(|turn| *turn += 1);
        sleep(Duration::from_millis(100)).await;
        network.connected.borrow().len()
    };
    tokio::select! {
        () = join(&network, events.subscribe()) => panic!("it ended"),
        connected = undenied => assert_eq!(connected, 1),
    }
}
