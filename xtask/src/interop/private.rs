//! Private networks: peers that hold one pre-shared key, in each form of its file
//! that their stack reads, and peers that don't.

use super::{
    build::Programs,
    net::Lan,
    peer::{PATIENCE, Peer},
    report::Report,
    stack::{Stack, Start, Transport},
};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::{fs, path::PathBuf, process::Command, time::Instant};

const SECTION: &str = "Private networks (`swarm.key`)";
const NS: &str = "interop/private";

/// A known key, in the encodings that its file may have.
const BASE16: &str = "6189c5cf0b87fb800c1a9feeda73c6ab5e998db48fb9e6a978575c770ceef683";
const BASE64: &str = "YYnFzwuH+4AMGp/u2nPGq16ZjbSPueapeFdcdwzu9oM=";

/// Checks all that hold keys, and that the others stay out.
pub fn check(report: &mut Report, programs: &Programs, with_scripts: bool) {
    for (stack, encodings, transports) in [
        (
            Stack::Go,
            &["base16", "base64", "bin"][..],
            &[Transport::TcpNoise, Transport::TcpTls][..],
        ),
        // It reads no other.
        (Stack::Js, &["base16"], &[Transport::TcpNoise, Transport::TcpTls]),
    ] {
        if stack == Stack::Js && !with_scripts {
            continue;
        }
        for encoding in encodings {
            for transport in transports {
                for (dialer, listener) in [(stack, Stack::Rust), (Stack::Rust, stack)] {
                    let name = format!("{dialer} dials {listener}: {encoding}, {transport}");
                    report.check(SECTION, name, || {
                        members(programs, dialer, listener, encoding, *transport)
                    });
                }
            }
        }
        for (what, stranger) in [("another key", Some("other")), ("no key", None)] {
            report.check(SECTION, format!("{stack} with {what} stays out"), || {
                out(programs, stack, stranger)
            });
        }
    }
}

/// The file of the key in an encoding, or one that `casm` has made.
pub(super) fn file(programs: &Programs, form: &str) -> Result<PathBuf> {
    let path = programs.scratch.join(format!("{form}.swarm.key"));
    if path.exists() {
        fs::remove_file(&path)?;
    }
    let bytes: Vec<u8> = (0..BASE16.len() / 2)
        .map(|i| u8::from_str_radix(&BASE16[2 * i..2 * i + 2], 16))
        .collect::<Result<_, _>>()?;
    let key = match form {
        "base16" => BASE16.as_bytes().to_vec(),
        "base64" => BASE64.as_bytes().to_vec(),
        "bin" => bytes,
        _ => {
            let mut casm = Command::new(&programs.casm);
            crate::shell::output(casm.args(["key", "secret"]).arg(&path))?;
            return Ok(path);
        }
    };
    let head = format!("/key/swarm/psk/1.0.0/\n/{form}/\n");
    fs::write(&path, [head.as_bytes(), &key].concat())?;
    Ok(path)
}

fn start<'a>(stack: Stack, host: usize, transport: Transport) -> Start<'a> {
    let start = Start::new(stack, host, NS).transport(Some(transport)).pex_tick("1h");
    if stack == Stack::Go { start.option("--degree=0") } else { start }
}

/// Rust holds the key in base16, the other in this encoding.
fn members(
    programs: &Programs,
    dialer: Stack,
    listener: Stack,
    encoding: &str,
    transport: Transport,
) -> Result<String> {
    let lan = Lan::new(2)?;
    let secret = |stack| file(programs, if stack == Stack::Rust { "base16" } else { encoding });
    let of =
        |stack, host| Ok::<_, anyhow::Error>(start(stack, host, transport).secret(secret(stack)?));
    let listener = of(listener, 0)?.start(programs, &lan)?;
    let addr = listener.addrs.first().context("no address")?.clone();
    let begin = Instant::now();
    let dialer = if dialer == Stack::Rust {
        of(dialer, 1)?.boot(addr).start(programs, &lan)?
    } else {
        let mut peer = of(dialer, 1)?.start(programs, &lan)?;
        peer.command(json!({"cmd": "connect", "addr": addr}))?;
        peer
    };
    dialer.sees(&listener, PATIENCE)?;
    listener.sees(&dialer, PATIENCE)?;
    Ok(format!("both seen after {:.1} s", begin.elapsed().as_secs_f32()))
}

/// A peer dials a Rust one that holds a key, and another Rust one that does is seen
/// meanwhile.
fn out(programs: &Programs, stack: Stack, secret: Option<&str>) -> Result<String> {
    let lan = Lan::new(3)?;
    let key = file(programs, "base16")?;
    let transport = Transport::TcpNoise;
    let member = start(Stack::Rust, 0, transport).secret(&key).start(programs, &lan)?;
    let addr = member.addrs.first().context("no address")?.clone();
    let stranger = start(stack, 1, transport);
    let mut stranger = match secret {
        Some(form) => stranger.secret(file(programs, form)?),
        None => stranger,
    }
    .start(programs, &lan)?;
    let dial = stranger.begin(json!({"cmd": "connect", "addr": addr}))?;
    ensure!(stranger.reply(&dial).is_err(), "{stack} is connected");
    let other = start(Stack::Rust, 2, transport).secret(&key).boot(addr).start(programs, &lan)?;
    other.sees(&member, PATIENCE)?;
    member.sees(&other, PATIENCE)?;
    let came =
        |peer: &Peer| peer.count(0, |e| e["event"] == "connected" && e["peer"] == stranger.id);
    ensure!(came(&member) + came(&other) == 0, "{stack} was let in");
    ensure!(stranger.view()?.iter().all(|id| *id == stranger.id), "{stack} sees somebody");
    Ok("refused".into())
}
