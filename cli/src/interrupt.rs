//! Signals that ask the program to end.

use casm::{Error, ErrorKind, Result};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use tokio::{
    runtime,
    sync::{oneshot, watch},
    time::sleep,
};

/// How long the program may take to end when it is asked to, goodbyes
/// included. Then it is ended.
const END: Duration = Duration::from_secs(10);

/// Whether the program was asked to end.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Tells when the program is asked to end. Clones wait for the same signal.
#[derive(Clone)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Takes over SIGINT, SIGTERM and SIGHUP, or Ctrl-C where there are no
    /// signals: until then they end the program at once, so that whoever takes
    /// them over looks at the interrupt in all that may take time. The second
    /// signal ends the program at once, as does the first if it has no effect in
    /// 10 s: a clean end that hangs must not hold the user up.
    pub async fn listen() -> Result<Self> {
        let cannot = |e: std::io::Error| {
            Error::new(ErrorKind::Io, format!("cannot listen to signals: {e}")).with_source(e)
        };
        let (sender, receiver) = watch::channel(false);
        // Signals are heard whatever hinders the other threads.
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(cannot)?;
        let (ready, listens) = oneshot::channel();
        let work = async move {
            let mut signals = match Signals::new() {
                Ok(signals) => signals,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let _ = ready.send(Ok(()));
            signals.next().await;
            ASKED.store(true, Ordering::Relaxed);
            let _ = sender.send(true);
            tokio::select! {
                () = signals.next() => (),
                () = sleep(END) => (),
            }
            std::process::exit(130);
        };
        let thread = thread::Builder::new().name("casm-signals".into());
        thread.spawn(move || runtime.block_on(work)).map_err(cannot)?;
        match listens.await {
            Ok(listens) => listens.map_err(cannot)?,
            Err(_) => return Err(Error::new(ErrorKind::Internal, "nobody listens to signals")),
        }
        Ok(Self(receiver))
    }

    /// Waits until the program is asked to end.
    pub async fn wait(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Says that the program was asked to end, by other means than a signal.
pub fn end() {
    ASKED.store(true, Ordering::Relaxed);
}

/// Whether the program was asked to end, and was to do so in its own way.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

#[cfg(unix)]
struct Signals([tokio::signal::unix::Signal; 3]);

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
            _ = hangup.recv() => (),
        }
    }
}

#[cfg(not(unix))]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) {
        self.0.recv().await;
    }
}
