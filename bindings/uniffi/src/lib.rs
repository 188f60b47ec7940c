//! CASM for Swift and Kotlin: the facade, exported with uniffi.
//!
//! Types are translated here, and nothing else. Calls that wait block, with a
//! timeout in seconds; what streams is pulled, or told to a listener on the
//! node's one thread for callbacks. A package for a language is written over
//! the code that is generated from this.
//!
//! - `node`, `view`, `remote`: the node, and the views of the cluster
//! - `config`, `query`, `key`: what they are told
//! - `items`: records, events and changes, as values
//! - `csp`: channels, select and semaphores
//! - `stream`, `listener`: what streams, pulled or pushed
//! - `log`: log records, for the language's own logging
//! - `call`, `errors`: how a call is made, and how it fails

mod call;
mod config;
mod csp;
mod errors;
mod items;
mod key;
mod listener;
mod log;
mod node;
mod query;
mod remote;
mod stream;
mod view;

pub use config::{Config, FindOptions, Limits, RpcLimits, TableLimits};
pub use csp::{Branch, Channel, Job, Lease, Selected, Semaphore, select};
pub use errors::CasmError;
pub use items::{Change, Event, LeaveReason, PeerFound, PeerInfo, PeerStatus, Record};
pub use key::Key;
pub use listener::{ChangeListener, EventListener, ListenerError, Subscription};
pub use log::{LogLevel, LogListener, LogRecord, forward_logs};
pub use node::Node;
pub use query::Query;
pub use remote::RemoteView;
pub use stream::{ChangeStream, EventStream, PeerStream, RecordStream};
pub use view::View;

uniffi::setup_scaffolding!("casm");
