//! Sums of items under a key that is made for one exchange: SipHash-2-4 (J.-P.
//! Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", 2012) of each.
//!
//! Nobody knows the key before, so that nobody can choose numbers whose sums hide a
//! difference; and what is overlooked by chance, once in 2^32 ranges that differ, is
//! found by the next exchange, under another key.

use super::items::Item;

/// The key of an exchange.
pub type Key = [u8; 16];

/// An item's share of a sum: the lower half of the hash of its id and number,
/// 8 bytes each, big-endian.
pub(super) fn share(key: &Key, (id, seq): Item) -> u32 {
    let half = |bytes: &[u8]| bytes.first_chunk().copied().map_or(0, u64::from_le_bytes);
    let (k0, k1) = (half(key), half(&key[8..]));
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    // Words are read little-endian; the last one has the length alone.
    for word in [id.swap_bytes(), seq.swap_bytes(), 16 << 56] {
        v[3] ^= word;
        round(&mut v);
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    (0..4).for_each(|_| round(&mut v));
    let hash = v[0] ^ v[1] ^ v[2] ^ v[3];
    (hash & u64::from(u32::MAX)) as u32
}

fn round(v: &mut [u64; 4]) {
    let [mut a, mut b, mut c, mut d] = *v;
    a = a.wrapping_add(b);
    c = c.wrapping_add(d);
    b = b.rotate_left(13) ^ a;
    d = d.rotate_left(16) ^ c;
    a = a.rotate_left(32);
    c = c.wrapping_add(b);
    a = a.wrapping_add(d);
    b = b.rotate_left(17) ^ c;
    d = d.rotate_left(21) ^ a;
    c = c.rotate_left(32);
    *v = [a, b, c, d];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(deprecated, reason = "the library's own, to compare with")]
    fn it_is_siphash() {
        use std::hash::{Hasher, SipHasher};
        for n in 0..1000_u64 {
            let (id, seq) = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n << (n % 60));
            let (k0, k1) = (!id, seq ^ 7);
            let mut hasher = SipHasher::new_with_keys(k0, k1);
            hasher.write(&id.to_be_bytes());
            hasher.write(&seq.to_be_bytes());
            let mut key = [0; 16];
            key[..8].copy_from_slice(&k0.to_le_bytes());
            key[8..].copy_from_slice(&k1.to_le_bytes());
            assert_eq!(share(&key, (id, seq)), hasher.finish() as u32, "{n}");
        }
    }
}
