//! `casm pipe`: standard input and output over a stream. What comes from stdin is
//! sent, and its end as the end; what comes from the peer goes to stdout.

use crate::{
    args::{AcceptArgs, NodeArgs, OpenArgs, PipeCommand},
    failure::Failure,
    interrupt::Interrupt,
    output,
    run::leave,
};
use casm::{ByteStream, Config, Error, ErrorKind, Event, Node, PeerId, Query, Result, Target};
use std::{
    io::{self, IsTerminal, Read, Write},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};

/// The pause between attempts: the other end may start at the same time.
const PAUSE: Duration = Duration::from_millis(200);
/// How long what was sent last may take to arrive. QUIC forgets it when the
/// connection is closed.
const ARRIVE: Duration = Duration::from_secs(1);
/// Bytes that are read at a time.
const PIECE: usize = 64 << 10;

/// Connects stdin and stdout with a stream, until it is over.
pub async fn pipe(command: &PipeCommand) -> Result<(), Failure> {
    match command {
        PipeCommand::Open(args) => {
            let with = async |node: &Node| open(node, args).await;
            run(&args.node, args.node.observer()?, with).await
        }
        PipeCommand::Accept(args) => {
            let with = async |node: &Node| accept(node, args).await;
            run(&args.node, args.node.config()?, with).await
        }
    }
}

async fn run(
    args: &NodeArgs,
    config: Config,
    stream: impl AsyncFnOnce(&Node) -> Result<ByteStream>,
) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen().await?;
    let interrupted = || Err(Error::new(ErrorKind::Cancelled, "interrupted").into());
    let node = tokio::select! {
        node = Node::start(config) => node?,
        () = interrupt.wait() => return interrupted(),
    };
    let result = async {
        args.attend(&node).await?;
        tokio::select! {
            result = async { connect(&node, stream(&node).await?).await } => result,
            () = interrupt.wait() => interrupted(),
        }
    }
    .await;
    leave(&node).await;
    result
}

/// Opens a stream to the peer that is asked for, or to the first that takes it.
async fn open(node: &Node, args: &OpenArgs) -> Result<ByteStream> {
    let until = Instant::now() + args.wait;
    let mut failed = None;
    loop {
        let targets = match &args.peer {
            Some(peer) => vec![peer.clone()],
            None => node.view().iter(Query::all()).map(Target::from).collect(),
        };
        for target in targets {
            match timeout_at(until, node.open_stream(target, &args.protocol)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) if is_final(error.kind()) => return Err(error),
                Ok(Err(error)) => failed = Some(error),
                Err(_) => {}
            }
        }
        if timeout_at(until, sleep(PAUSE)).await.is_err() {
            break;
        }
    }
    let waited = humantime::format_duration(args.wait);
    Err(failed.unwrap_or_else(|| {
        let message = format!(
            "nobody was seen in {waited} that could take {}: is a node running in the namespace \
             `{}`? Wait longer with --wait, or name a peer with --peer",
            args.protocol, args.node.namespace
        );
        Error::new(ErrorKind::NotFound, message)
    }))
}

/// Whether it is pointless to try again.
fn is_final(kind: ErrorKind) -> bool {
    !matches!(
        kind,
        ErrorKind::NotFound
            | ErrorKind::Unreachable
            | ErrorKind::Protocol
            | ErrorKind::Timeout
            | ErrorKind::Busy
    )
}

/// Takes the first stream that a peer opens.
async fn accept(node: &Node, args: &AcceptArgs) -> Result<ByteStream> {
    let mut incoming = node.accept_streams(&args.protocol)?;
    let addr = node.addrs().first().map(|addr| format!(" --peer {addr}")).unwrap_or_default();
    output::remark(&format!("waiting for `casm pipe open {}{addr}`", args.protocol));
    incoming.next().await.ok_or_else(|| Error::closed("node"))
}

/// Copies both ways until both are over; what is typed by hand need not end.
async fn connect(node: &Node, stream: ByteStream) -> Result<(), Failure> {
    let peer = stream.peer();
    tracing::info!(%peer, protocol = stream.protocol(), "a stream is open");
    let mut events = node.events();
    let (mut from, mut to) = tokio::io::split(stream);
    let typed = io::stdin().is_terminal();
    let sends = async {
        let mut pieces = stdin();
        while let Some(piece) = pieces.recv().await {
            let piece = piece.map_err(|error| cannot("read stdin", error))?;
            to.write_all(&piece).await.map_err(|error| broken(peer, error))?;
        }
        to.shutdown().await.map_err(|error| broken(peer, error))
    };
    let receives = async {
        let mut piece = vec![0; PIECE];
        loop {
            let n = from.read(&mut piece).await.map_err(|error| broken(peer, error))?;
            if n == 0 {
                return Ok::<_, Failure>(());
            }
            piece = write(piece, n).await?;
        }
    };
    let (mut sends, mut receives) = (std::pin::pin!(sends), std::pin::pin!(receives));
    tokio::select! {
        sent = &mut sends => {
            sent?;
            receives.await?;
        }
        received = &mut receives => {
            received?;
            if !typed {
                sends.await?;
            }
        }
    }
    let gone = async {
        while let Some(event) = events.next().await {
            if event == (Event::Disconnected { peer }) {
                break;
            }
        }
    };
    // The other end may be waiting as well.
    let _ = tokio::time::timeout(ARRIVE, gone).await;
    Ok(())
}

/// What comes from stdin, read by a thread of its own: the runtime would wait for a
/// read that it started.
fn stdin() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, pieces) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut piece = vec![0; PIECE];
            let read = match stdin.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => {
                    piece.truncate(n);
                    Ok(piece)
                }
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            if sender.blocking_send(read).is_err() || failed {
                break;
            }
        }
    });
    pieces
}

/// Writes the first bytes of a piece to stdout, and gives it back.
async fn write(piece: Vec<u8>, n: usize) -> Result<Vec<u8>, Failure> {
    let write = move || {
        let mut stdout = io::stdout().lock();
        stdout.write_all(&piece[..n])?;
        stdout.flush()?;
        Ok(piece)
    };
    let written = tokio::task::spawn_blocking(write).await.map_err(io::Error::other);
    written.flatten().map_err(Failure::output)
}

fn cannot(what: &str, error: io::Error) -> Failure {
    Error::new(ErrorKind::Io, format!("cannot {what}: {error}")).with_source(error).into()
}

fn broken(peer: PeerId, error: io::Error) -> Failure {
    let message = format!("the stream to {peer} broke: {error}");
    Error::new(ErrorKind::Unreachable, message).with_source(error).into()
}
