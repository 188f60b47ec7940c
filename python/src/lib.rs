//! CASM for Python: the types of the facade, translated. The package around
//! this module is in `casm/`.
//!
//! - `call`, `errors`: how a call waits, and what it raises
//! - `node`, `config`, `key`, `secret`: the node and what it is told
//! - `admission`: whom the node takes
//! - `reach`: whether others can reach the node, and relays
//! - `view`, `meta`, `remote`, `query`, `events`: what a node knows, and what
//!   happens to it
//! - `csp`: channels, select and semaphores
//! - `stream`: the same to iterate over, and to be called with
//! - `byte_stream`: what is read and written
//! - `topic`: topics and their messages
//! - `service`: services, served and called
//! - `driver`: the thread of the callbacks
//! - `log`, `bench`: log records; synthetic data for measurements and tests

mod admission;
mod bench;
mod byte_stream;
mod call;
mod config;
mod csp;
mod driver;
mod errors;
mod events;
mod key;
mod log;
mod meta;
mod node;
mod query;
mod reach;
mod remote;
mod secret;
mod service;
mod stream;
mod topic;
mod view;

/// The native part of the package `casm`.
#[pyo3::pymodule(gil_used = false)]
mod _casm {
    #[pymodule_export]
    use super::{
        admission::Admission,
        bench::{bench_events, bench_failed, bench_view},
        byte_stream::{Piece, RawStream, on_stream},
        call::Pending,
        config::{Config, PeerInfo, PeerStatus},
        csp::{_select, Branch, Channel, Job, Lease, Parcel, Semaphore, select},
        driver::Driver,
        events::{
            Change, ClockDiffers, Connected, Direct, Disconnected, Dropped, Event, Found,
            KeyShared, Listening, PeerJoined, PeerLeft, PeerUpdated, PeersFound,
            ReachabilityChanged, Relayed, ViewChanged,
        },
        key::Key,
        log::forward_logs,
        node::{Awaited, Node, start},
        query::Query,
        reach::{Reachability, ReachableAddr},
        remote::RemoteView,
        secret::Secret,
        service::{PeerReply, Request, Requests, ServiceStats, serve},
        stream::{Delivery, Stream, Subscription},
        topic::{Message, Topic},
        view::{Record, Records, View},
    };

    #[pymodule_init]
    fn init(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        use pyo3::types::PyModuleMethods;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
