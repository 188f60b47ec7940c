//! Tells when it is worth to look at the clocks: the machine has slept, or its wall clock
//! was set. Linux and Android tell of both by a timer that is cancelled then
//! (timerfd_create(2)), and nobody has to wake up for it before. Elsewhere nothing is told.

use crate::scope::Scope;
use tokio::sync::watch;

/// Told when the wall clock has jumped, as it does in the sleep of a machine. Where the
/// system doesn't say, its sender is gone.
pub(crate) fn jumps(scope: &Scope) -> watch::Receiver<()> {
    let (tell, jumps) = watch::channel(());
    match timer::Timer::new() {
        Ok(timer) => scope.spawn(async move {
            while timer.jumped().await.is_ok() {
                tell.send_replace(());
            }
        }),
        Err(error) => tracing::debug!("nothing tells of jumps of the clock: {error}"),
    }
    jumps
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod timer {
    use rustix::{
        io::Errno,
        time::{
            Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
            timerfd_settime,
        },
    };
    use std::io;
    use tokio::net::unix::pipe::Receiver;

    /// When the timer goes off, in seconds since 1970: as late as 32-bit systems can say.
    /// That does no harm, once: somebody looks at the clocks.
    const LATE: i64 = i32::MAX as i64;

    /// A timer on the wall clock that is there to be cancelled. It is read as a pipe is,
    /// which Tokio has without `unsafe`.
    pub(super) struct Timer(Receiver);

    impl Timer {
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
            let once = Timespec { tv_sec: 0, tv_nsec: 0 };
            let late = Timespec { tv_sec: LATE, tv_nsec: 0 };
            let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
            timerfd_settime(&timer, flags, &Itimerspec { it_interval: once, it_value: late })?;
            Ok(Self(Receiver::from_owned_fd_unchecked(timer)?))
        }

        /// Waits for the next jump of the clock. The timer goes on by itself.
        pub(super) async fn jumped(&self) -> io::Result<()> {
            loop {
                self.0.readable().await?;
                match self.0.try_read(&mut [0; 8]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if Errno::from_io_error(&error) == Some(Errno::CANCELED) => {
                        return Ok(());
                    }
                    read => return read.map(|_| ()),
                }
            }
        }

        /// What the system says of it.
        #[cfg(test)]
        pub(super) fn said(&self) -> String {
            use std::os::fd::AsRawFd as _;
            let fd = self.0.as_raw_fd();
            std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap()
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod timer {
    use std::io;

    /// There is none.
    pub(super) enum Timer {}

    impl Timer {
        pub(super) fn new() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) async fn jumped(&self) -> io::Result<()> {
            match *self {}
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use rustix::time::{ClockId, clock_gettime, clock_settime};
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn the_timer_is_on_the_wall_clock_and_cancelled_when_that_is_set() {
        let timer = timer::Timer::new().unwrap();
        assert!(timer.jumped().now_or_never().is_none());
        let said = timer.said();
        let has = |name: &str, value: &str| {
            said.lines()
                .any(|line| line.replace(char::is_whitespace, "") == format!("{name}:{value}"))
        };
        // CLOCK_REALTIME, and TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET.
        assert!(has("clockid", "0") && has("settimeflags", "03"), "{said}");
    }

    #[tokio::test]
    #[ignore = "sets the machine's clock, to what it is: that takes root, and is not done by the way"]
    async fn each_jump_of_the_clock_is_told() {
        let scope = Scope::default();
        let mut jumps = jumps(&scope);
        for _ in 0..3 {
            tokio::task::yield_now().await;
            assert!(!jumps.has_changed().unwrap());
            clock_settime(ClockId::Realtime, clock_gettime(ClockId::Realtime)).unwrap();
            timeout(Duration::from_secs(60), jumps.changed()).await.unwrap().unwrap();
        }
        scope.cancel();
    }
}
