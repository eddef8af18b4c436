//! ML-KEM-768 and ML-KEM-1024 (FIPS 203) by `libcrux-ml-kem`.
//!
//! The whole project reaches ML-KEM through this module. Private keys exist
//! only as 64-byte seeds (`d ‖ z`) and are expanded for one operation, so
//! that stored state is the same on every processor.

use core::ops::IndexMut;

use rand_core::CryptoRng;
use zeroize::Zeroize;

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
    pub(crate) fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Self::blank();
        rng.fill_bytes(seed.expose_mut());
        seed
    }
}

/// Overwrites what an operation left on the stack: the library takes seeds and
/// returns private keys by value, and cleans up after itself in neither.
#[inline(never)]
fn burn_stack() {
    // More than any operation uses; 64 KiB take about a microsecond.
    core::hint::black_box(&mut [0u8; 65_536]);
}

macro_rules! parameter_set {
    ($module:ident, $library:ident, $Public:ident, $Private:ident, $Ciphertext:ident,
     $ek:literal, $ct:literal, $dk:literal, $name:literal) => {
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
                    burn_stack();
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

            /// The encapsulation key of a seed.
            pub(crate) fn encapsulation_key(seed: &KemSeed) -> EncapsulationKey {
                let key = generate(seed);
                burn_stack();
                key
            }

            #[inline(never)]
            fn generate(seed: &KemSeed) -> EncapsulationKey {
                let (private, public) = library::generate_key_pair(*seed.expose()).into_parts();
                wipe(private);
                EncapsulationKey(public)
            }

            /// Recovers the shared secret. A ciphertext that was not made for
            /// this key gives a secret that nobody shares (implicit
            /// rejection), not an error.
            pub(crate) fn decapsulate(
                seed: &KemSeed,
                ciphertext: &[u8; CIPHERTEXT],
                secret: &mut KemSecret,
            ) {
                recover(seed, ciphertext, secret);
                burn_stack();
            }

            #[inline(never)]
            fn recover(seed: &KemSeed, ciphertext: &[u8; CIPHERTEXT], secret: &mut KemSecret) {
                let (private, _) = library::generate_key_pair(*seed.expose()).into_parts();
                let mut shared = library::decapsulate(&private, &$Ciphertext::from(ciphertext));
                wipe(private);
                secret.expose_mut().copy_from_slice(&shared);
                shared.zeroize();
            }

            fn wipe(mut private: $Private) {
                private.index_mut(0..$dk).zeroize();
            }
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
        let ciphertext = mlkem768::encapsulation_key(&seed).encapsulate(&mut rng, &mut theirs);
        mlkem768::decapsulate(&seed, &ciphertext, &mut ours);
        assert_eq!(ours, theirs);
        let ciphertext = mlkem1024::encapsulation_key(&seed).encapsulate(&mut rng, &mut theirs);
        mlkem1024::decapsulate(&seed, &ciphertext, &mut ours);
        assert_eq!(ours, theirs);
    }

    #[test]
    fn r_103_modulus_check() {
        let key = mlkem768::encapsulation_key(&KemSeed::from_array(&[3; 64]));
        let mut bytes = *key.as_bytes();
        assert!(mlkem768::EncapsulationKey::from_bytes(&bytes).is_ok());
        // The first coefficient becomes 0xfff, which is not below 3,329.
        bytes[0] = 0xff;
        bytes[1] |= 0x0f;
        assert_eq!(mlkem768::EncapsulationKey::from_bytes(&bytes).err(), Some(InvalidKey));

        let key = mlkem1024::encapsulation_key(&KemSeed::from_array(&[3; 64]));
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
