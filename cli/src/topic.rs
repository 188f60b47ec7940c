//! `casm pub` and `casm sub`: messages of topics.

use crate::{
    args::{PubArgs, SubArgs},
    failure::Failure,
    interrupt::Interrupt,
    json::Line,
    output::{self, Output},
    run::leave,
};
use casm::{
    Error, ErrorKind, Event, Events, Message, Node, NodeBuilder, Topic, topics::SubscribeOptions,
};
use futures::{Stream, StreamExt, stream};
use std::io::{BufRead, Read};
use tokio::{sync::mpsc, time::timeout};

/// Pieces of stdin that wait to be published.
const AHEAD: usize = 16;

/// Joins, waits for somebody on the topic, publishes, and leaves.
pub async fn publish(args: &PubArgs) -> Result<(), Failure> {
    let output = Output::new(args.output.json);
    let mut interrupt = Interrupt::listen().await?;
    let node = tokio::select! {
        node = Node::start(args.node.config()?) => node?,
        () = interrupt.wait() => return Err(interrupted().into()),
    };
    let result = async {
        args.node.attend(&node).await?;
        let topic = node.topic_with(&args.topic, args.options.options())?;
        tokio::select! {
            result = send(args, &topic, output) => result,
            () = interrupt.wait() => Err(interrupted().into()),
        }
    }
    .await;
    leave(&node).await;
    result
}

fn interrupted() -> Error {
    Error::new(ErrorKind::Cancelled, "interrupted")
}

async fn send(args: &PubArgs, topic: &Topic, output: Output) -> Result<(), Failure> {
    if timeout(args.wait, topic.wait_for_peers(args.peers)).await.is_err() {
        let there = topic.peers().len();
        let wait = humantime::format_duration(args.wait);
        output::remark(&format!("{there} peers are on the topic {:?} after {wait}", args.topic));
    }
    let (mut messages, mut peers) = (0, 0);
    if let Some(data) = args.message.as_ref().filter(|data| *data != "-") {
        (messages, peers) = (1, topic.publish(data).await?);
    } else {
        let mut given = stdin(args.lines, args.options.max_data);
        while let Some(data) = given.recv().await {
            let data = data.map_err(|e| {
                Error::new(ErrorKind::Io, format!("cannot read stdin: {e}")).with_source(e)
            })?;
            peers = topic.publish(data).await?;
            messages += 1;
        }
    }
    output.line(&Line::Published { topic: args.topic.clone(), messages, peers })
}

/// What comes on stdin: all of it, or line by line without their ends. Of what is
/// longer than a message may be, a byte too much is read.
fn stdin(lines: bool, most: usize) -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let read = move || {
        let mut stdin = std::io::stdin().lock();
        let most = most as u64 + 2;
        loop {
            let mut data = Vec::new();
            let mut some = (&mut stdin).take(most);
            let read = match lines {
                true => some.read_until(b'\n', &mut data),
                false => some.read_to_end(&mut data),
            };
            if lines && matches!(read, Ok(0)) {
                return;
            }
            for end in [b'\n', b'\r'] {
                if lines && data.last() == Some(&end) {
                    data.pop();
                }
            }
            let over = !lines || read.is_err();
            if sender.blocking_send(read.map(|_| data)).is_err() || over {
                return;
            }
        }
    };
    // A thread of its own: the runtime would wait for a read that it started.
    std::thread::spawn(read);
    receiver
}

/// Joins, and prints what comes on topics until interrupted.
pub async fn subscribe(args: &SubArgs) -> Result<(), Failure> {
    let output = Output::new(args.output.json);
    let mut interrupt = Interrupt::listen().await?;
    let builder = NodeBuilder::from(args.node.config()?);
    let events = builder.events();
    let node = tokio::select! {
        node = builder.start() => node?,
        () = interrupt.wait() => return Ok(()),
    };
    let result = async {
        args.node.attend(&node).await?;
        let messages = messages(args, &node)?;
        tokio::select! {
            result = print(args, events, messages, output) => result,
            failure = output.failure() => Err(failure),
            () = interrupt.wait() => Ok(()),
        }
    }
    .await;
    leave(&node).await;
    result
}

/// What comes on all topics, with what has been lost of each.
fn messages(
    args: &SubArgs,
    node: &Node,
) -> Result<impl Stream<Item = (String, Message, u64)> + Unpin + use<>, Failure> {
    let options = SubscribeOptions::default().queue(args.queue).full(args.full.into());
    let mut all = Vec::new();
    for name in &args.topics {
        let topic = node.topic_with(name, args.options.options())?;
        let (name, messages) = (name.clone(), topic.subscribe_with(options)?);
        let dropped = messages.watch_dropped();
        let mut told = 0;
        all.push(messages.map(move |message| {
            let lost = dropped() - told;
            told += lost;
            (name.clone(), message, lost)
        }));
    }
    Ok(stream::select_all(all))
}

async fn print(
    args: &SubArgs,
    mut events: Events,
    mut messages: impl Stream<Item = (String, Message, u64)> + Unpin,
    output: Output,
) -> Result<(), Failure> {
    let mut left = args.limit;
    while left != Some(0) {
        tokio::select! {
            event = events.next() => match event {
                // A script waits for this before it publishes.
                Some(event @ Event::Listening { .. }) => {
                    Line::of(&event).map_or(Ok(()), |line| output.line(&line))?;
                }
                Some(_) => {}
                None => return Err(Error::closed("node").into()),
            },
            message = messages.next() => {
                let (topic, message, lost) = message.ok_or_else(|| Error::closed("node"))?;
                if lost > 0 {
                    output.line(&Line::Dropped { count: lost })?;
                }
                output.line(&Line::message(topic, &message))?;
                left = left.map(|left| left - 1);
            }
        }
    }
    Ok(())
}
