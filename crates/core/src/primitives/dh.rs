//! X25519 (RFC 7748), with the checks that the RFC leaves open.

use rand_core::CryptoRng;
use x25519_dalek::{PublicKey, StaticSecret};

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
        let secret = StaticSecret::from(*self.expose());
        DhPublic(PublicKey::from(&secret).to_bytes())
    }

    /// The exchange with `theirs`.
    ///
    /// # Errors
    /// [`LowOrder`] where the result is all zero.
    pub(crate) fn exchange(&self, theirs: &DhPublic) -> Result<DhOutput, LowOrder> {
        let secret = StaticSecret::from(*self.expose());
        let shared = secret.diffie_hellman(&PublicKey::from(theirs.0));
        if shared.was_contributory() {
            Ok(DhOutput::from_array(shared.as_bytes()))
        } else {
            Err(LowOrder)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn r_102_low_order_points() {
        let secret = DhSecret::from_array(&[0x42; 32]);
        for low in [0u8, 1] {
            let mut point = [0; 32];
            point[0] = low;
            let point = DhPublic::from_bytes(&point).unwrap();
            assert_eq!(secret.exchange(&point).unwrap_err(), LowOrder);
        }
    }
}
