//! The node: what happens on the swarm, what is said to it, and its heartbeats.

use crate::{
    heartbeat::{Change, Heartbeat, LEAVE, Record, Table},
    swarm::{self, Behaviour, BehaviourEvent},
};
use anyhow::{Context, Result, bail};
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::connection::ConnectedPoint,
    swarm::{SwarmEvent, dial_opts::DialOpts},
};
use libp2p_gossipsub::{self as gossipsub, IdentTopic, MessageAcceptance};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const TICK: Duration = Duration::from_millis(50);
/// For how long what is said last is still sent.
const LEAVING: Duration = Duration::from_secs(1);

/// What a node is told at its start.
pub(crate) struct Options {
    pub(crate) namespace: String,
    pub(crate) listen: Vec<Multiaddr>,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) lazy: bool,
    pub(crate) observer: bool,
}

pub(crate) struct Node {
    swarm: Swarm<Behaviour>,
    topic: IdentTopic,
    heartbeat: Heartbeat,
    observer: bool,
    table: Table,
    /// When the next heartbeat is due.
    next: Instant,
    /// Dials that a command waits for.
    dials: Vec<(PeerId, Value)>,
}

/// Writes an event.
fn emit(event: &str, mut fields: Value) {
    fields["event"] = event.into();
    println!("{fields}");
}

/// The lines of the input.
fn lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Node {
    pub(crate) fn start(options: Options) -> Result<Self> {
        let mut swarm = swarm::build(options.lazy)?;
        let topic = IdentTopic::new(options.namespace);
        swarm.behaviour_mut().gossipsub.subscribe(&topic)?;
        for addr in options.listen {
            swarm.listen_on(addr)?;
        }
        Ok(Self {
            swarm,
            topic,
            heartbeat: options.heartbeat,
            observer: options.observer,
            table: Table::default(),
            next: Instant::now(),
            dials: vec![],
        })
    }

    /// Runs until the end of the input, then says goodbye.
    pub(crate) async fn run(mut self) -> Result<()> {
        let mut lines = lines();
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                _ = ticks.tick() => self.on_tick(),
                line = lines.recv() => match line {
                    Some(line) => self.on_line(&line),
                    None => break,
                },
                // An interrupt is a clean leave, too.
                _ = tokio::signal::ctrl_c() => break,
            }
        }
        self.heartbeat.ttl = LEAVE;
        self.beat();
        let leaving = tokio::time::sleep(LEAVING);
        tokio::pin!(leaving);
        loop {
            tokio::select! {
                _ = self.swarm.select_next_some() => {}
                () = &mut leaving => return Ok(()),
            }
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { .. } => {
                let id = *self.swarm.local_peer_id();
                let addrs: Vec<String> =
                    self.swarm.listeners().map(|addr| format!("{addr}/p2p/{id}")).collect();
                emit("listening", json!({"peer": id.to_string(), "addrs": addrs}));
            }
            SwarmEvent::ConnectionEstablished { peer_id, num_established, endpoint, .. } => {
                if num_established.get() == 1 {
                    emit("connected", json!({"peer": peer_id.to_string()}));
                }
                if matches!(endpoint, ConnectedPoint::Dialer { .. }) {
                    self.dialled(peer_id, None);
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                let cause = cause.map(|e| e.to_string());
                emit("disconnected", json!({"peer": peer_id.to_string(), "cause": cause}));
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                self.dialled(peer, Some(error.to_string()));
            }
            SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(event)) => self.on_gossip(event),
            _ => {}
        }
    }

    fn dialled(&mut self, peer: PeerId, error: Option<String>) {
        for (_, command) in self.dials.extract_if(.., |(to, _)| *to == peer) {
            match &error {
                None => reply(&command, Ok(json!({"peer": peer.to_string()}))),
                Some(error) => reply(&command, Err(anyhow::anyhow!("{error}"))),
            }
        }
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let verdict = match message.topic == self.topic.hash() {
                    true => self.judge(&message),
                    false => heard(&message),
                };
                self.swarm.behaviour_mut().gossipsub.report_message_validation_result(
                    &message_id,
                    &propagation_source,
                    verdict,
                );
            }
            // What was said before there was anybody to hear it was lost.
            gossipsub::Event::Subscribed { topic, .. } if topic == self.topic.hash() => self.beat(),
            gossipsub::Event::SlowPeer { peer_id, failed_messages } => {
                let lost = failed_messages.priority + failed_messages.non_priority;
                let message = format!("{lost} messages to {peer_id} are lost: it is too slow");
                emit("error", json!({"kind": "Busy", "message": message}));
            }
            _ => {}
        }
    }

    fn judge(&mut self, message: &gossipsub::Message) -> MessageAcceptance {
        let (Some(peer), Some(seq)) = (message.source, message.sequence_number) else {
            return MessageAcceptance::Reject;
        };
        let heartbeat = match Heartbeat::decode(&message.data) {
            Ok(heartbeat) => heartbeat,
            Err(error) => {
                let message = format!("heartbeat of {peer}: {error}");
                emit("error", json!({"kind": "Invalid", "message": message}));
                return MessageAcceptance::Reject;
            }
        };
        let record = Record { peer, seq, heartbeat };
        self.upsert(record)
    }

    fn upsert(&mut self, record: Record) -> MessageAcceptance {
        let fields = json!({"record": record.fields()});
        let leaves = record.heartbeat.ttl <= LEAVE;
        match self.table.upsert(record, Instant::now()) {
            Change::Stale => return MessageAcceptance::Ignore,
            Change::Joined => emit("peer-joined", fields),
            Change::Updated if !leaves => emit("peer-updated", fields),
            Change::Updated | Change::Renewed => {}
        }
        MessageAcceptance::Accept
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        for record in self.table.expire(now) {
            let reason = if record.heartbeat.ttl <= LEAVE { "left" } else { "expired" };
            emit("peer-left", json!({"peer": record.peer.to_string(), "reason": reason}));
        }
        if now >= self.next {
            self.beat();
        }
    }

    /// Publishes the heartbeat now, and the next in between half a TTL and a TTL.
    fn beat(&mut self) {
        self.next = Instant::now() + self.heartbeat.ttl.mul_f64(rand::random_range(0.5..1.0));
        if self.observer {
            return;
        }
        let gossipsub = &mut self.swarm.behaviour_mut().gossipsub;
        let data = self.heartbeat.encode();
        match data.map(|data| gossipsub.publish(self.topic.clone(), data)) {
            Ok(Ok(id)) => {
                // One's own message is heard by nobody else here.
                let seq = id.0.last_chunk().map_or(0, |seq| u64::from_be_bytes(*seq));
                let peer = *self.swarm.local_peer_id();
                self.upsert(Record { peer, seq, heartbeat: self.heartbeat.clone() });
            }
            Ok(Err(gossipsub::PublishError::NoPeersSubscribedToTopic)) => {}
            Ok(Err(error)) => emit("error", json!({"message": error.to_string()})),
            Err(error) => emit("error", json!({"message": error.to_string()})),
        }
    }

    fn on_line(&mut self, line: &str) {
        let command = match serde_json::from_str::<Value>(line) {
            Ok(command) => command,
            Err(error) => return emit("error", json!({"message": error.to_string()})),
        };
        match self.execute(&command) {
            Ok(Some(fields)) => reply(&command, Ok(fields)),
            Ok(None) => {}
            Err(error) => reply(&command, Err(error)),
        }
    }

    /// Does what a command says. What takes its time replies later.
    fn execute(&mut self, command: &Value) -> Result<Option<Value>> {
        let text = |name: &str| command[name].as_str();
        Ok(Some(match text("cmd") {
            Some("connect") => {
                let addr: Multiaddr = text("addr").context("no addr")?.parse()?;
                let dial = DialOpts::from(addr);
                let peer = dial.get_peer_id().context("the addr has no /p2p/<id>")?;
                self.swarm.dial(dial)?;
                self.dials.push((peer, command.clone()));
                return Ok(None);
            }
            Some("view") => {
                let records: Vec<Value> = self.table.records().map(Record::fields).collect();
                json!({"n": records.len(), "records": records})
            }
            Some("stats") => {
                let topic = self.topic.hash();
                let mesh = self.swarm.behaviour().gossipsub.mesh_peers(&topic);
                json!({"mesh": mesh.map(PeerId::to_string).collect::<Vec<_>>()})
            }
            Some("join") => {
                let topic = IdentTopic::new(text("topic").context("no topic")?);
                self.swarm.behaviour_mut().gossipsub.subscribe(&topic)?;
                json!({})
            }
            Some("say") => {
                let topic = IdentTopic::new(text("topic").context("no topic")?);
                let said = text("text").context("no text")?;
                match self.swarm.behaviour_mut().gossipsub.publish(topic, said.as_bytes()) {
                    // As with the other stacks, it is no error.
                    Ok(_) | Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => json!({}),
                    Err(error) => bail!("it is not published: {error}"),
                }
            }
            Some("update") => {
                if let Some(host) = text("host") {
                    self.heartbeat.host = host.to_owned();
                }
                if let Some(meta) = command["meta"].as_array() {
                    let texts = meta.iter().filter_map(Value::as_str).map(str::to_owned);
                    self.heartbeat.meta = texts.collect();
                }
                if let Some(ttl) = text("ttl") {
                    self.heartbeat.ttl = humantime::parse_duration(ttl)?;
                }
                self.beat();
                json!({})
            }
            other => bail!("there is no command {other:?}"),
        }))
    }
}

/// A message on a topic that was joined by a command.
fn heard(message: &gossipsub::Message) -> MessageAcceptance {
    let Some(source) = message.source else { return MessageAcceptance::Reject };
    let text = String::from_utf8_lossy(&message.data);
    let topic = message.topic.as_str();
    emit("message", json!({"topic": topic, "source": source.to_string(), "text": text}));
    MessageAcceptance::Accept
}

fn reply(command: &Value, result: Result<Value>) {
    let (event, mut fields) = match result {
        Ok(fields) => ("reply", fields),
        Err(error) => ("error", json!({"kind": "Protocol", "message": error.to_string()})),
    };
    fields["cmd"] = command["cmd"].clone();
    fields["id"] = command["id"].clone();
    emit(event, fields);
}
