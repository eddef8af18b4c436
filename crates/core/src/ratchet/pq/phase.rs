//! The phases of an epoch, each with what is public in it. A transition takes
//! a phase and returns the next; the secrets stay in place beside it.

use rand_core::CryptoRng;
use zeroize::Zeroize;

use crate::primitives::hash::truncate;
use crate::primitives::kem::{InvalidKey, KemSecret, KemSeed, mlkem768};
use crate::ratchet::error::OpenError;

use super::epoch::{EpochInfo, ciphertext_hash, key_hash};
use super::piece::{Kind, Outgoing, Run, TAG};
use super::{Assembly, KeyMemo};

/// An encapsulation key that is arriving.
pub(crate) type KeyParts = Assembly<{ mlkem768::KEY }>;
/// A ciphertext that is arriving.
pub(crate) type CiphertextParts = Assembly<{ mlkem768::CIPHERTEXT }>;

/// A peer's encapsulation key that is whole and valid, with its hash.
#[derive(Clone, Copy)]
pub(crate) struct RemoteKey {
    pub(crate) bytes: [u8; mlkem768::KEY],
    pub(crate) hash: [u8; 32],
}

/// Where the exchange for the next epoch stands.
#[derive(Clone, Copy)]
#[allow(clippy::large_enum_variant, reason = "held in place, twice for each session")]
pub(crate) enum Phase {
    /// Offering; no key pair yet.
    Idle,
    /// Offering; the key, which the memo holds, goes out until pieces of a
    /// ciphertext come in.
    Offering { key_hash: [u8; 32], peer_has_key: bool, incoming: Option<CiphertextParts> },
    /// Offering; holds the secret, to be mixed in at the next sending step.
    Secret { key_hash: [u8; 32], ciphertext_hash: [u8; 32] },
    /// Answering; the key is arriving.
    Waiting { incoming: Option<KeyParts> },
    /// Answering; the key is here, to be encapsulated to at the next send.
    Keyed(RemoteKey),
    /// Answering; holds the secret, the ciphertext goes out until the peer
    /// raises the epoch. `incoming`: a peer that was rolled back offers
    /// another key.
    Answering {
        ciphertext: [u8; mlkem768::CIPHERTEXT],
        key_hash: [u8; 32],
        ciphertext_hash: [u8; 32],
        incoming: Option<KeyParts>,
    },
}

/// The post-quantum ratchet of a session: the phase, and two secrets that
/// are live in some phases and blank in the others.
pub(crate) struct Pq {
    pub(crate) phase: Phase,
    /// Our key pair, in `Offering`.
    pub(crate) seed: KemSeed,
    /// The next epoch's secret, in `Secret` and `Answering`.
    pub(crate) shared: KemSecret,
}

impl Pq {
    pub(crate) fn new(phase: Phase) -> Self {
        Self { phase, seed: KemSeed::blank(), shared: KemSecret::blank() }
    }

    /// Becomes a copy, in place.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        let Self { phase, seed, shared } = other;
        self.phase = *phase;
        self.seed.expose_mut().copy_from_slice(seed.expose());
        self.shared.expose_mut().copy_from_slice(shared.expose());
    }

    pub(crate) fn wipe(&mut self) {
        self.seed.zeroize();
        self.shared.zeroize();
    }

    /// The hash of the key that is on offer.
    pub(crate) fn offered(&self) -> Option<&[u8; 32]> {
        match &self.phase {
            Phase::Offering { key_hash, .. } => Some(key_hash),
            _ => None,
        }
    }

    /// Whether the next send, in `epoch`, has an object to make first, whose
    /// first block is then next. In the last epoch nothing is made, since none
    /// follows.
    pub(crate) fn has_work(&self, epoch: u32) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Keyed(_)) && epoch != u32::MAX
    }

    /// Makes the key pair, or encapsulates, at the first send that needs it.
    pub(crate) fn work(&mut self, memo: &mut KeyMemo, rng: &mut impl CryptoRng) {
        self.phase = match self.phase {
            Phase::Idle => {
                rng.fill_bytes(self.seed.expose_mut());
                let key_hash = memo.expand(&self.seed);
                Phase::Offering { key_hash, peer_has_key: false, incoming: None }
            }
            Phase::Keyed(remote) => answer(&remote, rng, &mut self.shared),
            other => other,
        };
    }

    /// What goes out with the next message for the epoch after `epoch`.
    pub(crate) fn outgoing<'a>(
        &'a self,
        epoch: u32,
        memo: &'a mut KeyMemo,
    ) -> Option<Outgoing<'a>> {
        let epoch = epoch.checked_add(1)?;
        match &self.phase {
            Phase::Offering { key_hash, peer_has_key: false, .. } => Some(Outgoing {
                kind: Kind::Key,
                epoch,
                tag: truncate(key_hash),
                object: memo.get(key_hash, &self.seed).public_bytes(),
            }),
            Phase::Answering { ciphertext, ciphertext_hash, .. } => Some(Outgoing {
                kind: Kind::Ciphertext,
                epoch,
                tag: truncate(ciphertext_hash),
                object: ciphertext,
            }),
            _ => None,
        }
    }

    /// The epoch that we can raise, if `epoch` is the current one.
    pub(crate) fn raisable(&self, epoch: u32) -> Option<EpochInfo> {
        let Phase::Secret { key_hash, ciphertext_hash } = self.phase else {
            return None;
        };
        Some(EpochInfo { epoch: epoch.checked_add(1)?, key_hash, ciphertext_hash })
    }

    /// The epoch into which we can follow, if `epoch` is the current one.
    pub(crate) fn followable(&self, epoch: u32) -> Option<EpochInfo> {
        let Phase::Answering { key_hash, ciphertext_hash, .. } = self.phase else {
            return None;
        };
        Some(EpochInfo { epoch: epoch.checked_add(1)?, key_hash, ciphertext_hash })
    }

    /// The epoch was mixed in: roles swap and the secrets go.
    pub(crate) fn swap_roles(&mut self, phase: Phase) {
        self.wipe();
        self.phase = phase;
    }

    /// Whether a message changes anything here: `run` is what it carried for
    /// the next epoch, `stepped` whether it began a new chain.
    pub(crate) fn is_changed_by(&self, run: Option<&Run<'_>>, stepped: bool) -> bool {
        match (&self.phase, run) {
            (Phase::Offering { peer_has_key, incoming, .. }, run) => {
                match run.filter(|run| run.kind == Kind::Ciphertext) {
                    Some(run) => !peer_has_key || CiphertextParts::lacks(incoming.as_ref(), run),
                    None => stepped && *peer_has_key,
                }
            }
            (Phase::Waiting { incoming }, Some(run)) => {
                run.kind == Kind::Key && KeyParts::lacks(incoming.as_ref(), run)
            }
            (Phase::Keyed(remote), Some(run)) => is_other_key(run, &remote.hash),
            (Phase::Answering { key_hash, incoming, .. }, Some(run)) => {
                is_other_key(run, key_hash) && KeyParts::lacks(incoming.as_ref(), run)
            }
            _ => false,
        }
    }

    /// Takes in what a message carried.
    ///
    /// # Errors
    /// a whole key with the right hash fails the modulus check.
    pub(crate) fn receive(
        &mut self,
        run: Option<&Run<'_>>,
        stepped: bool,
        memo: &mut KeyMemo,
    ) -> Result<(), OpenError> {
        match (&mut self.phase, run) {
            (Phase::Offering { peer_has_key, incoming, .. }, run) => {
                let Some(run) = run.filter(|run| run.kind == Kind::Ciphertext) else {
                    // A peer that goes on without pieces has lost our key.
                    *peer_has_key &= !stepped;
                    return Ok(());
                };
                *peer_has_key = true;
                CiphertextParts::add(incoming, run);
                self.take_ciphertext(memo);
                return Ok(());
            }
            (Phase::Waiting { incoming }, Some(run)) if run.kind == Kind::Key => {
                let Some(key) = collect_key(incoming, run)? else { return Ok(()) };
                self.phase = Phase::Keyed(key);
            }
            (Phase::Keyed(remote), Some(run)) if is_other_key(run, &remote.hash) => {
                let mut incoming = None;
                self.phase = match collect_key(&mut incoming, run)? {
                    Some(key) => Phase::Keyed(key),
                    None => Phase::Waiting { incoming },
                };
            }
            (Phase::Answering { key_hash, incoming, .. }, Some(run))
                if is_other_key(run, key_hash) =>
            {
                let Some(key) = collect_key(incoming, run)? else { return Ok(()) };
                self.phase = Phase::Keyed(key);
            }
            _ => return Ok(()),
        }
        // The answer to a key that is superseded is void.
        self.wipe();
        Ok(())
    }

    /// Recovers the secret, once the ciphertext is whole.
    fn take_ciphertext(&mut self, memo: &mut KeyMemo) {
        let Phase::Offering { key_hash, incoming, .. } = &mut self.phase else { return };
        let Some(parts) = incoming.as_ref().filter(|parts| parts.is_full()) else { return };
        let ciphertext_hash = ciphertext_hash(key_hash, &parts.bytes);
        if truncate::<TAG>(&ciphertext_hash) != parts.tag {
            // Made for another key of ours, or pieces of two objects under
            // one tag: start over (spec: not an error of this message).
            *incoming = None;
            return;
        }
        memo.get(key_hash, &self.seed).decapsulate(&parts.bytes, &mut self.shared);
        self.seed.zeroize();
        self.phase = Phase::Secret { key_hash: *key_hash, ciphertext_hash };
    }
}

/// A run of an encapsulation key that is not the one we know.
fn is_other_key(run: &Run<'_>, key_hash: &[u8; 32]) -> bool {
    run.kind == Kind::Key && run.tag != truncate::<TAG>(key_hash)
}

/// A peer's key, if it passes the modulus check.
pub(crate) fn keyed(bytes: &[u8; mlkem768::KEY]) -> Result<RemoteKey, InvalidKey> {
    mlkem768::EncapsulationKey::from_bytes(bytes)?;
    Ok(RemoteKey { bytes: *bytes, hash: key_hash(bytes) })
}

/// The phase in which a ciphertext goes out.
pub(crate) fn answering(
    ciphertext: [u8; mlkem768::CIPHERTEXT],
    key_hash: [u8; 32],
    incoming: Option<KeyParts>,
) -> Phase {
    let ciphertext_hash = ciphertext_hash(&key_hash, &ciphertext);
    Phase::Answering { ciphertext, key_hash, ciphertext_hash, incoming }
}

fn answer(remote: &RemoteKey, rng: &mut impl CryptoRng, shared: &mut KemSecret) -> Phase {
    // The key passed the modulus check before it came to stand here.
    let Ok(key) = mlkem768::EncapsulationKey::from_bytes(&remote.bytes) else {
        return Phase::Waiting { incoming: None };
    };
    let ciphertext = key.encapsulate(rng, shared);
    answering(ciphertext, remote.hash, None)
}

/// Adds a run of a key. Returns the key, once it is whole and its hash fits.
fn collect_key(
    incoming: &mut Option<KeyParts>,
    run: &Run<'_>,
) -> Result<Option<RemoteKey>, OpenError> {
    let parts = KeyParts::add(incoming, run);
    if !parts.is_full() {
        return Ok(None);
    }
    if truncate::<TAG>(&key_hash(&parts.bytes)) != parts.tag {
        *incoming = None;
        return Ok(None);
    }
    keyed(&parts.bytes).map(Some).map_err(|InvalidKey| OpenError::EncapsulationKey)
}
