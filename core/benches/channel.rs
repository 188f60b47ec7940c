//! Values through channels: of one node from task to task, `select` over eight of them,
//! and from one node to another over TCP on the loopback interface, one after the other
//! and with many receives under way. `cargo xtask bench channel`. Prints one JSON line.

use anyhow::Result;
use casm::{Channel, ChannelOptions, Config, Node, Target, boot::BootAddr, select};
use clap::Parser;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

#[derive(Parser)]
struct Args {
    /// How long each figure is measured.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// Calls that are under way at once.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..))]
    window: u16,
    /// One JSON object on stdout; there is no other form.
    #[arg(long = "json")]
    _json: bool,
    /// What `cargo bench` says to every benchmark.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

const CAPACITY: usize = 4096;

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let seconds = Duration::from_secs_f64(args.seconds);
    let (here, there) = (start().await?, start().await?);
    there.connect(&here.info()).await?;
    let options = ChannelOptions::new().capacity(CAPACITY);
    let channel = |name: &str| here.channel(name, options);

    let own = channel("local")?;
    let filling = fill(&own, &args, 1);
    let local = rate(seconds, 1, {
        let own = own.clone();
        move || {
            let own = own.clone();
            async move { own.recv().await.map(drop) }
        }
    });
    let local = local.await?;
    drop(filling);

    let eight = (0..8).map(|n| channel(&format!("select-{n}"))).collect::<Result<Vec<_>, _>>()?;
    let filling: Vec<_> = eight.iter().map(|one| fill(one, &args, 1)).collect();
    let selected = rate(seconds, 1, move || {
        let branches: Vec<_> = eight.iter().map(Channel::receiving).collect();
        async move { select(branches, None).await.map(drop) }
    });
    let selected = selected.await?;
    drop(filling);

    let own = channel("remote")?;
    let remote = there.open_channel("remote", Target::from(here.id())).await?;
    let filling = fill(&own, &args, 1);
    let receive = {
        let remote = remote.clone();
        move || {
            let remote = remote.clone();
            async move { remote.recv().await.map(drop) }
        }
    };
    let alone = rate(seconds, 1, receive.clone()).await?;
    let received = rate(seconds, args.window, receive).await?;
    let taken = rate(seconds, args.window, move || {
        let remote = remote.clone();
        async move { remote.take().await?.done().await }
    });
    let taken = taken.await?;
    drop(filling);

    let own = channel("sent")?;
    let remote = there.open_channel("sent", Target::from(here.id())).await?;
    let emptying = tokio::spawn(async move { while own.recv().await.is_ok() {} });
    let value = vec![7_u8; args.bytes];
    let sent = rate(seconds, args.window, move || {
        let (remote, value) = (remote.clone(), value.clone());
        async move { remote.send(value).await }
    });
    let sent = sent.await?;
    emptying.abort();

    let line = serde_json::json!({
        "bench": "channel", "impl": "casm", "bytes": args.bytes, "window": args.window,
        "local_values_per_s": local.round(),
        "select_8_values_per_s": selected.round(),
        "remote_recv_alone_per_s": alone.round(),
        "remote_recv_per_s": received.round(),
        "remote_take_per_s": taken.round(),
        "remote_send_per_s": sent.round(),
    });
    println!("{line}");
    there.close().await?;
    here.close().await?;
    Ok(())
}

async fn start() -> Result<Node> {
    let mut config = Config::default();
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    config.boot = vec![BootAddr::None];
    config.pex = None;
    Ok(Node::start(config).await?)
}

/// Keeps values coming, until what it gives is dropped.
fn fill(channel: &Channel, args: &Args, senders: usize) -> JoinSet<()> {
    let mut all = JoinSet::new();
    for _ in 0..senders {
        let (channel, value) = (channel.clone(), vec![7_u8; args.bytes]);
        all.spawn(async move { while channel.send(value.clone()).await.is_ok() {} });
    }
    all
}

/// How often something is done in a second, by so many at once.
async fn rate<F: Future<Output = casm::Result<()>> + Send + 'static>(
    time: Duration,
    at_once: u16,
    what: impl Fn() -> F + Clone + Send + 'static,
) -> Result<f64> {
    // Warm before it counts.
    let (begin, mut all) = (Instant::now() + time / 10, JoinSet::<casm::Result<u64>>::new());
    let end = begin + time;
    for _ in 0..at_once {
        let what = what.clone();
        all.spawn(async move {
            let mut count = 0_u64;
            loop {
                what().await?;
                let now = Instant::now();
                if now >= end {
                    return Ok(count);
                }
                count += u64::from(now >= begin);
            }
        });
    }
    let mut count = 0_u64;
    while let Some(done) = all.join_next().await {
        count += done??;
    }
    Ok(count as f64 / time.as_secs_f64())
}
