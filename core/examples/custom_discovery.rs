//! A discovery of one's own: nodes that share a folder, such as one on a network
//! drive, find each other by the files that they leave in it.
//!
//! `cargo run -p casm-p2p --example custom_discovery`
//!
//! Starts three nodes on this machine, which find each other and leave.

use casm::{
    Error, ErrorKind, Event, Events, Multiaddr, Namespace, Node, PeerInfo, Result,
    boot::{Discovery, FindOptions, Finding, Found},
    libp2p::multiaddr::Protocol,
};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use std::{
    collections::HashSet,
    fs,
    future::ready,
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::watch, task::spawn_blocking, time};

/// How often the folder is looked at during a search.
const PAUSE: Duration = Duration::from_millis(200);

/// The folder, and what one node writes there: its addresses, which end in
/// `/p2p/<id>`. They are not known before the node listens.
struct Folder {
    path: PathBuf,
    own: watch::Receiver<Vec<Multiaddr>>,
}

impl Folder {
    /// Takes the addresses from the events of the node.
    fn new(path: PathBuf, mut events: Events) -> Self {
        let (send, own) = watch::channel(vec![]);
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if let Event::Listening { addrs, .. } = event {
                    send.send_replace(addrs);
                }
            }
        });
        Self { path, own }
    }

    /// The files of a namespace lie in a folder of its own, whose name is one.
    fn of(&self, namespace: &Namespace) -> PathBuf {
        let name = namespace.as_str().replace('%', "%25").replace('/', "%2F");
        self.path.join(format!("ns-{name}"))
    }
}

impl Discovery for Folder {
    /// Looks at the folder again and again, since others come later.
    fn find_peers(&self, namespace: &Namespace, options: FindOptions) -> Finding {
        let folder = self.of(namespace);
        let looks = stream::unfold(time::interval(PAUSE), move |mut pause| {
            let folder = folder.clone();
            async move {
                pause.tick().await;
                // A slow drive must not hold up the node.
                let peers = spawn_blocking(move || read(&folder)).await;
                let peers = peers.unwrap_or_else(|panic| Err(io::Error::other(panic)));
                Some((peers, pause))
            }
        });
        let mut seen = HashSet::new();
        let found = looks
            .flat_map(|peers| match peers {
                Ok(peers) => stream::iter(peers).map(Ok).left_stream(),
                Err(error) => stream::iter([Err(failed("cannot be read", error))]).right_stream(),
            })
            .filter(move |peer| ready(peer.as_ref().map_or(true, |peer| seen.insert(peer.clone()))))
            .map(|peer| peer.map(|peer| Found::new("folder", peer)))
            .take(options.limit);
        match options.timeout {
            Some(timeout) => found.take_until(time::sleep(timeout)).boxed(),
            None => found.boxed(),
        }
    }

    /// The node calls it when it starts, and again long before `ttl` has passed.
    fn advertise(&self, namespace: &Namespace, ttl: Duration) -> BoxFuture<'static, Result<()>> {
        let (folder, mut own) = (self.of(namespace), self.own.clone());
        async move {
            let Ok(addrs) = own.wait_for(|addrs| !addrs.is_empty()).await.map(|own| own.clone())
            else {
                return Err(Error::new(ErrorKind::Closed, "the node has ended"));
            };
            let written = spawn_blocking(move || write(&folder, &addrs, ttl)).await;
            written
                .unwrap_or_else(|panic| Err(io::Error::other(panic)))
                .map_err(|error| failed("cannot be written", error))
        }
        .boxed()
    }
}

/// Writes when the file is out of date, and the addresses.
fn write(folder: &Path, addrs: &[Multiaddr], ttl: Duration) -> io::Result<()> {
    let Some(Protocol::P2p(id)) = addrs.first().and_then(|addr| addr.iter().last()) else {
        return Err(io::Error::other("an own address ends in /p2p/<id>"));
    };
    let until = now() + ttl.as_secs();
    let lines: Vec<_> = addrs.iter().map(ToString::to_string).collect();
    fs::create_dir_all(folder)?;
    // Renamed when it is whole: nobody reads half a file.
    let (new, file) = (folder.join(format!("{id}.new")), folder.join(format!("{id}.peer")));
    fs::write(&new, format!("{until}\n{}\n", lines.join("\n")))?;
    fs::rename(new, file)
}

/// The peers whose files are not out of date.
fn read(folder: &Path) -> io::Result<Vec<PeerInfo>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let mut peers = vec![];
    for path in entries.map(|entry| entry.map(|entry| entry.path())) {
        let path = path?;
        if path.extension().is_some_and(|end| end == "peer") {
            // What is gone by now, or is something else, is no peer.
            peers.extend(fs::read_to_string(path).ok().as_deref().and_then(peer));
        }
    }
    Ok(peers)
}

fn peer(text: &str) -> Option<PeerInfo> {
    let (until, addrs) = text.split_once('\n')?;
    if until.parse::<u64>().ok()? < now() {
        return None;
    }
    let mut addrs: Vec<Multiaddr> = addrs.lines().map(str::parse).collect::<Result<_, _>>().ok()?;
    let mut id = None;
    for addr in &mut addrs {
        let Some(Protocol::P2p(own)) = addr.pop() else { return None };
        id = Some(own);
    }
    Some(PeerInfo { id: id?, addrs })
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn failed(what: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("the folder {what}: {error}")).with_source(error)
}

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir().map_err(|error| failed("cannot be made", error))?;
    let mut nodes = vec![];
    for _ in 0..3 {
        // On this machine alone, and with no other way to find peers.
        let builder = Node::builder().listen("/ip4/127.0.0.1/tcp/0").boot(["none"]);
        let discovery = Folder::new(folder.path().into(), builder.events());
        nodes.push(builder.discovery(discovery).start().await?);
    }
    for node in &nodes {
        let view = node.wait_for(nodes.len()).await?;
        println!("{} sees {} nodes", node.id(), view.len());
    }
    for node in &nodes {
        node.close().await?;
    }
    Ok(())
}
