//! Capabilities over streams.
