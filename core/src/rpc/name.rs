//! Names of capabilities, and the protocol ids made of them.

use super::encoding::Encoding;
use crate::{Error, Namespace, Result};
use libp2p::StreamProtocol;

/// The longest name, in bytes.
const MAX_LEN: usize = 64;

/// Checks a name. One with a slash could be another one's encoding, or lie in
/// another namespace.
pub(super) fn check(name: &str) -> Result<()> {
    let bad = name.is_empty()
        || name.len() > MAX_LEN
        || matches!(name, "." | "..")
        || name.chars().any(|c| c == '/' || c.is_control() || c.is_whitespace());
    if !bad {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_LEN).collect();
    Err(Error::config(
        "capability name",
        shown,
        "write 1 to 64 bytes of visible characters without a slash, such as `calculator`",
    ))
}

/// The protocol id of a capability in an encoding.
pub(super) fn protocol(namespace: &Namespace, name: &str, encoding: Encoding) -> StreamProtocol {
    namespace.protocol(&format!("{name}{}", encoding.suffix()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_name_cannot_be_another_ones_encoding_or_namespace() {
        for name in ["", ".", "..", "view/packed", "a b", &"x".repeat(65)] {
            assert_eq!(check(name).unwrap_err().kind(), ErrorKind::Config, "{name}");
        }
        check("calculator").unwrap();
        let ids: Vec<_> = Encoding::ALL
            .map(|encoding| protocol(&Namespace::default(), "view", encoding).to_string())
            .into();
        assert_eq!(
            ids,
            [
                "/casm/0.0.0/casm/view/packed",
                "/casm/0.0.0/casm/view",
                "/casm/0.0.0/casm/view/packed/lz4",
                "/casm/0.0.0/casm/view/lz4"
            ]
        );
    }
}
