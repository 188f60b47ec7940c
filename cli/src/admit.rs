//! `casm admit`: authorities, the certificates that they sign, and what takes these
//! back.

use crate::{
    args::{AdmitCommand, RevokeArgs, SignArgs},
    failure::Failure,
    json::{CertificateLine, Line, RevocationLine},
    output::Output,
};
use casm::{
    Error, ErrorKind, Keypair, Result,
    admit::{Certificate, Refusal, Revocation, SKEW, Terms, unix_seconds},
    identity,
};
use std::{
    error::Error as _,
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
    time::SystemTime,
};

/// The longest file that is read: of the most revocations.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// What the file of a revocation has.
const REVOCATION: &str = "-----BEGIN CASM REVOCATION-----";

/// Makes, signs, takes back or shows.
pub fn admit(command: &AdmitCommand) -> Result<(), Failure> {
    let output = Output::new(command.output().json);
    match command {
        AdmitCommand::New { file, .. } => {
            let key = Keypair::generate_ed25519();
            identity::save_key(file, &key)?;
            output.line(&Line::Key {
                path: file.display().to_string(),
                peer: key.public().to_peer_id().to_string(),
                r#type: "ed25519".into(),
            })
        }
        AdmitCommand::Sign(args) => sign(args, output),
        AdmitCommand::Revoke(args) => revoke(args, output),
        AdmitCommand::Show { file, .. } => show(file, output),
    }
}

fn sign(args: &SignArgs, output: Output) -> Result<(), Failure> {
    let (ca, now) = (authority(&args.ca)?, now());
    let terms = Terms {
        peer: args.peer,
        namespace: args.namespace.clone(),
        roles: args.roles.clone(),
        not_before: now,
        not_after: now.saturating_add(args.lifetime.as_secs()),
        issued: now,
        serial: Terms::random_serial()?,
    };
    let certificate = Certificate::sign(&ca, terms)?;
    let text = certificate.to_text();
    let mut line = CertificateLine::of(&certificate, now);
    match &args.out {
        Some(path) => write(path, &text)?,
        None if output.is_json() => line.text = Some(text),
        None => return output.write(text.into_bytes()),
    }
    output.line(&Line::Certificate(line))
}

fn revoke(args: &RevokeArgs, output: Output) -> Result<(), Failure> {
    let (ca, now) = (authority(&args.ca)?, now());
    let until = now.saturating_add(args.lifetime.as_secs()).saturating_add(SKEW);
    let revocation = Revocation::sign_until(&ca, args.peer, now, until)?;
    let text = revocation.to_text();
    match output.is_json() {
        true => {
            let line = RevocationLine { text: Some(text), ..RevocationLine::of(&revocation, now) };
            output.line(&Line::Revocation(line))
        }
        false => output.write(text.into_bytes()),
    }
}

fn show(path: &Path, output: Output) -> Result<(), Failure> {
    let (file, now) = (read(path)?, now());
    // What is wrong with a file names it.
    let named = |error: Error| {
        let message = format!("{}: {}", path.display(), error.message());
        Error::new(error.kind(), message)
    };
    if file.windows(REVOCATION.len()).any(|bytes| bytes == REVOCATION.as_bytes()) {
        for revocation in Revocation::parse(&file).map_err(named)? {
            output.line(&Line::Revocation(RevocationLine::of(&revocation, now)))?;
        }
        return Ok(());
    }
    let certificate = Certificate::parse(&file).map_err(named)?;
    output.line(&Line::Certificate(CertificateLine::of(&certificate, now)))
}

/// The key of an authority. Where there is none, one is made by another command than
/// a node's.
fn authority(path: &Path) -> Result<Keypair> {
    let key = identity::load_key(path).map_err(|error| {
        let absent = error.source().and_then(|e| e.downcast_ref::<io::Error>());
        match absent.map(io::Error::kind) {
            Some(io::ErrorKind::NotFound) => {
                let path = path.display();
                let message = format!(
                    "there is no key of an authority at {path}; `casm admit new {path}` makes one"
                );
                Error::new(ErrorKind::Io, message)
            }
            _ => error,
        }
    })?;
    let kind = key.key_type();
    match Keypair::try_into_ed25519(key.clone()) {
        Ok(_) => Ok(key),
        Err(_) => {
            let accepted = format!(
                "it is a key of the type {kind}, and authorities have ed25519 keys; \
                 `casm admit new FILE` makes one"
            );
            Err(Error::config("--ca", path, accepted))
        }
    }
}

/// Writes a certificate in one go, since a node may read it at any moment. What is
/// there must be a certificate too: it might be a key.
fn write(path: &Path, text: &str) -> Result<()> {
    let cannot = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "; make its directory first",
            io::ErrorKind::PermissionDenied => "; check its owner and mode",
            _ => "",
        };
        let message = format!("cannot write the certificate {}: {error}{hint}", path.display());
        Error::new(ErrorKind::Io, message).with_source(error)
    };
    match fs::metadata(path) {
        Ok(there) if !there.is_file() => return fs::write(path, text).map_err(cannot),
        Ok(_) if Certificate::load(path).is_err() => {
            let accepted =
                "the file exists, is no certificate, and is not overwritten; name another";
            return Err(Error::config("--out", path, accepted));
        }
        _ => {}
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, text).map_err(cannot)?;
    fs::rename(&beside, path).map_err(|error| {
        let _ = fs::remove_file(&beside);
        cannot(error)
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    file.map_err(|error| {
        let message = format!(
            "cannot read {}: {error}; name a file that `casm admit sign` or `casm admit revoke` wrote",
            path.display()
        );
        Error::new(ErrorKind::Io, message).with_source(error)
    })?;
    Ok(bytes)
}

fn now() -> u64 {
    unix_seconds(SystemTime::now())
}

/// Whether something counts, in the words of refusals.
fn state(result: std::result::Result<(), Refusal>) -> String {
    result.map_or_else(Refusal::label, |()| "valid").into()
}

impl CertificateLine {
    fn of(certificate: &Certificate, now: u64) -> Self {
        Self {
            peer: certificate.peer().to_base58(),
            ca: certificate.ca().to_base58(),
            ns: certificate.namespace().into(),
            roles: certificate.roles().into(),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            issued: certificate.issued(),
            serial: certificate.serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            state: state(certificate.check_time(now)),
            text: None,
        }
    }
}

impl RevocationLine {
    fn of(revocation: &Revocation, now: u64) -> Self {
        Self {
            peer: revocation.peer().to_base58(),
            ca: revocation.ca().to_base58(),
            at: revocation.at(),
            until: revocation.until(),
            state: state(revocation.check(now, &[revocation.ca()])),
            text: None,
        }
    }
}
