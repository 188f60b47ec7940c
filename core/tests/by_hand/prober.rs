//! A peer that is asked whether a node can be reached, and shows what it was given by
//! another way than a dial.

use super::{
    Peer, listens,
    message::{Nonce, Tried, Try, read, send},
    peer,
};
use casm::{Multiaddr, PeerId};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    Stream, StreamProtocol, Swarm,
    swarm::dial_opts::{DialOpts, PeerCondition},
};
use libp2p_stream::Control;
use std::io;
use tokio::sync::{mpsc, oneshot};

const ASK: StreamProtocol = StreamProtocol::new("/libp2p/autonat/2/dial-request");
const SHOW: StreamProtocol = StreamProtocol::new("/libp2p/autonat/2/dial-back");

/// It, until this is dropped.
pub struct Prober {
    /// Where it is, with its id.
    pub at: Multiaddr,
    pub id: PeerId,
    dials: mpsc::Sender<(PeerId, Multiaddr)>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What came of showing it.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    /// The node took it.
    Taken,
    /// The node closed the stream without a word.
    Refused,
}

impl Prober {
    /// `shown` is told what came of the first nonce.
    pub async fn start(shown: oneshot::Sender<Shown>) -> Self {
        let mut swarm = peer("/ip4/127.0.0.1/tcp/0");
        let control = swarm.behaviour().streams.new_control();
        let asks = control.clone().accept(ASK).unwrap();
        let at = listens(&mut swarm).await;
        let id = *swarm.local_peer_id();
        let (dials, told) = mpsc::channel(1);
        let task = tokio::spawn(run(swarm, asks, told, control, shown));
        Self { at: at.with_p2p(id).unwrap(), id, dials, task }
    }

    /// Connects to a node, whom nobody has asked for that.
    pub async fn dials(&self, peer: PeerId, addr: Multiaddr) {
        self.dials.send((peer, addr)).await.unwrap();
    }
}

async fn run(
    mut swarm: Swarm<Peer>,
    mut asks: libp2p_stream::IncomingStreams,
    mut dials: mpsc::Receiver<(PeerId, Multiaddr)>,
    control: Control,
    shown: oneshot::Sender<Shown>,
) {
    let mut shown = Some(shown);
    let mut under_way = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            _ = swarm.select_next_some() => {}
            Some((peer, addr)) = dials.recv() => {
                let options = DialOpts::peer_id(peer).addresses(vec![addr]);
                swarm.dial(options.condition(PeerCondition::Always).build()).unwrap();
            }
            Some((peer, stream)) = asks.next() => {
                if let Some(shown) = shown.take() {
                    let control = control.clone();
                    under_way.spawn(async move {
                        let result = lie(peer, stream, control).await.unwrap();
                        shown.send(result).unwrap();
                    });
                }
            }
            Some(done) = under_way.join_next() => done.unwrap(),
        }
    }
}

/// Shows the nonce by a connection that was there before, and says that it has dialled.
async fn lie(peer: PeerId, mut stream: Stream, mut control: Control) -> io::Result<Shown> {
    let asked: Try = read(&mut stream).await?;
    let nonce = asked.request.unwrap().nonce;
    // Of its connections with the node that take this, any.
    let mut shows = loop {
        match control.open_stream(peer, SHOW).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    send(&mut shows, &Nonce { nonce }).await?;
    let mut answer = Vec::new();
    // (A stream that is reset ends so too.)
    let _ = shows.read_to_end(&mut answer).await;
    let response = Some(Tried { status: 200, addr: 0, dialled: 200 });
    send(&mut stream, &Try { response, ..Try::default() }).await?;
    stream.close().await?;
    Ok(if answer.is_empty() { Shown::Refused } else { Shown::Taken })
}
