//! Blobs: a file each, written as it comes, checked by hash, renamed when whole.
//!
//! `blobs/ID.part` is an upload under way (its length is how far it has come), `blobs/ID` a whole
//! blob; ID is the blob's id in hexadecimal.
//!
//! Plain files, and not `object_store`'s local backend: the README says why.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{Context as Hash, SHA256};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use undertone_wire::blob::{BlobAnnouncement, BlobReply, BlobRequest};
use undertone_wire::limits::{MAX_BLOB, MAX_BLOB_MESSAGE, MAX_RETENTION_DAYS};
use undertone_wire::transport::{Goodbye, Reader, Writer, read_message};
use undertone_wire::{BlobHash, BlobId, BlobReadCapability, ErrorCode, codec};

use super::connection::{Connection, LINGER, Services, wait_for_turn};
use super::pace::{self, NotWritten, Pace, Stalled};
use super::requests::verifier;
use crate::limits::Admission;
use crate::metrics::Counter;
use crate::store::{BlobRecord, Command, Outcome, Room, StoreFailure, StoreHandle, Unanswered};

/// Bytes that are read or written at a time.
const PIECE: usize = 64 * 1024;

/// Whole blobs that are remembered as such: some 6 MiB.
const VERIFIED: usize = 65_536;

/// A file that was changed less long ago may change again without looking any different: file systems
/// do not count time in smaller steps than some milliseconds.
const SETTLED: Duration = Duration::from_secs(2);

/// Where blobs are. Cheap to clone.
#[derive(Clone)]
pub(crate) struct BlobDirectory {
    path: Arc<PathBuf>,
    /// Blobs whose files are being written or removed: two at a time would mix their bytes, or
    /// remove what the other has just stored.
    uploads: Arc<Mutex<HashSet<BlobId>>>,
    /// Files that were found to be whole since the start, as they were then: a request of 200 bytes
    /// does not make the relay read two gigabytes again and again.
    verified: Arc<Mutex<HashMap<BlobId, Seen>>>,
    room: Arc<Room>,
}

/// A file as it was seen, with what was expected of it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    length: u64,
    modified: SystemTime,
    hash: BlobHash,
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

/// Why a blob stream ends early.
enum Stop {
    /// The client is told.
    Refused(ErrorCode),
    /// The client is gone, or nothing may be said any more because the store has failed.
    Silent,
}

impl From<ErrorCode> for Stop {
    fn from(code: ErrorCode) -> Self {
        Self::Refused(code)
    }
}

impl From<Unanswered> for Stop {
    fn from(_: Unanswered) -> Self {
        Self::Silent
    }
}

/// Why an upload with all its bytes is no blob.
enum NotStored {
    Refused(ErrorCode),
    /// It could not be made durable. What a file system answers to a second try says nothing about
    /// the bytes that the first one lost: the part is removed and the relay ends.
    Sync(std::io::Error),
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
    pub(crate) fn open(path: &Path, room: Arc<Room>) -> Result<Self, StoreFailure> {
        crate::operator::private_directory(path)?;
        let path = Arc::new(path.to_owned());
        Ok(Self { path, uploads: Arc::default(), verified: Arc::default(), room })
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

    /// Removes the files of blobs that are not in the table: a crash came between the two. Counts
    /// the bytes of the others.
    pub(crate) fn sweep(&self, announced: &[BlobId]) -> Result<(), StoreFailure> {
        let kept: HashSet<String> = announced.iter().map(BlobId::to_string).collect();
        let mut bytes: u64 = 0;
        for entry in std::fs::read_dir(self.path.as_path())? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let id = name.strip_suffix(".part").unwrap_or(name);
            // Files that this relay did not make are left alone.
            let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_id && !kept.contains(id) {
                std::fs::remove_file(self.path.join(name))?;
            } else {
                bytes = bytes.saturating_add(entry.metadata()?.len());
            }
        }
        self.room.set_blobs(bytes);
        Ok(())
    }

    /// Removes the files of a blob that was removed from the table, unless it has been announced
    /// again since. If it is being uploaded, the upload removes them when it ends.
    pub(crate) async fn remove(&self, store: &StoreHandle, blob: BlobId) -> Result<(), ErrorCode> {
        let Ok(held) = self.begin(blob) else { return Ok(()) };
        match store.run(Command::HasBlob(blob)).await {
            Ok(Err(ErrorCode::Unknown)) => self.remove_held(&held).await,
            // There again; or the store has ended, and the next start sweeps.
            _ => Ok(()),
        }
    }

    /// Removes a blob's files, if there are any.
    async fn remove_held(&self, upload: &Upload) -> Result<(), ErrorCode> {
        let blob = upload.blob;
        for path in [self.whole(blob), self.part(blob)] {
            let length = tokio::fs::metadata(&path).await.map_or(0, |metadata| metadata.len());
            match tokio::fs::remove_file(path).await {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&error)),
                Err(_) => {}
                Ok(()) => self.room.remove_blob_bytes(length),
            }
        }
        Ok(())
    }

    /// Whether the blob is there: durably, and with what was announced. A file that is something
    /// else goes, so that whoever has the bytes can upload them again.
    async fn is_whole(&self, record: &BlobRecord, held: &Upload) -> Result<bool, NotStored> {
        let mut file = match File::open(self.whole(record.blob)).await {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(NotStored::Refused(failed(&error))),
        };
        let check = async {
            let metadata = file.metadata().await?;
            let seen =
                Seen { length: metadata.len(), modified: metadata.modified()?, hash: record.hash };
            if seen.length != record.length {
                return Ok(false);
            }
            if self.is_verified(record.blob, seen) {
                return Ok(true);
            }
            let good = hash(&mut file).await? == record.hash;
            if good {
                self.verified(record.blob, seen);
            }
            Ok(good)
        };
        let good = check.await.map_err(|error| NotStored::Refused(failed(&error)))?;
        if !good {
            tracing::error!("a blob's file was damaged; it can be uploaded again");
            self.remove_held(held).await.map_err(NotStored::Refused)?;
            return Ok(false);
        }
        // An earlier process may have ended between renaming and this.
        self.sync().await.map_err(NotStored::Sync)?;
        Ok(true)
    }

    fn is_verified(&self, blob: BlobId, seen: Seen) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.get(&blob) == Some(&seen)
    }

    /// Remembers that a file has the announced bytes, unless it may just have been written.
    fn verified(&self, blob: BlobId, seen: Seen) {
        if seen.modified.elapsed().is_ok_and(|age| age >= SETTLED) {
            let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
            if verified.len() >= VERIFIED {
                verified.clear();
            }
            verified.insert(blob, seen);
        }
    }

    /// Makes the directory's entries durable.
    async fn sync(&self) -> std::io::Result<()> {
        #[cfg(unix)]
        File::open(self.path.as_path()).await?.sync_all().await?;
        Ok(())
    }

    /// Opens an upload and says how far it has come.
    async fn open_part(&self, record: &BlobRecord) -> Result<(File, u64), ErrorCode> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        options.mode(0o600);
        let open = async {
            let mut file = options.open(self.part(record.blob)).await?;
            let length = file.metadata().await?.len();
            if length > record.length {
                file.set_len(0).await?;
                self.room.remove_blob_bytes(length);
            }
            let offset = file.seek(std::io::SeekFrom::End(0)).await?;
            Ok((file, offset))
        };
        open.await.map_err(|error: std::io::Error| failed(&error))
    }

    /// Checks an upload that has all its bytes and makes it a blob, durably.
    async fn complete(
        &self,
        record: &BlobRecord,
        held: &Upload,
        mut file: File,
    ) -> Result<(), NotStored> {
        let refused = |error: std::io::Error| NotStored::Refused(failed(&error));
        file.flush().await.map_err(refused)?;
        file.sync_all().await.map_err(NotStored::Sync)?;
        let check = async {
            file.seek(std::io::SeekFrom::Start(0)).await?;
            hash(&mut file).await
        };
        if check.await.map_err(refused)? != record.hash {
            // The next upload begins at the beginning.
            self.remove_held(held).await.map_err(NotStored::Refused)?;
            return Err(NotStored::Refused(ErrorCode::BlobMismatch));
        }
        let renamed = tokio::fs::rename(self.part(record.blob), self.whole(record.blob)).await;
        renamed.map_err(refused)?;
        self.sync().await.map_err(NotStored::Sync)
    }

    /// What follows when a blob could not be stored.
    async fn give_up(&self, store: &StoreHandle, held: &Upload, why: NotStored) -> Stop {
        match why {
            NotStored::Refused(code) => Stop::Refused(code),
            NotStored::Sync(error) => {
                // Reported where it fails; the store's failure below is what counts.
                let _ = self.remove_held(held).await;
                store.fail(StoreFailure::File(error)).await;
                Stop::Silent
            }
        }
    }
}

#[cfg(test)]
impl BlobDirectory {
    /// Stores a blob as an upload does; whether it would be answered as stored.
    pub(crate) async fn store(&self, record: &BlobRecord, bytes: &[u8]) -> bool {
        let Ok(held) = self.begin(record.blob) else { return false };
        let Ok((mut file, offset)) = self.open_part(record).await else { return false };
        let rest = bytes.get(usize::try_from(offset).unwrap_or(0)..).unwrap_or_default();
        file.write_all(rest).await.is_ok() && self.complete(record, &held, file).await.is_ok()
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

/// Steps of [`pace`] in what may be on its way to a client at once: so often the patience until it has
/// to have all of it.
const STEPS_OF_A_WINDOW: u32 = 32;

/// Serves one blob stream. Whether the client has made one guess too many: then the connection has to
/// end.
pub(super) async fn serve(
    connection: Arc<Connection>,
    mut stopped: watch::Receiver<bool>,
    mut writer: Writer,
    mut reader: Reader,
) -> bool {
    let (services, admission) = (&connection.services, &*connection.admission);
    let Ok(Some(message)) = read_message(&mut reader, MAX_BLOB_MESSAGE).await else { return false };
    services.tap.received(&message);
    // A request like those on the control stream, and with the same rate.
    if wait_for_turn(admission, &mut stopped).await.is_none() {
        return false;
    }
    // Both until the client has all of it: so much may be on its way, and is held for it.
    let permit = admission.transfer();
    let _wide = permit.as_ref().ok().map(|_| connection.widen());
    let transfer = async {
        permit.as_ref().map_err(|code| *code)?;
        match codec::decode::<BlobRequest>(&message) {
            Ok(BlobRequest::Put(announcement)) => {
                admission.metrics().count(Counter::RequestBlobPut);
                put(services, admission, &mut writer, &mut reader, &announcement).await
            }
            Ok(BlobRequest::Get { blob, capability, offset }) => {
                admission.metrics().count(Counter::RequestBlobGet);
                get(services, admission, &mut writer, blob, &capability, offset).await
            }
            Err(_) => Err(Stop::Refused(ErrorCode::Malformed)),
        }
    };
    let mut guessing = false;
    if let Err(Stop::Refused(code)) = transfer.await {
        guessing = admission.refused(code);
        let _ = reply(services, admission, &mut writer, &BlobReply::Refused(code)).await;
    }
    let linger = async {
        let _ = stopped.wait_for(|stop| *stop).await;
        tokio::time::sleep(LINGER).await;
    };
    tokio::select! {
        ended = tokio::time::timeout(admission.patience() * STEPS_OF_A_WINDOW, writer.shutdown()) => {
            if ended.is_err() {
                admission.metrics().count(Counter::StalledDownloads);
                connection.channel.close(Goodbye::Busy);
            }
        }
        () = linger => {}
    }
    guessing
}

async fn reply(
    services: &Services,
    admission: &Admission,
    writer: &mut Writer,
    reply: &BlobReply,
) -> Result<(), Stop> {
    let message =
        codec::encode_message(reply, MAX_BLOB_MESSAGE).map_err(|_| ErrorCode::Internal)?;
    services.tap.sent(message.get(undertone_wire::limits::LENGTH_PREFIX..).unwrap_or_default());
    pace::write(writer, &message, admission.patience()).await.map_err(|_| Stop::Silent)
}

async fn record(store: &StoreHandle, command: Command) -> Result<BlobRecord, Stop> {
    match store.run(command).await?? {
        Outcome::Blob(record) => Ok(record),
        _ => Err(Stop::Refused(ErrorCode::Internal)),
    }
}

async fn put(
    services: &Services,
    admission: &Admission,
    writer: &mut Writer,
    reader: &mut Reader,
    announced: &BlobAnnouncement,
) -> Result<(), Stop> {
    if announced.length == 0 || announced.length > MAX_BLOB {
        return Err(Stop::Refused(ErrorCode::BlobTooLarge));
    }
    let today = services.clock.today();
    if announced.expires < today || announced.expires > today.plus(MAX_RETENTION_DAYS).plus(1) {
        return Err(Stop::Refused(ErrorCode::LimitReached));
    }
    let held = services.blobs.begin(announced.blob)?;
    let blob = admission.blob(announced.blob);
    if blob != announced.blob {
        return Err(record(&services.store, Command::HasBlob(blob))
            .await
            .err()
            .unwrap_or(Stop::Silent));
    }
    let (at, exists) = ((&services.store, &*services.clock), Command::HasBlob(announced.blob));
    let token = verifier(admission, at, &announced.token, exists).await?;
    let announce = Command::AnnounceBlob(announced.into(), token);
    let record = record(&services.store, announce).await?;
    admission.vouch();
    let uploaded = upload(services, admission, writer, reader, &record, &held).await;
    // Deleted or expired meanwhile: whoever did that could not remove the files.
    let has = Command::HasBlob(record.blob);
    if services.store.run(has).await? == Err(ErrorCode::Unknown) {
        services.blobs.remove_held(&held).await?;
        return Err(Stop::Refused(ErrorCode::Unknown));
    }
    uploaded?;
    reply(services, admission, writer, &BlobReply::Stored).await
}

/// Takes the bytes that are missing; then the blob is stored.
async fn upload(
    services: &Services,
    admission: &Admission,
    writer: &mut Writer,
    reader: &mut Reader,
    record: &BlobRecord,
    held: &Upload,
) -> Result<(), Stop> {
    let blobs = &services.blobs;
    let whole = match blobs.is_whole(record, held).await {
        Ok(whole) => whole,
        Err(why) => return Err(blobs.give_up(&services.store, held, why).await),
    };
    if whole {
        return reply(services, admission, writer, &BlobReply::Ready { offset: record.length })
            .await;
    }
    let (mut file, offset) = blobs.open_part(record).await?;
    reply(services, admission, writer, &BlobReply::Ready { offset }).await?;
    receive(services, admission, reader, &mut file, record.length.saturating_sub(offset)).await?;
    match blobs.complete(record, held, file).await {
        Ok(()) => Ok(()),
        Err(why) => Err(blobs.give_up(&services.store, held, why).await),
    }
}

/// Writes what comes to the file. What came before the stream broke stays, for the upload to resume.
async fn receive(
    services: &Services,
    admission: &Admission,
    reader: &mut Reader,
    file: &mut File,
    length: u64,
) -> Result<(), ErrorCode> {
    let mut left = length;
    let mut piece = vec![0; PIECE];
    let mut pace = Pace::new(admission.patience());
    loop {
        // A broken stream is like an early end, and so is one on which nothing comes.
        let count = match pace.read(reader, &mut piece).await {
            Ok(count) => count,
            Err(Stalled) => {
                admission.metrics().count(Counter::StalledUploads);
                file.flush().await.map_err(|error| failed(&error))?;
                return Err(ErrorCode::BlobIncomplete);
            }
        };
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
        admission.metrics().add(Counter::BlobBytesIn, size);
        // Looked at again with each piece: others write as well.
        services.blobs.room.measure();
        services.blobs.room.check(size)?;
        services.blobs.room.add_blob_bytes(size);
        file.write_all(bytes).await.map_err(|error| failed(&error))?;
        admission.served();
        left = left.saturating_sub(size);
    }
}

async fn get(
    services: &Services,
    admission: &Admission,
    writer: &mut Writer,
    blob: BlobId,
    capability: &BlobReadCapability,
    offset: u64,
) -> Result<(), Stop> {
    let blob = admission.blob(blob);
    let record = record(&services.store, Command::FindBlob(blob, capability.hash())).await?;
    admission.served();
    if offset > record.length {
        return Err(Stop::Refused(ErrorCode::BlobMismatch));
    }
    let mut file = match File::open(services.blobs.whole(blob)).await {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Stop::Refused(ErrorCode::BlobIncomplete));
        }
        Err(error) => return Err(Stop::Refused(failed(&error))),
    };
    let stored = file.metadata().await.map_err(|error| failed(&error))?.len();
    if stored != record.length {
        return Err(Stop::Refused(ErrorCode::Damaged));
    }
    file.seek(std::io::SeekFrom::Start(offset)).await.map_err(|error| failed(&error))?;
    let content = BlobReply::Content { length: record.length, hash: record.hash };
    reply(services, admission, writer, &content).await?;
    let mut piece = vec![0; PIECE];
    loop {
        // From here on a failure can only end the stream early, which the client notices.
        let Ok(count) = file.read(&mut piece).await else { return Ok(()) };
        if count == 0 {
            return Ok(());
        }
        let bytes = piece.get(..count).unwrap_or_default();
        services.tap.sent(bytes);
        admission.metrics().add(Counter::BlobBytesOut, u64::try_from(count).unwrap_or(0));
        match pace::write(writer, bytes, admission.patience()).await {
            // What moves is not silent.
            Ok(()) => admission.served(),
            Err(NotWritten::Broken) => return Ok(()),
            Err(NotWritten::Stalled) => {
                admission.metrics().count(Counter::StalledDownloads);
                return Err(Stop::Silent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use undertone_wire::Day;
    use undertone_wire::ids::BlobCapabilityHash;

    use super::*;
    use crate::store::EndlessDisk;

    #[tokio::test]
    async fn a_whole_blob_is_read_again_only_if_it_was_changed() {
        let directory = tempfile::tempdir().unwrap();
        let room = Arc::new(Room::new(directory.path(), Arc::new(EndlessDisk)));
        let blobs = BlobDirectory::open(directory.path(), room).unwrap();
        let nobody = BlobCapabilityHash::from_bytes([0; 32]);
        let mut digest = Hash::new(&SHA256);
        digest.update(&[1; 1000]);
        let digest = digest.finish().as_ref().first_chunk().copied().unwrap();
        let record = BlobRecord {
            blob: BlobId::from_bytes([1; 32]),
            read: nobody,
            delete: nobody,
            length: 1000,
            hash: BlobHash::from_bytes(digest),
            expires: Day::new(1),
        };
        assert!(blobs.store(&record, &[1; 1000]).await);
        let held = blobs.begin(record.blob).unwrap();
        let path = blobs.whole(record.blob);
        // The bytes, with the time of their last change.
        let write = |bytes: &[u8], age: u64| {
            std::fs::write(&path, bytes).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + age);
            file.set_modified(at).unwrap();
        };
        // What has just been written is read each time.
        assert!(blobs.is_whole(&record, &held).await.is_ok_and(|whole| whole));
        assert!(blobs.verified.lock().unwrap().is_empty());
        write(&[1; 1000], 0);
        assert!(blobs.is_whole(&record, &held).await.is_ok_and(|whole| whole));
        // It would be found out if it were read.
        write(&[2; 1000], 0);
        assert!(blobs.is_whole(&record, &held).await.is_ok_and(|whole| whole));
        write(&[2; 1000], 1);
        assert!(blobs.is_whole(&record, &held).await.is_ok_and(|whole| !whole));
    }
}
