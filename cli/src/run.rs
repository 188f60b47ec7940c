//! `casm run`: one node, until interrupted.

use crate::{
    args::RunArgs,
    demo::greet,
    failure::Failure,
    interrupt::{self, Interrupt},
    json::Line,
    output::Output,
};
use casm::{Error, Events, Node, NodeBuilder, Query};
use std::{io::Read, pin::pin, time::Duration};
use tokio::{
    sync::oneshot,
    time::{MissedTickBehavior, interval, timeout},
};

/// How long requests that are worked on have to be answered.
const GRACE: Duration = Duration::from_secs(5);
/// How long a node may take to leave: those requests, and then the goodbye. Less than
/// the program may take to end.
const LEAVE: Duration = Duration::from_secs(9);

/// Runs a node until interrupted, which is a clean leave.
pub async fn run(args: &RunArgs) -> Result<(), Failure> {
    let output = Output::new(args.output.json);
    let config = args.node.config()?;
    let host = config.host.clone();
    let mut interrupt = Interrupt::listen().await?;
    let mut stdin = pin!(stdin_ends(args.until_stdin_ends));
    let builder = NodeBuilder::from(config);
    let events = builder.events();
    let node = tokio::select! {
        node = builder.start() => node?,
        () = interrupt.wait() => return Ok(()),
        () = &mut stdin => return Ok(()),
    };
    let result = async {
        args.node.attend(&node).await?;
        if args.greet {
            greet::serve(&node, host)?;
        }
        tokio::select! {
            result = report(&node, events, args.view, output) => result,
            result = greet::ask(&node, output), if args.greet => result,
            failure = output.failure() => Err(failure),
            () = interrupt.wait() => Ok(()),
            () = &mut stdin => Ok(()),
        }
    }
    .await;
    leave(&node).await;
    result
}

/// Closes a node, so that the others see it leave.
pub async fn leave(node: &Node) {
    match timeout(LEAVE, node.close_within(GRACE)).await {
        Ok(Ok(())) => (),
        Ok(Err(error)) => tracing::warn!(%error, "the node did not close cleanly"),
        Err(_) => tracing::warn!("the node took too long to close"),
    }
}

/// Prints what happens, and the view at its pace.
async fn report(
    node: &Node,
    mut events: Events,
    pace: Option<Duration>,
    output: Output,
) -> Result<(), Failure> {
    let mut ticks = interval(pace.unwrap_or(Duration::MAX));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            event = events.next() => {
                let event = event.ok_or_else(|| Error::closed("node"))?;
                if let Some(line) = Line::of(&event) {
                    output.line(&line)?;
                }
            }
            _ = ticks.tick(), if pace.is_some() => {
                output.line(&Line::view(&node.view().iter(Query::all()).collect::<Vec<_>>()))?;
            }
        }
    }
}

/// Ends when stdin does, if that is asked for.
async fn stdin_ends(asked: bool) {
    if !asked {
        return std::future::pending().await;
    }
    let (ended, end) = oneshot::channel();
    // A thread of its own: the runtime would wait for a read that it started.
    std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while matches!(std::io::stdin().read(&mut bytes), Ok(1..)) {}
        let _ = ended.send(());
    });
    let _ = end.await;
    interrupt::end();
}
