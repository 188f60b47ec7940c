//! How long a call waits.

use crate::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio::time::timeout;

/// How long a call waits that somebody else has to answer, if nothing else is said:
/// 10 s.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for a call no longer than so; `None` is no limit. `what` it is, and what it
/// waits for, begins the error.
///
/// # Errors
/// The call's; `Timeout`.
pub(crate) async fn within<T>(
    limit: Option<Duration>,
    what: impl FnOnce() -> String,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(limit) = limit else { return call.await };
    timeout(limit, call).await.unwrap_or_else(|_| {
        let message = format!(
            "{} within {limit:?}: see whether the other node is there and can be reached, or \
             wait longer",
            what()
        );
        Err(Error::new(ErrorKind::Timeout, message))
    })
}
