//! Certificates of all nodes, and what they cost.

use anyhow::Result;
use casm::{
    Config, Keypair,
    admit::{Certificate, Terms, unix_seconds},
};
use serde_json::{Map, Value};
use std::time::SystemTime;

/// For how long they are valid, in seconds.
const VALID: u64 = 24 * 3600;
/// What is compared: processor time, memory and bytes, until all views are full and
/// after that.
const COMPARED: [&str; 6] = [
    "full_view_s",
    "full_view_cpu_s",
    "full_view_bytes_per_node",
    "cpu_cores",
    "bytes_per_node_per_s",
    "rss_bytes_per_node",
];

/// Gives a node a key, and a certificate by an authority.
pub fn certify(config: &mut Config, ca: &Keypair) -> Result<()> {
    let (key, now) = (Keypair::generate_ed25519(), unix_seconds(SystemTime::now()));
    let terms = Terms {
        peer: key.public().to_peer_id(),
        namespace: config.namespace.clone(),
        roles: vec!["worker".into()],
        not_before: now,
        not_after: now + VALID,
        issued: now,
        serial: rand::random(),
    };
    config.certificate = Some(Certificate::sign(ca, terms)?);
    config.admit = vec![ca.public().to_peer_id()];
    config.key = Some(key);
    Ok(())
}

/// The figures of a run with certificates, divided by those of one without.
pub fn ratio(with: &Value, without: &Value) -> Value {
    let ratios = COMPARED.iter().filter_map(|key| {
        let (with, without) = (with[key].as_f64()?, without[key].as_f64()?);
        (without > 0.0).then(|| (key.to_string(), (with / without).into()))
    });
    Value::Object(ratios.collect::<Map<_, _>>())
}
