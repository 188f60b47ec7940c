//! The live, queryable picture of who is there.
//!
//! A tower: each floor knows those below it only.
//!
//! - `heartbeat`: what a node says of itself, on the wire
//! - `roles`: what is proven of a peer; `record`: an entry; `query`: what to look for
//! - `reserved`: meta fields that are the library's
//! - `snapshot`: the records at one moment, and how they are looked up
//! - `table`: what enters and what leaves
//! - `live`: queries that go on
//! - `service`: the handle to the task that joins all this to a pubsub topic
//! - `suspicion`: neighbours say who has crashed
//! - `sync`: anti-entropy with other nodes; `view_rpc`: the view over Cap'n
//!   Proto RPC, served and queried

mod heartbeat;
mod live;
mod query;
mod record;
pub(crate) mod reserved;
mod roles;
mod service;
mod snapshot;
mod suspicion;
mod sync;
mod table;
#[cfg(test)]
mod vectors;
mod view_rpc;

#[doc(hidden)]
pub use heartbeat::{Addrs, Heartbeat, HeartbeatError};
pub use live::{Change, LiveQuery};
/// Where a view is left for readers and live queries, for the benchmarks.
#[doc(hidden)]
pub use live::{Hub, Live};
pub use query::{Index, Query, Select};
pub use record::{Field, Meta, Record, server_of};
pub(crate) use reserved::Offer;
#[doc(hidden)]
pub use roles::Roles;
pub(crate) use roles::{RolesOf, no_roles};
pub(crate) use service::{Cluster, ClusterConfig, Handed, Numbers, Sign};
/// Which TTL a node announces, and how often it says that it lives, for the simulator:
/// it may change with any version.
#[doc(hidden)]
pub use service::{Pace, Relied, Stretch};
#[doc(hidden)]
pub use snapshot::Signed;
pub use snapshot::View;
/// Who is suspected to have crashed, for the simulator and for fuzzing.
#[doc(hidden)]
pub use suspicion::{Action, Heard, Sign as Noticed, Suspect, Suspects, SuspectsError, Suspicion};
pub(crate) use suspicion::{SignSuspects, start as start_suspicion};
/// Anti-entropy, for the simulator, the fuzzers and the benchmarks.
#[doc(hidden)]
pub use sync::{Compared, Items, PAUSE as SYNC_PAUSE, fuzzing as sync_fuzzing, short_id};
pub(crate) use sync::{Spacing, start as start_sync};
pub use table::Limits;
/// What decides who is in the view, for the simulator, the fuzzers and the
/// benchmarks: it may change with any version.
#[doc(hidden)]
pub use table::{Arrival, Detector, Difference, Held, Known, Knows, Now, Outcome, Table, Via};
pub(crate) use view_rpc::serve as serve_view;
pub use view_rpc::{RemoteRecords, RemoteView};
