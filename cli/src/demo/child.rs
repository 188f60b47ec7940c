//! The nodes of a demo: processes of this program.

use crate::json::Line;
use casm::{Error, ErrorKind, Result};
use std::{
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::timeout,
};

/// How long a node may take to leave before it is killed.
const GOODBYE: Duration = Duration::from_secs(3);

/// Lines that wait to be read, of all nodes.
pub const QUEUE: usize = 1024;

/// Something that a node did.
#[derive(Debug)]
pub enum Told {
    /// It printed a line.
    Line(Box<Line>),
    /// It ended.
    Ended,
}

/// A node that runs. It is killed when this is dropped, and leaves by itself
/// when this program ends in whatever way, since its stdin ends then.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts node number `number`, whose lines go to `told` with the time
    /// since its start.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the process cannot be started.
    pub fn start(
        number: usize,
        namespace: &str,
        log: &[&str],
        told: mpsc::Sender<(usize, Duration, Told)>,
    ) -> Result<Self> {
        let cannot = |e: std::io::Error| {
            Error::new(ErrorKind::Io, format!("cannot start a node: {e}")).with_source(e)
        };
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        command
            .args(["run", "--json", "--until-stdin-ends", "--view", "1s", "--ns", namespace])
            .arg("--greet")
            .args(["--listen", "/ip4/127.0.0.1/tcp/0"])
            .args(["--listen", "/ip4/127.0.0.1/udp/0/quic-v1"])
            .args(["--boot", "/ip4/127.0.0.1/udp/8822/ports/32"])
            .args(["--host", &format!("node-{}", number + 1)])
            .args(log)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        // What configures the user's own nodes must not configure these.
        for (name, _) in
            std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("CASM_"))
        {
            command.env_remove(name);
        }
        // A Ctrl-C is for the demo, which ends the nodes once it has summed up.
        #[cfg(unix)]
        command.process_group(0);
        let started = Instant::now();
        let mut child = command.spawn().map_err(cannot)?;
        let stdout = child.stdout.take().expect("stdout is piped");
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(text)) = lines.next_line().await {
                match serde_json::from_str(&text) {
                    Ok(line) => {
                        if told
                            .send((number, started.elapsed(), Told::Line(Box::new(line))))
                            .await
                            .is_err()
                        {
                            return;
                        }
                    }
                    Err(error) => tracing::warn!(%error, text, "a node printed what is no event"),
                }
            }
            let _ = told.send((number, started.elapsed(), Told::Ended)).await;
        });
        Ok(Self(child))
    }

    /// Asks the node to leave.
    pub fn ask_to_leave(&mut self) {
        drop(self.0.stdin.take());
    }

    /// Waits until it has, and kills it if it takes too long.
    pub async fn wait(mut self) -> Option<ExitStatus> {
        if let Ok(status) = timeout(GOODBYE, self.0.wait()).await {
            return status.ok();
        }
        tracing::warn!("a node took too long to leave, and was killed");
        self.0.kill().await.ok()?;
        None
    }
}
