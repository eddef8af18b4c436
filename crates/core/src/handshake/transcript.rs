//! The running hash over everything that the handshake sends.

use crate::label;
use crate::prekey::BundleDigest;
use crate::primitives::dh::DhPublic;
use crate::primitives::hash::sha256;

/// `T0 = SHA-256("… transcript")`, then
/// `T(i+1) = SHA-256("… transcript" ‖ T(i) ‖ kind ‖ length ‖ data)`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transcript([u8; 32]);

/// What an entry of the transcript is.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Entry {
    Bundle = 1,
    Ephemeral = 2,
    Ciphertext = 3,
    Identity = 4,
}

impl Transcript {
    /// The transcript of the whole signed bundle.
    pub(crate) fn of_bundle(bundle: &[u8]) -> Self {
        Self(sha256(label::TRANSCRIPT, &[])).with(Entry::Bundle, bundle)
    }

    /// Goes on from a bundle whose keys may be gone.
    pub(crate) fn resume(digest: &BundleDigest) -> Self {
        Self(*digest.as_bytes())
    }

    pub(crate) fn ephemeral(self, key: &DhPublic) -> Self {
        self.with(Entry::Ephemeral, key.as_bytes())
    }

    pub(crate) fn ciphertext(self, ciphertext: &[u8]) -> Self {
        self.with(Entry::Ciphertext, ciphertext)
    }

    pub(crate) fn identity(self, sealed: &[u8]) -> Self {
        self.with(Entry::Identity, sealed)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn with(self, entry: Entry, data: &[u8]) -> Self {
        // Bounded far below 4 GiB by the sizes of bundle and envelope.
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
        Self(sha256(label::TRANSCRIPT, &[&self.0, &[entry as u8], &len, data]))
    }
}
