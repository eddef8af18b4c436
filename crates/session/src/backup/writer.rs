//! Writing a backup, record by record.

use std::io::Write;

use undertone_core::bounds::BACKUP_CHUNK;
use undertone_core::rand_core::CryptoRng;
use undertone_core::{BackupSealer, backup_head_check, padded_len};
use zeroize::Zeroizing;

use super::record::frame_end;
use super::{BACKUP_VERSION, BackupError, HEAD, MAGIC, Record, RecoveryKey};

/// Encrypts records as they come. [`BackupWriter::finish`] makes the backup whole; without it, it is
/// one whose end is missing.
pub struct BackupWriter<W> {
    out: W,
    sealer: BackupSealer,
    /// What is not sealed yet; a full chunk stays here until it is known whether it is the last.
    chunk: Zeroizing<Vec<u8>>,
    index: u32,
    /// Bytes of records so far.
    written: u64,
    records: u64,
}

impl<W: Write> BackupWriter<W> {
    /// Begins a backup: writes its head, with a fresh salt.
    ///
    /// # Errors
    /// [`BackupError::Io`].
    pub fn begin(
        mut out: W,
        key: &RecoveryKey,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, BackupError> {
        let sealer = BackupSealer::new(key.secret(), BACKUP_VERSION, rng);
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&BACKUP_VERSION.to_be_bytes());
        head.extend_from_slice(sealer.salt());
        head.extend_from_slice(sealer.commitment());
        let check = backup_head_check(&head);
        head.extend_from_slice(&check);
        out.write_all(&head)?;
        let chunk = Zeroizing::new(Vec::with_capacity(BACKUP_CHUNK));
        Ok(Self { out, sealer, chunk, index: 0, written: 0, records: 0 })
    }

    /// Adds a record. They come in the order of their types.
    ///
    /// # Errors
    /// [`BackupError::Io`]; [`BackupError::Malformed`] for one that no reader would take.
    pub fn write(&mut self, record: &Record) -> Result<(), BackupError> {
        self.put(&record.frame()?)?;
        self.records = self.records.saturating_add(1);
        Ok(())
    }

    /// Bytes of records so far.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Ends the backup: says how many records there are, pads, and flushes.
    ///
    /// # Errors
    /// [`BackupError::Io`].
    pub fn finish(mut self) -> Result<W, BackupError> {
        self.put(&frame_end(self.records))?;
        let length = padded_len(self.written).ok_or(TOO_LONG)?;
        let chunks = length.div_ceil(BACKUP_CHUNK as u64).max(1);
        let last = u32::try_from(chunks.saturating_sub(1)).map_err(|_| TOO_LONG)?;
        while self.index < last {
            self.chunk.resize(BACKUP_CHUNK, 0);
            self.seal()?;
        }
        self.chunk.resize(BACKUP_CHUNK, 0);
        let chunk = self.chunk.as_slice().try_into().map_err(|_| TOO_LONG)?;
        self.out.write_all(&self.sealer.finish(chunk).ok_or(TOO_LONG)?)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), BackupError> {
        self.written = self.written.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        while !bytes.is_empty() {
            let room = BACKUP_CHUNK.saturating_sub(self.chunk.len());
            if room == 0 {
                self.seal()?;
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// The chunk is full and another follows.
    fn seal(&mut self) -> Result<(), BackupError> {
        let chunk = self.chunk.as_slice().try_into().map_err(|_| TOO_LONG)?;
        let sealed = self.sealer.seal(chunk).ok_or(TOO_LONG)?;
        self.out.write_all(&sealed)?;
        self.chunk.clear();
        self.index = self.index.saturating_add(1);
        Ok(())
    }
}

const TOO_LONG: BackupError = BackupError::Malformed { what: "it is longer than a backup can be" };
