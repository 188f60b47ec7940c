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
}

impl Field {
    /// Every field.
    pub(crate) const ALL: [Self; 4] = [Self::Peer, Self::Server, Self::Host, Self::Meta];

    /// The field's name, as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Server => "server",
            Self::Host => "host",
            Self::Meta => "meta",
        }
    }
}
