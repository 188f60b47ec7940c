//! The engine, with the model beside it: each input goes to both.

use super::{Expected, Model};
use crate::gossip::{
    SignedMessage, Verdict,
    engine::{CheckId, Config, Counts, Engine, Offence, Output, PublishError, Version},
    id::MessageId,
    wire::Rpc,
};
use libp2p::PeerId;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub struct Checked {
    engine: Engine,
    model: Model,
    checks: Vec<(CheckId, SignedMessage)>,
    /// What is to be done, and was not given to anybody yet.
    outputs: Vec<Output>,
    /// Who is on each topic that is joined, as it is told.
    told: BTreeMap<String, BTreeSet<PeerId>>,
}

impl Checked {
    pub fn new(now: Duration, config: Config, seed: u64) -> Self {
        let engine = Engine::new(now, config.clone(), Counts::default(), seed);
        let (model, checks, outputs) = (Model::new(now, config), Vec::new(), Vec::new());
        Self { engine, model, checks, outputs, told: BTreeMap::new() }
    }

    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.model.peers.contains_key(peer)
    }

    pub fn next_wake(&self) -> Duration {
        self.engine.next_wake()
    }

    pub fn connected(&mut self, now: Duration, peer: PeerId, outbound: bool) {
        self.catch_up(now);
        self.model.connected(now, peer, outbound);
        self.engine.connected(now, peer, outbound);
        self.compare();
    }

    pub fn replaced(&mut self, now: Duration, peer: PeerId, outbound: bool) {
        self.catch_up(now);
        self.model.replaced(now, peer, outbound);
        self.engine.replaced(now, peer, outbound);
        self.compare();
    }

    pub fn disconnected(&mut self, now: Duration, peer: PeerId) {
        self.catch_up(now);
        self.be_sure(now);
        self.model.disconnected(now, peer);
        self.engine.disconnected(now, &peer);
        self.compare();
    }

    pub fn negotiated(&mut self, peer: PeerId, version: Version) {
        if let Some(of) = self.model.peers.get_mut(&peer) {
            of.takes_idontwant = version == Version::V1_2;
        }
        self.engine.negotiated(&peer, version);
    }

    pub fn is_ours(&mut self, peer: PeerId) {
        self.model.peers.entry(peer).and_modify(|peer| peer.ours = true);
        self.engine.is_ours(&peer);
    }

    pub fn join(&mut self, now: Duration, topic: &str) {
        self.catch_up(now);
        let anew = !self.model.is_joined(topic);
        self.model.join(now, topic);
        self.engine.join(now, topic);
        if anew {
            let mesh = self.engine.mesh(topic).collect();
            self.model.tended(now, topic, &mesh);
            self.told.insert(topic.into(), self.engine.subscribed(topic).collect());
        }
        self.compare();
    }

    pub fn leave(&mut self, now: Duration, topic: &str) {
        self.catch_up(now);
        self.be_sure(now);
        self.model.leave(now, topic);
        self.engine.leave(now, topic);
        self.told.remove(topic);
        self.compare();
    }

    pub fn received(&mut self, now: Duration, id: PeerId, rpc: Rpc) {
        self.catch_up(now);
        if self.model.peers.get(&id).is_some_and(|peer| !peer.closing) {
            let model = &mut self.model;
            // Of a topic the last word counts.
            let said: BTreeMap<_, _> =
                rpc.subscriptions.iter().map(|said| (&said.topic, said.subscribe)).collect();
            said.into_iter().for_each(|(of, joins)| model.on_subscription(now, id, of, joins));
            rpc.graft.iter().for_each(|topic| model.on_graft(now, id, topic));
            rpc.prune.iter().for_each(|of| model.on_prune(now, id, &of.topic, of.backoff));
            rpc.ihave.iter().for_each(|(topic, ids)| model.on_ihave(now, id, topic, ids));
            model.on_iwant(now, id, &rpc.iwant);
            model.on_idontwant(now, id, &rpc.idontwant);
            rpc.messages.iter().for_each(|message| model.on_message(id, message));
        }
        self.engine.received(now, &id, rpc);
        self.compare();
    }

    pub fn offended(&mut self, now: Duration, peer: PeerId, offence: Offence) {
        self.catch_up(now);
        self.model.charge(now, peer, offence);
        self.engine.offended(now, &peer, offence);
    }

    pub fn sent(&mut self, now: Duration, peer: PeerId) {
        self.catch_up(now);
        self.model.written(now, peer);
        self.engine.sent(now, &peer);
    }

    /// Whether it was published.
    pub fn publish(&mut self, now: Duration, message: &SignedMessage) {
        self.catch_up(now);
        let goes = self.model.publish(now, message);
        let published = self.engine.publish(now, message.clone());
        let published = published.map(|peers| assert!(peers > 0, "it goes to nobody"));
        assert_eq!(published, if goes { Ok(()) } else { Err(PublishError::NoPeers) });
    }

    pub fn tell(&mut self, now: Duration, peer: PeerId, message: &SignedMessage) {
        self.catch_up(now);
        self.model.tell(now, peer, message);
        self.engine.tell(now, &peer, message.clone());
    }

    /// How many signatures are under check.
    pub fn checks(&self) -> usize {
        self.checks.len()
    }

    /// One of them was checked.
    pub fn verified(&mut self, now: Duration, nth: usize, good: impl Fn(&SignedMessage) -> bool) {
        self.catch_up(now);
        self.be_sure(now);
        let (check, message) = self.checks.remove(nth);
        let good = good(&message);
        self.model.verified(now, &message, good);
        self.engine.verified(now, check, good);
        self.compare();
    }

    pub fn verdict(&mut self, now: Duration, id: &MessageId, verdict: Verdict) {
        self.catch_up(now);
        self.model.verdict(now, id, verdict);
        self.engine.verdict(now, id, verdict);
    }

    /// All that the engine wants done, but for what is done here.
    pub fn settle(&mut self, now: Duration) -> Vec<Output> {
        self.poll(now);
        std::mem::take(&mut self.outputs)
    }

    /// Of very many checks the engine has to say which ones it has begun.
    fn be_sure(&mut self, now: Duration) {
        if !self.model.all_started() {
            self.poll(now);
        }
    }

    /// A heartbeat that was left out comes before anything else.
    fn catch_up(&mut self, now: Duration) {
        if now >= self.model.next_heartbeat {
            self.poll(now);
        }
    }

    fn poll(&mut self, now: Duration) {
        let outputs: Vec<_> = std::iter::from_fn(|| self.engine.poll(now)).collect();
        if now >= self.model.next_heartbeat {
            self.model.beat(now);
            self.ask();
            let joined = self.model.topics.iter().filter(|(_, topic)| topic.joined);
            for name in joined.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
                let mesh = self.engine.mesh(&name).collect();
                self.model.tended(now, &name, &mesh);
            }
            self.model.may_offer(now);
        }
        for output in &outputs {
            self.on_output(now, output);
        }
        let expected = &self.model.expected;
        assert!(expected.is_empty(), "what did not come: {expected:?}");
        for (topic, told) in &self.told {
            let there: BTreeSet<_> = self.engine.subscribed(topic).collect();
            assert!(*told == there, "on {topic} are {there:?}, and told of are {told:?}");
        }
        self.model.assert_all_told();
        self.model.assert_nothing_overdue(now);
        self.model.assert_published(now);
        assert!(self.next_wake() > now, "the engine has no more to do, and wants to be asked");
        self.compare();
        self.outputs.extend(outputs);
    }

    fn on_output(&mut self, now: Duration, output: &Output) {
        let expected = &mut self.model.expected;
        let is_expected = |found: &Expected| match (output, found) {
            (Output::Deliver { message, from }, Expected::Deliver { message: due, from: of }) => {
                message == due && of.contains(from)
            }
            (Output::Subscribed { peer, topic }, Expected::Subscribed { peer: of, topic: due }) => {
                peer == of && **topic == **due
            }
            (
                Output::Close { peer, reason, refuse },
                Expected::Close { peer: of, reason: due, refuse: refused },
            ) => (peer, reason, refuse) == (of, due, refused),
            _ => false,
        };
        match output {
            Output::Send { peer, frame } => self.model.on_frame(now, *peer, frame),
            Output::Verify { check, message } => {
                self.model.on_verify(message);
                self.checks.push((*check, message.clone()));
            }
            Output::Peer { peer, topic, here } => {
                let Some(told) = self.told.get_mut(&**topic) else { return };
                match here {
                    true => told.insert(*peer),
                    false => told.remove(peer),
                };
            }
            Output::Room => panic!("nobody waits for room"),
            Output::Deliver { .. } | Output::Subscribed { .. } | Output::Close { .. } => {
                let found = expected.iter().position(is_expected);
                let found = found.unwrap_or_else(|| panic!("{output:?}, and not {expected:?}"));
                expected.remove(found);
            }
        }
    }

    /// Whom the engine has asked for what it is to ask for.
    fn ask(&mut self) {
        let engine = &self.engine;
        self.model.on_asked(|id| engine.asked(id).collect());
    }

    /// Whether both have the same links.
    fn compare(&mut self) {
        self.ask();
        self.model.start_checks();
        for (name, topic) in &self.model.topics {
            let mesh: BTreeSet<_> = self.engine.mesh(name).collect();
            assert_eq!(mesh, topic.mesh, "{name}");
        }
    }

    /// Nothing is under way any more, and nothing waited for.
    pub fn assert_at_rest(&self) {
        assert!(self.model.wants.is_empty(), "what was wanted is not given up");
        assert!(self.checks.is_empty(), "{} checks are not over", self.checks.len());
        let published = &self.model.publications;
        assert!(published.is_empty(), "{} of {published:?}", published.len());
    }
}
