//! What gossip brought, before a service sees it: of members it is let through, of
//! those whose certificate is not here yet it is held while who passed it on is asked
//! for that.

use super::{Members, held::Held, may_come};
use crate::{
    metrics::ByLabel,
    pubsub::{Received, Ticket},
};
use std::collections::VecDeque;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// The vetting of one topic.
#[derive(Debug)]
pub(crate) struct Vetting {
    members: Members,
    refusals: ByLabel,
    changes: watch::Receiver<u64>,
    epoch: Instant,
    held: Held<Received>,
    passed: VecDeque<Received>,
    refused: VecDeque<Ticket>,
}

impl Vetting {
    /// `refusals` counts what is refused, by reason.
    pub(crate) fn new(members: Members, refusals: ByLabel) -> Self {
        Self {
            changes: members.changes(),
            members,
            refusals,
            epoch: Instant::now(),
            held: Held::default(),
            passed: VecDeque::new(),
            refused: VecDeque::new(),
        }
    }

    /// Takes in a message.
    pub(crate) fn take(&mut self, received: Received) {
        let (source, from) = (received.message.source(), received.from);
        match self.members.check(&source) {
            Ok(()) => self.passed.push_back(received),
            // Who passes on what it says itself has shown its certificate here.
            Err(refusal) if source == from || !may_come(refusal) => {
                self.refuse(&received, refusal.label());
            }
            Err(_) => {
                self.members.want(source, from);
                let (now, bytes) = (self.epoch.elapsed(), received.message.encoded().len());
                if let Err(received) = self.held.hold(now, (source, from), bytes, received) {
                    self.refuse(&received, "no-room");
                }
            }
        }
    }

    /// Waits until something of what is held may be decided.
    pub(crate) async fn changed(&mut self) {
        let deadline = self.held.next_deadline();
        let waits = sleep_until(deadline.map_or(self.epoch, |deadline| self.epoch + deadline));
        tokio::select! {
            // Ended with the node.
            Ok(()) = self.changes.changed(), if deadline.is_some() => {}
            () = waits, if deadline.is_some() => {}
            else => std::future::pending().await,
        }
    }

    /// Decides what can be decided now.
    pub(crate) fn decide(&mut self) {
        self.changes.mark_unchanged();
        let members = self.members.clone();
        let decided =
            self.held.decided(self.epoch.elapsed(), |source| match members.check(source) {
                Err(refusal) if may_come(refusal) => None,
                decision => Some(decision),
            });
        for (received, decision) in decided {
            // What has waited long enough is refused for what it lacks still.
            match decision.unwrap_or_else(|| members.check(&received.message.source())) {
                Ok(()) => self.passed.push_back(received),
                Err(refusal) => self.refuse(&received, refusal.label()),
            }
        }
    }

    /// The next message of a member.
    pub(crate) fn next(&mut self) -> Option<Received> {
        self.passed.pop_front()
    }

    /// The next message that nobody takes.
    pub(crate) fn next_refused(&mut self) -> Option<Ticket> {
        self.refused.pop_front()
    }

    /// Whether there is such a message.
    pub(crate) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    fn refuse(&mut self, received: &Received, reason: &'static str) {
        self.refusals.get_or_create(&[("reason", reason)]).inc();
        self.refused.push_back(received.ticket());
    }
}
