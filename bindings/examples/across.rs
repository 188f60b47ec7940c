//! A member that does what others ask of it, for the tests across languages. Its
//! likes are python/tests/across.py and node/tests/across.mjs; what they do is said
//! in node/tests/languages.test.mjs.
//!
//! `across NAMESPACE ADDR…`: says `here ID ADDR`, and ends with its standard input.
//! With `ACROSS_BOOT` it looks for others there, and they reach it at every address.

use casm::{
    ByteStream, Error, ErrorKind, Node, PeerId, Query, Record, Result, Target,
    service::{CallOptions, Parts, Reply, Request},
};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use std::{collections::HashMap, time::Duration};
use tokio::sync::watch;

const LANGUAGE: &str = "rust";
const PROTOCOL: &str = "/across/1";
const PATIENCE: Duration = Duration::from_secs(60);

/// What was said on the topic, and by whom.
type Heard = watch::Receiver<HashMap<String, PeerId>>;

async fn obey(node: Node, heard: Heard, request: Request) -> Result<Reply> {
    let order = String::from_utf8_lossy(request.data()).into_owned();
    let mut words = order.splitn(3, '|').map(str::to_owned);
    let mut word = || words.next().unwrap_or_default();
    let (what, name, text) = (word(), word(), word());
    let said = match &*what {
        "call" => {
            let mut options = CallOptions::new().wait().timeout(PATIENCE);
            options.headers = request.headers().clone();
            node.call_with(&name, text, options).await?.text()?.to_owned()
        }
        "whose" => {
            let options = CallOptions::new().wait().timeout(PATIENCE);
            let answer = node.call_with(&name, "header|", options).await?;
            let language = answer.headers.get("language").map_or("", String::as_str);
            format!("{language} {}", answer.peer)
        }
        "fail" => return Err(Error::new(ErrorKind::Invalid, format!("no luck in {LANGUAGE}"))),
        "header" => request.headers().get(&name).cloned().unwrap_or_default(),
        "parts" => {
            let options = CallOptions::new().wait().timeout(PATIENCE);
            let parts = node.call_stream(&name, text, options)?;
            let parts: Vec<Result<Vec<u8>>> = parts.collect().await;
            let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
            parts.iter().map(|part| String::from_utf8_lossy(part)).collect::<Vec<_>>().join(" ")
        }
        "stream" => exchange(&node, name.parse::<Target>()?, &text).await?,
        "publish" => node.topic(&name)?.publish(text).await?.to_string(),
        "peers" => node.topic(&name)?.wait_for_peers(number(&text)?).await?.len().to_string(),
        "see" => {
            let view = tokio::time::timeout(PATIENCE, node.wait_for(number(&text)?)).await;
            let view =
                view.map_err(|_| Error::new(ErrorKind::Timeout, "they are not all here"))??;
            let all = view.iter(Query::all());
            let language = |record: &Record| record.meta().get("language").unwrap_or("").to_owned();
            let mut all: Vec<_> =
                all.map(|record| format!("{}={}", language(&record), record.peer())).collect();
            all.sort_unstable();
            all.join(" ")
        }
        "heard" => {
            let mut heard = heard;
            let heard = heard.wait_for(|heard| heard.contains_key(&text)).await;
            heard.map_err(|_| Error::new(ErrorKind::Closed, "the topic"))?[&text].to_string()
        }
        other => return Err(Error::new(ErrorKind::Invalid, format!("{other}?"))),
    };
    let headers = [("language".to_owned(), LANGUAGE.to_owned())].into();
    Ok(Reply { data: format!("{LANGUAGE}>{said}").into(), headers })
}

fn number(text: &str) -> Result<usize> {
    text.parse().map_err(|_| Error::new(ErrorKind::Invalid, format!("{text:?} is no number")))
}

/// What a peer makes of a text that it is sent over a stream.
async fn exchange(node: &Node, peer: Target, text: &str) -> Result<String> {
    let mut stream = node.open_stream(peer, PROTOCOL).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.close().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn shout(mut stream: ByteStream, _: PeerId) {
    let mut text = String::new();
    if stream.read_to_string(&mut text).await.is_ok() {
        let answer = format!("{LANGUAGE}:{}", text.to_uppercase());
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.close().await;
    }
}

async fn count(request: Request, parts: Parts) -> Result<()> {
    for n in 0..number(&String::from_utf8_lossy(request.data()))? {
        parts.send(n.to_string()).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let namespace = args.next().unwrap_or_default();
    let boot = std::env::var("ACROSS_BOOT").ok();
    let listen = if boot.is_some() { "/ip4/0.0.0.0/tcp/0" } else { "/ip4/127.0.0.1/tcp/0" };
    let builder = Node::builder().namespace(namespace).meta("language", LANGUAGE).listen(listen);
    let node = builder.boot([boot.as_deref().unwrap_or("none")]).start().await?;
    let topic = node.topic("across")?;
    let (hears, heard) = watch::channel(HashMap::new());
    let mut messages = topic.subscribe();
    tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            let text = String::from_utf8_lossy(message.data()).into_owned();
            hears.send_modify(|heard| {
                heard.insert(text, message.source());
            });
        }
    });
    node.on_stream(PROTOCOL, shout)?;
    node.serve_stream(&format!("count.{LANGUAGE}"), count)?;
    let serving = node.clone();
    node.serve(&format!("do.{LANGUAGE}"), move |request| {
        obey(serving.clone(), heard.clone(), request)
    })?;
    for addr in args {
        node.connect(addr.parse::<Target>()?).await?;
    }
    println!("here {} {}", node.id(), node.addrs()[0]);
    let ended = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    let _ = tokio::task::spawn_blocking(ended).await;
    node.close().await
}
