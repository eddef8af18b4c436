//! X25519 (RFC 7748), with the checks that the RFC leaves open.

use curve25519_dalek::MontgomeryPoint;
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey, StaticSecret};

use super::burn_stack;

secret! {
    /// An X25519 private key.
    pub(crate) struct DhSecret(32);
}

secret! {
    /// The result of an exchange. Never all zero.
    pub(crate) struct DhOutput(32);
}

/// An X25519 public key in its canonical encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DhPublic([u8; 32]);

/// Rule R-101: a public key is not the canonical encoding of a field element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotCanonical;

/// Rule R-102: the exchange gave all zero, so the key has low order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LowOrder;

/// 2^255 - 19, little-endian: the field's prime.
const PRIME: [u8; 32] = {
    let mut prime = [0xff; 32];
    prime[0] = 0xed;
    prime[31] = 0x7f;
    prime
};

/// Whether a little-endian number is below the field's prime. For public data:
/// it takes variable time.
pub(crate) fn is_below_prime(bytes: &[u8; 32]) -> bool {
    bytes.iter().rev().lt(PRIME.iter().rev())
}

impl DhPublic {
    /// Bytes of a public key.
    pub(crate) const LEN: usize = 32;

    /// Takes an encoded key.
    ///
    /// # Errors
    /// [`NotCanonical`] where the number is not below the prime. RFC 7748
    /// would reduce it; then two encodings would name one key, and a hash
    /// over the encoding would not bind the key.
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Result<Self, NotCanonical> {
        if is_below_prime(bytes) { Ok(Self(*bytes)) } else { Err(NotCanonical) }
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl DhSecret {
    pub(crate) fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut secret = Self::blank();
        rng.fill_bytes(secret.expose_mut());
        secret
    }

    pub(crate) fn public(&self) -> DhPublic {
        let public = multiply_base(self);
        burn_stack::<DEPTH>();
        public
    }

    /// The exchange with `theirs`.
    ///
    /// # Errors
    /// [`LowOrder`] where the result is all zero.
    pub(crate) fn exchange(&self, theirs: &DhPublic) -> Result<DhOutput, LowOrder> {
        let mut shared = DhOutput::blank();
        multiply(self, theirs, &mut shared);
        burn_stack::<DEPTH>();
        if shared.expose().ct_eq(&[0; 32]).into() { Err(LowOrder) } else { Ok(shared) }
    }
}

/// More stack than a multiplication uses, in bytes: its functions' frames add
/// up to 5.5 KiB on x86_64, optimised.
const DEPTH: usize = 8_192;

#[inline(never)]
fn multiply_base(secret: &DhSecret) -> DhPublic {
    DhPublic(PublicKey::from(&StaticSecret::from(*secret.expose())).to_bytes())
}

/// The scalar multiplication of X25519.
///
/// On x86_64 curve25519-dalek, on which x25519-dalek rests, multiplies points
/// in Edwards form with vector instructions, which takes a sixth less time than
/// x25519-dalek's Montgomery ladder, the way there and back included. A number
/// that is the coordinate of no point of the curve but of its twist, which
/// RFC 7748 allows, has no such form: for that, and on other processors, there
/// is the ladder. The sign that the coordinate leaves open does not change the
/// result's coordinate. Both ways take the same time for every secret; which one
/// is taken depends on the public key alone.
#[inline(never)]
fn multiply(secret: &DhSecret, theirs: &DhPublic, shared: &mut DhOutput) {
    let out = shared.expose_mut();
    let point =
        if cfg!(target_arch = "x86_64") { MontgomeryPoint(theirs.0).to_edwards(0) } else { None };
    match point {
        Some(point) => {
            let product = point.mul_clamped(*secret.expose()).to_montgomery();
            out.copy_from_slice(product.as_bytes());
        }
        None => {
            let secret = StaticSecret::from(*secret.expose());
            let product = secret.diffie_hellman(&PublicKey::from(theirs.0));
            out.copy_from_slice(product.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestRng;

    #[test]
    fn r_101_only_canonical_encodings() {
        let mut below = PRIME;
        below[0] -= 1;
        assert!(DhPublic::from_bytes(&below).is_ok());
        assert_eq!(DhPublic::from_bytes(&PRIME), Err(NotCanonical));
        let mut above = PRIME;
        above[0] += 1;
        assert_eq!(DhPublic::from_bytes(&above), Err(NotCanonical));
        let mut high_bit = [0; 32];
        high_bit[0] = 9;
        high_bit[31] = 0x80;
        assert_eq!(DhPublic::from_bytes(&high_bit), Err(NotCanonical));
    }

    /// Points of the curve and of its twist, and what lies at the edges,
    /// against an implementation that has the ladder alone.
    #[test]
    fn both_ways_agree_with_the_ladder() {
        let rng = &mut TestRng::new(1);
        let edges = [0u8, 1, 2, 9, PRIME[0] - 1, PRIME[0] - 2].map(|lowest| {
            let mut edge = if lowest < 10 { [0; 32] } else { PRIME };
            edge[0] = lowest;
            edge
        });
        let (mut curve, mut twist) = (0, 0);
        for round in 0..500 {
            let secret = DhSecret::generate(rng);
            let mut public = *DhSecret::generate(rng).expose();
            public[31] &= 0x7f;
            let public = edges.get(round).unwrap_or(&public);
            let public = DhPublic::from_bytes(public).unwrap();
            match MontgomeryPoint(public.0).to_edwards(0) {
                Some(_) => curve += 1,
                None => twist += 1,
            }
            let mut shared = DhOutput::blank();
            multiply(&secret, &public, &mut shared);
            let expected = x25519_dalek::x25519(*secret.expose(), public.0);
            assert_eq!(*shared.expose(), expected, "round {round}");
        }
        assert!(curve > 200 && twist > 200, "{curve} {twist}");
    }

    #[test]
    fn r_102_low_order_points() {
        let secret = DhSecret::from_array(&[0x42; 32]);
        let (mut zero, mut one, mut minus_one) = ([0; 32], [0; 32], PRIME);
        (zero[0], one[0], minus_one[0]) = (0, 1, minus_one[0] - 1);
        // Of order 8, both on the curve; the rest that is canonical.
        let eight = [
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        ]
        .map(|hex| core::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..][..2], 16).unwrap()));
        for point in [zero, one, minus_one].into_iter().chain(eight) {
            let point = DhPublic::from_bytes(&point).unwrap();
            assert_eq!(secret.exchange(&point).unwrap_err(), LowOrder);
        }
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    mod stack {
        use std::hint::black_box;
        use std::vec::Vec;

        use super::super::*;
        use crate::testing::{TestRng, digits, memory};

        /// Seeds of no other test: what it left on its own stack would be found here.
        const OWN: u64 = 0x5_7ac4_0000;

        fn digits_of(key: &DhSecret) -> Vec<u8> {
            let mut key = *key.expose();
            (key[0], key[31]) = (key[0] & 248, key[31] & 127 | 64);
            let digits = digits(&key);
            black_box(&mut key).fill(0);
            digits
        }

        #[test]
        fn an_exchange_leaves_no_digits_of_the_key_behind() {
            let rng = &mut TestRng::new(OWN + 2);
            let theirs = DhSecret::generate(rng).public();
            let keys = [DhSecret::generate(rng), DhSecret::generate(rng)];
            let needles = keys.each_ref().map(digits_of);

            // The multiplication by itself does: the search finds them.
            let mut shared = DhOutput::blank();
            multiply(&keys[0], &theirs, &mut shared);
            let left = memory::occurrences(&needles[0]);
            black_box(keys[1].exchange(&theirs)).unwrap();
            assert_eq!(memory::occurrences(&needles[1]), 0);
            // So it is in the profile of tests; elsewhere frames may lie otherwise.
            assert!(left > 0 || !cfg!(debug_assertions), "there was nothing to overwrite");
        }

        /// A key of theirs that is on the twist goes by the ladder, which works
        /// on the key's bytes.
        #[test]
        fn an_exchange_by_the_ladder_leaves_nothing_of_the_key_behind() {
            let rng = &mut TestRng::new(OWN + 4);
            let theirs = DhPublic([2; 32]);
            assert!(MontgomeryPoint(theirs.0).to_edwards(0).is_none(), "not of the twist");
            let key = DhSecret::generate(rng);
            burn_stack::<DEPTH>();
            let needle: Vec<u8> = key.expose()[8..24].iter().map(|byte| !byte).collect();

            let mut shared = DhOutput::blank();
            multiply(&key, &theirs, &mut shared);
            let left = memory::occurrences(&needle);
            black_box(key.exchange(&theirs)).unwrap();
            assert_eq!(memory::occurrences(&needle), 1, "the key itself");
            assert!(left > 1 || !cfg!(debug_assertions), "there was nothing to overwrite");
        }

        #[test]
        fn making_a_public_key_leaves_no_digits_of_the_key_behind() {
            let rng = &mut TestRng::new(OWN + 3);
            let key = DhSecret::generate(rng);
            let needle = digits_of(&key);
            // What the search can find, it finds.
            let found: Vec<u8> = black_box(needle.iter().map(|digit| !digit).collect());
            assert!(memory::occurrences(&needle) >= 1);
            black_box(found).fill(0);
            black_box(key.public());
            assert_eq!(memory::occurrences(&needle), 0);
        }
    }
}
