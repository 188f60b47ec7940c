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
use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Connections that are served at a time; more wait.
const CONNECTIONS: usize = 16;

/// How long a client may take over a request.
const PATIENCE: Duration = Duration::from_secs(10);

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
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::spawn(async move {
        loop {
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Such as too many open files: it passes.
                    tracing::warn!(%error, "metrics: cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
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
        }
    });
    Ok(())
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
