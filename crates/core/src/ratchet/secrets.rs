//! What a session keeps secret, for searches that look for leaks.

use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::session::Session;

/// A secret and what it is.
pub type NamedSecret = (&'static str, Zeroizing<Vec<u8>>);

impl Session {
    /// Every secret that the session holds now, with its name.
    ///
    /// Only for tests and demonstrations that search other people's systems
    /// for what must not be there. What this returns opens the conversation.
    /// It is no way around anything: whoever has the session has the same
    /// bytes by [`to_bytes`](Self::to_bytes), without names.
    pub fn dangerous_secrets(&self) -> Vec<NamedSecret> {
        let core = self.inner.core.live();
        let pq = self.inner.pq.live();
        let mut found: Vec<(&'static str, &[u8])> = Vec::from([
            ("root key", core.root.expose().as_slice()),
            ("ratchet key", core.own.expose().as_slice()),
            ("header key", core.next_sending.expose().as_slice()),
            ("header key", core.next_receiving.expose().as_slice()),
            ("header key", core.sending.header.expose().as_slice()),
            ("header key", core.receiving.header.expose().as_slice()),
            ("chain key", core.sending.chain.expose().as_slice()),
            ("chain key", core.receiving.chain.expose().as_slice()),
            ("ML-KEM seed", pq.seed.expose().as_slice()),
            ("ML-KEM secret vector", self.inner.memo.secret_vector()),
            ("ML-KEM secret", pq.shared.expose().as_slice()),
        ]);
        found.extend(
            self.inner.old.iter().map(|old| ("header key", old.header.expose().as_slice())),
        );
        let skipped = self.inner.skipped.iter();
        found.extend(skipped.map(|(_, key, _)| ("message key", key.expose().as_slice())));
        found
            .into_iter()
            // Keys that do not exist yet are blank.
            .filter(|(_, bytes)| !crate::codec::is_zero(bytes))
            .map(|(name, bytes)| (name, Zeroizing::new(bytes.to_vec())))
            .collect()
    }
}
