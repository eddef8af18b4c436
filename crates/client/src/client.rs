//! The handle that applications hold.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, Notify};
use undertone_session::contact::{AccountId, Contact, SafetyNumberView};
use undertone_session::engine::AuditSecret;
use undertone_session::ids::{ContactId, MessageId};
use undertone_session::link::{Link, LinkKind};
use undertone_session::message::{Hold, Message, MessageState};
use undertone_wire::{Day, RelayAddress};

use crate::background::Background;
use crate::builder::{Builder, NewProfile};
use crate::clock::Clock;
use crate::core::Core;
use crate::error::Error;
use crate::events::Events;
use crate::network::{Network, Settings};
use crate::profile::Profile;
use crate::receive::Receiver;

/// Hexadecimal digits by which a person tells devices apart.
const DEVICE_DIGITS: usize = 32;

/// This profile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Me {
    /// What the person calls themselves.
    pub name: String,
    /// Fingerprint of the account key.
    pub account: AccountId,
    /// The relay's address as text.
    pub relay: String,
    /// The first 16 bytes of SHA-256 over this device's public keys, as hexadecimal digits.
    pub device: String,
}

/// A link that was just made.
#[derive(Debug)]
pub struct Invitation {
    /// The link; [`Link::to_text`] is what to hand over.
    pub link: Link,
    /// The last day on which it can be used.
    pub expires: Day,
}

/// What one pass of [`Client::sync`] did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct SyncReport {
    /// Messages received.
    pub received: u64,
    /// Messages that relays accepted.
    pub accepted: u64,
    /// Messages that stay queued, because their relay can't be reached or refuses.
    pub queued: u64,
    /// Files fetched completely.
    pub files: u64,
    /// Files that could not be fetched now; they are tried again, from where they stopped.
    pub files_waiting: u64,
    /// Envelopes that nothing opened and that were kept.
    pub parked: u64,
}

/// What all handles share.
pub(crate) struct Shared {
    pub(crate) core: Core,
    pub(crate) network: Network,
    pub(crate) dir: PathBuf,
    /// The profile's own relay.
    pub(crate) relay: RwLock<RelayAddress>,
    pub(crate) me: RwLock<Me>,
    pub(crate) receiver: Mutex<Receiver>,
    /// Held by the one pass that sends.
    pub(crate) sending: Mutex<()>,
    /// Held by the one pass that stores files at our relay.
    pub(crate) uploading: Mutex<()>,
    /// Held by the one pass that fetches files.
    pub(crate) fetching: Mutex<()>,
    /// Something may be waiting to go out.
    pub(crate) outgoing: Notify,
    /// A file may be waiting to be stored at our relay.
    pub(crate) uploads: Notify,
    /// A file may be waiting to be fetched.
    pub(crate) downloads: Notify,
    /// There may be a mailbox that is not subscribed to.
    pub(crate) resubscribe: Notify,
    /// The network has changed: what waits before it tries again need not.
    pub(crate) hurry: Notify,
    /// The tasks of [`Client::start`].
    pub(crate) background: Background,
}

impl Shared {
    /// The relay where this profile is reached.
    pub(crate) fn home(&self) -> RelayAddress {
        self.relay.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A profile that is open. Clones are handles to the same one.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

impl Client {
    /// Starts to open or create the profile in this directory.
    pub fn builder(dir: impl AsRef<Path>) -> Builder {
        Builder::new(dir.as_ref())
    }

    pub(crate) async fn create(builder: Builder, profile: NewProfile) -> Result<Self, Error> {
        let (settings, clock) = (Settings::of(&builder), builder.clock.clone());
        let now = clock.now();
        let NewProfile { name, join } = profile;
        let make = move || crate::profile::create(&builder.dir, &builder.secret, &name, &join, now);
        Self::over(Self::aside(make).await?, clock, settings)
    }

    pub(crate) async fn open(builder: Builder) -> Result<Self, Error> {
        let (settings, clock) = (Settings::of(&builder), builder.clock.clone());
        let make = move || crate::profile::open(&builder.dir, &builder.secret);
        let client = Self::over(Self::aside(make).await?, clock, settings)?;
        client.shared.tidy_blobs().await?;
        Ok(client)
    }

    /// Deriving a key from a passphrase takes a while.
    async fn aside(
        make: impl FnOnce() -> Result<Profile, Error> + Send + 'static,
    ) -> Result<Profile, Error> {
        tokio::task::spawn_blocking(make)
            .await
            .map_err(|e| Error::Internal { reason: e.to_string() })?
    }

    /// A client over a profile that is open.
    pub(crate) fn over(
        mut profile: Profile,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let network = Network::new(settings);
        network.expect_tcp(profile.engine.relays_over_tcp()?);
        let keys = Sha256::digest(profile.engine.device_keys());
        let device = keys.get(..DEVICE_DIGITS / 2).unwrap_or_default();
        let me = Me {
            name: profile.engine.name().to_owned(),
            account: profile.engine.account(),
            relay: profile.engine.relay().to_string(),
            device: HEXLOWER.encode(device),
        };
        let (dir, relay) = (profile.dir.clone(), profile.engine.relay().clone());
        let core = Core::start(profile, clock)?;
        Ok(Self {
            shared: Arc::new(Shared {
                core,
                network,
                dir,
                relay: RwLock::new(relay),
                me: RwLock::new(me),
                receiver: Mutex::default(),
                sending: Mutex::default(),
                uploading: Mutex::default(),
                fetching: Mutex::default(),
                outgoing: Notify::new(),
                uploads: Notify::new(),
                downloads: Notify::new(),
                resubscribe: Notify::new(),
                hurry: Notify::new(),
                background: Background::default(),
            }),
        })
    }

    pub(crate) fn core(&self) -> &Core {
        &self.shared.core
    }

    /// This profile.
    #[must_use]
    pub fn me(&self) -> Me {
        self.shared.me.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a link, and stores what it needs at the relay before it returns.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::RelayPinMismatch`], [`Error::AdmissionRefused`]: no link
    /// was made then.
    pub async fn invite(&self, kind: LinkKind, label: Option<String>) -> Result<Invitation, Error> {
        let (link, expires) = self.shared.invite(kind, label).await?;
        Ok(Invitation { link, expires })
    }

    /// Uses somebody's link: takes what the relay keeps for it, starts a session, and queues the
    /// greeting. The contact can be written to at once.
    ///
    /// # Errors
    /// [`Error::LinkUsedUp`], [`Error::LinkUnknown`], [`Error::LinkOwn`], [`Error::LinkForged`],
    /// [`Error::NameInvalid`], [`Error::Unreachable`], [`Error::RelayPinMismatch`].
    pub async fn add(&self, link: &Link, name: Option<String>) -> Result<Contact, Error> {
        let contact = self.shared.add(link, name).await?;
        self.core().ask(move |e| e.contact(contact)).await
    }

    /// All contacts, in the order in which they were made.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn contacts(&self) -> Result<Vec<Contact>, Error> {
        self.core().ask(|e| e.contacts()).await
    }

    /// The contact with this name, number, or beginning of an account fingerprint (at least 4
    /// digits). Digits alone mean the number first, and names given here stand before those that
    /// contacts gave themselves.
    ///
    /// # Errors
    /// [`Error::UnknownContact`], [`Error::AmbiguousContact`].
    pub async fn contact(&self, query: &str) -> Result<Contact, Error> {
        let asked = query.to_owned();
        let found = self.core().ask(move |e| e.find_contact(&asked)).await;
        found.map_err(|error| error.asked_for(query))
    }

    /// Calls a contact something else, here only.
    ///
    /// # Errors
    /// [`Error::UnknownContact`], [`Error::NameInvalid`].
    pub async fn rename(&self, contact: ContactId, name: &str) -> Result<Contact, Error> {
        let name = name.to_owned();
        let renamed = self.core().change(move |e| e.rename(contact, &name)).await;
        renamed.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Queues a text. It is on disk when this returns; no network is needed.
    ///
    /// # Errors
    /// [`Error::UnknownContact`], [`Error::MessageEmpty`], [`Error::MessageTooLong`].
    pub async fn send_text(&self, contact: ContactId, text: &str) -> Result<MessageId, Error> {
        let (text, now) = (text.to_owned(), self.core().now());
        let queued = self.core().change(move |e| e.queue_text(contact, &text, now)).await;
        self.shared.outgoing.notify_one();
        queued.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Encrypts a file into the profile directory and queues it: the file itself is not needed
    /// any more when this returns. It is read as a stream, never held in memory.
    ///
    /// # Errors
    /// [`Error::FileUnreadable`], [`Error::FileTooLarge`], [`Error::UnknownContact`].
    pub async fn send_file(
        &self,
        contact: ContactId,
        path: impl AsRef<Path>,
    ) -> Result<MessageId, Error> {
        let queued = self.shared.queue_file(contact, path.as_ref().to_path_buf()).await;
        self.shared.wake_all();
        queued.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// A message of the history: the one of this id that this profile sent, or else one that a
    /// contact sent. For what an event tells of, use [`Client::received_message`]: contacts choose
    /// the ids of what they send.
    ///
    /// # Errors
    /// [`Error::UnknownMessage`].
    pub async fn message(&self, id: MessageId) -> Result<Message, Error> {
        self.core().ask(move |e| e.message(id)).await
    }

    /// The message of this id that this contact sent: what [`EventKind::MessageReceived`] tells of.
    ///
    /// [`EventKind::MessageReceived`]: crate::EventKind::MessageReceived
    ///
    /// # Errors
    /// [`Error::UnknownMessage`].
    pub async fn received_message(
        &self,
        contact: ContactId,
        id: MessageId,
    ) -> Result<Message, Error> {
        self.core().ask(move |e| e.received_message(contact, id)).await
    }

    /// Waits until an outgoing message has come at least as far as `state`. The network has to be
    /// driven meanwhile, by [`Client::start`] or [`Client::sync`].
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::MailboxFull`], [`Error::AddressUnknown`],
    /// [`Error::Unreachable`] or [`Error::RelayRefused`] if the last attempt was refused (the
    /// message is kept and tried again); [`Error::MessageFailed`] if it can't be sent at all.
    pub async fn wait(
        &self,
        id: MessageId,
        state: MessageState,
        timeout: Duration,
    ) -> Result<Message, Error> {
        let waiting = async {
            let mut changes = self.core().changes();
            loop {
                let message = self.message(id).await?;
                if let Some(result) = waited(message, &state) {
                    return result;
                }
                changes.changed().await.map_err(|_| Error::Closed)?;
            }
        };
        tokio::time::timeout(timeout, waiting).await.unwrap_or(Err(Error::Timeout))
    }

    /// One pass: connects, receives all that is waiting, sends all that is queued, fetches files,
    /// and returns when there is nothing left to do.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::RelayPinMismatch`] and what else concerns this profile's
    /// own relay. A contact's relay that fails is counted in the report.
    pub async fn sync(&self) -> Result<SyncReport, Error> {
        self.shared.sync().await
    }

    /// Stays connected in the background until the client is closed: receives and sends as it
    /// comes, and reconnects with growing, jittered pauses. Calling it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Offline`] if the client was opened offline; [`Error::Closed`].
    pub fn start(&self) -> Result<(), Error> {
        self.shared.clone().start()
    }

    /// The machine is in another network, or has come back from sleep: closes all connections and
    /// connects anew at once. It is found out without being told, too, only later: a connection that
    /// is dead shows after some seconds without an answer.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) {
    /// // When the system says that the network has changed:
    /// client.network_changed().await;
    /// # }
    /// ```
    pub async fn network_changed(&self) {
        self.shared.network.close().await;
        self.shared.hurry.notify_waiters();
        self.shared.wake_all();
    }

    /// Reads the event log under a name; see [`Events`].
    #[must_use]
    pub fn events(&self, cursor: &str) -> Events {
        Events::new(self.clone(), cursor.to_owned())
    }

    /// The last `limit` messages with a contact, oldest first; with `before`, the last ones before
    /// that place in the history ([`Message::seq`]).
    ///
    /// # Errors
    /// [`Error::UnknownContact`].
    pub async fn history(
        &self,
        contact: ContactId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Message>, Error> {
        let history = self.core().ask(move |e| e.history(contact, before, limit)).await;
        history.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Every key, capability, identity and name that this profile holds now.
    ///
    /// Only for tests and demonstrations that search a relay for what must not be there: what this
    /// returns opens everything.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn dangerous_audit_secrets(&self) -> Result<Vec<AuditSecret>, Error> {
        self.core().ask(|e| e.dangerous_audit_secrets()).await
    }

    /// What to compare with a contact.
    ///
    /// # Errors
    /// [`Error::UnknownContact`].
    pub async fn safety_number(&self, contact: ContactId) -> Result<SafetyNumberView, Error> {
        let number = self.core().ask(move |e| e.safety_number(contact)).await;
        number.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Records that the safety numbers were compared and are the same.
    ///
    /// # Errors
    /// [`Error::UnknownContact`].
    pub async fn mark_verified(&self, contact: ContactId) -> Result<Contact, Error> {
        let verified = self.core().change(move |e| e.mark_verified(contact)).await;
        verified.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Ends everything that runs for this client and closes the store. Other handles answer
    /// [`Error::Closed`] from then on.
    pub async fn close(self) {
        self.shared.background.stop().await;
        self.shared.network.close().await;
        self.shared.core.close().await;
    }
}

/// Whether waiting for a message is over, and how.
fn waited(message: Message, state: &MessageState) -> Option<Result<Message, Error>> {
    match (&message.state, message.hold) {
        (MessageState::Failed { reason }, _) => {
            let reason = reason.clone();
            Some(Err(Error::MessageFailed { reason }))
        }
        (MessageState::Expired, _) if state.rank() > MessageState::Expired.rank() => {
            let reason = "nobody fetched it while the relay kept it".to_owned();
            Some(Err(Error::MessageFailed { reason }))
        }
        (now, _) if now.rank() >= state.rank() => Some(Ok(message)),
        (_, Some(hold)) => Some(Err(held(hold))),
        (_, None) => None,
    }
}

fn held(hold: Hold) -> Error {
    let relay = "the contact's relay".to_owned();
    match hold {
        Hold::MailboxFull => Error::MailboxFull,
        Hold::AddressUnknown => Error::AddressUnknown,
        Hold::RelayUnreachable => Error::Unreachable { relay },
        Hold::RelayPinMismatch => Error::RelayPinMismatch { relay },
        Hold::StoreRolledBack => Error::StoreRolledBack,
        Hold::ConsentNeeded => Error::ConsentNeeded,
        other => Error::RelayRefused { relay, code: other.code().to_owned() },
    }
}
