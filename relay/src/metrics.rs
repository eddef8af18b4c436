//! What the relay counts: sums over everybody, never anything about one client.
//!
//! Names and texts are Prometheus' (text exposition format 0.0.4). Counters start at 0 with the
//! process.

use core::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use undertone_wire::ErrorCode;

/// How a metric is to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by size.
    Histogram,
}

impl Kind {
    /// Prometheus' name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric as it is documented.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
}

macro_rules! counters {
    ($($name:literal, $help:literal: $($variant:ident $labels:literal),+;)*) => {
        /// A counter, with its labels.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Counter {
            $($(#[doc = $help] $variant,)+)*
        }

        /// How many counters there are.
        const COUNTERS: usize = [$($(Counter::$variant),+),*].len();

        /// Each counter's family and labels, in the order of [`Counter`].
        const NAMES: [(&str, &str); COUNTERS] = [$($(($name, $labels)),+),*];

        /// Families of counters.
        const FAMILIES: &[Metric] =
            &[$(Metric { name: $name, kind: Kind::Counter, help: $help }),*];
    };
}

counters! {
    "undertone_relay_connections_total", "Connections whose handshake succeeded.":
        ConnectionsQuic "{transport=\"quic\"}", ConnectionsTcp "{transport=\"tcp\"}";
    "undertone_relay_handshakes_failed_total", "Handshakes that were begun and not finished.":
        HandshakesFailed "";
    "undertone_relay_retries_total", "Times that an address had to be confirmed before a handshake.":
        Retries "";
    "undertone_relay_turned_away_total", "Connections that were not let in, by the limit that was reached.":
        TurnedAwayDenied "{limit=\"denied\"}",
        TurnedAwayConnections "{limit=\"connections\"}",
        TurnedAwayHandshakes "{limit=\"handshakes\"}",
        TurnedAwayPrefixConnections "{limit=\"prefix.connections\"}",
        TurnedAwayPrefixHandshakes "{limit=\"prefix.handshakes\"}",
        TurnedAwayPrefixArrivals "{limit=\"prefix.arrivals\"}",
        TurnedAwayPrefixFailures "{limit=\"prefix.failures\"}";
    "undertone_relay_closed_for_failures_total", "Connections that were closed because of too many failed requests from their network.":
        ClosedForFailures "";
    "undertone_relay_closed_for_room_total", "Connections that had shown nothing for a while and were closed because connections were short.":
        ClosedForRoom "";
    "undertone_relay_stalled_total", "What was ended because the client neither sent nor took the next part of it in time.":
        StalledUploads "{what=\"upload\"}", StalledDownloads "{what=\"download\"}",
        StalledConnections "{what=\"connection\"}";
    "undertone_relay_requests_total", "Requests, by operation.":
        RequestDeliver "{operation=\"deliver\"}",
        RequestTake "{operation=\"take_prekey\"}",
        RequestAcknowledge "{operation=\"acknowledge\"}",
        RequestCreate "{operation=\"create_mailbox\"}",
        RequestSubscribe "{operation=\"subscribe\"}",
        RequestTicket "{operation=\"ticket\"}",
        RequestResume "{operation=\"resume\"}",
        RequestStatus "{operation=\"status\"}",
        RequestOwner "{operation=\"other_owner\"}",
        RequestBlobPut "{operation=\"blob_put\"}",
        RequestBlobGet "{operation=\"blob_get\"}",
        RequestBlobDelete "{operation=\"blob_delete\"}";
    "undertone_relay_shares_reached_total", "Deliveries that were refused because one capability had its share of a mailbox.":
        SharesReached "";
    "undertone_relay_pushed_envelopes_total", "Envelopes written to subscribers, repeated ones included.":
        Pushed "";
    "undertone_relay_damaged_envelopes_total", "Envelopes found damaged in the store, and not served.":
        Damaged "";
    "undertone_relay_blob_bytes_total", "Bytes of blobs, by direction.":
        BlobBytesIn "{direction=\"in\"}", BlobBytesOut "{direction=\"out\"}";
    "undertone_relay_commands_total", "Commands that the store has executed.":
        Commands "";
    "undertone_relay_reloads_total", "Reloads of the configuration, by result.":
        ReloadDone "{result=\"done\"}", ReloadFailed "{result=\"failed\"}";
    "undertone_relay_leaf_renewals_total", "Certificates put into use.":
        LeafRenewals "";
}

/// Bounds of [`Metrics::commit`]'s histogram, in microseconds.
const COMMIT_BOUNDS: [u64; 10] =
    [250, 500, 1000, 2500, 5000, 10_000, 25_000, 100_000, 500_000, 2_000_000];

const REFUSALS: Metric = Metric {
    name: "undertone_relay_refusals_total",
    kind: Kind::Counter,
    help: "Refused requests, by the error code's name.",
};

const COMMITS: Metric = Metric {
    name: "undertone_relay_commit_seconds",
    kind: Kind::Histogram,
    help: "Time of a group commit, its fsync included.",
};

/// All counters.
pub(crate) struct Metrics {
    counters: [AtomicU64; COUNTERS],
    refusals: [AtomicU64; ErrorCode::ALL.len()],
    commits: [AtomicU64; COMMIT_BOUNDS.len()],
    commit_count: AtomicU64,
    commit_micros: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            counters: [const { AtomicU64::new(0) }; COUNTERS],
            refusals: [const { AtomicU64::new(0) }; ErrorCode::ALL.len()],
            commits: [const { AtomicU64::new(0) }; COMMIT_BOUNDS.len()],
            commit_count: AtomicU64::new(0),
            commit_micros: AtomicU64::new(0),
        }
    }
}

fn add(to: Option<&AtomicU64>, more: u64) {
    if let Some(to) = to {
        to.fetch_add(more, Ordering::Relaxed);
    }
}

impl Metrics {
    /// One more.
    pub(crate) fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// How often it was counted.
    #[cfg(test)]
    pub(crate) fn get(&self, counter: Counter) -> u64 {
        self.counters.get(counter as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// So many more.
    pub(crate) fn add(&self, counter: Counter, more: u64) {
        add(self.counters.get(counter as usize), more);
    }

    /// A request was refused.
    pub(crate) fn refused(&self, code: ErrorCode) {
        let index = ErrorCode::ALL.iter().position(|known| *known == code);
        add(index.and_then(|index| self.refusals.get(index)), 1);
    }

    /// A group commit of so many commands took so long.
    pub(crate) fn commit(&self, commands: usize, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        for (bound, count) in COMMIT_BOUNDS.iter().zip(&self.commits) {
            if micros <= *bound {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.commit_count.fetch_add(1, Ordering::Relaxed);
        self.commit_micros.fetch_add(micros, Ordering::Relaxed);
        self.add(Counter::Commands, u64::try_from(commands).unwrap_or(u64::MAX));
    }

    /// Writes all of it.
    pub(crate) fn write(&self, out: &mut Exposition) {
        for family in FAMILIES {
            out.family(family);
            for ((name, labels), counter) in NAMES.iter().zip(&self.counters) {
                if *name == family.name {
                    out.line(name, labels, &counter.load(Ordering::Relaxed));
                }
            }
        }
        out.family(&REFUSALS);
        for (code, count) in ErrorCode::ALL.iter().zip(&self.refusals) {
            let labels = format!("{{code=\"{}\"}}", code.slug());
            out.line(REFUSALS.name, &labels, &count.load(Ordering::Relaxed));
        }
        self.write_commits(out);
    }

    fn write_commits(&self, out: &mut Exposition) {
        out.family(&COMMITS);
        let bucket = format!("{}_bucket", COMMITS.name);
        for (bound, count) in COMMIT_BOUNDS.iter().zip(&self.commits) {
            let labels = format!("{{le=\"{}\"}}", seconds(*bound));
            out.line(&bucket, &labels, &count.load(Ordering::Relaxed));
        }
        let count = self.commit_count.load(Ordering::Relaxed);
        out.line(&bucket, "{le=\"+Inf\"}", &count);
        let sum = seconds(self.commit_micros.load(Ordering::Relaxed));
        out.line(&format!("{}_sum", COMMITS.name), "", &sum);
        out.line(&format!("{}_count", COMMITS.name), "", &count);
    }
}

/// Microseconds as seconds, exactly.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Metrics that this module counts; see [`crate::operator::monitor::METRICS`] for all.
pub(crate) fn families() -> impl Iterator<Item = Metric> {
    FAMILIES.iter().copied().chain([REFUSALS, COMMITS])
}

/// Text that Prometheus reads.
#[derive(Default)]
pub(crate) struct Exposition(String);

impl Exposition {
    /// Begins a metric.
    pub(crate) fn family(&mut self, metric: &Metric) {
        let Metric { name, kind, help } = metric;
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
    }

    /// A value of the metric that was begun last.
    pub(crate) fn line(&mut self, name: &str, labels: &str, value: &dyn core::fmt::Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    /// A metric with one value.
    pub(crate) fn single(&mut self, metric: &Metric, value: &dyn core::fmt::Display) {
        self.family(metric);
        self.line(metric.name, "", value);
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_written() {
        let metrics = Metrics::default();
        metrics.count(Counter::ConnectionsQuic);
        metrics.add(Counter::BlobBytesIn, 7);
        metrics.refused(ErrorCode::MailboxFull);
        metrics.refused(ErrorCode::Other(999));
        metrics.commit(3, Duration::from_micros(700));
        metrics.commit(2, Duration::from_secs(3));
        let mut out = Exposition::default();
        metrics.write(&mut out);
        let text = out.into_text();
        for line in [
            "# TYPE undertone_relay_connections_total counter",
            "undertone_relay_connections_total{transport=\"quic\"} 1",
            "undertone_relay_connections_total{transport=\"tcp\"} 0",
            "undertone_relay_blob_bytes_total{direction=\"in\"} 7",
            "undertone_relay_refusals_total{code=\"mailbox-full\"} 1",
            "undertone_relay_commands_total 5",
            "undertone_relay_commit_seconds_bucket{le=\"0.0005\"} 0",
            "undertone_relay_commit_seconds_bucket{le=\"0.001\"} 1",
            "undertone_relay_commit_seconds_bucket{le=\"2\"} 1",
            "undertone_relay_commit_seconds_bucket{le=\"+Inf\"} 2",
            "undertone_relay_commit_seconds_sum 3.0007",
            "undertone_relay_commit_seconds_count 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
