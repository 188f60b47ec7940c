//! `casm ls`: who is there, once.

use crate::{
    args::LsArgs,
    failure::Failure,
    interrupt::Interrupt,
    json::Line,
    output::{self, Output},
    run::leave,
};
use casm::{Error, ErrorKind, Multiaddr, Node, Query, Record, Result, boot::BootAddr};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Prints the view that this program comes to as an observer, or that of one
/// member.
pub async fn ls(args: &LsArgs) -> Result<(), Failure> {
    let output = Output::new(args.output.json);
    let query = args.query.query()?;
    let mut config = args.node.observer()?;
    if args.peer.is_some() {
        // One peer is asked, and no other is to be found.
        config.boot = vec![BootAddr::None];
    }
    let mut interrupt = Interrupt::listen().await?;
    let node = tokio::select! {
        node = Node::start(config) => node?,
        () = interrupt.wait() => return Err(interrupted().into()),
    };
    args.node.attend(&node).await?;
    let look = async {
        match &args.peer {
            Some(peer) => ask(&node, peer, query, args.wait).await,
            None => Ok(look(&node, query, args.wait, output).await),
        }
    };
    let records = tokio::select! {
        records = look => records,
        () = interrupt.wait() => Err(interrupted()),
    };
    let alone = args.peer.is_none() && node.view().is_empty();
    leave(&node).await;
    output.line(&Line::view(&records?))?;
    if alone && !output.is_json() {
        output::remark(&format!(
            "nobody was seen in {}: is a node running in the namespace `{}`? Wait longer with \
             --wait, name a peer with --boot, or see `casm doctor`",
            humantime::format_duration(args.wait),
            args.node.namespace
        ));
    }
    Ok(())
}

fn interrupted() -> Error {
    Error::new(ErrorKind::Cancelled, "interrupted")
}

/// Looks for peers for a while. What of the view is asked for then.
async fn look(node: &Node, query: Query, wait: Duration, output: Output) -> Vec<Record> {
    tokio::select! {
        () = sleep(wait) => (),
        () = show_progress(node, output.is_terminal()) => (),
    }
    node.view().iter(query).collect()
}

/// Asks one member for what of its view is asked for.
async fn ask(node: &Node, peer: &Multiaddr, query: Query, wait: Duration) -> Result<Vec<Record>> {
    let ask = async {
        let mut found = node.view_of(peer).await?.iter(query);
        let mut records = Vec::new();
        while let Some(record) = found.next().await {
            records.push(record?);
        }
        Ok(records)
    };
    let wait = timeout(wait, ask).await;
    wait.unwrap_or_else(|_| {
        let message = format!("{peer} did not answer in time; wait longer with --wait");
        Err(Error::new(ErrorKind::Timeout, message))
    })
}

/// Counts the peers on a terminal. Never ends.
async fn show_progress(node: &Node, terminal: bool) {
    if !terminal {
        return std::future::pending().await;
    }
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a valid template"));
    loop {
        bar.set_message(format!("looking for peers: {} so far", node.view().len()));
        bar.tick();
        sleep(Duration::from_millis(100)).await;
    }
}
