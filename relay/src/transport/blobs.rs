//! Blobs: a file each, written as it comes, checked by hash, renamed when whole.
//!
//! `blobs/ID.part` is an upload under way (its length is how far it has come), `blobs/ID` a whole
//! blob; ID is the blob's id in hexadecimal.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context as Hash, SHA256};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use undertone_wire::blob::{BlobAnnouncement, BlobReply, BlobRequest};
use undertone_wire::limits::{MAX_BLOB, MAX_BLOB_MESSAGE, MAX_RETENTION_DAYS};
use undertone_wire::transport::{Reader, Writer, read_message, write_message};
use undertone_wire::{BlobHash, BlobId, BlobReadCapability, ErrorCode, codec};

use super::connection::Services;
use crate::store::{BlobRecord, Command, Outcome, StoreFailure, StoreHandle};

/// Bytes that are read or written at a time.
const PIECE: usize = 64 * 1024;

/// Where blobs are. Cheap to clone.
#[derive(Clone)]
pub(crate) struct BlobDirectory {
    path: Arc<PathBuf>,
    /// Blobs that are being written: two writers of one blob would mix their bytes.
    uploads: Arc<Mutex<HashSet<BlobId>>>,
}

/// Holds a blob against other writers.
struct Upload {
    blob: BlobId,
    uploads: Arc<Mutex<HashSet<BlobId>>>,
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.blob);
    }
}

fn failed(error: &std::io::Error) -> ErrorCode {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ErrorCode::StorageFull,
        kind => {
            tracing::error!(%kind, "a blob's file could not be read or written");
            ErrorCode::Internal
        }
    }
}

impl BlobDirectory {
    /// Opens the directory, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreFailure> {
        crate::operator::private_directory(path)?;
        Ok(Self { path: Arc::new(path.to_owned()), uploads: Arc::default() })
    }

    fn whole(&self, blob: BlobId) -> PathBuf {
        self.path.join(blob.to_string())
    }

    fn part(&self, blob: BlobId) -> PathBuf {
        self.path.join(format!("{blob}.part"))
    }

    fn begin(&self, blob: BlobId) -> Result<Upload, ErrorCode> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if !uploads.insert(blob) {
            return Err(ErrorCode::Busy);
        }
        Ok(Upload { blob, uploads: self.uploads.clone() })
    }

    /// Removes a blob's files, if there are any.
    pub(crate) async fn remove(&self, blob: BlobId) -> Result<(), ErrorCode> {
        for path in [self.whole(blob), self.part(blob)] {
            match tokio::fs::remove_file(path).await {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&error)),
                _ => {}
            }
        }
        Ok(())
    }

    async fn is_whole(&self, blob: BlobId) -> Result<bool, ErrorCode> {
        tokio::fs::try_exists(self.whole(blob)).await.map_err(|error| failed(&error))
    }

    /// Opens an upload and says how far it has come.
    async fn open_part(&self, record: &BlobRecord) -> Result<(File, u64), ErrorCode> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        options.mode(0o600);
        let open = async {
            let mut file = options.open(self.part(record.blob)).await?;
            if file.metadata().await?.len() > record.length {
                file.set_len(0).await?;
            }
            let offset = file.seek(std::io::SeekFrom::End(0)).await?;
            Ok((file, offset))
        };
        open.await.map_err(|error: std::io::Error| failed(&error))
    }

    /// Checks an upload that has all its bytes and makes it a blob, durably.
    async fn complete(&self, record: &BlobRecord, mut file: File) -> Result<(), ErrorCode> {
        let check = async {
            file.flush().await?;
            file.sync_all().await?;
            file.seek(std::io::SeekFrom::Start(0)).await?;
            hash(&mut file).await
        };
        let found = check.await.map_err(|error: std::io::Error| failed(&error))?;
        if found != record.hash {
            // The next upload begins at the beginning.
            self.remove(record.blob).await?;
            return Err(ErrorCode::BlobMismatch);
        }
        let directory = self.path.clone();
        let rename = async {
            tokio::fs::rename(self.part(record.blob), self.whole(record.blob)).await?;
            #[cfg(unix)]
            File::open(directory.as_path()).await?.sync_all().await?;
            Ok(())
        };
        rename.await.map_err(|error: std::io::Error| failed(&error))
    }
}

async fn hash(file: &mut File) -> std::io::Result<BlobHash> {
    let mut hash = Hash::new(&SHA256);
    let mut piece = vec![0; PIECE];
    loop {
        let count = file.read(&mut piece).await?;
        if count == 0 {
            break;
        }
        hash.update(piece.get(..count).unwrap_or_default());
    }
    // SHA-256 has 32 bytes.
    let digest = hash.finish();
    Ok(BlobHash::from_bytes(digest.as_ref().first_chunk().copied().unwrap_or_default()))
}

/// Serves one blob stream.
pub(super) async fn serve(services: Services, mut writer: Writer, mut reader: Reader) {
    let Ok(Some(message)) = read_message(&mut reader, MAX_BLOB_MESSAGE).await else { return };
    services.tap.received(&message);
    let result = match codec::decode::<BlobRequest>(&message) {
        Ok(BlobRequest::Put(announcement)) => {
            put(&services, &mut writer, &mut reader, &announcement).await
        }
        Ok(BlobRequest::Get { blob, capability, offset }) => {
            get(&services, &mut writer, blob, &capability, offset).await
        }
        Err(_) => Err(ErrorCode::Malformed),
    };
    if let Err(code) = result {
        let _ = reply(&services, &mut writer, &BlobReply::Refused(code)).await;
    }
    let _ = writer.shutdown().await;
}

/// `Err` if the client is gone.
async fn reply(
    services: &Services,
    writer: &mut Writer,
    reply: &BlobReply,
) -> Result<(), ErrorCode> {
    let message =
        codec::encode_message(reply, MAX_BLOB_MESSAGE).map_err(|_| ErrorCode::Internal)?;
    services.tap.sent(message.get(undertone_wire::limits::LENGTH_PREFIX..).unwrap_or_default());
    write_message(writer, &message).await.map_err(|_| ErrorCode::Internal)
}

async fn record(store: &StoreHandle, command: Command) -> Result<BlobRecord, ErrorCode> {
    match store.run(command).await? {
        Outcome::Blob(record) => Ok(record),
        _ => Err(ErrorCode::Internal),
    }
}

async fn put(
    services: &Services,
    writer: &mut Writer,
    reader: &mut Reader,
    announced: &BlobAnnouncement,
) -> Result<(), ErrorCode> {
    if announced.length == 0 || announced.length > MAX_BLOB {
        return Err(ErrorCode::BlobTooLarge);
    }
    let today = services.clock.today();
    if announced.expires < today || announced.expires > today.plus(MAX_RETENTION_DAYS).plus(1) {
        return Err(ErrorCode::LimitReached);
    }
    let _upload = services.blobs.begin(announced.blob)?;
    let announce = Command::AnnounceBlob(announced.into(), announced.token.verifier());
    let record = record(&services.store, announce).await?;
    if services.blobs.is_whole(record.blob).await? {
        reply(services, writer, &BlobReply::Ready { offset: record.length }).await?;
        return reply(services, writer, &BlobReply::Stored).await;
    }
    let (mut file, offset) = services.blobs.open_part(&record).await?;
    reply(services, writer, &BlobReply::Ready { offset }).await?;
    receive(services, reader, &mut file, record.length.saturating_sub(offset)).await?;
    services.blobs.complete(&record, file).await?;
    reply(services, writer, &BlobReply::Stored).await
}

/// Writes what comes to the file. What came before the stream broke stays, for the upload to resume.
async fn receive(
    services: &Services,
    reader: &mut Reader,
    file: &mut File,
    length: u64,
) -> Result<(), ErrorCode> {
    let mut left = length;
    let mut piece = vec![0; PIECE];
    loop {
        // A broken stream is like an early end.
        let count = reader.read(&mut piece).await.unwrap_or(0);
        let bytes = piece.get(..count).unwrap_or_default();
        let size = u64::try_from(count).unwrap_or(u64::MAX);
        if size > left {
            return Err(ErrorCode::BlobMismatch);
        }
        if count == 0 {
            file.flush().await.map_err(|error| failed(&error))?;
            return if left == 0 { Ok(()) } else { Err(ErrorCode::BlobIncomplete) };
        }
        services.tap.received(bytes);
        file.write_all(bytes).await.map_err(|error| failed(&error))?;
        left = left.saturating_sub(size);
    }
}

async fn get(
    services: &Services,
    writer: &mut Writer,
    blob: BlobId,
    capability: &BlobReadCapability,
    offset: u64,
) -> Result<(), ErrorCode> {
    let record = record(&services.store, Command::FindBlob(blob, capability.hash())).await?;
    if offset > record.length {
        return Err(ErrorCode::BlobMismatch);
    }
    let mut file = match File::open(services.blobs.whole(blob)).await {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(ErrorCode::BlobIncomplete),
        Err(error) => return Err(failed(&error)),
    };
    let stored = file.metadata().await.map_err(|error| failed(&error))?.len();
    if stored != record.length {
        return Err(ErrorCode::Damaged);
    }
    file.seek(std::io::SeekFrom::Start(offset)).await.map_err(|error| failed(&error))?;
    let content = BlobReply::Content { length: record.length, hash: record.hash };
    reply(services, writer, &content).await?;
    let mut piece = vec![0; PIECE];
    loop {
        // From here on a failure can only end the stream early, which the client notices.
        let Ok(count) = file.read(&mut piece).await else { return Ok(()) };
        if count == 0 {
            return Ok(());
        }
        let bytes = piece.get(..count).unwrap_or_default();
        services.tap.sent(bytes);
        if writer.write_all(bytes).await.is_err() {
            return Ok(());
        }
    }
}
