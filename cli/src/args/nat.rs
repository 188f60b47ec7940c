//! The options of a node behind a NAT, and of one that relays for such nodes.

use super::parse;
use casm::{Config, Error, RelayLimits, Result};
use clap::{Args, builder::FalseyValueParser};
use std::time::Duration;

/// How a node gets through NATs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Node")]
pub struct NatArgs {
    /// Relay for peers behind a NAT that nobody else can reach; for a node that others
    /// can reach
    #[arg(long, env = "CASM_RELAY", value_parser = FalseyValueParser::new())]
    pub relay: bool,
    /// Relay for so many peers [default: 64]
    #[arg(long, value_name = "N", env = "CASM_RELAY_RESERVATIONS")]
    pub relay_reservations: Option<u32>,
    /// Relay so many connections at once [default: 128]
    #[arg(long, value_name = "N", env = "CASM_RELAY_CIRCUITS")]
    pub relay_circuits: Option<u32>,
    /// Relay so many bytes of a connection, both ways together [default: 268435456]
    #[arg(long, value_name = "N", env = "CASM_RELAY_BYTES")]
    pub relay_bytes: Option<u64>,
    /// Relay a connection for so long [default: 1h]
    #[arg(long, value_name = "D", env = "CASM_RELAY_TIME", value_parser = parse::duration)]
    pub relay_time: Option<Duration>,
    /// Don't use relays when the node can't be reached itself
    #[arg(long, env = "CASM_NO_RELAYS", value_parser = FalseyValueParser::new())]
    pub no_relays: bool,
    /// Ask the network's gateway to let others in, by UPnP
    #[arg(long, env = "CASM_UPNP", value_parser = FalseyValueParser::new())]
    pub upnp: bool,
}

impl NatArgs {
    /// Configures it.
    ///
    /// # Errors
    /// `Config` if there are limits and no relay. (Their ranges are those of the
    /// configuration.)
    pub fn set(&self, config: &mut Config) -> Result<()> {
        let mut limits = RelayLimits::default();
        let before = limits.clone();
        limits.reservations = self.relay_reservations.unwrap_or(limits.reservations);
        limits.circuits = self.relay_circuits.unwrap_or(limits.circuits);
        limits.circuit_bytes = self.relay_bytes.unwrap_or(limits.circuit_bytes);
        limits.circuit_time = self.relay_time.unwrap_or(limits.circuit_time);
        if !self.relay && limits != before {
            let accepted = "its limits are given, and of no use without: give --relay";
            return Err(Error::config("relay", false, accepted));
        }
        config.relay = self.relay.then_some(limits);
        config.use_relays = !self.no_relays;
        config.upnp = self.upnp;
        Ok(())
    }
}
