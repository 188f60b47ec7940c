//! Identity files: a node's private key, in libp2p's protobuf encoding
//! (<https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md#keys>),
//! which other libp2p implementations read too.

use crate::{Error, ErrorKind, Result};
use libp2p::identity::Keypair;
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
};

/// The longest key file that is read: an RSA key of 8192 bits is half of it.
const MAX_LEN: u64 = 16 * 1024;

/// Reads a node's key from a file. A file that others may read is accepted with
/// a warning, since mounted secrets often come that way.
///
/// # Errors
/// [`ErrorKind::Io`] if the file can't be read, [`ErrorKind::Config`] if what
/// it holds is no private key. Both name the path.
pub fn load_key(path: impl AsRef<Path>) -> Result<Keypair> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| cannot("read", path, e))?;
    warn_if_shared(&file, path);
    file.take(MAX_LEN + 1).read_to_end(&mut bytes).map_err(|e| cannot("read", path, e))?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(not_a_key(path, "it is too long"));
    }
    let key = Keypair::from_protobuf_encoding(&bytes);
    bytes.fill(0);
    key.map_err(|e| not_a_key(path, "it cannot be decoded").with_source(e))
}

/// Writes a key to a new file that only its owner may read and write.
///
/// # Errors
/// [`ErrorKind::Config`] if the file exists, since a key that is overwritten is
/// lost, or if the key is of a type that cannot be written (RSA);
/// [`ErrorKind::Io`] if it can't be written. Each names the path.
pub fn save_key(path: impl AsRef<Path>, key: &Keypair) -> Result<()> {
    let path = path.as_ref();
    let mut bytes = key.to_protobuf_encoding().map_err(|e| {
        let accepted = "only ed25519, secp256k1 and ECDSA keys can be written";
        Error::config("key file", path, accepted).with_source(e)
    })?;
    let written = write_new(path, &bytes);
    bytes.fill(0);
    written.map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => {
            let accepted = "the file exists and is not overwritten; name a new one, or remove it";
            Error::config("key file", path, accepted)
        }
        _ => cannot("write", path, e),
    })
}

/// Writes a new file that only its owner may read and write.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.inspect_err(|_| {
        // Half a key is of no use, and would stand in the way of the next try.
        let _ = std::fs::remove_file(path);
    })
}

fn cannot(what: &str, path: &Path, error: io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::NotFound if what == "read" => "; `casm key new FILE` makes one",
        io::ErrorKind::NotFound => "; make its directory first",
        io::ErrorKind::PermissionDenied => "; check its owner and mode",
        _ => "",
    };
    let message = format!("cannot {what} the key file {}: {error}{hint}", path.display());
    Error::new(ErrorKind::Io, message).with_source(error)
}

fn not_a_key(path: &Path, problem: &str) -> Error {
    let accepted = format!(
        "{problem}; it must hold a libp2p private key in protobuf encoding, as `casm key new FILE` writes"
    );
    Error::config("key file", path, accepted)
}

/// Warns of a file that others may read.
#[cfg(unix)]
pub(crate) fn warn_if_shared(file: &File, path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if let Ok(meta) = file.metadata()
        && meta.permissions().mode() & 0o077 != 0
    {
        let mode = meta.permissions().mode() & 0o777;
        tracing::warn!(path = %path.display(), mode = format_args!("{mode:o}"),
            "others may read this key file: set its mode to 600");
    }
}

#[cfg(not(unix))]
pub(crate) fn warn_if_shared(_: &File, _: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_each_type_comes_back_as_it_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        for (name, key) in [
            ("ed25519", Keypair::generate_ed25519()),
            ("secp256k1", Keypair::generate_secp256k1()),
            ("ecdsa", Keypair::generate_ecdsa()),
        ] {
            let path = dir.path().join(name);
            save_key(&path, &key).unwrap();
            let loaded = load_key(&path).unwrap();
            assert_eq!(loaded.public(), key.public());
            assert!(key.public().verify(b"text", &loaded.sign(b"text").unwrap()));
        }
    }

    /// The encoding of the libp2p specification: field 1 the key's type
    /// (1, ed25519), field 2 the private key followed by the public one.
    #[test]
    fn the_file_is_in_the_encoding_of_the_specification() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let seed = [7; 32];
        let key = Keypair::ed25519_from_bytes(seed).unwrap();
        save_key(&path, &key).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[..4], [0x08, 1, 0x12, 64]);
        assert_eq!(bytes[4..36], seed);
        let public = key.public().try_into_ed25519().unwrap();
        assert_eq!(bytes[36..], public.to_bytes());
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_and_write_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        save_key(&path, &Keypair::generate_ed25519()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_exists_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "precious").unwrap();
        let error = save_key(&path, &Keypair::generate_ed25519()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(path.to_str().unwrap()), "{error}");
        assert!(error.message().contains("not overwritten"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn errors_name_the_path_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let absent = dir.path().join("absent/key");
        let garbage = dir.path().join("garbage");
        std::fs::write(&garbage, [0xff; 68]).unwrap();
        let cut = dir.path().join("cut");
        let whole = Keypair::generate_ed25519().to_protobuf_encoding().unwrap();
        std::fs::write(&cut, &whole[..40]).unwrap();
        let long = dir.path().join("long");
        std::fs::write(&long, vec![0; MAX_LEN as usize + 1]).unwrap();
        for (path, kind, hint) in [
            (&absent, ErrorKind::Io, "casm key new"),
            (&garbage, ErrorKind::Config, "casm key new"),
            (&cut, ErrorKind::Config, "casm key new"),
            (&long, ErrorKind::Config, "too long"),
            (&dir.path().to_path_buf(), ErrorKind::Io, "key file"),
        ] {
            let error = load_key(path).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(path.to_str().unwrap()), "{error}");
            assert!(error.message().contains(hint), "{error}");
        }
        let error = save_key(&absent, &Keypair::generate_ed25519()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.message().contains("make its directory"), "{error}");
    }
}
