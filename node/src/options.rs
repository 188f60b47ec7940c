//! What a node is told before it starts.

use crate::{call::duration, key::Key, reach::RelayLimits, secret::Secret};
use casm_bindings::{LimitOptions, RpcLimitOptions, TableLimitOptions};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use std::collections::HashMap;

/// What a node can be told before it starts. Times are in milliseconds.
#[napi(object, object_to_js = false)]
pub struct Options {
    pub namespace: Option<String>,
    pub listen: Option<Vec<String>>,
    pub boot: Option<Vec<String>>,
    pub serve: Option<Vec<String>>,
    pub announce: Option<Vec<String>>,
    pub announce_only: Option<bool>,
    pub host: Option<String>,
    pub meta: Option<HashMap<String, String>>,
    pub ttl: Option<f64>,
    pub observer: Option<bool>,
    pub data: Option<String>,
    pub pex_tick: Option<f64>,
    pub power: Option<String>,
    pub pace: Option<String>,
    pub budget: Option<u32>,
    pub limits: Option<Limits>,
    pub key_file: Option<String>,
    pub secret_file: Option<String>,
    pub allow: Option<Vec<String>>,
    pub deny: Option<Vec<String>>,
    pub admit: Option<Vec<String>>,
    pub certificate: Option<Uint8Array>,
    pub certificate_file: Option<String>,
    pub revoked: Option<String>,
    pub relay: Option<bool>,
    pub relay_limits: Option<RelayLimits>,
    pub use_relays: Option<bool>,
    pub upnp: Option<bool>,
}

/// Limits on what is spent on peers.
#[napi(object, object_to_js = false)]
#[derive(Default)]
pub struct Limits {
    pub connections: Option<u32>,
    pub connections_per_peer: Option<u32>,
    pub pending: Option<u32>,
    pub memory: Option<f64>,
    pub rpc: Option<RpcLimits>,
    pub table: Option<TableLimits>,
}

/// Limits on what the cluster view may hold.
#[napi(object, object_to_js = false)]
#[derive(Default)]
pub struct TableLimits {
    pub records: Option<u32>,
    pub bytes: Option<u32>,
    pub remembered: Option<u32>,
    /// In milliseconds.
    pub probation: Option<f64>,
}

/// Limits on what RPC may cost. Times are in milliseconds.
#[napi(object, object_to_js = false)]
#[derive(Default)]
pub struct RpcLimits {
    pub message_bytes: Option<u32>,
    pub held_bytes: Option<u32>,
    pub queued_bytes: Option<u32>,
    pub total_bytes: Option<u32>,
    pub calls: Option<u32>,
    pub capabilities: Option<u32>,
    pub streams_per_peer: Option<u32>,
    pub streams: Option<u32>,
    pub idle: Option<f64>,
    pub stall: Option<f64>,
    pub call: Option<f64>,
}

impl Limits {
    fn build(self) -> casm_bindings::Result<LimitOptions> {
        let rpc = self.rpc.unwrap_or_default();
        let table = self.table.unwrap_or_default();
        let many = |given: Option<u32>| given.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        let time = |field, ms: Option<f64>| ms.map(|ms| duration(field, ms)).transpose();
        Ok(LimitOptions {
            connections: self.connections,
            connections_per_peer: self.connections_per_peer,
            pending: self.pending,
            memory: self.memory,
            rpc: RpcLimitOptions {
                message_bytes: many(rpc.message_bytes),
                held_bytes: many(rpc.held_bytes),
                queued_bytes: many(rpc.queued_bytes),
                total_bytes: many(rpc.total_bytes),
                calls: many(rpc.calls),
                capabilities: many(rpc.capabilities),
                streams_per_peer: many(rpc.streams_per_peer),
                streams: many(rpc.streams),
                idle: time("limits.rpc.idle", rpc.idle)?,
                stall: time("limits.rpc.stall", rpc.stall)?,
                call: time("limits.rpc.call", rpc.call)?,
            },
            table: TableLimitOptions {
                records: many(table.records),
                bytes: many(table.bytes),
                remembered: many(table.remembered),
                probation: time("limits.table.probation", table.probation)?,
            },
        })
    }
}

impl Options {
    pub(crate) fn build(
        self,
        key: Option<&Key>,
        secret: Option<&Secret>,
    ) -> casm_bindings::Result<casm_bindings::Options> {
        Ok(casm_bindings::Options {
            namespace: self.namespace,
            listen: self.listen.unwrap_or_default(),
            boot: self.boot,
            serve: self.serve.unwrap_or_default(),
            announce: self.announce.unwrap_or_default(),
            announce_only: self.announce_only.unwrap_or_default(),
            host: self.host,
            meta: self.meta.unwrap_or_default().into_iter().collect(),
            ttl: self.ttl.map(|ms| duration("ttl", ms)).transpose()?,
            observer: self.observer.unwrap_or_default(),
            data: self.data.map(Into::into),
            pex_tick: self.pex_tick.map(|ms| duration("pexTick", ms)).transpose()?,
            power: self.power,
            pace: self.pace,
            budget: self.budget,
            limits: self.limits.unwrap_or_default().build()?,
            key: key.map(|key| key.0.clone()),
            key_file: self.key_file.map(Into::into),
            secret: secret.map(|secret| secret.0.clone()),
            secret_file: self.secret_file.map(Into::into),
            allow: self.allow.unwrap_or_default(),
            deny: self.deny.unwrap_or_default(),
            admit: self.admit.unwrap_or_default(),
            certificate: self.certificate.map(|bytes| bytes.to_vec()),
            certificate_file: self.certificate_file.map(Into::into),
            revoked: self.revoked.map(Into::into),
            relay: self.relay.unwrap_or_default(),
            relay_limits: self.relay_limits.map(RelayLimits::build).transpose()?,
            use_relays: self.use_relays,
            upnp: self.upnp.unwrap_or_default(),
        })
    }
}
