//! Latencies and their percentiles.

use std::time::Duration;

/// Latencies, each kept: percentiles are exact.
#[derive(Default)]
pub(crate) struct Latencies(Vec<u64>);

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        self.0.push(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// So many thousandths of them are not longer.
    pub(crate) fn permille(&mut self, permille: usize) -> Duration {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        let at = (self.0.len().saturating_mul(permille) / 1000).min(last);
        Duration::from_micros(self.0.get(at).copied().unwrap_or(0))
    }

    pub(crate) fn summary(mut self, over: Duration) -> String {
        let each = f64::from(u32::try_from(self.count()).unwrap_or(u32::MAX)) / over.as_secs_f64();
        format!(
            "{each:.0}/s, p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?} ({} in all)",
            self.permille(500),
            self.permille(990),
            self.permille(999),
            self.permille(1000),
            self.count(),
        )
    }
}
