//! What the operator decides about the store, and may change while it is open.

use undertone_wire::limits::MAX_RETENTION_DAYS;

use super::DiskLimits;

/// What the operator decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Days that an envelope is kept; more than [`MAX_RETENTION_DAYS`] counts as that. Holds for
    /// what comes in. What is there goes when was decided then, or, since a mailbox loses nothing
    /// before what is older, together with the first that came later and goes earlier.
    pub retention_days: u32,
    /// What the holders of tokens may make in a day.
    pub quotas: Quotas,
    /// How much of the disk the relay may use.
    pub disk: DiskLimits,
    /// What the envelopes of one write capability may take of a mailbox that has others, in percent
    /// of the mailbox's limits; from 100 on there is no bound. Counted in memory, from the start.
    pub share: u32,
}

/// Of [`Policy::share`]: four senders are needed to fill a mailbox for a fifth, and what is left to
/// one alone (2,500 envelopes) is more than anybody sends before an answer.
pub const DEFAULT_SHARE: u32 = 25;

impl Default for Policy {
    fn default() -> Self {
        Self {
            retention_days: MAX_RETENTION_DAYS,
            quotas: Quotas::default(),
            disk: DiskLimits::default(),
            share: DEFAULT_SHARE,
        }
    }
}

/// How much a token's holders may do in a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenClass {
    /// For people whom the operator hardly knows.
    Guest,
    /// For an office or a family.
    Standard,
    /// For services and tests: no quota.
    Unlimited,
    /// What everybody has at a relay that asks for no token: see [`crate::admission::OPEN_TOKEN`].
    Open,
}

/// What the holders of one token may make in a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DailyQuota {
    /// Mailboxes and depots.
    pub mailboxes: u32,
    /// Bytes of blobs.
    pub blob_bytes: u64,
}

/// The quota of each class that has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quotas {
    /// Of [`TokenClass::Guest`].
    pub guest: DailyQuota,
    /// Of [`TokenClass::Standard`].
    pub standard: DailyQuota,
    /// Of [`TokenClass::Open`].
    pub open: DailyQuota,
}

impl Default for Quotas {
    /// A standard token is shared by an office or a family, so it is generous: a thousand mailboxes
    /// or depots and 16 GiB of blobs a day. A guest's is a tenth of that, and one GiB. What is open
    /// to everybody is bounded by what a small disk can bear.
    fn default() -> Self {
        Self {
            guest: DailyQuota { mailboxes: 100, blob_bytes: 1 << 30 },
            standard: DailyQuota { mailboxes: 1000, blob_bytes: 16 << 30 },
            open: DailyQuota { mailboxes: 10_000, blob_bytes: 4 << 30 },
        }
    }
}

impl Quotas {
    /// What a class may.
    #[must_use]
    pub const fn of(&self, class: TokenClass) -> DailyQuota {
        match class {
            TokenClass::Guest => self.guest,
            TokenClass::Standard => self.standard,
            TokenClass::Unlimited => DailyQuota { mailboxes: u32::MAX, blob_bytes: u64::MAX },
            TokenClass::Open => self.open,
        }
    }
}

impl TokenClass {
    /// All classes.
    pub const ALL: [Self; 4] = [Self::Guest, Self::Standard, Self::Unlimited, Self::Open];

    /// Its name in files and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Standard => "standard",
            Self::Unlimited => "unlimited",
            Self::Open => "open",
        }
    }

    /// The class with that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}
