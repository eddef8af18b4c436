//! The handle that applications hold.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, Notify, RwLock as AsyncRwLock};
use undertone_session::contact::{AccountId, Contact, SafetyNumberView};
use undertone_session::engine::AuditSecret;
use undertone_session::ids::{ContactId, MessageId};
use undertone_session::link::{Link, LinkKind};
use undertone_session::message::{Hold, Message, MessageState};
use undertone_wire::{Day, RelayAddress};

use crate::background::Background;
use crate::builder::{Builder, NewProfile};
use crate::cancelled::Cancelled;
use crate::clock::Clock;
use crate::connection::Connections;
use crate::core::Core;
use crate::error::Error;
use crate::events::Events;
use crate::network::{Network, Settings};
use crate::profile::Profile;
use crate::receive::Receiver;
use crate::typing::TypingState;

/// Hexadecimal digits by which a person tells devices apart.
const DEVICE_DIGITS: usize = 32;

/// This profile.
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
/// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
/// # let builder = undertone::Client::builder(dir.path().join("profile"));
/// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
/// # let client = builder.create(profile).await?;
/// let me = client.me();
/// println!("{} ({}) at {}", me.name, me.account.short(), me.relay);
/// # client.close().await;
/// # Ok(())
/// # }
/// ```
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
///
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use undertone::LinkKind;
///
/// let invitation = client.invite(LinkKind::SingleUse, None).await?;
/// println!("{} (until day {})", *invitation.link.to_text(), invitation.expires.get());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Invitation {
    /// The link; [`Link::to_text`] is what to hand over.
    pub link: Link,
    /// The last day on which it can be used.
    pub expires: Day,
}

/// What one pass of [`Client::sync`] did.
///
/// ```no_run
/// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let report = client.sync().await?;
/// println!("{} came, {} went, {} wait", report.received, report.accepted, report.queued);
/// # Ok(())
/// # }
/// ```
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
    /// Held, to read, by whatever works on the profile's files; to write, by whoever closes it.
    pub(crate) working: Arc<AsyncRwLock<()>>,
    /// Something may be waiting to go out.
    pub(crate) outgoing: Notify,
    /// A file may be waiting to be stored at our relay.
    pub(crate) uploads: Notify,
    /// A file may be waiting to be fetched.
    pub(crate) downloads: Notify,
    /// Transfers that are to stop.
    pub(crate) cancelled: Cancelled,
    /// There may be a mailbox that is not subscribed to.
    pub(crate) resubscribe: Notify,
    /// The network has changed: what waits before it tries again need not.
    pub(crate) hurry: Notify,
    /// Who is writing.
    pub(crate) typing: TypingState,
    /// How it stands with the relays.
    pub(crate) connections: Connections,
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
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
/// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
/// # let builder = undertone::Client::builder(dir.path().join("profile"));
/// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
/// # let client = builder.create(profile).await?;
/// let handle = client.clone();
/// assert_eq!(handle.me(), client.me());
/// client.close().await;
/// // For all handles.
/// assert!(matches!(handle.contacts().await, Err(undertone::Error::Closed)));
/// # Ok(())
/// # }
/// ```
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
    ///
    /// ```
    /// let builder = undertone::Client::builder("profile");
    /// # let _ = builder;
    /// ```
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
        // Left over when the program ended. What can't be removed now is tried again the next time.
        for tidied in [client.shared.tidy_blobs().await, client.shared.tidy_files().await] {
            if let Err(error) = tidied {
                tracing::warn!(code = error.code(), "what was left over can't be removed");
            }
        }
        client.shared.erase().await?;
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
                connections: Connections::new(relay.clone()),
                relay: RwLock::new(relay),
                me: RwLock::new(me),
                receiver: Mutex::default(),
                sending: Mutex::default(),
                uploading: Mutex::default(),
                fetching: Mutex::default(),
                working: Arc::default(),
                outgoing: Notify::new(),
                uploads: Notify::new(),
                downloads: Notify::new(),
                cancelled: Cancelled::default(),
                resubscribe: Notify::new(),
                hurry: Notify::new(),
                typing: TypingState::default(),
                background: Background::default(),
            }),
        })
    }

    pub(crate) fn core(&self) -> &Core {
        &self.shared.core
    }

    /// This profile.
    ///
    /// ```
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
    /// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
    /// # let builder = undertone::Client::builder(dir.path().join("profile"));
    /// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
    /// # let client = builder.create(profile).await?;
    /// assert_eq!(client.me().name, "Ada");
    /// # client.close().await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn me(&self) -> Me {
        self.shared.me.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a link, and stores what it needs at the relay before it returns.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::RelayPinMismatch`], [`Error::AdmissionRefused`]: no link
    /// was made then.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use undertone::LinkKind;
    ///
    /// // For one person, as the first one who uses it; give it to them where nobody else sees it.
    /// let link = client.invite(LinkKind::SingleUse, Some("for Bob".into())).await?.link;
    /// println!("{}", *link.to_text());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn invite(&self, kind: LinkKind, label: Option<String>) -> Result<Invitation, Error> {
        let (link, expires) = self.shared.invite(kind, label).await?;
        Ok(Invitation { link, expires })
    }

    /// Uses somebody's link: takes what the relay keeps for it, starts a session, and queues the
    /// greeting. The contact can be written to at once. Without a name they are called "contact 1" (by
    /// their number) until they have said what they call themselves.
    ///
    /// # Errors
    /// [`Error::LinkUsedUp`], [`Error::LinkUnknown`], [`Error::LinkOwn`], [`Error::LinkForged`],
    /// [`Error::NameInvalid`], [`Error::Unreachable`], [`Error::RelayPinMismatch`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client, text: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use undertone::{Error, Link};
    ///
    /// let link: Link = text.parse()?;
    /// match client.add(&link, Some("Bob".into())).await {
    ///     Ok(bob) => drop(client.send_text(bob.id, "Hello").await?),
    ///     Err(Error::LinkUsedUp) => println!("somebody else was faster: ask for another link"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn add(&self, link: &Link, name: Option<String>) -> Result<Contact, Error> {
        let contact = self.shared.add(link, name).await?;
        self.core().ask(move |e| e.contact(contact)).await
    }

    /// All contacts, in the order in which they were made.
    ///
    /// # Errors
    /// Those of the store.
    ///
    /// ```
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
    /// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
    /// # let builder = undertone::Client::builder(dir.path().join("profile"));
    /// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
    /// # let client = builder.create(profile).await?;
    /// for contact in client.contacts().await? {
    ///     println!("{} {}", contact.id, contact.name);
    /// }
    /// # client.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn contacts(&self) -> Result<Vec<Contact>, Error> {
        self.core().ask(|e| e.contacts()).await
    }

    /// The contact with this name, number, or beginning of an account fingerprint (at least 4
    /// digits). Digits alone mean the number first, and names given here stand before those that
    /// contacts gave themselves.
    ///
    /// # Errors
    /// [`Error::UnknownContact`], [`Error::AmbiguousContact`].
    ///
    /// ```
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
    /// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
    /// # let builder = undertone::Client::builder(dir.path().join("profile"));
    /// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
    /// # let client = builder.create(profile).await?;
    /// let nobody = client.contact("Bob").await.unwrap_err();
    /// assert_eq!(nobody.code(), "unknown-contact");
    /// # client.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn contact(&self, query: &str) -> Result<Contact, Error> {
        let asked = query.to_owned();
        let found = self.core().ask(move |e| e.find_contact(&asked)).await;
        found.map_err(|error| error.asked_for(query))
    }

    /// The contact with this number: whom an event or a message is about.
    ///
    /// # Errors
    /// [`Error::UnknownContact`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client, event: undertone::Event) -> Result<(), undertone::Error> {
    /// if let Some(contact) = event.kind.contact() {
    ///     println!("{}", client.contact_by_id(contact).await?.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn contact_by_id(&self, contact: ContactId) -> Result<Contact, Error> {
        let found = self.core().ask(move |e| e.contact(contact)).await;
        found.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Calls a contact something else, here only.
    ///
    /// # Errors
    /// [`Error::UnknownContact`], [`Error::NameInvalid`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let bob = client.contact("Bob").await?;
    /// client.rename(bob.id, "Bob from work").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn rename(&self, contact: ContactId, name: &str) -> Result<Contact, Error> {
        let name = name.to_owned();
        let renamed = self.core().change(move |e| e.rename(contact, &name)).await;
        renamed.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Queues a text. It is on disk when this returns; no network is needed.
    ///
    /// # Errors
    /// [`Error::UnknownContact`], [`Error::ContactBlocked`], [`Error::MessageEmpty`],
    /// [`Error::MessageTooLong`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let bob = client.contact("Bob").await?;
    /// // It is on the disk when this returns, and goes out when the relay can be reached.
    /// let id = client.send_text(bob.id, "see you at eight").await?;
    /// println!("{:?}", client.message(id).await?.state);
    /// # Ok(())
    /// # }
    /// ```
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
    /// [`Error::FileUnreadable`], [`Error::FileTooLarge`], [`Error::UnknownContact`],
    /// [`Error::ContactBlocked`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let bob = client.contact("Bob").await?;
    /// client.send_file(bob.id, "report.pdf").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn send_file(
        &self,
        contact: ContactId,
        path: impl AsRef<Path>,
    ) -> Result<MessageId, Error> {
        let path = path.as_ref().to_path_buf();
        let queued = self.shared.queue_file(contact, path, String::new()).await;
        self.shared.wake_all();
        queued.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Asks for a file that a contact sent and that was not fetched by itself
    /// ([`EventKind::FileWaiting`](crate::EventKind::FileWaiting)), or whose fetching was cancelled. It
    /// is fetched in the background, or with the next [`Client::sync`], from where it stopped, also
    /// after the program was killed.
    ///
    /// # Errors
    /// [`Error::TransferAbsent`] if there is no such file, or it is here already.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), undertone::Error> {
    /// use undertone::EventKind;
    ///
    /// let mut events = client.events("files");
    /// if let EventKind::FileWaiting { contact, id, size } = events.next_event().await?.kind {
    ///     if size < 100 << 20 {
    ///         client.download(contact, id).await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn download(&self, contact: ContactId, id: MessageId) -> Result<(), Error> {
        self.core().change(move |e| e.ask_for_file(contact, id)).await?;
        self.shared.downloads.notify_one();
        Ok(())
    }

    /// Stops fetching a file, also while it comes, and removes what has come of it.
    /// [`Client::download`] begins anew.
    ///
    /// # Errors
    /// [`Error::TransferAbsent`] if there is no such file, or it is here already.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client, message: undertone::Message) -> Result<(), undertone::Error> {
    /// client.cancel_download(message.contact, message.id).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cancel_download(&self, contact: ContactId, id: MessageId) -> Result<(), Error> {
        let place = self.core().change(move |e| e.cancel_download(contact, id)).await?;
        self.shared.cancelled.cancel(place);
        self.shared.remove_part(contact, id)
    }

    /// Does not send a file that is not at the relay yet, or not all of it: its message has failed, and
    /// what is behind it goes on. If it was on its way, what the relay has of it is deleted there; what
    /// came there in an earlier pass expires.
    ///
    /// # Errors
    /// [`Error::TransferAbsent`] if there is no such file, or it is at the relay already.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client, id: undertone::MessageId) -> Result<(), undertone::Error> {
    /// client.cancel_upload(id).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cancel_upload(&self, id: MessageId) -> Result<(), Error> {
        let (place, blob) = self.core().change(move |e| e.cancel_upload(id)).await?;
        self.shared.cancelled.cancel(place);
        self.shared.remove_blob(&blob)?;
        self.shared.outgoing.notify_one();
        Ok(())
    }

    /// A message of the history: the one of this id that this profile sent, or else one that a
    /// contact sent. For what an event tells of, use [`Client::message_of`]: contacts choose the ids
    /// of what they send.
    ///
    /// # Errors
    /// [`Error::UnknownMessage`], also for one that has been erased.
    ///
    /// ```
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
    /// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
    /// # let builder = undertone::Client::builder(dir.path().join("profile"));
    /// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
    /// # let client = builder.create(profile).await?;
    /// use undertone::MessageId;
    ///
    /// let unknown = client.message(MessageId::from_bytes([1; 16])).await.unwrap_err();
    /// assert_eq!(unknown.code(), "unknown-message");
    /// # client.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn message(&self, id: MessageId) -> Result<Message, Error> {
        self.core().ask(move |e| e.message(id)).await
    }

    /// The message of this id that this contact sent: what [`EventKind::MessageReceived`] tells of.
    /// It may be gone by the time the event is read; [`Client::message_of`], which says so without an
    /// error, is what suits a loop over events.
    ///
    /// [`EventKind::MessageReceived`]: crate::EventKind::MessageReceived
    ///
    /// # Errors
    /// [`Error::UnknownMessage`], also for one that was erased, or has disappeared. In a loop over
    /// events this means that there is nothing to do: acknowledge the event and go on.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use undertone::{Error, EventKind};
    ///
    /// let mut events = client.events("my program");
    /// let event = events.next_event().await?;
    /// if let EventKind::MessageReceived { contact, id } = event.kind {
    ///     match client.received_message(contact, id).await {
    ///         Ok(message) => println!("{:?}", message.kind),
    ///         Err(Error::UnknownMessage) => println!("it is gone by now"),
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// }
    /// events.acknowledge(&event).await?;
    /// # Ok(())
    /// # }
    /// ```
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
    /// [`Error::Unreachable`], [`Error::RelayPinMismatch`] or [`Error::RelayRefused`] if the last
    /// attempt was refused (the message is kept and tried again); [`Error::StoreRolledBack`] if it
    /// waits for a session that starts anew; [`Error::ConsentNeeded`] if it waits for
    /// [`Client::consent_to_resend`]; [`Error::MessageFailed`] if it can't be sent at all;
    /// [`Error::UnknownMessage`], also if it was erased meanwhile.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use undertone::MessageState;
    ///
    /// client.start()?;
    /// let bob = client.contact("Bob").await?;
    /// let id = client.send_text(bob.id, "are you there?").await?;
    /// client.wait(id, MessageState::Delivered, Duration::from_secs(60)).await?;
    /// println!("Bob's program has it");
    /// # Ok(())
    /// # }
    /// ```
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
                let relay = self.relay_of(&message).await?;
                if let Some(result) = waited(message, &state, relay) {
                    return result;
                }
                changes.changed().await.map_err(|_| Error::Closed)?;
            }
        };
        tokio::time::timeout(timeout, waiting).await.unwrap_or(Err(Error::Timeout))
    }

    /// The relay that holds a message up, if one does.
    async fn relay_of(&self, message: &Message) -> Result<Option<String>, Error> {
        let contact = message.contact;
        let relay = match message.hold {
            None => None,
            // Files are stored at our own.
            Some(Hold::UploadRefused) => Some(self.shared.home()),
            Some(_) => self.core().ask(move |e| e.relay_towards(contact)).await?,
        };
        Ok(relay.map(|relay| relay.authority()))
    }

    /// One pass: connects, receives all that is waiting, sends all that is queued, fetches files,
    /// and returns when there is nothing left to do.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::RelayPinMismatch`], [`Error::RelayRefused`] and what else
    /// concerns this profile's own relay; [`Error::Offline`]; [`Error::Superseded`]. A contact's relay
    /// that fails is counted in the report. [`Error::StoreCorrupt`] or [`Error::StoreFailed`] may
    /// concern one contact or one file alone: the others were seen to all the same.
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let report = client.sync().await?;
    /// println!("{} messages came", report.received);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn sync(&self) -> Result<SyncReport, Error> {
        self.shared.sync().await
    }

    /// Stays connected in the background until the client is closed: receives and sends as it
    /// comes, and reconnects with growing, jittered pauses, of a minute at most. Calling it again
    /// changes nothing.
    ///
    /// That it can't connect (the relay is down, has another key, or has withdrawn the token) is not
    /// reported by this call, nor by an event: it is tried again and again. [`Client::connection`] tells
    /// how it stands; [`Client::sync`] of a started client returns as soon as it has tried.
    ///
    /// # Errors
    /// [`Error::Offline`] if the client was opened offline; [`Error::Closed`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.start()?;
    /// let mut events = client.events("my program");
    /// println!("{:?}", events.next_event().await?.kind);
    /// # Ok(())
    /// # }
    /// ```
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

    /// Reads the event log under a name; see [`Events`]. A new name begins at the oldest event that is
    /// kept, and is kept itself once it has been read with, until [`Client::drop_cursor`].
    ///
    /// ```
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
    /// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
    /// # let builder = undertone::Client::builder(dir.path().join("profile"));
    /// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
    /// # let client = builder.create(profile).await?;
    /// let mut events = client.events("my program");
    /// assert!(events.try_next().await?.is_none(), "nothing has happened yet");
    /// # client.close().await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn events(&self, cursor: &str) -> Events {
        Events::new(self.clone(), cursor.to_owned())
    }

    /// The last `limit` messages with a contact, oldest first; with `before`, the last ones before
    /// that place in the history ([`Message::seq`]).
    ///
    /// # Errors
    /// [`Error::UnknownContact`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let bob = client.contact("Bob").await?;
    /// let last = client.history(bob.id, None, 20).await?;
    /// // The twenty before those.
    /// let before = client.history(bob.id, last.first().map(|message| message.seq), 20).await?;
    /// println!("{} and {}", before.len(), last.len());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn history(
        &self,
        contact: ContactId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Message>, Error> {
        let history = self.core().read(move |e| e.history(contact, before, limit)).await;
        history.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Every key, capability, identity and name that this profile holds now.
    ///
    /// Only for tests and demonstrations that search a relay for what must not be there: what this
    /// returns opens everything.
    ///
    /// # Errors
    /// Those of the store.
    ///
    /// ```
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
    /// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
    /// # let builder = undertone::Client::builder(dir.path().join("profile"));
    /// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
    /// # let client = builder.create(profile).await?;
    /// let secrets = client.dangerous_audit_secrets().await?;
    /// assert!(secrets.iter().any(|secret| secret.label == "account key, private"));
    /// # client.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn dangerous_audit_secrets(&self) -> Result<Vec<AuditSecret>, Error> {
        self.core().ask(|e| e.dangerous_audit_secrets()).await
    }

    /// What to compare with a contact.
    ///
    /// # Errors
    /// [`Error::UnknownContact`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let bob = client.contact("Bob").await?;
    /// println!("compare in person: {}", client.safety_number(bob.id).await?.digits);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn safety_number(&self, contact: ContactId) -> Result<SafetyNumberView, Error> {
        let number = self.core().ask(move |e| e.safety_number(contact)).await;
        number.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Records that the safety numbers were compared and are the same.
    ///
    /// # Errors
    /// [`Error::UnknownContact`].
    ///
    /// ```no_run
    /// # async fn example(client: undertone::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let bob = client.contact("Bob").await?;
    /// // After the two have compared their numbers.
    /// assert!(client.mark_verified(bob.id).await?.verified);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn mark_verified(&self, contact: ContactId) -> Result<Contact, Error> {
        let verified = self.core().change(move |e| e.mark_verified(contact)).await;
        verified.map_err(|error| error.asked_for(&contact.to_string()))
    }

    /// Ends everything that runs for this client and closes the store. Other handles answer
    /// [`Error::Closed`] from then on.
    ///
    /// ```
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
    /// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
    /// # let builder = undertone::Client::builder(dir.path().join("profile"));
    /// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
    /// # let client = builder.create(profile).await?;
    /// client.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(self) {
        self.shared.background.stop().await;
        self.shared.network.close().await;
        // What is being encrypted or decrypted comes to its end, before anybody else opens the profile.
        let idle = self.shared.working.write().await;
        self.shared.core.close().await;
        drop(idle);
        // Started by another handle meanwhile.
        self.shared.background.stop().await;
        self.shared.connections.closed();
    }
}

/// Whether waiting for a message is over, and how.
fn waited(
    message: Message,
    state: &MessageState,
    relay: Option<String>,
) -> Option<Result<Message, Error>> {
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
        (_, Some(hold)) => held(hold, relay).map(Err),
        (_, None) => None,
    }
}

/// Why a message is held up. `None` if that is over by now: something else follows.
fn held(hold: Hold, relay: Option<String>) -> Option<Error> {
    Some(match hold {
        Hold::MailboxFull => Error::MailboxFull,
        Hold::AddressUnknown => Error::AddressUnknown,
        Hold::StoreRolledBack => Error::StoreRolledBack,
        Hold::ConsentNeeded => Error::ConsentNeeded,
        Hold::RelayUnreachable => Error::Unreachable { relay: relay? },
        Hold::RelayPinMismatch => Error::RelayPinMismatch { relay: relay? },
        other => Error::RelayRefused { relay: relay?, code: other.code().to_owned() },
    })
}
