//! Limits: how much of the relay anybody may use, and whom the operator refuses.
//!
//! Limits for address prefixes (/24 and /56) are for those who have shown nothing: they count open
//! connections, new connections and failed requests. A connection on which somebody proved to be a
//! customer here, by an admission token or by the key of a mailbox, is counted no longer, so that an
//! office behind one address is not punished. Counters are in memory only, in tables of a fixed
//! size; they are never logged, and the metrics are their sums.

mod deny;
mod gate;
mod outgoing;
mod prefix;
mod rate;
mod table;

pub(crate) use deny::Denied;
pub use deny::{Deny, Id};
pub(crate) use gate::{Admission, Arrival, Gate, Handshake};
pub(crate) use outgoing::{Held, Outgoing, Share};
pub(crate) use prefix::Neighbourhood;
pub use prefix::Prefix;
pub(crate) use rate::Bucket;
pub use rate::Rate;

/// How much of the relay anybody may use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections at a time. An idle one costs some 41 KiB.
    pub connections: u32,
    /// Handshakes under way at a time. From the first half on, addresses must be confirmed by a
    /// retry (RFC 9000 §8.1.2), so that forged ones cost the relay nothing, and no network gets
    /// more than a small share.
    pub handshakes: u32,
    /// Streams at a time on a connection that begins from now on: one for control, the others for
    /// blobs.
    pub streams: u32,
    /// Blobs that are being transferred at a time: each holds a file open.
    pub transfers: u32,
    /// Seconds in which a client has to send or take the next 16 KiB of what is under way. Who is
    /// slower keeps what others need: a transfer ends, and may be resumed.
    pub patience: u32,
    /// Subscriptions at a time, over all connections. One costs some 200 bytes.
    pub subscriptions: u32,
    /// For each connection.
    pub connection: PerConnection,
    /// Deliveries with one write capability. More are answered with "busy".
    pub capability: Rate,
    /// What the envelopes of one write capability may take of a mailbox that has others, in percent
    /// of the mailbox's limits; 100 is no bound. The store counts it: see [`crate::store::Policy`].
    pub share: u32,
    /// For each address prefix.
    pub prefix: PerPrefix,
    /// Networks for which neither the limits for prefixes nor the rates of connections and
    /// capabilities hold.
    pub exempt: Vec<Prefix>,
}

/// Limits of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PerConnection {
    /// Requests. More are read later.
    pub requests: Rate,
    /// Mailboxes subscribed to.
    pub subscriptions: u32,
}

/// Limits of one address prefix; all but the last for connections that have shown nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PerPrefix {
    /// Connections at a time.
    pub connections: u32,
    /// Handshakes under way at a time.
    pub handshakes: u32,
    /// New connections.
    pub arrivals: Rate,
    /// Requests that named something unknown or were not well signed: guesses.
    pub failures: Rate,
    /// Mailboxes, depots and blobs made without a token in a day, at a relay that is open.
    pub made: u32,
    /// Blobs that are being transferred at a time, by all of its connections: also by those of
    /// customers, since one token would do to take the transfers of all.
    pub transfers: u32,
}

impl Default for Limits {
    /// For a machine with 2 GiB of memory. Rates are several times what a busy client needs. The
    /// limits for prefixes let some thousands behind one address in, also when they all come back
    /// at once: of each client, the connection that subscribes is counted only until it has, the
    /// one that sends as long as it is open.
    fn default() -> Self {
        Self {
            connections: 20_000,
            handshakes: 256,
            streams: 8,
            transfers: 256,
            patience: 60,
            subscriptions: 1_000_000,
            connection: PerConnection {
                requests: Rate { per_minute: 30_000, burst: 10_000 },
                subscriptions: 10_000,
            },
            capability: Rate { per_minute: 600, burst: 2000 },
            share: crate::store::DEFAULT_SHARE,
            prefix: PerPrefix {
                connections: 2048,
                handshakes: 32,
                arrivals: Rate { per_minute: 1200, burst: 2000 },
                failures: Rate { per_minute: 60, burst: 600 },
                made: 100,
                transfers: 64,
            },
            // Whoever comes from the machine itself is a proxy or the operator: behind a proxy
            // everybody has one address.
            exempt: [LOOPBACK_V4, LOOPBACK_V6].into_iter().collect(),
        }
    }
}

const LOOPBACK_V4: Prefix =
    Prefix::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 0)), 8);
const LOOPBACK_V6: Prefix = Prefix::new(std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 128);
