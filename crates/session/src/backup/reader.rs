//! Reading a backup, record by record. Nothing is given out that was not authenticated, and no
//! length in it is believed before it was.

use std::io::{ErrorKind, Read};

use undertone_core::bounds::MAX_BACKUP_CHUNKS;
use undertone_core::{BackupCipher, ChunkPlace, SEALED_BACKUP_CHUNK, backup_head_check};
use zeroize::Zeroizing;

use super::record::{END, head_of};
use super::{BACKUP_VERSION, BackupError, HEAD, MAGIC, RECORD_HEAD, Record, RecoveryKey};

/// Opens a backup as it is read.
pub struct BackupReader<R> {
    input: R,
    cipher: BackupCipher,
    /// The sealed chunk behind those that were opened; empty at the end.
    ahead: Vec<u8>,
    index: u32,
    /// What was opened, and how far it is read.
    chunk: Zeroizing<Vec<u8>>,
    at: usize,
    last: bool,
    records: u64,
    /// The type of the record before.
    before: u8,
    ended: bool,
    read: u64,
}

impl<R: Read> BackupReader<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// [`BackupError::NotABackup`], [`BackupError::Truncated`], [`BackupError::HeadDamaged`],
    /// [`BackupError::TooNew`], [`BackupError::WrongKey`], [`BackupError::Io`].
    pub fn open(mut input: R, key: &RecoveryKey) -> Result<Self, BackupError> {
        let head = read_up_to(&mut input, HEAD)?;
        // R-1403
        if !head.starts_with(MAGIC) {
            return Err(BackupError::NotABackup);
        }
        // R-1407
        let (covered, check) = head.split_last_chunk::<8>().ok_or(BackupError::Truncated)?;
        if head.len() < HEAD {
            return Err(BackupError::Truncated);
        }
        // R-1404
        if backup_head_check(covered) != *check {
            return Err(BackupError::HeadDamaged);
        }
        let mut rest = covered.get(MAGIC.len()..).unwrap_or_default();
        let version = u16::from_be_bytes(*part(&mut rest)?);
        let (salt, commitment) = (*part::<32>(&mut rest)?, *part::<32>(&mut rest)?);
        // R-1405
        if version > BACKUP_VERSION {
            return Err(BackupError::TooNew { found: version });
        }
        if version != BACKUP_VERSION {
            return Err(BackupError::HeadDamaged);
        }
        // R-1406
        let cipher = key.secret().cipher(version, &salt);
        if !cipher.fits(&commitment) {
            return Err(BackupError::WrongKey);
        }
        let ahead = read_up_to(&mut input, SEALED_BACKUP_CHUNK)?;
        let read = length(&head).saturating_add(length(&ahead));
        Ok(Self {
            input,
            cipher,
            ahead,
            index: 0,
            chunk: Zeroizing::new(Vec::new()),
            at: 0,
            last: false,
            records: 0,
            before: 0,
            ended: false,
            read,
        })
    }

    /// Bytes of the file that were read.
    #[must_use]
    pub const fn read(&self) -> u64 {
        self.read
    }

    /// The next record; `None` once the backup was read to its end, and was whole.
    ///
    /// # Errors
    /// [`BackupError::Truncated`], [`BackupError::Damaged`], [`BackupError::Surplus`],
    /// [`BackupError::Malformed`], [`BackupError::Io`].
    pub fn next_record(&mut self) -> Result<Option<Record>, BackupError> {
        if self.ended {
            return Ok(None);
        }
        let head = self.take(RECORD_HEAD)?;
        let (kind, len) = head_of(&head)?;
        // R-1410: in the order of their types.
        if kind < self.before {
            return Err(BackupError::Malformed { what: "its records are not in order" });
        }
        self.before = kind;
        let body = self.take(len)?;
        if kind == END {
            if body.as_slice() != self.records.to_be_bytes() {
                return Err(BackupError::Malformed { what: "it does not have all its records" });
            }
            self.finish()?;
            return Ok(None);
        }
        self.records = self.records.saturating_add(1);
        Record::decode(kind, &body).map(Some)
    }

    /// Behind the end stands padding, to the end of the last chunk, and nothing else.
    fn finish(&mut self) -> Result<(), BackupError> {
        loop {
            if self.chunk.iter().skip(self.at).any(|byte| *byte != 0) {
                return Err(BackupError::Malformed { what: "its padding is not empty" });
            }
            if self.last {
                self.ended = true;
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// The next bytes of records, over the borders of chunks. At most [`super::MAX_RECORD`] of them.
    fn take(&mut self, mut wanted: usize) -> Result<Zeroizing<Vec<u8>>, BackupError> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(wanted));
        while wanted > 0 {
            let here = self.chunk.get(self.at..).unwrap_or_default();
            if here.is_empty() {
                if self.last {
                    // R-1410
                    return Err(BackupError::Malformed { what: "it has no end" });
                }
                self.fill()?;
                continue;
            }
            let count = wanted.min(here.len());
            bytes.extend_from_slice(here.get(..count).unwrap_or_default());
            self.at = self.at.saturating_add(count);
            wanted = wanted.saturating_sub(count);
        }
        Ok(bytes)
    }

    /// Opens the chunk ahead. Whether it is the last is known once the one behind it was read.
    fn fill(&mut self) -> Result<(), BackupError> {
        // R-1407
        if self.ahead.len() < SEALED_BACKUP_CHUNK || self.index >= MAX_BACKUP_CHUNKS {
            return Err(BackupError::Truncated);
        }
        let behind = read_up_to(&mut self.input, SEALED_BACKUP_CHUNK)?;
        self.read = self.read.saturating_add(length(&behind));
        let (middle, last) = (ChunkPlace::Middle(self.index), ChunkPlace::Last(self.index));
        let (here, other) = if behind.is_empty() { (last, middle) } else { (middle, last) };
        let Some(chunk) = self.cipher.open(here, &self.ahead) else {
            return Err(match self.cipher.open(other, &self.ahead) {
                // R-1408
                None => BackupError::Damaged { chunk: self.index },
                // R-1407
                Some(_) if behind.is_empty() => BackupError::Truncated,
                // R-1409
                Some(_) => BackupError::Surplus,
            });
        };
        self.last = behind.is_empty();
        self.chunk = chunk;
        self.at = 0;
        self.ahead = behind;
        self.index = self.index.saturating_add(1);
        Ok(())
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// As many bytes as there are, at most `most`.
fn read_up_to(input: &mut impl Read, most: usize) -> Result<Vec<u8>, BackupError> {
    let mut bytes = vec![0; most];
    let mut filled = 0_usize;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match input.read(room) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn part<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], BackupError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(BackupError::Truncated)?;
    *rest = tail;
    Ok(head)
}
