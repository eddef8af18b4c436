//! Files: encrypted once into the profile directory, sent and fetched in pieces, resumed where
//! they stopped, never whole in memory.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use getrandom::SysRng;
use sha2::{Digest, Sha256};
use undertone_core::bounds::FILE_CHUNK;
use undertone_core::rand_core::UnwrapErr;
use undertone_core::{FileKey, FileOpener, FileSealer, blob_len};
use undertone_session::content::{Attachment, BlobKeyBytes, MAX_FILE_NAME, is_described};
use undertone_session::engine::{Download, OutgoingFile, Upload};
use undertone_session::ids::{ContactId, MessageId};
use undertone_session::message::{FileInfo, MessageKind};
use undertone_wire::ErrorCode;
use undertone_wire::blob::BlobAnnouncement;
use undertone_wire::client::{ClientError, Connection};
use undertone_wire::limits::MAX_BLOB;

use crate::cancelled::Since;
use crate::client::{Shared, SyncReport};
use crate::error::Error;
use crate::network::{Failure, Role};
use crate::receive::ClientOrLocal;
use crate::{keyslot, profile};

/// How the name of a file ends while it is decrypted.
const OPEN: &str = "open";

/// Bytes that are read and sent at a time.
const PIECE: usize = 64 * 1024;

/// How long a fetch may be slower than [`SLOWEST`]: connections begin slowly, and break off.
const GRACE: Duration = Duration::from_secs(60);

/// The slowest fetch that is not broken off, in bytes per second on the average: what the slowest
/// mobile networks give. What has come is kept, and it goes on there in a later pass.
const SLOWEST: u64 = 4 * 1024;

/// How often progress is told, in parts of the whole: each is an event on the disk.
const PROGRESS_STEPS: u64 = 10;

fn disk(path: &Path, error: &io::Error) -> Error {
    Error::StoreFailed { reason: format!("{}: {error}", path.display()) }
}

/// Removes a file, if it is there.
fn removed(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk(path, &error)),
        _ => Ok(()),
    }
}

fn name_of(id: &[u8; 32]) -> String {
    data_encoding::HEXLOWER.encode(id)
}

/// A name under which a received file is stored: what the sender calls it, without anything that
/// a file system could take for more than a name.
pub(crate) fn safe_name(name: &str) -> String {
    // What follows the last separator of any system.
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut safe: String = last
        .chars()
        .map(|c| match c {
            c if c.is_control() || "<>:\"|?*".contains(c) => '_',
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '_',
            c => c,
        })
        .collect();
    while safe.len() > MAX_FILE_NAME.saturating_sub(8) {
        safe.pop();
    }
    // No hidden files, no trailing dots or spaces, nothing that means a directory.
    let safe = safe.trim_start_matches('.').trim_end_matches(['.', ' ']).trim();
    if safe.is_empty() { "file".to_owned() } else { safe.to_owned() }
}

/// A blob that was made: its key, its first bytes and its hash.
struct Encrypted {
    key: BlobKeyBytes,
    commitment: [u8; 32],
    sha256: [u8; 32],
}

/// Reads a file as a stream into `aside`, encrypted under a key of its own.
fn encrypt(source: &Path, aside: &Path, size: u64) -> Result<Encrypted, Error> {
    let unreadable = |reason: String| Error::FileUnreadable { path: source.to_path_buf(), reason };
    let mut input = File::open(source).map_err(|e| unreadable(e.to_string()))?;
    let (mut sealer, key) = FileSealer::new(size, &mut UnwrapErr(SysRng))
        .map_err(|_| Error::FileTooLarge { size, max: MAX_BLOB })?;
    let mut output = File::create(aside).map_err(|e| disk(aside, &e))?;
    let mut hash = Sha256::new();
    let commitment = sealer.commitment();
    let mut put = |bytes: &[u8]| {
        hash.update(bytes);
        output.write_all(bytes).map_err(|e| disk(aside, &e))
    };
    put(&commitment)?;
    let mut buffer = vec![0; FILE_CHUNK];
    while sealer.remaining_chunks() > 0 {
        let chunk = buffer.get_mut(..sealer.next_len()).unwrap_or_default();
        input.read_exact(chunk).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                unreadable("it became shorter while it was read".into())
            }
            _ => unreadable(e.to_string()),
        })?;
        let sealed =
            sealer.seal_next(chunk).map_err(|e| Error::Internal { reason: e.to_string() })?;
        put(&sealed)?;
    }
    // What was added meanwhile would be lost in silence.
    if input.read(buffer.get_mut(..1).unwrap_or_default()).map_err(|e| unreadable(e.to_string()))?
        > 0
    {
        return Err(unreadable("it became longer while it was read".into()));
    }
    output.sync_all().map_err(|e| disk(aside, &e))?;
    let key = BlobKeyBytes::new(*key.as_bytes());
    Ok(Encrypted { key, commitment, sha256: hash.finalize().into() })
}

/// What is to be sent: a file, readable, small enough.
fn inspect(source: &Path) -> Result<FileInfo, Error> {
    let unreadable = |reason: String| Error::FileUnreadable { path: source.to_path_buf(), reason };
    let meta = fs::metadata(source).map_err(|e| unreadable(e.to_string()))?;
    if !meta.is_file() {
        return Err(unreadable("it is not a file".into()));
    }
    let size = meta.len();
    if blob_len(size).is_none_or(|length| length > MAX_BLOB) {
        return Err(Error::FileTooLarge { size, max: MAX_BLOB });
    }
    let name = source.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(FileInfo {
        name: safe_name(&name.unwrap_or_default()),
        size,
        media_type: String::new(),
        path: Some(fs::canonicalize(source).unwrap_or_else(|_| source.to_path_buf())),
        caption: String::new(),
    })
}

impl Shared {
    /// Works on the profile's files, beside the tasks of the runtime. Whoever closes the client waits
    /// for it: what has begun goes on to its end even if nobody waits for its result any more, and must
    /// not meet another process that has opened the profile.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let busy = self.working.clone().read_owned().await;
        if self.core.is_closed() {
            return Err(Error::Closed);
        }
        let work = move || {
            let result = work();
            drop(busy);
            result
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| Error::Internal { reason: e.to_string() })?
    }

    /// Encrypts and queues a file; see [`crate::Client::send_file`].
    pub(crate) async fn queue_file(
        &self,
        contact: ContactId,
        source: PathBuf,
        caption: String,
    ) -> Result<MessageId, Error> {
        let blob = self.core.ask(move |e| e.contact(contact).map(|_| e.new_file())).await?;
        let blobs = profile::blobs(&self.dir);
        let file = self
            .blocking(move || {
                let info = FileInfo { caption, ..inspect(&source)? };
                let place = blobs.join(name_of(&blob));
                let aside = place.with_extension("part");
                let made = encrypt(&source, &aside, info.size);
                if made.is_err() {
                    let _ = fs::remove_file(&aside);
                }
                let Encrypted { key, commitment, sha256 } = made?;
                fs::rename(&aside, &place).map_err(|e| disk(&place, &e))?;
                keyslot::sync_dir(&blobs)?;
                Ok(OutgoingFile { blob, key, commitment, sha256, info })
            })
            .await?;
        let now = self.core.now();
        let queued = self.core.change(move |e| e.queue_file(contact, file, now)).await;
        if queued.is_err() {
            // Refused, or the contact was deleted meanwhile: nothing refers to it.
            self.remove_blob(&blob)?;
        }
        queued
    }

    /// Removes ciphertext that nothing refers to: what was being encrypted, or had just been
    /// uploaded, when the program ended.
    pub(crate) async fn tidy_blobs(&self) -> Result<(), Error> {
        let uploads = self.core.ask(|e| e.uploads()).await?;
        let wanted: Vec<String> =
            uploads.iter().map(|upload| name_of(upload.blob.as_bytes())).collect();
        let blobs = profile::blobs(&self.dir);
        self.blocking(move || {
            for entry in fs::read_dir(&blobs).map_err(|e| disk(&blobs, &e))? {
                let entry = entry.map_err(|e| disk(&blobs, &e))?;
                if !wanted.iter().any(|name| entry.file_name() == name.as_str()) {
                    fs::remove_file(entry.path()).map_err(|e| disk(&entry.path(), &e))?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Removes received files, and parts of them, whose message is not here any more, and what was
    /// being decrypted when the program ended: plaintext that nothing else would ever take away. While
    /// no file is being fetched.
    pub(crate) async fn tidy_files(&self) -> Result<(), Error> {
        let files = profile::files(&self.dir);
        let place = files.clone();
        let entries = self
            .blocking(move || {
                let entries = fs::read_dir(&place).map_err(|e| disk(&place, &e))?;
                entries
                    .map(|entry| Ok(entry.map_err(|e| disk(&place, &e))?.path()))
                    .collect::<Result<Vec<PathBuf>, Error>>()
            })
            .await?;
        for entry in entries {
            // What is not called as we call files is not ours.
            let Some((contact, id)) = named_by(&entry) else { continue };
            let is_open = entry.extension().is_some_and(|extension| extension == OPEN);
            let message = self.core.ask(move |e| e.received_message(contact, id)).await;
            match message {
                Ok(message) if !is_open && matches!(message.kind, MessageKind::File(_)) => continue,
                Ok(_) | Err(Error::UnknownMessage) => {}
                Err(error) => return Err(error),
            }
            self.blocking(move || {
                let gone = if entry.is_dir() {
                    fs::remove_dir_all(&entry)
                } else {
                    fs::remove_file(&entry)
                };
                gone.map_err(|e| disk(&entry, &e))
            })
            .await?;
        }
        Ok(())
    }

    /// Stores a file at the relay, from where the relay already is.
    pub(crate) async fn upload(&self, upload: &Upload, since: Since) -> Result<(), Error> {
        let path = profile::blobs(&self.dir).join(name_of(upload.blob.as_bytes()));
        let message = upload.message;
        if self.cancelled.is_over(message, since) {
            return Ok(());
        }
        if let Err(error) = fs::metadata(&path) {
            let reason = format!("its ciphertext is gone from the profile directory: {error}");
            return self.core.change(move |e| e.upload_failed(message, &reason)).await;
        }
        let place = &path;
        let put = |c: Connection| async move { apart(self.put(&c, upload, place, since).await) };
        match self.network.request(&upload.relay, Role::Uploads, put).await {
            // Also if its ciphertext went away below it.
            Ok(Err(_)) if self.cancelled.is_over(message, since) => {
                self.delete_at_relay(upload).await;
                Ok(())
            }
            Ok(Err(of_the_disk)) => Err(of_the_disk),
            Ok(Ok(())) => {
                let relay = upload.relay.clone();
                if !self.core.change(move |e| e.uploaded(message, &relay)).await? {
                    // It was cancelled, or erased, when all of it was on its way.
                    self.delete_at_relay(upload).await;
                }
                removed(&path)
            }
            Err(Failure::Relay(_, ClientError::Refused(ErrorCode::BlobTooLarge))) => {
                let reason = ErrorCode::BlobTooLarge.sentence();
                self.core.change(move |e| e.upload_failed(message, reason)).await?;
                fs::remove_file(&path).map_err(|e| disk(&path, &e))
            }
            Err(Failure::Relay(
                _,
                ClientError::Refused(
                    ErrorCode::QuotaExceeded
                    | ErrorCode::StorageFull
                    | ErrorCode::Busy
                    | ErrorCode::LimitReached,
                ),
            )) => self.core.change(move |e| e.upload_refused(message)).await,
            Err(failure) => Err(failure.into()),
        }
    }

    /// What has come to the relay of a file that is not sent. If that can't be done now, it expires:
    /// nobody else knows of it.
    async fn delete_at_relay(&self, upload: &Upload) {
        let (blob, capability) = (upload.blob, &upload.delete);
        let delete = |c: Connection| async move { c.delete_blob(blob, capability).await };
        if let Err(failure) = self.network.request(&upload.relay, Role::Uploads, delete).await {
            let error = Error::from(failure);
            tracing::debug!(code = error.code(), "a part of a file stays at the relay");
        }
    }

    async fn put(
        &self,
        connection: &Connection,
        upload: &Upload,
        path: &Path,
        since: Since,
    ) -> Result<(), ClientOrLocal> {
        self.check_wanted(upload.message, since)?;
        let announcement = BlobAnnouncement {
            blob: upload.blob,
            token: upload.token.duplicate(),
            read: upload.read.hash(),
            delete: upload.delete.hash(),
            length: upload.length,
            hash: upload.hash,
            expires: upload.expires,
        };
        let mut stream = connection.put_blob(announcement).await?;
        let mut done = stream.offset();
        let mut progress = Progress::new(upload.id, upload.length, done);
        let mut file = File::open(path).map_err(|e| disk(path, &e))?;
        file.seek(SeekFrom::Start(done)).map_err(|e| disk(path, &e))?;
        let mut buffer = vec![0; PIECE];
        loop {
            let count = file.read(&mut buffer).map_err(|e| disk(path, &e))?;
            let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else {
                break;
            };
            self.check_wanted(upload.message, since)?;
            stream.write(piece).await?;
            done = done.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            progress.tell(self, done).await;
        }
        Ok(stream.finish().await?)
    }

    /// Fetches all files that have been announced. What can't be had now is tried again with the
    /// next pass; a relay that does not answer is asked once in a pass, not once for each file.
    pub(crate) async fn download_all(&self, report: &mut SyncReport) -> Result<(), Error> {
        let _one_at_a_time = self.fetching.lock().await;
        let (mut result, mut silent) = (Ok(()), HashSet::new());
        let (limits, now) = (self.network.fetch, self.core.now());
        let since = self.cancelled.now();
        for download in self.core.change(move |e| e.downloads(&limits, now)).await? {
            let message = download.message;
            if silent.contains(&download.relay) {
                report.files_waiting = report.files_waiting.saturating_add(1);
                continue;
            }
            match self.fetch(&download, since).await {
                Ok(path) => {
                    let place = path.clone();
                    if self.core.change(move |e| e.downloaded(message, &place)).await? {
                        report.files = report.files.saturating_add(1);
                    } else {
                        // Its message was erased or deleted meanwhile.
                        fs::remove_file(&path).map_err(|e| disk(&path, &e))?;
                    }
                }
                Err(Trouble::Lasting(reason)) => {
                    self.core.change(move |e| e.download_failed(message, &reason)).await?;
                }
                Err(Trouble::Passing(error)) => {
                    tracing::debug!(code = error.code(), "a file can't be fetched now");
                    report.files_waiting = report.files_waiting.saturating_add(1);
                    if matches!(error, Error::Unreachable { .. } | Error::RelayPinMismatch { .. }) {
                        silent.insert(download.relay);
                    }
                }
                Err(Trouble::Local(
                    error @ (Error::Offline | Error::Closed | Error::Superseded),
                )) => return Err(error),
                // Also if its parts went away below it.
                Err(Trouble::Local(_)) if self.cancelled.is_over(message, since) => {
                    if let Ok((contact, id)) = self.named(message).await {
                        self.remove_part(contact, id)?;
                    }
                }
                // Its message was erased, or its contact deleted, and the parts with them.
                Err(Trouble::Local(_)) if self.named(message).await.is_err() => {}
                // Of this file alone, or of a disk that is full: what is small may fit.
                Err(Trouble::Local(error)) => {
                    tracing::warn!(code = error.code(), "a file can't be stored here now");
                    report.files_waiting = report.files_waiting.saturating_add(1);
                    result = result.and(Err(error));
                }
            }
        }
        result
    }

    async fn named(&self, message: u64) -> Result<(ContactId, MessageId), Error> {
        let message = self.core.ask(move |e| e.message_at(message)).await?;
        Ok((message.contact, message.id))
    }

    /// An error if a transfer is to stop.
    fn check_wanted(&self, message: u64, since: Since) -> Result<(), Error> {
        if self.cancelled.is_over(message, since) { Err(Error::TransferCancelled) } else { Ok(()) }
    }

    /// Removes what has come of a file.
    pub(crate) fn remove_part(&self, contact: ContactId, id: MessageId) -> Result<(), Error> {
        let Place { part, directory: _ } = self.place(contact, id);
        // What was being decrypted, too.
        removed(&part.with_extension(OPEN))?;
        removed(&part)
    }

    /// Removes the ciphertext of a file that is not sent.
    pub(crate) fn remove_blob(&self, blob: &[u8; 32]) -> Result<(), Error> {
        removed(&profile::blobs(&self.dir).join(name_of(blob)))
    }

    /// Fetches and opens a file. What was kept of an earlier attempt may have been damaged by a
    /// power failure: if the whole does not verify, it is fetched once more from its beginning.
    async fn fetch(&self, download: &Download, since: Since) -> Result<PathBuf, Trouble> {
        self.check_wanted(download.message, since)?;
        let place = self.place_of(download).await?;
        let part = &place.part;
        let resumed = length_of(part) > 0;
        match self.download(download, &place, since).await {
            Err(Trouble::Lasting(_)) if resumed => {
                if let Err(error) = fs::remove_file(part)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    return Err(disk(part, &error).into());
                }
                self.download(download, &place, since).await
            }
            result => result,
        }
    }

    /// Contact and id together name a message: a contact chooses the ids of what they send, and
    /// must not come near the files of another.
    async fn place_of(&self, download: &Download) -> Result<Place, Error> {
        let (contact, _) = self.named(download.message).await?;
        Ok(self.place(contact, download.id))
    }

    fn place(&self, contact: ContactId, id: MessageId) -> Place {
        let name = format!("{contact}-{id}");
        let files = profile::files(&self.dir);
        Place { part: files.join(format!(".{name}.part")), directory: files.join(name) }
    }

    async fn download(
        &self,
        download: &Download,
        place: &Place,
        since: Since,
    ) -> Result<PathBuf, Trouble> {
        let attachment = &download.attachment;
        let length = blob_len(attachment.size)
            .filter(|length| *length <= MAX_BLOB)
            .ok_or_else(|| Trouble::Lasting("it is larger than can be fetched".into()))?;
        let Place { part, directory } = place.clone();
        let pace = Pace { started: Instant::now(), from: length_of(&part) };
        let target = Target { part: &part, length, pace: &pace, since };
        let target = &target;
        let get = |c: Connection| async move { apart(self.get(&c, download, target).await) };
        let mut result;
        // Broken off on the way, it goes on where it stopped, as long as it gets on at all.
        loop {
            let before = length_of(&part);
            result = self.network.request(&download.relay, Role::Downloads, get).await;
            let broken = matches!(
                result,
                Err(Failure::Relay(_, ClientError::Closed | ClientError::Timeout))
            );
            let now = length_of(&part);
            if !broken || now <= before || pace.is_too_slow(now) {
                break;
            }
        }
        match result {
            Ok(Ok(())) => {}
            Ok(Err(of_the_disk)) => return Err(Trouble::Local(of_the_disk)),
            Err(Failure::Relay(_, ClientError::Refused(ErrorCode::Unknown))) => {
                return Err(Trouble::Lasting("the relay does not have it (any more)".into()));
            }
            Err(Failure::Relay(_, ClientError::Refused(ErrorCode::Damaged))) => {
                return Err(Trouble::Lasting("it is damaged at the relay".into()));
            }
            Err(Failure::Relay(_, ClientError::BlobDamaged)) => {
                let _ = fs::remove_file(&part);
                return Err(Trouble::Lasting("what the relay has is not what was sent".into()));
            }
            Err(Failure::Local(error @ (Error::Offline | Error::Closed))) => {
                return Err(Trouble::Local(error));
            }
            Err(failure) => return Err(Trouble::Passing(failure.into())),
        }
        let place = directory.join(safe_name(&attachment.name));
        let facts = Facts::of(attachment);
        let result = self.blocking(move || {
            let result = decrypt(&part, &directory, &place, &facts);
            if !matches!(result, Err(Trouble::Local(_))) {
                let _ = fs::remove_file(&part);
            }
            Ok(result.map(|()| place))
        });
        result.await?
    }

    /// Fetches the blob into `part`, from where `part` ends.
    async fn get(
        &self,
        connection: &Connection,
        download: &Download,
        target: &Target<'_>,
    ) -> Result<(), ClientOrLocal> {
        let Target { part, length, pace, since } = *target;
        let attachment = &download.attachment;
        let blob = undertone_wire::BlobId::from_bytes(attachment.blob);
        let read = undertone_wire::BlobReadCapability::from_bytes(*attachment.read.as_bytes());
        let mut file = open_part(part).map_err(|e| disk(part, &e))?;
        let mut done = file.seek(SeekFrom::End(0)).map_err(|e| disk(part, &e))?;
        if done > length {
            file.set_len(0).map_err(|e| disk(part, &e))?;
            done = 0;
        }
        if done == length {
            return Ok(());
        }
        if pace.is_too_slow(done) {
            return Err(ClientError::Timeout.into());
        }
        let mut stream = connection.get_blob(blob, &read, done).await?;
        if stream.length() != length || stream.hash().as_bytes() != &attachment.sha256 {
            return Err(ClientError::BlobDamaged.into());
        }
        let mut progress = Progress::new(download.id, length, done);
        file.seek(SeekFrom::Start(done)).map_err(|e| disk(part, &e))?;
        let mut buffer = vec![0; PIECE];
        while done < length {
            let count = stream.next(&mut buffer).await?;
            let piece = buffer.get(..count).unwrap_or_default();
            file.write_all(piece).map_err(|e| disk(part, &e))?;
            done = done.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            self.check_wanted(download.message, since)?;
            progress.tell(self, done).await;
            if pace.is_too_slow(done) && done < length {
                return Err(ClientError::Timeout.into());
            }
        }
        Ok(())
    }
}

/// Where a file that is being fetched lies.
#[derive(Clone)]
struct Place {
    /// Its ciphertext, as far as it has come.
    part: PathBuf,
    /// The directory that is its own.
    directory: PathBuf,
}

/// What is fetched: where to, how much, how fast, and whether still.
#[derive(Clone, Copy)]
struct Target<'a> {
    part: &'a Path,
    length: u64,
    pace: &'a Pace,
    since: Since,
}

/// Takes what the disk said apart from what the relay said: only the latter is tried again over
/// another connection.
fn apart(result: Result<(), ClientOrLocal>) -> Result<Result<(), Error>, ClientError> {
    match result {
        Ok(()) => Ok(Ok(())),
        Err(ClientOrLocal::Local(error)) => Ok(Err(error)),
        Err(ClientOrLocal::Client(error)) => Err(error),
    }
}

/// How fast a file comes. Files are fetched one after the other, from relays that their senders
/// chose: one that gives a byte now and then must not hold up all others.
struct Pace {
    started: Instant,
    /// What was there at the start.
    from: u64,
}

impl Pace {
    fn is_too_slow(&self, done: u64) -> bool {
        Self::is_behind(self.started.elapsed(), done.saturating_sub(self.from))
    }

    fn is_behind(elapsed: Duration, moved: u64) -> bool {
        elapsed > GRACE.saturating_add(Duration::from_secs(moved / SLOWEST))
    }
}

/// Why a file was not fetched.
enum Trouble {
    /// It never will be.
    Lasting(String),
    /// It may be, later.
    Passing(Error),
    /// Something is wrong here.
    Local(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Local(error)
    }
}

/// The message whose file, or part of a file, is called so.
fn named_by(path: &Path) -> Option<(ContactId, MessageId)> {
    let name = path.file_name()?.to_str()?;
    let bare = match name.strip_prefix('.') {
        Some(hidden) => hidden.strip_suffix(".part").or_else(|| hidden.strip_suffix(".open"))?,
        None => name,
    };
    let (contact, id) = bare.split_once('-')?;
    Some((ContactId::new(contact.parse().ok()?), id.parse().ok()?))
}

fn length_of(part: &Path) -> u64 {
    fs::metadata(part).map_or(0, |meta| meta.len())
}

fn open_part(part: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(part)
}

/// What is needed to open a blob.
struct Facts {
    key: BlobKeyBytes,
    commitment: [u8; 32],
    sha256: [u8; 32],
    size: u64,
}

impl Facts {
    fn of(attachment: &Attachment) -> Self {
        Self {
            key: BlobKeyBytes::new(*attachment.key.as_bytes()),
            commitment: attachment.commitment,
            sha256: attachment.sha256,
            size: attachment.size,
        }
    }
}

/// The blob is not what the message says.
fn forged(reason: &str) -> Trouble {
    Trouble::Lasting(reason.to_owned())
}

/// Verifies the whole blob, decrypts it aside, and moves the file into place.
fn decrypt(part: &Path, directory: &Path, place: &Path, facts: &Facts) -> Result<(), Trouble> {
    let mut blob = File::open(part).map_err(|e| disk(part, &e))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; PIECE];
    loop {
        let count = blob.read(&mut buffer).map_err(|e| disk(part, &e))?;
        if count == 0 {
            break;
        }
        hash.update(buffer.get(..count).unwrap_or_default());
    }
    blob.seek(SeekFrom::Start(0)).map_err(|e| disk(part, &e))?;
    let mut commitment = [0; 32];
    blob.read_exact(&mut commitment).map_err(|e| disk(part, &e))?;
    //
    let described = (&facts.sha256, &facts.commitment);
    if !is_described(described, (&hash.finalize().into(), &commitment)) {
        return Err(forged("it is not the file that the message describes (R-907)"));
    }
    let key = FileKey::from_bytes(facts.key.as_bytes());
    let opener =
        FileOpener::new(&key, &commitment, facts.size).map_err(|e| forged(&e.to_string()))?;
    profile::private_dir(directory)?;
    let aside = part.with_extension(OPEN);
    let mut output = File::create(&aside).map_err(|e| disk(&aside, &e))?;
    let mut write = || -> Result<(), Trouble> {
        for index in 0..opener.chunks() {
            let (_, length) = opener.locate(index).ok_or_else(|| forged("it is too short"))?;
            let mut chunk = vec![0; length];
            blob.read_exact(&mut chunk).map_err(|e| disk(part, &e))?;
            let content = opener.open_chunk(index, &chunk).map_err(|e| forged(&e.to_string()))?;
            output.write_all(&content).map_err(|e| disk(&aside, &e))?;
        }
        Ok(output.sync_all().map_err(|e| disk(&aside, &e))?)
    };
    if let Err(error) = write() {
        let _ = fs::remove_file(&aside);
        return Err(error);
    }
    // The directory is this message's own, so that nothing of another's is replaced.
    fs::rename(&aside, place).map_err(|e| disk(place, &e))?;
    Ok(keyslot::sync_dir(directory)?)
}

/// Tells how far a file has come, a few times on its way.
struct Progress {
    id: MessageId,
    total: u64,
    told: u64,
}

impl Progress {
    fn new(id: MessageId, total: u64, done: u64) -> Self {
        Self { id, total, told: Self::step(done, total) }
    }

    fn step(done: u64, total: u64) -> u64 {
        done.saturating_mul(PROGRESS_STEPS).checked_div(total).unwrap_or(0)
    }

    async fn tell(&mut self, shared: &Shared, done: u64) {
        let step = Self::step(done, self.total);
        if step > self.told {
            self.told = step;
            let (id, total) = (self.id, self.total);
            // Progress is a courtesy: the file goes on without it.
            let _ = shared.core.change(move |e| e.file_progress(id, done, total)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_trickle_is_broken_off_and_a_slow_network_is_not() {
        let behind = |seconds, moved| Pace::is_behind(Duration::from_secs(seconds), moved);
        assert!(!behind(0, 0) && !behind(60, 0));
        assert!(behind(61, 0));
        assert!(behind(600, 600));
        assert!(!behind(600, 600 * SLOWEST));
        // However long it takes, nothing overflows.
        assert!(behind(u64::MAX, u64::MAX));
    }

    #[test]
    fn r_907_a_blob_that_the_message_does_not_describe_gives_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("plain"), b"content").unwrap();
        let made = encrypt(&at("plain"), &at("blob"), 7).unwrap();
        let facts = |sha256, commitment| Facts {
            key: BlobKeyBytes::new(*made.key.as_bytes()),
            commitment,
            sha256,
            size: 7,
        };
        let open = |facts: &Facts| decrypt(&at("blob"), &at("out"), &at("out/plain"), facts);
        let mut other = made.commitment;
        other[0] ^= 1;
        for facts in [facts([0; 32], made.commitment), facts(made.sha256, other)] {
            assert!(matches!(open(&facts), Err(Trouble::Lasting(_))));
            assert!(!at("out").exists());
        }
        open(&facts(made.sha256, made.commitment)).ok().unwrap();
        assert_eq!(fs::read(at("out/plain")).unwrap(), b"content");
    }

    #[test]
    fn no_name_leaves_its_directory() {
        for (given, stored) in [
            ("plan.pdf", "plan.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Windows\\system.ini", "system.ini"),
            ("..", "file"),
            (".", "file"),
            ("", "file"),
            ("/", "file"),
            (".bashrc", "bashrc"),
            ("a\nb\u{202e}gpj.exe", "a_b_gpj.exe"),
            ("name. . ", "name"),
            ("Grüße 🎉.txt", "Grüße 🎉.txt"),
        ] {
            assert_eq!(safe_name(given), stored, "{given:?}");
        }
        assert!(safe_name(&"ü".repeat(300)).len() <= 255);
    }
}
