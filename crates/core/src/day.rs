//! Time, as coarse as the protocol needs it.

/// A day: whole days since 1970-01-01 UTC. Nothing in the protocol knows a
/// finer time (`protocol-spec/01-primitives.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u32);

impl Day {
    /// A day by its number.
    pub const fn new(days_since_epoch: u32) -> Self {
        Self(days_since_epoch)
    }

    /// The day of a Unix time in seconds; the last representable one where
    /// the time lies beyond it.
    pub fn from_unix_seconds(seconds: u64) -> Self {
        Self(u32::try_from(seconds / 86_400).unwrap_or(u32::MAX))
    }

    /// Its number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The day `days` later; saturates.
    pub const fn plus(self, days: u32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// The day `days` earlier; saturates.
    pub const fn minus(self, days: u32) -> Self {
        Self(self.0.saturating_sub(days))
    }
}
