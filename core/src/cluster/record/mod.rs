//! One peer's entry in the cluster view. `field`: by what it is found.

mod field;

pub use field::Field;

use super::{
    heartbeat::{Addrs, Heartbeat},
    reserved,
    roles::Roles,
};
use crate::PeerInfo;
use libp2p::{Multiaddr, PeerId};
use smallvec::SmallVec;
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

/// What a peer last said of itself: its heartbeat. Clones are cheap.
///
/// Two records are equal when they say the same, and the same roles are proven of their
/// peer, verified or not.
#[derive(Clone)]
pub struct Record {
    seq: u64,
    ttl_ms: u32,
    verified: bool,
    body: Arc<Body>,
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.seq == other.seq && self.ttl_ms == other.ttl_ms && self.says_same(other)
    }
}

impl Eq for Record {}

/// What usually stays from heartbeat to heartbeat, and is shared between them.
/// All text is in one allocation: the peer id in base58, the server number in
/// hexadecimal, the host, and the meta fields in the order of their keys.
///
/// Who goes over many records waits for memory, above all. So what leads to the
/// text stands first and together, in the order of declaration.
#[repr(C)]
#[derive(Clone)]
struct Body {
    text: Box<str>,
    peer_end: u16,
    host_end: u16,
    meta: SmallVec<[Span; FEW]>,
    server: u64,
    peer: PeerId,
    /// Last: they are looked at one record at a time.
    addrs: Addrs,
    /// Not said by the peer: what this node knows of it.
    roles: Roles,
}

/// Meta fields for which a record needs no allocation more.
const FEW: usize = 4;

/// Where a meta field ends in the text, and where its `=` stands. It begins
/// where the one before it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Span {
    equals: u16,
    end: u16,
}

/// Digits of a server number.
const SERVER_LEN: u16 = 16;

impl Record {
    /// A record from a checked heartbeat: its lengths are within the limits of
    /// [`Heartbeat`], and each meta field has a `=`.
    pub(in crate::cluster) fn new(peer: PeerId, seq: u64, ttl: Duration, beat: &Heartbeat) -> Self {
        let mut meta: Vec<&str> = Vec::with_capacity(beat.meta.len());
        for field in &beat.meta {
            if !meta.contains(&field.as_str()) {
                meta.push(field);
            }
        }
        // Stable: of several fields with one key the first stays the first.
        meta.sort_by_key(|field| split(field).0);

        let mut text = peer.to_base58();
        let peer_end = text.len();
        text.push_str(&server_text(beat.server));
        text.push_str(&beat.host);
        let host_end = text.len();
        let spans = meta.iter().map(|field| {
            let equals = text.len() + split(field).0.len();
            text.push_str(field);
            Span { equals: short(equals), end: short(text.len()) }
        });
        let mut meta: SmallVec<_> = spans.collect();
        meta.shrink_to_fit();
        let body = Body {
            peer,
            server: beat.server,
            peer_end: short(peer_end),
            host_end: short(host_end),
            text: text.into(),
            meta,
            addrs: beat.addrs.clone(),
            roles: Roles::default(),
        };
        Self { seq, ttl_ms: millis(ttl), verified: true, body: Arc::new(body) }
    }

    /// The record that follows this one when the peer says the same again.
    pub(in crate::cluster) fn renewed(&self, seq: u64, ttl: Duration) -> Self {
        Self { seq, ttl_ms: millis(ttl), verified: self.verified, body: self.body.clone() }
    }

    /// The same record, with the roles that are proven of the peer now.
    pub(in crate::cluster) fn with_roles(mut self, roles: &Roles) -> Self {
        if self.body.roles != *roles {
            Arc::make_mut(&mut self.body).roles = roles.clone();
        }
        self
    }

    /// The same record, but on the word of another node alone.
    pub(in crate::cluster) fn unverified(self) -> Self {
        Self { verified: false, ..self }
    }

    /// Whether the heartbeat says of host, meta, server and addresses what this
    /// record does.
    pub(in crate::cluster) fn says(&self, beat: &Heartbeat) -> bool {
        self.server() == beat.server
            && self.host() == beat.host
            && self.body.addrs == beat.addrs
            && (self.fields().eq(beat.meta.iter().map(String::as_str)) || {
                let other = Self::new(self.peer(), 0, Duration::ZERO, beat);
                self.same_keys(&other.with_roles(&self.body.roles))
            })
    }

    /// Whether every index has the same keys for both.
    pub(in crate::cluster) fn same_keys(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.body, &other.body) || self.body.same_keys(&other.body)
    }

    /// Whether both say the same of server, host, meta and TTL, and have the same
    /// roles, whatever they say of addresses.
    pub(in crate::cluster) fn says_same_but_addrs(&self, other: &Self) -> bool {
        self.ttl_ms == other.ttl_ms && self.same_keys(other)
    }

    /// Whether there is nothing new in one of them after the other. A TTL is none: it
    /// follows the size of the cluster.
    pub(in crate::cluster) fn says_same(&self, other: &Self) -> bool {
        self.same_keys(other)
            && (Arc::ptr_eq(&self.body, &other.body) || self.body.addrs == other.body.addrs)
    }

    /// The peer.
    pub fn peer(&self) -> PeerId {
        self.body.peer
    }

    /// The peer's id in base58.
    #[inline]
    pub fn peer_text(&self) -> &str {
        let body = &*self.body;
        &body.text[..body.peer_end.into()]
    }

    /// The number of the peer's instance; CASM derives it from the peer id.
    pub fn server(&self) -> u64 {
        self.body.server
    }

    /// The server number in 16 lower-case hexadecimal digits.
    pub fn server_text(&self) -> &str {
        let body = &*self.body;
        &body.text[body.peer_end.into()..(body.peer_end + SERVER_LEN).into()]
    }

    /// The sequence number of the heartbeat: the higher one counts. 0 only for
    /// a node's own record before its first heartbeat has gone out.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// How long the record is kept without a newer one: 1 s to 24 h. (A quarter
    /// of it is granted on top, for what is lost or late on the way.)
    pub fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms.into())
    }

    /// Whether this node has seen the peer's signature: always, but for records
    /// of another node's view ([`RemoteView`](super::RemoteView)) that it cannot
    /// prove, or can prove only for long ago. Those are what that node says, and
    /// nothing more.
    pub fn verified(&self) -> bool {
        self.verified
    }

    /// The name of the peer's host, as it says; at most 255 bytes.
    #[inline]
    pub fn host(&self) -> &str {
        let body = &*self.body;
        &body.text[(body.peer_end + SERVER_LEN).into()..body.host_end.into()]
    }

    /// Where the peer is reached, as it says: the most useful address first,
    /// without `/p2p/<id>`; at most 8. Empty if it doesn't say: Go's nodes don't.
    pub fn addrs(&self) -> Vec<Multiaddr> {
        self.body.addrs.iter().collect()
    }

    /// The peer and its addresses.
    pub fn info(&self) -> PeerInfo {
        PeerInfo { id: self.peer(), addrs: self.addrs() }
    }

    /// The addresses as a heartbeat has them.
    pub(in crate::cluster) fn told_addrs(&self) -> &Addrs {
        &self.body.addrs
    }

    /// What the peer says of itself, as a map. What it offers is not in it:
    /// [`services`](Self::services), [`channels`](Self::channels).
    pub fn meta(&self) -> Meta<'_> {
        Meta(&self.body)
    }

    /// The services that the peer offers, each with its version, in the order of
    /// their names.
    pub fn services(&self) -> impl Iterator<Item = (&str, &str)> {
        reserved::offered(self.meta(), reserved::SERVICE)
    }

    /// The channels that are at the peer's, in the order of their names.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        reserved::offered(self.meta(), reserved::CHANNEL).map(|(name, _)| name)
    }

    /// The roles that are proven of the peer, in their order: those of its membership
    /// certificate, which a certificate authority of this cluster has signed. This node
    /// knows them, and the peer cannot claim them. None where the cluster has no
    /// certificates, and none in records of another node's view.
    pub fn roles(&self) -> impl ExactSizeIterator<Item = &str> {
        self.body.roles.iter()
    }

    /// Whether this is one of the [`roles`](Self::roles).
    pub fn has_role(&self, role: &str) -> bool {
        self.body.roles.contains(role)
    }

    /// The same as they are kept.
    pub(in crate::cluster) fn known_roles(&self) -> &Roles {
        &self.body.roles
    }

    /// Whether the peer offers this service.
    pub(crate) fn serves(&self, name: &str) -> bool {
        self.meta().find(&format!("{}{name}", reserved::SERVICE)).is_some()
    }

    /// The meta fields as they were sent, `key=value`, in the order of their
    /// keys, with those of services and channels. Of several with one key the map
    /// has the first only; queries find them all.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = &str> {
        let body = &*self.body;
        (0..body.meta.len()).map(|i| body.field(i))
    }

    /// How many keys the record has in the index of this field.
    pub(in crate::cluster) fn keys(&self, field: Field) -> u16 {
        match field {
            Field::Meta => short(self.body.meta.len()),
            Field::Role => short(self.body.roles.len()),
            _ => 1,
        }
    }

    /// The key number `nth` in the index of this field.
    pub(in crate::cluster) fn key(&self, field: Field, nth: u16) -> &str {
        match field {
            Field::Peer => self.peer_text(),
            Field::Server => self.server_text(),
            Field::Host => self.host(),
            Field::Meta => self.body.field(nth.into()),
            Field::Role => self.body.roles.get(nth.into()),
        }
    }

    /// Bytes of memory that the record takes, indexes and roles left out.
    pub(in crate::cluster) fn weight(&self) -> usize {
        let body = &*self.body;
        let spans = if body.meta.spilled() { size_of_val(&*body.meta) } else { 0 };
        // The counts of a reference-counted allocation are 16 bytes.
        size_of::<Self>() + size_of::<Body>() + 16 + body.text.len() + spans + body.addrs.weight()
    }
}

impl Body {
    /// Whether all but the addresses is the same.
    fn same_keys(&self, other: &Self) -> bool {
        self.server == other.server
            && self.peer == other.peer
            && (self.peer_end, self.host_end) == (other.peer_end, other.host_end)
            && self.text == other.text
            && self.meta == other.meta
            && self.roles == other.roles
    }

    #[inline]
    fn field(&self, nth: usize) -> &str {
        let start = nth.checked_sub(1).map_or(self.host_end, |before| self.meta[before].end);
        &self.text[start.into()..self.meta[nth].end.into()]
    }

    fn pair(&self, nth: usize) -> (&str, &str) {
        split(self.field(nth))
    }
}

/// A record's meta fields as a map from key to value. Of several fields with
/// one key it has the first. Keys that are the library's are not in it.
#[derive(Clone, Copy)]
pub struct Meta<'a>(&'a Body);

impl<'a> Meta<'a> {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        if reserved::is_reserved(key) { None } else { self.find(key) }
    }

    /// The keys and their values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.from("").filter(|(key, _)| !reserved::is_reserved(key))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The same as a map of its own.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    /// The value of any key, also of one that is the library's.
    fn find(&self, key: &str) -> Option<&'a str> {
        self.from(key).next().filter(|(found, _)| *found == key).map(|(_, value)| value)
    }

    /// All keys from this one on, also those that are the library's.
    pub(in crate::cluster) fn from(
        &self,
        key: &str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let body = self.0;
        let mut last = None;
        (self.lower_bound(key)..body.meta.len())
            .map(|nth| body.pair(nth))
            .filter(move |(key, _)| last.replace(*key) != Some(*key))
    }

    fn lower_bound(&self, key: &str) -> usize {
        let (mut low, mut high) = (0, self.0.meta.len());
        while low < high {
            let mid = low.midpoint(high);
            if self.0.pair(mid).0 < key { low = mid + 1 } else { high = mid }
        }
        low
    }
}

impl fmt::Debug for Meta<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("peer", &self.peer())
            .field("server", &self.server_text())
            .field("seq", &self.seq())
            .field("ttl", &self.ttl())
            .field("host", &self.host())
            .field("meta", &self.meta())
            .field("addrs", &self.body.addrs)
            .field("roles", &self.body.roles)
            .finish()
    }
}

/// The server number of a node: derived from its peer id, so that it stays the
/// same over restarts and Go's nodes take the new heartbeats at once. (64-bit
/// FNV-1a over the id's bytes.)
pub fn server_of(peer: &PeerId) -> u64 {
    peer.to_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A server number as the index has it.
pub(in crate::cluster) fn server_text(server: u64) -> String {
    format!("{server:016x}")
}

/// Key and value of a meta field. Where there is no `=`, all of it is the key.
fn split(field: &str) -> (&str, &str) {
    field.split_once('=').unwrap_or((field, ""))
}

/// The limits of a heartbeat keep all of a record's text far below 64 KiB.
fn short(n: usize) -> u16 {
    u16::try_from(n).expect("a heartbeat's text is bounded")
}

fn millis(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(meta: &[&str]) -> Record {
        let beat = Heartbeat {
            server: 0xab,
            ttl: Some(Duration::from_secs(10)),
            host: "h".into(),
            meta: meta.iter().map(|&m| m.into()).collect(),
            sent_at: None,
            addrs: Default::default(),
        };
        Record::new(PeerId::random(), 1, Duration::from_secs(10), &beat)
    }

    #[test]
    fn the_first_of_duplicate_keys_is_in_the_map_and_every_field_is_a_key() {
        let r = record(&["zone=a=b", "role=x", "role=a", "role=x", "empty=", "=v"]);
        let map: Vec<_> = r.meta().iter().collect();
        assert_eq!(map, [("", "v"), ("empty", ""), ("role", "x"), ("zone", "a=b")]);
        assert_eq!(r.meta().get("role"), Some("x"));
        assert_eq!(r.meta().get("zone"), Some("a=b"));
        assert_eq!(r.meta().get(""), Some("v"));
        assert_eq!(r.meta().get("rol"), None);
        assert_eq!(r.meta().get("zz"), None);
        let fields: Vec<_> = r.fields().collect();
        assert_eq!(fields, ["=v", "empty=", "role=x", "role=a", "zone=a=b"]);
        assert_eq!((r.keys(Field::Meta), r.key(Field::Meta, 3)), (5, "role=a"));
    }

    #[test]
    fn what_is_offered_is_beside_the_meta() {
        let r = record(&["svc.b=2", "svc.a=1", "svc.b=3", "svc.no name=1", "svc.=1", "svc=x"]);
        assert_eq!(r.services().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(r.meta().iter().collect::<Vec<_>>(), [("svc", "x")]);
        assert_eq!((r.meta().get("svc.a"), r.meta().len()), (None, 1));
        assert!(r.serves("a") && !r.serves("c") && r.channels().next().is_none());
        let r = record(&["chan.jobs=1", "sem.s=1", "chan.=1"]);
        assert_eq!(r.channels().collect::<Vec<_>>(), ["jobs"]);
        assert!(r.meta().is_empty() && r.services().next().is_none());
        assert_eq!(r.fields().len(), 3);
    }

    #[test]
    fn text_is_cut_in_the_right_places() {
        let r = record(&[]);
        assert_eq!(r.peer_text(), r.peer().to_base58());
        assert_eq!((r.server_text(), r.host()), ("00000000000000ab", "h"));
        assert!(r.meta().is_empty() && r.meta().get("").is_none());
    }

    #[test]
    fn a_server_number_depends_on_the_peer_alone() {
        let (a, b) = (PeerId::random(), PeerId::random());
        assert_eq!(server_of(&a), server_of(&a));
        assert_ne!(server_of(&a), server_of(&b));
    }
}
