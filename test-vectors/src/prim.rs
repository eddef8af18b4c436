//! The primitives of `protocol-spec/01-primitives.md`, put together here a
//! second time: `ml-kem` in place of the library that the core uses.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use ml_kem::kem::{Decapsulate, KeyExport};
use sha2::{Digest, Sha256};

use crate::{Fail, Outcome};

/// A label: `Undertone v1 ` and a text.
pub fn label(text: &str) -> Vec<u8> {
    format!("Undertone v1 {text}").into_bytes()
}

/// `SHA-256(label ‖ parts)`.
pub fn hash(text: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(label(text));
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// The first `N` of up to 32 bytes.
pub fn first<const N: usize>(hash: &[u8; 32]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(hash) {
        *to = *from;
    }
    out
}

/// HKDF-Extract.
pub fn extract(salt: &[u8], ikm: &[u8]) -> [u8; 32] {
    Hkdf::<Sha256>::extract(Some(salt), ikm).0.into()
}

/// HKDF-Expand of a label and what follows it.
///
/// # Errors
/// If the key is too short, or more is asked for than there is.
pub fn expand(key: &[u8], text: &str, info: &[&[u8]], length: usize) -> Outcome<Vec<u8>> {
    let mut whole = label(text);
    whole.extend(info.concat());
    let kdf = Hkdf::<Sha256>::from_prk(key).map_err(|_| Fail::wrong("a key too short"))?;
    let mut out = vec![0; length];
    kdf.expand(&whole, &mut out).map_err(|_| Fail::wrong("too long an output"))?;
    Ok(out)
}

/// HKDF-Expand to keys of 32 bytes.
///
/// # Errors
/// As [`expand`].
pub fn keys<const N: usize>(key: &[u8], text: &str, info: &[&[u8]]) -> Outcome<[[u8; 32]; N]> {
    let out = expand(key, text, info, 32 * N)?;
    let mut keys = [[0; 32]; N];
    for (key, bytes) in keys.iter_mut().zip(out.chunks_exact(32)) {
        key.copy_from_slice(bytes);
    }
    Ok(keys)
}

/// AES-256-GCM, `ciphertext ‖ tag`.
///
/// # Errors
/// If the text is longer than the algorithm allows.
pub fn seal(key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], plain: &[u8]) -> Outcome<Vec<u8>> {
    let mut out = plain.to_vec();
    let tag = Aes256Gcm::new(<&Key<Aes256Gcm>>::from(key))
        .encrypt_inout_detached(&Nonce::from(*nonce), ad, out.as_mut_slice().into())
        .map_err(|_| Fail::wrong("too long for AES-GCM"))?;
    out.extend_from_slice(&tag);
    Ok(out)
}

/// The inverse of [`seal`]; none if the tag does not fit.
pub fn open(key: &[u8; 32], nonce: &[u8; 12], ad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (text, tag) = sealed.split_last_chunk::<16>()?;
    let mut out = text.to_vec();
    Aes256Gcm::new(<&Key<Aes256Gcm>>::from(key))
        .decrypt_inout_detached(
            &Nonce::from(*nonce),
            ad,
            out.as_mut_slice().into(),
            &Tag::from(*tag),
        )
        .ok()?;
    Some(out)
}

/// The X25519 public key of a private one.
pub fn x25519_public(private: &[u8; 32]) -> [u8; 32] {
    x25519_dalek::x25519(*private, x25519_dalek::X25519_BASEPOINT_BYTES)
}

///
///
/// # Errors
/// If the key is not below the prime.
pub fn x25519_key(public: &[u8; 32]) -> Outcome<()> {
    let mut prime = [0xff; 32];
    (prime[0], prime[31]) = (0xed, 0x7f);
    if public.iter().rev().lt(prime.iter().rev()) { Ok(()) } else { Err(Fail::refused("R-101")) }
}

/// An exchange.
///
/// # Errors
///
pub fn x25519(private: &[u8; 32], public: &[u8; 32]) -> Outcome<[u8; 32]> {
    x25519_key(public)?;
    let shared = x25519_dalek::x25519(*private, *public);
    if shared == [0; 32] { Err(Fail::refused("R-102")) } else { Ok(shared) }
}

/// The Ed25519 public key of a seed.
pub fn ed25519_public(secret: &[u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(secret).verifying_key().to_bytes()
}

/// A signature.
pub fn sign(secret: &[u8; 32], message: &[u8]) -> [u8; 64] {
    SigningKey::from_bytes(secret).sign(message).to_bytes()
}

///
///
/// # Errors
/// For what is no point, a second encoding, or a point of small order.
pub fn ed25519_key(public: &[u8; 32]) -> Outcome<VerifyingKey> {
    let refused = || Fail::refused("R-104");
    let key = VerifyingKey::from_bytes(public).map_err(|_| refused())?;
    if key.is_weak() || key.to_edwards().compress().to_bytes() != *public {
        return Err(refused());
    }
    Ok(key)
}

///
///
/// # Errors
///
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Outcome<()> {
    ed25519_key(public)?
        .verify_strict(message, &Signature::from_bytes(signature))
        .map_err(|_| Fail::refused("R-105"))
}

/// A parameter set of ML-KEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kem {
    /// That of the ratchet.
    Kem768,
    /// That of the handshake.
    Kem1024,
}

macro_rules! kem {
    ($generate:ident, $encapsulate:ident, $decapsulate:ident, $module:ident) => {
        fn $generate(seed: &[u8; 64]) -> Vec<u8> {
            let key = ml_kem::$module::DecapsulationKey::from_seed((*seed).into());
            key.encapsulation_key().to_bytes().to_vec()
        }

        fn $encapsulate(ek: &[u8], message: &[u8; 32]) -> Outcome<(Vec<u8>, [u8; 32])> {
            let encoded = ek.try_into().map_err(|_| Fail::wrong("a key of another length"))?;
            let key = ml_kem::$module::EncapsulationKey::new(encoded)
                .map_err(|_| Fail::refused("R-103"))?;
            let (ciphertext, secret) = key.encapsulate_deterministic(&(*message).into());
            Ok((ciphertext.to_vec(), secret.into()))
        }

        fn $decapsulate(seed: &[u8; 64], ciphertext: &[u8]) -> Outcome<[u8; 32]> {
            let key = ml_kem::$module::DecapsulationKey::from_seed((*seed).into());
            let ciphertext =
                ciphertext.try_into().map_err(|_| Fail::wrong("a ciphertext of another length"))?;
            Ok(key.decapsulate(ciphertext).into())
        }
    };
}

kem!(generate_768, encapsulate_768, decapsulate_768, ml_kem_768);
kem!(generate_1024, encapsulate_1024, decapsulate_1024, ml_kem_1024);

impl Kem {
    /// The set of this number.
    ///
    /// # Errors
    /// If it is neither 768 nor 1024.
    pub fn of(number: u64) -> Outcome<Self> {
        match number {
            768 => Ok(Self::Kem768),
            1024 => Ok(Self::Kem1024),
            other => Err(Fail::wrong(format!("no parameter set {other}"))),
        }
    }

    /// The encapsulation key of a seed.
    pub fn generate(self, seed: &[u8; 64]) -> Vec<u8> {
        match self {
            Self::Kem768 => generate_768(seed),
            Self::Kem1024 => generate_1024(seed),
        }
    }

    /// Ciphertext and secret.
    ///
    /// # Errors
    ///
    pub fn encapsulate(self, ek: &[u8], message: &[u8; 32]) -> Outcome<(Vec<u8>, [u8; 32])> {
        match self {
            Self::Kem768 => encapsulate_768(ek, message),
            Self::Kem1024 => encapsulate_1024(ek, message),
        }
    }

    /// The secret of a ciphertext.
    ///
    /// # Errors
    /// If the ciphertext has another length.
    pub fn decapsulate(self, seed: &[u8; 64], ciphertext: &[u8]) -> Outcome<[u8; 32]> {
        match self {
            Self::Kem768 => decapsulate_768(seed, ciphertext),
            Self::Kem1024 => decapsulate_1024(seed, ciphertext),
        }
    }
}
