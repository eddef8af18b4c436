//! Backups of a running relay, and relays made from them.
//!
//! ```text
//! DIR/data/manifest.json      every file in data/ with its length and SHA-256
//! DIR/data/relay.db           mailboxes, capabilities, depots, blob records, tokens, audit log
//! DIR/data/queue-DAY.db       envelopes, unreadable without their day's key
//! DIR/data/blobs/ID           whole blobs
//! DIR/keys/day-keys           the keys of the days that have not passed
//! DIR/identity/root.key       what makes the relay this relay
//! DIR/identity/roots.pem      what former root keys signed for their successors, if there are any
//! ```
//!
//! The three are to be kept apart. Data alone shows no envelope; when a day's key has been destroyed
//! wherever it was kept, that day's envelopes are gone from every backup too.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use undertone_wire::{Day, Incarnation};

use super::{Layout, durable_directory, hex, read_if_there, write_private};
use crate::store::audit::Action;
use crate::store::sqlite::schema::sync_directory;
use crate::store::sqlite::{DayKey, Snapshot, SqliteStore, is_whole};
use crate::store::{Disk, DiskLimits, StoreFailure, SystemDisk};

/// Raised when files get another meaning.
const FORMAT: u32 = 1;

/// Bytes that are copied at a time.
const PIECE: usize = 64 * 1024;

/// Largest manifest and key file that are read: a file for each of a few million blobs.
const MOST: u64 = 1 << 30;

#[derive(Serialize, Deserialize)]
struct Manifest {
    format: u32,
    day: u32,
    files: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    bytes: u64,
    sha256: String,
}

/// What a backup has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackedUp {
    /// Files of data.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Day keys.
    pub keys: usize,
    /// Whether the root key is in it.
    pub identity: bool,
}

/// What a restored relay has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// Scopes its sequence numbers and floors.
    pub incarnation: Incarnation,
    /// Days whose envelopes are there.
    pub days: usize,
    /// Days whose envelopes were left out, since there was no key for them.
    pub unreadable_days: usize,
    /// Depots, all of them empty until their owners fill them.
    pub depots: usize,
    /// Blobs.
    pub blobs: usize,
    /// Whether it has its root key. Without one it does not start.
    pub identity: bool,
}

/// Why a backup could not be made or used.
#[derive(Debug)]
#[non_exhaustive]
pub enum BackupError {
    /// The store.
    Store(StoreFailure),
    /// There is something where the backup, or the restored relay, was to go.
    NotEmpty(PathBuf),
    /// There is not enough room for it: bytes that it takes and bytes that it may take.
    NoRoom(u64, u64),
    /// There is no backup there.
    NoBackup(PathBuf),
    /// A file of the backup is not what was written; its name.
    Damaged(String),
    /// Made by a version that this one does not know.
    Format(u32),
}

impl core::fmt::Display for BackupError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Store(failure) => failure.fmt(f),
            Self::NotEmpty(path) => {
                write!(
                    f,
                    "{} is not empty; give a directory that is empty or not there",
                    path.display()
                )
            }
            Self::NoRoom(needed, room) => write!(
                f,
                "the backup takes about {needed} bytes and finds room for {room} there; nothing was written. On the relay's own file system {} bytes stay free",
                DiskLimits::FREE_FLOOR
            ),
            Self::NoBackup(path) => write!(f, "there is no backup in {}", path.display()),
            Self::Damaged(name) => {
                write!(f, "the backup's {name} is missing or damaged; nothing was restored")
            }
            Self::Format(format) => write!(
                f,
                "the backup has format {format}, which this version does not know; use a newer undertone-relay"
            ),
        }
    }
}

impl std::error::Error for BackupError {}

impl<E: Into<StoreFailure>> From<E> for BackupError {
    fn from(error: E) -> Self {
        Self::Store(error.into())
    }
}

fn empty(path: &Path) -> Result<(), BackupError> {
    durable_directory(path)?;
    if std::fs::read_dir(path)?.next().is_some() {
        return Err(BackupError::NotEmpty(path.to_owned()));
    }
    Ok(())
}

/// Copies a file in pieces, durably; its length and hash. `None` if there is none.
fn copy(from: &Path, to: &Path) -> Result<Option<(u64, [u8; 32])>, StoreFailure> {
    let mut source = match File::open(from) {
        Ok(source) => source,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut target = options.open(to)?;
    let measured = measure(&mut source, |piece| target.write_all(piece))?;
    target.sync_all()?;
    Ok(Some(measured))
}

/// Length and SHA-256 of a file, each piece of which is shown.
fn measure(
    file: &mut File,
    mut each: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<(u64, [u8; 32]), StoreFailure> {
    let (mut hash, mut length) = (Context::new(&SHA256), 0_u64);
    let mut piece = vec![0; PIECE];
    loop {
        let count = file.read(&mut piece)?;
        let bytes = piece.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            // SHA-256 has 32 bytes.
            return Ok((length, hash.finish().as_ref().first_chunk().copied().unwrap_or_default()));
        }
        hash.update(bytes);
        each(bytes)?;
        length = length.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a backup of a relay, which may be running: all of one moment. The operator's log says so,
/// also the one in the backup.
///
/// # Errors
/// [`BackupError`]; what was written so far stays, without a manifest.
pub fn backup(directory: &Path, to: &Path, today: Day) -> Result<BackedUp, BackupError> {
    backup_on(&SystemDisk, directory, to, today)
}

/// Refuses a backup for which there is no room. It would be of no use, and on the relay's own file system
/// it would take the room that the relay needs for what must always work.
fn check_room(disk: &dyn Disk, layout: &Layout, to: &Path) -> Result<(), BackupError> {
    let mut needed = 0_u64;
    for part in [layout.store(), layout.blobs()] {
        for file in std::fs::read_dir(part).into_iter().flatten() {
            // One that goes meanwhile takes no room.
            needed = needed.saturating_add(file?.metadata().map_or(0, |file| file.len()));
        }
    }
    let kept = if on_one_file_system(&layout.store(), to)? { DiskLimits::FREE_FLOOR } else { 0 };
    let room = disk.free(to)?.saturating_sub(kept);
    if needed > room { Err(BackupError::NoRoom(needed, room)) } else { Ok(()) }
}

#[cfg(unix)]
fn on_one_file_system(one: &Path, other: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(std::fs::metadata(one)?.dev() == std::fs::metadata(other)?.dev())
}

/// Not known here, so the careful answer.
#[cfg(not(unix))]
fn on_one_file_system(_: &Path, _: &Path) -> std::io::Result<bool> {
    Ok(true)
}

fn backup_on(
    disk: &dyn Disk,
    directory: &Path,
    to: &Path,
    today: Day,
) -> Result<BackedUp, BackupError> {
    let layout = Layout::new(directory);
    empty(to)?;
    check_room(disk, &layout, to)?;
    super::record(directory, today, Action::BackedUp)?;
    let (data, keys, identity) = (to.join("data"), to.join("keys"), to.join("identity"));
    for path in [&data, &data.join("blobs"), &keys, &identity] {
        durable_directory(path)?;
    }
    let snapshot = Snapshot::take(&layout.store())?;
    let (blobs, day_keys) = (snapshot.blobs()?, snapshot.keys().to_vec());
    let mut files = Vec::new();
    for name in snapshot.write(&data)? {
        let (bytes, hash) = measure(&mut File::open(data.join(&name))?, |_| Ok(()))?;
        files.push(Entry { name, bytes, sha256: hexadecimal(&hash) });
    }
    for blob in blobs {
        let name = format!("blobs/{blob}");
        // One that is still being uploaded, or was deleted a moment ago, has no file.
        if let Some((bytes, hash)) =
            copy(&layout.blobs().join(blob.to_string()), &data.join(&name))?
        {
            files.push(Entry { name, bytes, sha256: hexadecimal(&hash) });
        }
    }
    sync_directory(&data.join("blobs"))?;
    write_private(&keys.join("day-keys"), day_keys_text(&day_keys).as_bytes())?;
    let root = read_if_there(&layout.root_key())?;
    if let Some(root) = &root {
        write_private(&identity.join("root.key"), root)?;
    }
    // Without it addresses that name an earlier root would be lost with a restore.
    let roots = read_if_there(&layout.roots())?;
    if let Some(roots) = &roots {
        write_private(&identity.join("roots.pem"), roots)?;
    }
    let made = BackedUp {
        files: files.len(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        keys: day_keys.len(),
        identity: root.is_some(),
    };
    // Last, so that what has a manifest is whole.
    let manifest = Manifest { format: FORMAT, day: today.get(), files };
    let text = serde_json::to_vec_pretty(&manifest).map_err(std::io::Error::other)?;
    write_private(&data.join("manifest.json"), &text)?;
    Ok(made)
}

/// A line for each day, `DAY KEY`, and a line `sum SHA-256` over those before it.
fn day_keys_text(keys: &[DayKey]) -> String {
    let mut text = String::new();
    for (day, key) in keys {
        text.push_str(&format!("{} {}\n", day.get(), hexadecimal(key)));
    }
    let sum = aws_lc_rs::digest::digest(&SHA256, text.as_bytes());
    text.push_str(&format!("sum {}\n", hexadecimal(sum.as_ref())));
    text
}

fn parse_day_keys(text: &str) -> Option<Vec<DayKey>> {
    let (lines, sum) = text.trim_end().rsplit_once("sum ")?;
    let actual = aws_lc_rs::digest::digest(&SHA256, lines.as_bytes());
    if hex::<32>(sum)?.as_slice() != actual.as_ref() {
        return None;
    }
    let key = |line: &str| {
        let (day, key) = line.split_once(' ')?;
        Some((Day::new(day.parse().ok()?), hex(key)?))
    };
    lines.lines().map(key).collect()
}

fn read_text(path: &Path) -> Result<Option<String>, BackupError> {
    let name = || BackupError::Damaged(path.display().to_string());
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
        Ok(metadata) if metadata.len() > MOST => return Err(name()),
        Ok(_) => {}
    }
    let bytes = read_if_there(path)?.unwrap_or_default();
    String::from_utf8(bytes).map(Some).map_err(|_| name())
}

/// Where a backup's parts are.
#[derive(Clone, Debug)]
pub struct Source {
    /// The directory `data`.
    pub data: PathBuf,
    /// The file of day keys, if there is one. Without it no envelope is restored.
    pub keys: PathBuf,
    /// The root key, if there is one.
    pub root_key: PathBuf,
}

impl Source {
    /// The parts of a backup that is still in one place.
    #[must_use]
    pub fn whole(directory: &Path) -> Self {
        Self {
            data: directory.join("data"),
            keys: directory.join("keys/day-keys"),
            root_key: directory.join("identity/root.key"),
        }
    }
}

/// Makes a relay in an empty directory from a backup: a new incarnation, so that clients notice that
/// time went back, with empty depots, which their owners fill again.
///
/// # Errors
/// [`BackupError`]; everything is checked before anything is made, and what was made before a later
/// failure is no relay that starts.
pub fn restore(source: &Source, directory: &Path, today: Day) -> Result<Restored, BackupError> {
    restore_in_steps(source, directory, today, &mut || Ok(()))
}

/// `step` is called before each step that changes something; tests stop there.
fn restore_in_steps(
    source: &Source,
    directory: &Path,
    today: Day,
    step: &mut dyn FnMut() -> Result<(), StoreFailure>,
) -> Result<Restored, BackupError> {
    let manifest = read_text(&source.data.join("manifest.json"))?
        .ok_or_else(|| BackupError::NoBackup(source.data.clone()))?;
    let damaged = |name: &str| BackupError::Damaged(name.to_owned());
    let manifest: Manifest =
        serde_json::from_str(&manifest).map_err(|_| damaged("manifest.json"))?;
    if manifest.format != FORMAT {
        return Err(BackupError::Format(manifest.format));
    }
    let keys = match read_text(&source.keys)? {
        Some(text) => parse_day_keys(&text).ok_or_else(|| damaged("day-keys"))?,
        None => Vec::new(),
    };
    // R-1207
    for entry in &manifest.files {
        check_entry(&source.data, entry)?;
    }
    empty(directory)?;
    let layout = Layout::new(directory);
    // Under another name until it is whole. While that is there no relay starts: it must be durable
    // before anything else is, and go last.
    let store = layout.restoring();
    step()?;
    durable_directory(&store)?;
    step()?;
    durable_directory(&layout.blobs())?;
    step()?;
    let root = read_if_there(&source.root_key)?;
    if let Some(root) = &root {
        write_private(&layout.root_key(), root)?;
    }
    let roots = source.root_key.with_file_name("roots.pem");
    if let Some(roots) = read_if_there(&roots)? {
        write_private(&layout.roots(), &roots)?;
    }
    let mut blobs = 0_usize;
    for entry in &manifest.files {
        let target = match entry.name.strip_prefix("blobs/") {
            Some(blob) => {
                blobs = blobs.saturating_add(1);
                layout.blobs().join(blob)
            }
            None => store.join(&entry.name),
        };
        step()?;
        let copied = copy(&source.data.join(&entry.name), &target)?;
        if copied.map(|(_, hash)| hexadecimal(&hash)).as_ref() != Some(&entry.sha256) {
            return Err(damaged(&entry.name));
        }
    }
    sync_directory(&layout.blobs())?;
    step()?;
    let revived = SqliteStore::revive(&store, today, &keys)?;
    step()?;
    std::fs::rename(&store, layout.store())?;
    sync_directory(directory)?;
    Ok(Restored {
        incarnation: revived.incarnation,
        days: revived.readable,
        unreadable_days: revived.unreadable,
        depots: revived.depots,
        blobs,
        identity: root.is_some(),
    })
}

/// A file of a backup: a name that leads nowhere else, and what was written (R-1207).
fn check_entry(data: &Path, entry: &Entry) -> Result<(), BackupError> {
    let damaged = || BackupError::Damaged(entry.name.clone());
    let blob = entry.name.strip_prefix("blobs/");
    let is_blob = blob.is_some_and(|id| hex::<32>(id).is_some());
    let is_queue = entry
        .name
        .strip_prefix("queue-")
        .and_then(|name| name.strip_suffix(".db")?.parse::<u32>().ok())
        .is_some();
    if !is_blob && !is_queue && entry.name != "relay.db" {
        return Err(damaged());
    }
    let path = data.join(&entry.name);
    let mut file = File::open(&path).map_err(|_| damaged())?;
    let (bytes, hash) = measure(&mut file, |_| Ok(()))?;
    if bytes != entry.bytes || hexadecimal(&hash) != entry.sha256 {
        return Err(damaged());
    }
    if !is_blob && !is_whole(&path)? {
        return Err(damaged());
    }
    Ok(())
}

/// How many whole blobs are not what was announced.
pub(super) fn damaged_blobs(layout: &Layout) -> Result<usize, StoreFailure> {
    let mut damaged = 0_usize;
    for (id, length, hash) in crate::store::sqlite::blob_records(&layout.store())? {
        let mut file = match File::open(layout.blobs().join(id.to_string())) {
            Ok(file) => file,
            // Not uploaded yet, or deleted meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        if measure(&mut file, |_| Ok(()))? != (length, hash) {
            damaged = damaged.saturating_add(1);
        }
    }
    Ok(damaged)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::relay::StartError;
    use crate::{Config, Relay};

    const TODAY: Day = Day::new(20_000);

    fn config(directory: &Path) -> Config {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            ..Config::new(directory.to_owned())
        }
    }

    /// Everything below a directory, except the lock that whoever looks takes.
    fn names(directory: &Path) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                all.extend(names(&path));
            }
            if path.file_name().unwrap() != "lock" {
                all.push(path);
            }
        }
        all.sort();
        all
    }

    /// So many bytes are free.
    struct Free(u64);

    impl Disk for Free {
        fn free(&self, _: &Path) -> std::io::Result<u64> {
            Ok(self.0)
        }
    }

    #[tokio::test]
    async fn a_backup_leaves_the_relay_its_room() {
        let place = tempfile::tempdir().unwrap();
        let (old, to) = (place.path().join("old"), place.path().join("backup"));
        Relay::start(config(&old)).await.unwrap().shutdown().await.unwrap();
        let refused = backup_on(&Free(DiskLimits::FREE_FLOOR), &old, &to, TODAY);
        assert!(matches!(refused, Err(BackupError::NoRoom(_, 0))), "{refused:?}");
        assert!(names(&to).is_empty());
        backup_on(&Free(2 * DiskLimits::FREE_FLOOR), &old, &to, TODAY).unwrap();
    }

    #[tokio::test]
    async fn a_restore_that_was_cut_off_anywhere_is_no_relay_that_starts() {
        let place = tempfile::tempdir().unwrap();
        let (old, to) = (place.path().join("old"), place.path().join("backup"));
        Relay::start(config(&old)).await.unwrap().shutdown().await.unwrap();
        backup(&old, &to, TODAY).unwrap();
        // Without its root key a directory looks like a first start even more.
        for root_key in [to.join("identity/root.key"), to.join("nothing")] {
            let source = Source { root_key, ..Source::whole(&to) };
            let mut stop_at = 0;
            loop {
                let directory = place.path().join("new");
                let mut left = stop_at;
                let restored = restore_in_steps(&source, &directory, TODAY, &mut || {
                    if left == 0 {
                        return Err(StoreFailure::Random);
                    }
                    left -= 1;
                    Ok(())
                });
                if restored.is_ok() {
                    break;
                }
                let before = names(&directory);
                if stop_at == 0 {
                    // Nothing was made yet, so that whoever starts there begins anew.
                    assert!(before.is_empty());
                } else {
                    let started = Relay::start(config(&directory)).await.map(|_| ());
                    let refused =
                        matches!(started, Err(StartError::Store(StoreFailure::HalfRestored)));
                    assert!(refused, "stopped at step {stop_at}: {started:?}");
                    assert_eq!(names(&directory), before, "stopped at step {stop_at}");
                }
                std::fs::remove_dir_all(&directory).unwrap();
                stop_at += 1;
            }
            assert!(stop_at > 5, "{stop_at} steps");
            let directory = place.path().join("new");
            if source.root_key.exists() {
                let relay = Relay::start(config(&directory)).await.unwrap();
                relay.shutdown().await.unwrap();
            }
            std::fs::remove_dir_all(&directory).unwrap();
        }
    }
}
