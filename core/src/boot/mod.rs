//! Discovery: finding the first peers.
