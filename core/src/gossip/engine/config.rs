//! What the engine is told, and its bounds.

use crate::gossip::mesh;
use std::{num::NonZeroUsize, time::Duration};

/// How the mesh is kept, and how long things take.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Peers to whom a message is passed on whole.
    pub degree: usize,
    /// A node with fewer mesh links grafts some.
    pub low: usize,
    /// A node with more prunes some, and with as many takes none from who connected
    /// to it.
    pub high: usize,
    /// Peers outside the mesh that are told, once a second, what they may lack.
    pub lazy: usize,
    /// As many more of those whose links were refused.
    pub refused: usize,
    /// How long a link that was pruned stays out.
    pub backoff: Duration,
    /// How long a frame waits for more after the last one with messages went to
    /// anybody.
    pub pause: Duration,
    /// How long it waits after the last one with messages to the same peer, if as
    /// many wait as go to a stranger at a time, or one of a topic that is to be
    /// quick.
    pub spacing: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            degree: mesh::DEGREE,
            low: mesh::LOW,
            high: mesh::HIGH,
            lazy: mesh::LAZY,
            refused: mesh::REFUSED,
            backoff: mesh::BACKOFF,
            pause: Duration::from_millis(50),
            spacing: Duration::from_millis(5),
        }
    }
}

/// How often the mesh is looked after and what is there is offered, as in Go.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);
/// When it is first. (Until then, who is in nobody's mesh gets nothing.)
pub(super) const FIRST_HEARTBEAT: Duration = Duration::from_millis(100);
/// How long a link stays out when a topic is left, as in Go.
pub(super) const LEFT_BACKOFF: Duration = Duration::from_secs(10);
/// A link that comes so much early is none too many: some count back-offs in
/// whole seconds.
pub(super) const SLACK: Duration = Duration::from_secs(1);
/// How often the links of a topic are judged by what they bring, as often as Go's
/// opportunistic grafting; and how old one is that is judged.
pub(super) const JUDGED: Duration = Duration::from_secs(60);
pub(super) const PROVEN: Duration = Duration::from_secs(30);
/// The longest back-off that a peer can ask for.
pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(3600);
/// How long a topic that is not joined any more is remembered: peers learn of it
/// a moment later.
pub(super) const LEFT: Duration = Duration::from_secs(60);
/// How long the peers are kept to whom is published on a topic that this node
/// has not joined.
pub(super) const FANOUT: Duration = Duration::from_secs(60);

/// What is younger may well be under way to who would be offered it.
pub(super) const OFFER_FROM: Duration = Duration::from_millis(100);
/// How long a message is offered: three heartbeats.
pub(super) const OFFER_UNTIL: Duration = Duration::from_millis(3300);
/// How long a message can be asked for.
pub(super) const KEPT: Duration = Duration::from_secs(7);
/// When what was offered and asked for has to be there.
pub(super) const PROMISE: Duration = Duration::from_secs(3);
/// A node whose heartbeat is later than by this has been held up itself: it blames
/// nobody for what did not come meanwhile.
pub(super) const HELD_UP: Duration = Duration::from_secs(1);
/// When the next one who offers it is asked, if it did not come.
pub(super) const ASK_NEXT: Duration = Duration::from_millis(700);
/// How long who offers something can be asked for it: it may have had it for as
/// long as it is offered.
pub(super) const OFFER_HOLDS: Duration = Duration::from_secs(3);
/// Messages from this size on are not wanted twice, as in Go.
pub(super) const LARGE: usize = 1024;
/// How long a peer's word counts that it does not want a message.
pub(super) const UNWANTED: Duration = Duration::from_secs(3);

/// Topics of one peer, and the bytes of their names.
pub(super) const MAX_TOPICS: usize = 1000;
pub(super) const MAX_TOPIC_BYTES: usize = 64 << 10;
/// Peers that are gone of which something is remembered.
pub(super) const MAX_DEPARTED: NonZeroUsize = NonZeroUsize::new(4096).expect("not 0");
/// Signatures under check.
pub(super) const MAX_RUNNING: usize = 256;
/// Messages of a topic that are under check or wait for a verdict: more wait until
/// its service has had time for these.
pub(crate) const WINDOW: usize = 512;
/// Messages of one forwarding peer that wait to be checked, and their bytes.
pub(super) const MAX_WAITING: usize = 4096;
pub(super) const MAX_WAITING_BYTES: usize = 2 << 20;
/// The bytes of all that are under check or wait for it.
pub(super) const MAX_WAITING_IN_ALL: usize = 64 << 20;
/// The bytes of messages that make a frame: it does not wait for more.
pub(super) const FULL: usize = 32 << 10;
/// So many messages do as well: what a frame costs is little for each by then.
pub(super) const MANY: usize = 64;
/// Messages that wait for one peer, and their bytes: a slow one loses the oldest.
pub(super) const MAX_OUTBOX: usize = 2048;
pub(super) const MAX_OUTBOX_BYTES: usize = 4 << 20;
/// Messages in a frame to a stranger. Go's nodes have room for 32 that wait to be
/// checked, and throw away what comes beyond (`defaultValidateQueueSize` of
/// go-libp2p-pubsub 0.19).
pub(super) const AT_A_TIME: usize = 24;
/// When there are so many, or so many bytes, what is published waits: the rest is
/// for what is passed on, and for heartbeats.
pub(super) const CROWDED: usize = MAX_OUTBOX / 2;
pub(super) const CROWDED_BYTES: usize = MAX_OUTBOX_BYTES / 2;
/// Who takes no frame for so long is not waited for.
pub(super) const STUCK: Duration = Duration::from_secs(2);
/// Ids that wait for one peer, of each kind.
pub(super) const MAX_OUTBOX_IDS: usize = 5000;
/// Ids that are offered again, and all ids of an offer that has such ones: half of
/// the frames with offers that Go's nodes look at in a heartbeat.
pub(super) const MAX_AGAIN: usize = 1500;
/// Ids of one peer's offers that are looked at in a heartbeat, as in Go.
pub(super) const MAX_OFFERED: usize = 5000;
/// Ids that a peer does not want, in each half of [`UNWANTED`].
pub(super) const MAX_UNWANTED: usize = 512;
/// Ids that are asked for and not there yet, and those of them that one peer was
/// the first to offer.
pub(super) const MAX_WANTS: usize = 65_536;
pub(super) const MAX_WANTS_OF_PEER: usize = MAX_WANTS / 8;
/// Messages that can be asked for, and their bytes.
pub(super) const MAX_KEPT: usize = 16_384;
pub(super) const MAX_KEPT_BYTES: usize = 32 << 20;
/// Times that a peer gets the same message on asking.
pub(super) const MAX_ASKED: u8 = 3;
/// Topics besides the joined ones that are kept: left, or only published on.
pub(super) const MAX_LOOSE_TOPICS: usize = 256;
