//! A member: it serves, and calls whoever serves, and says what becomes of each
//! call.

use crate::{ledger::ON_PURPOSE, netns::say};
use casm::{
    ByteStream, Node, PeerId, Query, Result, Target, Topic,
    service::{Answer, CallOptions, Parts, Reply, Request},
};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{HashSet, VecDeque},
    io::BufRead,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{error::Elapsed, timeout};

const PROTOCOL: &str = "/soak/1";
/// Who makes calls at the same time, in each member.
const CALLERS: usize = 4;
/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// When a call that has a deadline, or a close, is taken to have no end.
const NEVER: Duration = Duration::from_secs(30);
/// In how many of a hundred requests the connection that it came on is cut.
const CUTS: u32 = 5;
/// The parts of an answer in parts.
const PARTS: u8 = 20;

struct Member {
    name: String,
    node: Node,
    /// What is left to chance, but for what chance the callers have.
    rng: Mutex<ChaCha8Rng>,
    loaded: AtomicBool,
    calls: AtomicU64,
}

/// The messages that were delivered last, by their sources and numbers.
#[derive(Default)]
struct Last {
    order: VecDeque<(PeerId, u64)>,
    all: HashSet<(PeerId, u64)>,
}

impl Last {
    /// How many: those of more than a minute.
    const MOST: usize = 8192;

    fn is_new(&mut self, number: (PeerId, u64)) -> bool {
        if self.order.len() == Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        self.order.push_back(number);
        self.all.insert(number)
    }
}

/// `member NAME SEED ADDR…`: says `addr ADDR`, and connects to those. A line on
/// its standard input has it `load` the others with calls; `rest`, and say
/// `rested` when all have ended; say how many it `sees`; or `leave`.
pub async fn run(args: &[String]) {
    let node = Node::builder()
        .namespace("soak")
        .listen("/ip4/127.0.0.1/tcp/0")
        .listen("/ip4/127.0.0.1/udp/0/quic-v1")
        .boot(["none"])
        .pex_tick(Duration::from_secs(2))
        .ttl(Duration::from_secs(3))
        .start()
        .await
        .unwrap();
    let seed = args[1].parse().unwrap();
    let member = Arc::new(Member {
        name: args[0].clone(),
        node,
        rng: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
        loaded: AtomicBool::new(false),
        calls: AtomicU64::new(0),
    });
    serve(&member);
    let topic = member.node.topic("news").unwrap();
    let mut messages = topic.subscribe();
    tokio::spawn(async move {
        let mut last = Last::default();
        while let Some(message) = messages.next().await {
            let number = (message.source(), message.seq());
            if !last.is_new(number) {
                say(format!("wrong message: {number:?} was delivered twice"));
            }
        }
    });
    for addr in &args[2..] {
        // It may be about to go, or be stopped.
        let target = addr.parse::<Target>().unwrap();
        let _ = timeout(DEADLINE, member.node.connect(target)).await;
    }
    say(format!("addr {}", member.node.addrs()[0]));
    obey(&member, &topic).await;
}

async fn obey(member: &Arc<Member>, topic: &Topic) {
    let (lines, mut told) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
            if lines.blocking_send(line).is_err() {
                break;
            }
        }
    });
    let mut callers = tokio::task::JoinSet::new();
    while let Some(line) = told.recv().await {
        match &*line {
            "load" => {
                member.loaded.store(true, Ordering::SeqCst);
                for _ in 0..CALLERS {
                    let rng = ChaCha8Rng::seed_from_u64(member.chance(u64::MIN, u64::MAX));
                    callers.spawn(load(member.clone(), rng));
                }
                callers.spawn(publish(member.clone(), topic.clone()));
            }
            "rest" => {
                member.loaded.store(false, Ordering::SeqCst);
                while let Some(ended) = callers.join_next().await {
                    ended.unwrap();
                }
                say("rested");
            }
            "sees" => say(format!("sees {}", member.node.view().len())),
            "leave" => {
                say("leaving: close");
                match timeout(NEVER, member.node.close()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => say(format!("wrong close: {error}")),
                    Err(_) => say("wrong close has no end"),
                }
                // What was called off is still to be said.
                member.loaded.store(false, Ordering::SeqCst);
                say(format!("leaving: calls of {}", callers.len()));
                while let Some(ended) = callers.join_next().await {
                    ended.unwrap();
                }
                say("left");
                return;
            }
            other => panic!("{other}?"),
        }
    }
}

impl Member {
    /// A number from `least`, below `below`.
    fn chance<T>(&self, least: T, below: T) -> T
    where
        T: rand::distr::uniform::SampleUniform + PartialOrd,
    {
        self.rng.lock().unwrap().random_range(least..below)
    }

    /// Whether the connection is to be cut, and after how long.
    fn cuts(&self, other: PeerId) -> Option<Duration> {
        let cut = other != self.node.id() && self.chance(0, 100) < CUTS;
        cut.then(|| Duration::from_millis(self.chance(0, 20)))
    }

    /// Takes note of a request that is worked on now, and at times cuts the
    /// connection meanwhile.
    fn begin(self: &Arc<Self>, request: &Request) {
        let id = &request.headers()["id"];
        say(format!("began {id}"));
        if let Some(after) = self.cuts(request.peer()) {
            let (member, peer) = (self.clone(), request.peer());
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                member.node.disconnect(peer).await;
            });
        }
    }
}

fn serve(member: &Arc<Member>) {
    let serving = member.clone();
    let work = move |request: Request| work(serving.clone(), request);
    member.node.serve("work", work).unwrap();
    let serving = member.clone();
    let parts = move |request: Request, parts: Parts| {
        let member = serving.clone();
        async move {
            member.begin(&request);
            parts.send(member.name.clone()).await?;
            for n in 0..PARTS {
                parts.send(vec![n; 1000]).await?;
            }
            Ok::<_, casm::Error>(())
        }
    };
    member.node.serve_stream("parts", parts).unwrap();
    let serving = member.clone();
    let echo = move |stream: ByteStream, peer| echo(serving.clone(), stream, peer);
    member.node.on_stream(PROTOCOL, echo).unwrap();
}

async fn work(member: Arc<Member>, request: Request) -> std::result::Result<Reply, &'static str> {
    member.begin(&request);
    match member.chance(0, 50) {
        0 => return Err(ON_PURPOSE),
        // Until the caller has had enough of it.
        1 => std::future::pending().await,
        _ => tokio::time::sleep(Duration::from_millis(member.chance(0, 20))).await,
    }
    // As large as the request, so that what is kept of either shows.
    let mut data = member.name.clone().into_bytes();
    data.resize(data.len().max(request.data().len()), b' ');
    Ok(data.into())
}

/// Gives back what comes, and at times goes before all is there.
async fn echo(member: Arc<Member>, mut stream: ByteStream, peer: PeerId) {
    let mut left = match member.cuts(peer) {
        Some(_) => member.chance(0, 256 << 10),
        None => usize::MAX,
    };
    let mut piece = vec![0; 16 << 10];
    while left > 0 {
        match stream.read(&mut piece).await {
            Ok(0) => {
                let _ = stream.close().await;
                break;
            }
            Ok(n) if stream.write_all(&piece[..n]).await.is_ok() => left = left.saturating_sub(n),
            _ => break,
        }
    }
}

async fn publish(member: Arc<Member>, topic: Topic) {
    while member.loaded.load(Ordering::SeqCst) {
        match timeout(NEVER, topic.publish(member.name.clone())).await {
            Ok(Ok(_)) => {}
            // Closed.
            Ok(Err(_)) => break,
            Err(_) => say("wrong publish has no end"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Makes one call after the other.
async fn load(member: Arc<Member>, mut rng: ChaCha8Rng) {
    while member.loaded.load(Ordering::SeqCst) {
        let n = member.calls.fetch_add(1, Ordering::SeqCst);
        let id = format!("{}.{n}", member.name);
        match rng.random_range(0..10) {
            0 => stream(&member, &mut rng).await,
            1 => {
                say(format!("call {id} once"));
                ends(&id, timeout(NEVER, parts(&member, &id)).await);
            }
            _ => {
                let again = rng.random_range(0..4) == 0;
                let most = 1 << rng.random_range(1..20);
                let size = rng.random_range(0..most);
                say(format!("call {id} {}", if again { "again" } else { "once" }));
                let mut options = CallOptions::new().header("id", &id).timeout(DEADLINE);
                if again {
                    options = options.idempotent();
                }
                let call = member.node.call_with("work", vec![0; size], options);
                let reply = timeout(NEVER, call).await;
                let by = |answer: Answer| Ok(answer.text()?.trim_end().to_owned());
                ends(&id, reply.map(|reply| reply.and_then(by)));
            }
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..60))).await;
    }
}

fn ends(id: &str, result: std::result::Result<Result<String>, Elapsed>) {
    let Ok(result) = result else { return say(format!("wrong {id} has no end")) };
    match result {
        Ok(by) => say(format!("ok {id} {by}")),
        Err(error) => say(format!("failed {id} {} {}", error.kind(), error.message())),
    }
}

/// All parts, in their order, or why not; and who sent them.
async fn parts(member: &Member, id: &str) -> Result<String> {
    let options = CallOptions::new().header("id", id).timeout(DEADLINE);
    let mut parts = member.node.call_stream("parts", "", options)?;
    let by = parts.next().await.transpose()?.unwrap_or_default();
    let mut next = 0;
    while let Some(part) = parts.next().await {
        if part? != vec![next; 1000] {
            say(format!("wrong the part {next} of {id}"));
        }
        next += 1;
    }
    if next != PARTS {
        say(format!("wrong {id} ended well after {next} parts"));
    }
    Ok(String::from_utf8_lossy(&by).into_owned())
}

/// What goes over a stream comes back, until it breaks.
async fn stream(member: &Member, rng: &mut ChaCha8Rng) {
    let view = member.node.view();
    let others: Vec<_> = view.iter(Query::all()).map(|record| record.peer()).collect();
    let peer = others[rng.random_range(0..others.len())];
    if peer == member.node.id() {
        return;
    }
    let size = rng.random_range(0..256 << 10);
    let cut = (rng.random_range(0..100) < CUTS).then(|| rng.random_range(0..256 << 10));
    let exchange = async {
        let stream = member.node.open_stream(peer, PROTOCOL).await?;
        let (mut reader, mut writer) = stream.split();
        let write = async {
            for start in (0..size).step_by(16 << 10) {
                let piece: Vec<_> = (start..size.min(start + (16 << 10))).map(byte).collect();
                writer.write_all(&piece).await?;
            }
            writer.close().await
        };
        let read = async {
            let (mut at, mut piece) = (0, vec![0; 16 << 10]);
            loop {
                let n = reader.read(&mut piece).await?;
                if piece[..n].iter().zip(at..).any(|(read, at)| *read != byte(at)) {
                    say("wrong what came back over a stream");
                }
                at += n;
                if n == 0 || cut.is_some_and(|cut| at > cut) {
                    return Ok(());
                }
            }
        };
        futures::future::try_join(write, read).await?;
        Ok::<_, casm::Error>(())
    };
    // It may break in any way, but not stay for ever.
    let _ = timeout(DEADLINE, exchange).await;
}

fn byte(at: usize) -> u8 {
    (at % 251) as u8
}
