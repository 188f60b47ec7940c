//! Ports at which requests are answered.

use super::{
    desk::{Desk, Outcome},
    responder::{Asked, Medium},
    socket,
};
use crate::{Result, iface::Iface};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use tokio::{net::UdpSocket, sync::watch};

/// Answers at one address as long as the service lives.
pub(crate) fn serve(desk: &Arc<Desk>, socket: UdpSocket) {
    let task = answer(Arc::clone(desk), socket);
    desk.scope.spawn(task);
}

async fn answer(desk: Arc<Desk>, socket: UdpSocket) {
    let _serving = socket.local_addr().map(|at| desk.serving(at));
    let mut buffer = socket::buffer();
    loop {
        let (len, source) = socket::receive(&socket, &mut buffer).await;
        let outcome = desk.receive(&buffer[..len], source, Medium::Served, |_| Asked::No);
        if let Outcome::Answer(reply) = outcome
            && let Some(bytes) = desk.answer(&reply, source.ip())
            && socket::send(&socket, &bytes, source).await
        {
            desk.sent("response");
        }
    }
}

/// Takes the first free one of these addresses, and answers there.
pub(crate) fn serve_first(
    desk: &Arc<Desk>,
    mut addrs: impl Iterator<Item = SocketAddr>,
) -> Option<SocketAddr> {
    addrs.find(|&at| socket::bind(at).map(|socket| serve(desk, socket)).is_ok())
}

/// Answers at this port on every address of the machine of one family, also on
/// those that come later. Each address is bound by itself, so that answers come
/// from the address that was asked, and multicast groups can use the port too.
///
/// # Errors
/// [`ErrorKind::Bind`](crate::ErrorKind::Bind) if not one address could be
/// bound now.
pub(crate) fn serve_everywhere(
    desk: &Arc<Desk>,
    mut ifaces: watch::Receiver<Arc<[Iface]>>,
    port: u16,
    v4: bool,
) -> Result<()> {
    let mut bound: HashMap<IpAddr, tokio_util::sync::DropGuard> = HashMap::new();
    let mut update = {
        let desk = Arc::clone(desk);
        move |ifaces: &[Iface]| {
            let now: Vec<IpAddr> =
                ifaces.iter().flat_map(Iface::addrs).filter(|ip| ip.is_ipv4() == v4).collect();
            bound.retain(|ip, _| now.contains(ip));
            let mut failed = None;
            for ip in now {
                if bound.contains_key(&ip) {
                    continue;
                }
                let at = SocketAddr::new(ip, port);
                match socket::bind(at) {
                    Ok(socket) => {
                        let token = tokio_util::sync::CancellationToken::new();
                        let task = answer(Arc::clone(&desk), socket);
                        let ended = token.clone();
                        desk.scope.spawn(async move {
                            ended.run_until_cancelled_owned(task).await;
                        });
                        bound.insert(ip, token.drop_guard());
                    }
                    Err(error) => failed = Some(socket::bind_error(at, error)),
                }
            }
            match failed {
                Some(error) if bound.is_empty() => Err(error),
                Some(error) => {
                    tracing::warn!(%error, "boot requests are not answered at one address");
                    Ok(())
                }
                None => Ok(()),
            }
        }
    };
    let known = Arc::clone(&ifaces.borrow_and_update());
    update(&known)?;
    desk.scope.spawn(async move {
        while ifaces.changed().await.is_ok() {
            let known = Arc::clone(&ifaces.borrow_and_update());
            if let Err(error) = update(&known) {
                tracing::warn!(%error, "boot requests are not answered");
            }
        }
    });
    Ok(())
}
