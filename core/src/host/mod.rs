//! The libp2p host.
