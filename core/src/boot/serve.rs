//! Ports at which requests are answered.

use super::{
    desk::{Desk, Outcome},
    responder::{Asked, Medium},
    socket,
};
use crate::{Error, Result, iface::Iface};
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{net::UdpSocket, sync::watch};
use tokio_util::sync::{CancellationToken, DropGuard};

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

/// Answers at this port on every address of the machine of one family, as long
/// as the service lives: also on those that come later or are free later. Each
/// address is bound by itself, so that answers come from the address that was
/// asked, and multicast groups can use the port too.
///
/// # Errors
/// [`ErrorKind::Bind`](crate::ErrorKind::Bind) if not one address could be
/// bound now. It is tried again all the same: an address of which that is not
/// known is told as a trouble then.
pub(crate) fn serve_everywhere(
    desk: &Arc<Desk>,
    mut ifaces: watch::Receiver<Arc<[Iface]>>,
    port: u16,
    v4: bool,
) -> Result<()> {
    let mut everywhere = Everywhere {
        desk: Arc::clone(desk),
        port,
        v4,
        bound: HashMap::new(),
        troubled: HashSet::new(),
    };
    let known = Arc::clone(&ifaces.borrow_and_update());
    // Of a start that fails, its error tells.
    let first = everywhere.update(&known, false);
    let result = match &first {
        Some(error) if everywhere.bound.is_empty() => Err(error.clone()),
        _ => Ok(()),
    };
    desk.scope.spawn(async move {
        let mut failed = first.is_some();
        loop {
            tokio::select! {
                changed = ifaces.changed() => if changed.is_err() { return },
                // A port that was taken may be free, and an address that is new
                // may be ready.
                () = tokio::time::sleep(RETRY), if failed => {}
            }
            let known = Arc::clone(&ifaces.borrow_and_update());
            failed = everywhere.update(&known, true).is_some();
        }
    });
    result
}

/// One port on every address of one family.
struct Everywhere {
    desk: Arc<Desk>,
    port: u16,
    v4: bool,
    bound: HashMap<IpAddr, DropGuard>,
    troubled: HashSet<IpAddr>,
}

impl Everywhere {
    fn subject(&self, ip: IpAddr) -> String {
        format!("answering boot requests at {}", SocketAddr::new(ip, self.port))
    }

    /// Binds what there is, and lets go of what there is no longer. Gives back
    /// what could not be bound.
    fn update(&mut self, ifaces: &[Iface], tell: bool) -> Option<Error> {
        let now: Vec<IpAddr> =
            ifaces.iter().flat_map(Iface::addrs).filter(|ip| ip.is_ipv4() == self.v4).collect();
        let desk = Arc::clone(&self.desk);
        let troubles = &desk.metrics.troubles;
        for ip in self.troubled.extract_if(|ip| !now.contains(ip)).collect::<Vec<_>>() {
            troubles.forget(&self.subject(ip));
        }
        self.bound.retain(|ip, _| now.contains(ip));
        let mut failed = None;
        for ip in now {
            if self.bound.contains_key(&ip) {
                continue;
            }
            let at = SocketAddr::new(ip, self.port);
            match socket::bind(at) {
                Ok(socket) => {
                    let (token, task) =
                        (CancellationToken::new(), answer(Arc::clone(&desk), socket));
                    let ended = token.clone();
                    desk.scope.spawn(async move {
                        ended.run_until_cancelled_owned(task).await;
                    });
                    self.bound.insert(ip, token.drop_guard());
                    self.works(ip);
                }
                // Another boot address of this node has it.
                Err(_) if desk.serves(&at) => self.works(ip),
                Err(error) => {
                    let error = socket::bind_error(at, error);
                    if tell {
                        troubles.fails(&self.subject(ip), "unbound", &error);
                    }
                    self.troubled.insert(ip);
                    failed = Some(error);
                }
            }
        }
        failed
    }

    fn works(&mut self, ip: IpAddr) {
        self.troubled.remove(&ip);
        self.desk.metrics.troubles.works(&self.subject(ip));
    }
}
