//! Queries and records, as the `View` interface has them.

use super::proof::Told;
use crate::{
    cluster::{
        Field, Heartbeat, HeartbeatError, Record,
        query::{Index, Query, Select},
    },
    schema::cluster_capnp::view,
};
use capnp::{Error, Result, struct_list};
use libp2p::PeerId;
use std::time::Duration;

/// The longest value of an index that is looked for; no record has a longer
/// one.
const MAX_KEY: usize = Heartbeat::MAX_META_LEN;
/// The most constraints of a query. There are two kinds.
const MAX_CONSTRAINTS: u32 = 8;

/// Why a record of another node's view cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error("a record is malformed: {0}")]
    Malformed(#[from] capnp::Error),
    #[error("a record's peer is not a peer id")]
    Peer,
    #[error("a record's heartbeat is not acceptable: {0}")]
    Heartbeat(#[from] HeartbeatError),
}

/// Reads a query.
///
/// # Errors
/// If it is malformed, over a limit, or asks for what is not known here.
pub(super) fn read_query(
    selector: view::selector::Reader,
    constraints: struct_list::Reader<view::constraint::Owned>,
    reverse: bool,
) -> Result<Query> {
    let select = match selector.which()? {
        view::selector::All(()) => Select::All,
        view::selector::Match(index) => {
            let index = index?;
            Select::Match { index: read_index(index)?, prefix: index.get_prefix() }
        }
        view::selector::From(index) => Select::From(read_index(index?)?),
    };
    let mut query = Query { select, reverse, ..Query::all() };
    if constraints.len() > MAX_CONSTRAINTS {
        return Err(Error::failed(format!("more than {MAX_CONSTRAINTS} constraints")));
    }
    for constraint in constraints {
        match constraint.which()? {
            view::constraint::Limit(limit) => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                query.limit = Some(query.limit.map_or(limit, |before| before.min(limit)));
            }
            view::constraint::To(index) => {
                let to = read_index(index?)?;
                if query.to.replace(to).is_some() {
                    return Err(Error::failed("more than one constraint `to`".into()));
                }
            }
        }
    }
    query.check().map_err(|error| Error::failed(error.to_string()))?;
    Ok(query)
}

fn read_index(index: view::index::Reader) -> Result<Index> {
    let (field, key) = match index.which()? {
        view::index::Peer(key) => (Field::Peer, key?.as_bytes()),
        view::index::Server(key) => (Field::Server, key?),
        view::index::Host(key) => (Field::Host, key?.as_bytes()),
        view::index::Meta(key) => (Field::Meta, key?.as_bytes()),
    };
    if key.len() > MAX_KEY {
        return Err(Error::failed(format!("a value of more than {MAX_KEY} bytes")));
    }
    let key = str::from_utf8(key).map_err(|_| Error::failed("a value is not UTF-8".into()))?;
    Ok(Index::new(field, key))
}

/// Writes the query's selector.
///
/// # Errors
/// If it is by what the interface doesn't know.
pub(super) fn write_selector(query: &Query, mut to: view::selector::Builder) -> Result<()> {
    match &query.select {
        Select::All => to.set_all(()),
        Select::Match { index, prefix } => write_index(index, *prefix, to.init_match())?,
        Select::From(index) => write_index(index, false, to.init_from())?,
    }
    Ok(())
}

/// How many constraints the query has.
pub(super) fn constraints(query: &Query) -> u32 {
    u32::from(query.limit.is_some()) + u32::from(query.to.is_some())
}

/// Writes the query's constraints; there is room for them.
///
/// # Errors
/// As of [`write_selector`].
pub(super) fn write_constraints(
    query: &Query,
    mut to: struct_list::Builder<view::constraint::Owned>,
) -> Result<()> {
    if let Some(limit) = query.limit {
        to.reborrow().get(0).set_limit(limit.try_into().unwrap_or(u64::MAX));
    }
    if let Some(end) = &query.to {
        write_index(end, false, to.get(u32::from(query.limit.is_some())).init_to())?;
    }
    Ok(())
}

fn write_index(index: &Index, prefix: bool, mut to: view::index::Builder) -> Result<()> {
    to.set_prefix(prefix);
    match index.field {
        Field::Peer => to.set_peer(&*index.key),
        Field::Server => to.set_server(index.key.as_bytes()),
        Field::Host => to.set_host(&*index.key),
        Field::Meta => to.set_meta(&*index.key),
        Field::Role => return Err(Error::unimplemented("queries by role are not sent".into())),
    }
    Ok(())
}

/// Reads a record of another node's view.
///
/// # Errors
/// If it is malformed, or no heartbeat could have said it.
pub(super) fn read_record(record: view::record::Reader) -> std::result::Result<Told, RecordError> {
    let peer = PeerId::from_bytes(record.get_peer()?.as_bytes()).map_err(|_| RecordError::Peer)?;
    // Go leaves the record's own `server` empty.
    let beat = Heartbeat::read(record.get_heartbeat()?)?;
    let ttl = beat.ttl.unwrap_or(Duration::from_millis(1));
    let signed = record.get_signed()?.to_vec();
    Ok(Told { record: Record::new(peer, record.get_seq(), ttl, &beat), signed })
}

/// Writes a record, with the message that proves it or with nothing.
pub(super) fn write_record(record: &Record, signed: &[u8], mut to: view::record::Builder) {
    if !signed.is_empty() {
        to.set_signed(signed);
    }
    to.set_peer(capnp::text::Reader(&record.peer().to_bytes()));
    to.set_server(record.server());
    to.set_seq(record.seq());
    let mut beat = to.init_heartbeat();
    beat.set_ttl(u32::try_from(record.ttl().as_millis()).unwrap_or(u32::MAX));
    beat.set_server(record.server());
    beat.set_host(record.host());
    let fields = record.fields();
    let mut meta = beat.reborrow().init_meta(u32::try_from(fields.len()).unwrap_or(u32::MAX));
    for (at, field) in (0..).zip(fields) {
        meta.set(at, field);
    }
    record.told_addrs().write(beat);
}
