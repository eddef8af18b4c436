//! HKDF-SHA-256 (RFC 5869).

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroize;

secret! {
    /// A pseudorandom key: what Extract returns and Expand takes.
    pub(crate) struct Prk(32);
}

/// `prk = HKDF-Extract(salt, ikm)`.
pub(crate) fn extract(salt: &[u8; 32], ikm: &[u8], prk: &mut Prk) {
    let (mut output, _) = Hkdf::<Sha256>::extract(Some(salt), ikm);
    prk.expose_mut().copy_from_slice(&output);
    output.as_mut_slice().zeroize();
}

/// `out = HKDF-Expand(prk, info, N)`; `info` is the concatenation of its
/// parts, a label first.
#[allow(clippy::expect_used, reason = "both lengths are checked when this is compiled")]
pub(crate) fn expand<const N: usize>(prk: &[u8; 32], info: &[&[u8]], out: &mut [u8; N]) {
    const { assert!(N <= 255 * 32, "RFC 5869, section 2.3") };
    Hkdf::<Sha256>::from_prk(prk)
        .expect("a key of one hash length")
        .expand_multi_info(info, out)
        .expect("an output within the limit");
}
