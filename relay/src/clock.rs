//! Time is an input: the relay asks for the day, and for seconds only where certificates need them.

use std::time::{SystemTime, UNIX_EPOCH};

use undertone_wire::Day;

/// Where the relay gets the time from.
pub trait Clock: Send + Sync {
    /// Seconds since 1970-01-01, UTC.
    fn unix_seconds(&self) -> u64;

    /// The day.
    fn today(&self) -> Day {
        Day::from_unix_seconds(self.unix_seconds())
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_seconds(&self) -> u64 {
        // A clock before 1970 counts as 1970.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}
