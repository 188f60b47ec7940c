//! Names of channels and semaphores.

use crate::{Error, Result};

/// The longest name, in bytes.
pub(crate) const MAX_LEN: usize = 48;

/// Checks a name.
pub(super) fn check(what: &str, name: &str) -> Result<()> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !name.is_empty() && name.len() <= MAX_LEN && name.bytes().all(good) {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_LEN + 1).collect();
    let accepted = "write 1 to 48 of A-Z a-z 0-9 . _ -, such as `jobs`";
    Err(Error::config(&format!("{what} name"), shown, accepted))
}
