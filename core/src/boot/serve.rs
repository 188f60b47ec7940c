//! Ports at which requests are answered.

use super::{
    desk::{Desk, Outcome},
    responder::{Asked, Medium},
    socket,
};
use crate::{Result, iface::Iface};
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{net::UdpSocket, sync::watch};

/// When what could not be bound is tried again.
pub(crate) const RETRY: Duration = Duration::from_secs(5);

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

/// Takes the first of these addresses that becomes free, and answers there.
/// `what` is told to fail until then, if it is anything.
pub(crate) fn serve_later(desk: &Arc<Desk>, what: Option<String>, addrs: Vec<SocketAddr>) {
    let tried = Arc::clone(desk);
    desk.scope.spawn(async move {
        let troubles = &tried.metrics.troubles;
        loop {
            if let Some(what) = &what {
                troubles.fails(
                    what,
                    "taken",
                    "not one port is free: nobody can find this node there",
                );
            }
            tokio::time::sleep(RETRY).await;
            if serve_first(&tried, addrs.iter().copied()).is_some() {
                return what.iter().for_each(|what| troubles.works(what));
            }
        }
    });
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
        let mut troubled: HashSet<IpAddr> = HashSet::new();
        move |ifaces: &[Iface], running: bool| {
            let now: Vec<IpAddr> =
                ifaces.iter().flat_map(Iface::addrs).filter(|ip| ip.is_ipv4() == v4).collect();
            let subject = |ip| format!("answering boot requests at {}", SocketAddr::new(ip, port));
            let troubles = &desk.metrics.troubles;
            troubled.retain(|ip| {
                now.contains(ip) || {
                    troubles.forget(&subject(*ip));
                    false
                }
            });
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
                        troubled.remove(&ip);
                        troubles.works(&subject(ip));
                    }
                    Err(error) => {
                        let error = socket::bind_error(at, error);
                        // Of a start that fails, its error tells.
                        if running {
                            troubles.fails(&subject(ip), "unbound", &error);
                        }
                        troubled.insert(ip);
                        failed = Some(error);
                    }
                }
            }
            (failed, !bound.is_empty())
        }
    };
    let known = Arc::clone(&ifaces.borrow_and_update());
    let mut failed = match update(&known, false) {
        (Some(error), false) => return Err(error),
        (failed, _) => failed.is_some(),
    };
    desk.scope.spawn(async move {
        loop {
            tokio::select! {
                changed = ifaces.changed() => if changed.is_err() { return },
                // A port that was taken may be free, and an address that is new
                // may be ready.
                () = tokio::time::sleep(RETRY), if failed => {}
            }
            let known = Arc::clone(&ifaces.borrow_and_update());
            failed = update(&known, true).0.is_some();
        }
    });
    Ok(())
}
