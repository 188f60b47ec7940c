//! Proves that CASM works with other people's stacks: peers on go-libp2p,
//! rust-libp2p, js-libp2p and py-libp2p against the program `casm`, in network namespaces.

mod abuse;
mod build;
mod channels;
mod flood;
mod forgery;
mod gossip;
mod migration;
mod mixed;
mod names;
mod nat;
pub mod net;
mod offences;
mod pairs;
mod peer;
mod private;
mod protocols;
mod report;
mod siege;
mod silence;
mod stack;
mod streams;
mod topics;
mod vectors;

use crate::shell;
use anyhow::{Result, ensure};
use report::Report;
use stack::Stack;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Args {
    /// The quick part: Rust and Go only, and a small network.
    #[arg(long)]
    subset: bool,
    /// Only the checks whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// A program `casm` that is built already.
    #[arg(long)]
    casm: Option<PathBuf>,
    /// Write the table to docs/interop.md.
    #[arg(long, conflicts_with_all = ["only", "subset"])]
    write: bool,
}

pub fn run(args: &Args) -> Result<()> {
    ensure!(
        cfg!(target_os = "linux") && shell::works("sh", &["-c", "[ \"$(id -u)\" = 0 ]"]),
        "network namespaces need root on Linux"
    );
    let programs = build::build(args.casm.as_deref(), !args.subset)?;
    let mut report = Report::new(args.only.clone(), programs.scratch.clone());
    vectors::check(&mut report, &programs, !args.subset);
    protocols::check(&mut report, &programs);
    private::check(&mut report, &programs, !args.subset);
    channels::check(&mut report, &programs);
    migration::check(&mut report, &programs);
    gossip::check(&mut report, &programs, !args.subset);
    streams::check(&mut report, &programs, !args.subset);
    topics::check(&mut report, &programs, !args.subset);
    nat::check(&mut report, &programs, !args.subset);
    flood::check(&mut report, &programs, !args.subset);
    let stacks = if args.subset { &Stack::ALL[..2] } else { &Stack::ALL[..] };
    pairs::check(&mut report, &programs, stacks);
    let networks: &[_] =
        if args.subset { &[mixed::FOUR] } else { &[mixed::EIGHT, mixed::PACED, mixed::TWELVE] };
    for plan in networks {
        mixed::check(&mut report, &programs, *plan);
    }
    abuse::check(&mut report, &programs);
    offences::check(&mut report, &programs);

    let table = report.markdown();
    println!("{table}");
    if args.write {
        let text = format!("{HEAD}{table}{NOTES}");
        std::fs::write(shell::workspace().join("docs/interop.md"), text)?;
    }
    ensure!(report.len() > 0, "no check is named so");
    let failures = report.failures();
    ensure!(
        failures.is_empty(),
        "{} checks of {} fail:\n{}",
        failures.len(),
        report.len(),
        failures.join("\n")
    );
    Ok(())
}

/// What stands above the table in docs/interop.md.
const HEAD: &str = "\
# Interoperability

What `cargo xtask interop --write` found: the program `casm` against peers that were written from \
the wire format alone on go-libp2p 0.51 (`interop/go`), js-libp2p 3.3 (`interop/js`) and py-libp2p \
0.8 (`interop/py`), and against rust-libp2p 0.57's gossipsub (`interop/rust`), since CASM has a \
gossip engine of its own. Each peer runs on a host of its own, a network namespace on a bridge. \
The Go peer has all of CASM's protocols; JavaScript and Python have heartbeats, topics and \
streams, rust-libp2p heartbeats and topics. Times are those of one run on a small machine, and no \
promise.
";

/// What stands below it.
const NOTES: &str = "
## libp2p's own test plans

[libp2p/test-plans](https://github.com/libp2p/test-plans) has two that fit. Neither runs here as \
it is; what they look at is looked at above.

**transport-interop** dials and listens with each transport, muxer and security of each version of \
each implementation, pings, and takes the time. Its runner wants a Docker daemon, a Redis server \
and an image of every implementation that is built from what the network has. Above, the rows of \
*Transports …, by pairs* and *Muxers* do the same for what a CASM node has, in both directions and \
on hosts of their own, and go on to what follows a connection: identify, ping, gossipsub, a \
goodbye.

| of its dimensions | here |
|---|---|
| `tcp` × `yamux` × `noise`, `tls` | each with go, js, py |
| `quic-v1` | with go; js has none (see above) |
| `mplex` | not in rust-libp2p 0.57 nor go-libp2p 0.51: it is deprecated. That a peer which offers it first is answered with yamux is checked with go |
| `ws`, `wss`, `webtransport`, `webrtc`, `webrtc-direct` | not in a CASM node, nor in Go's |
| handshake and round trip in ms | not taken: on one small machine they say nothing |

**gossipsub-interop** runs networks of hundreds of go-libp2p and rust-libp2p nodes in the Shadow \
simulator, and compares how reliably, how fast and with how many duplicates messages arrive. Its \
nodes are programs of its own that follow scripts: they would test rust-libp2p, which does that \
itself, and not a CASM node; Shadow has to be built from its sources. Above, *Mixed networks* and \
*One gossipsub mesh* show that what each says reaches all, in networks of several stacks, and \
*Gossipsub message ids* that messages pass by IHAVE and IWANT alone. Scenarios of hundreds of \
nodes are for our simulator (docs/simulator.md), which has one stack.

## Gossipsub

In the ring of *One gossipsub mesh* nobody reaches more than its two neighbours, so that a message \
passes through every stack. *Two thousand message ids* are heartbeats of as many peers, evenly \
over three seconds, as a cluster of some thousand nodes has: by IHAVE and IWANT alone they are \
offered hundreds at a time, and sent hundreds at a time. A Go node throws away what comes while 32 \
messages wait to be checked. So it is sent no more than 24 in a frame, and offered again what it \
has asked for, twice at the most. On a machine that has no time for it that is not enough (eight \
of these checks at once, on two cores: all of the 2,000 came in 10 of 24, and in 2 of 24 while it \
was offered again once and only where little else was), so the Go peer of these rows has room for \
more. Between Rust nodes, exchanges of whole tables bring many records first (the row says how \
many each of them); that gossip alone brings all is a test of the host.

## Relays and NATs

Hosts have public addresses, or are behind routers, which let in only what comes from where the \
host has sent to. Where something is to stay relayed, they also give it another port to each \
(symmetric), so that no punch works. But for *go is reached by rust and go*, the relay is in no \
cluster with those that it relays for: what they hear of each other comes over the relayed \
connection, or the punched one. *Limits* are those that a Go relay states: large are 64 MiB and \
1 h, default 128 KiB and 2 min. With any, go-libp2p takes the connection for a limited one, and \
opens hardly anything on it by itself; so Go gossips over a relay that states none, and over ours, \
which always states some, it is called. js-libp2p is told to gossip over limited connections; it \
can't punch, since Node.js gives a connection no port that a program listens at.

## Abuse

Each kind must show in the counters that its row names, with at least the number that the check \
asks for. Over one kind the node's peak memory may grow by 32 MiB, and never be above 160 MiB; in \
every view that it writes meanwhile (one a second) the honest peer's record must stand as it was, \
and the honest peer must not lose the node. *server-claim* breaks no rule but that of the rate of \
one source: what is below it shows as accepted.

What goes on for a while is done to a node of its own, by many peers on one address, and an honest \
peer on another must get what its row says while it is at its height. *connections* connect, and \
connect again when they are turned away: one who starts then must join at the node, and the node \
must dial one that only the newcomer knows. *identities* are four times as many as a small table \
holds, each asks to be kept for a day, and all send another heartbeat a minute later: a member \
must stay in every view, one who comes to the full table must get in and stay when all come again, \
and one more must get in after that. *sync-slow* asks for a table of 1,024 long records and reads \
it at a byte a second: a newcomer must have that table, which nothing but an exchange can give it. \
*rpc-iter* holds streams with an iteration whose handler never answers, *rpc-partial* with most of \
a message of 1 MiB: the view must be told in each encoding. Memory may grow by 64 MiB over \
*connections*, by 48 over *sync-slow*, by 32 over *identities* and *rpc-iter*, and by 96 over \
*rpc-partial*, since RPC may hold 64.

*boot-answers* answer each survey of a group at once with its nonce, from eight addresses and as \
another peer from each, which is as many as silence who heeds them; and without end what nobody \
asked. A search must find each of eight honest members, of whom some were silenced each time, and \
one who joins must see them all.

*view-forged* serves a view of peers that don't exist over RPC, and `casm ls --peer` asks for it. \
A proof with a changed bit, one cut short, one that another peer, another cluster, an earlier \
number or another content belongs to: each ends the query that meets it with an error that names \
both peers, and nothing of it is shown. A record with no proof, or with a good one of an hour ago, \
is shown as not verified. Records with good proofs are had by every query that does not ask for \
the forged ones.

Each of the offences against gossipsub (*cut off*) is done to a node of its own, ten times a \
second, until the node closes the connection, which it must do after so many as the sum of what is \
held against the peer comes to; memory may grow by 16 MiB. Who forges messages must not be taken \
back, nor another from its address. *forged* gives the node, before and after each message of an \
honest peer, others under the id that this message has: it must reach the node, and another one \
behind it.

Some of what hostile peers do is shown elsewhere, because it takes long, or many:

| what | shown by |
|---|---|
| groups that formed apart, and whose nodes have connections enough, find each other (a search that never ends) | `groups_that_formed_apart_merge_without_peer_exchange` in core/tests/boot_group.rs, in network namespaces; its pace by `a_node_searches_for_ever_and_rarer_the_larger_its_view` |
| many ids in one network don't fill the views of peer exchange | `casm-sim pex --hostile 0.5 --hostile-networks 1`: 14.6 % of honest views, against 55 % by ids alone (docs/simulator.md, *Networks*) |
| 2,000 identities that hold connections, 700 nodes through one seed | `casm-sim connections` (docs/simulator.md, *Full nodes*) |
| identities that send for ten minutes and more | `casm-sim flood` (docs/simulator.md, *A flood of identities*) |
| false answers in a group of thousands | `casm-sim survey --hostile N` (docs/simulator.md, *Discovery*) |
";
