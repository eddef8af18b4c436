//! Files on their way, up and down. The bytes stay outside the store; what they mean is in it.

use std::collections::HashSet;

use undertone_core::rand_core::CryptoRng;
use undertone_core::{blob_len, bounds::BUNDLE_LIFETIME_DAYS};
use undertone_wire::limits::MAX_BLOB;
use undertone_wire::{
    AdmissionToken, BlobDeleteCapability, BlobHash, BlobId, BlobReadCapability, Day, RelayAddress,
};

use super::contacts::for_each;
use super::events::emit;
use super::history::{must_message, save_message};
use super::outbox::{NewMessage, advance, encode, enqueue_message, set_hold};
use super::rows::{
    OutRow, OutState, Secret, TransferRow, Want, corrupt, decode, incoming_key, key1, key2, load,
    must, number, outgoing_key, save,
};
use super::{Engine, EngineError, day, random};
use crate::content::{Attachment, BlobKeyBytes, Body, Content};
use crate::event::EventKind;
use crate::ids::{ContactId, MessageId, UnixMillis};
use crate::message::{FileInfo, Hold, MessageKind, MessageState};
use crate::store::{Store, StoreError, Table, Transaction};

/// How long a relay is asked to keep a file, in days: as long as an envelope, or the message would
/// arrive and its file not.
const BLOB_DAYS: u32 = BUNDLE_LIFETIME_DAYS;

/// Where it is kept how much was fetched today without being asked for.
const UNASKED: &[u8] = b"fetched-unasked";

/// How much is fetched without being asked for: what others send must not fill this machine's disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchLimits {
    /// The largest file, in bytes; 0 for none.
    pub file: u64,
    /// All files of a day, in bytes.
    pub day: u64,
}

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

/// The content of a file's message, with the relay that has the file: another than when it was queued if
/// the profile has moved meanwhile. `None` if no envelope could hold it.
fn stored_at(content: &Secret, relay: &RelayAddress) -> Result<Option<Secret>, EngineError> {
    let mut decoded = Content::decode(content.bytes()).map_err(|_| corrupt("a file's message"))?;
    let Body::Attachment(attachment) = &mut decoded.body else {
        return Err(corrupt("a file's message").into());
    };
    attachment.relay = relay.to_bytes();
    match encode(&decoded) {
        Ok(content) => Ok(Some(content)),
        Err(EngineError::TooLong { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The message of a file that can't be stored has failed.
fn fail(tx: &mut dyn Transaction, message: u64, reason: &str) -> Result<(), EngineError> {
    if let Some(TransferRow::Up { contact, out, .. }) = load(tx, Table::Transfers, &key1(message))?
    {
        tx.delete(Table::Transfers, &key1(message))?;
        tx.delete(Table::Outbox, &key2(&key1(contact), &key1(out)))?;
        let reason = reason.to_owned();
        advance(tx, Some(message), MessageState::Failed { reason })?;
    }
    Ok(())
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

    /// This relay has the whole blob on stable storage: the message may go out, and the ciphertext
    /// is not needed here any more. False if the message was cancelled or erased meanwhile: the caller
    /// deletes the blob.
    ///
    /// # Errors
    /// Those of the store.
    pub fn uploaded(&mut self, message: u64, relay: &RelayAddress) -> Result<bool, EngineError> {
        self.store.transaction(|tx| {
            let Some(TransferRow::Up { contact, out, .. }) =
                load(tx, Table::Transfers, &key1(message))?
            else {
                return Ok(false);
            };
            let key = key2(&key1(contact), &key1(out));
            let mut row: OutRow = must(tx, Table::Outbox, &key)?;
            let Some(content) = stored_at(&row.content, relay)? else {
                fail(tx, message, "it is too long with the address of its relay")?;
                return Ok(false);
            };
            tx.delete(Table::Transfers, &key1(message))?;
            row.content = content;
            row.state = OutState::Ready;
            row.hold = None;
            save(tx, Table::Outbox, &key, &row)?;
            Ok(true)
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
        self.store.transaction(|tx| fail(tx, message, reason))
    }

    /// Files that are to be fetched now: those that were asked for, and those within the limits. Of
    /// the others the person is told once. One whose address can't be read has failed.
    ///
    /// # Errors
    /// Those of the store.
    pub fn downloads(
        &mut self,
        limits: &FetchLimits,
        now: UnixMillis,
    ) -> Result<Vec<Download>, EngineError> {
        let today = day(now).get();
        let rows = self.transfers()?;
        let wanted = self.store.transaction(|tx| decide(tx, &rows, limits, today))?;
        let mut downloads = Vec::new();
        for (message, row) in rows {
            let TransferRow::Down { content, .. } = row else {
                continue;
            };
            if !wanted.contains(&message) {
                continue;
            }
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

    /// Asks for a file that a contact sent and that waits to be asked for. Returns the place of its
    /// message.
    ///
    /// # Errors
    /// [`EngineError::NoTransfer`] if there is no file to be fetched with this message.
    pub fn ask_for_file(&mut self, contact: ContactId, id: MessageId) -> Result<u64, EngineError> {
        self.want(contact, id, Want::Asked)
    }

    /// Does not fetch a file, until it is asked for. Returns the place of its message.
    ///
    /// # Errors
    /// [`EngineError::NoTransfer`] if there is no file to be fetched with this message.
    pub fn cancel_download(
        &mut self,
        contact: ContactId,
        id: MessageId,
    ) -> Result<u64, EngineError> {
        self.want(contact, id, Want::Cancelled)
    }

    fn want(&mut self, from: ContactId, id: MessageId, now: Want) -> Result<u64, EngineError> {
        self.store.transaction(|tx| {
            let place: Option<u64> = load(tx, Table::MessageIds, &incoming_key(&id, from))?;
            let place = place.ok_or(EngineError::NoTransfer)?;
            match load(tx, Table::Transfers, &key1(place))? {
                Some(TransferRow::Down { contact, content, want: _ }) => {
                    let row = TransferRow::Down { contact, content, want: now };
                    save(tx, Table::Transfers, &key1(place), &row)?;
                    Ok(place)
                }
                _ => Err(EngineError::NoTransfer),
            }
        })
    }

    /// Does not send a file that is yet to be stored at our relay: its message has failed, and what is
    /// behind it goes on. Returns the place of the message, and the blob whose ciphertext the caller
    /// removes.
    ///
    /// # Errors
    /// [`EngineError::NoTransfer`] if there is none, or it is stored already.
    pub fn cancel_upload(&mut self, id: MessageId) -> Result<(u64, [u8; 32]), EngineError> {
        let found = self.store.transaction(|tx| -> Result<_, EngineError> {
            let place: Option<u64> = load(tx, Table::MessageIds, &outgoing_key(&id))?;
            let place = place.ok_or(EngineError::NoTransfer)?;
            match load(tx, Table::Transfers, &key1(place))? {
                Some(TransferRow::Up { blob, .. }) => Ok((place, blob)),
                _ => Err(EngineError::NoTransfer),
            }
        })?;
        self.upload_failed(found.0, "it was cancelled")?;
        Ok(found)
    }

    /// A file is complete, verified and decrypted. False if its message was erased or deleted
    /// meanwhile: the caller removes the file.
    ///
    /// # Errors
    /// Those of the store.
    pub fn downloaded(
        &mut self,
        message: u64,
        path: &std::path::Path,
    ) -> Result<bool, EngineError> {
        self.store.transaction(|tx| {
            if tx.get(Table::Transfers, &key1(message))?.is_none() {
                return Ok(false);
            }
            tx.delete(Table::Transfers, &key1(message))?;
            let mut row = must_message(tx, message)?;
            if let MessageKind::File(info) = &mut row.kind {
                info.path = Some(path.to_path_buf());
            }
            save_message(tx, &row)?;
            let (contact, id, path) = (row.contact, row.id, path.to_path_buf());
            emit(tx, EventKind::FileReceived { contact, id, path })?;
            Ok(true)
        })
    }

    /// A file can't be had.
    ///
    /// # Errors
    /// Those of the store.
    pub fn download_failed(&mut self, message: u64, reason: &str) -> Result<(), EngineError> {
        self.store.transaction(|tx| {
            if tx.get(Table::Transfers, &key1(message))?.is_none() {
                // Erased or deleted meanwhile.
                return Ok(());
            }
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

/// Which files are to be fetched, by the places of their messages. What is decided stays so, until a
/// file that waits comes within the limits of another day.
fn decide(
    tx: &mut dyn Transaction,
    rows: &[(u64, TransferRow)],
    limits: &FetchLimits,
    today: u32,
) -> Result<HashSet<u64>, StoreError> {
    let (on, bytes): (u32, u64) = load(tx, Table::Meta, UNASKED)?.unwrap_or((today, 0));
    let mut used = if on == today { bytes } else { 0 };
    let mut wanted = HashSet::new();
    for (message, row) in rows {
        let TransferRow::Down { contact, content, want } = row else { continue };
        if matches!(want, Want::Asked | Want::Unasked) {
            wanted.insert(*message);
        }
        if !matches!(want, Want::Undecided | Want::Waiting) {
            continue;
        }
        let file = must_message(tx, *message)?;
        let MessageKind::File(info) = &file.kind else { continue };
        let after = used.saturating_add(info.size);
        let fits = info.size <= limits.file && limits.file > 0 && after <= limits.day;
        let decided = if fits { Want::Unasked } else { Want::Waiting };
        if fits {
            used = after;
            wanted.insert(*message);
        } else if *want == Want::Undecided {
            let (contact, id, size) = (file.contact, file.id, info.size);
            emit(tx, EventKind::FileWaiting { contact, id, size })?;
        }
        if decided != *want {
            let content = Secret::new(content.bytes());
            let row = TransferRow::Down { contact: *contact, content, want: decided };
            save(tx, Table::Transfers, &key1(*message), &row)?;
        }
    }
    save(tx, Table::Meta, UNASKED, &(today, used))?;
    Ok(wanted)
}
