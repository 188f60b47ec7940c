//! CASM for Swift and Kotlin: the facade, exported with uniffi.
//!
//! Types are translated here, and nothing else. Calls that wait come in two forms:
//! one blocks, with a timeout in seconds; the other, `start_…`, begins the call and
//! gives what is told when it is over, and can be cancelled. What streams is pulled, or
//! told to a listener on the node's one thread for callbacks. A package for a language
//! is written over the code that is generated from this.
//!
//! - `node`, `view`, `remote`: the node, and the views of the cluster
//! - `admission`: whom the node takes
//! - `config`, `query`, `key`, `secret`: what they are told
//! - `reach`: whether others can reach the node, and relays
//! - `items`: records, events and changes, as values
//! - `byte_stream`: what is read and written
//! - `csp`: channels, select and semaphores
//! - `topic`: topics
//! - `service`: services, served and called
//! - `stream`, `listener`: what streams, pulled or pushed
//! - `log`: log records, for the language's own logging
//! - `call`, `pending`, `errors`: how a call is made, in the background too, and how it
//!   fails

mod admission;
mod byte_stream;
mod call;
mod config;
mod csp;
mod errors;
mod items;
mod key;
mod listener;
mod log;
mod node;
mod pending;
mod query;
mod reach;
mod remote;
mod secret;
mod service;
mod stream;
mod topic;
mod view;

pub use byte_stream::ByteStream;
pub use config::{Certificate, Config, FindOptions, Limits, RpcLimits, TableLimits};
pub use csp::{Branch, Channel, Job, Lease, Selected, Semaphore, select, start_select};
pub use errors::CasmError;
pub use items::{
    Change, Event, LeaveReason, Message, PeerFound, PeerInfo, PeerReply, PeerStatus, Record,
};
pub use key::Key;
pub use listener::{
    ChangeListener, EventListener, ListenerError, MessageListener, StreamListener, Subscription,
};
pub use log::{LogLevel, LogListener, LogRecord, forward_logs};
pub use node::{Node, at_exit, start_node};
pub use pending::{
    Done, PendingAnswer, PendingByteStream, PendingBytes, PendingChannel, PendingJob, PendingLease,
    PendingMaybeBytes, PendingMaybeChange, PendingMaybeEvent, PendingMaybeFound,
    PendingMaybeMessage, PendingMaybeRecord, PendingMaybeReply, PendingNode, PendingNumber,
    PendingPeer, PendingPeers, PendingRemoteView, PendingSelected, PendingSemaphore, PendingUnit,
    PendingView,
};
pub use query::Query;
pub use reach::{Reachability, ReachableAddr, RelayLimits};
pub use remote::RemoteView;
pub use secret::Secret;
pub use service::{
    Answer, CallAllOptions, CallOptions, PartStream, ReplyStream, Request, ServeOptions,
    ServiceHandler, ServiceStats, Serving,
};
pub use stream::{ChangeStream, EventStream, MessageStream, PeerStream, RecordStream};
pub use topic::{SubscribeOptions, Topic, TopicOptions};
pub use view::View;

uniffi::setup_scaffolding!("casm");
