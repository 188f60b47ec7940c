//! The crate `ring`, as far as libp2p and what it rests on use it, by AWS-LC,
//! which does TLS anyway and has almost the same interface: one library of
//! cryptography in C, with its tables, instead of two. `[patch.crates-io]` in the
//! workspace puts it in ring's place.

pub use aws_lc_rs::{aead, digest, error, hkdf, hmac, rand};

/// Signatures. Where ring's interface is another one, a key is wrapped.
pub mod signature {
    pub use aws_lc_rs::signature::*;
    use aws_lc_rs::{
        error::{KeyRejected, Unspecified},
        pkcs8::Document,
        rand::SecureRandom,
        signature as aws,
    };

    /// A key pair of an elliptic curve.
    #[derive(Debug)]
    pub struct EcdsaKeyPair(aws::EcdsaKeyPair);

    impl EcdsaKeyPair {
        /// A new key pair, as PKCS#8.
        ///
        /// # Errors
        /// If there is no randomness.
        pub fn generate_pkcs8(
            algorithm: &'static EcdsaSigningAlgorithm,
            rng: &dyn SecureRandom,
        ) -> Result<Document, Unspecified> {
            aws::EcdsaKeyPair::generate_pkcs8(algorithm, rng)
        }

        /// The key pair in this PKCS#8.
        ///
        /// # Errors
        /// If it holds none for the algorithm.
        pub fn from_pkcs8(
            algorithm: &'static EcdsaSigningAlgorithm,
            pkcs8: &[u8],
            _rng: &dyn SecureRandom,
        ) -> Result<Self, KeyRejected> {
            aws::EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).map(Self)
        }

        /// Signs a message.
        ///
        /// # Errors
        /// If that fails.
        pub fn sign(
            &self,
            rng: &dyn SecureRandom,
            message: &[u8],
        ) -> Result<Signature, Unspecified> {
            self.0.sign(rng, message)
        }
    }

    impl KeyPair for EcdsaKeyPair {
        type PublicKey = <aws::EcdsaKeyPair as KeyPair>::PublicKey;

        fn public_key(&self) -> &Self::PublicKey {
            self.0.public_key()
        }
    }

    /// An RSA key pair.
    #[derive(Debug)]
    pub struct RsaKeyPair(aws::RsaKeyPair);

    impl RsaKeyPair {
        /// The key pair in this PKCS#8.
        ///
        /// # Errors
        /// If it holds none that is good.
        pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyRejected> {
            aws::RsaKeyPair::from_pkcs8(pkcs8).map(Self)
        }

        /// The key pair in this PKCS#1.
        ///
        /// # Errors
        /// If it holds none that is good.
        pub fn from_der(pkcs1: &[u8]) -> Result<Self, KeyRejected> {
            aws::RsaKeyPair::from_der(pkcs1).map(Self)
        }

        /// The public key.
        pub fn public(&self) -> Public<'_> {
            Public(&self.0)
        }

        /// Signs a message, into a room of the modulus's length.
        ///
        /// # Errors
        /// If that fails.
        pub fn sign(
            &self,
            padding: &'static dyn RsaEncoding,
            rng: &dyn SecureRandom,
            message: &[u8],
            signature: &mut [u8],
        ) -> Result<(), Unspecified> {
            self.0.sign(padding, rng, message, signature)
        }
    }

    impl KeyPair for RsaKeyPair {
        type PublicKey = <aws::RsaKeyPair as KeyPair>::PublicKey;

        fn public_key(&self) -> &Self::PublicKey {
            self.0.public_key()
        }
    }

    /// What the public key of a key pair is like.
    #[derive(Clone, Copy, Debug)]
    pub struct Public<'a>(&'a aws::RsaKeyPair);

    impl Public<'_> {
        /// The length of its modulus, in bytes.
        pub fn modulus_len(self) -> usize {
            self.0.public_modulus_len()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{rand::SystemRandom, signature::*};
    use aws_lc_rs::{encoding::AsDer, rsa::KeySize};

    #[test]
    fn what_a_wrapped_key_signs_its_public_key_verifies() {
        let (rng, message) = (SystemRandom::new(), b"a message");
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &rng).unwrap();
        let signature = key.sign(&rng, message).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key().as_ref());
        public.verify(message, signature.as_ref()).unwrap();
        public.verify(b"another", signature.as_ref()).unwrap_err();
        EcdsaKeyPair::from_pkcs8(algorithm, b"no key", &rng).unwrap_err();

        let made = aws_lc_rs::signature::RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let key = RsaKeyPair::from_pkcs8(made.as_der().unwrap().as_ref()).unwrap();
        let mut signature = vec![0; key.public().modulus_len()];
        assert_eq!(signature.len(), 256);
        key.sign(&RSA_PKCS1_SHA256, &rng, message, &mut signature).unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
        public.verify(message, &signature).unwrap();
        public.verify(b"another", &signature).unwrap_err();
        RsaKeyPair::from_der(b"no key").unwrap_err();
    }
}
