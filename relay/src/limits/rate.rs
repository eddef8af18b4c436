//! A bucket that fills with time and empties with use: so many at once, so many a minute.

use std::time::Duration;

/// How often something may happen. A rate of 0 a minute means: as often as one likes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// How often in a minute, in the long run.
    pub per_minute: u32,
    /// How often at once.
    pub burst: u32,
}

/// Thousandths: so that a rate of a few a minute loses nothing to rounding.
const SCALE: u64 = 60_000;

/// What is left of a rate. Time is the caller's: it only has to grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    used: u64,
    at: Duration,
}

impl Bucket {
    /// A full bucket.
    pub(crate) const fn new(now: Duration) -> Self {
        Self { used: 0, at: now }
    }

    fn refill(&mut self, rate: Rate, now: Duration) {
        let passed = now.saturating_sub(self.at).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        self.used = self.used.saturating_sub(passed.saturating_mul(rate.per_minute.into()));
        self.at = now.max(self.at);
    }

    /// Takes one, if one is left.
    pub(crate) fn take(&mut self, rate: Rate, now: Duration) -> bool {
        if !self.has(rate, now) {
            return false;
        }
        if rate.per_minute > 0 {
            self.used = self.used.saturating_add(SCALE);
        }
        true
    }

    /// Takes so many more, left or not: what is missing has to be waited for.
    pub(crate) fn owe(&mut self, rate: Rate, more: u64) {
        if rate.per_minute > 0 {
            self.used = self.used.saturating_add(SCALE.saturating_mul(more));
        }
    }

    /// Whether one is left.
    pub(crate) fn has(&mut self, rate: Rate, now: Duration) -> bool {
        self.refill(rate, now);
        rate.per_minute == 0
            || self.used.saturating_add(SCALE) <= u64::from(rate.burst).saturating_mul(SCALE)
    }

    /// How long until one is left.
    pub(crate) fn wait(&mut self, rate: Rate, now: Duration) -> Duration {
        if self.has(rate, now) {
            return Duration::ZERO;
        }
        let room = u64::from(rate.burst).saturating_mul(SCALE);
        let missing = self.used.saturating_add(SCALE).saturating_sub(room);
        let millis = missing.div_ceil(u64::from(rate.per_minute).max(1));
        Duration::from_millis(millis)
    }

    /// Whether it says nothing any more: it is as full as a new one.
    pub(crate) fn is_full(&mut self, rate: Rate, now: Duration) -> bool {
        self.refill(rate, now);
        self.used == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_minute: 6, burst: 3 };

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::new(Duration::ZERO);
        let at = Duration::from_secs;
        assert!((0..3).all(|_| bucket.take(RATE, at(0))));
        assert!(!bucket.take(RATE, at(0)));
        assert_eq!(bucket.wait(RATE, at(0)), at(10));
        assert!(!bucket.take(RATE, at(9)));
        assert!(bucket.take(RATE, at(10)));
        assert!(!bucket.take(RATE, at(10)));
        // It never holds more than the burst, and a clock that stands still gives nothing.
        assert!((0..3).all(|_| bucket.take(RATE, at(10_000))));
        assert!(!bucket.take(RATE, at(10_000)));
        assert!(!bucket.take(RATE, at(5)));
    }

    #[test]
    fn what_is_owed_has_to_be_waited_for() {
        let mut bucket = Bucket::new(Duration::ZERO);
        assert!(bucket.take(RATE, Duration::ZERO));
        bucket.owe(RATE, u64::from(RATE.burst) + 5);
        let wait = bucket.wait(RATE, Duration::ZERO);
        let each = Duration::from_secs(60) / RATE.per_minute;
        assert_eq!(wait, each * 7, "six that it did not have, and the next one");
        assert!(bucket.take(RATE, wait));
    }

    #[test]
    fn no_rate_is_no_limit() {
        let rate = Rate { per_minute: 0, burst: 0 };
        let mut bucket = Bucket::new(Duration::ZERO);
        assert!((0..10_000).all(|_| bucket.take(rate, Duration::ZERO)));
        assert!(bucket.is_full(rate, Duration::ZERO));
    }

    #[test]
    fn a_full_bucket_says_nothing() {
        let mut bucket = Bucket::new(Duration::ZERO);
        assert!(bucket.is_full(RATE, Duration::ZERO));
        bucket.take(RATE, Duration::ZERO);
        assert!(!bucket.is_full(RATE, Duration::from_secs(9)));
        assert!(bucket.is_full(RATE, Duration::from_secs(10)));
    }
}
