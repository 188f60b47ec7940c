//! A pseudorandom permutation of `0..n` for any `n`, computed element by
//! element, so that a block of 2^32 addresses can be visited in random order
//! without remembering anything.
//!
//! A balanced Feistel network over the smallest even number of bits that holds
//! `n`, with cycle walking for what falls outside (J. Black, P. Rogaway,
//! "Ciphers with Arbitrary Finite Domains", CT-RSA 2002). The round function
//! need not resist an attacker; it must only mix well.

use rand::Rng;

const ROUNDS: usize = 6;

/// A permutation of `0..len`.
#[derive(Clone, Debug)]
pub struct Permutation {
    len: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// A permutation of `0..len`, chosen by the random source. `len` is at
    /// most 2^62.
    pub fn new(len: u64, rng: &mut impl Rng) -> Self {
        debug_assert!(len <= 1 << 62);
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        Self {
            len,
            half_bits: bits.div_ceil(2).max(1),
            keys: std::array::from_fn(|_| rng.next_u64()),
        }
    }

    /// Where `index` goes; `None` if it is not below `len`.
    pub fn get(&self, index: u64) -> Option<u64> {
        if index >= self.len {
            return None;
        }
        // The domain is less than four times `len` (or 4): a few steps.
        let mut value = self.encrypt(index);
        while value >= self.len {
            value = self.encrypt(value);
        }
        Some(value)
    }

    /// All of `0..len`, in the permutation's order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.len).filter_map(|i| self.get(i))
    }

    fn encrypt(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        (left << self.half_bits) | right
    }
}

/// The finalizer of SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast Splittable
/// Pseudorandom Number Generators", OOPSLA 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    proptest! {
        #[test]
        fn every_element_comes_exactly_once(len in 0u64..3000, seed: u64) {
            let order = Permutation::new(len, &mut ChaCha8Rng::seed_from_u64(seed));
            let mut all: Vec<u64> = order.iter().collect();
            prop_assert_eq!(all.len() as u64, len);
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..len));
        }

        #[test]
        fn large_blocks_stay_inside_and_injective(len in 1u64..=1 << 32, seed: u64, at: u64) {
            let order = Permutation::new(len, &mut ChaCha8Rng::seed_from_u64(seed));
            let (a, b) = (at % len, at.wrapping_add(1) % len);
            let (x, y) = (order.get(a).unwrap(), order.get(b).unwrap());
            prop_assert!(x < len && y < len);
            prop_assert_eq!(a == b, x == y);
            prop_assert_eq!(order.get(len), None);
        }
    }

    #[test]
    fn another_seed_is_another_order() {
        let order = |seed| -> Vec<u64> {
            Permutation::new(254, &mut ChaCha8Rng::seed_from_u64(seed)).iter().collect()
        };
        assert_eq!(order(1), order(1));
        let same = order(1).iter().zip(order(2)).filter(|(a, b)| **a == *b).count();
        assert!(same < 20, "{same} of 254 in the same place");
        // A counter xor mask keeps neighbours together; this must not.
        let near = order(3).windows(2).filter(|w| w[0].abs_diff(w[1]) < 4).count();
        assert!(near < 40, "{near} of 253 steps are short");
    }
}
