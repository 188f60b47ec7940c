//! What comes to the table, and what becomes of it.

use crate::{
    LeaveReason,
    cluster::{heartbeat::Heartbeat, record::Record, roles::Roles},
};
use libp2p::PeerId;
use std::time::Duration;

/// The time, on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since some moment, by a clock that never goes back.
    pub elapsed: Duration,
    /// Nanoseconds since 1970, by the calendar.
    pub unix_nanos: u64,
}

/// How a heartbeat came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// By gossip, from its source or from one that relays it.
    Gossip,
    /// Handed over by another node, which had it for so long.
    Exchange(Duration),
}

/// A heartbeat whose signature was verified.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Who signed it.
    pub peer: PeerId,
    /// Its sequence number.
    pub seq: u64,
    /// The node that it came from: its source, or who relays or hands it over.
    pub from: PeerId,
    /// What it says.
    pub beat: &'a Heartbeat,
    /// The signed message that it came in; kept if it is not too long.
    pub signed: &'a [u8],
    /// How it came.
    pub via: Via,
    /// The roles that are proven of who signed it, as this node knows.
    pub roles: &'a Roles,
}

impl Arrival<'_> {
    /// Whether it came over its source's own connection.
    pub(super) fn is_direct(&self) -> bool {
        self.from == self.peer
    }
}

/// What became of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// A peer that was not in the table.
    Joined,
    /// News of a peer in the table.
    Updated,
    /// The same as before from a peer in the table.
    Renewed,
    /// The peer says goodbye.
    Left,
    /// Known from an exchange; this is its first copy by gossip, and is to be
    /// relayed as any other.
    Relayed,
    /// Not newer than what the table has.
    Stale,
    /// Not newer than what the peer said before it left.
    Replayed,
    /// Its sequence number is too far ahead of the clock.
    Future,
    /// Its time was over before it came.
    Late,
    /// Sent so long ago that the peer must be gone, and handed here by another
    /// one: what was captured does not bring a peer back.
    Ghost,
    /// Newer than what the table has of the peer, which stays in it; but there is
    /// no room for all that it says now, and so its old host and meta stay.
    NoRoom,
    /// The table has no room for it.
    Full,
    /// The node that handed it over has its share of the table with what nobody
    /// else has told of.
    Share,
    /// Its peer is not one that this node takes. The table knows nothing of that.
    Stranger,
    /// The node's own, come back.
    Own,
    /// In this node's own name, and not of this run of it: of an earlier one, or of
    /// another node that has the same key. The table leaves that to who uses it.
    OwnAhead,
}

impl Outcome {
    /// The outcome's name as a metrics label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Joined | Self::Updated | Self::Renewed | Self::Left | Self::Relayed => "accepted",
            Self::Stale => "stale",
            Self::Replayed => "replayed",
            Self::Future => "future",
            Self::Late => "late",
            Self::Ghost => "ghost",
            Self::NoRoom => "no-room",
            Self::Full => "full",
            Self::Share => "share",
            Self::Stranger => "stranger",
            Self::Own => "own",
            Self::OwnAhead => "own-ahead",
        }
    }

    /// Whether the heartbeat is to be relayed.
    pub const fn is_accepted(self) -> bool {
        matches!(
            self,
            Self::Joined
                | Self::Updated
                | Self::Renewed
                | Self::NoRoom
                | Self::Left
                | Self::Relayed
        )
    }
}

/// A difference between two states of the table, as far as it shows: the same
/// said again is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A record that was not there.
    Joined(Record),
    /// A record that says something new.
    Updated {
        /// What it said.
        old: Record,
        /// What it says.
        new: Record,
    },
    /// A record that is no more.
    Left(Record, LeaveReason),
}
