//! The live, queryable picture of who is there.
//!
//! - `heartbeat`: what a node says of itself, on the wire
//! - `record`, `query`, `view`: the public nouns: an entry, what to look for,
//!   a snapshot to look in
//! - `table`: what enters and what leaves, with `arrival` (its input and
//!   output), `slots` (the records), `index`
//!   and `node` (order by a field), `deadlines` (what expires next), `newcomers` (who makes room) and
//!   `remembered` (who is not to be resurrected)
//! - `pace`, `detector`: how often to say that one lives, and when to give up
//!   on others
//! - `live`: queries that go on; `hub`: where they and other readers find the
//!   latest view
//! - `service`: the handle to the `task` that joins all this to a pubsub topic
//! - `sync`: anti-entropy with other nodes
//! - `view_rpc`: the view over Cap'n Proto RPC, served and queried

mod arrival;
mod deadlines;
mod detector;
#[cfg(test)]
mod flood_tests;
mod heartbeat;
#[cfg(test)]
mod heartbeat_tests;
mod hub;
mod index;
mod live;
#[cfg(test)]
mod model_tests;
mod newcomers;
mod node;
mod pace;
mod query;
mod record;
mod remembered;
mod service;
#[cfg(test)]
mod service_tests;
mod slots;
mod sync;
mod table;
mod task;
#[cfg(test)]
mod vectors;
mod view;
mod view_rpc;

pub use arrival::{Arrival, Difference, Limits, Now, Outcome, Via};
pub use detector::Detector;
pub use heartbeat::{Heartbeat, HeartbeatError};
pub use hub::LiveQuery;
pub use live::{Change, Live};
pub use pace::Pace;
pub use query::{Field, Index, Query, Select};
pub use record::{Meta, Record, server_of};
pub(crate) use service::{Cluster, ClusterConfig, Handed, Sign};
pub(crate) use sync::start as start_sync;
/// Anti-entropy, for the simulator and for fuzzing.
#[doc(hidden)]
pub use sync::{Digest, DigestDifference, PAUSE as SYNC_PAUSE, fuzzing as sync_fuzzing};
pub use table::Table;
pub use view::{Signed, View};
pub(crate) use view_rpc::serve as serve_view;
pub use view_rpc::{RemoteRecords, RemoteView};
