//! How a client is made.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use undertone_session::engine::FetchLimits;
use undertone_wire::JoinAddress;
use undertone_wire::frame::MailboxLimits;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::client::Client;
use crate::clock::{Clock, SystemClock};
use crate::error::Error;

/// What is fetched without being asked for, unless the application says otherwise: files of 10 MiB, and
/// 200 MiB on a day.
const UNASKED: FetchLimits = FetchLimits { file: 10 << 20, day: 200 << 20 };

/// What opens a profile. Wiped on drop, not shown.
///
/// ```
/// use undertone::Secret;
///
/// let typed = Secret::passphrase("correct horse battery staple");
/// let from_the_key_store = Secret::key([7; 32]);
/// // Neither is ever shown.
/// assert_eq!(format!("{typed:?}"), "Secret::Passphrase(..)");
/// # let _ = from_the_key_store;
/// ```
pub enum Secret {
    /// A passphrase: goes through Argon2id, once for each opening.
    Passphrase(Zeroizing<String>),
    /// A 32-byte key, for example from the system's key store.
    Key(KeyBytes),
}

/// 32 bytes of key, wiped on drop.
///
/// ```
/// use undertone::Secret;
///
/// assert!(matches!(Secret::key([7; 32]), Secret::Key(_)));
/// ```
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct KeyBytes(pub(crate) [u8; 32]);

impl Secret {
    /// A passphrase.
    ///
    /// ```
    /// let secret = undertone::Secret::passphrase("correct horse battery staple");
    /// # let _ = secret;
    /// ```
    #[must_use]
    pub fn passphrase(text: impl Into<String>) -> Self {
        Self::Passphrase(Zeroizing::new(text.into()))
    }

    /// A 32-byte key.
    ///
    /// ```
    /// let secret = undertone::Secret::key([7; 32]);
    /// # let _ = secret;
    /// ```
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
///
/// ```
/// # fn main() -> Result<(), undertone::Error> {
/// use undertone::NewProfile;
///
/// # let text = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
/// // `text` is the join address that the relay's operator gave out: ut-join:relay.example:4433:...
/// let profile = NewProfile { name: "Ada".into(), join: text.parse()? };
/// # let _ = profile;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct NewProfile {
    /// What the person calls themselves; contacts see it.
    pub name: String,
    /// The relay where the profile is reached, with the token that admits it.
    pub join: JoinAddress,
}

/// How to open or create a profile; made by [`Client::builder`].
///
/// ```
/// use std::time::Duration;
/// use undertone::{Client, Secret};
///
/// let builder = Client::builder("profile")
///     .secret(Secret::passphrase("correct horse battery staple"))
///     .timeout(Duration::from_secs(5));
/// # let _ = builder;
/// ```
#[must_use]
pub struct Builder {
    pub(crate) dir: PathBuf,
    pub(crate) secret: Secret,
    pub(crate) bind: Option<IpAddr>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timeout: Duration,
    pub(crate) limits: Option<MailboxLimits>,
    pub(crate) offline: bool,
    pub(crate) fetch: FetchLimits,
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
            fetch: UNASKED,
        }
    }

    /// What opens the profile; must be given. An empty passphrase is refused: for a profile that
    /// nothing but its directory protects, keep a [`Secret::key`] beside it.
    ///
    /// ```
    /// use undertone::{Client, Secret};
    ///
    /// let builder = Client::builder("profile").secret(Secret::key([7; 32]));
    /// # let _ = builder;
    /// ```
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secret = secret;
        self
    }

    /// The local address to connect from.
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    ///
    /// let builder = undertone::Client::builder("profile").bind(Ipv4Addr::UNSPECIFIED.into());
    /// # let _ = builder;
    /// ```
    pub const fn bind(mut self, address: IpAddr) -> Self {
        self.bind = Some(address);
        self
    }

    /// Where the time comes from; for tests.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use undertone::{Client, Clock, UnixMillis};
    ///
    /// /// It is always the same moment.
    /// struct Stopped;
    ///
    /// impl Clock for Stopped {
    ///     fn now(&self) -> UnixMillis {
    ///         UnixMillis::new(1_700_000_000_000)
    ///     }
    /// }
    ///
    /// let builder = Client::builder("profile").clock(Arc::new(Stopped));
    /// # let _ = builder;
    /// ```
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long connecting to a relay and each request to it may take; without it, 10 seconds.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let builder = undertone::Client::builder("profile").timeout(Duration::from_secs(5));
    /// # let _ = builder;
    /// ```
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How much each mailbox that is made from now on may hold: envelopes and bytes. Without it,
    /// what the relay allows (10,000 envelopes or 64 MiB).
    ///
    /// ```
    /// // At most 100 envelopes of each contact, or 1 MiB, wait at the relay.
    /// let builder = undertone::Client::builder("profile").mailbox_limits(100, 1 << 20);
    /// # let _ = builder;
    /// ```
    pub const fn mailbox_limits(mut self, envelopes: u32, bytes: u64) -> Self {
        self.limits = Some(MailboxLimits { envelopes, bytes });
        self
    }

    /// The largest file that is fetched without being asked for, and how much is so on a day, in bytes.
    /// Without it 10 MiB and 200 MiB; with 0 nothing is. Of every other file
    /// [`EventKind::FileWaiting`](crate::EventKind::FileWaiting) tells, and
    /// [`Client::download`] fetches it.
    ///
    /// ```
    /// use undertone::Client;
    ///
    /// let builder = Client::builder("profile").fetch_unasked(1 << 20, 20 << 20);
    /// ```
    pub const fn fetch_unasked(mut self, file: u64, day: u64) -> Self {
        self.fetch = FetchLimits { file, day };
        self
    }

    /// Never touches the network.
    ///
    /// ```
    /// let builder = undertone::Client::builder("profile").offline();
    /// # let _ = builder;
    /// ```
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
    ///
    /// ```
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let directory = dir.path().join("profile");
    /// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
    /// use undertone::{Client, Error, NewProfile, Secret};
    ///
    /// let profile = || -> Result<_, Error> { Ok(NewProfile { name: "Ada".into(), join: join.parse()? }) };
    /// let builder = || Client::builder(&directory).secret(Secret::key([7; 32]));
    /// let client = builder().create(profile()?).await?;
    /// assert_eq!(client.me().name, "Ada");
    /// client.close().await;
    /// // A profile that is there is never overwritten.
    /// let again = builder().create(profile()?).await.unwrap_err();
    /// assert!(matches!(again, Error::ProfileExists { .. }));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create(self, profile: NewProfile) -> Result<Client, Error> {
        self.check()?;
        Client::create(self, profile).await
    }

    /// Opens the profile in the directory, or creates one if there is none. `profile` is used in the
    /// second case only. Does not use the network.
    ///
    /// # Errors
    /// Those of [`Builder::open`], but for [`Error::ProfileAbsent`], and of [`Builder::create`].
    ///
    /// ```
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let directory = dir.path().join("profile");
    /// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
    /// use undertone::{Client, NewProfile, Secret};
    ///
    /// for _ in 0..2 {
    ///     let profile = NewProfile { name: "Ada".into(), join: join.parse()? };
    ///     let builder = Client::builder(&directory).secret(Secret::key([7; 32]));
    ///     let client = builder.open_or_create(profile).await?;
    ///     assert_eq!(client.me().name, "Ada");
    ///     client.close().await;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open_or_create(self, profile: NewProfile) -> Result<Client, Error> {
        match self.duplicate().open().await {
            Err(Error::ProfileAbsent { .. }) => self.create(profile).await,
            opened => opened,
        }
    }

    /// A second copy.
    fn duplicate(&self) -> Self {
        let Self { dir, secret, bind, clock, timeout, limits, offline, fetch } = self;
        Self {
            dir: dir.clone(),
            secret: secret.duplicate(),
            bind: *bind,
            clock: clock.clone(),
            timeout: *timeout,
            limits: *limits,
            offline: *offline,
            fetch: *fetch,
        }
    }

    /// Opens the profile in the directory. Does not use the network.
    ///
    /// # Errors
    /// [`Error::ProfileAbsent`], [`Error::WrongPassphrase`], [`Error::StoreLocked`] (another
    /// process has it open), [`Error::StoreCorrupt`], [`Error::KeyslotUnreadable`],
    /// [`Error::StoreTooNew`], [`Error::PassphraseEmpty`]. None of them changes anything.
    ///
    /// ```
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
    /// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
    /// # let builder = undertone::Client::builder(dir.path().join("profile"));
    /// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
    /// # let client = builder.create(profile).await?;
    /// use undertone::{Client, Error, Secret};
    ///
    /// # let directory = dir.path().join("profile");
    /// client.close().await;
    /// let wrong = Client::builder(&directory).secret(Secret::key([8; 32])).open().await.unwrap_err();
    /// assert!(matches!(wrong, Error::WrongPassphrase));
    /// let client = Client::builder(&directory).secret(Secret::key([7; 32])).open().await?;
    /// # client.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open(self) -> Result<Client, Error> {
        self.check()?;
        Client::open(self).await
    }
}
