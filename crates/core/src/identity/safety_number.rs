//! The number that two people compare.

use alloc::string::String;
use core::fmt;

use subtle::ConstantTimeEq;

use super::AccountKey;
use crate::label;
use crate::primitives::hash::sha256;
use crate::primitives::kdf;

/// Groups of five digits.
const GROUPS: usize = 12;
/// Bytes of a QR code: a version and both account keys.
const QR: usize = 65;
/// The version of the QR code's layout.
const QR_VERSION: u8 = 1;

/// The safety number of two accounts: the same for both, whoever asks. 60
/// digits to read out, or both keys in full for a QR code.
///
/// Each group is five bytes of `HKDF-Expand(h, label, 60)` as a big-endian
/// number, modulo 100,000, where `h = SHA-256(label ‖ lower key ‖ higher key)`
/// (`protocol-spec/02-identity.md`).
#[derive(Clone, PartialEq, Eq)]
pub struct SafetyNumber {
    groups: [u32; GROUPS],
    qr: [u8; QR],
}

impl SafetyNumber {
    /// The number of two accounts, in either order.
    pub fn new(one: &AccountKey, other: &AccountKey) -> Self {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        let hash = sha256(label::SAFETY_NUMBER, &[low.as_bytes(), high.as_bytes()]);
        let mut stream = [0; GROUPS * 5];
        kdf::expand(&hash, &[label::SAFETY_NUMBER], &mut stream);
        let mut groups = [0; GROUPS];
        for (group, bytes) in groups.iter_mut().zip(stream.chunks_exact(5)) {
            let number = bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
            *group = u32::try_from(number % 100_000).unwrap_or_default();
        }
        let mut qr = [QR_VERSION; QR];
        for (to, from) in qr.iter_mut().skip(1).zip(low.as_bytes().iter().chain(high.as_bytes())) {
            *to = *from;
        }
        Self { groups, qr }
    }

    /// The 60 digits without spaces.
    pub fn digits(&self) -> String {
        use fmt::Write;
        let mut digits = String::with_capacity(GROUPS * 5);
        for group in self.groups {
            // Writing to a string can't fail.
            let _ = write!(digits, "{group:05}");
        }
        digits
    }

    /// The 65 bytes of the QR code: 1, lower key, higher key.
    pub fn qr_bytes(&self) -> &[u8; QR] {
        &self.qr
    }

    /// Whether a scanned code shows the same two accounts.
    pub fn matches_qr(&self, scanned: &[u8]) -> bool {
        self.qr.ct_eq(scanned).into()
    }
}

/// Twelve groups of five digits, separated by spaces.
impl fmt::Display for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, group) in self.groups.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{group:05}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SafetyNumber({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::AccountSecret;

    #[test]
    fn same_for_both_and_different_for_others() {
        let [a, b, c] = [1, 2, 3].map(|seed| AccountSecret::from_bytes(&[seed; 32]).public());
        let number = SafetyNumber::new(&a, &b);
        assert_eq!(number, SafetyNumber::new(&b, &a));
        assert_ne!(number, SafetyNumber::new(&a, &c));
        assert_eq!(number.digits().len(), 60);
        assert_eq!(alloc::format!("{number}").len(), 71);
        assert!(number.matches_qr(SafetyNumber::new(&b, &a).qr_bytes()));
        assert!(!number.matches_qr(SafetyNumber::new(&b, &c).qr_bytes()));
        assert!(!number.matches_qr(b"short"));
    }
}
