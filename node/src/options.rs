//! What a node is told before it starts.

use crate::{call::duration, key::Key};
use casm_bindings::LimitOptions;
use napi_derive::napi;
use std::collections::HashMap;

/// What a node can be told before it starts. Times are in milliseconds.
#[napi(object, object_to_js = false)]
pub struct Options {
    pub namespace: Option<String>,
    pub listen: Option<Vec<String>>,
    pub boot: Option<Vec<String>>,
    pub serve: Option<Vec<String>>,
    pub host: Option<String>,
    pub meta: Option<HashMap<String, String>>,
    pub ttl: Option<f64>,
    pub observer: Option<bool>,
    pub data: Option<String>,
    pub pex_tick: Option<f64>,
    pub limits: Option<Limits>,
    pub key_file: Option<String>,
}

/// Limits on what is spent on peers.
#[napi(object, object_to_js = false)]
#[derive(Default)]
pub struct Limits {
    pub connections: Option<u32>,
    pub connections_per_peer: Option<u32>,
    pub pending: Option<u32>,
    pub memory: Option<f64>,
}

impl Options {
    pub(crate) fn build(self, key: Option<&Key>) -> casm_bindings::Result<casm_bindings::Options> {
        let limits = self.limits.unwrap_or_default();
        Ok(casm_bindings::Options {
            namespace: self.namespace,
            listen: self.listen.unwrap_or_default(),
            boot: self.boot,
            serve: self.serve.unwrap_or_default(),
            host: self.host,
            meta: self.meta.unwrap_or_default().into_iter().collect(),
            ttl: self.ttl.map(|ms| duration("ttl", ms)).transpose()?,
            observer: self.observer.unwrap_or_default(),
            data: self.data.map(Into::into),
            pex_tick: self.pex_tick.map(|ms| duration("pexTick", ms)).transpose()?,
            limits: LimitOptions {
                connections: limits.connections,
                connections_per_peer: limits.connections_per_peer,
                pending: limits.pending,
                memory: limits.memory,
            },
            key: key.map(|key| key.0.clone()),
            key_file: self.key_file.map(Into::into),
        })
    }
}
