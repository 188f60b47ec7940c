//! `casm discover`: find peers, and look at how they are found. No node is
//! started: only its boot service.

use crate::{
    args::{DiscoverCommand, EmitArgs, FindArgs, PacketKind},
    failure::Failure,
    interrupt::Interrupt,
    json::{Line, PacketLine},
    output::{self, Output},
};
use casm::{
    Config, Error, Keypair, Multiaddr, Result,
    boot::{Boot, BootConfig, Datagram, Emit, FindOptions, Progress, Tap, Tapped, packet::Body},
};
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// The pause between two packets: receivers limit how many they take.
const PAUSE: Duration = Duration::from_millis(100);

/// Does what the subcommand asks for.
pub async fn discover(command: &DiscoverCommand) -> Result<(), Failure> {
    let (node, output) = match command {
        DiscoverCommand::Find(args) => (&args.node, args.output),
        DiscoverCommand::Listen(args) => (&args.node, args.output),
        DiscoverCommand::Emit(args) => (&args.node, args.output),
    };
    let config = node.config()?;
    let output = Output::new(output.json);
    let mut interrupt = Interrupt::listen().await?;
    let work = async {
        if matches!(command, DiscoverCommand::Emit(args) if args.kind == PacketKind::Response) {
            check_told(&config)?;
        }
        let boot = boot(config)?;
        // Who only listens has to do with no namespace else.
        boot.opens(&node.namespace);
        match command {
            DiscoverCommand::Find(args) => find(args, boot, output).await,
            DiscoverCommand::Listen(_) => show_packets(&mut boot.tap(), output).await,
            DiscoverCommand::Emit(args) => emit(args, boot, output).await,
        }
    };
    tokio::select! {
        result = work => result,
        failure = output.failure() => Err(failure),
        () = interrupt.wait() => Ok(()),
    }
}

/// Refuses a response that would tell no address, or one where nobody listens:
/// no node runs here whose ports would be known.
fn check_told(config: &Config) -> Result<()> {
    let listen = config.listen.iter().filter(|_| !config.announce_only);
    let vague = |addr: &&Multiaddr| {
        let text = format!("{addr}/");
        ["/ip4/0.0.0.0/", "/ip6/::/", "/tcp/0/", "/udp/0/"].iter().any(|part| text.contains(part))
    };
    let accepted = "write the address and the port at which the peer is to be reached, such as \
         --listen /ip4/10.0.0.1/tcp/4001";
    match listen.clone().find(vague) {
        Some(addr) => Err(Error::config("listen", addr.to_string(), accepted)),
        None if listen.clone().count() + config.announce.len() == 0 => {
            Err(Error::config("listen", "", accepted))
        }
        None => Ok(()),
    }
}

/// The boot service of a node that is configured so.
fn boot(config: Config) -> Result<Boot> {
    let key = config.key.unwrap_or_else(Keypair::generate_ed25519);
    let mut boot = BootConfig::default();
    boot.boot = config.boot;
    boot.serve = config.serve;
    boot.announce = config.announce;
    boot.secret = config.secret;
    boot.allow = config.allow;
    boot.deny = config.deny;
    let told = if config.announce_only { Vec::new() } else { config.listen };
    Boot::standalone(boot, key, watch::channel(told.into()).1)
}

async fn find(args: &FindArgs, boot: Boot, output: Output) -> Result<(), Failure> {
    let (told, mut progress) = watch::channel(Progress::default());
    let options = FindOptions::default().timeout(args.timeout).progress(told);
    let options = match args.limit {
        Some(limit) => options.limit(limit),
        None => options,
    };
    let mut found = boot.find_peers(&args.node.namespace, options);
    let bar = progress_bar(output.is_terminal());
    let mut count = 0;
    loop {
        tokio::select! {
            found = found.next() => match found {
                Some(Ok(found)) => {
                    count += 1;
                    let told = bar.suspend(|| {
                        let told = output.line(&Line::found(&found.source, &found.peer));
                        output.settle();
                        told
                    });
                    told?;
                }
                Some(Err(error)) => bar.suspend(|| tracing::warn!(%error, "a boot address does not work")),
                None => break,
            },
            Ok(()) = progress.changed() => show(&bar, &progress.borrow_and_update()),
        }
    }
    bar.finish_and_clear();
    boot.close().await;
    if count == 0 {
        output::remark(&format!(
            "no peer of the namespace `{}` was found: is a node running? Search elsewhere with \
             --boot, longer with --timeout, or see `casm doctor`",
            args.node.namespace
        ));
        return Err(Failure::Told);
    }
    Ok(())
}

fn progress_bar(terminal: bool) -> ProgressBar {
    if !terminal {
        return ProgressBar::hidden();
    }
    let style = "{bar:30} {pos}/{len} {msg}";
    ProgressBar::new(0).with_style(ProgressStyle::with_template(style).expect("a valid template"))
}

fn show(bar: &ProgressBar, progress: &Progress) {
    bar.set_length(progress.total);
    bar.set_position(progress.sent);
    bar.set_message(format!(
        "{} (round {}, {} answers)",
        progress.source, progress.round, progress.answers
    ));
}

async fn emit(args: &EmitArgs, boot: Boot, output: Output) -> Result<(), Failure> {
    let mut tap = boot.tap();
    let what = match args.kind {
        PacketKind::Request => Emit::Request,
        PacketKind::Survey => Emit::Survey { distance: args.distance },
        PacketKind::Response => Emit::Response,
    };
    for nth in 0..args.repeat {
        if nth > 0 {
            sleep(PAUSE).await;
        }
        let packets = boot.emit(&args.node.namespace, what).await?;
        output.line(&Line::Sent { kind: args.kind.name().into(), packets })?;
    }
    // What comes back waits in the tap.
    if let Ok(result) = timeout(args.wait, show_packets(&mut tap, output)).await {
        result?;
    }
    boot.close().await;
    Ok(())
}

/// Prints packets as they come.
async fn show_packets(tap: &mut Tap, output: Output) -> Result<(), Failure> {
    while let Some(tapped) = tap.next().await {
        output.line(&match tapped {
            Tapped::Datagram(datagram) => Line::Packet(line(&datagram)),
            Tapped::Dropped { count } => Line::Dropped { count },
            _ => continue,
        })?;
    }
    Ok(())
}

fn line(tapped: &Datagram) -> PacketLine {
    let mut line = PacketLine {
        kind: "invalid".into(),
        from: tapped.source.to_string(),
        bytes: tapped.len,
        verdict: tapped.verdict.into(),
        ..PacketLine::default()
    };
    if let Some(packet) = &tapped.packet {
        line.kind = packet.body.name().into();
        line.peer = Some(packet.peer.to_string());
        line.ns = Some(packet.namespace.to_string());
        line.nonce = (packet.nonce != 0).then(|| packet.nonce.to_string());
        match &packet.body {
            Body::Survey { distance } => line.distance = Some(*distance),
            Body::Response { addrs } => {
                line.addrs = addrs.iter().map(ToString::to_string).collect()
            }
            _ => (),
        }
    }
    line
}
