//! What the machines say is carried to where it belongs.

use super::*;
use world::{Event, Owned, PartyKey, Place, Remote, Waits, World};

pub(super) enum Pending {
    Owner(Place, owner::Effect<V, Turn>),
    Party(PartyKey, party::Out<V, Turn>),
}

impl World {
    pub(super) fn at_owner<R>(
        &mut self,
        place: Place,
        act: impl FnOnce(&mut Owned, &mut owner::Effects<V, Turn>) -> R,
    ) -> Option<R> {
        let mut out = Vec::new();
        let result = act(self.owned.get_mut(&place)?, &mut out);
        self.effects.extend(out.into_iter().map(|effect| Pending::Owner(place, effect)));
        Some(result)
    }

    pub(super) fn at_party<R>(
        &mut self,
        key: PartyKey,
        act: impl FnOnce(&mut Remote, &mut party::Outs<V, Turn>) -> R,
    ) -> Option<R> {
        let mut out = Vec::new();
        let result = act(self.remotes.get_mut(&key)?, &mut out);
        self.effects.extend(out.into_iter().map(|out| Pending::Party(key, out)));
        Some(result)
    }

    pub(super) fn settle(&mut self) {
        while let Some(pending) = self.effects.pop_front() {
            match pending {
                Pending::Owner(place, effect) => self.effect(place, effect),
                Pending::Party(key, out) => self.out(key, out),
            }
        }
        for (place, owned) in &self.owned {
            if owned.channel.serves_too_few() {
                self.wrong.push(format!("{place:?}: two wait for each other: {:?}", owned.channel));
            }
        }
    }

    fn effect(&mut self, place: Place, effect: owner::Effect<V, Turn>) {
        self.note(|| format!("{place:?} {effect:?}"));
        use owner::Effect::*;
        let op = match &effect {
            Sent(op, _) | Given(op, _) | Ended(op, _) => *op,
            Look(turn) => return self.look(turn),
            Count(_) => return,
        };
        let Some(owned) = self.owned.get_mut(&place) else { return };
        let waits = owned.waits.remove(&op);
        match (effect, waits) {
            (Sent(_, how), Some(Waits::Call { link, call })) => {
                self.answer(link, call, Reply::Sent(how));
            }
            (Given(_, given), Some(Waits::Call { link, call })) => {
                self.answer_lease(place, link, call, Ok(given));
            }
            (Ended(_, why), Some(Waits::Call { link, call })) => {
                self.answer_lease(place, link, call, Err(why));
            }
            (Sent(_, how), Some(Waits::Actor { actor, serial, branch })) => {
                self.actor_sent(actor, serial, branch, how);
            }
            (Given(_, given), Some(Waits::Actor { actor, serial, branch })) => {
                self.actor_given(actor, serial, branch, given);
            }
            (Ended(_, why), Some(Waits::Actor { actor, serial, branch })) => {
                self.actor_ended(actor, serial, branch, why);
            }
            (Given(_, given), None) => {
                // Its receiver has gone.
                let now = self.now;
                self.at_owner(place, |owned, out| owned.channel.take_back(now, given, out));
            }
            _ => (),
        }
    }

    fn out(&mut self, key: PartyKey, out: party::Out<V, Turn>) {
        self.note(|| format!("{key:?} {out:?}"));
        use party::Out::*;
        match out {
            Connect => self.connect(key),
            Disconnect => {
                if let Some(link) = self.remotes.get_mut(&key).and_then(|r| r.link.take()) {
                    self.cut(link);
                }
            }
            Call(call, request) => self.ask(key, call, request),
            Done(op, outcome) => {
                let Some(remote) = self.remotes.get_mut(&key) else { return };
                if let Some((value, done)) = remote.finishing.remove(&op) {
                    return self.finished(value, done, &outcome);
                }
                match remote.waits.remove(&op) {
                    Some((actor, serial, branch)) => {
                        self.actor_done(actor, serial, branch, outcome)
                    }
                    None => self.nobody_waits(key, outcome),
                }
            }
            Lost(_) => (),
            Look(turn) => self.look(&turn),
            Count("value-in-doubt") => self.doubts += 1,
            Count(_) => (),
        }
    }

    /// A job that was taken for one who has gone.
    fn nobody_waits(&mut self, key: PartyKey, outcome: Outcome<V>) {
        let now = self.now;
        match outcome {
            Outcome::Taken { lease, .. } => {
                self.at_party(key, |remote, out| remote.party.finish(now, lease, false, None, out));
            }
            Outcome::Received(value) => self.wrong.push(format!("{value:?} is for nobody")),
            _ => (),
        }
    }

    fn look(&mut self, turn: &Turn) {
        if self.planted != Planted::Untold {
            self.actor_looks(turn);
        }
    }

    fn ask(&mut self, key: PartyKey, call: u64, request: Request<V>) {
        let Some(link) = self.remotes.get(&key).and_then(|remote| remote.link) else { return };
        match (self.planted, &request) {
            (Planted::SeenUnconfirmed, Request::Confirm { lease }) => {
                let lease = *lease;
                let now = self.now;
                self.transmit(link, 0, Event::ToOwner(link, call, Request::Confirm { lease }));
                self.at_party(key, |remote, out| {
                    remote.party.reply(now, call, Reply::Confirmed(true), out);
                });
                return;
            }
            (Planted::LateForgotten, Request::GiveBack { lease }) => {
                let request = Request::Confirm { lease: *lease };
                return self.transmit(link, 0, Event::ToOwner(link, call, request));
            }
            _ => (),
        }
        self.transmit(link, 0, Event::ToOwner(link, call, request));
    }

    fn answer(&mut self, link: usize, call: u64, reply: Reply<V>) {
        self.transmit(link, 1, Event::ToParty(link, call, reply));
    }

    fn answer_lease(
        &mut self,
        place: Place,
        link: usize,
        call: u64,
        given: Result<Given<V>, Ended>,
    ) {
        let reply = match given {
            Ok(Given { value, lease: Some(lease), .. }) => {
                if let Some(owned) = self.owned.get_mut(&place) {
                    owned.leased.insert(lease, value.0);
                }
                Reply::Value { lease, value }
            }
            Ok(given) => return self.wrong.push(format!("no lease: {given:?}")),
            Err(why) => Reply::Ended(why),
        };
        self.answer(link, call, reply);
    }

    /// The owner is asked.
    pub(super) fn asked(&mut self, link: usize, call: u64, request: Request<V>) {
        let world::Link { party: (_, place), conn, epoch, .. } = self.links[link];
        let Some(conn) = conn else { return };
        if self.owned.get(&place).is_none_or(|owned| owned.epoch != epoch) {
            return;
        }
        if !self.owned[&place].channel.is_current(conn) {
            // It is told so, by an error that ends the connection.
            return self.cut(link);
        }
        let (now, planted) = (self.now, self.planted);
        let waits = Waits::Call { link, call };
        let number_of = |number: u64| match planted {
            Planted::OtherNumber => number * 1000 + link as u64,
            _ => number,
        };
        match request {
            Request::Lease { take, wait, settled, .. } => {
                let way = if take { Way::Take } else { Way::Confirm };
                let tried = self.at_owner(place, |owned, out| {
                    let turn = Turn::default();
                    let wish = owner::Wish { way, settled, wait };
                    owned.channel.lease(now, conn, wish, turn, out)
                });
                match tried {
                    Some(Tried::Waits(op)) => self.wait(place, op, waits),
                    Some(Tried::Done(done)) => self.answer_lease(place, link, call, done),
                    None => (),
                }
            }
            Request::Send { number, settled, wait, value } => {
                let (number, turn) = (number_of(number), Turn::default());
                let tried = self.at_owner(place, |owned, out| {
                    let numbered = owner::Numbered { number, settled, wait };
                    owned.channel.send_numbered(now, conn, numbered, value, turn, out)
                });
                match tried {
                    Some(Tried::Waits(op)) => self.wait(place, op, waits),
                    Some(Tried::Done(how)) => self.answer(link, call, Reply::Sent(how)),
                    None => (),
                }
            }
            Request::Withdraw { number } => {
                let how = match planted {
                    Planted::NotWithdrawn => Some(Sent::Withdrawn),
                    _ => self.at_owner(place, |owned, out| {
                        owned.channel.withdraw(now, conn, number_of(number), out)
                    }),
                };
                self.answer(link, call, Reply::Sent(how.unwrap_or(Sent::Stale)));
            }
            Request::Cancel { request } => {
                let found = self.owned.get(&place).and_then(|owned| {
                    let is = |w: &Waits| matches!(w, Waits::Call { link: l, call: c } if (*l, *c) == (link, request));
                    owned.waits.iter().find(|(_, waits)| is(waits)).map(|(op, _)| *op)
                });
                if let Some(op) = found {
                    self.at_owner(place, |owned, out| {
                        if owned.channel.cancel_receive(now, op, out) {
                            out.push(owner::Effect::Ended(op, Ended::Nothing));
                        }
                    });
                }
                self.answer(link, call, Reply::Done);
            }
            Request::Confirm { lease } => {
                let known = self.at_owner(place, |owned, out| {
                    owned.channel.confirm(now, Who::Remote(conn), lease, out)
                });
                let ours = known.unwrap_or(false);
                if ours && let Some(value) = self.owned[&place].leased.get(&lease) {
                    let node = self.links[link].party.0;
                    self.values.entry(*value).and_modify(|fate| fate.confirmed_by = Some(node));
                }
                let ours = ours || planted == Planted::AlwaysConfirmed;
                self.answer(link, call, Reply::Confirmed(ours));
            }
            Request::GiveBack { lease } => {
                self.at_owner(place, |owned, out| {
                    owned.channel.give_back(now, Who::Remote(conn), lease, out)
                });
                self.answer(link, call, Reply::Done);
            }
            Request::Renew { leases } => {
                let lost = self.at_owner(place, |owned, _| owned.channel.renew(now, conn, &leases));
                self.answer(link, call, Reply::Lost(lost.unwrap_or_default()));
            }
            Request::Close => self.answer(link, call, Reply::Closed { refused: true }),
        }
    }

    /// Who waits for an operation; its effect may be on its way already.
    pub(super) fn wait(&mut self, place: Place, op: owner::Op, waits: Waits) {
        if let Some(owned) = self.owned.get_mut(&place) {
            owned.waits.insert(op, waits);
        }
    }
}
