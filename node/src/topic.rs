//! Topics.

use crate::{
    call::{Pending, duration, guard, spawn},
    errors::{OrThrow, Result},
    port::{Shared, Work},
    query::QuerySpec,
    stream::{Forward, Stream, Subscription},
};
use casm_bindings::{SubscribeSpec, TopicSpec};
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use std::sync::Arc;

/// What a topic is to take.
#[napi(object, object_to_js = false)]
pub struct TopicOptions {
    pub exact: Option<bool>,
    pub max_data: Option<u32>,
    pub accept: Option<QuerySpec>,
}

impl TopicOptions {
    pub(crate) fn build(self) -> casm_bindings::Result<TopicSpec> {
        Ok(TopicSpec {
            exact: self.exact.unwrap_or_default(),
            max_data: self.max_data.map(|bytes| bytes as usize),
            accept: self.accept.map(|accept| accept.build()).transpose()?,
        })
    }
}

/// How a subscriber takes messages.
#[napi(object, object_to_js = false)]
pub struct SubscribeOptions {
    pub queue: Option<u32>,
    pub full: Option<String>,
    pub echo: Option<bool>,
}

impl From<SubscribeOptions> for SubscribeSpec {
    fn from(options: SubscribeOptions) -> Self {
        let SubscribeOptions { queue, full, echo } = options;
        let queue = queue.map(|queue| queue as usize);
        Self { queue, full, echo: echo.unwrap_or_default() }
    }
}

/// A handle of a topic.
#[napi(js_name = "NativeTopic")]
pub struct Topic {
    topic: casm_bindings::Topic,
    port: Arc<Shared>,
}

impl Topic {
    pub(crate) fn new(topic: casm_bindings::Topic, port: Arc<Shared>) -> Self {
        Self { topic, port }
    }
}

#[napi]
impl Topic {
    #[napi(getter)]
    pub fn name(&self) -> &str {
        self.topic.name()
    }

    #[napi(getter)]
    pub fn full_name(&self) -> &str {
        self.topic.full_name()
    }

    /// Hands over to how many peers the message was sent. The bytes are copied:
    /// the program may change them meanwhile.
    #[napi]
    pub fn publish(&self, id: u32, data: Uint8Array, timeout: Option<f64>) -> Result<Pending> {
        let timeout = timeout.map(|ms| duration("timeout", ms)).transpose().or_throw()?;
        let call = self.topic.publish(data.to_vec(), timeout);
        spawn("publish", &self.port, id, call, |peers| Work {
            count: Some(peers as f64),
            ..Work::default()
        })
    }

    #[napi]
    pub fn peers(&self) -> Result<Vec<String>> {
        guard("peers", || self.topic.peers())
    }

    #[napi]
    pub fn wait_for_peers(&self, id: u32, n: u32) -> Result<Pending> {
        let call = self.topic.wait_for_peers(n as usize);
        spawn("waitForPeers", &self.port, id, call, |peers| Work {
            texts: Some(peers),
            ..Work::default()
        })
    }

    #[napi]
    pub fn subscribe(&self, options: SubscribeOptions) -> Result<Stream> {
        let messages = guard("subscribe", || self.topic.subscribe(&options.into()))?;
        Ok(Stream::new(messages, self.port.clone()))
    }

    /// Hands over every message from now on under this number.
    #[napi]
    pub fn on_message(&self, id: u32, options: SubscribeOptions) -> Result<Subscription> {
        let listen = || self.topic.on_message(&options.into(), Forward(id));
        guard("on", listen).map(Subscription::from)
    }

    #[napi]
    pub fn close(&self) {
        self.topic.close();
    }
}
