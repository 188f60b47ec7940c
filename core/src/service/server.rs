//! The capability `svc`: takes requests of other nodes.

use super::{
    Parts,
    parts::{hand_on, was_ended},
    places::Reader,
    registry::{Answered, Incoming, Registry},
    wire::{self, Failure, FailureKind},
};
use crate::{
    name::MAX_NAME,
    rpc::Room,
    schema::service_capnp::{header, service, services},
};
use capnp::struct_list;
use capnp_rpc::new_client;
use libp2p::PeerId;
use std::{cell::Cell, rc::Rc, time::Duration};
use tokio::sync::mpsc;

/// Streams of parts of one connection.
const PART_STREAMS: usize = 64;
/// Parts that wait for the caller, beside what is on its way.
const PARTS: usize = 2;

/// The object for a connection.
pub(super) fn object(registry: &Registry, peer: PeerId, room: Room) -> services::Client {
    let connection =
        Rc::new(Connection { registry: registry.clone(), peer, room, part_streams: Rc::default() });
    new_client(Services(connection))
}

struct Connection {
    registry: Registry,
    peer: PeerId,
    room: Room,
    part_streams: Rc<Cell<usize>>,
}

struct Services(Rc<Connection>);

impl services::Server for Services {
    async fn get(
        self: Rc<Self>,
        params: services::GetParams,
        mut results: services::GetResults,
    ) -> capnp::Result<()> {
        let name = params.get()?.get_name()?.to_str()?;
        // One that is longer is served by nobody, and isn't kept.
        let name = if name.len() <= MAX_NAME { name } else { "" };
        let service = Service { connection: self.0.clone(), name: name.into() };
        results.get().set_service(new_client(service));
        Ok(())
    }
}

struct Service {
    connection: Rc<Connection>,
    name: Box<str>,
}

impl service::Server for Service {
    async fn call(
        self: Rc<Self>,
        params: service::CallParams,
        mut results: service::CallResults,
    ) -> capnp::Result<()> {
        let incoming = {
            let params = params.get()?;
            let (data, headers) = (params.get_request()?, params.get_headers()?);
            self.connection.read(data, params.get_timeout_ms(), headers)?
        };
        // Not kept while it is worked on: it was copied, and is counted as that.
        drop(params);
        let answer = match incoming {
            Ok(incoming) => self.connection.registry.run(&self.name, incoming, None).await,
            Err(failure) => failure.into(),
        };
        self.connection.room.wait(size(&answer)).await?;
        wire::write_answer(&answer.result, results.get().init_answer());
        Ok(())
    }

    async fn stream(
        self: Rc<Self>,
        params: service::StreamParams,
        mut results: service::StreamResults,
    ) -> capnp::Result<()> {
        let (incoming, to) = {
            let params = params.get()?;
            let (data, headers) = (params.get_request()?, params.get_headers()?);
            let incoming = self.connection.read(data, params.get_timeout_ms(), headers)?;
            (incoming, params.get_parts()?)
        };
        drop(params);
        let place = Place::take(&self.connection.part_streams);
        let answer = match (incoming, place) {
            (Ok(incoming), Some(_place)) => self.send_parts(incoming, to).await,
            (Ok(_), None) => {
                self.connection.registry.refuse("part-streams");
                let why = format!("it sends {PART_STREAMS} streams of parts to one node, not more");
                Failure::new(FailureKind::Busy, why).into()
            }
            (Err(failure), _) => failure.into(),
        };
        self.connection.room.wait(size(&answer)).await?;
        wire::write_answer(&answer.result, results.get().init_answer());
        Ok(())
    }
}

impl Service {
    /// Runs a handler, and sends its parts.
    async fn send_parts(&self, incoming: Incoming, to: service::parts::Client) -> Answered {
        let ((sender, parts), reader) = (mpsc::channel(PARTS), Reader::default());
        let to_reader = Some((Parts(sender), reader.clone()));
        let run = self.connection.registry.run(&self.name, incoming, to_reader);
        let send = |part: Vec<u8>| {
            let mut request = to.part_request();
            request.get().set_data(&part);
            request.send()
        };
        let sent = match hand_on(run, parts, &reader, send).await {
            Ok(answer) if was_ended(&answer) => Ok(answer),
            Ok(answer) => to.end_request().send().promise.await.map(|_| answer),
            Err(error) => Err(error),
        };
        sent.unwrap_or_else(|error| {
            let why = format!("its parts are not taken: {error}");
            Failure::new(FailureKind::Parts, why).into()
        })
    }
}

impl Connection {
    /// Copies a request, if it is not too large.
    fn read(
        &self,
        data: &[u8],
        timeout_ms: u32,
        headers: struct_list::Reader<header::Owned>,
    ) -> capnp::Result<Result<Incoming, Failure>> {
        let headers = wire::read_headers(headers)?;
        let headers = match headers {
            Some(headers) if data.len() <= wire::MAX_DATA => headers,
            _ => {
                self.registry.refuse("too-large");
                let why = "a request has at most 1 MiB, and 16 headers of 4 KiB";
                return Ok(Err(Failure::new(FailureKind::TooLarge, why)));
            }
        };
        let timeout = match timeout_ms {
            0 => None,
            ms => Some(Duration::from_millis(ms.into())),
        };
        Ok(Ok(Incoming { peer: self.peer, data: data.to_vec(), headers, timeout }))
    }
}

fn size(answer: &Answered) -> usize {
    answer.result.as_ref().map_or(0, |reply| reply.data.len())
}

/// One of the streams of parts that a connection may have.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(taken: &Rc<Cell<usize>>) -> Option<Self> {
        (taken.get() < PART_STREAMS).then(|| {
            taken.set(taken.get() + 1);
            Self(taken.clone())
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
