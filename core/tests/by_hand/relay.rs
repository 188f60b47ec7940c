//! A relay that tells what it likes of its limits, and does what it likes.

use super::{
    Peer, listens,
    message::{self, Hop, Limit, Reservation, Stop, read, send},
    peer,
};
use casm::{Multiaddr, PeerId};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    Stream, StreamProtocol, Swarm,
    relay::{HOP_PROTOCOL_NAME, STOP_PROTOCOL_NAME},
};
use libp2p_stream::Control;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

const RESERVE: i32 = 0;
const CONNECT: i32 = 1;
const STATUS: i32 = 2;
const OK: i32 = 100;
const REFUSED: i32 = 203;

/// What a relay does with what it is to relay, having said that it will.
#[derive(Clone, Copy, Debug)]
pub enum Does {
    /// All of it.
    Relays,
    /// It ends after so many bytes, both ways together.
    EndsAfter(u64),
    /// It ends after this time.
    Ends(Duration),
    /// Nothing passes after so many bytes.
    Stalls(u64),
    /// It says at once that it will not.
    Refuses,
}

/// A relay's conduct.
#[derive(Clone, Copy, Debug)]
pub struct Conduct {
    /// What it says that it gives: bytes and seconds; if nothing, without a limit.
    pub says: Option<(u64, u32)>,
    pub does: Does,
    /// How long it takes to connect two.
    pub takes: Duration,
}

impl Conduct {
    /// One that says what ours says.
    pub fn of(does: Does) -> Self {
        Self { says: Some((256 << 20, 3600)), does, takes: Duration::ZERO }
    }

    fn limit(self) -> Option<Limit> {
        let (bytes, seconds) = self.says?;
        Some(Limit { seconds: Some(seconds), bytes: Some(bytes) })
    }
}

/// The relay, until this is dropped.
pub struct Relay {
    /// Where it is, with its id.
    pub at: Multiaddr,
    pub id: PeerId,
    /// How often it was asked to connect two.
    pub asked: Arc<AtomicU64>,
    /// Opens streams to those who are connected to it.
    pub control: Control,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    pub async fn start(conduct: Conduct) -> Self {
        Self::listen("/ip4/127.0.0.1/tcp/0", conduct).await
    }

    pub async fn listen(listen: &str, conduct: Conduct) -> Self {
        let mut swarm = peer(listen);
        let control = swarm.behaviour().streams.new_control();
        let asks = control.clone().accept(HOP_PROTOCOL_NAME).unwrap();
        let at = listens(&mut swarm).await;
        let id = *swarm.local_peer_id();
        let at = at.with_p2p(id).unwrap();
        let asked = Arc::<AtomicU64>::default();
        let hop = Hops { conduct, at: at.clone(), control: control.clone(), asked: asked.clone() };
        let task = tokio::spawn(run(swarm, asks, hop));
        Self { at, id, asked, control, task }
    }

    /// How often it was asked to connect two.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn run(mut swarm: Swarm<Peer>, mut asks: libp2p_stream::IncomingStreams, hops: Hops) {
    // They end with the relay.
    let mut under_way = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            _ = swarm.select_next_some() => {}
            Some((peer, stream)) = asks.next() => {
                let hops = hops.clone();
                under_way.spawn(async move {
                    // Who asked may have gone.
                    let _ = hops.answer(peer, stream).await;
                });
            }
            Some(_) = under_way.join_next() => {}
        }
    }
}

#[derive(Clone)]
struct Hops {
    conduct: Conduct,
    at: Multiaddr,
    control: Control,
    asked: Arc<AtomicU64>,
}

impl Hops {
    async fn answer(mut self, peer: PeerId, mut stream: Stream) -> io::Result<()> {
        let asks: Hop = read(&mut stream).await?;
        let limit = self.conduct.limit();
        let mut answer = Hop { kind: STATUS, status: Some(OK), limit, ..Hop::default() };
        if asks.kind == RESERVE {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let expire = now.as_secs() + 3600;
            answer.reservation = Some(Reservation { expire, addrs: vec![self.at.to_vec()] });
            send(&mut stream, &answer).await?;
            return stream.close().await;
        }
        assert_eq!(asks.kind, CONNECT);
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.conduct.takes).await;
        if matches!(self.conduct.does, Does::Refuses) {
            (answer.status, answer.limit) = (Some(REFUSED), None);
            send(&mut stream, &answer).await?;
            return stream.close().await;
        }
        let to = PeerId::from_bytes(&asks.peer.unwrap().id).unwrap();
        let (mut there, accepted) = stop(&mut self.control, to, peer, limit).await?;
        if !accepted {
            answer.status = Some(REFUSED);
        }
        send(&mut stream, &answer).await?;
        if accepted {
            pass(self.conduct.does, &mut stream, &mut there).await?;
        }
        Ok(())
    }
}

/// Asks a peer to take what comes from another. Whether it does.
pub async fn stop(
    control: &mut Control,
    to: PeerId,
    from: PeerId,
    limit: Option<Limit>,
) -> io::Result<(Stream, bool)> {
    let protocol: StreamProtocol = STOP_PROTOCOL_NAME;
    let mut there = control.open_stream(to, protocol).await.map_err(io::Error::other)?;
    let from = Some(message::Peer { id: from.to_bytes() });
    send(&mut there, &Stop { kind: 0, peer: from, limit, status: None }).await?;
    let answer: Stop = read(&mut there).await?;
    Ok((there, answer.status == Some(OK)))
}

/// Passes on what the two say until it ends. Then both streams are dropped, and reset.
async fn pass(does: Does, one: &mut Stream, other: &mut Stream) -> io::Result<()> {
    let end = async {
        match does {
            Does::Ends(after) => tokio::time::sleep(after).await,
            _ => std::future::pending().await,
        }
    };
    let (one, other) = (one.split(), other.split());
    let passed = AtomicU64::new(0);
    let there = copy(does, one.0, other.1, &passed);
    let back = copy(does, other.0, one.1, &passed);
    tokio::select! {
        both = async { futures::try_join!(there, back) } => both.map(drop),
        () = end => Ok(()),
    }
}

async fn copy(
    does: Does,
    mut from: impl futures::AsyncRead + Unpin,
    mut to: impl futures::AsyncWrite + Unpin,
    passed: &AtomicU64,
) -> io::Result<()> {
    let mut chunk = [0; 4096];
    loop {
        let n = from.read(&mut chunk).await?;
        if n == 0 {
            return to.close().await;
        }
        let passed = passed.fetch_add(n as u64, Ordering::Relaxed) + n as u64;
        match does {
            Does::EndsAfter(most) if passed > most => return Err(io::ErrorKind::Other.into()),
            Does::Stalls(most) if passed > most => std::future::pending().await,
            _ => {}
        }
        to.write_all(&chunk[..n]).await?;
        to.flush().await?;
    }
}
