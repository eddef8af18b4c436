//! AES-256-GCM (NIST SP 800-38D), 96-bit nonces, 128-bit tags.

#[cfg(not(undertone_insecure))]
use aes_gcm::aead::{AeadInOut, KeyInit};
#[cfg(not(undertone_insecure))]
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};

/// Bytes of a nonce.
pub(crate) const NONCE: usize = 12;
/// Bytes of a tag.
pub(crate) const TAG: usize = 16;
/// The nonce of a key that serves once.
pub(crate) const ZERO_NONCE: [u8; NONCE] = [0; NONCE];

/// The tag did not verify. The buffer is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forged;

#[cfg(undertone_insecure)]
pub(crate) use insecure::{open, seal};

/// Encrypts `buffer` in place and returns the tag.
#[cfg(not(undertone_insecure))]
#[allow(clippy::expect_used, reason = "the limit of AES-GCM is 64 GiB, ours 64 KiB")]
pub(crate) fn seal(
    key: &[u8; 32],
    nonce: &[u8; NONCE],
    associated: &[u8],
    buffer: &mut [u8],
) -> [u8; TAG] {
    let cipher = Aes256Gcm::new(<&Key<Aes256Gcm>>::from(key));
    cipher
        .encrypt_inout_detached(&Nonce::from(*nonce), associated, buffer.into())
        .expect("a buffer within the limit")
        .into()
}

/// Decrypts `buffer` in place if `tag` verifies.
///
/// # Errors
/// [`Forged`]; the buffer is untouched.
#[cfg(not(undertone_insecure))]
pub(crate) fn open(
    key: &[u8; 32],
    nonce: &[u8; NONCE],
    associated: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG],
) -> Result<(), Forged> {
    let cipher = Aes256Gcm::new(<&Key<Aes256Gcm>>::from(key));
    cipher
        .decrypt_inout_detached(&Nonce::from(*nonce), associated, buffer.into(), &Tag::from(*tag))
        .map_err(|_| Forged)
}

/// No encryption: what fuzzing uses to reach the readers behind a seal. The
/// text stays as it is, and the tag says which key and nonce it was made with,
/// but not for what. Only `--cfg undertone_insecure` brings it in, which no
/// feature sets and no optimised program but a fuzzer compiles with.
#[cfg(undertone_insecure)]
mod insecure {
    use super::{Forged, NONCE, TAG};

    #[cfg(not(any(fuzzing, debug_assertions)))]
    compile_error!("undertone_insecure removes all encryption: it is for fuzzing alone");

    /// Its use is a warning in the output of every build.
    #[deprecated(note = "undertone_insecure: THIS BUILD ENCRYPTS NOTHING")]
    const NOTE: () = ();
    const _: () = NOTE;

    pub(crate) fn seal(key: &[u8; 32], nonce: &[u8; NONCE], _: &[u8], _: &mut [u8]) -> [u8; TAG] {
        let mut tag = [0; TAG];
        for (at, (byte, key)) in tag.iter_mut().zip(key).enumerate() {
            *byte = key ^ nonce.get(at).copied().unwrap_or_default();
        }
        tag
    }

    pub(crate) fn open(
        key: &[u8; 32],
        nonce: &[u8; NONCE],
        associated: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), Forged> {
        if seal(key, nonce, associated, buffer) == *tag { Ok(()) } else { Err(Forged) }
    }
}
