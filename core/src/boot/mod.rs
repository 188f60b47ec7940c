//! Discovery: finding the first peers.
//!
//! Pure parts, which take times and random sources as arguments: [`addr`] (boot
//! addresses), [`packet`] (the signed datagrams), [`permute`] (the order of a
//! crawl), [`survey`] (when to ask and to answer a multicast group),
//! [`responder`] and [`limit`] (what is answered), `turns` (in what order answers
//! are taken).
//!
//! Around them: `socket` and `desk` (sockets, and what all of them share),
//! `serve` (ports that answer), `group` (multicast), `crawl`, `fixed` (static
//! peers and names), [`race`] and [`router`] (several discoveries as one), `tap`
//! (what passes), `told` (what was found before), and `start` and `service`, which put them together as
//! [`Boot`].

pub mod addr;
mod crawl;
mod desk;
mod finding;
mod fixed;
mod group;
#[doc(hidden)]
pub mod limit;
pub mod packet;
mod packing;
#[doc(hidden)]
pub mod permute;
#[doc(hidden)]
pub mod race;
#[doc(hidden)]
pub mod responder;
#[doc(hidden)]
pub mod router;
mod serve;
mod service;
mod socket;
mod start;
#[doc(hidden)]
pub mod survey;
mod tap;
mod told;
mod turns;
#[cfg(test)]
mod vectors;

pub use addr::BootAddr;
pub(crate) use addr::Family;
pub use finding::{FindOptions, Finding, Found, Progress};
pub use race::Race;
pub use responder::Medium;
pub use router::Router;
pub use service::{Boot, BootConfig, Emit};
pub use tap::{Datagram, Tap, Tapped};

pub(crate) use finding::{PeerSink, subject};
pub(crate) use fixed::resolve;

use crate::{Namespace, Result};
use futures::future::BoxFuture;
use std::time::Duration;

/// A way to find peers, and to be found. Programs can bring their own.
pub trait Discovery: Send + Sync + 'static {
    /// Looks for peers that advertise a namespace, until `options.limit` are
    /// found, `options.timeout` has passed, or the stream is dropped. A peer
    /// may come more than once.
    ///
    /// Errors in the stream are of one source or attempt; others may go on.
    fn find_peers(&self, namespace: &Namespace, options: FindOptions) -> Finding;

    /// Lets others find this node under a namespace until `ttl` has passed.
    /// Whoever wants to be found longer calls it again in time.
    fn advertise(&self, namespace: &Namespace, ttl: Duration) -> BoxFuture<'static, Result<()>>;
}
