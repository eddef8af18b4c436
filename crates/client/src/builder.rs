//! How a client is made.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use undertone_wire::JoinAddress;
use undertone_wire::frame::MailboxLimits;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::client::Client;
use crate::clock::{Clock, SystemClock};
use crate::error::Error;

/// What opens a profile. Wiped on drop, not shown.
pub enum Secret {
    /// A passphrase: goes through Argon2id, once for each opening.
    Passphrase(Zeroizing<String>),
    /// A 32-byte key, for example from the system's key store.
    Key(KeyBytes),
}

/// 32 bytes of key, wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct KeyBytes(pub(crate) [u8; 32]);

impl Secret {
    /// A passphrase.
    #[must_use]
    pub fn passphrase(text: impl Into<String>) -> Self {
        Self::Passphrase(Zeroizing::new(text.into()))
    }

    /// A 32-byte key.
    #[must_use]
    pub const fn key(bytes: [u8; 32]) -> Self {
        Self::Key(KeyBytes(bytes))
    }

    /// A second copy, for another thread; each is wiped.
    pub(crate) fn duplicate(&self) -> Self {
        match self {
            Self::Passphrase(text) => Self::Passphrase(text.clone()),
            Self::Key(key) => Self::key(key.0),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passphrase(_) => "Secret::Passphrase(..)",
            Self::Key(_) => "Secret::Key(..)",
        })
    }
}

/// What a new profile starts with.
#[derive(Debug)]
pub struct NewProfile {
    /// What the person calls themselves; contacts see it.
    pub name: String,
    /// The relay where the profile is reached, with the token that admits it.
    pub join: JoinAddress,
}

/// How to open or create a profile; made by [`Client::builder`].
#[must_use]
pub struct Builder {
    pub(crate) dir: PathBuf,
    pub(crate) secret: Secret,
    pub(crate) bind: Option<IpAddr>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timeout: Duration,
    pub(crate) limits: Option<MailboxLimits>,
    pub(crate) offline: bool,
}

impl Builder {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            secret: Secret::passphrase(""),
            bind: None,
            clock: Arc::new(SystemClock),
            timeout: crate::network::TIMEOUT,
            limits: None,
            offline: false,
        }
    }

    /// What opens the profile; must be given. An empty passphrase is refused: for a profile that
    /// nothing but its directory protects, keep a [`Secret::key`] beside it.
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = secret;
        self
    }

    /// The local address to connect from.
    pub const fn bind(mut self, address: IpAddr) -> Self {
        self.bind = Some(address);
        self
    }

    /// Where the time comes from; for tests.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long connecting to a relay and each request to it may take; without it, 10 seconds.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How much each mailbox that is made from now on may hold: envelopes and bytes. Without it,
    /// what the relay allows (10,000 envelopes or 64 MiB).
    pub const fn mailbox_limits(mut self, envelopes: u32, bytes: u64) -> Self {
        self.limits = Some(MailboxLimits { envelopes, bytes });
        self
    }

    /// Never touches the network.
    pub const fn offline(mut self) -> Self {
        self.offline = true;
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.secret {
            Secret::Passphrase(text) if text.is_empty() => Err(Error::PassphraseEmpty),
            _ => Ok(()),
        }
    }

    /// Creates a profile in the directory, which is made if it is absent. Does not use the network.
    ///
    /// # Errors
    /// [`Error::ProfileExists`] if there is one already (nothing is overwritten),
    /// [`Error::NameInvalid`], [`Error::PassphraseEmpty`], [`Error::StoreFailed`].
    pub async fn create(self, profile: NewProfile) -> Result<Client, Error> {
        self.check()?;
        Client::create(self, profile).await
    }

    /// Opens the profile in the directory. Does not use the network.
    ///
    /// # Errors
    /// [`Error::ProfileAbsent`], [`Error::WrongPassphrase`], [`Error::StoreLocked`] (another
    /// process has it open), [`Error::StoreCorrupt`], [`Error::KeyslotUnreadable`],
    /// [`Error::StoreTooNew`], [`Error::PassphraseEmpty`]. None of them changes anything.
    pub async fn open(self) -> Result<Client, Error> {
        self.check()?;
        Client::open(self).await
    }
}
