//! The publisher: it goes on for ever, at most a window ahead of the slowest.

use super::{Args, TOPIC, node};
use anyhow::{Result, ensure};
use casm::Target;
use std::{io::BufRead, time::Duration};
use tokio::sync::watch;

/// When nothing more comes for so long, a message was lost.
const STALLED: Duration = Duration::from_secs(5);

pub async fn run(args: &Args) -> Result<()> {
    let node = node().await?;
    let topic = node.topic(TOPIC)?;
    for addr in &args.publish_to {
        node.connect(addr.parse::<Target>()?).await?;
    }
    topic.wait_for_peers(args.publish_to.len()).await?;
    let mut taken = taken();
    let (mut sent, mut lost) = (0_u64, 0);
    let data = vec![7; args.bytes as usize];
    loop {
        let there = *taken.borrow_and_update() + lost;
        while sent - there.min(sent) < u64::from(args.window) {
            ensure!(topic.publish(&data).await? > 0, "there is nobody to publish to");
            sent += 1;
        }
        match tokio::time::timeout(STALLED, taken.changed()).await {
            Ok(changed) => changed?,
            // At most once: what is under way now will not come.
            Err(_) => lost = sent - *taken.borrow(),
        }
    }
}

/// How many messages the slowest has, as it is told.
fn taken() -> watch::Receiver<u64> {
    let (sender, receiver) = watch::channel(0);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if let Ok(count) = line.parse() {
                sender.send_if_modified(|taken| std::mem::replace(taken, count) != count);
            }
        }
    });
    receiver
}
