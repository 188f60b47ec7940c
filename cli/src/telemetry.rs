//! `--metrics`: the node's metrics in the OpenMetrics text format, over HTTP.

use casm::{Error, ErrorKind, Node, Result};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Connections that are served at a time; more wait.
const CONNECTIONS: usize = 16;

/// How long a client may take over a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait when a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the metrics of a node until the program ends.
///
/// # Errors
/// [`ErrorKind::Bind`] if the address cannot be listened at.
pub async fn serve(node: &Node, addr: SocketAddr) -> Result<()> {
    let cannot = |e: std::io::Error| {
        let message = format!("metrics: cannot listen at {addr}: {e}; name another --metrics ADDR");
        Error::new(ErrorKind::Bind, message).with_source(e)
    };
    let listener = TcpListener::bind(addr).await.map_err(cannot)?;
    let addr = listener.local_addr().map_err(cannot)?;
    tracing::info!("metrics are at http://{addr}/metrics");
    let metrics = node.metrics().clone();
    let accept = async move || listener.accept().await.map(|(stream, _)| stream);
    tokio::spawn(take(accept, move |stream, permit| {
        let metrics = metrics.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let service = service_fn(|request| {
                let response = respond(&request, || metrics.encode());
                async { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_buf_size(16 * 1024)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            match tokio::time::timeout(2 * PATIENCE, connection).await {
                Ok(Err(error)) => tracing::debug!(%error, "metrics: a request failed"),
                Err(_) => tracing::debug!("metrics: a client is too slow"),
                Ok(Ok(())) => (),
            }
        });
    }));
    Ok(())
}

/// Takes connections for ever, so many at a time. What fails, such as for want
/// of open files, passes: it is tried again after a pause, and told once.
async fn take<S>(
    mut accept: impl AsyncFnMut() -> io::Result<S>,
    mut serve: impl FnMut(S, OwnedSemaphorePermit),
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut failing = false;
    while let Ok(permit) = room.clone().acquire_owned().await {
        match accept().await {
            Ok(stream) => {
                if std::mem::take(&mut failing) {
                    tracing::info!("metrics: connections are accepted again");
                }
                serve(stream, permit);
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(
                        %error,
                        "metrics: cannot accept a connection; it is tried again"
                    );
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn respond(request: &Request<Incoming>, text: impl FnOnce() -> String) -> Response<String> {
    let mut response = Response::new(String::new());
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, "GET, HEAD".parse().expect("visible characters"));
    } else if request.uri().path() == "/metrics" {
        response
            .headers_mut()
            .insert(CONTENT_TYPE, OPENMETRICS.parse().expect("visible characters"));
        *response.body_mut() = text();
    } else {
        *response.status_mut() = StatusCode::NOT_FOUND;
        *response.body_mut() = "the metrics are at /metrics\n".into();
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use tokio::time::{Instant, timeout};

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_accepted_is_tried_again_after_a_pause() {
        const FAILS: usize = 50;
        let (tries, served) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        let accept = async || {
            let nth = tries.borrow().len();
            if nth > FAILS {
                std::future::pending::<()>().await;
            }
            tries.borrow_mut().push(Instant::now());
            let too_many_files = io::Error::from_raw_os_error(24);
            if nth < FAILS { Err(too_many_files) } else { Ok(nth) }
        };
        let all = take(accept, |stream, _| served.borrow_mut().push(stream));
        timeout(PATIENCE, all).await.unwrap_err();
        let tries = tries.into_inner();
        assert_eq!((tries.len(), served.into_inner()), (FAILS + 1, vec![FAILS]));
        assert!(tries.windows(2).all(|two| two[1] - two[0] >= PAUSE));
    }
}
