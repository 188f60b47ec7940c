//! What the bindings to other languages share, so that each of them only
//! translates types.
//!
//! - `runtime`: one tokio runtime per process, made when it is first needed,
//!   and made anew in a forked child
//! - `call`: a future as a blocking call that can be interrupted, or as a call
//!   with a callback that can be cancelled
//! - `dispatcher`: the one thread per node on which callbacks run
//! - `source`, `stream`, `subscription`: what streams, pulled or pushed
//! - `byte_stream`: what is read and written
//! - `node`, `remote`, `topic`, `options`, `query`: the node, the views of others
//!   and topics, from plain values
//! - `lists`, `admit`: whom a node takes, by lists and by certificates
//! - `service`: services, served and called; `requests`: those that wait for a thread
//! - `csp`: channels, select and semaphores
//! - `reading`: what makes reading many records quick
//! - `ours`: what a forked child must not touch
//! - `exit`: where threads stay when the program ends
//! - `bench`: synthetic data for measurements and tests
//! - `log`: log records, handed to the language's own logging
//!
//! Nothing is started and nothing is installed before a call asks for it.

mod admit;
mod bench;
mod byte_stream;
mod call;
mod csp;
mod dispatcher;
mod exit;
mod ids;
mod lists;
mod log;
mod node;
mod options;
mod ours;
mod query;
mod reading;
mod remote;
mod requests;
mod runtime;
mod service;
mod source;
mod stream;
mod subscription;
mod topic;

pub use bench::{bench_events, bench_failed, bench_view};
pub use byte_stream::{ByteStream, Piece};
pub use call::{CHECK_EVERY, Pending, block, dispatcher_of_calls, guard, spawn};
pub use casm::{
    DEFAULT_TIMEOUT, Error, ErrorKind, Event, Keypair, LeaveReason, Message, Multiaddr, PeerId,
    PeerInfo, PeerStatus, Reachability, Record, Result, Secret,
    boot::Found,
    cluster::{Change, Field, Index, Query, View},
    identity::{load_key, save_key},
    service::{Answer, Headers, Reply, ServiceStats},
};
pub use csp::{Branch, Channel, Job as ChannelJob, Lease, Parcel, Semaphore, select};
pub use dispatcher::{Dispatcher, Driver, Job, Kept};
pub use exit::{Reentry, reenter};
pub use ids::id_text;
pub use log::{LogLevel, LogRecord, forward_logs};
pub use node::{FirstEvents, Node, at_exit, close_all};
pub use options::{
    LimitOptions, Options, Peer, RelayLimitOptions, RpcLimitOptions, TableLimitOptions, duration,
    generate_key, peer_id, time_limit,
};
pub use query::QuerySpec;
pub use reading::{TOGETHER, bring_near, hash_fields};
pub use remote::{Records, RemoteView};
pub use requests::{Given, Next, Requests, Woken};
pub use service::{CallSpec, Ended, Part, Parts, PeerReply, Replies, Request, ServeSpec, Serving};
pub use source::{Changes, Events, Peers, Source, Synthetic};
pub use stream::Stream;
pub use subscription::{Batch, Listener, Monitor, Subscription, subscribe};
pub use topic::{Messages, SubscribeSpec, Topic, TopicSpec};
