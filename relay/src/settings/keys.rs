//! The table of all keys.

use undertone_wire::limits::{MAX_RETENTION_DAYS, MAX_SUBSCRIPTIONS};

use super::{Raw, Settings, Value};

/// When a change takes effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applies {
    /// With the next reload.
    Reload,
    /// With the next start.
    Start,
}

/// Something that can be configured.
pub struct Key {
    /// Its name in the file; a dot stands between table and key.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
    /// When a change takes effect.
    pub applies: Applies,
    get: fn(&Settings) -> Option<String>,
    set: fn(&mut Settings, Raw<'_>) -> Result<(), String>,
}

impl Key {
    /// Its name in the environment.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{VARIABLES}{}", self.name.replace('.', "_").to_uppercase())
    }

    /// Its value as TOML; `None` if it has none.
    #[must_use]
    pub fn shown(&self, settings: &Settings) -> Option<String> {
        (self.get)(settings)
    }

    pub(super) fn set(&self, settings: &mut Settings, raw: Raw<'_>) -> Result<(), String> {
        (self.set)(settings, raw)
    }

    /// The key with that name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }
}

/// How the names of all our environment variables begin.
pub(super) const VARIABLES: &str = "UNDERTONE_RELAY_";

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name)
    }
}

/// Reads a value and checks its bounds.
fn read<T: Value>(raw: Raw<'_>, (least, most): (u64, u64)) -> Result<T, String> {
    let value = T::read(raw)?;
    match value.number() {
        Some(n) if n < least || n > most => Err(format!("{n} is not between {least} and {most}")),
        _ => Ok(value),
    }
}

macro_rules! keys {
    ($($name:literal, $($field:ident).+, $bounds:expr, $applies:ident, $about:literal;)*) => {
        /// Everything that can be configured, in the order of the example file.
        pub const KEYS: &[Key] = &[$(Key {
            name: $name,
            about: $about,
            applies: Applies::$applies,
            get: |settings| settings.$($field).+.shown(),
            set: |settings, raw| {
                settings.$($field).+ = read(raw, $bounds)?;
                Ok(())
            },
        }),*];
    };
}

/// For what has no bounds of its own. SQLite's integers end there.
const ANY: (u64, u64) = (0, i64::MAX as u64);

/// Numbers of things that there has to be at least one of.
const COUNT: (u64, u64) = (1, 10_000_000);

/// Numbers that may be nothing.
const UP_TO: (u64, u64) = (0, 10_000_000);

/// A part of something.
const PERCENT: (u64, u64) = (1, 100);

/// What the protocol allows.
const RETENTION: (u64, u64) = (1, MAX_RETENTION_DAYS as u64);
const SUBSCRIPTIONS: (u64, u64) = (1, MAX_SUBSCRIPTIONS as u64);

keys! {
    "dir", dir, ANY, Start,
        "Directory in which everything is kept.";
    "listen", listen, ANY, Start,
        "Address and port to listen on, over UDP and TCP.";
    "host", host, ANY, Start,
        "Host name or IP address that clients are told. Without it: the address listened on, else this machine's.";
    "retention_days", retention_days, RETENTION, Reload,
        "Days that an envelope is kept for somebody who does not come, at most 30.";
    "drain_seconds", drain_seconds, (0, 300), Reload,
        "Seconds that clients get, when the relay stops, to read what was answered.";
    "disk.quota", disk.quota, ANY, Reload,
        "Bytes that the databases and blobs may hold together. Without it there is no bound but the next.";
    "disk.free_floor", disk.free_floor, ANY, Reload,
        "Bytes that stay free on the file system: below, nothing is taken in, so that what frees room always works.";
    "log.format", log.format, ANY, Start,
        "How the log is written to standard error: text or json.";
    "log.level", log.level, ANY, Reload,
        "error, warn, info, debug or trace. At no level does the log say anything about clients.";
    "monitoring.listen", monitoring.listen, ANY, Start,
        "Loopback address and TCP port for /metrics, /healthz and /readyz. Without it there are none.";
    "admission.open", admission.open, ANY, Reload,
        "Whether mailboxes may be made without a token.";
    "tokens.guest.mailboxes", tokens.guest.mailboxes, UP_TO, Reload,
        "Mailboxes and depots a day for one token of the class guest.";
    "tokens.guest.blob_bytes", tokens.guest.blob_bytes, ANY, Reload,
        "Bytes of blobs a day for one token of the class guest.";
    "tokens.standard.mailboxes", tokens.standard.mailboxes, UP_TO, Reload,
        "Mailboxes and depots a day for one token of the class standard.";
    "tokens.standard.blob_bytes", tokens.standard.blob_bytes, ANY, Reload,
        "Bytes of blobs a day for one token of the class standard.";
    "tokens.open.mailboxes", tokens.open.mailboxes, UP_TO, Reload,
        "Mailboxes and depots a day for all together who come without a token.";
    "tokens.open.blob_bytes", tokens.open.blob_bytes, ANY, Reload,
        "Bytes of blobs a day for all together who come without a token.";
    "limits.connections", limits.connections, COUNT, Reload,
        "Connections at a time.";
    "limits.handshakes", limits.handshakes, COUNT, Reload,
        "Handshakes under way at a time. From half of it on, addresses must be confirmed first.";
    "limits.streams", limits.streams, (2, 100), Reload,
        "Streams at a time on a connection that begins from now on: one for control, the others for blobs.";
    "limits.transfers", limits.transfers, COUNT, Reload,
        "Blobs that are being transferred at a time.";
    "limits.patience_seconds", limits.patience, (1, 3600), Reload,
        "Seconds in which a client has to send or take the next 16 KiB of what is under way; then that is ended.";
    "limits.subscriptions", limits.subscriptions, COUNT, Reload,
        "Subscriptions at a time, over all connections.";
    "limits.exempt", limits.exempt, ANY, Reload,
        "Networks for which the limits of prefixes, connections and capabilities do not hold: proxies, behind which everybody has one address.";
    "limits.connection.requests_per_minute", limits.connection.requests.per_minute, UP_TO, Reload,
        "Requests of a connection in the long run; more are read later. 0 is no limit.";
    "limits.connection.requests_burst", limits.connection.requests.burst, COUNT, Reload,
        "Requests of a connection at once.";
    "limits.connection.subscriptions", limits.connection.subscriptions, SUBSCRIPTIONS, Reload,
        "Mailboxes subscribed to on a connection, at most 10000.";
    "limits.capability.deliveries_per_minute", limits.capability.per_minute, UP_TO, Reload,
        "Deliveries with one write capability in the long run; more are answered with busy. 0 is no limit.";
    "limits.capability.deliveries_burst", limits.capability.burst, COUNT, Reload,
        "Deliveries with one write capability at once.";
    "limits.capability.share_percent", limits.share, PERCENT, Reload,
        "Percent of a mailbox's limits that the envelopes of one of its write capabilities may take, if it has others. 100 is no limit.";
    "limits.prefix.connections", limits.prefix.connections, COUNT, Reload,
        "Connections at a time from one address prefix that have shown neither token nor mailbox.";
    "limits.prefix.handshakes", limits.prefix.handshakes, COUNT, Reload,
        "Handshakes under way at a time from one address prefix; an eighth of it while the relay is short of them.";
    "limits.prefix.arrivals_per_minute", limits.prefix.arrivals.per_minute, UP_TO, Reload,
        "New connections from one address prefix in the long run. 0 is no limit.";
    "limits.prefix.arrivals_burst", limits.prefix.arrivals.burst, COUNT, Reload,
        "New connections from one address prefix at once.";
    "limits.prefix.failures_per_minute", limits.prefix.failures.per_minute, UP_TO, Reload,
        "Requests from one address prefix, in the long run, that named something unknown or were not well signed. 0 is no limit.";
    "limits.prefix.failures_burst", limits.prefix.failures.burst, COUNT, Reload,
        "Such requests at once.";
    "limits.prefix.made_per_day", limits.prefix.made, COUNT, Reload,
        "Mailboxes, depots and blobs made from one address prefix in a day, where the relay is open.";
    "limits.prefix.transfers", limits.prefix.transfers, COUNT, Reload,
        "Blobs that are being transferred at a time with one address prefix, customers included.";
    "deny.prefixes", deny.prefixes, ANY, Reload,
        "Networks that are not answered.";
    "deny.mailboxes", deny.mailboxes, ANY, Reload,
        "Ids of mailboxes whose owners are told that there is none.";
    "deny.capabilities", deny.capabilities, ANY, Reload,
        "Hashes of write capabilities that deliver nowhere.";
    "deny.depots", deny.depots, ANY, Reload,
        "Ids of depots that nobody fills or takes from.";
    "deny.blobs", deny.blobs, ANY, Reload,
        "Ids of blobs that nobody reads or uploads.";
}
