//! Everything that can go wrong, in one flat enumeration.

use std::path::PathBuf;

use undertone_core::HandshakeError;
use undertone_session::engine::EngineError;
use undertone_session::link::LinkError;
use undertone_session::store::StoreError;
use undertone_wire::client::ClientError;
use undertone_wire::{AddressError, ErrorCode, RelayAddress};

/// What went wrong, and what to do about it.
///
/// [`Error::code`] is stable; the sentence may change.
///
/// ```
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let join = "ut-join:relay.example:4433:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCVH-0go";
/// # let profile = undertone::NewProfile { name: "Ada".into(), join: join.parse()? };
/// # let builder = undertone::Client::builder(dir.path().join("profile"));
/// # let builder = builder.secret(undertone::Secret::key([7; 32])).offline();
/// # let client = builder.create(profile).await?;
/// use undertone::Error;
///
/// match client.sync().await {
///     Err(Error::Offline) => println!("this client was opened without the network"),
///     Err(error) => println!("{error} ({})", error.code()),
///     Ok(report) => println!("{} messages came", report.received),
/// }
/// # client.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no profile in the directory.
    #[error("there is no profile in {}: create one first", dir.display())]
    ProfileAbsent {
        /// The directory.
        dir: PathBuf,
    },
    /// There is a profile in the directory already; it is never overwritten.
    #[error("there is a profile in {} already: choose another directory", dir.display())]
    ProfileExists {
        /// The directory.
        dir: PathBuf,
    },
    /// The profile is there, but its key slot can't be read: damaged, or of a newer version.
    #[error(
        "the key slot of the profile can't be read ({reason}): restore the file `keyslot` from a backup; nothing was changed"
    )]
    KeyslotUnreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// The passphrase or key is not this profile's.
    #[error("wrong passphrase: nothing was changed; try again")]
    WrongPassphrase,
    /// No passphrase was given, or an empty one.
    #[error("the passphrase is empty: give one, or a key of 32 bytes; nothing was changed")]
    PassphraseEmpty,
    /// Another process has the profile open.
    #[error("another program has this profile open: close it, or use it instead")]
    StoreLocked,
    /// The store is there, but damaged. It was not touched.
    #[error(
        "the store of the profile is damaged ({reason}): it was left as it is; restore it from a backup"
    )]
    StoreCorrupt {
        /// What is wrong with it.
        reason: String,
    },
    /// The store was written by a newer version of this program.
    #[error(
        "the store of the profile is of version {found}, this program knows up to {known}: update the program"
    )]
    StoreTooNew {
        /// The version found.
        found: u32,
        /// The newest version known.
        known: u32,
    },
    /// The disk refused to read or write.
    #[error(
        "the profile's directory can't be read or written ({reason}): check space and permissions"
    )]
    StoreFailed {
        /// What the system said.
        reason: String,
    },
    /// No relay answers at the address.
    #[error(
        "the relay at {relay} can't be reached: check the network, and that the relay is running; what was written is kept and goes out later"
    )]
    Unreachable {
        /// Host and port: of this profile's relay, or of the contact's to whom something is sent.
        relay: String,
    },
    /// Something answers at the relay's address, with another root key than the address names.
    #[error(
        "what answers at {relay} is not the relay that the address names (its fingerprint differs): nothing was sent; check the address, and ask its operator"
    )]
    RelayPinMismatch {
        /// Host and port: of this profile's relay, or of the contact's to whom something is sent.
        relay: String,
    },
    /// The relay answers something that it shouldn't.
    #[error("the relay at {relay} gave an answer that can't be used ({reason})")]
    RelayProtocol {
        /// Host and port.
        relay: String,
        /// What was wrong.
        reason: String,
    },
    /// The relay does not accept the admission token.
    #[error(
        "the relay does not accept this profile's admission token: ask its operator for a new join address"
    )]
    AdmissionRefused,
    /// The relay refuses, for a reason of its own.
    #[error("the relay at {relay} refuses ({code}): try again later, or ask its operator")]
    RelayRefused {
        /// Host and port: of this profile's relay, or of the contact's to whom something is sent.
        relay: String,
        /// The relay's code.
        code: String,
    },
    /// The single-use link was used before, or all of a link's bundles are gone.
    #[error(
        "this link was used already: ask for a new one; if it was meant for you alone and you did not use it, tell its owner"
    )]
    LinkUsedUp,
    /// The relay does not know the link (any more).
    #[error(
        "the relay does not know this link: it was withdrawn or has expired; ask for a new one"
    )]
    LinkUnknown,
    /// The end of the link is missing.
    #[error("the end of the link is missing: copy all of it, up to its last letter")]
    LinkTruncated,
    /// The text is not a link, or a damaged one.
    #[error("{0}")]
    LinkMalformed(LinkError),
    /// The link is of a version or kind that this program does not know.
    #[error("{0}")]
    LinkUnsupported(LinkError),
    /// The link is this profile's own.
    #[error("this is a link of your own: give it to somebody else")]
    LinkOwn,
    /// What the relay keeps for the link does not belong to it.
    #[error(
        "what the relay keeps for this link is not from the person who made it ({reason}): ask for a new one over another channel"
    )]
    LinkForged {
        /// Which check failed.
        reason: String,
    },
    /// The text is not a relay's address or join address.
    #[error("{reason}")]
    AddressMalformed {
        /// What is wrong with it.
        reason: String,
    },
    /// No contact has this name or number.
    #[error("there is no contact \"{query}\": `contacts` lists them")]
    UnknownContact {
        /// What was asked for.
        query: String,
    },
    /// Several contacts have this name or prefix.
    #[error("\"{query}\" may mean {}: use the number", candidates.join(" or "))]
    AmbiguousContact {
        /// What was asked for.
        query: String,
        /// Number and name of those that fit.
        candidates: Vec<String>,
    },
    /// No file of this message is to be fetched or sent.
    #[error("there is no file of this message that could be fetched or cancelled")]
    TransferAbsent,
    /// A transfer was cancelled while it went on.
    #[error("the transfer was cancelled")]
    TransferCancelled,
    /// No message has this id.
    #[error("there is no message with this id")]
    UnknownMessage,
    /// The message is a contact's: its author alone may edit it or take it back.
    #[error("this message is not your own: its author alone can edit or delete it")]
    NotYours,
    /// The message can't be changed so.
    #[error("the message can't be changed: {reason}")]
    NotChangeable {
        /// Why.
        reason: String,
    },
    /// A named reader of the event log can't be opened.
    #[error("{reason}")]
    CursorInvalid {
        /// Why.
        reason: String,
    },
    /// A name is empty, too long or has characters that can't be shown.
    #[error("{reason}")]
    NameInvalid {
        /// What is wrong with it.
        reason: String,
    },
    /// A text is empty.
    #[error("there is nothing to send: the text is empty")]
    MessageEmpty,
    /// A text is too long.
    #[error("the text has {length} bytes, {max} can be sent: send it as a file")]
    MessageTooLong {
        /// Its length in bytes.
        length: usize,
        /// The longest.
        max: usize,
    },
    /// A file that is to be sent can't be read.
    #[error("{} can't be read ({reason}): nothing was sent", path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file that is to be sent is larger than can be sent.
    #[error("the file has {size} bytes, {max} can be sent")]
    FileTooLarge {
        /// Its size.
        size: u64,
        /// The largest.
        max: u64,
    },
    /// The contact's mailbox is full; the message is kept and tried again.
    #[error(
        "the contact's mailbox is full: the message is kept, and goes out when they have fetched their messages"
    )]
    MailboxFull,
    /// The contact's relay does not know the address that we have; the message is kept.
    #[error(
        "the contact's relay does not know the address that we have for them: the message is kept; ask the contact for a new link if this lasts"
    )]
    AddressUnknown,
    /// A message can't be sent.
    #[error("the message can't be sent: {reason}")]
    MessageFailed {
        /// Why.
        reason: String,
    },
    /// The relay has acknowledged more than this store knows of.
    #[error(
        "this profile was restored from an old copy: nothing goes to this contact before the session with them has started anew, which it does by itself when their relay can be reached"
    )]
    StoreRolledBack,
    /// The message was on its way to a verified contact when the session with them started anew.
    #[error(
        "the session with this verified contact has started anew: make sure that it is them, then agree that the message is sent again, or not"
    )]
    ConsentNeeded,
    /// The contact is blocked.
    #[error("the contact is blocked: unblock them first")]
    ContactBlocked,
    /// There is nothing of the kind to decide about.
    #[error("there is nothing to decide about for this contact")]
    NothingToDecide,
    /// Another program subscribed to this profile's mailboxes.
    #[error(
        "a copy of this profile runs somewhere else and has taken over: this one has stopped; use one of them only, and open it again to go on with this one"
    )]
    Superseded,
    /// A text is no recovery key.
    #[error("{reason}")]
    RecoveryKeyMalformed {
        /// What is wrong with it, and in which line.
        reason: String,
    },
    /// There is a file of the name that a backup is to have.
    #[error("there is a file {} already: choose another name; nothing was overwritten", path.display())]
    BackupExists {
        /// The file.
        path: PathBuf,
    },
    /// A backup can't be read from, or written to, the disk.
    #[error("the backup can't be read or written ({reason}): nothing was changed")]
    BackupFailed {
        /// What the system said.
        reason: String,
    },
    /// A file is no backup.
    #[error("this file is not a backup of this program: nothing was changed")]
    BackupNotRecognised,
    /// A backup was made with another recovery key.
    #[error(
        "the backup was made with another recovery key (this one has no typing error): nothing was changed"
    )]
    BackupWrongKey,
    /// The end of a backup is missing.
    #[error("the end of the backup is missing: copy all of it; nothing was changed")]
    BackupTruncated,
    /// A backup was altered.
    #[error("{reason}: use another copy of it; nothing was changed")]
    BackupDamaged {
        /// Where.
        reason: String,
    },
    /// A backup was written by a newer version of this program.
    #[error(
        "the backup is of version {found}, this program knows up to {known}: update the program; nothing was changed"
    )]
    BackupTooNew {
        /// The version found.
        found: u16,
        /// The newest version known.
        known: u16,
    },
    /// A backup is whole, and what it says can't be.
    #[error("the backup can't be used ({reason}): nothing was changed")]
    BackupInvalid {
        /// What is wrong with it.
        reason: String,
    },
    /// What was waited for did not happen in time.
    #[error("it did not happen in time; it goes on in the background or with the next `sync`")]
    Timeout,
    /// The client was opened without the network.
    #[error("this needs the network, and the client was opened offline")]
    Offline,
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
    /// A fault in this program.
    #[error("a fault in this program ({reason}): please report it")]
    Internal {
        /// Where.
        reason: String,
    },
}

impl Error {
    /// A stable name of the error, in kebab-case.
    ///
    /// ```
    /// assert_eq!(undertone::Error::StoreLocked.code(), "store-locked");
    /// ```
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ProfileAbsent { .. } => "profile-absent",
            Self::ProfileExists { .. } => "profile-exists",
            Self::KeyslotUnreadable { .. } => "keyslot-unreadable",
            Self::WrongPassphrase => "wrong-passphrase",
            Self::PassphraseEmpty => "passphrase-empty",
            Self::StoreLocked => "store-locked",
            Self::StoreCorrupt { .. } => "store-corrupt",
            Self::StoreTooNew { .. } => "store-too-new",
            Self::StoreFailed { .. } => "store-failed",
            Self::Unreachable { .. } => "unreachable",
            Self::RelayPinMismatch { .. } => "relay-pin-mismatch",
            Self::RelayProtocol { .. } => "relay-protocol",
            Self::AdmissionRefused => "admission-refused",
            Self::RelayRefused { .. } => "relay-refused",
            Self::LinkUsedUp => "link-used-up",
            Self::LinkUnknown => "link-unknown",
            Self::LinkTruncated => "link-truncated",
            Self::LinkMalformed(_) => "link-malformed",
            Self::LinkUnsupported(_) => "link-unsupported",
            Self::LinkOwn => "link-own",
            Self::LinkForged { .. } => "link-forged",
            Self::AddressMalformed { .. } => "address-malformed",
            Self::UnknownContact { .. } => "unknown-contact",
            Self::AmbiguousContact { .. } => "ambiguous-contact",
            Self::TransferAbsent => "transfer-absent",
            Self::TransferCancelled => "transfer-cancelled",
            Self::UnknownMessage => "unknown-message",
            Self::NotYours => "not-yours",
            Self::NotChangeable { .. } => "not-changeable",
            Self::CursorInvalid { .. } => "cursor-invalid",
            Self::NameInvalid { .. } => "name-invalid",
            Self::MessageEmpty => "message-empty",
            Self::MessageTooLong { .. } => "message-too-long",
            Self::FileUnreadable { .. } => "file-unreadable",
            Self::FileTooLarge { .. } => "file-too-large",
            Self::MailboxFull => "mailbox-full",
            Self::AddressUnknown => "address-unknown",
            Self::MessageFailed { .. } => "message-failed",
            Self::StoreRolledBack => "store-rolled-back",
            Self::ConsentNeeded => "consent-needed",
            Self::ContactBlocked => "contact-blocked",
            Self::NothingToDecide => "nothing-to-decide",
            Self::Superseded => "superseded",
            Self::RecoveryKeyMalformed { .. } => "recovery-key-malformed",
            Self::BackupExists { .. } => "backup-exists",
            Self::BackupFailed { .. } => "backup-failed",
            Self::BackupNotRecognised => "backup-not-recognised",
            Self::BackupWrongKey => "backup-wrong-key",
            Self::BackupTruncated => "backup-truncated",
            Self::BackupDamaged { .. } => "backup-damaged",
            Self::BackupTooNew { .. } => "backup-too-new",
            Self::BackupInvalid { .. } => "backup-invalid",
            Self::Timeout => "timeout",
            Self::Offline => "offline",
            Self::Closed => "closed",
            Self::Internal { .. } => "internal",
        }
    }
}

impl From<LinkError> for Error {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Truncated => Self::LinkTruncated,
            LinkError::UnsupportedVersion(_) | LinkError::UnsupportedKind(_) => {
                Self::LinkUnsupported(error)
            }
            other => Self::LinkMalformed(other),
        }
    }
}

impl From<AddressError> for Error {
    fn from(error: AddressError) -> Self {
        Self::AddressMalformed { reason: error.to_string() }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt { what } => Self::StoreCorrupt { reason: what },
            StoreError::Failed { reason } => Self::StoreFailed { reason },
            other => Self::StoreFailed { reason: other.to_string() },
        }
    }
}

/// Without what the caller knows beside (directory, query); `asked_for` fills it in.
impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => error.into(),
            EngineError::SchemaTooNew { found, known } => Self::StoreTooNew { found, known },
            EngineError::NameInvalid { reason } => Self::NameInvalid { reason: reason.to_owned() },
            EngineError::UnknownContact => Self::UnknownContact { query: "?".to_owned() },
            EngineError::AmbiguousContact(candidates) => Self::AmbiguousContact {
                query: "?".to_owned(),
                candidates: candidates
                    .into_iter()
                    .map(|(id, name)| format!("{id} ({name})"))
                    .collect(),
            },
            EngineError::NoTransfer => Self::TransferAbsent,
            EngineError::UnknownMessage => Self::UnknownMessage,
            EngineError::NotYours => Self::NotYours,
            EngineError::NotChangeable { reason } => {
                Self::NotChangeable { reason: reason.to_owned() }
            }
            EngineError::CursorInvalid { reason } => {
                Self::CursorInvalid { reason: reason.to_owned() }
            }
            EngineError::OwnLink => Self::LinkOwn,
            EngineError::UnknownLink => Self::LinkUnknown,
            EngineError::ContactBlocked => Self::ContactBlocked,
            EngineError::NothingToDecide => Self::NothingToDecide,
            EngineError::Bundle(error) => Self::LinkForged { reason: error.to_string() },
            // A bundle with a key of low order, or of this very device.
            EngineError::Handshake(
                error @ (HandshakeError::LowOrder | HandshakeError::Oneself),
            ) => Self::LinkForged { reason: error.to_string() },
            EngineError::Identity(error) => Self::LinkForged { reason: error.to_string() },
            EngineError::Backup(error) => error.into(),
            EngineError::EmptyText => Self::MessageEmpty,
            EngineError::TooLong { length, max } => Self::MessageTooLong { length, max },
            EngineError::FileTooLarge { size, max } => Self::FileTooLarge { size, max },
            EngineError::ProfileAbsent => {
                Self::StoreCorrupt { reason: "it holds no profile".to_owned() }
            }
            other => Self::Internal { reason: other.to_string() },
        }
    }
}

impl Error {
    /// Nothing, if this concerns one message or its contact alone (a text that is empty, somebody who is
    /// blocked) and would come again however often it is tried: a program that answers others passes it
    /// over. Every other error stays one.
    ///
    /// # Errors
    /// This one, if it is about more.
    ///
    /// ```
    /// use undertone::Error;
    ///
    /// assert!(Error::ContactBlocked.pass_over().is_ok());
    /// assert!(Error::Closed.pass_over().is_err());
    /// ```
    pub fn pass_over(self) -> Result<(), Self> {
        match self {
            Self::UnknownContact { .. }
            | Self::ContactBlocked
            | Self::UnknownMessage
            | Self::NotYours
            | Self::NotChangeable { .. }
            | Self::NameInvalid { .. }
            | Self::MessageEmpty
            | Self::MessageTooLong { .. }
            | Self::FileUnreadable { .. }
            | Self::FileTooLarge { .. }
            | Self::TransferAbsent => Ok(()),
            error => Err(error),
        }
    }

    /// Fills in whom the person asked for.
    pub(crate) fn asked_for(self, asked: &str) -> Self {
        let query = asked.to_owned();
        match self {
            Self::UnknownContact { .. } => Self::UnknownContact { query },
            Self::AmbiguousContact { candidates, .. } => {
                Self::AmbiguousContact { query, candidates }
            }
            other => other,
        }
    }

    /// Whether a relay that can be reached said no to this request; another may be granted.
    pub(crate) const fn is_refusal(&self) -> bool {
        matches!(self, Self::RelayRefused { .. } | Self::AdmissionRefused)
    }

    /// Whether nothing can go on: the client is closed or has been stopped, or the disk fails.
    pub(crate) const fn ends_everything(&self) -> bool {
        matches!(self, Self::Closed | Self::Offline | Self::Superseded | Self::StoreFailed { .. })
    }

    /// Whether nothing more comes of a pass once this was met at our own relay. What remains concerns
    /// one contact, file or link, and must not stand in the way of the others.
    pub(crate) const fn ends_the_pass(&self) -> bool {
        self.ends_everything() || self.relay_is_away()
    }

    /// Whether it is of no use to ask that relay anything else now.
    pub(crate) const fn relay_is_away(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::RelayPinMismatch { .. } | Self::RelayProtocol { .. }
        )
    }

    /// What a connection to this relay said.
    pub(crate) fn at_relay(relay: &RelayAddress, error: ClientError) -> Self {
        let relay = relay.authority();
        match error {
            ClientError::Unreachable | ClientError::Timeout | ClientError::Closed => {
                Self::Unreachable { relay }
            }
            ClientError::PinMismatch => Self::RelayPinMismatch { relay },
            ClientError::Refused(ErrorCode::NotAdmitted) => Self::AdmissionRefused,
            ClientError::Refused(ErrorCode::ShuttingDown) => Self::Unreachable { relay },
            ClientError::Refused(code) => {
                Self::RelayRefused { relay, code: code.slug().to_owned() }
            }
            other => Self::RelayProtocol { relay, reason: other.to_string() },
        }
    }
}
