//! Peer exchange: the random, self-healing overlay.
