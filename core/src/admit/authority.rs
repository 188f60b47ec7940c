//! Who signs certificates.

use crate::{Error, Result};
use libp2p::{PeerId, identity::PublicKey, multihash::Multihash};

/// The most authorities of a cluster: one, and those that follow it or went
/// before it.
pub const MAX_AUTHORITIES: usize = 16;

/// How the protobuf of an Ed25519 key begins; 32 bytes follow.
pub(super) const ED25519: [u8; 4] = [8, 1, 18, 32];
/// The bytes of such a protobuf.
pub(super) const ED25519_LEN: usize = 36;
/// The multihash code of an id that is the key itself.
const IDENTITY: u64 = 0;

/// Reads an authority's id, as `casm admit new` prints it.
///
/// # Errors
/// [`ErrorKind::Config`](crate::ErrorKind::Config) if it is no peer's id, or one
/// that holds no Ed25519 key.
pub fn authority(text: &str) -> Result<PeerId> {
    let id = text.trim().parse().map_err(|error: libp2p::identity::ParseError| {
        let shown: String = text.chars().take(80).collect();
        let accepted = "it must be a peer id, such as `casm admit new CA.key` prints";
        Error::config("certificate authority", shown, accepted).with_source(error)
    })?;
    check_authority(&id)?;
    Ok(id)
}

/// Whether an id holds a key that can sign certificates.
///
/// # Errors
/// [`ErrorKind::Config`](crate::ErrorKind::Config) if it holds none, as that of an
/// RSA key, or one of another type.
pub fn check_authority(id: &PeerId) -> Result<()> {
    let hash: &Multihash<64> = id.as_ref();
    let key = hash.digest();
    let held = hash.code() == IDENTITY && is_ed25519(key);
    // A point that is none verifies nothing.
    if held && PublicKey::try_decode_protobuf(key).is_ok() {
        return Ok(());
    }
    let accepted = "it holds no ed25519 key, by which certificates are verified; name an authority \
                    that `casm admit new CA.key` made, whose id begins with 12D3KooW";
    Err(Error::config("certificate authority", id.to_base58(), accepted))
}

/// Whether this is the protobuf of an Ed25519 key.
pub(super) fn is_ed25519(key: &[u8]) -> bool {
    key.len() == ED25519_LEN && key.starts_with(&ED25519)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, vectors::peer};

    #[test]
    fn an_authority_is_an_id_that_holds_an_ed25519_key() {
        let id = peer("ed25519-1");
        assert_eq!(authority(&format!(" {id}\n")).unwrap(), id);
        let strange = Multihash::<64>::wrap(IDENTITY, &[8, 1, 18, 1, 7]).unwrap();
        let strange = PeerId::from_multihash(strange).unwrap().to_string();
        for other in [peer("rsa").to_string(), peer("secp256k1").to_string(), strange] {
            let error = authority(&other).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains(&other), "{error}");
            assert!(error.message().contains("casm admit new"), "{error}");
        }
        let error = authority("CA.key").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("\"CA.key\""), "{error}");
        assert!(error.message().contains("casm admit new"), "{error}");
    }
}
