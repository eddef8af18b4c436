//! Ed25519 (RFC 8032), verified strictly.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

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
        SignPublic(SigningKey::from_bytes(self.expose()).verifying_key())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE] {
        SigningKey::from_bytes(self.expose()).sign(message).to_bytes()
    }
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
}
