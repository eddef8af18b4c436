//! What the relay keeps, behind a trait small enough to read at a glance.
//!
//! A [`Store`] executes batches of [`Command`]s on one thread. A batch is one group commit: all of
//! it is on stable storage when [`Store::commit`] returns, or the store has failed and the relay
//! stops. A [`Reader`] hands out queued envelopes beside it.

pub mod audit;
pub mod conformance;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod memory;
mod policy;
mod room;
mod rules;
mod shares;
pub mod sqlite;
mod thread;

use core::fmt;

use undertone_wire::blob::BlobAnnouncement;
use undertone_wire::frame::{
    Acknowledgement, DepotState, FillMode, MailboxKind, MailboxLimits, MailboxState, PrekeyAnswer,
};
use undertone_wire::ids::BlobCapabilityHash;
use undertone_wire::{
    BlobHash, BlobId, Day, DepotId, DepotKey, ErrorCode, Incarnation, MailboxId, ReadKey, Seq,
    TakeId, WriteCapabilityHash,
};

pub use memory::MemoryStore;
pub use policy::{DEFAULT_SHARE, DailyQuota, Policy, Quotas, TokenClass};
pub(crate) use room::Room;
pub use room::{Disk, DiskLimits, EndlessDisk, SystemDisk};
#[cfg(test)]
pub(crate) use thread::simulate;
pub(crate) use thread::{Ended, ReadThread, StoreHandle, StoreThread, Told, Unanswered};

/// Keeps mailboxes, depots, blob records and admission tokens.
pub trait Store: Send {
    /// Executes the commands in order and makes their effects durable together. The answers are
    /// in the order of the commands; a refused command changes nothing.
    ///
    /// # Errors
    /// [`StoreFailure`] if anything could not be written or read: the batch may or may not be
    /// stored, and the store must not be used again.
    fn commit(&mut self, today: Day, batch: &[Command]) -> Result<Vec<Answer>, StoreFailure>;

    /// A reader of queued envelopes; it sees what is committed.
    ///
    /// # Errors
    /// [`StoreFailure`].
    fn reader(&self) -> Result<Box<dyn Reader>, StoreFailure>;

    /// Removes what has expired, and names what is needed to follow: the blobs whose files can go,
    /// and the mailboxes whose subscribers, if any, are told.
    ///
    /// What has expired is told by a clock that is stored. It begins at the day of the first
    /// commit, and with each call comes nearer to `today` by at most two hours for each of the
    /// `observed_hours` for which the relay has been up since the call before.
    ///
    /// # Errors
    /// As [`Self::commit`].
    fn expire(&mut self, today: Day, observed_hours: u32) -> Result<Removed, StoreFailure>;

    /// Gives room that has become free back to the file system, as much as can be done in passing;
    /// `true` if there is more of it.
    ///
    /// # Errors
    /// As [`Self::commit`].
    fn shrink(&mut self) -> Result<bool, StoreFailure> {
        Ok(false)
    }

    /// What the operator decides, from now on. Holds at first: [`Policy::default`], with the
    /// retention that the store was opened with.
    fn set_policy(&mut self, policy: &Policy);

    /// Whether an operator's command has erased something since this was last asked, so that
    /// mailboxes may be gone that somebody is subscribed to.
    fn erased_elsewhere(&mut self) -> bool;

    /// How many deliveries were refused since this was last asked because a capability had its share
    /// of a mailbox.
    fn shares_reached(&mut self) -> u64;

    /// Closes in order: the next opening finds nothing to repair.
    ///
    /// # Errors
    /// [`StoreFailure`]; what was committed is safe nevertheless.
    fn close(self: Box<Self>) -> Result<(), StoreFailure>;
}

/// Reads queued envelopes.
pub trait Reader: Send {
    /// At most `count` envelopes of a mailbox behind a position, in order. May include some that
    /// were acknowledged a moment ago.
    ///
    /// # Errors
    /// [`StoreFailure`]; a damaged envelope is no failure but [`Queued::envelope`] `None`.
    fn after(
        &mut self,
        mailbox: MailboxId,
        position: Seq,
        count: usize,
    ) -> Result<Vec<Queued>, StoreFailure>;
}

/// An envelope in a mailbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Queued {
    /// Its position.
    pub seq: Seq,
    /// Its bytes; `None` if what is stored is damaged.
    pub envelope: Option<Vec<u8>>,
}

/// What to do. Everything in it has been verified, except what only the store can know.
#[derive(Clone, Debug)]
pub enum Command {
    /// Queue an envelope. [`Outcome::Delivered`].
    Deliver {
        /// Where to.
        capability: WriteCapabilityHash,
        /// What.
        envelope: Vec<u8>,
    },
    /// Raise a floor. [`Outcome::Done`].
    Acknowledge(Acknowledgement),
    /// Make a mailbox, or add capabilities to it. [`Outcome::Mailbox`].
    CreateMailbox {
        /// The owner.
        key: ReadKey,
        /// Verifier of the token that admits the owner.
        token: [u8; 32],
        /// What kind.
        kind: MailboxKind,
        /// Its limits.
        limits: Option<MailboxLimits>,
        /// Its first capabilities.
        capabilities: Vec<WriteCapabilityHash>,
    },
    /// Change limits. [`Outcome::Done`].
    SetLimits(MailboxId, MailboxLimits),
    /// Add capabilities. [`Outcome::Done`].
    AddCapabilities(MailboxId, Vec<WriteCapabilityHash>),
    /// Revoke capabilities. [`Outcome::Done`].
    RevokeCapabilities(MailboxId, Vec<WriteCapabilityHash>),
    /// Floors and counters. [`Outcome::Mailbox`].
    Status(MailboxId),
    /// As `Status`; besides, the owner has come, so the mailbox lives on. [`Outcome::Mailbox`].
    Visit(MailboxId),
    /// Delete a mailbox. [`Outcome::Done`].
    DeleteMailbox(MailboxId),
    /// Put bundles into a depot. [`Outcome::Depot`].
    FillDepot(DepotFill),
    /// What a depot holds. [`Outcome::Depot`].
    DepotStatus(DepotId, DepotKey),
    /// Delete a depot. [`Outcome::Done`].
    DeleteDepot(DepotId, DepotKey),
    /// Hand out a bundle. [`Outcome::Prekey`].
    TakePrekey(DepotId, TakeId),
    /// Register a blob, or recognise one that was announced before. [`Outcome::Blob`].
    AnnounceBlob(BlobRecord, [u8; 32]),
    /// Look a blob up for a reader. [`Outcome::Blob`].
    FindBlob(BlobId, BlobCapabilityHash),
    /// Whether a blob is announced and neither deleted nor removed: whether its files are needed.
    /// [`Outcome::Done`] if so.
    HasBlob(BlobId),
    /// Forget a blob. [`Outcome::Done`].
    DeleteBlob(BlobId, BlobCapabilityHash),
    /// Admit whoever has a token with that verifier. [`Outcome::Token`].
    AddToken([u8; 32], TokenClass),
    /// No longer admit. [`Outcome::Done`].
    RevokeToken(TokenId),
    /// All tokens. [`Outcome::Tokens`].
    Tokens,
    /// Add to the operator's log. [`Outcome::Audited`].
    Audit(audit::Action),
}

/// What expired.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Removed {
    /// Blobs whose files can go.
    pub blobs: Vec<BlobId>,
    /// Mailboxes that nobody came to for long.
    pub mailboxes: Vec<MailboxId>,
}

/// Bundles for a depot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DepotFill {
    /// Which depot.
    pub depot: DepotId,
    /// Its owner.
    pub owner: DepotKey,
    /// Verifier of the token that admits the owner.
    pub token: [u8; 32],
    /// Add or replace.
    pub mode: FillMode,
    /// One-time bundles.
    pub one_time: Vec<Vec<u8>>,
    /// Last-resort bundle.
    pub last_resort: Option<Vec<u8>>,
    /// The day at whose end the depot goes.
    pub expires: Day,
}

/// What is known of a blob; its bytes are in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlobRecord {
    /// Which.
    pub blob: BlobId,
    /// Hash of the read capability.
    pub read: BlobCapabilityHash,
    /// Hash of the delete capability.
    pub delete: BlobCapabilityHash,
    /// Bytes of the ciphertext.
    pub length: u64,
    /// SHA-256 of the ciphertext.
    pub hash: BlobHash,
    /// The day at whose end it goes.
    pub expires: Day,
}

impl From<&BlobAnnouncement> for BlobRecord {
    fn from(announced: &BlobAnnouncement) -> Self {
        Self {
            blob: announced.blob,
            read: announced.read,
            delete: announced.delete,
            length: announced.length,
            hash: announced.hash,
            expires: announced.expires,
        }
    }
}

/// Names a token to the operator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TokenId(pub u32);

/// A token as the operator sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenRecord {
    /// Its number.
    pub id: TokenId,
    /// SHA-256 of it.
    pub verifier: [u8; 32],
    /// Its class.
    pub class: TokenClass,
    /// The day that the counters are of.
    pub day: Day,
    /// Mailboxes and depots made on that day.
    pub mailboxes: u32,
    /// Bytes of blobs announced on that day.
    pub blob_bytes: u64,
}

/// An answer to a command.
pub type Answer = Result<Outcome, ErrorCode>;

/// What a command did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done.
    Done,
    /// Accepted into this mailbox.
    Delivered {
        /// Which mailbox.
        mailbox: MailboxId,
        /// Its position, if it was queued by this command; `None` if it was there already.
        new: Option<Seq>,
    },
    /// A mailbox.
    Mailbox(MailboxState),
    /// A depot.
    Depot(DepotState),
    /// A bundle, or none.
    Prekey(Prekey),
    /// A blob.
    Blob(BlobRecord),
    /// A new token.
    Token(TokenId),
    /// All tokens.
    Tokens(Vec<TokenRecord>),
    /// The entry of the log.
    Audited(audit::AuditEntry),
}

/// As [`PrekeyAnswer`], with plain bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Prekey {
    /// Handed out once.
    OneTime(Vec<u8>),
    /// Handed out to everybody.
    LastResort(Vec<u8>),
    /// None left.
    UsedUp,
}

impl TryFrom<Prekey> for PrekeyAnswer {
    type Error = ErrorCode;

    fn try_from(prekey: Prekey) -> Result<Self, ErrorCode> {
        use undertone_wire::BoundedBytes;
        // Bundles were measured when they came; another size now means damage.
        let sealed = |bytes| BoundedBytes::new(bytes).ok_or(ErrorCode::Damaged);
        Ok(match prekey {
            Prekey::OneTime(bytes) => Self::OneTime(sealed(bytes)?),
            Prekey::LastResort(bytes) => Self::LastResort(sealed(bytes)?),
            Prekey::UsedUp => Self::UsedUp,
        })
    }
}

/// The store can't be used any more, or can't be opened. The relay stops: what was answered before
/// is stored, nothing is answered after.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreFailure {
    /// The database reported this.
    Database(rusqlite::Error),
    /// The file system reported this.
    File(std::io::Error),
    /// A stored value is not what was stored there: which one.
    Damaged(&'static str),
    /// Written by a version that this one does not know.
    Version(i64),
    /// Written by the version before, and only the relay itself brings it up to this one.
    NotUpgraded,
    /// The SQLite library is older than the first one without a fault that loses commits.
    OldSqlite,
    /// Another process uses the directory.
    InUse,
    /// A restore into the directory has not come to its end.
    HalfRestored,
    /// The system's random generator failed.
    Random,
}

impl fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => write!(f, "the store's database failed: {error}"),
            Self::File(error) => write!(f, "the store's files failed: {error}"),
            Self::Damaged(what) => write!(
                f,
                "the store is damaged ({what}); nothing was changed, restore it from a backup"
            ),
            Self::Version(version) => write!(
                f,
                "the store has format {version}, which this version does not know; use a newer undertone-relay"
            ),
            Self::NotUpgraded => f.write_str(
                "an earlier version wrote the store; start the relay of this version first, which brings the store up to it",
            ),
            Self::OldSqlite => {
                f.write_str("this SQLite is too old; version 3.51.3 or later is needed")
            }
            Self::InUse => {
                f.write_str("another undertone-relay uses this directory; stop it first")
            }
            Self::HalfRestored => f.write_str(
                "a restore into this directory has not come to its end; if none is running, empty the directory and restore again",
            ),
            Self::Random => f.write_str("the system's random generator failed"),
        }
    }
}

impl std::error::Error for StoreFailure {}

impl From<rusqlite::Error> for StoreFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<std::io::Error> for StoreFailure {
    fn from(error: std::io::Error) -> Self {
        Self::File(error)
    }
}

/// Bytes from the system's random generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], StoreFailure> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| StoreFailure::Random)?;
    Ok(bytes)
}

/// A fresh incarnation.
pub(crate) fn new_incarnation() -> Result<Incarnation, StoreFailure> {
    Ok(Incarnation::from_bytes(random()?))
}
