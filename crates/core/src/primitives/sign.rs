//! Ed25519 (RFC 8032), verified strictly.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::burn_stack;
use super::dh::is_below_prime;

secret! {
    /// An Ed25519 private key: the 32-byte seed of RFC 8032.
    pub(crate) struct SignSecret(32);
}

/// Bytes of a signature.
pub(crate) const SIGNATURE: usize = 64;

/// A valid Ed25519 public key: canonical and not of low order (a key may have
/// a part of low order, which gains nothing against strict verification). Holds the
/// point beside its encoding, so that it is decompressed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SignPublic(VerifyingKey);

/// Rule R-104: no canonical encoding of a point, or of a point of low order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidKey;

/// Rule R-105: the signature does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidSignature;

impl SignPublic {
    /// Takes an encoded key.
    ///
    /// # Errors
    /// [`InvalidKey`] for what is no point, for a second encoding of one, and
    /// for the points of low order, under which signatures fit any message.
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidKey> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| InvalidKey)?;
        // A second encoding has y at or above the prime; one with x = 0 and the
        // sign bit set encodes a weak point anyway.
        let mut y = *bytes;
        let [.., high] = &mut y;
        *high &= 0x7f;
        if is_below_prime(&y) && !key.is_weak() { Ok(Self(key)) } else { Err(InvalidKey) }
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Verifies a signature over `message`: S in range, R of large order, and
    /// the equation without cofactor, so that all implementations agree.
    pub(crate) fn verify(
        &self,
        message: &[u8],
        signature: &[u8; SIGNATURE],
    ) -> Result<(), InvalidSignature> {
        self.0
            .verify_strict(message, &Signature::from_bytes(signature))
            .map_err(|_| InvalidSignature)
    }
}

impl Ord for SignPublic {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for SignPublic {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl SignSecret {
    pub(crate) fn public(&self) -> SignPublic {
        let public = public(self);
        burn_stack::<DEPTH>();
        public
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE] {
        let signature = sign(self, message);
        burn_stack::<DEPTH>();
        signature
    }
}

/// More stack than signing uses, in bytes, as with X25519: the library leaves the
/// scalar of a signature there, and its digits. Whoever finds them beside the
/// signature has the key.
const DEPTH: usize = 16_384;

#[inline(never)]
fn public(secret: &SignSecret) -> SignPublic {
    SignPublic(SigningKey::from_bytes(secret.expose()).verifying_key())
}

#[inline(never)]
fn sign(secret: &SignSecret, message: &[u8]) -> [u8; SIGNATURE] {
    SigningKey::from_bytes(secret.expose()).sign(message).to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_104_weak_and_non_canonical_keys() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(SignPublic::from_bytes(&identity), Err(InvalidKey));
        // y = p + 1, a second encoding of the identity.
        let mut second = [0xff; 32];
        second[0] = 0xee;
        second[31] = 0x7f;
        assert_eq!(SignPublic::from_bytes(&second), Err(InvalidKey));
        let honest = SignSecret::from_array(&[7; 32]).public();
        assert_eq!(SignPublic::from_bytes(honest.as_bytes()), Ok(honest));
    }

    #[test]
    fn r_105_signatures() {
        let secret = SignSecret::from_array(&[7; 32]);
        let mut signature = secret.sign(b"message");
        assert!(secret.public().verify(b"message", &signature).is_ok());
        assert_eq!(secret.public().verify(b"other", &signature), Err(InvalidSignature));
        signature[63] ^= 0x80;
        assert_eq!(secret.public().verify(b"message", &signature), Err(InvalidSignature));
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    mod stack {
        use std::hint::black_box;
        use std::vec::Vec;

        use curve25519_dalek::Scalar;
        use sha2::{Digest, Sha512};

        use super::super::*;
        use crate::testing::{digits, memory};

        /// The complements of the secret scalar, of the nonce of a signature over
        /// `message` (RFC 8032, section 5.1.6), and of the digits of both.
        fn needles(key: &SignSecret, message: &[u8]) -> [Vec<u8>; 4] {
            let mut hash = Sha512::digest(key.expose());
            let (scalar, prefix) = hash.split_at(32);
            let mut scalar: [u8; 32] = scalar.try_into().unwrap();
            (scalar[0], scalar[31]) = (scalar[0] & 248, scalar[31] & 127 | 64);
            let nonce = Sha512::new().chain_update(prefix).chain_update(message).finalize();
            let mut nonce = Scalar::from_bytes_mod_order_wide(&nonce.into()).to_bytes();
            let complement = |bytes: &[u8; 32]| bytes.iter().map(|byte| !byte).collect();
            let found = [complement(&scalar), complement(&nonce), digits(&scalar), digits(&nonce)];
            black_box(&mut scalar).fill(0);
            black_box(&mut nonce).fill(0);
            black_box(&mut hash).fill(0);
            found
        }

        #[test]
        fn signing_leaves_nothing_of_the_key_or_the_nonce_behind() {
            // A key of no other test: what that left on its own stack would be found here.
            let key = SignSecret::from_array(&[0x5c; 32]);
            let needles = needles(&key, b"message");
            // What computing them has left.
            burn_stack::<DEPTH>();
            for needle in &needles {
                // What the search can find, it finds.
                let found: Vec<u8> = black_box(needle.iter().map(|byte| !byte).collect());
                assert!(memory::occurrences(needle) >= 1);
                black_box(found).fill(0);
            }
            // By itself the library leaves the nonce of the signature, most times.
            black_box(key.sign(b"message"));
            black_box(key.public());
            for needle in &needles {
                assert_eq!(memory::occurrences(needle), 0);
            }
        }
    }
}
