//! Namespaces: the name of a cluster, and the protocol ids that are derived
//! from it.

use crate::{Error, Result};
use libp2p::StreamProtocol;
use std::{fmt, str::FromStr, sync::Arc};

/// The name of a cluster. Nodes see each other when their namespaces are equal.
///
/// A namespace is 1 to [`Namespace::MAX_LEN`] bytes of visible UTF-8, in
/// segments divided by single slashes. `.` and `..` are not segments, so that a
/// namespace cannot leave the prefix of the protocol ids built from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The longest namespace, in bytes.
    pub const MAX_LEN: usize = 128;

    /// Checks a name.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if it is empty, too
    /// long, or has an empty, `.` or `..` segment, a space or a control
    /// character.
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        let problem = if name.is_empty() {
            "it is empty"
        } else if name.len() > Self::MAX_LEN {
            "it is longer than 128 bytes"
        } else if name.chars().any(|c| c.is_control() || c.is_whitespace()) {
            "it has a space or a control character"
        } else if name.split('/').any(|s| matches!(s, "" | "." | "..")) {
            "it has an empty, `.` or `..` segment"
        } else {
            return Ok(Self(name.into()));
        };
        let shown: String = name.chars().take(64).collect();
        Err(Error::config(
            "namespace",
            shown,
            format!("{problem}; write a name such as `casm` or `team/service`"),
        ))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The protocol id `/casm/0.0.0/<namespace>/<name>`.
    pub(crate) fn protocol(&self, name: &str) -> StreamProtocol {
        StreamProtocol::try_from_owned(format!("/casm/0.0.0/{}/{name}", self.0))
            .expect("starts with a slash")
    }

    /// The protocol id `/casm/1.0.0/<namespace>/<name>`, of what Go's nodes
    /// don't speak.
    pub(crate) fn own_protocol(&self, name: &str) -> StreamProtocol {
        StreamProtocol::try_from_owned(format!("/casm/1.0.0/{}/{name}", self.0))
            .expect("starts with a slash")
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self("casm".into())
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Namespace {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn names_the_problem_of_a_bad_namespace() {
        for (name, problem) in [
            ("", "empty"),
            ("a/../b", "`..` segment"),
            ("a//b", "segment"),
            ("/a", "segment"),
            ("a b", "space"),
            (&"x".repeat(129), "longer than 128"),
        ] {
            let error = Namespace::new(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains(problem), "{name}: {error}");
        }
    }

    #[test]
    fn protocol_ids_have_the_namespace_in_them() {
        let ns = Namespace::new("casm/a.b").unwrap();
        assert_eq!(ns.protocol("pex").as_ref(), "/casm/0.0.0/casm/a.b/pex");
    }
}
