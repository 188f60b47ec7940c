//! The table of what every language has knows all that core has.

use casm_bindings::{ErrorKind, Options};

const TABLE: &str = include_str!("../api.toml");
const EVENTS: &str = include_str!("../../core/src/event.rs");
const CONFIG: &str = include_str!("../../core/src/config.rs");
const RPC_LIMITS: &str = include_str!("../../core/src/rpc/limits.rs");
const TABLE_LIMITS: &str = include_str!("../../core/src/cluster/table/limits.rs");
const RELAY_LIMITS: &str = include_str!("../../core/src/nat/limits.rs");
const OPTIONS: &str = include_str!("../src/options.rs");
const CHANGES: &str = include_str!("../../core/src/cluster/live/mod.rs");

/// The strings of one array of the table.
fn strings<'a>(section: &str, key: &str) -> Vec<&'a str> {
    let (_, section) = TABLE.split_once(&format!("[{section}]\n")).expect("the section");
    let section = section.split("\n[").next().expect("it has an end");
    let (_, array) = section.split_once(&format!("{key} = [")).expect("the key");
    let array = array.split(']').next().expect("it has an end");
    array.split('"').skip(1).step_by(2).collect()
}

/// What stands between the braces of a public type, from its source.
fn body<'a>(source: &'a str, kind: &str, name: &str) -> &'a str {
    let (_, body) = source.split_once(&format!("pub {kind} {name} {{\n")).expect("the type");
    body.split("\n}\n").next().expect("it has an end")
}

/// The fields of a public struct, from its source.
fn fields<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let fields = body(source, "struct", name).lines();
    fields.filter_map(|line| Some(line.strip_prefix("    pub ")?.split_once(':')?.0)).collect()
}

/// The variants of a public enum, from its source.
fn variants<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let body = body(source, "enum", name);
    let variant = |line: &'a str| {
        let line = line.strip_prefix("    ")?;
        let name = line.split([' ', '(', ',']).next()?;
        name.starts_with(char::is_uppercase).then_some(name)
    };
    body.lines().filter_map(variant).collect()
}

#[test]
fn every_error_kind_of_core_is_in_the_table() {
    assert!(ErrorKind::ALL.iter().map(|kind| kind.name()).eq(strings("errors", "kinds")));
}

#[test]
fn every_event_of_core_is_in_the_table() {
    assert_eq!(variants(EVENTS, "Event"), strings("events", "names"));
}

#[test]
fn every_kind_of_change_of_core_is_in_the_table() {
    let kinds: Vec<_> = variants(CHANGES, "Change").iter().map(|v| v.to_lowercase()).collect();
    assert_eq!(kinds, strings("changes", "kinds"));
}

#[test]
fn every_option_of_the_facade_is_in_the_table() {
    /// Does not compile when an option is missing here.
    macro_rules! names {
        ($($field:ident),+) => {{
            let Options { $($field: _),+ } = Options::default();
            [$(stringify!($field)),+]
        }};
    }
    let names = names!(
        namespace,
        listen,
        boot,
        serve,
        announce,
        announce_only,
        host,
        meta,
        ttl,
        observer,
        data,
        pex_tick,
        power,
        pace,
        budget,
        limits,
        key,
        key_file,
        secret,
        secret_file,
        allow,
        deny,
        admit,
        certificate,
        certificate_file,
        revoked,
        relay,
        relay_limits,
        use_relays,
        upnp
    );
    let options = strings("options", "node");
    // `key_file` is `key`, given as a path; and so are the others.
    let by_path = ["key_file", "secret_file", "certificate_file"];
    assert!(names.iter().filter(|name| !by_path.contains(name)).eq(&options));
}

#[test]
fn every_limit_of_core_is_in_the_facade_and_in_the_table() {
    let limits = strings("options", "limits");
    assert_eq!(fields(CONFIG, "Limits"), limits);
    assert_eq!(fields(OPTIONS, "LimitOptions"), limits);
    let rpc = strings("options", "rpc_limits");
    assert_eq!(fields(RPC_LIMITS, "Limits"), rpc);
    assert_eq!(fields(OPTIONS, "RpcLimitOptions"), rpc);
    let table = strings("options", "table_limits");
    assert_eq!(fields(TABLE_LIMITS, "Limits"), table);
    assert_eq!(fields(OPTIONS, "TableLimitOptions"), table);
    let relay = strings("options", "relay_limits");
    assert_eq!(fields(RELAY_LIMITS, "RelayLimits"), relay);
    assert_eq!(fields(OPTIONS, "RelayLimitOptions"), relay);
}
