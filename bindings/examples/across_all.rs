//! Looks at members in all languages that have found each other by themselves
//! (`across`, and its likes in the other languages), for `cargo xtask test languages`:
//! each sees all of them with what they say of themselves, calls a service of each
//! other, opens a stream to each other, and publishes what all others hear.
//!
//! `across_all NAMESPACE LANGUAGE…`: finds them at the address in `ACROSS_BOOT`, as an
//! observer whom none of them sees. It says what it looked at, and fails at the first
//! thing that is not so.

use casm::{Index, Node, Query, service::CallOptions};
use futures::future::try_join_all;
use std::{
    collections::BTreeMap,
    error::Error,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// How long a message takes at most, before it is published once more: it is delivered
/// once at most.
const SOON: Duration = Duration::from_secs(5);

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

struct Members {
    node: Node,
    /// The id of each, by its language.
    ids: BTreeMap<String, String>,
}

impl Members {
    /// Has one do something; what it says of it.
    async fn ask(&self, language: &str, order: &str, headers: &[(&str, &str)]) -> Result<String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let mut options = CallOptions::new().wait().timeout(PATIENCE);
        options.headers = headers.iter().map(owned).collect();
        let answer = self.node.call_with(&format!("do.{language}"), order, options).await;
        let answer = answer.map_err(|e| format!("{language} does not {order}: {e}"))?;
        is(&answer.peer.to_string(), &self.ids[language], language)?;
        let said = answer.text()?.strip_prefix(&format!("{language}>"));
        Ok(said.ok_or_else(|| format!("{language} says who it is not: {answer:?}"))?.to_owned())
    }

    fn languages(&self) -> impl Iterator<Item = &str> {
        self.ids.keys().map(String::as_str)
    }

    /// Each with each other.
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.languages().flat_map(|from| self.languages().map(move |to| (from, to)));
        pairs.filter(|(from, to)| from != to)
    }

    async fn each_sees_all(&self) -> Result<()> {
        let all: Vec<_> = self.ids.iter().map(|(name, id)| format!("{name}={id}")).collect();
        for language in self.languages() {
            let seen = self.ask(language, &format!("see||{}", all.len()), &[]).await?;
            is(&seen, &all.join(" "), language)?;
        }
        Ok(())
    }

    async fn each_calls_each(&self) -> Result<()> {
        for (from, to) in self.pairs() {
            let whose = self.ask(from, &format!("whose|do.{to}"), &[]).await?;
            is(&whose, &format!("{to} {}", self.ids[to]), from)?;
            let said = format!("{from} to {to}");
            let order = format!("call|do.{to}|header|k");
            let answer = self.ask(from, &order, &[("k", &said)]).await?;
            is(&answer, &format!("{to}>{said}"), from)?;
            let parts = self.ask(from, &format!("parts|count.{to}|5"), &[]).await?;
            is(&parts, "0 1 2 3 4", from)?;
        }
        Ok(())
    }

    async fn each_opens_a_stream_to_each(&self) -> Result<()> {
        for (from, to) in self.pairs() {
            let said = format!("{from} to {to}, ").repeat(10_000);
            let order = format!("stream|{}|{said}", self.ids[to]);
            let answer = self.ask(from, &order, &[]).await?;
            is(&answer, &format!("{to}:{}", said.to_uppercase()), from)?;
        }
        Ok(())
    }

    async fn all_hear_each(&self) -> Result<()> {
        for from in self.languages() {
            // The mesh spans them all, whoever is connected to whom.
            self.ask(from, "peers|across|1", &[]).await?;
        }
        for from in self.languages() {
            let (said, begun) = (format!("news of {from}"), Instant::now());
            let order = format!("heard||{said}");
            loop {
                self.ask(from, &format!("publish|across|{said}"), &[]).await?;
                let others = self.languages().filter(|to| *to != from);
                let heard = others
                    .map(async |to| is(&self.ask(to, &order, &[]).await?, &self.ids[from], to));
                match tokio::time::timeout(SOON, try_join_all(heard)).await {
                    Ok(heard) => break drop(heard?),
                    Err(_) if begun.elapsed() < PATIENCE => println!("{said}: once more"),
                    Err(_) => return Err(format!("not all hear {said:?}").into()),
                }
            }
        }
        Ok(())
    }
}

fn is(said: &str, wanted: &str, of: &str) -> Result<()> {
    if said == wanted {
        return Ok(());
    }
    let short = |text: &str| text.chars().take(500).collect::<String>();
    Err(format!("{of}: {:?} and not {:?}", short(said), short(wanted)).into())
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let namespace = args.next().ok_or("no namespace")?;
    let (boot, begun) = (std::env::var("ACROSS_BOOT")?, Instant::now());
    let builder = Node::builder().namespace(namespace).boot([&boot]).observer(true);
    let node = builder.listen("/ip4/0.0.0.0/tcp/0").start().await?;
    let mut ids = BTreeMap::new();
    for language in args {
        let query = Query::matching(Index::meta("language", &language));
        let one = tokio::time::timeout(PATIENCE, node.wait_for_query(query.clone(), 1)).await;
        let view = one.map_err(|_| format!("no member in {language} is here"))??;
        let record = view.iter(query).next().ok_or("it has left")?;
        ids.insert(language, record.peer().to_string());
    }
    let took = |what: &str| println!("{what}: {:.1} s", begun.elapsed().as_secs_f64());
    let members = Members { node, ids };
    members.each_sees_all().await?;
    took("each sees all");
    members.each_calls_each().await?;
    took("each calls each");
    members.each_opens_a_stream_to_each().await?;
    took("each opens a stream to each");
    members.all_hear_each().await?;
    took("all hear each");
    members.node.close().await?;
    Ok(())
}
