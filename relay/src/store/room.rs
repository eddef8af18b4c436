//! Room on the disk: what is refused before the disk is full, so that what must always work does.
//!
//! Two bounds hold for everything that makes the relay's files grow. The *free floor* is how much
//! of the file system stays free: acknowledgements, deletions and expiry write as well, and a
//! database that finds no room in the middle of a commit ends the relay. The *quota* is how much
//! the relay's own files may hold together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use undertone_wire::ErrorCode;

/// Free space of a file system.
pub trait Disk: Send + Sync {
    /// Bytes that are free for this process on the file system of a path.
    ///
    /// # Errors
    /// What the system reports.
    fn free(&self, path: &Path) -> std::io::Result<u64>;
}

/// The system's.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    #[cfg(unix)]
    fn free(&self, path: &Path) -> std::io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Not known elsewhere: only the quota holds there.
    #[cfg(not(unix))]
    fn free(&self, _: &Path) -> std::io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// One that is never full: for tests, which must not depend on the machine's.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndlessDisk;

impl Disk for EndlessDisk {
    fn free(&self, _: &Path) -> std::io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// How much of the disk the relay may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskLimits {
    /// Bytes that the relay's databases and blobs may hold together; `None` is no bound.
    pub quota: Option<u64>,
    /// Bytes that stay free on the file system.
    pub free_floor: u64,
}

impl DiskLimits {
    /// Unless configured otherwise. A commit of 256 of the largest envelopes is 16 MiB, written
    /// first to the WAL and then to the database, and several files may have a WAL: with 256 MiB
    /// everything that frees room can run.
    pub const FREE_FLOOR: u64 = 256 << 20;
}

impl Default for DiskLimits {
    fn default() -> Self {
        Self { quota: None, free_floor: Self::FREE_FLOOR }
    }
}

/// How much room there is; shared by the store and by who writes blobs.
pub(crate) struct Room {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    quota: AtomicU64,
    floor: AtomicU64,
    /// As measured last, less what was promised since.
    free: AtomicU64,
    databases: AtomicU64,
    blobs: AtomicU64,
}

impl Room {
    pub(crate) fn new(path: &Path, disk: Arc<dyn Disk>) -> Self {
        let room = Self {
            path: path.to_owned(),
            disk,
            quota: AtomicU64::new(u64::MAX),
            floor: AtomicU64::new(0),
            free: AtomicU64::new(u64::MAX),
            databases: AtomicU64::new(0),
            blobs: AtomicU64::new(0),
        };
        room.set_limits(DiskLimits::default());
        room
    }

    pub(crate) fn set_limits(&self, limits: DiskLimits) {
        self.quota.store(limits.quota.unwrap_or(u64::MAX), Ordering::Relaxed);
        self.floor.store(limits.free_floor, Ordering::Relaxed);
    }

    /// Whether the sizes of databases matter.
    pub(crate) fn has_quota(&self) -> bool {
        self.quota.load(Ordering::Relaxed) != u64::MAX
    }

    /// Asks the system. What it does not say is no reason to refuse.
    pub(crate) fn measure(&self) {
        self.free.store(self.disk.free(&self.path).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn set_databases(&self, bytes: u64) {
        self.databases.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_blobs(&self, bytes: u64) {
        self.blobs.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_blob_bytes(&self, bytes: u64) {
        self.blobs.fetch_add(bytes, Ordering::Relaxed);
        take(&self.free, bytes);
    }

    pub(crate) fn remove_blob_bytes(&self, bytes: u64) {
        take(&self.blobs, bytes);
    }

    /// What of the quota is used.
    pub(crate) fn used(&self) -> u64 {
        self.databases.load(Ordering::Relaxed).saturating_add(self.blobs.load(Ordering::Relaxed))
    }

    /// As measured last.
    pub(crate) fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Whether so many more bytes can come in (R-1209).
    ///
    /// # Errors
    /// [`ErrorCode::StorageFull`].
    pub(crate) fn check(&self, bytes: u64) -> Result<(), ErrorCode> {
        let left = self.free().saturating_sub(bytes);
        let used = self.used().saturating_add(bytes);
        if left < self.floor.load(Ordering::Relaxed) || used > self.quota.load(Ordering::Relaxed) {
            return Err(ErrorCode::StorageFull);
        }
        Ok(())
    }

    /// So many more bytes go into a database.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(crate) fn promise(&self, bytes: u64) -> Result<(), ErrorCode> {
        self.check(bytes)?;
        take(&self.free, bytes);
        self.databases.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

fn take(from: &AtomicU64, bytes: u64) {
    // The closure always returns a value.
    let _ = from
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(now.saturating_sub(bytes)));
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl Disk for Fixed {
        fn free(&self, _: &Path) -> std::io::Result<u64> {
            Ok(self.0)
        }
    }

    #[test]
    fn both_bounds_hold_and_what_is_promised_counts() {
        let room = Room::new(Path::new("/"), Arc::new(Fixed(1000)));
        room.set_limits(DiskLimits { quota: None, free_floor: 400 });
        room.measure();
        assert_eq!(room.promise(500), Ok(()));
        assert_eq!(room.promise(101), Err(ErrorCode::StorageFull));
        assert_eq!(room.promise(100), Ok(()));
        room.set_limits(DiskLimits { quota: Some(1000), free_floor: 0 });
        room.set_databases(300);
        room.set_blobs(600);
        assert_eq!(room.check(101), Err(ErrorCode::StorageFull));
        assert_eq!(room.check(100), Ok(()));
        room.remove_blob_bytes(600);
        assert_eq!((room.used(), room.check(101)), (300, Ok(())));
    }
}
