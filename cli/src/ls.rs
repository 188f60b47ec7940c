//! `casm ls`: who is there, once.

use crate::{
    args::LsArgs, failure::Failure, interrupt::Interrupt, json::Line, output::Output, run::leave,
    telemetry,
};
use casm::{Node, Record};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;
use tokio::time::sleep;

/// Joins as an observer, looks for a while, and prints the view.
pub async fn ls(args: &LsArgs) -> Result<(), Failure> {
    let output = Output::new(args.output.json);
    let query = args.query.query()?;
    let mut interrupt = Interrupt::listen()?;
    let node = Node::start(args.node.observer()?).await?;
    if let Some(addr) = args.node.metrics {
        telemetry::serve(&node, addr).await?;
    }
    tokio::select! {
        () = sleep(args.wait) => (),
        () = show_progress(&node, output.is_terminal()) => (),
        () = interrupt.wait() => (),
    }
    let view = node.view();
    let records: Vec<Record> = view.iter(query).collect();
    leave(&node).await;
    output.line(&Line::view(&records))?;
    if view.is_empty() && !output.is_json() {
        eprintln!(
            "casm: nobody was seen in {}: is a node running in the namespace `{}`? Wait longer \
             with --wait, name a peer with --boot, or see `casm doctor`",
            humantime::format_duration(args.wait),
            args.node.namespace
        );
    }
    Ok(())
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
