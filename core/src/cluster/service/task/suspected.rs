//! Who is suspected to have crashed.

use super::Task;
use crate::{
    cluster::{
        service::About,
        suspicion::{Action, Heard},
        table::Via,
    },
    pubsub::Verdict,
};
use libp2p::PeerId;
use std::time::Duration;

impl Task {
    pub(super) fn on_suspicion(&mut self, about: About) {
        let now = self.epoch.elapsed();
        match about {
            About::Neighbour(peer, sign) => self.suspicion.note(now, peer, sign, &self.table),
            About::Answered(sent) => self.suspicion.answered(sent),
            About::Heard(source, data, reply) => {
                // Who asked may have gone.
                let _ = reply.send(self.hear_suspects(now, source, &data));
            }
        }
    }

    fn hear_suspects(&mut self, now: Duration, source: (PeerId, u64), data: &[u8]) -> Verdict {
        let Heard { verdict, answer } = match self.who.proven(&source.0) {
            Ok(()) => self.suspicion.hear(now, source, data, &self.table),
            Err(stranger) => {
                self.suspicions.get_or_create(&[("what", stranger.label())]).inc();
                let answer = self.suspicion.overhear(now, data);
                Heard { verdict: Verdict::Ignore, answer }
            }
        };
        if let Some(due) = answer.filter(|_| !self.observer && !self.left && !self.away) {
            self.next_beat = self.next_beat.min(self.epoch + due);
        }
        verdict
    }

    /// A heartbeat was taken.
    pub(super) fn lives(&mut self, peer: PeerId, seq: u64, via: Via) {
        let age = match via {
            Via::Gossip => Duration::ZERO,
            Via::Exchange(age) => age,
        };
        self.suspicion.heartbeat(self.epoch.elapsed(), age, (peer, seq), &self.table);
    }

    /// Does what suspicions make necessary.
    pub(super) fn suspect(&mut self) {
        if self.left || self.away {
            return;
        }
        let now = self.epoch.elapsed();
        for action in self.suspicion.act(now, &self.table) {
            match action {
                Action::Remove(peer, seq) => {
                    if self.table.fail(now, &peer, seq) {
                        tracing::info!(
                            namespace = %self.namespace,
                            %peer,
                            "a peer is taken for crashed: those connected to it say so"
                        );
                    }
                }
                // What there is no room for is found out anew, or not at all.
                action => drop(self.act.try_send(action)),
            }
        }
        for (what, n) in self.suspicion.take_counts() {
            self.suspicions.get_or_create(&[("what", what)]).inc_by(n);
        }
    }
}
