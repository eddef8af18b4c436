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
pub(crate) fn expand<const N: usize>(prk: &[u8; 32], info: &[&[u8]], out: &mut [u8; N]) {
    Expander::new(prk).expand(info, out);
}

/// HKDF-Expand under one key, to be used more than once. Wiped on drop.
pub(crate) struct Expander(Hkdf<Sha256>);

impl Expander {
    #[allow(clippy::expect_used, reason = "the key's length is its type's")]
    pub(crate) fn new(prk: &[u8; 32]) -> Self {
        Self(Hkdf::from_prk(prk).expect("a key of one hash length"))
    }

    #[allow(clippy::expect_used, reason = "the length is checked when this is compiled")]
    pub(crate) fn expand<const N: usize>(&self, info: &[&[u8]], out: &mut [u8; N]) {
        const { assert!(N <= 255 * 32, "RFC 5869, section 2.3") };
        self.0.expand_multi_info(info, out).expect("an output within the limit");
    }
}
