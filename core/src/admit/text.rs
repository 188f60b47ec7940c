//! Certificates and revocations in files: base64 between two lines
//! (<https://www.rfc-editor.org/rfc/rfc7468>). What is written around them is for
//! people.

use super::{AdmitError, Certificate, MAX_CERTIFICATE, MAX_REVOCATION, MAX_REVOKED, Revocation};
use crate::{Error, ErrorKind, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{fs::File, io, io::Read as _, path::Path};

/// The longest file of a certificate that is read.
const MAX_FILE: u64 = 16 * 1024;
/// The longest file of revocations that is read.
const MAX_REVOCATIONS: u64 = 4 * 1024 * 1024;
/// The base64 digits of a line.
const LINE: usize = 64;

/// A kind of thing in a file.
struct Kind {
    label: &'static str,
    name: &'static str,
    /// In bytes.
    longest: usize,
    /// The longest file.
    file: u64,
    made_by: &'static str,
}

const CERTIFICATE: Kind = Kind {
    label: "CASM CERTIFICATE",
    name: "certificate",
    longest: MAX_CERTIFICATE,
    file: MAX_FILE,
    made_by: "casm admit sign",
};

const REVOCATION: Kind = Kind {
    label: "CASM REVOCATION",
    name: "revocation",
    longest: MAX_REVOCATION,
    file: MAX_REVOCATIONS,
    made_by: "casm admit revoke",
};

impl Certificate {
    /// Reads the text of a file with one certificate.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if there is none, or more than one, or it is refused.
    pub fn parse(file: &[u8]) -> Result<Self> {
        parse(file, &CERTIFICATE).map_err(|problem| refused(None, &CERTIFICATE, &problem))
    }

    /// Reads a file with one certificate.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it can't be read, [`ErrorKind::Config`] as of
    /// [`parse`](Self::parse). Both name the path.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = read(path, &CERTIFICATE)?;
        parse(&file, &CERTIFICATE).map_err(|problem| refused(Some(path), &CERTIFICATE, &problem))
    }

    /// The text of a file.
    pub fn to_text(&self) -> String {
        write(self.encoded(), &CERTIFICATE)
    }
}

fn parse(file: &[u8], kind: &Kind) -> Result<Certificate, String> {
    let mut blocks = blocks(file, kind, 1)?;
    let block = blocks.pop().ok_or_else(|| "it holds none".to_owned())?;
    Certificate::decode(&block).map_err(|error| error.to_string())
}

impl Revocation {
    /// Reads the text of a file with revocations: none, or up to
    /// [`MAX_REVOKED`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if one is refused, or there are too many.
    pub fn parse(file: &[u8]) -> Result<Vec<Self>> {
        parse_all(file).map_err(|problem| refused(None, &REVOCATION, &problem))
    }

    /// Reads a file with revocations.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if it can't be read, [`ErrorKind::Config`] as of
    /// [`parse`](Self::parse). Both name the path.
    pub fn load(path: impl AsRef<Path>) -> Result<Vec<Self>> {
        let path = path.as_ref();
        let file = read(path, &REVOCATION)?;
        parse_all(&file).map_err(|problem| refused(Some(path), &REVOCATION, &problem))
    }

    /// The text of a file; those of several make one, one behind the other.
    pub fn to_text(&self) -> String {
        write(self.encoded(), &REVOCATION)
    }
}

fn parse_all(file: &[u8]) -> Result<Vec<Revocation>, String> {
    let blocks = blocks(file, &REVOCATION, MAX_REVOKED)?;
    let decoded = blocks.iter().enumerate().map(|(at, block)| {
        let of = |error: AdmitError| format!("revocation {} in it: {error}", at + 1);
        Revocation::decode(block).map_err(of)
    });
    decoded.collect()
}

fn write(bytes: &[u8], kind: &Kind) -> String {
    let label = kind.label;
    let digits = STANDARD.encode(bytes);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in digits.as_bytes().chunks(LINE) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

/// The bytes of every block of a kind. Blocks of other kinds are errors, since
/// somebody has confused files.
fn blocks(file: &[u8], kind: &Kind, most: usize) -> Result<Vec<Vec<u8>>, String> {
    if file.len() as u64 > kind.file {
        return Err(format!("it is longer than {} bytes", kind.file));
    }
    let mut blocks = Vec::new();
    let mut digits: Option<Vec<u8>> = None;
    for line in file.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        let marker = |begin: &str| {
            let rest = line.strip_prefix(begin.as_bytes())?.strip_suffix(b"-----")?;
            Some(String::from_utf8_lossy(rest).into_owned())
        };
        if let Some(label) = marker("-----BEGIN ") {
            if label != kind.label {
                return Err(format!("it holds a {label:.40}, which is something else"));
            }
            if digits.is_some() {
                return Err("a block in it begins before the last one has ended".to_owned());
            }
            if blocks.len() == most {
                return Err(format!("it holds more than {most}"));
            }
            digits = Some(Vec::new());
        } else if let Some(label) = marker("-----END ") {
            let block = digits.take().filter(|_| label == kind.label);
            let block = block.ok_or("it has an end without a beginning")?;
            let block = STANDARD.decode(block).map_err(|_| "a block in it is not in base64")?;
            blocks.push(block);
        } else if let Some(digits) = &mut digits {
            digits.extend_from_slice(line);
            // Each three bytes are four digits.
            if digits.len() > kind.longest.div_ceil(3) * 4 {
                return Err(format!("a block in it has more than {} bytes", kind.longest));
            }
        }
    }
    match digits {
        Some(_) => Err("it is cut: a block in it has no end".to_owned()),
        None => Ok(blocks),
    }
}

fn read(path: &Path, kind: &Kind) -> Result<Vec<u8>> {
    let cannot = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => format!("; `{}` makes one", kind.made_by),
            io::ErrorKind::PermissionDenied => "; check its owner and mode".to_owned(),
            _ => String::new(),
        };
        let (name, path) = (kind.name, path.display());
        let message = format!("cannot read the {name} file {path}: {error}{hint}");
        Error::new(ErrorKind::Io, message).with_source(error)
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(kind.file + 1).read_to_end(&mut bytes).map_err(cannot)?;
    Ok(bytes)
}

fn refused(path: Option<&Path>, kind: &Kind, problem: &str) -> Error {
    let what = match path {
        Some(path) => format!("{} file {}", kind.name, path.display()),
        None => kind.name.to_owned(),
    };
    let message = format!(
        "{what}: {problem}; it must hold what `{}` writes, between the lines \
         -----BEGIN {label}----- and -----END {label}-----",
        kind.made_by,
        label = kind.label
    );
    Error::new(ErrorKind::Config, message)
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
