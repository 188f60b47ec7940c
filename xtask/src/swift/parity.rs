//! What is public in Swift, beside the table of what every language has.

use crate::shell;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};
use toml::Table;

type Names = BTreeSet<String>;

/// The sections whose names are members of a type.
const MEMBERS: [(&str, &str); 24] = [
    ("node", "Node"),
    ("view", "ClusterView"),
    ("remote_view", "RemoteView"),
    ("channel", "Channel"),
    ("job", "Job"),
    ("semaphore", "Semaphore"),
    ("lease", "Lease"),
    ("topic", "Topic"),
    ("message", "Message"),
    ("record", "Record"),
    ("peer_status", "PeerStatus"),
    ("reachability", "Reachability"),
    ("reachable_addr", "ReachableAddr"),
    ("key", "Key"),
    ("secret", "Secret"),
    ("byte_stream", "ByteStream"),
    ("subscription", "Subscription"),
    ("request", "Request"),
    ("answer", "Answer"),
    ("serving", "Serving"),
    ("peer_reply", "PeerReply"),
    ("service_stats", "ServiceStats"),
    ("stream", "Feed"),
    ("changes", "Change"),
];

/// The options that are members of a type.
const FIELDS: [(&str, &str); 6] = [
    ("node", "Config"),
    ("limits", "Limits"),
    ("rpc_limits", "RPCLimits"),
    ("table_limits", "TableLimits"),
    ("relay_limits", "RelayLimits"),
    ("query", "Query"),
];

/// The options that are labels of a call.
const LABELS: [(&str, &str); 12] = [
    ("start", "Node.start"),
    ("topic", "Node.topic"),
    ("messages", "Topic.subscribe"),
    ("messages", "Topic.onMessage"),
    ("serve", "Node.serve"),
    ("serve", "Node.serveStream"),
    ("call", "Node.call"),
    ("call", "Node.callStream"),
    ("call_all", "Node.callAll"),
    ("open", "Node.openStream"),
    ("open", "Node.openChannel"),
    ("open", "Node.openSemaphore"),
];

/// Compares what the compiler says is public with bindings/api.toml.
pub fn check(symbols: &Path) -> Result<()> {
    let table = shell::workspace().join("bindings/api.toml");
    let graph = fs::read_to_string(symbols.join("Casm.symbols.json"))
        .context("the compiler wrote down no symbols")?;
    let public = Public::parse(&graph)?;
    let missing = differences(&fs::read_to_string(table)?, &public)?;
    ensure!(missing.is_empty(), "this is not what every language has:\n  {}", missing.join("\n  "));
    println!("swift: {} public names, with all that every language has", public.names.len());
    Ok(())
}

/// What is public: `Node`, `Node.id`, and with the labels of calls.
struct Public {
    names: Names,
    labels: BTreeMap<String, Names>,
    /// What speaks of the generated module.
    leaks: Vec<String>,
}

impl Public {
    fn parse(graph: &str) -> Result<Self> {
        let graph: Value = serde_json::from_str(graph)?;
        let (mut names, mut labels) = (Names::new(), BTreeMap::<String, Names>::new());
        let mut leaks = vec![];
        for symbol in graph["symbols"].as_array().context("no symbols")? {
            let path = symbol["pathComponents"].as_array().context("a symbol without a path")?;
            let path: Vec<_> = path.iter().filter_map(Value::as_str).collect();
            let text = path.join(".");
            let (name, taken) = text.split_once('(').unwrap_or((&text, ""));
            let taken = taken.trim_end_matches(')').split(':').filter(|label| !label.is_empty());
            labels.entry(name.to_owned()).or_default().extend(taken.map(str::to_owned));
            names.insert(name.to_owned());
            if symbol["declarationFragments"].to_string().contains("CasmFFI") {
                leaks.push(text);
            }
        }
        Ok(Self { names, labels, leaks })
    }
}

/// A line for each thing that is not as it should be.
fn differences(table: &str, public: &Public) -> Result<Vec<String>> {
    let table: Table = toml::from_str(table)?;
    let words = table.get("other").and_then(|other| other.get("swift"));
    let words: BTreeMap<String, String> =
        words.map(|words| words.clone().try_into()).transpose()?.unwrap_or_default();
    let section = |name: &str| {
        let section = table.get(name).and_then(toml::Value::as_table);
        section.with_context(|| format!("the table has no [{name}]"))
    };
    let list = |values: &toml::Value| -> Result<Vec<String>> {
        let names: Vec<String> = values.clone().try_into()?;
        Ok(names.iter().map(|name| camel(words.get(name).unwrap_or(name))).collect())
    };
    let mut wanted = vec![];
    for (name, object) in MEMBERS {
        for names in section(name)?.values() {
            wanted.extend(list(names)?.into_iter().map(|name| format!("{object}.{name}")));
        }
    }
    for (name, object) in [("events", "Event"), ("errors", "CasmError.Kind")] {
        for names in section(name)?.values() {
            wanted.extend(list(names)?.into_iter().map(|name| format!("{object}.{name}")));
        }
    }
    for names in section("module")?.values() {
        wanted.extend(list(names)?);
    }
    let options = section("options")?;
    let option =
        |name: &str| list(options.get(name).with_context(|| format!("[options] has no {name}"))?);
    for (name, object) in FIELDS {
        wanted.extend(option(name)?.into_iter().map(|name| format!("{object}.{name}")));
    }
    let mut lines: Vec<_> = wanted
        .into_iter()
        .filter(|name| !public.names.contains(name))
        .map(|name| format!("Swift lacks {name}"))
        .collect();
    let labels = LABELS.into_iter().chain([("find_peers", "Node.findPeers")]);
    for (name, call) in labels {
        let there = public.labels.get(call).with_context(|| format!("Swift lacks {call}"))?;
        let missing = option(name)?.into_iter().filter(|label| !there.contains(label));
        lines.extend(missing.map(|label| format!("{call} does not take {label}")));
    }
    lines.extend(public.leaks.iter().map(|name| format!("{name} shows the generated module")));
    Ok(lines)
}

/// `wait_for` is `waitFor`, and `NotFound` is `notFound`.
fn camel(name: &str) -> String {
    let mut upper = false;
    let mut out = String::new();
    for (at, char) in name.chars().enumerate() {
        match char {
            '_' => upper = true,
            _ if at == 0 => out.push(char.to_ascii_lowercase()),
            _ if upper => {
                out.push(char.to_ascii_uppercase());
                upper = false;
            }
            _ => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_swift_does() {
        assert_eq!(camel("wait_for"), "waitFor");
        assert_eq!(camel("NotFound"), "notFound");
        assert_eq!(camel("setTTL"), "setTTL");
    }

    #[test]
    fn what_is_public_is_read_and_what_is_missing_is_named() {
        let symbol = |path: &str, says: &str| {
            let path: Vec<_> = path.split('.').collect();
            serde_json::json!({
                "pathComponents": path, "declarationFragments": [{"spelling": says}]
            })
        };
        let graph = serde_json::json!({"symbols": [
            symbol("Node.topic(_:exact:)", "func topic"),
            symbol("Node.ffi", "let ffi: CasmFFI.Node"),
        ]});
        let public = Public::parse(&graph.to_string()).unwrap();
        assert!(public.names.contains("Node.topic"));
        assert!(public.labels["Node.topic"].contains("exact"));
        assert_eq!(public.leaks, ["Node.ffi"]);
        let empty = Public { names: Names::new(), labels: BTreeMap::new(), leaks: vec![] };
        let table = include_str!("../../../bindings/api.toml");
        assert!(differences(table, &empty).is_err());
        // All that is labelled is there, and nothing else.
        let labels = LABELS.iter().map(|(_, call)| ((*call).to_owned(), Names::new()));
        let labels = labels.chain([("Node.findPeers".to_owned(), Names::new())]).collect();
        let lines =
            differences(table, &Public { names: Names::new(), labels, leaks: vec![] }).unwrap();
        for line in [
            "Swift lacks Node.waitFor",
            "Swift lacks CasmError.Kind.notFound",
            "Node.topic does not take exact",
        ] {
            assert!(lines.iter().any(|there| there == line), "{line}: {lines:?}");
        }
    }
}
