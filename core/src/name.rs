//! Names of services, channels and the like, which stand in records.

use crate::{Error, Result};

/// The longest name, in bytes.
pub(crate) const MAX_NAME: usize = 48;

/// Whether this is a name: 1 to 48 letters, digits, `.`, `_` and `-` of ASCII.
pub(crate) fn is_name(text: &str) -> bool {
    let ok = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(ok)
}

/// Checks a name; `what` says what it names.
///
/// # Errors
/// [`ErrorKind::Config`](crate::ErrorKind::Config) if it is none.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    if is_name(name) {
        return Ok(());
    }
    let shown: String = name.chars().take(64).collect();
    Err(Error::config(what, shown, "write 1 to 48 of the characters `A-Z a-z 0-9 . _ -`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_name_that_is_none_is_named() {
        for name in ["a", "resize.v2", "A-Z_0", &"x".repeat(48)] {
            check_name("service", name).unwrap();
        }
        for name in ["", "a b", "a=b", "a/b", "\u{e9}", "\u{1b}[2J", &"x".repeat(49)] {
            let error = check_name("service", name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().starts_with("service: "), "{error}");
        }
    }
}
