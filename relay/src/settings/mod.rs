//! Settings: everything that an operator can configure, in one table.
//!
//! [`KEYS`] is the only list: the file, the environment, the command line, `check-config`, the
//! example file and the table in the README are all read with it or compared with it.

mod keys;
mod layers;
mod log;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use undertone_wire::{RelayAddress, RootFingerprint};

use crate::config::Config;
use crate::limits::{Deny, Limits};
use crate::store::{DailyQuota, DiskLimits, Quotas};
pub use keys::{Applies, KEYS, Key};
pub use layers::{Layers, Loaded, Problem, Source, example};
pub use log::{LogFormat, LogLevel};
use value::{Raw, Size, Value};

/// Everything that an operator can configure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    dir: Option<PathBuf>,
    listen: SocketAddr,
    host: Option<String>,
    retention_days: u32,
    drain_seconds: u32,
    disk: Disk,
    log: Log,
    monitoring: Monitoring,
    admission: Admission,
    tokens: Tokens,
    limits: Limits,
    deny: Deny,
}

/// `[disk]`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Disk {
    quota: Option<Size>,
    free_floor: Size,
}

/// `[log]`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Log {
    format: LogFormat,
    level: LogLevel,
}

/// `[monitoring]`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Monitoring {
    listen: Option<SocketAddr>,
}

/// `[admission]`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Admission {
    open: bool,
}

/// `[tokens]`: the quota of each class that has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Tokens {
    guest: Quota,
    standard: Quota,
    open: Quota,
}

/// A class's quota, as it is configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Quota {
    mailboxes: u32,
    blob_bytes: Size,
}

impl From<DailyQuota> for Quota {
    fn from(daily: DailyQuota) -> Self {
        Self { mailboxes: daily.mailboxes, blob_bytes: Size(daily.blob_bytes) }
    }
}

impl From<Quota> for DailyQuota {
    fn from(quota: Quota) -> Self {
        Self { mailboxes: quota.mailboxes, blob_bytes: quota.blob_bytes.0 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        // The directory plays no part in what is taken from here.
        let config = Config::new(PathBuf::new());
        Self {
            dir: None,
            listen: config.listen,
            host: config.host,
            retention_days: config.retention_days,
            drain_seconds: u32::try_from(config.drain.as_secs()).unwrap_or(u32::MAX),
            disk: Disk {
                quota: config.disk.quota.map(Size),
                free_floor: Size(config.disk.free_floor),
            },
            log: Log { format: LogFormat::Text, level: LogLevel(tracing::Level::INFO) },
            monitoring: Monitoring { listen: config.monitoring },
            admission: Admission { open: config.open },
            tokens: Tokens {
                guest: config.quotas.guest.into(),
                standard: config.quotas.standard.into(),
                open: config.quotas.open.into(),
            },
            limits: config.limits,
            deny: config.deny,
        }
    }
}

impl Settings {
    /// Where everything is kept, if that is configured.
    #[must_use]
    pub const fn directory(&self) -> Option<&PathBuf> {
        self.dir.as_ref()
    }

    /// How the log is written.
    #[must_use]
    pub const fn log_format(&self) -> LogFormat {
        self.log.format
    }

    /// What is written to the log.
    #[must_use]
    pub const fn log_level(&self) -> LogLevel {
        self.log.level
    }

    /// What a relay in a directory needs of it.
    #[must_use]
    pub fn config(&self, directory: PathBuf) -> Config {
        Config {
            listen: self.listen,
            host: self.host.clone(),
            retention_days: self.retention_days,
            quotas: Quotas {
                guest: self.tokens.guest.into(),
                standard: self.tokens.standard.into(),
                open: self.tokens.open.into(),
            },
            disk: DiskLimits {
                quota: self.disk.quota.map(|size| size.0),
                free_floor: self.disk.free_floor.0,
            },
            limits: self.limits.clone(),
            deny: self.deny.clone(),
            open: self.admission.open,
            drain: Duration::from_secs(self.drain_seconds.into()),
            monitoring: self.monitoring.listen,
            ..Config::new(directory)
        }
    }

    /// What the kind of a value does not tell: a key's name and what is wrong with it.
    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        if let Some(listen) = self.monitoring.listen
            && !listen.ip().is_loopback()
        {
            found.push((
                "monitoring.listen",
                format!(
                    "{listen} can be reached from elsewhere; give an address of this machine alone (127.0.0.1 or [::1]) and put a proxy before it"
                ),
            ));
        }
        let root = RootFingerprint::from_bytes([0; 32]);
        if let Some(host) = &self.host
            && RelayAddress::new(host, crate::config::DEFAULT_PORT, root).is_err()
        {
            found.push(("host", format!("{host:?} is neither a host name nor an IP address")));
        }
        found
    }

    /// As this, with the values of another that a reload changes.
    #[must_use]
    pub fn with_reloaded(&self, other: &Self) -> Self {
        Self {
            dir: self.dir.clone(),
            listen: self.listen,
            host: self.host.clone(),
            log: Log { format: self.log.format, ..other.log },
            monitoring: self.monitoring,
            ..other.clone()
        }
    }

    /// The keys that another configuration has with another value.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static Key> {
        KEYS.iter().filter(|key| key.shown(self) != key.shown(other)).collect()
    }
}
