//! Pre-shared keys: who doesn't hold a cluster's has no part in it, and learns
//! nothing of it.
//!
//! The file is the `swarm.key` of IPFS and libp2p
//! (<https://github.com/libp2p/specs/blob/master/pnet/Private-Networks-PSK-V1.md>),
//! so that peers on other stacks can hold the same key.

use crate::{Error, ErrorKind, Result, identity};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hkdf::Hkdf;
use libp2p::pnet::PreSharedKey;
use rand::{TryRng, rngs::SysRng};
use sha2::Sha256;
use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The bytes of a secret.
const LEN: usize = 32;
/// The longest file that is read: in no encoding has a secret a fifth of it.
const MAX_FILE: u64 = 1024;
/// The first line of a file.
const HEADER: &[u8] = b"/key/swarm/psk/1.0.0/";
/// What a file looks like, for errors.
const FORM: &str = "it must be a swarm.key: a line /key/swarm/psk/1.0.0/, a line /base16/, /base64/ \
    or /bin/, and 32 bytes in that encoding, as `casm key secret FILE` writes";

/// With padding or without: both are written.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A cluster's pre-shared key: 32 random bytes.
///
/// Nothing here prints it: its [fingerprint](Self::fingerprint) is what can be
/// shown and compared.
#[derive(Clone)]
pub struct Secret([u8; LEN]);

impl Secret {
    /// A new secret, of the system's randomness.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the system has no random bytes.
    pub fn generate() -> Result<Self> {
        let mut bytes = [0; LEN];
        SysRng.try_fill_bytes(&mut bytes).map_err(|e| {
            let message = format!("no secret can be made: the system gives no random bytes: {e}");
            Error::new(ErrorKind::Io, message).with_source(e)
        })?;
        Ok(Self(bytes))
    }

    /// The secret of these bytes, which must be random: a password is none.
    pub const fn from_bytes(bytes: [u8; LEN]) -> Self {
        Self(bytes)
    }

    /// Reads what a `swarm.key` file holds, in the encodings `base16`, `base64`
    /// (with padding or without) or `bin`. White space may follow it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if it is none, cut, or goes on. Nothing of what it
    /// holds is in the message.
    pub fn parse(file: &[u8]) -> Result<Self> {
        Self::decode(file).map_err(|problem| refused(None, problem))
    }

    /// Reads a `swarm.key` file. One that others may read is accepted with a
    /// warning, since mounted secrets often come that way.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the file can't be read, [`ErrorKind::Config`] as of
    /// [`parse`](Self::parse). Both name the path, unless that looks like the
    /// secret itself.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::read(path).map_err(|error| match is_secret(path) {
            true => refused(
                None,
                "what was given as its file looks like the secret itself, and is not shown",
            ),
            false => error,
        })
    }

    fn read(path: &Path) -> Result<Self> {
        let mut bytes = Vec::with_capacity(MAX_FILE as usize + 1);
        let file = File::open(path).map_err(|e| cannot("read", path, e))?;
        identity::warn_if_shared(&file, path);
        let read = file.take(MAX_FILE + 1).read_to_end(&mut bytes);
        read.map_err(|e| cannot("read", path, e))?;
        let secret = match bytes.len() as u64 > MAX_FILE {
            true => Err("it is too long"),
            false => Self::decode(&bytes),
        };
        bytes.fill(0);
        secret.map_err(|problem| refused(Some(path), problem))
    }

    /// Writes the secret to a new file that only its owner may read and write,
    /// in base16, which every stack reads.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the file exists, since a secret that is
    /// overwritten is lost; [`ErrorKind::Io`] if it can't be written. Each names
    /// the path.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut bytes = self.psk().to_key_file().into_bytes();
        let written = identity::write_new(path, &bytes);
        bytes.fill(0);
        written.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::config(
                "secret file",
                path,
                "the file exists and is not overwritten; name a new one, or remove it",
            ),
            _ => cannot("write", path, error),
        })
    }

    /// 32 hex digits that tell secrets apart, as other stacks show them. They
    /// say nothing of a random secret.
    pub fn fingerprint(&self) -> String {
        self.psk().fingerprint().to_string()
    }

    /// As libp2p's private networks take it.
    pub(crate) fn psk(&self) -> PreSharedKey {
        PreSharedKey::new(self.0)
    }

    /// Bytes that only who holds the secret can make: HKDF-SHA256 (RFC 5869),
    /// without a salt, for a purpose that these parts name together.
    pub(crate) fn derive<const N: usize>(&self, purpose: &[&[u8]]) -> [u8; N] {
        let mut derived = [0; N];
        Hkdf::<Sha256>::new(None, &self.0)
            .expand_multi_info(purpose, &mut derived)
            .expect("fewer bytes than 255 hashes have");
        derived
    }

    fn decode(file: &[u8]) -> Result<Self, &'static str> {
        let (header, rest) = line(file).ok_or("it is cut, or no swarm.key")?;
        if header != HEADER {
            return Err("it does not begin with the line /key/swarm/psk/1.0.0/");
        }
        let (encoding, rest) = line(rest).ok_or("it is cut after its first line")?;
        let mut bytes = [0; LEN];
        match encoding {
            b"/base16/" => hex(rest.trim_ascii(), &mut bytes)?,
            b"/base64/" => base64(rest, &mut bytes)?,
            b"/bin/" => {
                let (key, after) = rest.split_at_checked(LEN).ok_or(CUT)?;
                if !after.trim_ascii().is_empty() {
                    return Err(LONG);
                }
                bytes.copy_from_slice(key);
            }
            _ => return Err("its encoding is none of /base16/, /base64/ and /bin/"),
        }
        // Whoever has filled it in by hand, or lost it, should know.
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err("all its bytes are the same, and whoever guesses that is in");
        }
        Ok(Self(bytes))
    }
}

const CUT: &str = "it has fewer than 32 bytes";
const LONG: &str = "it has more than 32 bytes";

/// The first line, and what follows.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = &bytes[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &bytes[end + 1..]))
}

fn hex(digits: &[u8], bytes: &mut [u8; LEN]) -> Result<(), &'static str> {
    let digit = |digit: u8| char::from(digit).to_digit(16).ok_or("it is not in base16");
    let values: Vec<u32> = digits.iter().map(|byte| digit(*byte)).collect::<Result<_, _>>()?;
    match values.len() {
        0..64 => return Err(CUT),
        64 => {}
        _ => return Err(LONG),
    }
    for (byte, two) in bytes.iter_mut().zip(values.chunks(2)) {
        *byte = (two[0] << 4 | two[1]) as u8;
    }
    Ok(())
}

fn base64(text: &[u8], bytes: &mut [u8; LEN]) -> Result<(), &'static str> {
    // Encoders break lines.
    let text: Vec<u8> = text.iter().filter(|byte| !byte.is_ascii_whitespace()).copied().collect();
    let mut decoded = BASE64.decode(text).map_err(|_| "it is not in base64, or it is cut")?;
    let problem = match decoded.len() {
        0..LEN => Some(CUT),
        LEN => None,
        _ => Some(LONG),
    };
    if problem.is_none() {
        bytes.copy_from_slice(&decoded);
    }
    decoded.fill(0);
    problem.map_or(Ok(()), Err)
}

/// Whether somebody has written the secret where its file was to be named: then it
/// must not be shown.
fn is_secret(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let text = text.trim();
    let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let decoded = BASE64.decode(text).is_ok_and(|bytes| bytes.len() == LEN);
    text.contains("/key/swarm/") || decoded || (digits >= LEN && digits == text.len())
}

fn refused(path: Option<&Path>, problem: &str) -> Error {
    let message = match path {
        Some(path) => format!("secret file {}: {problem}; {FORM}", path.display()),
        None => format!("secret: {problem}; {FORM}"),
    };
    Error::new(ErrorKind::Config, message)
}

fn cannot(what: &str, path: &Path, error: io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::NotFound if what == "read" => "; `casm key secret FILE` makes one",
        io::ErrorKind::NotFound => "; make its directory first",
        io::ErrorKind::PermissionDenied => "; check its owner and mode",
        _ => "",
    };
    let message = format!("cannot {what} the secret file {}: {error}{hint}", path.display());
    Error::new(ErrorKind::Io, message).with_source(error)
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.fingerprint())
    }
}

/// The fingerprint.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
