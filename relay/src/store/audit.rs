//! What operators did, in a chain of hashes.
//!
//! An entry has a number, a day, an action with what belongs to it, and
//!
//! ```text
//! hash = SHA-256("undertone relay audit" ‖ hash of the entry before (32; zeros for the first)
//!        ‖ number (8) ‖ day (4) ‖ length of action (2) ‖ action ‖ length of detail (2) ‖ detail)
//! ```
//!
//! so that no entry can be altered, removed from the middle or put in without changing all that
//! follow. That the end is missing shows against an *anchor*: the number and hash of an entry,
//! written to the file `audit.head` with each entry, and wherever the operator notes it down.

use core::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use undertone_wire::Day;

use super::{TokenClass, TokenId};

const LABEL: &[u8] = b"undertone relay audit";

/// What something was done with that a client owns. It says what kind of thing and never which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Thing {
    /// A mailbox with its capabilities and envelopes.
    Mailbox,
    /// A depot with its bundles.
    Depot,
    /// A blob.
    Blob,
    /// Nothing was found.
    Nothing,
}

impl Thing {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mailbox => "mailbox",
            Self::Depot => "depot",
            Self::Blob => "blob",
            Self::Nothing => "nothing found",
        }
    }
}

/// What an operator did. There is no room in it for anything about clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Action {
    /// Made a token.
    TokenAdded(TokenId, TokenClass),
    /// Looked at the list of tokens.
    TokensListed,
    /// Ended a token.
    TokenRevoked(TokenId),
    /// Looked at what is stored.
    Inspected,
    /// Printed the inventory.
    InventoryTaken,
    /// Searched the store for damage.
    Checked,
    /// Handed out what is stored of something.
    Exported(Thing),
    /// Removed something.
    Erased(Thing),
    /// Made a backup.
    BackedUp,
    /// Made this store from a backup.
    Restored,
    /// Let the maintenance clock catch up at once.
    ClockAccepted,
    /// Had the configuration read again.
    Reloaded,
    /// Did something with the root key, or its certificates.
    RootUsed(RootUse),
}

/// What was done with the root key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RootUse {
    /// Copied it to a file.
    Exported,
    /// Moved it to a file.
    Removed,
    /// Put it back.
    Imported,
    /// Asked for a certificate.
    Requested,
    /// Put certificates into use.
    Installed,
    /// Replaced it by another one.
    Rotated,
    /// Ended a former one.
    Retired,
}

impl RootUse {
    const fn name(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::Removed => "exported and removed",
            Self::Imported => "imported",
            Self::Requested => "certificate requested",
            Self::Installed => "certificates installed",
            Self::Rotated => "replaced by another one",
            Self::Retired => "a former one retired",
        }
    }
}

impl Action {
    /// Name and detail, as they are stored.
    pub(crate) fn text(self) -> (&'static str, String) {
        let plain = |name| (name, String::new());
        match self {
            Self::TokenAdded(id, class) => {
                ("token add", format!("token {} of class {}", id.0, class.name()))
            }
            Self::TokensListed => plain("token list"),
            Self::TokenRevoked(id) => ("token revoke", format!("token {}", id.0)),
            Self::Inspected => plain("inspect"),
            Self::InventoryTaken => plain("inventory"),
            Self::Checked => plain("check"),
            Self::Exported(thing) => ("export", thing.name().into()),
            Self::Erased(thing) => ("erase", thing.name().into()),
            Self::BackedUp => plain("backup"),
            Self::Restored => plain("restore"),
            Self::ClockAccepted => plain("accept clock"),
            Self::Reloaded => plain("reload"),
            Self::RootUsed(what) => ("root", what.name().into()),
        }
    }
}

/// Hash of an entry, and so of all before it.
pub type AuditHash = [u8; 32];

/// An entry of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEntry {
    /// 1 for the first.
    pub number: u64,
    /// When; nothing finer is kept.
    pub day: Day,
    /// What was done.
    pub action: String,
    /// What belongs to it.
    pub detail: String,
    /// See the module.
    pub hash: AuditHash,
}

impl AuditEntry {
    /// The hash that an entry must have behind another.
    #[must_use]
    pub fn expected_hash(&self, previous: &AuditHash) -> AuditHash {
        let mut hash = Context::new(&SHA256);
        hash.update(LABEL);
        hash.update(previous);
        hash.update(&self.number.to_be_bytes());
        hash.update(&self.day.get().to_be_bytes());
        for text in [&self.action, &self.detail] {
            // Texts come from `Action::text` and are short; a longer one has no valid hash.
            hash.update(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
            hash.update(text.as_bytes());
        }
        // SHA-256 has 32 bytes.
        hash.finish().as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// What to compare the log with later.
    #[must_use]
    pub const fn anchor(&self) -> AuditAnchor {
        AuditAnchor { number: self.number, hash: self.hash }
    }
}

/// An entry that the log must have: `NUMBER:HASH`, the hash in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuditAnchor {
    /// The entry's number.
    pub number: u64,
    /// Its hash.
    pub hash: AuditHash,
}

impl fmt::Display for AuditAnchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.number)?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl core::str::FromStr for AuditAnchor {
    type Err = AuditFault;

    fn from_str(text: &str) -> Result<Self, AuditFault> {
        let parse = || {
            let (number, hash) = text.trim_end().split_once(':')?;
            Some(Self { number: number.parse().ok()?, hash: crate::operator::hex(hash)? })
        };
        parse().ok_or(AuditFault::Anchor)
    }
}

/// What is wrong with a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AuditFault {
    /// Entries are missing before the one with this number.
    Missing(u64),
    /// The entry with this number, or one before it, is not what was written.
    Altered(u64),
    /// The log ends before the entry that an anchor names.
    Truncated(u64),
    /// There are entries and no file `audit.head`.
    NoHead,
    /// An anchor cannot be read.
    Anchor,
}

impl fmt::Display for AuditFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(number) => write!(f, "entries before number {number} are missing"),
            Self::Altered(number) => {
                write!(f, "entry {number} is not what was written, or follows one that was altered")
            }
            Self::Truncated(number) => write!(f, "entry {number} and what followed it are missing"),
            Self::NoHead => f.write_str("the file audit.head is missing"),
            Self::Anchor => f.write_str(
                "an anchor is NUMBER:HASH with 64 hexadecimal digits, as `audit show` prints it",
            ),
        }
    }
}

impl std::error::Error for AuditFault {}

/// Checks a whole log against its own chain and against anchors (R-1210).
///
/// # Errors
/// The first [`AuditFault`].
pub fn verify(entries: &[AuditEntry], anchors: &[AuditAnchor]) -> Result<(), AuditFault> {
    let mut previous = [0; 32];
    for (number, entry) in (1..).zip(entries) {
        if entry.number != number {
            return Err(AuditFault::Missing(entry.number));
        }
        if entry.expected_hash(&previous) != entry.hash {
            return Err(AuditFault::Altered(number));
        }
        previous = entry.hash;
    }
    for anchor in anchors {
        match entries.iter().find(|entry| entry.number == anchor.number) {
            None => return Err(AuditFault::Truncated(anchor.number)),
            Some(entry) if entry.hash != anchor.hash => {
                return Err(AuditFault::Altered(anchor.number));
            }
            Some(_) => {}
        }
    }
    Ok(())
}
