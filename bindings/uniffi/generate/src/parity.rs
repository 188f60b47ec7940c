//! The table of what every language has, beside what a library exports.

use crate::starts::{self, START};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use toml::Table;
use uniffi_bindgen::ComponentInterface;

type Names = BTreeSet<String>;

/// What the node has beyond the table: it is made by this, where other
/// languages have a constructor.
const OWN: &str = "start";

/// The array of a section of what waits.
const WAITS: &str = "waits";

/// What one of the two has and the other lacks: a line for each.
///
/// Whole sets are compared, so that what is exported and not in the table is
/// found too. What waits is there in the background as well.
pub fn differences(table: &str, exported: &ComponentInterface) -> Result<Vec<String>> {
    let table = Expected::parse(table)?;
    let mut node = table.all("node")?;
    node.insert(OWN.into());
    let changes: Names = table.some("changes", &["kinds"])?.iter().map(|s| capital(s)).collect();
    let functions = exported.function_definitions().iter().map(|f| f.name().to_owned()).collect();
    // A constructor waits, too.
    let module = with(table.all("module")?, "start_node");
    // As all languages arrange by themselves.
    let module = with(module, "at_exit");
    let mut pairs = vec![
        ("the module", module, functions),
        ("Node", node, members(exported, "Node")?),
        // A start is given the configuration and how long it may take, too.
        (
            "Node.start",
            with(with(table.some("options", &["start"])?, "config"), "timeout"),
            arguments(exported, "Node", OWN)?,
        ),
        // Its length is an operator in other languages.
        ("View", with(table.all("view")?, "len"), members(exported, "View")?),
        ("RemoteView", table.all("remote_view")?, members(exported, "RemoteView")?),
        ("Channel", table.all("channel")?, members(exported, "Channel")?),
        (
            "Node.open_channel",
            with(with(table.some("options", &["open"])?, "name"), "peer"),
            arguments(exported, "Node", "open_channel")?,
        ),
        ("Job", table.all("job")?, members(exported, "Job")?),
        ("Semaphore", table.all("semaphore")?, members(exported, "Semaphore")?),
        ("Lease", table.all("lease")?, members(exported, "Lease")?),
        ("Topic", table.all("topic")?, members(exported, "Topic")?),
        ("Message", table.all("message")?, fields(exported, "Message")?),
        ("TopicOptions", table.some("options", &["topic"])?, fields(exported, "TopicOptions")?),
        (
            "SubscribeOptions",
            table.some("options", &["messages"])?,
            fields(exported, "SubscribeOptions")?,
        ),
        ("Key", table.all("key")?, members(exported, "Key")?),
        ("Secret", table.all("secret")?, members(exported, "Secret")?),
        ("ByteStream", table.all("byte_stream")?, members(exported, "ByteStream")?),
        ("Subscription", table.all("subscription")?, members(exported, "Subscription")?),
        ("Record", table.all("record")?, fields(exported, "Record")?),
        ("PeerStatus", table.all("peer_status")?, fields(exported, "PeerStatus")?),
        ("Reachability", table.all("reachability")?, fields(exported, "Reachability")?),
        ("ReachableAddr", table.all("reachable_addr")?, fields(exported, "ReachableAddr")?),
        ("Config", table.some("options", &["node"])?, fields(exported, "Config")?),
        ("Limits", table.some("options", &["limits"])?, fields(exported, "Limits")?),
        ("RpcLimits", table.some("options", &["rpc_limits"])?, fields(exported, "RpcLimits")?),
        (
            "TableLimits",
            table.some("options", &["table_limits"])?,
            fields(exported, "TableLimits")?,
        ),
        (
            "RelayLimits",
            table.some("options", &["relay_limits"])?,
            fields(exported, "RelayLimits")?,
        ),
        ("Query", table.some("options", &["query"])?, fields(exported, "Query")?),
        ("FindOptions", table.some("options", &["find_peers"])?, fields(exported, "FindOptions")?),
        ("CasmError", table.all("errors")?, variants(exported, "CasmError")?),
        ("Event", table.all("events")?, variants(exported, "Event")?),
        ("Change", changes, variants(exported, "Change")?),
    ];
    // What is answered is answered by calls of it.
    let answers = ["answer", "fail", "on_cancel", "part", "start_part"];
    let request = answers.into_iter().fold(table.all("request")?, with);
    // What gives the next item waits, though it isn't called so in the table.
    let stream = with(table.all("stream")?, "start_next");
    let part: Names = stream.iter().filter(|name| *name != "dropped").cloned().collect();
    pairs.extend([
        ("Request", request, members(exported, "Request")?),
        ("Answer", with(table.all("answer")?, "data"), fields(exported, "Answer")?),
        ("Serving", table.all("serving")?, members(exported, "Serving")?),
        ("ServiceStats", table.all("service_stats")?, fields(exported, "ServiceStats")?),
        ("PeerReply", with(table.all("peer_reply")?, "error_kind"), fields(exported, "PeerReply")?),
        ("ServeOptions", table.some("options", &["serve"])?, fields(exported, "ServeOptions")?),
        ("CallOptions", table.some("options", &["call"])?, fields(exported, "CallOptions")?),
        (
            "CallAllOptions",
            table.some("options", &["call_all"])?,
            fields(exported, "CallAllOptions")?,
        ),
        ("ReplyStream", with(part.clone(), "ended"), members(exported, "ReplyStream")?),
        ("PartStream", part, members(exported, "PartStream")?),
    ]);
    let streams = ["EventStream", "ChangeStream", "PeerStream", "RecordStream", "MessageStream"];
    for object in streams {
        pairs.push((object, stream.clone(), members(exported, object)?));
    }
    let lines = pairs.iter().flat_map(|(what, expected, there)| {
        let missing = expected.difference(there).map(move |name| format!("{what} lacks {name}"));
        let unknown = there.difference(expected).map(move |name| format!("{what} has {name} too"));
        missing.chain(unknown)
    });
    Ok(lines.chain(starts::differences(exported)).collect())
}

/// The table, in the words of this language.
struct Expected {
    table: Table,
    other: BTreeMap<String, String>,
}

impl Expected {
    fn parse(text: &str) -> Result<Self> {
        let table: Table = toml::from_str(text)?;
        let other = table.get("other").and_then(|other| other.get("uniffi"));
        let other = other.map(|words| words.clone().try_into()).transpose()?.unwrap_or_default();
        Ok(Self { table, other })
    }

    /// The names in these arrays of a section.
    fn some(&self, section: &str, arrays: &[&str]) -> Result<Names> {
        let section_of =
            self.table.get(section).context(format!("the table has no [{section}]"))?;
        let mut names = Names::new();
        for array in arrays {
            let list =
                section_of.get(*array).with_context(|| format!("[{section}] has no {array}"))?;
            let list: Vec<String> = list.clone().try_into()?;
            names.extend(
                list.into_iter().map(|name| self.other.get(&name).cloned().unwrap_or(name)),
            );
        }
        Ok(names)
    }

    /// The names in all arrays of a section, and those that begin what waits.
    fn all(&self, section: &str) -> Result<Names> {
        let arrays = self.table.get(section).and_then(|section| section.as_table());
        let arrays = arrays.with_context(|| format!("the table has no [{section}]"))?;
        let mut names =
            self.some(section, &arrays.keys().map(String::as_str).collect::<Vec<_>>())?;
        if arrays.contains_key(WAITS) {
            let waits = self.some(section, &[WAITS])?;
            names.extend(waits.iter().map(|name| format!("{START}{name}")));
        }
        Ok(names)
    }
}

fn with(mut names: Names, name: &str) -> Names {
    names.insert(name.into());
    names
}

/// What is called on an object, or makes one.
fn members(exported: &ComponentInterface, object: &str) -> Result<Names> {
    let object = exported.get_object_definition(object).with_context(|| format!("no {object}"))?;
    let makers = object.constructors().into_iter().map(|maker| maker.name().to_owned());
    let methods = object.methods().into_iter().map(|method| method.name().to_owned());
    Ok(makers.chain(methods).collect())
}

/// What a constructor or a method takes.
fn arguments(exported: &ComponentInterface, object: &str, call: &str) -> Result<Names> {
    let object = exported.get_object_definition(object).with_context(|| format!("no {object}"))?;
    let (makers, methods) = (object.constructors(), object.methods());
    let makers = makers.iter().map(|maker| (maker.name(), maker.arguments()));
    let methods = methods.iter().map(|method| (method.name(), method.arguments()));
    let mut calls = makers.chain(methods);
    let (_, taken) = calls.find(|(name, _)| *name == call).with_context(|| format!("no {call}"))?;
    Ok(taken.into_iter().map(|argument| argument.name().to_owned()).collect())
}

fn fields(exported: &ComponentInterface, record: &str) -> Result<Names> {
    let record = exported.get_record_definition(record).with_context(|| format!("no {record}"))?;
    Ok(record.fields().iter().map(|field| field.name().to_owned()).collect())
}

fn variants(exported: &ComponentInterface, name: &str) -> Result<Names> {
    let found = exported.get_enum_definition(name).with_context(|| format!("no {name}"))?;
    Ok(found.variants().iter().map(|variant| variant.name().to_owned()).collect())
}

fn capital(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"
        [node]
        calls = ["view"]
        waits = ["close"]
        [options]
        query = ["match", "prefix"]
        [other.uniffi]
        match = "matching"
    "#;

    #[test]
    fn the_table_is_read_in_the_words_of_the_language() {
        let table = Expected::parse(TABLE).unwrap();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Names>();
        assert_eq!(table.all("node").unwrap(), names(&["close", "start_close", "view"]));
        assert_eq!(table.some("options", &["query"]).unwrap(), names(&["matching", "prefix"]));
        assert!(table.some("options", &["node"]).unwrap_err().to_string().contains("no node"));
    }

    #[test]
    fn a_library_that_exports_nothing_lacks_what_is_in_the_table() {
        let exported = ComponentInterface::new("casm_uniffi");
        let error = differences(include_str!("../../../api.toml"), &exported).unwrap_err();
        assert!(error.to_string().contains("Node"), "{error}");
    }
}
