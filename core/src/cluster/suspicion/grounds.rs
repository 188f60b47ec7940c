//! What this node found out itself: which of its neighbours it suspects, and on what
//! ground. Pure: the time is an argument.
//!
//! A ground is a ping that was not answered in time, or a connection that broke; what
//! was closed in order is none. It counts once the peer could not be dialled either.
//! What shows that the peer lives takes it back.

use super::{Action, losses::Losses};
use crate::cluster::table::Knows;
use libp2p::PeerId;
use std::{collections::BTreeMap, time::Duration};

/// A heartbeat that comes so soon after a ground may have been under way before it.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// After so long a ground that led to nothing is forgotten: the TTL decides.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// How often an accusation is said, and when again.
const TIMES: u8 = 2;
const AGAIN: Duration = Duration::from_secs(2);
/// Peers that are dialled at a time. Where all are late, it is this node or their machine
/// that has too much to do, and handshakes are what costs most.
const DIALS: usize = 8;
/// Peers that are suspected at a time: more than a node has neighbours.
const MOST: usize = 1024;

/// What is noticed of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It is connected.
    Here,
    /// It has not answered a ping for so long that something may be wrong.
    Late,
    /// It has not answered a ping in time.
    Silent,
    /// It has answered a ping after all.
    Answers,
    /// Its last connection broke.
    Broken,
    /// It closed its last connection, in order.
    Left,
    /// This node closed the last connection.
    Closed,
    /// It was dialled, and was reached or wasn't.
    Dialled(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dial {
    Wanted,
    Begun,
    Failed,
}

#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Duration,
    /// Since when there is a ground.
    ground: Option<Duration>,
    dial: Dial,
    /// Up to which number it is accused.
    seq: Option<u64>,
    /// How often that was said, and when last.
    said: (u8, Duration),
}

/// What this node suspects by itself.
#[derive(Debug, Default)]
pub(super) struct Grounds {
    losses: Losses,
    doubts: BTreeMap<PeerId, Doubt>,
    /// When the last of too many were lost; and whether somebody was asked since.
    cut_off: Option<(Duration, bool)>,
}

impl Grounds {
    /// Takes note of a sign.
    pub(super) fn note(&mut self, now: Duration, peer: PeerId, sign: Sign) {
        match sign {
            Sign::Here => {
                self.losses.came(peer);
                self.lives(&peer);
                self.answered(now);
            }
            Sign::Answers | Sign::Dialled(true) => self.lives(&peer),
            Sign::Left => {
                self.losses.went(&peer);
                self.lives(&peer);
            }
            Sign::Closed => self.losses.went(&peer),
            Sign::Late => drop(self.doubt(now, peer)),
            Sign::Silent => self.lose(now, peer),
            Sign::Broken => {
                self.losses.went(&peer);
                self.lose(now, peer);
                // A dial from before it broke may have been answered by what is gone.
                if let Some(doubt) = self.doubts.get_mut(&peer) {
                    doubt.dial = Dial::Wanted;
                }
            }
            Sign::Dialled(false) => {
                if let Some(doubt) = self.doubts.get_mut(&peer)
                    && doubt.dial == Dial::Begun
                {
                    doubt.dial = Dial::Failed;
                }
            }
        }
    }

    /// A neighbour has answered a ping that was sent then.
    pub(super) fn answered(&mut self, sent: Duration) {
        if self.cut_off.is_some_and(|(since, _)| sent >= since) {
            self.cut_off = None;
            // What was found out meanwhile says nothing of the others.
            self.dial_again();
        }
    }

    /// This node was held up: it doubts what it found out before.
    pub(super) fn dial_again(&mut self) {
        for doubt in self.doubts.values_mut() {
            (doubt.dial, doubt.seq) = (Dial::Wanted, None);
        }
    }

    /// A heartbeat of a peer that others had at this time: it lived when it was sent.
    pub(super) fn heard(&mut self, at: Duration, peer: &PeerId, seq: u64) {
        let Some(doubt) = self.doubts.get_mut(peer) else { return };
        let Some(ground) = doubt.ground else { return };
        if doubt.seq.is_some_and(|accused| seq <= accused) {
            return;
        }
        if at > ground.saturating_add(UNDER_WAY) {
            self.doubts.remove(peer);
        } else if doubt.seq.take().is_some() {
            doubt.dial = Dial::Wanted;
        }
    }

    /// The number up to which this node accuses a peer.
    pub(super) fn accuses(&self, peer: &PeerId) -> Option<u64> {
        self.doubts.get(peer)?.seq.filter(|_| self.cut_off.is_none())
    }

    /// Who is accused from now on, and with which number. Says what is to be done; nobody
    /// is dialled if what comes of it `counts` for nothing.
    pub(super) fn act(
        &mut self,
        now: Duration,
        counts: bool,
        table: &impl Knows,
        actions: &mut Vec<Action>,
    ) -> Vec<PeerId> {
        self.doubts.retain(|peer, doubt| {
            let answers = || table.known(peer).is_some_and(|known| known.answers);
            now < doubt.since.saturating_add(FORGOTTEN) && answers()
        });
        if let Some((since, asked)) = &mut self.cut_off
            && !std::mem::replace(asked, true)
        {
            actions.push(Action::Ask(*since));
        }
        let mut accused = Vec::new();
        let mut begun = self.doubts.values().filter(|doubt| doubt.dial == Dial::Begun).count();
        for (peer, doubt) in &mut self.doubts {
            match doubt.dial {
                Dial::Wanted if counts && begun < DIALS => {
                    begun += 1;
                    doubt.dial = Dial::Begun;
                    actions.push(Action::Dial(*peer));
                }
                Dial::Failed
                    if doubt.seq.is_none() && doubt.ground.is_some() && self.cut_off.is_none() =>
                {
                    doubt.seq = table.known(peer).map(|known| known.seq);
                    doubt.said = (0, now);
                    accused.push(*peer);
                }
                _ => {}
            }
        }
        accused
    }

    /// Who is to be accused aloud by now, this time or again.
    pub(super) fn to_say(&self, now: Duration) -> impl Iterator<Item = (PeerId, u64)> {
        let cut_off = self.cut_off.is_some();
        let due = move |doubt: &Doubt| doubt.due().is_some_and(|due| due <= now && !cut_off);
        // What was never said goes first.
        let times = (0..TIMES)
            .flat_map(|times| self.doubts.iter().filter(move |(_, doubt)| doubt.said.0 == times));
        let each = times.filter(move |(_, doubt)| due(doubt));
        each.filter_map(|(peer, doubt)| Some((*peer, doubt.seq?)))
    }

    /// It was said.
    pub(super) fn said(&mut self, now: Duration, peer: &PeerId) {
        if let Some(doubt) = self.doubts.get_mut(peer) {
            doubt.said = (doubt.said.0.saturating_add(1), now);
        }
    }

    /// When somebody is to be accused aloud.
    pub(super) fn next_said(&self) -> Option<Duration> {
        let due = self.doubts.values().filter_map(Doubt::due).min();
        due.filter(|_| self.cut_off.is_none())
    }

    /// When something is to be forgotten.
    pub(super) fn next(&self) -> Option<Duration> {
        self.doubts.values().map(|doubt| doubt.since.saturating_add(FORGOTTEN)).min()
    }

    /// A peer is gone.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.doubts.remove(peer);
    }

    fn doubt(&mut self, now: Duration, peer: PeerId) -> Option<&mut Doubt> {
        if self.doubts.len() >= MOST && !self.doubts.contains_key(&peer) {
            return None;
        }
        let new = Doubt { since: now, ground: None, dial: Dial::Wanted, seq: None, said: (0, now) };
        Some(self.doubts.entry(peer).or_insert(new))
    }

    fn lose(&mut self, now: Duration, peer: PeerId) {
        if let Some(doubt) = self.doubt(now, peer)
            && doubt.ground.is_none()
        {
            (doubt.since, doubt.ground) = (now, Some(now));
        }
        if self.losses.lose(now, peer) {
            self.cut_off = Some((now, false));
        }
    }

    fn lives(&mut self, peer: &PeerId) {
        self.doubts.remove(peer);
        self.losses.lives(peer);
    }
}

impl Doubt {
    fn due(&self) -> Option<Duration> {
        self.seq?;
        let (times, last) = self.said;
        let pause = if times == 0 { Duration::ZERO } else { AGAIN };
        (times < TIMES).then(|| last.saturating_add(pause))
    }
}
