//! Keys, capabilities, identifiers and counters: each a type of its own.
//!
//! Byte strings are encoded as their bytes without a length, integers as varints.

use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

/// SHA-256 over a label and the parts, which all have fixed lengths except at most the last.
pub(crate) fn labelled_hash(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(label.as_bytes());
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Public byte strings: shown as hexadecimal, ordered, hashable.
macro_rules! public_bytes {
    ($($(#[$doc:meta])* $name:ident[$len:literal];)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(#[serde(with = "crate::bytes::array")] [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// From its bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(", stringify!($name))?;
                write_hex(f, &self.0)?;
                f.write_str(")")
            }
        }
    )*};
}

/// Secret byte strings of 32 bytes: wiped on drop, never shown, compared in constant time.
macro_rules! secret_bytes {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Serialize, Deserialize, ZeroizeOnDrop)]
        pub struct $name(#[serde(with = "crate::bytes::array")] [u8; 32]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = 32;

            /// From its bytes, which must come from the system's random generator; the argument's
            /// copy is wiped.
            #[must_use]
            pub fn from_bytes(mut bytes: [u8; 32]) -> Self {
                let secret = Self(bytes);
                bytes.zeroize();
                secret
            }

            /// Its bytes. They are secret: wipe every copy.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// A second copy, where two owners are needed (a retry, a reconnect). Written out
            /// instead of `Clone` so that each copy is a decision that can be found.
            #[must_use]
            pub fn duplicate(&self) -> Self {
                Self(self.0)
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self(_) = self;
                write!(f, "{}(..)", stringify!($name))
            }
        }
    )*};
}

public_bytes! {
    /// SHA-256 of the DER `SubjectPublicKeyInfo` of a relay's Ed25519 root key: what a client pins.
    RootFingerprint[32];
    /// Public Ed25519 key of a mailbox's owner (RFC 8032). Not checked to be a curve point until a
    /// signature is verified with it.
    ReadKey[32];
    /// Names a mailbox between its owner and the relay; see [`ReadKey::mailbox`].
    MailboxId[32];
    /// What the relay keeps of a write capability; see [`WriteCapability::hash`].
    WriteCapabilityHash[32];
    /// Names a depot: what the relay keeps of a fetch capability; see [`FetchCapability::depot`].
    DepotId[32];
    /// Public Ed25519 key of a depot's owner, independent of the link's secret.
    DepotKey[32];
    /// Public Ed25519 key that a client made for one subscription ticket.
    SessionKey[32];
    /// Chosen at random by the holder of a link and kept with the attempt, so that a repeated take
    /// (after a broken connection, or a crash) gets the same bundle.
    TakeId[16];
    /// Names a blob. Random, chosen by the uploader.
    BlobId[32];
    /// SHA-256 of a whole blob.
    BlobHash[32];
    /// What the relay keeps of a blob's read or delete capability.
    BlobCapabilityHash[32];
    /// Recognises an envelope that is delivered again; see [`EnvelopeHash::of`].
    EnvelopeHash[16];
    /// Scopes sequence numbers and floors: a relay restored from a backup has a new one.
    Incarnation[16];
    /// An Ed25519 signature (RFC 8032).
    Signature[64];
}

secret_bytes! {
    /// Lets its holder put envelopes into one mailbox, whose id it does not tell.
    WriteCapability;
    /// Lets its holder take prekey bundles from one depot; derived from a link's secret.
    FetchCapability;
    /// Lets its holder read one blob.
    BlobReadCapability;
    /// Lets its holder delete one blob.
    BlobDeleteCapability;
    /// Lets its holder create mailboxes and depots and store blobs at one relay, within the
    /// quotas of the token's class.
    AdmissionToken;
    /// 32 bytes that only the two ends of this connection know (RFC 8446 §7.5), so that what is
    /// signed over them cannot be replayed elsewhere.
    Exporter;
}

impl ReadKey {
    /// `SHA-256("undertone/1 mailbox id" ‖ read key)`.
    #[must_use]
    pub fn mailbox(&self) -> MailboxId {
        MailboxId(labelled_hash("undertone/1 mailbox id", &[&self.0]))
    }
}

impl WriteCapability {
    /// `SHA-256("undertone/1 write capability" ‖ w)`.
    #[must_use]
    pub fn hash(&self) -> WriteCapabilityHash {
        WriteCapabilityHash(labelled_hash("undertone/1 write capability", &[&self.0]))
    }
}

impl FetchCapability {
    /// `SHA-256("undertone/1 depot id" ‖ fetch capability)`.
    #[must_use]
    pub fn depot(&self) -> DepotId {
        DepotId(labelled_hash("undertone/1 depot id", &[&self.0]))
    }
}

impl BlobReadCapability {
    /// `SHA-256("undertone/1 blob read" ‖ capability)`.
    #[must_use]
    pub fn hash(&self) -> BlobCapabilityHash {
        BlobCapabilityHash(labelled_hash("undertone/1 blob read", &[&self.0]))
    }
}

impl BlobDeleteCapability {
    /// `SHA-256("undertone/1 blob delete" ‖ capability)`.
    #[must_use]
    pub fn hash(&self) -> BlobCapabilityHash {
        BlobCapabilityHash(labelled_hash("undertone/1 blob delete", &[&self.0]))
    }
}

impl AdmissionToken {
    /// `SHA-256("undertone/1 admission token" ‖ token)`: the verifier that the relay keeps.
    #[must_use]
    pub fn verifier(&self) -> [u8; 32] {
        labelled_hash("undertone/1 admission token", &[&self.0])
    }
}

impl EnvelopeHash {
    /// The first 16 bytes of `SHA-256("undertone/1 envelope" ‖ envelope)`.
    #[must_use]
    pub fn of(envelope: &[u8]) -> Self {
        let whole = labelled_hash("undertone/1 envelope", &[envelope]);
        let mut hash = [0; 16];
        for (to, from) in hash.iter_mut().zip(whole) {
            *to = from;
        }
        Self(hash)
    }
}

/// Correlates a reply with its request on one connection. A client never uses a number twice on
/// the same connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RequestId(u64);

impl RequestId {
    /// From a number.
    #[must_use]
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Position of an envelope in its mailbox: the first is 1, and they are contiguous.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Seq(u64);

impl Seq {
    /// From a number.
    #[must_use]
    pub const fn new(seq: u64) -> Self {
        Self(seq)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Everything up to and including this position is gone: acknowledged, or expired. 0 at first.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Floor(u64);

impl Floor {
    /// Nothing is gone.
    pub const NONE: Self = Self(0);

    /// Everything up to and including position `seq`.
    #[must_use]
    pub const fn new(seq: u64) -> Self {
        Self(seq)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether that position is gone.
    #[must_use]
    pub const fn covers(self, seq: Seq) -> bool {
        seq.0 <= self.0
    }
}

impl From<Seq> for Floor {
    fn from(seq: Seq) -> Self {
        Self(seq.0)
    }
}

/// Days since 1970-01-01, UTC. Nothing that the relay keeps says more about time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Day(u32);

impl Day {
    /// Seconds of a day; leap seconds do not exist in Unix time.
    const SECONDS: u64 = 86_400;

    /// From a number of days.
    #[must_use]
    pub const fn new(days: u32) -> Self {
        Self(days)
    }

    /// The day of a Unix time in seconds; times beyond year 11 million give the last day there is.
    #[must_use]
    pub fn from_unix_seconds(seconds: u64) -> Self {
        Self(u32::try_from(seconds / Self::SECONDS).unwrap_or(u32::MAX))
    }

    /// The number of days.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// That many days later; never past the last day there is.
    #[must_use]
    pub const fn plus(self, days: u32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// How many days `later` is after this day; 0 if it is before.
    #[must_use]
    pub const fn days_until(self, later: Self) -> u32 {
        later.0.saturating_sub(self.0)
    }
}
