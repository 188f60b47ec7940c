//! Peer exchange: the random, self-healing overlay.

pub mod view;
