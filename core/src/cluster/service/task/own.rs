//! What the node says of itself, and what it hears of itself.

use super::Task;
use crate::{
    ErrorKind, Event, Result,
    cluster::{
        heartbeat::{Addrs, Heartbeat},
        record::Record,
        service::{Pace, twins::Whose},
        table::{Outcome, Via},
    },
    metrics::Metrics,
    pubsub::signed::SignedMessage,
};
use libp2p::PeerId;
use prometheus_client::metrics::gauge::Gauge;
use std::{collections::HashMap, sync::atomic::AtomicU64, time::Duration};
use tokio::{sync::oneshot, time::Instant};

/// How often a peer is told the same heartbeat: it may have missed it on a
/// connection that was dead.
const TOLD: u8 = 3;
/// How many peers are told the same heartbeat. The others get it by an exchange.
const MAX_TOLD: usize = 4096;

/// Changes that come within this time of each other go in one heartbeat.
const MOMENT: Duration = Duration::from_millis(50);

/// For how long an own heartbeat may be on its way to all.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// The last own heartbeat.
#[derive(Default)]
pub(super) struct Said {
    message: Option<SignedMessage>,
    at: Option<Instant>,
    /// Who was told it alone, and how often.
    told: HashMap<PeerId, u8>,
}

impl Said {
    /// The last one, if a peer is to be told it now.
    fn to(&mut self, peer: PeerId) -> Option<SignedMessage> {
        if self.told.len() >= MAX_TOLD && !self.told.contains_key(&peer) {
            return None;
        }
        let often = self.told.entry(peer).or_default();
        *often = often.saturating_add(1);
        self.message.clone().filter(|_| *often <= TOLD)
    }
}

/// Tells by metrics which TTL this node announces, and with which budget.
pub(super) fn announced(metrics: &Metrics, budget: Option<u32>) -> Gauge<f64, AtomicU64> {
    let (ttl, of) = (Gauge::default(), Gauge::<i64>::default());
    of.set(budget.unwrap_or_default().into());
    metrics.register(
        "heartbeat_ttl_seconds",
        "The TTL that this node announces, longer than the configured one in a large cluster; 0 \
         if it is an observer",
        ttl.clone(),
    );
    metrics.register(
        "heartbeat_budget",
        "Heartbeats of the whole cluster a second above which this node announces a longer TTL; \
         0 if it never does",
        of,
    );
    ttl
}

impl Task {
    /// How long gossip may take to accept a goodbye.
    const LEAVE_TIME: Duration = Duration::from_millis(300);

    /// A peer has joined the topic: it alone is told the last own heartbeat.
    pub(super) async fn greet(&mut self, peer: PeerId) {
        if self.observer || self.left || self.away {
            return;
        }
        if let Some(message) = self.said.to(peer) {
            self.topic.tell(peer, message).await;
        }
    }

    /// What this node says of itself has changed.
    pub(super) async fn tell(&mut self, reply: oneshot::Sender<()>) {
        if !self.observer && self.away {
            // Told when the node is back.
            self.show_own();
            self.publish_view();
        } else if !self.observer {
            self.send_heartbeat().await;
            self.publish_view();
        }
        let _ = reply.send(());
    }

    /// The node's addresses have changed.
    pub(super) fn moved(&mut self) {
        let addrs = Addrs::told(&self.addrs.borrow_and_update());
        if addrs != self.beat.addrs {
            self.beat.addrs = addrs;
            self.tell_soon();
        }
    }

    /// The node offers something else than before: it is in the own view at once,
    /// and others are told with what changes in a moment.
    pub(super) fn offer(&mut self) {
        let fields = self.meta.fields();
        if self.observer || self.beat.meta == fields {
            return;
        }
        self.beat.meta = fields;
        self.show_own();
        self.tell_soon();
    }

    /// What this node says of itself has changed, and may change again at once:
    /// all changes of a moment go in one heartbeat.
    fn tell_soon(&mut self) {
        self.next_beat = self.next_beat.min(Instant::now() + MOMENT);
    }

    /// The TTL that this node's heartbeats and its own record say from now on.
    pub(super) fn announce(&mut self, ttl: Duration) {
        (self.ttl, self.beat.ttl) = (ttl, Some(ttl));
        if !self.observer {
            self.announced.set(ttl.as_secs_f64());
        }
    }

    /// Publishes the own heartbeat, and keeps the own record in step with it.
    /// Later, if others would not take so many.
    pub(super) async fn send_heartbeat(&mut self) {
        if let Err(due) = self.rates.own(self.ttl, self.epoch.elapsed()) {
            self.show_own();
            self.next_beat = self.epoch + due;
            return;
        }
        // A machine may be named after its programs have started.
        let name = self.machine.as_ref().map(|machine| machine());
        if let Some(name) = name.filter(|name| Heartbeat::check_host(name).is_ok()) {
            self.beat.host = name;
        }
        self.key_shared.set(i64::from(self.twins.is_known(self.epoch.elapsed())));
        let elapsed = self.epoch.elapsed();
        let ttl = self.stretch.announce(elapsed);
        self.announce(ttl);
        let pace = self.relied.announced(ttl, elapsed);
        self.next_beat = Instant::now() + Pace.pause(pace, &mut self.rng);
        let Ok(message) = self.sign_beat() else { return };
        match self.topic.publish(message.clone()).await {
            Err(error) if error.kind() != ErrorKind::Unreachable => {
                tracing::warn!(namespace = %self.namespace, %error, "heartbeat not sent");
            }
            // If nobody is there to hear it, who comes is told.
            _ => {}
        }
        let said = (&self.beat, message.encoded());
        self.table.insert_own(self.now(), message.seq(), said, &(self.roles)(&self.own));
        self.suspicion.spoke(self.epoch.elapsed(), message.seq());
        (self.said.message, self.said.at) = (Some(message), Some(Instant::now()));
        self.said.told.clear();
    }

    /// Another node lacks this one, or has an older heartbeat of it. What was said a
    /// moment ago may be under way.
    pub(super) fn answer_missed(&mut self) {
        let under_way = self.said.at.is_some_and(|at| at.elapsed() < UNDER_WAY);
        // A twin would answer the answer.
        if !under_way && !self.twins.is_known(self.epoch.elapsed()) {
            self.next_beat = self.next_beat.min(Instant::now());
        }
    }

    /// Has the own record say in the view what others are not told yet.
    fn show_own(&mut self) {
        let seq = self.said.message.as_ref().map_or(0, SignedMessage::seq);
        let roles = (self.roles)(&self.own);
        self.table.insert_own(self.now(), seq, (&self.beat, &[]), &roles);
    }

    /// Leaves for good.
    pub(super) async fn leave(&mut self) {
        self.left = true;
        // Who is paused has said goodbye before.
        if !self.away {
            self.say_goodbye().await;
        }
        self.hub.close();
    }

    /// Says goodbye, if it has said anything: by gossip, and in the view for those
    /// to whom it is pushed. (Others may know it by an exchange alone.)
    pub(super) async fn say_goodbye(&mut self) {
        if self.said.message.is_none() {
            return;
        }
        self.beat.ttl = None;
        let addrs = std::mem::take(&mut self.beat.addrs);
        if let Ok(goodbye) = self.sign_beat() {
            let said = self.topic.publish(goodbye.clone());
            match tokio::time::timeout(Self::LEAVE_TIME, said).await {
                Ok(Ok(())) => {}
                // There is nobody to hear it (then the host is closed already).
                Ok(Err(error))
                    if matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Closed) => {}
                _ => tracing::debug!("gossip did not take the goodbye"),
            }
            let (seq, signed) = (goodbye.seq(), goodbye.encoded());
            self.table.leave(self.epoch.elapsed(), seq, &self.beat, signed);
            self.publish_view();
        }
        (self.beat.ttl, self.beat.addrs) = (Some(self.ttl), addrs);
    }

    /// What this node says of itself now, signed with the next number.
    fn sign_beat(&mut self) -> Result<SignedMessage> {
        let time = (self.clock)();
        self.beat.sent_at = Some(Duration::from_millis(time / 1_000_000));
        let data = self.beat.encode();
        let seq = self.numbers.next(time);
        if let Some(ahead) = self.numbers.keep_now(time) {
            self.keep.send_replace(ahead);
        }
        let signed = (self.sign)(seq, &data);
        match &signed {
            Ok(_) => self.twins.sent(seq, &data),
            Err(error) => {
                tracing::error!(namespace = %self.namespace, %error, "heartbeat not signed");
            }
        }
        signed
    }

    /// A heartbeat in this node's name has come back: it may be one of an earlier
    /// run, whose numbers are to be passed, or of another node with the same key.
    pub(super) fn hear_own(
        &mut self,
        seq: u64,
        data: &[u8],
        beat: &Heartbeat,
        via: Via,
    ) -> Outcome {
        let age = match via {
            Via::Gossip => Duration::ZERO,
            Via::Exchange(age) => age,
        };
        let whose = self.twins.heard((seq, data), age, self.ttl, self.epoch.elapsed());
        if whose == Whose::Own {
            return Outcome::Own;
        }
        let raised = self.numbers.heard(seq, (self.clock)());
        if whose == Whose::Twin {
            tracing::error!(
                namespace = %self.namespace,
                peer = %self.own,
                host = beat.host,
                "another node that runs now uses this node's key, as when a machine or its data \
                 was copied: others see one peer where there are two. Stop one of the two, delete \
                 its key file (and its data directory), and let it start with a key of its own"
            );
            let ttl = beat.ttl.unwrap_or(self.ttl);
            let record = Record::new(self.own, seq, ttl, beat);
            self.events.emit(Event::KeyShared { record });
        }
        let shared = self.twins.is_known(self.epoch.elapsed());
        self.key_shared.set(i64::from(shared));
        // A twin would answer the answer.
        let answered = self.answered.is_some_and(|at| at.elapsed() < self.ttl);
        if raised && !shared && !answered && !self.observer {
            tracing::info!(
                namespace = %self.namespace,
                seq,
                "others have a newer heartbeat of this node: it goes on from there. Was the clock \
                 set back?"
            );
            (self.answered, self.next_beat) = (Some(Instant::now()), Instant::now());
        }
        Outcome::OwnAhead
    }
}
