//! The profile directory: who may open it, and how it comes into being.
//!
//! | name | what |
//! |---|---|
//! | `keyslot` | the store's key, wrapped ([`crate::keyslot`]); what makes a directory a profile |
//! | `store.db` | the encrypted store |
//! | `lock` | held by the process that has the profile open |
//! | `blobs/` | ciphertext of files on their way |
//! | `files/` | files that were received |
//! | `creating/` | a profile that was being made when the program ended |

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use getrandom::SysRng;
use undertone_core::rand_core::UnwrapErr;
use undertone_session::engine::Engine;
use undertone_session::ids::UnixMillis;
use undertone_session::store::StoreError;
use undertone_wire::JoinAddress;

use crate::builder::Secret;
use crate::error::Error;
use crate::keyslot::{self, StoreKey};
use crate::store::SqliteStore;

/// The engine as this crate runs it.
pub(crate) type ProfileEngine = Engine<SqliteStore, UnwrapErr<SysRng>>;

const KEYSLOT: &str = "keyslot";
const STORE: &str = "store.db";
const LOCK: &str = "lock";
const CREATING: &str = "creating";

/// An open profile directory. The lock goes with it.
pub(crate) struct Profile {
    pub(crate) dir: PathBuf,
    pub(crate) engine: ProfileEngine,
    pub(crate) lock: File,
}

fn failed(what: &Path, error: &io::Error) -> Error {
    Error::StoreFailed { reason: format!("{}: {error}", what.display()) }
}

pub(crate) fn blobs(dir: &Path) -> PathBuf {
    dir.join("blobs")
}

pub(crate) fn store(dir: &Path) -> PathBuf {
    dir.join(STORE)
}

pub(crate) fn files(dir: &Path) -> PathBuf {
    dir.join("files")
}

/// Makes a directory that its owner alone can look into.
pub(crate) fn private_dir(dir: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|e| failed(dir, &e))
}

/// How to open a file for writing that, if it is made, its owner alone can read.
pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// One process at a time: two would use ratchet keys twice.
fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join(LOCK);
    let mut options = private_file();
    let file = options.create(true).truncate(false).open(&path).map_err(|e| failed(&path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::StoreLocked),
        Err(TryLockError::Error(e)) => Err(failed(&path, &e)),
    }
}

fn exists(path: &Path) -> Result<bool, Error> {
    path.try_exists().map_err(|e| failed(path, &e))
}

/// Makes a profile with a new account.
pub(crate) fn create(
    dir: &Path,
    secret: &Secret,
    name: &str,
    join: &JoinAddress,
    now: UnixMillis,
) -> Result<Profile, Error> {
    let fill = |store| Ok((Engine::create(store, UnwrapErr(SysRng), now, name, join)?, ()));
    create_from(dir, secret, fill).map(|(profile, ())| profile)
}

/// Makes a profile of what fills its empty store. Everything is made aside and moved into place, the
/// key slot last: either there is a whole profile afterwards or none.
pub(crate) fn create_from<T>(
    dir: &Path,
    secret: &Secret,
    fill: impl FnOnce(SqliteStore) -> Result<(ProfileEngine, T), Error>,
) -> Result<(Profile, T), Error> {
    let fresh = !exists(dir)?;
    private_dir(dir)?;
    let lock = lock(dir)?;
    if exists(&dir.join(KEYSLOT))? {
        return Err(Error::ProfileExists { dir: dir.to_path_buf() });
    }
    let aside = dir.join(CREATING);
    if exists(&dir.join(STORE))? && !exists(&aside.join(KEYSLOT))? {
        return Err(slot_missing());
    }
    let made = make(dir, &aside, secret, fill);
    if made.is_err() {
        // Nothing of it was used; an empty directory of ours goes too.
        let _ = fs::remove_dir_all(&aside);
        if fresh {
            let _ = fs::remove_file(dir.join(LOCK));
            let _ = fs::remove_dir(dir);
        }
    }
    let (key, filled) = made?;
    let engine = open_engine(dir, &key)?;
    prepare_dirs(dir)?;
    Ok((Profile { dir: dir.to_path_buf(), engine, lock }, filled))
}

fn make<T>(
    dir: &Path,
    aside: &Path,
    secret: &Secret,
    fill: impl FnOnce(SqliteStore) -> Result<(ProfileEngine, T), Error>,
) -> Result<(StoreKey, T), Error> {
    if exists(aside)? {
        // A store whose key slot is still aside has never been used.
        let store = dir.join(STORE);
        if exists(&store)? {
            fs::remove_file(&store).map_err(|e| failed(&store, &e))?;
        }
        fs::remove_dir_all(aside).map_err(|e| failed(aside, &e))?;
    }
    private_dir(aside)?;
    let (key, slot) = keyslot::create(secret)?;
    let store = SqliteStore::create(&aside.join(STORE), &key).map_err(store_failed)?;
    let (engine, filled) = fill(store)?;
    engine.into_store().close().map_err(store_failed)?;
    keyslot::write(&aside.join(KEYSLOT), &slot)?;
    keyslot::sync_dir(aside)?;
    for file in [STORE, KEYSLOT] {
        fs::rename(aside.join(file), dir.join(file)).map_err(|e| failed(dir, &e))?;
        keyslot::sync_dir(dir)?;
    }
    let _ = fs::remove_dir_all(aside);
    Ok((key, filled))
}

fn slot_missing() -> Error {
    Error::KeyslotUnreadable { reason: "it is missing beside a store".to_owned() }
}

fn store_failed(error: StoreError) -> Error {
    Error::from(error)
}

/// Opens a profile; nothing is changed if that fails.
pub(crate) fn open(dir: &Path, secret: &Secret) -> Result<Profile, Error> {
    let Some(slot) = keyslot::read(&dir.join(KEYSLOT))? else {
        // A store without its key slot is a profile that can't be read, not the lack of one; only
        // while a profile is being made its key slot is still aside.
        if exists(&dir.join(STORE))? && !exists(&dir.join(CREATING).join(KEYSLOT))? {
            return Err(slot_missing());
        }
        return Err(Error::ProfileAbsent { dir: dir.to_path_buf() });
    };
    let lock = lock(dir)?;
    let key = keyslot::open(&slot, secret)?;
    let mut engine = open_engine(dir, &key)?;
    engine.recover()?;
    prepare_dirs(dir)?;
    Ok(Profile { dir: dir.to_path_buf(), engine, lock })
}

fn open_engine(dir: &Path, key: &StoreKey) -> Result<ProfileEngine, Error> {
    let path = dir.join(STORE);
    if !exists(&path)? {
        return Err(Error::StoreCorrupt { reason: "the file store.db is missing".to_owned() });
    }
    let store = SqliteStore::open(&path, key).map_err(store_failed)?;
    Ok(Engine::open(store, UnwrapErr(SysRng))?)
}

fn prepare_dirs(dir: &Path) -> Result<(), Error> {
    private_dir(&blobs(dir))?;
    private_dir(&files(dir))
}
