//! One program for each request.

use crate::{
    args::ServeArgs, failure::Failure, interrupt::Interrupt, json::Line, output::Output, run::leave,
};
use casm::{
    Event, NodeBuilder,
    service::{Parts, Request, ServeOptions},
};
use std::{process::Stdio, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStderr, ChildStdout, Command},
};

/// One byte more than an answer may have.
const MOST: u64 = (1 << 20) + 1;
/// How much of what a program says of its failure is told.
const SAID: u64 = 1024;
/// The most bytes of a part.
const PART: usize = 64 << 10;

/// Serves a service until interrupted.
pub async fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let output = Output::new(args.output.json);
    let config = args.node.config()?;
    let mut interrupt = Interrupt::listen().await?;
    let builder = NodeBuilder::from(config);
    let mut events = builder.events();
    let node = tokio::select! {
        node = builder.start() => node?,
        () = interrupt.wait() => return Ok(()),
    };
    let served = async {
        args.node.attend(&node).await?;
        let options =
            ServeOptions::default().version(&args.service_version).max_inflight(args.max_inflight);
        let options = args.allow_role.iter().fold(options, ServeOptions::allow);
        let work = Arc::new((args.name.clone(), args.command.clone()));
        if args.parts {
            node.serve_stream_with(&args.name, &options, move |request, parts| {
                let work = work.clone();
                async move { send_parts(&work.0, &work.1, request, parts).await }
            })?;
        } else {
            node.serve_with(&args.name, &options, move |request| {
                let work = work.clone();
                async move { answer(&work.0, &work.1, request).await }
            })?;
        }
        let tell = async {
            while let Some(event) = events.next().await {
                if let Event::Listening { .. } = event
                    && let Some(line) = Line::of(&event)
                {
                    output.line(&line)?;
                }
            }
            Ok(())
        };
        tokio::select! {
            result = tell => result,
            failure = output.failure() => Err(failure),
            () = interrupt.wait() => Ok(()),
        }
    }
    .await;
    leave(&node).await;
    served
}

/// A program that works on a request, and ends with it: it and all that it has
/// started, which is in a process group of its own.
struct Work {
    child: Child,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

impl Drop for Work {
    fn drop(&mut self) {
        // Of one that has ended there is no number any more, which may be another's.
        #[cfg(unix)]
        if let Some(id) = self.child.id()
            && let Some(group) = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw)
        {
            use rustix::process::{Signal, kill_process_group};
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn start(service: &str, command: &[String], request: &mut Request) -> Result<Work, String> {
    let (program, args) = command.split_first().ok_or("there is no command")?;
    let headers = serde_json::to_string(request.headers()).unwrap_or_default();
    let mut command = Command::new(program);
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command
        .args(args)
        .env("CASM_REQUEST_PEER", request.peer().to_base58())
        .env("CASM_REQUEST_SERVICE", service)
        .env("CASM_REQUEST_HEADERS", headers)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("{program} cannot be started: {e}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        let data = request.take_data();
        // A program that reads nothing holds nobody up.
        tokio::spawn(async move {
            let _ = stdin.write_all(&data).await;
        });
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    Ok(Work { child, stdout, stderr })
}

async fn answer(
    service: &str,
    command: &[String],
    mut request: Request,
) -> Result<Vec<u8>, String> {
    let mut work = start(service, command, &mut request)?;
    let (stdout, stderr) = (work.stdout.take(), work.stderr.take());
    let (out, said) = tokio::join!(read(stdout, MOST), read(stderr, SAID));
    ended(work, &said).await?;
    Ok(out)
}

async fn send_parts(
    service: &str,
    command: &[String],
    mut request: Request,
    parts: Parts,
) -> Result<(), String> {
    let mut work = start(service, command, &mut request)?;
    let (stdout, stderr) = (work.stdout.take(), work.stderr.take());
    let send = async {
        let Some(mut stdout) = stdout else { return };
        let mut buffer = vec![0; PART];
        while let Ok(n @ 1..) = stdout.read(&mut buffer).await {
            if parts.send(&buffer[..n]).await.is_err() {
                return;
            }
        }
    };
    let ((), said) = tokio::join!(send, read(stderr, SAID));
    ended(work, &said).await
}

/// What a program wrote, so much of it; it may write more.
async fn read(from: Option<impl AsyncRead + Unpin>, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        let mut first = from.take(most);
        let _ = first.read_to_end(&mut bytes).await;
        let _ = tokio::io::copy(&mut first.into_inner(), &mut tokio::io::sink()).await;
    }
    bytes
}

/// Waits for the end of a program, which says how it went.
async fn ended(mut work: Work, said: &[u8]) -> Result<(), String> {
    let status = work.child.wait().await.map_err(|e| format!("the command is lost: {e}"))?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(said);
    let said = said.trim();
    Err(if said.is_empty() { status.to_string() } else { format!("{status}: {said}") })
}
