//! What is counted, over the whole relay and for each network: in memory, in tables that do not grow.

use std::collections::HashMap;
use std::time::Duration;

use undertone_wire::Day;

use super::{Bucket, Limits, Neighbourhood};
use crate::metrics::Counter;

/// Networks that are counted at a time: some 8 MiB. Behind them come those that share one count.
const NETWORKS: usize = 65_536;

/// A full table is searched for entries that say nothing any more no more often than this.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// A network gets the so-manieth part of its handshakes while the relay is short of them; then an
/// address must be confirmed from the first on.
const SHARE_UNDER_PRESSURE: u32 = 8;

/// Behind the so-manieth part of its handshakes the addresses of a network must be confirmed, so that
/// whoever forges them takes only that part from those who are there.
const SHARE_UNCONFIRMED: u32 = 4;

/// What is counted over the whole relay, and for each network.
pub(super) struct Table {
    pub(super) connections: u32,
    pub(super) handshakes: u32,
    pub(super) subscriptions: usize,
    pub(super) transfers: u32,
    /// When connections were last short and told to look whether they have to go.
    pub(super) looked: Option<Duration>,
    pub(super) networks: Swept<Neighbourhood, Network>,
    /// What networks share that find no room.
    pub(super) crowd: Network,
}

/// A map that forgets what says nothing any more before it grows over its bound.
pub(super) struct Swept<K, V> {
    pub(super) map: HashMap<K, V>,
    bound: usize,
    swept: Option<Duration>,
}

impl<K: Eq + std::hash::Hash, V> Swept<K, V> {
    pub(super) fn new(bound: usize) -> Self {
        Self { map: HashMap::new(), bound, swept: None }
    }

    fn has_room(&self) -> bool {
        self.map.len() < self.bound
    }

    /// The entry, which is made if there is none; `None` if there is no room for it.
    pub(super) fn entry(
        &mut self,
        key: K,
        now: Duration,
        fresh: impl FnOnce() -> V,
        idle: impl Fn(&mut V) -> bool,
    ) -> Option<&mut V> {
        if self.map.len() >= self.bound && !self.map.contains_key(&key) {
            if self.swept.is_some_and(|last| now.saturating_sub(last) < SWEEP_PAUSE) {
                return None;
            }
            self.swept = Some(now);
            self.map.retain(|_, value| !idle(value));
            if self.map.len() >= self.bound {
                return None;
            }
        }
        Some(self.map.entry(key).or_insert_with(fresh))
    }
}

/// What is counted for a network.
pub(super) struct Network {
    pub(super) connections: u32,
    pub(super) handshakes: u32,
    pub(super) arrivals: Bucket,
    pub(super) failures: Bucket,
    pub(super) made: (Day, u32),
    pub(super) transfers: u32,
}

impl Network {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            connections: 0,
            handshakes: 0,
            arrivals: Bucket::new(now),
            failures: Bucket::new(now),
            made: (Day::new(0), 0),
            transfers: 0,
        }
    }

    /// Whether it says no more than a new one. What was made today is kept as long as there is room
    /// without it: days are not known here.
    pub(super) fn is_idle(&mut self, limits: &Limits, now: Duration) -> bool {
        self.connections == 0
            && self.handshakes == 0
            && self.transfers == 0
            && self.arrivals.is_full(limits.prefix.arrivals, now)
            && self.failures.is_full(limits.prefix.failures, now)
    }
}

impl Default for Table {
    fn default() -> Self {
        Self {
            connections: 0,
            handshakes: 0,
            subscriptions: 0,
            transfers: 0,
            looked: None,
            networks: Swept::new(NETWORKS),
            crowd: Network::new(Duration::ZERO),
        }
    }
}

impl Table {
    pub(super) fn network(
        &mut self,
        of: Neighbourhood,
        limits: &Limits,
        now: Duration,
    ) -> &mut Network {
        if of == Neighbourhood::CROWD {
            return &mut self.crowd;
        }
        let fresh = || Network::new(now);
        match self.networks.entry(of, now, fresh, |network| network.is_idle(limits, now)) {
            Some(network) => network,
            None => &mut self.crowd,
        }
    }

    /// What becomes of somebody from this network, who may be `pressed` by others and `confirmed`. A
    /// network of which nothing is counted is not remembered for that: addresses can be forged.
    pub(super) fn judge(
        &mut self,
        of: Neighbourhood,
        limits: &Limits,
        (pressed, confirmed): (bool, bool),
        now: Duration,
    ) -> Verdict {
        if self.networks.has_room() && !self.networks.map.contains_key(&of) {
            return Network::new(now).judge(limits, pressed, confirmed, now);
        }
        self.network(of, limits, now).judge(limits, pressed, confirmed, now)
    }

    /// Where something of this network is counted from now on.
    pub(super) fn place(
        &mut self,
        of: Neighbourhood,
        limits: &Limits,
        now: Duration,
    ) -> Neighbourhood {
        let _ = self.network(of, limits, now);
        if self.networks.map.contains_key(&of) { of } else { Neighbourhood::CROWD }
    }

    /// As [`Self::network`], for a [`Self::place`]: an entry with something open is never forgotten.
    pub(super) fn counted(&mut self, of: Neighbourhood) -> &mut Network {
        self.networks.map.get_mut(&of).unwrap_or(&mut self.crowd)
    }
}

pub(super) enum Verdict {
    Yes,
    /// Yes, for a confirmed address.
    Confirm,
    No(Counter),
}

impl Network {
    pub(super) fn judge(
        &mut self,
        limits: &Limits,
        pressed: bool,
        confirmed: bool,
        now: Duration,
    ) -> Verdict {
        let prefix = &limits.prefix;
        let most = if pressed {
            (prefix.handshakes / SHARE_UNDER_PRESSURE).max(1)
        } else {
            prefix.handshakes
        };
        if self.handshakes >= most {
            return Verdict::No(Counter::TurnedAwayPrefixHandshakes);
        }
        if self.connections >= prefix.connections {
            return Verdict::No(Counter::TurnedAwayPrefixConnections);
        }
        if !self.arrivals.has(prefix.arrivals, now) {
            return Verdict::No(Counter::TurnedAwayPrefixArrivals);
        }
        if !self.failures.has(prefix.failures, now) {
            return Verdict::No(Counter::TurnedAwayPrefixFailures);
        }
        let many = self.handshakes >= (prefix.handshakes / SHARE_UNCONFIRMED).max(1);
        if !confirmed && (pressed || many) { Verdict::Confirm } else { Verdict::Yes }
    }
}
