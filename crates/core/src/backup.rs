//! The encryption of backups: a key that a person keeps, a salt and a
//! commitment for each backup, and chunks of AES-256-GCM in the STREAM
//! construction (`protocol-spec/14-backup.md`, sections 1 and 2).
//!
//! The layers above frame the chunks and say why something is refused.

use alloc::boxed::Box;
use alloc::vec::Vec;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::bounds::{BACKUP_CHUNK, MAX_BACKUP_CHUNKS};
use crate::file::nonce;
use crate::label;
use crate::primitives::aead::{self, TAG};
use crate::primitives::hash::{sha256, truncate};
use crate::primitives::kdf::{self, Prk};

secret! {
    struct SecretBytes(32);
}

secret! {
    struct ChunkKey(32);
}

/// Bytes of a sealed chunk.
pub const SEALED_BACKUP_CHUNK: usize = BACKUP_CHUNK + TAG;

/// Bytes of a part of a [`BackupSecret`] that has a check of its own.
const PART: usize = 8;

/// What opens a person's backups: 32 random bytes, which they keep written
/// down. Wiped on drop, not shown.
pub struct BackupSecret(Box<SecretBytes>);

/// What opens one backup: derived from the secret and the salt that stands in
/// front of that backup.
pub struct BackupCipher {
    key: Box<ChunkKey>,
    commitment: [u8; 32],
}

/// What encrypts one backup, from its first chunk to its last. The salt is its
/// own and the chunks are counted here, so that no key and nonce come twice.
///
/// ```compile_fail,E0382
/// # fn f(sealer: undertone_core::BackupSealer) {
/// # let chunk = [0; undertone_core::bounds::BACKUP_CHUNK];
/// let last = sealer.finish(&chunk);
/// let another = sealer.finish(&chunk); // there is one last chunk
/// # }
/// ```
pub struct BackupSealer {
    cipher: BackupCipher,
    salt: [u8; 32],
    next: u32,
}

/// Which chunk this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChunkPlace {
    /// Others follow.
    Middle(u32),
    /// None follows.
    Last(u32),
}

impl ChunkPlace {
    /// `None` where there can be no such chunk.
    fn nonce(self) -> Option<[u8; aead::NONCE]> {
        let (index, last) = match self {
            Self::Middle(index) => (index, false),
            Self::Last(index) => (index, true),
        };
        (index < MAX_BACKUP_CHUNKS).then(|| nonce(index, last))
    }
}

impl BackupSecret {
    /// Bytes of the secret.
    pub const LEN: usize = 32;

    /// Parts of the secret that have a check of their own.
    pub const PARTS: usize = Self::LEN / PART;

    /// A new one.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(SecretBytes::boxed(|bytes| rng.fill_bytes(bytes)))
    }

    /// From its 32 bytes.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        Self(SecretBytes::boxed(|secret| secret.copy_from_slice(bytes)))
    }

    /// Its bytes: secret.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        self.0.expose()
    }

    /// `hash(LABEL_RECOVERY_CHECK, u8(part) ‖ the part's 8 bytes)[0..2]`: what
    /// finds an error of typing in that part. `None` behind the last part.
    ///
    /// Whoever knows the part can compute it, so it tells nothing besides.
    pub fn check(&self, part: u8) -> Option<[u8; 2]> {
        let start = usize::from(part).checked_mul(PART)?;
        let bytes = self.as_bytes().get(start..start.checked_add(PART)?)?;
        Some(truncate(&sha256(label::RECOVERY_CHECK, &[&[part], bytes])))
    }

    /// What opens the backup with this salt.
    pub fn cipher(&self, version: u16, salt: &[u8; 32]) -> BackupCipher {
        let mut prk = Prk::blank();
        kdf::extract(salt, self.as_bytes(), &mut prk);
        let version = version.to_be_bytes();
        let mut key = Box::new(ChunkKey::blank());
        kdf::expand(prk.expose(), &[label::BACKUP_CHUNKS, &version], key.expose_mut());
        let mut commitment = [0; 32];
        kdf::expand(prk.expose(), &[label::BACKUP_COMMITMENT, &version], &mut commitment);
        BackupCipher { key, commitment }
    }
}

impl BackupCipher {
    /// Commits to the secret: what tells a wrong one from damage. Public.
    pub fn commitment(&self) -> &[u8; 32] {
        &self.commitment
    }

    /// Whether a backup with this commitment was made with the same secret.
    /// Takes the same time for all.
    pub fn fits(&self, commitment: &[u8; 32]) -> bool {
        self.commitment.ct_eq(commitment).into()
    }

    fn seal(&self, place: ChunkPlace, chunk: &[u8; BACKUP_CHUNK]) -> Option<Vec<u8>> {
        let nonce = place.nonce()?;
        let mut sealed = Vec::with_capacity(SEALED_BACKUP_CHUNK);
        sealed.extend_from_slice(chunk);
        let tag = aead::seal(self.key.expose(), &nonce, &[], &mut sealed);
        sealed.extend_from_slice(&tag);
        Some(sealed)
    }

    /// Opens a chunk; `None` if it is not the one of this place.
    pub fn open(&self, place: ChunkPlace, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let nonce = place.nonce()?;
        let (chunk, tag) = sealed.split_last_chunk::<TAG>()?;
        if chunk.len() != BACKUP_CHUNK {
            return None;
        }
        let mut chunk = Zeroizing::new(chunk.to_vec());
        aead::open(self.key.expose(), &nonce, &[], &mut chunk, tag).ok()?;
        Some(chunk)
    }
}

impl BackupSealer {
    /// Begins a backup, with a fresh salt.
    pub fn new(secret: &BackupSecret, version: u16, rng: &mut impl CryptoRng) -> Self {
        let mut salt = [0; 32];
        rng.fill_bytes(&mut salt);
        Self { cipher: secret.cipher(version, &salt), salt, next: 0 }
    }

    /// The salt: public, it stands in the backup's head.
    pub fn salt(&self) -> &[u8; 32] {
        &self.salt
    }

    /// Commits to the secret: public, it stands in the backup's head.
    pub fn commitment(&self) -> &[u8; 32] {
        self.cipher.commitment()
    }

    /// Seals the next chunk, which is not the last. `None` where a backup can
    /// hold no more: nothing was sealed then.
    pub fn seal(&mut self, chunk: &[u8; BACKUP_CHUNK]) -> Option<Vec<u8>> {
        let sealed = self.cipher.seal(ChunkPlace::Middle(self.next), chunk)?;
        self.next = self.next.saturating_add(1);
        Some(sealed)
    }

    /// Seals the last chunk. `None` where a backup can hold no more.
    pub fn finish(self, chunk: &[u8; BACKUP_CHUNK]) -> Option<Vec<u8>> {
        self.cipher.seal(ChunkPlace::Last(self.next), chunk)
    }
}

/// The check over the head of a backup: its first 8 bytes tell damage from a
/// backup under another secret. Not against malice.
pub fn backup_head_check(head: &[u8]) -> [u8; 8] {
    truncate(&sha256(label::BACKUP_HEAD, &[head]))
}

impl core::fmt::Debug for BackupSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("BackupSecret(secret)")
    }
}

impl core::fmt::Debug for BackupCipher {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { key: _, commitment: _ } = self;
        f.write_str("BackupCipher(secret)")
    }
}

impl core::fmt::Debug for BackupSealer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("BackupSealer(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestRng;

    fn chunk(fill: u8) -> Box<[u8; BACKUP_CHUNK]> {
        Box::new([fill; BACKUP_CHUNK])
    }

    #[test]
    fn a_chunk_opens_at_its_place_under_its_secret_and_salt_alone() {
        let secret = BackupSecret::generate(&mut TestRng::new(1));
        let cipher = secret.cipher(1, &[1; 32]);
        let place = ChunkPlace::Middle(3);
        let sealed = cipher.seal(place, &chunk(7)).unwrap();
        assert_eq!(sealed.len(), SEALED_BACKUP_CHUNK);
        assert_eq!(cipher.open(place, &sealed).unwrap().as_slice(), chunk(7).as_slice());
        for other in [ChunkPlace::Last(3), ChunkPlace::Middle(2)] {
            assert!(cipher.open(other, &sealed).is_none());
        }
        let others = [
            secret.cipher(2, &[1; 32]),
            secret.cipher(1, &[2; 32]),
            BackupSecret::generate(&mut TestRng::new(2)).cipher(1, &[1; 32]),
        ];
        for other in others {
            assert!(!cipher.fits(other.commitment()));
            assert!(other.open(place, &sealed).is_none());
        }
        assert!(cipher.fits(secret.cipher(1, &[1; 32]).commitment()));
        for at in [0, BACKUP_CHUNK, sealed.len() - 1] {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(cipher.open(place, &altered).is_none());
        }
        assert!(cipher.open(place, &sealed[1..]).is_none());
        assert!(cipher.open(place, &[]).is_none());
    }

    #[test]
    fn there_are_no_more_chunks_than_the_bound() {
        let cipher = BackupSecret::from_bytes(&[1; 32]).cipher(1, &[1; 32]);
        assert!(cipher.seal(ChunkPlace::Last(MAX_BACKUP_CHUNKS - 1), &chunk(0)).is_some());
        assert!(cipher.seal(ChunkPlace::Last(MAX_BACKUP_CHUNKS), &chunk(0)).is_none());
    }

    #[test]
    fn a_sealer_counts_and_draws_its_salt() {
        let secret = BackupSecret::generate(&mut TestRng::new(1));
        let rng = &mut TestRng::new(2);
        let mut sealer = BackupSealer::new(&secret, 1, rng);
        assert_ne!(sealer.salt(), BackupSealer::new(&secret, 1, rng).salt());
        let cipher = secret.cipher(1, sealer.salt());
        assert!(cipher.fits(sealer.commitment()));
        for index in 0..3 {
            let sealed = sealer.seal(&chunk(7)).unwrap();
            assert!(cipher.open(ChunkPlace::Middle(index), &sealed).is_some());
        }
        let sealed = sealer.finish(&chunk(7)).unwrap();
        assert!(cipher.open(ChunkPlace::Last(3), &sealed).is_some());
    }

    #[test]
    fn each_part_has_a_check_of_its_own() {
        let secret = BackupSecret::from_bytes(&[9; 32]);
        let checks: Vec<_> = (0..4).map(|part| secret.check(part).unwrap()).collect();
        // Equal parts at different places: a swap of two lines is noticed.
        assert_ne!(checks[0], checks[1]);
        let mut bytes = [9; 32];
        bytes[8] = 8;
        let other = BackupSecret::from_bytes(&bytes);
        assert_eq!(other.check(0).unwrap(), checks[0]);
        assert_ne!(other.check(1).unwrap(), checks[1]);
        assert!(secret.check(4).is_none());
    }
}
