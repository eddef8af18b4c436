//! Backups: account, contacts and history in one encrypted file.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use getrandom::SysRng;
use undertone_core::rand_core::UnwrapErr;
use undertone_session::backup::{
    BackupError, BackupReader, BackupWriter, Record, RecoveryKeyError,
};
use undertone_session::engine::{BackupCheck, Export, Restored, Restorer};
use undertone_session::ids::UnixMillis;
use zeroize::Zeroizing;

use crate::builder::Builder;
use crate::client::Client;
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::profile::{self, ProfileEngine};
use crate::store::SqliteStore;
use crate::{keyslot, network};

/// Records that are stored in one transaction.
const BATCH: usize = 256;

/// What opens a person's backups: 64 characters, in four lines with a check each, to be written down.
///
/// A program shows it once and does not keep it. One key may serve for many backups. It is wiped on
/// drop and not shown by `Debug`.
///
/// ```
/// use undertone::{Error, RecoveryKey};
///
/// let key = RecoveryKey::generate();
/// for line in key.lines() {
///     println!("{}", *line); // K7QF-3M2A-9XWD-0B1T
/// }
/// // As somebody may type it.
/// let typed = key.to_text().to_lowercase().replace('-', " ");
/// assert_eq!(typed.parse::<RecoveryKey>()?.to_text(), key.to_text());
/// # Ok::<(), Error>(())
/// ```
pub struct RecoveryKey(undertone_session::backup::RecoveryKey);

impl RecoveryKey {
    /// A new one, from the system's generator.
    ///
    /// ```
    /// let key = undertone::RecoveryKey::generate();
    /// assert_eq!(key.to_text().replace('-', "").len(), 64);
    /// ```
    #[must_use]
    pub fn generate() -> Self {
        Self(undertone_session::backup::RecoveryKey::generate(&mut UnwrapErr(SysRng)))
    }

    /// Its four lines, for a person to write down.
    ///
    /// ```
    /// let key = undertone::RecoveryKey::generate();
    /// assert!(key.lines().iter().all(|line| line.len() == 19));
    /// ```
    #[must_use]
    pub fn lines(&self) -> [Zeroizing<String>; 4] {
        self.0.lines()
    }

    /// All of it on one line. As secret as the key.
    ///
    /// ```
    /// let key = undertone::RecoveryKey::generate();
    /// assert_eq!(key.to_text().split('-').count(), 16);
    /// ```
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        self.0.to_text()
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(..)")
    }
}

impl FromStr for RecoveryKey {
    type Err = Error;

    /// Reads a key as a person types it: in capitals or not, with spaces, hyphens and line breaks
    /// anywhere, O for 0 and I or L for 1.
    ///
    /// # Errors
    /// [`Error::RecoveryKeyMalformed`], which says in which line an error of typing is.
    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(Self(text.parse()?))
    }
}

/// What a backup holds.
///
/// ```no_run
/// # async fn example(key: undertone::RecoveryKey) -> Result<(), undertone::Error> {
/// let report = undertone::check_backup("ada.backup", &key, |_, _| {}).await?;
/// println!("{} messages with {} contacts", report.messages, report.contacts);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackupReport {
    /// Contacts.
    pub contacts: u64,
    /// Messages of the history.
    pub messages: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// When it was made, by the clock of the device that made it.
    pub made: UnixMillis,
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::BackupFailed { reason: format!("{}: {error}", path.display()) }
}

/// A file that is being written; removed unless it is kept.
struct Part {
    path: PathBuf,
    kept: bool,
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Part {
    /// A new file beside the one that it becomes.
    fn create(target: &Path) -> Result<(Self, File), Error> {
        if target.try_exists().map_err(|e| failed(target, &e))? {
            return Err(Error::BackupExists { path: target.to_path_buf() });
        }
        let mut tag = [0; 8];
        getrandom::fill(&mut tag).map_err(|e| Error::Internal { reason: e.to_string() })?;
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".{}.part", data_encoding::HEXLOWER.encode(&tag)));
        let path = target.with_file_name(name);
        let file =
            profile::private_file().create_new(true).open(&path).map_err(|e| failed(target, &e))?;
        Ok((Self { path, kept: false }, file))
    }

    /// Gives it its name, if that is still free.
    fn keep(mut self, target: &Path) -> Result<(), Error> {
        match fs::hard_link(&self.path, target) {
            // The name that it was written under goes with `self`.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::BackupExists { path: target.to_path_buf() });
            }
            // File systems without hard links, such as those of memory sticks.
            Err(_) => {
                if target.try_exists().map_err(|e| failed(target, &e))? {
                    return Err(Error::BackupExists { path: target.to_path_buf() });
                }
                fs::rename(&self.path, target).map_err(|e| failed(target, &e))?;
                self.kept = true;
            }
        }
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        keyslot::sync_dir(folder.unwrap_or_else(|| Path::new(".")))
    }
}

/// A backup that is being written.
struct Writing {
    writer: BackupWriter<BufWriter<File>>,
    part: Part,
    contacts: u64,
    messages: u64,
}

impl Writing {
    fn begin(target: &Path, key: &RecoveryKey) -> Result<Self, Error> {
        let (part, file) = Part::create(target)?;
        let writer = BackupWriter::begin(BufWriter::new(file), &key.0, &mut UnwrapErr(SysRng))?;
        Ok(Self { writer, part, contacts: 0, messages: 0 })
    }

    fn write(mut self, records: &[Record]) -> Result<Self, Error> {
        for record in records {
            self.writer.write(record)?;
            self.contacts = self.contacts.saturating_add(u64::from(record.is_contact()));
            self.messages = self.messages.saturating_add(u64::from(record.is_message()));
        }
        Ok(self)
    }

    fn finish(self, target: &Path, made: UnixMillis) -> Result<BackupReport, Error> {
        let mut out = self.writer.finish()?;
        out.flush().map_err(|e| failed(target, &e))?;
        let file = out.into_inner().map_err(|e| failed(target, e.error()))?;
        file.sync_all().map_err(|e| failed(target, &e))?;
        let bytes = file.metadata().map_err(|e| failed(target, &e))?.len();
        self.part.keep(target)?;
        Ok(BackupReport { contacts: self.contacts, messages: self.messages, bytes, made })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::Internal { reason: e.to_string() })?
}

impl Client {
    /// Writes a backup into a new file: account, contacts and history, encrypted under the recovery
    /// key. The profile can be used meanwhile. `progress` is told how much is done, of how much.
    ///
    /// Neither this device's keys nor any state of a session is in it: restoring it makes another
    /// device, which takes this one's place. Received files are not in it either.
    ///
    /// # Errors
    /// [`Error::BackupExists`] if there is something of that name (nothing is overwritten),
    /// [`Error::BackupFailed`] if the file can't be written. Nothing is left behind then.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// let key = undertone::RecoveryKey::generate();
    /// client.export_backup("ada.backup", &key, |done, total| println!("{done}/{total}")).await?;
    /// println!("write this down, it is not shown again: {}", *key.to_text());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn export_backup(
        &self,
        path: impl AsRef<Path>,
        key: &RecoveryKey,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<BackupReport, Error> {
        let target = path.as_ref().to_path_buf();
        // Beginning writes 82 bytes.
        let mut writing = Writing::begin(&target, key)?;
        let now = self.core().now();
        let mut at = Export::begin();
        loop {
            let page = self.core().ask(move |e| {
                let records = e.export(&mut at, now)?;
                Ok((at, records))
            });
            let (next, records) = page.await?;
            at = next;
            let Some(records) = records else { break };
            writing = blocking(move || writing.write(&records)).await?;
            let (done, total) = at.progress();
            progress(done, total);
        }
        blocking(move || writing.finish(&target, now)).await
    }
}

impl Builder {
    /// Makes a profile out of a backup, in a directory that has none. It is a new device of the same
    /// account: conversations go on by themselves with the next [`Client::sync`], and the device
    /// that the backup was made on must not be used any more. `progress` is told how much of the file
    /// was read, of how much.
    ///
    /// # Errors
    /// [`Error::BackupNotRecognised`], [`Error::BackupWrongKey`], [`Error::BackupTruncated`],
    /// [`Error::BackupDamaged`], [`Error::BackupTooNew`], [`Error::BackupInvalid`],
    /// [`Error::BackupFailed`]; [`Error::ProfileExists`]; those of [`Builder::create`]. Nothing is
    /// left behind then, and nothing is overwritten.
    ///
    /// ```no_run
    /// # async fn example(key: undertone::RecoveryKey) -> Result<(), undertone::Error> {
    /// use undertone::{Client, Secret};
    ///
    /// let builder = Client::builder("profile").secret(Secret::passphrase("a new one"));
    /// let (client, report) = builder.restore("ada.backup", &key, |_, _| {}).await?;
    /// println!("{} messages are back", report.messages);
    /// client.sync().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn restore(
        self,
        path: impl AsRef<Path>,
        key: &RecoveryKey,
        progress: impl FnMut(u64, u64) + Send + 'static,
    ) -> Result<(Client, BackupReport), Error> {
        self.check()?;
        let (reader, total) = open(path.as_ref(), key)?;
        let Self { dir, secret, clock, .. } = &self;
        let (dir, now) = (dir.clone(), clock.now());
        let secret = secret.duplicate();
        let made = blocking(move || {
            profile::create_from(&dir, &secret, |store| {
                restore(store, reader, total, now, progress)
            })
        });
        let (profile, restored) = made.await?;
        let client = Client::over(profile, self.clock.clone(), network::Settings::of(&self))?;
        Ok((client, report(restored, total)))
    }
}

fn report(restored: Restored, bytes: u64) -> BackupReport {
    let Restored { contacts, messages, made, .. } = restored;
    BackupReport { contacts, messages, bytes, made }
}

/// Opens a backup and reads its head; with the length of the file.
fn open(path: &Path, key: &RecoveryKey) -> Result<(BackupReader<BufReader<File>>, u64), Error> {
    let file = File::open(path).map_err(|e| failed(path, &e))?;
    let total = file.metadata().map_err(|e| failed(path, &e))?.len();
    Ok((BackupReader::open(BufReader::new(file), &key.0)?, total))
}

/// Fills an empty store.
fn restore(
    store: SqliteStore,
    mut reader: BackupReader<BufReader<File>>,
    total: u64,
    now: UnixMillis,
    mut progress: impl FnMut(u64, u64),
) -> Result<(ProfileEngine, Restored), Error> {
    let mut restorer = Restorer::new(store, UnwrapErr(SysRng), now);
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(record) = reader.next_record()? {
        batch.push(record);
        if batch.len() == BATCH {
            restorer.put(std::mem::take(&mut batch))?;
            progress(reader.read(), total);
        }
    }
    restorer.put(batch)?;
    progress(total, total);
    Ok(restorer.finish()?)
}

/// Reads a backup from beginning to end, without restoring it: whether the key is right, the file
/// whole, and nothing in it contradicts itself.
///
/// # Errors
/// Those of [`Builder::restore`] that concern the backup.
///
/// ```no_run
/// # async fn example(key: undertone::RecoveryKey) -> Result<(), undertone::Error> {
/// undertone::check_backup("ada.backup", &key, |_, _| {}).await?;
/// # Ok(())
/// # }
/// ```
pub async fn check_backup(
    path: impl AsRef<Path>,
    key: &RecoveryKey,
    mut progress: impl FnMut(u64, u64) + Send + 'static,
) -> Result<BackupReport, Error> {
    let (mut reader, bytes) = open(path.as_ref(), key)?;
    let check = move || {
        let mut report = BackupReport { contacts: 0, messages: 0, bytes, made: UnixMillis::new(0) };
        let mut check = BackupCheck::new(UnwrapErr(SysRng), SystemClock.now());
        let mut seen = 0_usize;
        while let Some(record) = reader.next_record()? {
            report.contacts = report.contacts.saturating_add(u64::from(record.is_contact()));
            report.messages = report.messages.saturating_add(u64::from(record.is_message()));
            report.made = record.made().unwrap_or(report.made);
            check.put(vec![record])?;
            seen = seen.saturating_add(1);
            if seen.is_multiple_of(BATCH) {
                progress(reader.read(), bytes);
            }
        }
        check.finish()?;
        progress(bytes, bytes);
        Ok(report)
    };
    blocking(check).await
}

impl From<BackupError> for Error {
    fn from(error: BackupError) -> Self {
        let reason = error.to_string();
        match error {
            BackupError::NotABackup => Self::BackupNotRecognised,
            BackupError::WrongKey => Self::BackupWrongKey,
            BackupError::Truncated => Self::BackupTruncated,
            BackupError::TooNew { found } => {
                Self::BackupTooNew { found, known: undertone_session::backup::BACKUP_VERSION }
            }
            BackupError::HeadDamaged | BackupError::Damaged { .. } | BackupError::Surplus => {
                Self::BackupDamaged { reason }
            }
            BackupError::Io { reason } => Self::BackupFailed { reason },
            _ => Self::BackupInvalid { reason },
        }
    }
}

impl From<RecoveryKeyError> for Error {
    fn from(error: RecoveryKeyError) -> Self {
        Self::RecoveryKeyMalformed { reason: error.to_string() }
    }
}
