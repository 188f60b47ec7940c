//! What topics are called, and what gossip calls them.

use crate::{Error, Namespace, Result};
use std::sync::Arc;

/// The longest name, in bytes.
pub const MAX_NAME: usize = 48;
/// The longest exact name, in bytes.
pub const MAX_EXACT: usize = 256;

/// What gossip calls a topic of a cluster.
///
/// # Errors
/// `Config` if the name is not acceptable.
pub(super) fn in_namespace(namespace: &Namespace, name: &str) -> Result<Arc<str>> {
    let ok = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME {
        "it is longer than 48 bytes"
    } else if !name.bytes().all(ok) {
        "it has another character than A-Z a-z 0-9 . _ -"
    } else {
        return Ok(format!("/casm/1.0.0/{namespace}/topic/{name}").into());
    };
    let remedy = "write a name such as `news`; `exact` is for the topics of other programs";
    Err(bad(name, format!("{problem}; {remedy}")))
}

/// The same of a topic of other programs, which has the name as it is.
///
/// # Errors
/// `Config` if the name is not acceptable.
pub(super) fn exact(namespace: &Namespace, name: &str) -> Result<Arc<str>> {
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_EXACT {
        "an exact name has at most 256 bytes"
    } else if name == namespace.as_str() {
        "this cluster's heartbeats have that topic; take another name"
    } else if name.starts_with("/casm/") {
        "what begins with /casm/ is CASM's own; leave `exact` out for a topic of this cluster"
    } else {
        return Ok(name.into());
    };
    Err(bad(name, problem.into()))
}

fn bad(name: &str, problem: String) -> Error {
    Error::config("topic", name.chars().take(64).collect::<String>(), problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_topic_has_the_namespace_in_its_name_unless_it_is_exact() {
        let ns = Namespace::new("team/a").unwrap();
        let longest = "x".repeat(48);
        for name in ["news", "A-z_0.9", &longest] {
            let full = in_namespace(&ns, name).unwrap();
            assert_eq!(*full, *format!("/casm/1.0.0/team/a/topic/{name}"));
        }
        for name in ["news", "/eth2/é", &"x".repeat(256)] {
            assert_eq!(*exact(&ns, name).unwrap(), *name);
        }
    }

    #[test]
    fn a_bad_name_is_named_with_the_problem() {
        let ns = Namespace::new("team").unwrap();
        let (in_namespace, exact) =
            (|name: &str| in_namespace(&ns, name), |name: &str| exact(&ns, name));
        let (long, longer) = ("x".repeat(49), "x".repeat(257));
        let cases = [
            (in_namespace(""), "empty"),
            (in_namespace(&long), "longer than 48"),
            (in_namespace("a/b"), "another character"),
            (in_namespace("é"), "another character"),
            (exact(""), "empty"),
            (exact(&longer), "256"),
            (exact("team"), "heartbeats"),
            (exact("/casm/1.0.0/team/topic/a"), "CASM's own"),
        ];
        for (result, said) in cases {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains(said), "{error}");
        }
    }
}
