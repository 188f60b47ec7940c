//! The service by which the nodes of a demo greet each other.

use crate::{failure::Failure, json::Line, output::Output};
use casm::{Error, Node, PeerId, Query, service::CallOptions};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Its name.
const NAME: &str = "greeting";
/// How long one node may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long after all others failed, or there was nobody, they are looked at again.
const AGAIN: Duration = Duration::from_millis(100);

/// Greets who asks.
///
/// # Errors
/// As of [`Node::serve`].
pub fn serve(node: &Node, host: String) -> casm::Result<()> {
    // The node keeps it.
    node.serve(NAME, move |_| {
        let greeting = format!("hello from {host}");
        async move { Ok::<_, Error>(greeting) }
    })?;
    Ok(())
}

/// Asks another node, and prints what it answers. Never ends.
///
/// # Errors
/// If it cannot be printed.
pub async fn ask(node: &Node, output: Output) -> Result<(), Failure> {
    let mut ticks = interval(AGAIN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for peer in others(node) {
            let options = CallOptions::new().peer(peer).timeout(PATIENCE);
            match node.call_with(NAME, "", options).await {
                Ok(answer) => {
                    output.line(&Line::reply(Some(&peer), &Ok(answer.into())))?;
                    return std::future::pending().await;
                }
                // It may not be connected yet.
                Err(error) => tracing::debug!(%peer, %error, "no greeting"),
            }
        }
    }
}

/// The others who serve it, those first that come after this node in the order of
/// ids, so that not all ask the same one.
fn others(node: &Node) -> Vec<PeerId> {
    let view = node.view();
    let found = view.iter(Query::service(NAME));
    in_turn(node.id(), found.map(|record| record.peer()).collect())
}

fn in_turn(own: PeerId, mut peers: Vec<PeerId>) -> Vec<PeerId> {
    peers.retain(|peer| *peer != own);
    peers.sort_unstable_by_key(|peer| (*peer < own, *peer));
    peers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_one_is_asked_first_and_oneself_never() {
        let mut ids: Vec<_> = (0..4).map(|_| PeerId::random()).collect();
        ids.sort_unstable();
        let [a, b, c, d] = ids[..] else { panic!("{ids:?}") };
        assert_eq!(in_turn(b, vec![a, b, c, d]), [c, d, a]);
        assert_eq!(in_turn(d, vec![d, c, b, a]), [a, b, c]);
        assert!(in_turn(a, vec![a]).is_empty());
    }
}
