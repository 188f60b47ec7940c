//! `casm call`, `casm serve` and `casm services`. `serve`: one program for each
//! request.

mod serve;

pub use serve::serve;

use crate::{
    args::{CallArgs, ServicesArgs},
    failure::Failure,
    interrupt::Interrupt,
    json::{Line, ServiceLine},
    output::Output,
    run::leave,
    text,
};
use casm::{
    Change, Error, ErrorKind, Node, PeerId, Query, Result, Target,
    service::{CallOptions, Ended},
};
use std::{
    collections::BTreeMap,
    io::{IsTerminal, Read},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// One byte more than a request may have: more of stdin need not be read.
const MOST: u64 = (1 << 20) + 1;
/// The pause until it is looked again where a peer is.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks a service, and prints what it answers.
pub async fn call(args: &CallArgs) -> Result<(), Failure> {
    let output = Output::new(args.output.json);
    let config = args.node.observer()?;
    let mut interrupt = Interrupt::listen().await?;
    let data = tokio::select! {
        data = request(&args.request) => data?,
        () = interrupt.wait() => return Err(interrupted().into()),
    };
    let node = tokio::select! {
        node = Node::start(config) => node?,
        () = interrupt.wait() => return Err(interrupted().into()),
    };
    let result = tokio::select! {
        result = ask(&node, args, data, output) => result,
        failure = output.failure() => Err(failure),
        () = interrupt.wait() => Err(interrupted().into()),
    };
    leave(&node).await;
    result
}

async fn ask(node: &Node, args: &CallArgs, data: Vec<u8>, output: Output) -> Result<(), Failure> {
    let name = &args.name;
    let mut options = CallOptions::new();
    options.headers = args.headers.iter().cloned().collect();
    options.matching = args.matching.clone().map(|given| given.0);
    options.limit = args.limit;
    if let Some(limit) = args.timeout {
        options = options.timeout(limit);
    }
    if let Some(peer) = &args.peer {
        options = options.peer(reach(node, peer, args.wait).await?);
    } else if args.all {
        // Like `ls`: who comes later is not asked.
        sleep(args.wait).await;
    } else {
        // Said by the call itself, if there is none.
        let matching = options.matching.as_ref();
        let _ = timeout(args.wait, served(node, name, matching)).await;
    }
    if args.parts {
        let mut parts = node.call_stream(name, data, options)?;
        while let Some(part) = parts.next().await {
            let part = part?;
            if output.is_json() {
                output.line(&Line::part(&part))?;
            } else {
                output.write(shown(part))?;
            }
        }
    } else if args.all {
        let mut replies = node.call_all(name, data, options)?;
        while let Some(reply) = replies.next().await {
            let line = Line::reply(Some(&reply.peer), &reply.result);
            output.line(&line)?;
        }
        let ended = replies.ended().unwrap_or(Ended::All);
        if output.is_json() {
            output.line(&Line::Ended { reason: ended.name().into() })?;
        }
    } else {
        let answer = node.call_with(name, data, options).await?;
        if output.is_json() {
            output.line(&Line::reply(None, &Ok(answer.into())))?;
        } else {
            output.write(shown(answer.data))?;
        }
    }
    Ok(())
}

/// Waits for somebody who serves it, of those that a query finds.
async fn served(node: &Node, name: &str, matching: Option<&Query>) {
    let mut live = node.subscribe(Query::service(name));
    while let Some(change) = live.next().await {
        if let Change::Current(record) | Change::Joined(record) | Change::Updated(record) = change
            && matching.is_none_or(|query| query.matches(&record))
        {
            return;
        }
    }
}

/// What is to be asked.
async fn request(data: &str) -> Result<Vec<u8>> {
    if data != "-" {
        return Ok(data.as_bytes().to_vec());
    }
    let read = tokio::task::spawn_blocking(|| {
        let mut bytes = Vec::new();
        std::io::stdin().take(MOST).read_to_end(&mut bytes).map(|_| bytes)
    });
    let failed = |e: std::io::Error| {
        Error::new(ErrorKind::Io, format!("cannot read stdin: {e}")).with_source(e)
    };
    read.await.map_err(|e| failed(std::io::Error::other(e)))?.map_err(failed)
}

/// Connects to the peer that is to be asked, as soon as it is known where it is.
async fn reach(node: &Node, peer: &Target, wait: Duration) -> Result<PeerId> {
    let until = Instant::now() + wait;
    loop {
        match node.connect(peer).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if timeout_at(until, sleep(PAUSE)).await.is_err() {
                    return Err(error);
                }
            }
            result => return result,
        }
    }
}

/// An answer as it is; on a terminal, so that it cannot steer that.
fn shown(data: Vec<u8>) -> Vec<u8> {
    if !std::io::stdout().is_terminal() {
        return data;
    }
    let mut text = String::from_utf8_lossy(&data)
        .split('\n')
        .map(|line| text::clean(line).into_owned())
        .collect::<Vec<_>>()
        .join("\n");
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.into_bytes()
}

fn interrupted() -> Error {
    Error::new(ErrorKind::Cancelled, "interrupted")
}

/// Prints which services there are, and who serves them.
pub async fn services(args: &ServicesArgs) -> Result<(), Failure> {
    let output = Output::new(args.output.json);
    let config = args.node.observer()?;
    let mut interrupt = Interrupt::listen().await?;
    let node = tokio::select! {
        node = Node::start(config) => node?,
        () = interrupt.wait() => return Err(interrupted().into()),
    };
    tokio::select! {
        () = sleep(args.wait) => (),
        () = interrupt.wait() => (),
    }
    let mut found: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for record in node.view().iter(Query::all()) {
        for (name, version) in record.services() {
            let peers = found.entry((name.to_owned(), version.to_owned())).or_default();
            peers.push(record.peer().to_base58());
        }
    }
    leave(&node).await;
    let services =
        found.into_iter().map(|((name, version), peers)| ServiceLine { name, version, peers });
    output.line(&Line::Services { services: services.collect() })
}
