//! Plain streams of a protocol of the program's own, with peers on each stack:
//! opened by either side, with bytes both ways, and each end closed by itself.

use super::{
    build::Programs,
    net::{Lan, address},
    peer::PATIENCE,
    report::Report,
    stack::{Stack, Start},
};
use crate::shell;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const SECTION: &str = "Streams";
const NS: &str = "streams";
/// More than a window.
const BYTES: usize = 1 << 20;
/// What the peers send back as it came.
const ECHO: &str = "/interop/echo/1";

pub fn check(report: &mut Report, programs: &Programs, with_scripts: bool) {
    let stacks = if with_scripts { &[Stack::Go, Stack::Js, Stack::Py][..] } else { &[Stack::Go] };
    for &stack in stacks {
        report.check(SECTION, format!("rust opens one to {stack}"), || opens(programs, stack));
        report.check(SECTION, format!("{stack} opens one to rust"), || accepts(programs, stack));
    }
}

/// `casm pipe` on a host, with its standard streams in our hands.
fn pipe(programs: &Programs, lan: &Lan, host: usize, args: &[&str]) -> Result<Child> {
    let mut command: Command = lan.host(host).command(&programs.casm.to_string_lossy());
    command.args(["pipe"]).args(args).args(["--ns", NS, "--boot", "none"]);
    command.args(["--listen", &format!("/ip4/{}/tcp/0", address(host))]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command.spawn()?)
}

/// Sends this, and gives what comes back once both ends are closed.
fn ends(mut child: Child, sends: Vec<u8>) -> Result<Vec<u8>> {
    let (mut stdin, mut stdout) =
        (child.stdin.take().context("no stdin")?, child.stdout.take().context("no stdout")?);
    let sender = std::thread::spawn(move || stdin.write_all(&sends));
    let receiver = std::thread::spawn(move || {
        let mut received = Vec::new();
        stdout.read_to_end(&mut received).map(|_| received)
    });
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    // Who was killed reads no more.
    let _ = sender.join();
    let received = receiver.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    ensure!(status.success(), "casm pipe ends with {status} after {} bytes", received.len());
    Ok(received)
}

fn opens(programs: &Programs, stack: Stack) -> Result<String> {
    let lan = Lan::new(2)?;
    let peer = Start::new(stack, 0, NS).start(programs, &lan)?;
    let addr = peer.addrs.iter().find(|addr| addr.contains("/tcp/")).context("no address")?;
    let child = pipe(programs, &lan, 1, &["open", ECHO, "--peer", addr])?;
    let sent: Vec<u8> = (0..BYTES).map(|i| (i % 251) as u8).collect();
    let back = ends(child, sent.clone())?;
    ensure!(back == sent, "{} bytes of {BYTES} come back, or others", back.len());
    Ok(format!("{BYTES} bytes there and back"))
}

fn accepts(programs: &Programs, stack: Stack) -> Result<String> {
    let lan = Lan::new(2)?;
    let mut peer = Start::new(stack, 0, NS).start(programs, &lan)?;
    let protocol = "/of/ours/1";
    let mut child = pipe(programs, &lan, 1, &["accept", protocol])?;
    let stderr = child.stderr.take().context("no stderr")?;
    let line = BufReader::new(stderr).lines().next().context("it says nothing")??;
    let (_, addr) = line.trim_end_matches('`').rsplit_once("--peer ").context(line.clone())?;
    let command = json!({"cmd": "stream", "addr": addr, "protocol": protocol, "bytes": BYTES});
    let command = peer.begin(command)?;
    let answer: Vec<u8> = (0..BYTES).map(|i| (i % 241) as u8).collect();
    let received = ends(child, answer.clone())?;
    let reply = peer.reply(&command)?;
    ensure!(received == vec![b's'; BYTES], "rust gets {} bytes of {BYTES}", received.len());
    let sum = sha256(programs, &answer)?;
    let got = [&reply["bytes"], &reply["sha256"]];
    ensure!(got == [&json!(BYTES), &json!(sum)], "{stack} gets {reply}");
    Ok(format!("{BYTES} bytes each way"))
}

fn sha256(programs: &Programs, bytes: &[u8]) -> Result<String> {
    let file = programs.scratch.join("streams.bin");
    std::fs::write(&file, bytes)?;
    let said = shell::output(Command::new("sha256sum").arg(&file))?;
    Ok(said.split(' ').next().unwrap_or_default().to_owned())
}
