//! Sends a file over a stream, and goes on where it stopped when the connection
//! breaks.
//!
//! `cargo run -p casm-p2p --example file_transfer [MEBIBYTES]`
//!
//! Starts two nodes in this process, on this machine alone. One has a file, the
//! other fetches it; half-way, the connection is closed on purpose.
//!
//! The protocol: the receiver says from which byte on it wants the file, in eight
//! bytes, big-endian. The sender says in eight more how long the file is, and sends
//! the rest of it. So the receiver knows an end from a break.

use casm::{ByteStream, Error, ErrorKind, Node, PeerId, Result};
use futures::io::{AllowStdIo, AsyncReadExt, AsyncWriteExt};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};

const PROTOCOL: &str = "/example/file/1";

/// Answers one request.
async fn send(mut stream: ByteStream, path: &Path) -> io::Result<()> {
    let from = read_number(&mut stream).await?;
    let mut file = File::open(path)?;
    stream.write_all(&file.metadata()?.len().to_be_bytes()).await?;
    file.seek(SeekFrom::Start(from))?;
    // A local disk holds nobody up.
    futures::io::copy(AllowStdIo::new(file), &mut stream).await?;
    stream.close().await
}

async fn read_number(stream: &mut ByteStream) -> io::Result<u64> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes).await?;
    Ok(u64::from_be_bytes(bytes))
}

/// Fetches what is missing of a file, and says how long it is now, and whether that
/// is all.
async fn fetch(node: &Node, from: PeerId, path: &Path, pause_at: u64) -> Result<(u64, bool)> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let mut have = file.metadata()?.len();
    let mut stream = node.open_stream(from, PROTOCOL).await?;
    stream.write_all(&have.to_be_bytes()).await?;
    let all = read_number(&mut stream).await?;
    let mut piece = vec![0; 64 << 10];
    while have < all {
        match stream.read(&mut piece).await {
            // It ends early: the connection broke.
            Ok(0) | Err(_) => break,
            Ok(n) => {
                file.write_all(&piece[..n])?;
                have += n as u64;
            }
        }
        if (pause_at..all).contains(&have) {
            // As when a cable is pulled.
            node.disconnect(from).await;
        }
    }
    Ok((have, have >= all))
}

/// The other's id, once it is in the view.
async fn other(node: &Node) -> Result<PeerId> {
    let view = node.wait_for(2).await?;
    let other = view.iter(casm::Query::all()).find(|record| record.peer() != node.id());
    other.map(|record| record.peer()).ok_or_else(|| Error::new(ErrorKind::NotFound, "nobody"))
}

#[tokio::main]
async fn main() -> Result<()> {
    let mebibytes: u64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(8);
    let folder = std::env::temp_dir().join(format!("casm-file-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let (original, copy) = (folder.join("original"), folder.join("copy"));
    let bytes: Vec<u8> = (0..mebibytes << 20).map(|i| (i * 31 % 251) as u8).collect();
    fs::write(&original, &bytes)?;

    let builder =
        || Node::builder().namespace("files").listen("/ip4/127.0.0.1/tcp/0").boot(["none"]);
    let (sender, receiver) = (builder().start().await?, builder().start().await?);
    sender.on_stream(PROTOCOL, move |stream, peer| {
        let path = original.clone();
        async move {
            if let Err(error) = send(stream, &path).await {
                println!("{peer} did not get it all: {error}");
            }
        }
    })?;
    receiver.connect(sender.info()).await?;
    let from = other(&receiver).await?;

    let mut pause_at = bytes.len() as u64 / 2;
    loop {
        match fetch(&receiver, from, &copy, pause_at).await {
            Ok((have, true)) => break println!("all {have} bytes are there"),
            Ok((have, false)) => println!("the connection broke after {have} bytes"),
            Err(error) => {
                println!("not now: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        pause_at = u64::MAX;
    }
    let same = fs::read(&copy)? == bytes;
    println!("{}", if same { "and they are the same" } else { "but they are not the same" });
    fs::remove_dir_all(&folder)?;
    receiver.close().await?;
    sender.close().await
}
