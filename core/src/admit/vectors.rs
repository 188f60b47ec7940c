//! Test vectors of certificates.
