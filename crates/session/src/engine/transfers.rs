//! Files on their way, up and down. The bytes stay outside the store; what they mean is in it.

use undertone_core::rand_core::CryptoRng;
use undertone_core::{blob_len, bounds::BUNDLE_LIFETIME_DAYS};
use undertone_wire::limits::MAX_BLOB;
use undertone_wire::{
    AdmissionToken, BlobDeleteCapability, BlobHash, BlobId, BlobReadCapability, Day, RelayAddress,
};

use super::contacts::for_each;
use super::events::emit;
use super::history::{must_message, save_message};
use super::outbox::{NewMessage, advance, enqueue_message, set_hold};
use super::rows::{
    OutRow, OutState, Secret, TransferRow, corrupt, decode, key1, key2, load, must, number, save,
};
use super::{Engine, EngineError, day, random};
use crate::content::{Attachment, BlobKeyBytes, Body, Content};
use crate::event::EventKind;
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::message::{FileInfo, Hold, MessageKind, MessageState};
use crate::store::{Store, StoreError, Table};

/// How long a relay is asked to keep a file, in days: as long as an envelope, or the message would
/// arrive and its file not.
const BLOB_DAYS: u32 = BUNDLE_LIFETIME_DAYS;

/// A file that has been encrypted and lies ready.
pub struct OutgoingFile {
    /// The blob's random id; also names the file with its ciphertext.
    pub blob: [u8; 32],
    /// The file's key.
    pub key: BlobKeyBytes,
    /// The first 32 bytes of the blob.
    pub commitment: [u8; 32],
    /// SHA-256 of the blob.
    pub sha256: [u8; 32],
    /// Name, size and kind, and the path that was given.
    pub info: FileInfo,
}

/// A blob to be stored at our relay. The answer goes to [`Engine::uploaded`],
/// [`Engine::upload_refused`] or [`Engine::upload_failed`].
pub struct Upload {
    /// The message that it belongs to.
    pub message: u64,
    /// That message's id.
    pub id: MessageId,
    /// Where.
    pub relay: RelayAddress,
    /// What admits us there.
    pub token: AdmissionToken,
    /// The blob's id; also names the file with its ciphertext.
    pub blob: BlobId,
    /// What will let its holder read it.
    pub read: BlobReadCapability,
    /// What will let its holder delete it.
    pub delete: BlobDeleteCapability,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub hash: BlobHash,
    /// The day at whose end the relay may remove it.
    pub expires: Day,
}

/// A blob to be fetched. The answer goes to [`Engine::downloaded`] or [`Engine::download_failed`].
pub struct Download {
    /// The message that it belongs to.
    pub message: u64,
    /// That message's id.
    pub id: MessageId,
    /// Where it is.
    pub relay: RelayAddress,
    /// What it is and how it is opened.
    pub attachment: Attachment,
}

impl<S: Store, R: CryptoRng> Engine<S, R> {
    /// A random id for a file that is about to be encrypted.
    pub fn new_file(&mut self) -> [u8; 32] {
        random(&mut self.rng)
    }

    /// Queues a file whose ciphertext is on stable storage.
    ///
    /// # Errors
    /// [`EngineError::UnknownContact`], [`EngineError::FileTooLarge`], [`EngineError::Content`].
    pub fn queue_file(
        &mut self,
        contact: ContactId,
        file: OutgoingFile,
        now: UnixMillis,
    ) -> Result<MessageId, EngineError> {
        let length = blob_len(file.info.size)
            .filter(|length| *length <= MAX_BLOB)
            .ok_or(EngineError::FileTooLarge { size: file.info.size, max: MAX_BLOB })?;
        let id = MessageId::from_bytes(random(&mut self.rng));
        let read = random(&mut self.rng);
        let delete = Secret::new(&random::<32>(&mut self.rng));
        let attachment = Attachment {
            name: file.info.name.clone(),
            media_type: file.info.media_type.clone(),
            size: file.info.size,
            key: file.key,
            commitment: file.commitment,
            sha256: file.sha256,
            relay: self.relay.to_bytes(),
            blob: file.blob,
            read: BlobKeyBytes::new(read),
            caption: file.info.caption.clone(),
        };
        let new = NewMessage {
            content: Content { id, sent_at: now, body: Body::Attachment(Box::new(attachment)) },
            kind: MessageKind::File(file.info),
            uploading: true,
        };
        self.store.transaction(|tx| {
            let (seq, out) = enqueue_message(tx, contact, new)?;
            let row = TransferRow::Up {
                contact: contact.get(),
                out,
                blob: file.blob,
                read: Secret::new(&read),
                delete,
                length,
                sha256: file.sha256,
                expires: day(now).plus(BLOB_DAYS).get(),
            };
            save(tx, Table::Transfers, &key1(seq), &row)?;
            Ok(id)
        })
    }

    fn transfers(&mut self) -> Result<Vec<(u64, TransferRow)>, StoreError> {
        self.store.transaction(|tx| {
            let mut rows = Vec::new();
            for_each(tx, Table::Transfers, &[], |key, value| {
                rows.push((number(key, "a message's place")?, decode(Table::Transfers, value)?));
                Ok(())
            })?;
            Ok(rows)
        })
    }

    fn id_at(&mut self, message: u64) -> Result<MessageId, StoreError> {
        self.store.transaction(|tx| Ok(must_message(tx, message)?.id))
    }

    /// Files that are yet to be stored at the relay.
    ///
    /// # Errors
    /// Those of the store.
    pub fn uploads(&mut self) -> Result<Vec<Upload>, EngineError> {
        let mut uploads = Vec::new();
        for (message, row) in self.transfers()? {
            let TransferRow::Up { blob, read, delete, length, sha256, expires, .. } = row else {
                continue;
            };
            uploads.push(Upload {
                message,
                id: self.id_at(message)?,
                relay: self.relay.clone(),
                token: self.token(),
                blob: BlobId::from_bytes(blob),
                read: BlobReadCapability::from_bytes(*read.array("a blob's capability")?),
                delete: BlobDeleteCapability::from_bytes(*delete.array("a blob's capability")?),
                length,
                hash: BlobHash::from_bytes(sha256),
                expires: Day::new(expires),
            });
        }
        Ok(uploads)
    }

    /// The relay has the whole blob on stable storage: the message may go out, and the ciphertext
    /// is not needed here any more.
    ///
    /// # Errors
    /// Those of the store.
    pub fn uploaded(&mut self, message: u64) -> Result<(), EngineError> {
        self.store.transaction(|tx| {
            let Some(TransferRow::Up { contact, out, .. }) =
                load(tx, Table::Transfers, &key1(message))?
            else {
                return Ok(());
            };
            tx.delete(Table::Transfers, &key1(message))?;
            let key = key2(&key1(contact), &key1(out));
            let mut row: OutRow = must(tx, Table::Outbox, &key)?;
            row.state = OutState::Ready;
            row.hold = None;
            Ok(save(tx, Table::Outbox, &key, &row)?)
        })
    }

    /// The relay does not take the blob now: it is tried again.
    ///
    /// # Errors
    /// Those of the store.
    pub fn upload_refused(&mut self, message: u64) -> Result<(), EngineError> {
        self.store.transaction(|tx| {
            if let Some(TransferRow::Up { contact, .. }) =
                load(tx, Table::Transfers, &key1(message))?
            {
                set_hold(tx, ContactId::new(contact), Some(Hold::UploadRefused))?;
            }
            Ok(())
        })
    }

    /// The blob can never be stored: the message has failed, and what is behind it goes on.
    ///
    /// # Errors
    /// Those of the store.
    pub fn upload_failed(&mut self, message: u64, reason: &str) -> Result<(), EngineError> {
        self.store.transaction(|tx| {
            if let Some(TransferRow::Up { contact, out, .. }) =
                load(tx, Table::Transfers, &key1(message))?
            {
                tx.delete(Table::Transfers, &key1(message))?;
                tx.delete(Table::Outbox, &key2(&key1(contact), &key1(out)))?;
                let reason = reason.to_owned();
                advance(tx, Some(message), MessageState::Failed { reason })?;
            }
            Ok(())
        })
    }

    /// Files that are yet to be fetched. One whose address can't be read has failed.
    ///
    /// # Errors
    /// Those of the store.
    pub fn downloads(&mut self) -> Result<Vec<Download>, EngineError> {
        let mut downloads = Vec::new();
        for (message, row) in self.transfers()? {
            let TransferRow::Down { content, .. } = row else {
                continue;
            };
            let content =
                Content::decode(content.bytes()).map_err(|_| corrupt("a file's message"))?;
            let Body::Attachment(attachment) = content.body else {
                return Err(corrupt("a file's message").into());
            };
            match RelayAddress::from_bytes(&attachment.relay) {
                Ok(relay) => downloads.push(Download {
                    message,
                    id: content.id,
                    relay,
                    attachment: *attachment,
                }),
                Err(_) => self.download_failed(message, "the message does not say where it is")?,
            }
        }
        Ok(downloads)
    }

    /// A file is complete, verified and decrypted.
    ///
    /// # Errors
    /// Those of the store.
    pub fn downloaded(&mut self, message: u64, path: &std::path::Path) -> Result<(), EngineError> {
        self.store.transaction(|tx| {
            tx.delete(Table::Transfers, &key1(message))?;
            let mut row = must_message(tx, message)?;
            if let MessageKind::File(info) = &mut row.kind {
                info.path = Some(path.to_path_buf());
            }
            save_message(tx, &row)?;
            let (contact, id, path) = (row.contact, row.id, path.to_path_buf());
            Ok(emit(tx, EventKind::FileReceived { contact, id, path })?)
        })
    }

    /// A file can't be had.
    ///
    /// # Errors
    /// Those of the store.
    pub fn download_failed(&mut self, message: u64, reason: &str) -> Result<(), EngineError> {
        self.store.transaction(|tx| {
            tx.delete(Table::Transfers, &key1(message))?;
            let row = must_message(tx, message)?;
            let (contact, id, reason) = (row.contact, row.id, reason.to_owned());
            Ok(emit(tx, EventKind::FileFailed { contact, id, reason })?)
        })
    }

    /// Says how far a file has come.
    ///
    /// # Errors
    /// Those of the store.
    pub fn file_progress(
        &mut self,
        id: MessageId,
        done: u64,
        total: u64,
    ) -> Result<(), EngineError> {
        self.store.transaction(|tx| Ok(emit(tx, EventKind::FileProgress { id, done, total })?))
    }
}
