//! Why a backup can't be read.

use core::fmt;

use super::BACKUP_VERSION;

/// Why a backup was refused. Nothing of it was taken up.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BackupError {
    /// R-1403: it does not begin as backups do.
    NotABackup,
    /// R-1404: its head is damaged.
    HeadDamaged,
    /// R-1405: a newer program made it.
    TooNew {
        /// Its version.
        found: u16,
    },
    /// R-1406: it was made with another recovery key.
    WrongKey,
    /// R-1407: its end is missing.
    Truncated,
    /// R-1408: a part of it was altered.
    Damaged {
        /// Which chunk of 64 KiB, from 0.
        chunk: u32,
    },
    /// R-1409: it goes on behind its end.
    Surplus,
    /// R-1410: it is whole, and breaks the layout: the program that made it has a fault.
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// R-1411: it is whole, and contradicts itself: the program that made it has a fault.
    Contradiction {
        /// What is wrong.
        what: &'static str,
    },
    /// It can't be read or written.
    Io {
        /// What the system said.
        reason: String,
    },
}

impl BackupError {
    /// The rule of `protocol-spec/14-backup.md` that was broken, if it was one.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotABackup => "R-1403",
            Self::HeadDamaged => "R-1404",
            Self::TooNew { .. } => "R-1405",
            Self::WrongKey => "R-1406",
            Self::Truncated => "R-1407",
            Self::Damaged { .. } => "R-1408",
            Self::Surplus => "R-1409",
            Self::Malformed { .. } => "R-1410",
            Self::Contradiction { .. } => "R-1411",
            Self::Io { .. } => "io",
        }
    }
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotABackup => f.write_str("this is not a backup"),
            Self::HeadDamaged => f.write_str("the beginning of the backup is damaged"),
            Self::TooNew { found } => write!(
                f,
                "the backup is of version {found}, this program knows up to {BACKUP_VERSION}: \
                 update it"
            ),
            Self::WrongKey => f.write_str("the backup was made with another recovery key"),
            Self::Truncated => f.write_str("the end of the backup is missing"),
            Self::Damaged { chunk } => write!(f, "the backup is damaged (in chunk {chunk})"),
            Self::Surplus => f.write_str("the backup goes on behind its end"),
            Self::Malformed { what } | Self::Contradiction { what } => {
                write!(f, "the program that made the backup has a fault: {what}")
            }
            Self::Io { reason } => write!(f, "the backup can't be read or written: {reason}"),
        }
    }
}

impl core::error::Error for BackupError {}

impl From<std::io::Error> for BackupError {
    fn from(error: std::io::Error) -> Self {
        Self::Io { reason: error.to_string() }
    }
}
