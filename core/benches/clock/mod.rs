//! Time spent computing, so that other work on the machine blurs no figure.

use std::time::Duration;

/// A moment in the life of this thread.
pub struct Clock(Duration);

impl Clock {
    /// Starts now.
    pub fn start() -> Self {
        Self(on_cpu())
    }

    /// Time on a processor since the start.
    pub fn elapsed(&self) -> Duration {
        on_cpu() - self.0
    }
}

/// How long this thread has been on a processor, where Linux says so; else the
/// time that has passed.
fn on_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = stat.and_then(|stat| stat.split(' ').next()?.parse().ok());
    nanos.map_or_else(
        || {
            static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
            START.get_or_init(std::time::Instant::now).elapsed()
        },
        Duration::from_nanos,
    )
}
