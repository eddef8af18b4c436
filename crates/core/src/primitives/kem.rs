//! ML-KEM-768 and ML-KEM-1024 (FIPS 203) by `libcrux-ml-kem`.
//!
//! The whole project reaches ML-KEM through this module. Private keys exist
//! as 64-byte seeds (`d ‖ z`) and are expanded in memory alone, so that stored
//! state is the same on every processor.

use core::ops::{Index, IndexMut};

use rand_core::CryptoRng;
use zeroize::Zeroize;

use super::burn_stack;

secret! {
    /// The seed of a key pair: `d ‖ z` of FIPS 203, algorithm 19.
    pub(crate) struct KemSeed(64);
}

secret! {
    /// The randomness of an encapsulation: `m` of FIPS 203.
    struct KemMessage(32);
}

secret! {
    /// A shared secret.
    pub(crate) struct KemSecret(32);
}

/// Rule R-103: an encapsulation key fails the modulus check of FIPS 203,
/// section 7.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidKey;

impl KemSeed {
    #[cfg(test)]
    pub(crate) fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Self::blank();
        rng.fill_bytes(seed.expose_mut());
        seed
    }
}

macro_rules! parameter_set {
    ($module:ident, $library:ident, $Public:ident, $Private:ident, $Ciphertext:ident,
     $ek:literal, $ct:literal, $dk:literal, $depth:literal, $name:literal) => {
        #[doc = $name]
        pub(crate) mod $module {
            use super::*;
            use libcrux_ml_kem::$library::{self as library, $Ciphertext, $Private, $Public};

            /// Bytes of an encapsulation key.
            pub(crate) const KEY: usize = $ek;
            /// Bytes of a ciphertext.
            pub(crate) const CIPHERTEXT: usize = $ct;

            /// An encapsulation key that passed the modulus check.
            pub(crate) struct EncapsulationKey($Public);

            impl EncapsulationKey {
                /// Takes an encoded key.
                ///
                /// # Errors
                /// [`InvalidKey`].
                pub(crate) fn from_bytes(bytes: &[u8; KEY]) -> Result<Self, InvalidKey> {
                    let key = $Public::from(bytes);
                    if library::validate_public_key(&key) { Ok(Self(key)) } else { Err(InvalidKey) }
                }

                #[allow(dead_code, reason = "the ratchet takes the bytes out of the private key")]
                pub(crate) fn as_bytes(&self) -> &[u8; KEY] {
                    self.0.as_slice()
                }

                /// Makes a shared secret and its ciphertext.
                pub(crate) fn encapsulate(
                    &self,
                    rng: &mut impl CryptoRng,
                    secret: &mut KemSecret,
                ) -> [u8; CIPHERTEXT] {
                    let mut message = KemMessage::blank();
                    rng.fill_bytes(message.expose_mut());
                    let ciphertext = self.run(&message, secret);
                    burn_stack::<DEPTH>();
                    ciphertext
                }

                #[inline(never)]
                fn run(&self, message: &KemMessage, secret: &mut KemSecret) -> [u8; CIPHERTEXT] {
                    let (ciphertext, mut shared) = library::encapsulate(&self.0, *message.expose());
                    secret.expose_mut().copy_from_slice(&shared);
                    shared.zeroize();
                    ciphertext.into()
                }
            }

            /// A private key as its seed expands to it: FIPS 203's
            /// decapsulation key. Held only while it saves making it again.
            pub(crate) struct PrivateKey($Private);

            impl PrivateKey {
                pub(crate) fn blank() -> Self {
                    Self($Private::from([0; $dk]))
                }

                /// The key of a seed. Elsewhere expanded in place, so that no
                /// copy is left behind.
                #[cfg(test)]
                pub(crate) fn of(seed: &KemSeed) -> Self {
                    let mut key = Self::blank();
                    key.expand(seed);
                    key
                }

                /// Becomes the key of a seed.
                pub(crate) fn expand(&mut self, seed: &KemSeed) {
                    self.generate(seed);
                    burn_stack::<DEPTH>();
                }

                #[inline(never)]
                fn generate(&mut self, seed: &KemSeed) {
                    let (mut private, _) = library::generate_key_pair(*seed.expose()).into_parts();
                    self.0.index_mut(0..$dk).copy_from_slice(private.as_slice());
                    private.index_mut(0..$dk).zeroize();
                }

                /// The encapsulation key, which the private key contains.
                #[allow(dead_code, reason = "the ratchet takes its bytes alone")]
                pub(crate) fn encapsulation_key(&self) -> EncapsulationKey {
                    EncapsulationKey($Public::from(self.public_bytes()))
                }

                /// Its encoding, in place.
                pub(crate) fn public_bytes(&self) -> &[u8; KEY] {
                    self.0.index(PUBLIC..).first_chunk().unwrap_or(&[0; KEY])
                }

                /// The part of it that is neither public nor in the seed.
                #[allow(dead_code, reason = "a prekey's key is expanded for one operation")]
                pub(crate) fn secret_vector(&self) -> &[u8] {
                    self.0.index(..PUBLIC)
                }

                /// Recovers the shared secret. A ciphertext that was not made
                /// for this key gives a secret that nobody shares (implicit
                /// rejection), not an error.
                pub(crate) fn decapsulate(
                    &self,
                    ciphertext: &[u8; CIPHERTEXT],
                    secret: &mut KemSecret,
                ) {
                    self.recover(ciphertext, secret);
                    burn_stack::<DEPTH>();
                }

                #[inline(never)]
                fn recover(&self, ciphertext: &[u8; CIPHERTEXT], secret: &mut KemSecret) {
                    let ciphertext = $Ciphertext::from(ciphertext);
                    let mut shared = library::decapsulate(&self.0, &ciphertext);
                    secret.expose_mut().copy_from_slice(&shared);
                    shared.zeroize();
                }
            }

            impl Zeroize for PrivateKey {
                fn zeroize(&mut self) {
                    self.0.index_mut(0..$dk).zeroize();
                }
            }

            impl Drop for PrivateKey {
                fn drop(&mut self) {
                    self.zeroize();
                }
            }

            /// More stack than any operation uses, in bytes: 36 and 44 KiB
            /// were measured on x86_64, optimised.
            const DEPTH: usize = $depth;

            /// Where the encapsulation key begins in a private key: between
            /// the secret vector and its own hash with `z` (FIPS 203, 7.1).
            const PUBLIC: usize = $dk - KEY - 64;
        }
    };
}

parameter_set!(
    mlkem768,
    mlkem768,
    MlKem768PublicKey,
    MlKem768PrivateKey,
    MlKem768Ciphertext,
    1184,
    1088,
    2400,
    49_152,
    "ML-KEM-768: the ratchet's parameter set."
);
parameter_set!(
    mlkem1024,
    mlkem1024,
    MlKem1024PublicKey,
    MlKem1024PrivateKey,
    MlKem1024Ciphertext,
    1568,
    1568,
    3168,
    65_536,
    "ML-KEM-1024: the handshake's parameter set."
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestRng;

    #[test]
    fn both_sides_agree() {
        let mut rng = TestRng::new(1);
        let seed = KemSeed::generate(&mut rng);
        let (mut ours, mut theirs) = (KemSecret::blank(), KemSecret::blank());
        let ciphertext =
            mlkem768::PrivateKey::of(&seed).encapsulation_key().encapsulate(&mut rng, &mut theirs);
        mlkem768::PrivateKey::of(&seed).decapsulate(&ciphertext, &mut ours);
        assert_eq!(ours, theirs);
        let ciphertext =
            mlkem1024::PrivateKey::of(&seed).encapsulation_key().encapsulate(&mut rng, &mut theirs);
        mlkem1024::PrivateKey::of(&seed).decapsulate(&ciphertext, &mut ours);
        assert_eq!(ours, theirs);
    }

    #[test]
    fn r_103_modulus_check() {
        let key = mlkem768::PrivateKey::of(&KemSeed::from_array(&[3; 64])).encapsulation_key();
        let mut bytes = *key.as_bytes();
        assert!(mlkem768::EncapsulationKey::from_bytes(&bytes).is_ok());
        // The first coefficient becomes 0xfff, which is not below 3,329.
        bytes[0] = 0xff;
        bytes[1] |= 0x0f;
        assert_eq!(mlkem768::EncapsulationKey::from_bytes(&bytes).err(), Some(InvalidKey));

        let key = mlkem1024::PrivateKey::of(&KemSeed::from_array(&[3; 64])).encapsulation_key();
        let mut bytes = *key.as_bytes();
        assert!(mlkem1024::EncapsulationKey::from_bytes(&bytes).is_ok());
        // The last coefficient before the seed becomes 3,329, the least that
        // is refused; 3,328 is not.
        let last = mlkem1024::KEY - 32 - 2;
        for (value, accepted) in [(3_328u16, true), (3_329, false)] {
            let [high, low] = (value << 4).to_be_bytes();
            bytes[last] = bytes[last] & 0x0f | low;
            bytes[last + 1] = high;
            let read = mlkem1024::EncapsulationKey::from_bytes(&bytes);
            assert_eq!(read.err(), (!accepted).then_some(InvalidKey), "{value}");
            bytes[last] &= 0x0f;
        }
    }
}
