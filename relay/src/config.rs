//! What can be configured, and what holds if nothing is.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use undertone_wire::limits::MAX_RETENTION_DAYS;

use crate::clock::{Clock, SystemClock};
use crate::limits::{Deny, Limits};
use crate::store::{DiskLimits, Policy, Quotas, TokenClass};
use crate::transport::FrameTap;

/// UDP port if none is given.
pub const DEFAULT_PORT: u16 = 4433;

/// [`Config::drain`] unless configured otherwise: some round trips of a slow client.
const DRAIN: Duration = Duration::from_secs(10);

/// Configuration of a relay.
#[derive(Clone)]
pub struct Config {
    /// Where everything is kept.
    pub directory: PathBuf,
    /// UDP address to listen on. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Host name or IP address that clients are told; if absent, the address listened on or, if
    /// that is none in particular, this machine's.
    pub host: Option<String>,
    /// Days that an envelope is kept; at most 30.
    pub retention_days: u32,
    /// What the holders of tokens may make in a day, for each class.
    pub quotas: Quotas,
    /// How much of the disk may be used.
    pub disk: DiskLimits,
    /// The machine's clock is right, however far it is ahead of what the store saw last: what has
    /// expired by it goes at once. Otherwise two days' worth go in a day of uptime.
    pub accept_clock: bool,
    /// How much anybody may use of it.
    pub limits: Limits,
    /// Whom and what it refuses.
    pub deny: Deny,
    /// Whether mailboxes may be made without a token.
    pub open: bool,
    /// How long clients get, when the relay stops, to read what was answered.
    pub drain: Duration,
    /// Where metrics and health can be asked for: an address of this machine only.
    pub monitoring: Option<SocketAddr>,
    /// Class of the token that the first run makes.
    pub first_token: TokenClass,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Sees the frames inside TLS; for demonstrations and tests.
    pub tap: Option<Arc<dyn FrameTap>>,
}

impl Config {
    /// What holds if nothing is configured.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            listen: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), DEFAULT_PORT),
            host: None,
            retention_days: MAX_RETENTION_DAYS,
            quotas: Quotas::default(),
            disk: DiskLimits::default(),
            accept_clock: false,
            limits: Limits::default(),
            deny: Deny::default(),
            open: false,
            drain: DRAIN,
            monitoring: None,
            first_token: TokenClass::Standard,
            clock: Arc::new(SystemClock),
            tap: None,
        }
    }
}

impl Config {
    /// What of it the store needs.
    #[must_use]
    pub const fn policy(&self) -> Policy {
        Policy {
            retention_days: self.retention_days,
            quotas: self.quotas,
            disk: self.disk,
            share: self.limits.share,
        }
    }
}

impl core::fmt::Debug for Config {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Config")
            .field("directory", &self.directory)
            .field("listen", &self.listen)
            .field("host", &self.host)
            .field("retention_days", &self.retention_days)
            .field("limits", &self.limits)
            .field("open", &self.open)
            .field("tap", &self.tap.is_some())
            .finish_non_exhaustive()
    }
}
