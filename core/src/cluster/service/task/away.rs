//! A node that pauses, and one that was held up.

use super::{Gaps, Task};
use crate::life::Phase;
use std::time::Duration;
use tokio::time::Instant;

/// For how long nobody expires once a node is back: what has arrived counts first,
/// and what is under way gets time to come. (An exchange with one peer does not end
/// it: that peer may have been held up as well, such as all containers of a host.)
const HOLD: Duration = Duration::from_secs(2);
/// A node that was held up for longer, or for half its TTL, takes nobody for gone
/// because of it.
const HELD_UP: Duration = Duration::from_secs(1);
/// After so long others may have given its connections up: an answer to a ping may
/// take no longer.
const GIVEN_UP: Duration = Duration::from_secs(10);

impl Task {
    /// The node pauses, or is back.
    pub(super) async fn on_phase(&mut self, phase: Phase) {
        match (phase, self.away) {
            (Phase::Leaving | Phase::Paused, false) => {
                self.away = true;
                self.say_goodbye().await;
                self.hub.has_left(true);
            }
            (Phase::Up, true) => {
                let now = Instant::now();
                (self.away, self.held_until) = (false, now + HOLD);
                (self.looked, self.gaps) = (now, Gaps::new(self.now()));
                self.table.came_back();
                self.suspicion.held_up(self.epoch.elapsed());
                self.hub.has_left(false);
                if !self.observer {
                    self.moved();
                    self.send_heartbeat().await;
                }
            }
            _ => {}
        }
    }

    /// Looks at both clocks. A node that was held up itself (a machine that slept,
    /// a process that was stopped) must not take the others for gone, and says at
    /// once that it lives.
    pub(super) fn look_back(&mut self, due: Option<Instant>, now: Instant) {
        if self.look.is_some_and(|every| now >= self.looked + every) {
            self.looked = now;
        }
        let due = due.map(|due| due.saturating_duration_since(self.epoch));
        let gap = self.gaps.look(self.now(), due);
        if gap > HELD_UP.min(self.ttl / 2) {
            self.held_until = now + HOLD;
            self.suspicion.held_up(self.epoch.elapsed());
        }
        if gap > GIVEN_UP.min(self.ttl / 2) {
            tracing::info!(
                namespace = %self.namespace,
                "this node was held up for {gap:?}: it looks after its connections, and forgets \
                 nobody for {} s",
                HOLD.as_secs()
            );
            self.next_beat = now;
        }
        if gap > GIVEN_UP {
            self.life.woke();
        }
    }
}
