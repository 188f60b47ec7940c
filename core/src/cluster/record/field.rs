//! By what a record can be found.

/// A field of records by which they can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Field {
    /// The peer id, in base58.
    Peer,
    /// The server number, in 16 lower-case hexadecimal digits.
    Server,
    /// The host.
    Host,
    /// A meta field, `key=value`.
    Meta,
    /// A role that is proven of the peer.
    Role,
}

impl Field {
    /// Every field.
    pub(crate) const ALL: [Self; 5] =
        [Self::Peer, Self::Server, Self::Host, Self::Meta, Self::Role];

    /// Whether a record may have several values of it, or none.
    pub(in crate::cluster) const fn is_many(self) -> bool {
        matches!(self, Self::Meta | Self::Role)
    }

    /// The field's name, as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Server => "server",
            Self::Host => "host",
            Self::Meta => "meta",
            Self::Role => "role",
        }
    }
}
