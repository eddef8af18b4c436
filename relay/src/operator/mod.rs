//! What operators do: keep the relay's identity, look into the store, hand out tokens.

mod audit;
mod backup;
mod identity;
mod inspect;
mod inventory;
pub mod monitor;
pub mod root;
mod subject;
mod succession;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::store::StoreFailure;

pub use audit::{audit_log, check, record, verify_audit};
pub use backup::{BackedUp, BackupError, Restored, Source, backup, restore};
pub(crate) use identity::{Identity, Leaf};
pub use inspect::{Field, Record, StoreDump, Table, inspect};
pub use inventory::{IN_MEMORY, Inventory, InventoryEntry, NEVER_KEPT, UNDESCRIBED, inventory};
pub use subject::{Claim, erase, export};

/// Where things are in a relay's directory.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of a relay's directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { root: directory.to_owned() }
    }

    /// Databases.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// What is to become [`Self::store`], while a restore is under way.
    #[must_use]
    pub fn restoring(&self) -> PathBuf {
        self.root.join("restoring")
    }

    /// Blobs, a file each.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// The root key.
    #[must_use]
    pub fn root_key(&self) -> PathBuf {
        self.root.join("root.key")
    }

    /// What former root keys signed for their successors.
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        self.root.join("roots.pem")
    }

    /// A root key that takes the place of the present one.
    #[must_use]
    pub fn next_root_key(&self) -> PathBuf {
        self.root.join("root-next.key")
    }

    /// The leaf key and its certificates, where the root key is kept elsewhere.
    #[must_use]
    pub fn leaf(&self) -> PathBuf {
        self.root.join("leaf.pem")
    }

    /// A leaf key for which a certificate was asked.
    #[must_use]
    pub fn next_leaf(&self) -> PathBuf {
        self.root.join("leaf-next.key")
    }

    /// Marks connections as this relay's.
    #[must_use]
    pub fn transport_key(&self) -> PathBuf {
        self.root.join("transport.key")
    }

    /// Keys that seal subscription tickets.
    #[must_use]
    pub fn ticket_keys(&self) -> PathBuf {
        self.root.join("tickets.key")
    }

    /// Held by the process that uses the directory.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Host and port that clients were last told, so that operator commands can name the relay.
    #[must_use]
    pub fn address(&self) -> PathBuf {
        self.root.join("address")
    }
}

/// Bytes from hexadecimal digits; `None` unless there are exactly as many as it takes.
pub(crate) fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N.checked_mul(2)? || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Makes a directory that only the owner can enter, unless it is there.
pub(crate) fn private_directory(path: &Path) -> Result<(), StoreFailure> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    Ok(builder.create(path)?)
}

/// The same, durably: it is there after a power failure, and so is what leads to it.
pub(crate) fn durable_directory(path: &Path) -> Result<(), StoreFailure> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
    private_directory(path)?;
    for made in &missing {
        sync_parent(made)?;
    }
    if missing.is_empty() {
        // It may have been made a moment ago. What is not to be looked at was made by somebody else.
        match sync_parent(path) {
            Err(StoreFailure::File(error)) if error.kind() == ErrorKind::PermissionDenied => {}
            other => other?,
        }
    }
    Ok(())
}

/// Makes the name of a file or directory durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), StoreFailure> {
    use crate::store::sqlite::schema::sync_directory;
    match path.parent() {
        None => Ok(()),
        Some(here) if here.as_os_str().is_empty() => sync_directory(Path::new(".")),
        Some(parent) => sync_directory(parent),
    }
}

/// Writes a file that only the owner can read: whole or not at all, and durably.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), StoreFailure> {
    use std::io::Write as _;
    let temporary = path.with_extension("new");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    sync_parent(path)
}

/// Reads a file; `None` if there is none.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StoreFailure> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
