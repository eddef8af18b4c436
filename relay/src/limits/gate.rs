//! Decides, before anything is computed or stored, whether the relay does what somebody wants.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use undertone_wire::{BlobId, Day, DepotId, ErrorCode, MailboxId, ReadKey, WriteCapabilityHash};

use super::table::{Swept, Table, Verdict};
use super::{Bucket, Denied, Deny, Limits, Neighbourhood, Outgoing};
use crate::metrics::{Counter, Metrics};

/// Capabilities whose deliveries are counted at a time: some 6 MiB.
const CAPABILITIES: usize = 65_536;

/// When all but the so-manieth part of the connections are taken, who shows nothing has to make room.
const LAST_PART: u32 = 16;

/// Who is there looks whether it has to make room no more often than this.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Whether connections are short.
const fn is_short(limits: &Limits, connections: u32) -> bool {
    connections >= limits.connections.saturating_sub(limits.connections / LAST_PART)
}

/// No key hashes to this, and nothing is stored under it. What is denied is looked for here, so that an
/// answer comes neither sooner nor otherwise than for what never was.
const NOWHERE: [u8; 32] = [0; 32];

/// What holds until the next reload.
struct Rules {
    limits: Limits,
    denied: Denied,
    open: bool,
}

/// How long the relay has been running.
type Ticks = Box<dyn Fn() -> Duration + Send + Sync>;

/// All limits, and what is counted for them.
pub(crate) struct Gate {
    rules: RwLock<Arc<Rules>>,
    table: Mutex<Table>,
    capabilities: Mutex<Swept<WriteCapabilityHash, Bucket>>,
    metrics: Arc<Metrics>,
    ticks: Ticks,
    /// Handshakes have ended since somebody last waited for that.
    over: Notify,
    /// Changes when every connection has to look whether it is still welcome.
    look: watch::Sender<()>,
    outgoing: Outgoing,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one of these locks is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What becomes of somebody who comes.
pub(crate) enum Arrival {
    /// May begin a handshake.
    Accept(Handshake),
    /// Must confirm the address first.
    Retry,
    /// Has confirmed the address and may begin when others have finished.
    Wait,
    /// Is told that the relay is busy.
    Refuse,
    /// Is not answered.
    Ignore,
}

impl Gate {
    pub(crate) fn new(limits: Limits, deny: &Deny, open: bool, metrics: Arc<Metrics>) -> Arc<Self> {
        let start = Instant::now();
        Self::with_ticks(limits, deny, open, metrics, Box::new(move || start.elapsed()))
    }

    fn with_ticks(
        limits: Limits,
        deny: &Deny,
        open: bool,
        metrics: Arc<Metrics>,
        ticks: Ticks,
    ) -> Arc<Self> {
        Arc::new(Self {
            rules: RwLock::new(Arc::new(Rules { limits, denied: Denied::new(deny), open })),
            table: Mutex::default(),
            capabilities: Mutex::new(Swept::new(CAPABILITIES)),
            metrics,
            ticks,
            over: Notify::new(),
            look: watch::Sender::new(()),
            outgoing: Outgoing::default(),
        })
    }

    /// The network of somebody who would wait, and how many of it may; `None` if it is exempt.
    pub(crate) fn who_waits(&self, address: IpAddr) -> Option<(Neighbourhood, u32)> {
        let limits = &self.rules().limits;
        let counted = !exempt(limits, address);
        counted.then(|| (Neighbourhood::of(address), limits.prefix.handshakes))
    }

    /// Waits until a handshake has ended.
    pub(crate) async fn over(&self) {
        self.over.notified().await;
    }

    /// Somebody else may have ended, too.
    pub(crate) fn look_again(&self) {
        self.over.notify_one();
    }

    /// Other rules, from now on. Connections of networks that are denied now look and end; otherwise
    /// nobody is sent away for them: they hold for what comes.
    pub(crate) fn change(&self, limits: Limits, deny: &Deny, open: bool) {
        let rules = Arc::new(Rules { limits, denied: Denied::new(deny), open });
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        self.look.send_replace(());
        // There may be room for who waits.
        self.look_again();
    }

    /// Whether the operator denies this mailbox.
    pub(crate) fn denies(&self, mailbox: MailboxId) -> bool {
        self.rules().denied.mailbox(mailbox)
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What waits to be written, over all connections.
    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// The limits that hold.
    pub(crate) fn limits(&self) -> Limits {
        self.rules().limits.clone()
    }

    /// Connections, handshakes, subscriptions, transfers, networks that are counted.
    pub(crate) fn gauges(&self) -> [u64; 5] {
        let table = lock(&self.table);
        let wide = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        [
            table.connections.into(),
            table.handshakes.into(),
            wide(table.subscriptions),
            table.transfers.into(),
            wide(table.networks.map.len()),
        ]
    }

    /// Somebody comes. `confirmed` is whether the address has answered from where it says it is.
    pub(crate) fn arrive(self: &Arc<Self>, peer: SocketAddr, confirmed: bool) -> Arrival {
        let rules = self.rules();
        let address = peer.ip();
        if rules.denied.address(address) {
            self.metrics.count(Counter::TurnedAwayDenied);
            return Arrival::Ignore;
        }
        let limits = &rules.limits;
        let now = (self.ticks)();
        let mut table = lock(&self.table);
        if is_short(limits, table.connections)
            && table.looked.is_none_or(|last| now.saturating_sub(last) >= LOOK_PAUSE)
        {
            table.looked = Some(now);
            self.look.send_replace(());
        }
        if table.connections >= limits.connections {
            self.metrics.count(Counter::TurnedAwayConnections);
            return Arrival::Refuse;
        }
        let network = (!exempt(limits, address)).then(|| Neighbourhood::of(address));
        let pressed = table.handshakes >= limits.handshakes / 2;
        let verdict = if table.handshakes >= limits.handshakes {
            Verdict::No(Counter::TurnedAwayHandshakes)
        } else if let Some(network) = network {
            table.judge(network, limits, (pressed, confirmed), now)
        } else if pressed && !confirmed {
            Verdict::Confirm
        } else {
            Verdict::Yes
        };
        match verdict {
            Verdict::Yes => {}
            // With a confirmed address the same may be another question: only that is refused.
            Verdict::Confirm | Verdict::No(_) if !confirmed => {
                self.metrics.count(Counter::Retries);
                return Arrival::Retry;
            }
            Verdict::Confirm => {}
            Verdict::No(Counter::TurnedAwayHandshakes) => return Arrival::Wait,
            Verdict::No(reason) => {
                self.metrics.count(reason);
                return Arrival::Refuse;
            }
        }
        table.connections = table.connections.saturating_add(1);
        table.handshakes = table.handshakes.saturating_add(1);
        let network = network.map(|network| table.place(network, limits, now));
        if let Some(network) = network {
            let network = table.counted(network);
            network.connections = network.connections.saturating_add(1);
            network.handshakes = network.handshakes.saturating_add(1);
            if confirmed {
                network.arrivals.take(limits.prefix.arrivals, now);
            }
        }
        drop(table);
        Arrival::Accept(Handshake { gate: self.clone(), network, confirmed, over: false })
    }
}

fn exempt(limits: &Limits, address: IpAddr) -> bool {
    limits.exempt.iter().any(|prefix| prefix.contains(address))
}

/// A handshake under way; it is over when this is dropped.
pub(crate) struct Handshake {
    gate: Arc<Gate>,
    network: Option<Neighbourhood>,
    confirmed: bool,
    over: bool,
}

impl Handshake {
    /// The handshake succeeded, which confirms the address.
    pub(crate) fn established(mut self) -> Admission {
        self.end(true);
        let now = (self.gate.ticks)();
        Admission {
            gate: self.gate.clone(),
            network: self.network,
            vouched: AtomicBool::new(false),
            subscriptions: AtomicUsize::new(0),
            requests: Mutex::new(Bucket::new(now)),
            served: AtomicU64::new(now.as_secs()),
        }
    }

    fn end(&mut self, established: bool) {
        self.over = true;
        let rules = self.gate.rules();
        let mut table = lock(&self.gate.table);
        table.handshakes = table.handshakes.saturating_sub(1);
        self.gate.over.notify_one();
        if !established {
            table.connections = table.connections.saturating_sub(1);
        }
        let Some(network) = self.network else { return };
        let network = table.counted(network);
        network.handshakes = network.handshakes.saturating_sub(1);
        if !established {
            network.connections = network.connections.saturating_sub(1);
        } else if !self.confirmed {
            // Not before: else whoever forges an address could use up what its network may do.
            network.arrivals.take(rules.limits.prefix.arrivals, (self.gate.ticks)());
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        if !self.over {
            self.gate.metrics.count(Counter::HandshakesFailed);
            self.end(false);
        }
    }
}

/// A connection that was let in, until it is dropped.
pub(crate) struct Admission {
    gate: Arc<Gate>,
    /// `None` if it is exempt.
    network: Option<Neighbourhood>,
    /// Whether somebody proved on it to be a customer here.
    vouched: AtomicBool,
    subscriptions: AtomicUsize,
    requests: Mutex<Bucket>,
    /// When it began, or last got what only somebody gets who was given a capability; in seconds.
    served: AtomicU64,
}

impl Admission {
    /// Tells when to ask [`Self::is_denied`] and [`Self::is_in_the_way`].
    pub(crate) fn look(&self) -> watch::Receiver<()> {
        self.gate.look.subscribe()
    }

    /// Whether the operator denies the network that the connection comes from now.
    pub(crate) fn is_denied(&self, peer: SocketAddr) -> bool {
        self.gate.rules().denied.address(peer.ip())
    }

    /// Whether it has to make room: if connections are short and it has shown nothing for as long as
    /// anybody is waited for. Its client comes back when it has something to say.
    pub(crate) fn is_in_the_way(&self) -> bool {
        let shown = self.network.is_none()
            || self.vouched.load(Ordering::Relaxed)
            || self.subscriptions.load(Ordering::Relaxed) > 0;
        let rules = self.gate.rules();
        let patience = u64::from(rules.limits.patience);
        let since =
            (self.gate.ticks)().as_secs().saturating_sub(self.served.load(Ordering::Relaxed));
        let goes = !shown
            && since >= patience
            && is_short(&rules.limits, lock(&self.gate.table).connections);
        if goes {
            self.gate.metrics.count(Counter::ClosedForRoom);
        }
        goes
    }

    /// It got something for which one has to know a capability.
    pub(crate) fn served(&self) {
        self.served.store((self.gate.ticks)().as_secs(), Ordering::Relaxed);
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.gate.metrics
    }

    /// Somebody proved to be a customer: from now on this connection is not counted for its network.
    /// Where everybody is a customer that proves nothing.
    pub(crate) fn vouch(&self) {
        let Some(network) = self.network else { return };
        if !self.gate.rules().open && !self.vouched.swap(true, Ordering::Relaxed) {
            let mut table = lock(&self.gate.table);
            let network = table.counted(network);
            network.connections = network.connections.saturating_sub(1);
        }
    }

    /// How long the next request has to wait; it counts when this says zero.
    pub(crate) fn request(&self) -> Duration {
        if self.network.is_none() {
            return Duration::ZERO;
        }
        let rate = self.gate.rules().limits.connection.requests;
        let now = (self.gate.ticks)();
        let mut bucket = lock(&self.requests);
        if bucket.take(rate, now) { Duration::ZERO } else { bucket.wait(rate, now) }
    }

    /// A request that counts already turns out to be as much work as so many.
    pub(crate) fn is_as_much_as(&self, requests: usize) {
        if self.network.is_none() {
            return;
        }
        let rate = self.gate.rules().limits.connection.requests;
        let more = u64::try_from(requests.saturating_sub(1)).unwrap_or(u64::MAX);
        lock(&self.requests).owe(rate, more);
    }

    /// A request was refused. Whether that was one guess too many: then the connection has to end.
    pub(crate) fn refused(&self, code: ErrorCode) -> bool {
        self.gate.metrics.refused(code);
        let guess = matches!(
            code,
            ErrorCode::Unknown
                | ErrorCode::NotAdmitted
                | ErrorCode::BadSignature
                | ErrorCode::Malformed
        );
        guess && self.guessed()
    }

    /// Somebody asked for something that is not there, whatever the answer looked like. Whether that was
    /// one guess too many.
    pub(crate) fn guessed(&self) -> bool {
        let Some(network) = self.network else { return false };
        if self.vouched.load(Ordering::Relaxed) {
            return false;
        }
        let rate = self.gate.rules().limits.prefix.failures;
        let now = (self.gate.ticks)();
        let mut table = lock(&self.gate.table);
        let too_many = !table.counted(network).failures.take(rate, now);
        drop(table);
        if too_many {
            self.gate.metrics.count(Counter::ClosedForFailures);
        }
        too_many
    }

    /// Whether something more may be delivered with a capability now.
    pub(crate) fn may_deliver(&self, capability: WriteCapabilityHash) -> Result<(), ErrorCode> {
        let rules = self.gate.rules();
        if self.network.is_none() {
            return Ok(());
        }
        let now = (self.gate.ticks)();
        let mut capabilities = lock(&self.gate.capabilities);
        let rate = rules.limits.capability;
        let left = capabilities.map.get_mut(&capability).is_none_or(|bucket| bucket.has(rate, now));
        if left { Ok(()) } else { Err(ErrorCode::Busy) }
    }

    /// Something was delivered with a capability. Only now is it counted: what was never good for
    /// anything has no place in the table.
    pub(crate) fn delivered(&self, capability: WriteCapabilityHash) {
        self.served();
        if self.network.is_none() {
            return;
        }
        let rate = self.gate.rules().limits.capability;
        let now = (self.gate.ticks)();
        let mut capabilities = lock(&self.gate.capabilities);
        let fresh = || Bucket::new(now);
        // A table full of busy capabilities counts no further ones.
        if let Some(bucket) = capabilities.entry(capability, now, fresh, |b| b.is_full(rate, now)) {
            bucket.take(rate, now);
        }
    }

    /// Whether this connection, which has `here` subscriptions, may have so many more.
    pub(crate) fn may_subscribe(&self, here: usize, more: usize) -> Result<(), ErrorCode> {
        let rules = self.gate.rules();
        let fits = |have: usize, most: u32| {
            usize::try_from(most).is_ok_and(|most| have.saturating_add(more) <= most)
        };
        let everywhere = lock(&self.gate.table).subscriptions;
        if !fits(here, rules.limits.connection.subscriptions) {
            return Err(ErrorCode::LimitReached);
        }
        if !fits(everywhere, rules.limits.subscriptions) {
            return Err(ErrorCode::Busy);
        }
        Ok(())
    }

    /// This connection has so many subscriptions now.
    pub(crate) fn subscribed(&self, now: usize) {
        let before = self.subscriptions.swap(now, Ordering::Relaxed);
        let mut table = lock(&self.gate.table);
        table.subscriptions = table.subscriptions.saturating_sub(before).saturating_add(now);
    }

    /// Begins a transfer of a blob. A connection has as many as it has streams.
    pub(crate) fn transfer(&self) -> Result<Transfer, ErrorCode> {
        let rules = self.gate.rules();
        let limits = &rules.limits;
        let now = (self.gate.ticks)();
        let mut table = lock(&self.gate.table);
        if table.transfers >= limits.transfers {
            return Err(ErrorCode::Busy);
        }
        // Its entry may be forgotten by now, since who is vouched for is not counted.
        let network = self.network.map(|network| table.place(network, limits, now));
        if let Some(network) = network.map(|network| table.counted(network)) {
            if network.transfers >= limits.prefix.transfers {
                return Err(ErrorCode::Busy);
            }
            network.transfers = network.transfers.saturating_add(1);
        }
        table.transfers = table.transfers.saturating_add(1);
        Ok(Transfer { gate: self.gate.clone(), network })
    }

    /// What waits to be written, over all connections.
    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.gate.outgoing
    }

    /// How long a client may take for the next step of what is under way.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.gate.rules().limits.patience.into())
    }

    /// Whether something may be made without a token. It counts.
    pub(crate) fn may_make_without_token(&self, today: Day) -> Result<(), ErrorCode> {
        let rules = self.gate.rules();
        if !rules.open {
            return Err(ErrorCode::NotAdmitted);
        }
        let Some(network) = self.network else { return Ok(()) };
        let mut table = lock(&self.gate.table);
        let network = table.network(network, &rules.limits, (self.gate.ticks)());
        if network.made.0 != today {
            network.made = (today, 0);
        }
        if network.made.1 >= rules.limits.prefix.made {
            return Err(ErrorCode::QuotaExceeded);
        }
        network.made.1 = network.made.1.saturating_add(1);
        Ok(())
    }

    /// The mailbox of a key; if the operator denies it, one that nobody can have, so that denied and
    /// never made are one and the same from here on.
    pub(crate) fn mailbox(&self, key: ReadKey) -> MailboxId {
        self.mailbox_id(key.mailbox())
    }

    /// As [`Self::mailbox`], for one that is known by its id.
    pub(crate) fn mailbox_id(&self, id: MailboxId) -> MailboxId {
        if self.gate.rules().denied.mailbox(id) { MailboxId::from_bytes(NOWHERE) } else { id }
    }

    /// As [`Self::mailbox_id`].
    pub(crate) fn capability(&self, hash: WriteCapabilityHash) -> WriteCapabilityHash {
        if self.gate.rules().denied.capability(hash) {
            WriteCapabilityHash::from_bytes(NOWHERE)
        } else {
            hash
        }
    }

    /// As [`Self::mailbox_id`].
    pub(crate) fn depot(&self, id: DepotId) -> DepotId {
        if self.gate.rules().denied.depot(id) { DepotId::from_bytes(NOWHERE) } else { id }
    }

    /// As [`Self::mailbox_id`].
    pub(crate) fn blob(&self, id: BlobId) -> BlobId {
        if self.gate.rules().denied.blob(id) { BlobId::from_bytes(NOWHERE) } else { id }
    }

    /// Refuses what the operator denies, as if it were not there.
    pub(crate) fn check(&self, denied: impl FnOnce(&Denied) -> bool) -> Result<(), ErrorCode> {
        if denied(&self.gate.rules().denied) { Err(ErrorCode::Unknown) } else { Ok(()) }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.subscribed(0);
        let mut table = lock(&self.gate.table);
        table.connections = table.connections.saturating_sub(1);
        if let Some(network) = self.network
            && !*self.vouched.get_mut()
        {
            let network = table.counted(network);
            network.connections = network.connections.saturating_sub(1);
        }
    }
}

/// A blob that is being transferred, until this is dropped.
pub(crate) struct Transfer {
    gate: Arc<Gate>,
    network: Option<Neighbourhood>,
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let mut table = lock(&self.gate.table);
        table.transfers = table.transfers.saturating_sub(1);
        if let Some(network) = self.network {
            let network = table.counted(network);
            network.transfers = network.transfers.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::net::Ipv4Addr;
    use std::sync::atomic::AtomicU64;

    use super::super::{PerPrefix, Rate};
    use super::*;

    const NO_RATE: Rate = Rate { per_minute: 0, burst: 1 };

    fn limits() -> Limits {
        let prefix = PerPrefix {
            connections: 1000,
            handshakes: 32,
            arrivals: NO_RATE,
            failures: NO_RATE,
            made: 2,
            transfers: 1000,
        };
        Limits { prefix, ..Limits::default() }
    }

    /// A gate, and the seconds that its clock says.
    fn gate(limits: Limits) -> (Arc<Gate>, Arc<AtomicU64>) {
        let clock = Arc::new(AtomicU64::new(0));
        let ticks = clock.clone();
        let ticks = Box::new(move || Duration::from_secs(ticks.load(Ordering::Relaxed)));
        (Gate::with_ticks(limits, &Deny::default(), false, Arc::default(), ticks), clock)
    }

    fn peer(network: u16, host: u8) -> SocketAddr {
        let [high, low] = network.to_be_bytes();
        SocketAddr::from((Ipv4Addr::new(10, high, low, host), 4433))
    }

    fn accepted(arrival: Arrival) -> Handshake {
        match arrival {
            Arrival::Accept(handshake) => handshake,
            _ => panic!("not let in"),
        }
    }

    /// As many handshakes as there are to be had from one network, with confirmed addresses.
    fn grab(gate: &Arc<Gate>, network: u16) -> Vec<Handshake> {
        let tries = (0..1000).map(|_| gate.arrive(peer(network, 1), true));
        let let_in = tries.map_while(|arrival| match arrival {
            Arrival::Accept(handshake) => Some(handshake),
            _ => None,
        });
        let_in.collect()
    }

    #[test]
    fn no_network_holds_the_handshakes_of_all() {
        let (gate, _) = gate(limits());
        assert_eq!(grab(&gate, 1).len(), 32);
        // Three more networks come to half of all there are; from there on a network has an eighth.
        let held: Vec<_> = (2..=5).map(|network| grab(&gate, network)).collect();
        let counts: Vec<_> = held.iter().map(Vec::len).collect();
        assert_eq!(counts, [32, 32, 32, 32]);
        assert_eq!(grab(&gate, 6).len(), 4, "128 of 256 are under way");
        // Somebody else still comes in, once the address is confirmed.
        assert!(matches!(gate.arrive(peer(7, 1), false), Arrival::Retry));
        accepted(gate.arrive(peer(7, 1), true));
        // The first network's 32 are over, since they were dropped.
        drop(held);
        assert_eq!(gate.gauges(), [0, 0, 0, 0, 7]);
    }

    #[test]
    fn whoever_forges_addresses_takes_little_from_those_who_have_them() {
        let (gate, _) = gate(limits());
        let forged: Vec<_> = (0..100)
            .map(|host| gate.arrive(peer(1, host), false))
            .filter_map(|arrival| match arrival {
                Arrival::Accept(handshake) => Some(handshake),
                _ => None,
            })
            .collect();
        assert_eq!(forged.len(), 8, "a quarter of the network's handshakes");
        // The real ones confirm their address and come in.
        assert!(matches!(gate.arrive(peer(1, 1), false), Arrival::Retry));
        accepted(gate.arrive(peer(1, 1), true));
    }

    #[test]
    fn new_connections_have_a_rate_that_nobody_can_use_up_with_forged_addresses() {
        let arrivals = Rate { per_minute: 6, burst: 2 };
        let mut limits = limits();
        limits.prefix.arrivals = arrivals;
        let (gate, clock) = gate(limits);
        // Handshakes that never end do not count.
        for _ in 0..10 {
            drop(accepted(gate.arrive(peer(1, 1), false)));
        }
        let first = accepted(gate.arrive(peer(1, 1), false)).established();
        let second = accepted(gate.arrive(peer(1, 2), true)).established();
        assert!(matches!(gate.arrive(peer(1, 3), true), Arrival::Refuse));
        assert!(matches!(gate.arrive(peer(1, 3), false), Arrival::Retry));
        accepted(gate.arrive(peer(2, 1), true));
        clock.store(10, Ordering::Relaxed);
        accepted(gate.arrive(peer(1, 3), true));
        drop((first, second));
    }

    #[test]
    fn who_is_vouched_for_is_not_counted_for_the_network() {
        let mut limits = limits();
        limits.prefix.connections = 2;
        let (gate, _) = gate(limits);
        let come = || gate.arrive(peer(1, 1), true);
        let first = accepted(come()).established();
        let second = accepted(come()).established();
        assert!(matches!(come(), Arrival::Refuse));
        first.vouch();
        first.vouch();
        let third = accepted(come()).established();
        assert!(matches!(come(), Arrival::Refuse));
        drop(first);
        assert!(matches!(come(), Arrival::Refuse), "it was not counted any more");
        drop(second);
        accepted(come());
        drop(third);
        assert_eq!(gate.gauges(), [0, 0, 0, 0, 1]);
    }

    #[test]
    fn who_shows_nothing_makes_room_when_connections_are_short() {
        let (gate, clock) = gate(Limits { connections: 4, ..limits() });
        let come = |network| accepted(gate.arrive(peer(network, 1), true)).established();
        let (silent, customer, sender) = (come(1), come(2), come(3));
        customer.vouch();
        let mut look = silent.look();
        clock.store(59, Ordering::Relaxed);
        sender.delivered(WriteCapabilityHash::from_bytes([1; 32]));
        clock.store(60, Ordering::Relaxed);
        assert!(!silent.is_in_the_way(), "there is room");
        let last = come(4);
        assert!(!look.has_changed().unwrap());
        assert!(matches!(gate.arrive(peer(5, 1), true), Arrival::Refuse));
        assert!(look.has_changed().unwrap());
        look.mark_unchanged();
        assert!(matches!(gate.arrive(peer(5, 1), true), Arrival::Refuse));
        assert!(!look.has_changed().unwrap(), "nobody is asked more often than once a second");
        let all = [&silent, &customer, &sender, &last];
        assert_eq!(all.map(Admission::is_in_the_way), [true, false, false, false]);
        drop(silent);
        come(5);
    }

    #[test]
    fn guesses_end_the_connection_and_close_the_door_to_its_network() {
        let mut limits = limits();
        limits.prefix.failures = Rate { per_minute: 1, burst: 3 };
        let (gate, clock) = gate(limits);
        let guest = accepted(gate.arrive(peer(1, 1), true)).established();
        assert!((0..3).all(|_| !guest.refused(ErrorCode::Unknown)));
        assert!(!guest.refused(ErrorCode::MailboxFull), "that is no guess");
        assert!(guest.refused(ErrorCode::BadSignature));
        assert!(matches!(gate.arrive(peer(1, 2), true), Arrival::Refuse));
        accepted(gate.arrive(peer(2, 1), true));
        let customer = accepted(gate.arrive(peer(2, 1), true)).established();
        customer.vouch();
        assert!((0..100).all(|_| !customer.refused(ErrorCode::Unknown)));
        clock.store(60, Ordering::Relaxed);
        accepted(gate.arrive(peer(1, 2), true));
    }

    #[test]
    fn who_is_turned_away_leaves_nothing_in_the_table() {
        let (gate, _) = gate(Limits { handshakes: 4, ..limits() });
        let held: Vec<_> = (0..2).map(|n| accepted(gate.arrive(peer(n, 1), true))).collect();
        for network in 10..1000 {
            assert!(matches!(gate.arrive(peer(network, 1), false), Arrival::Retry));
        }
        assert_eq!(gate.gauges()[4], 2, "forged addresses cost no memory");
        drop(held);
    }

    #[test]
    fn tables_do_not_grow_and_strangers_share_a_count_when_they_are_full() {
        let (gate, clock) = gate(Limits { connections: 1_000_000, ..limits() });
        let bound = 65_536_u32;
        let address = |n: u32| SocketAddr::from((Ipv4Addr::from_bits(0x0b00_0000 + n * 256), 4433));
        let open: Vec<_> =
            (0..bound).map(|n| accepted(gate.arrive(address(n), true)).established()).collect();
        let crowd: Vec<_> = (0..40)
            .filter_map(|n| match gate.arrive(address(bound + n), true) {
                Arrival::Accept(handshake) => Some(handshake),
                _ => None,
            })
            .collect();
        assert_eq!(crowd.len(), 32, "forty networks share what one may");
        assert_eq!(gate.gauges()[4], u64::from(bound));
        drop(open);
        drop(crowd);
        clock.store(2, Ordering::Relaxed);
        accepted(gate.arrive(address(bound), true));
        assert_eq!(gate.gauges()[4], 1, "what says nothing any more was forgotten");
        assert_eq!(gate.gauges()[0], 0);
    }

    #[test]
    fn a_capability_has_a_rate_and_what_was_never_good_no_place() {
        let (gate, clock) =
            gate(Limits { capability: Rate { per_minute: 60, burst: 2 }, ..limits() });
        let somebody = accepted(gate.arrive(peer(1, 1), true)).established();
        let hash = |n| WriteCapabilityHash::from_bytes([n; 32]);
        for _ in 0..2 {
            assert_eq!(somebody.may_deliver(hash(1)), Ok(()));
            somebody.delivered(hash(1));
        }
        assert_eq!(somebody.may_deliver(hash(1)), Err(ErrorCode::Busy));
        assert_eq!(somebody.may_deliver(hash(2)), Ok(()));
        assert_eq!(lock(&gate.capabilities).map.len(), 1);
        clock.store(1, Ordering::Relaxed);
        assert_eq!(somebody.may_deliver(hash(1)), Ok(()));
    }

    #[test]
    fn no_network_has_the_transfers_of_all_though_it_be_a_customer() {
        let mut limits = limits();
        limits.prefix.transfers = 2;
        let (gate, clock) = gate(limits);
        let first = accepted(gate.arrive(peer(1, 1), true)).established();
        let second = accepted(gate.arrive(peer(1, 2), true)).established();
        first.vouch();
        let held = (first.transfer().unwrap(), first.transfer().unwrap());
        assert_eq!(second.transfer().map(|_| ()), Err(ErrorCode::Busy));
        let elsewhere = accepted(gate.arrive(peer(2, 1), true)).established();
        elsewhere.transfer().unwrap();
        // It is remembered as long as something is under way.
        drop(second);
        clock.store(1_000_000, Ordering::Relaxed);
        let idle = |network: &mut super::super::table::Network| {
            network.is_idle(&gate.limits(), Duration::from_secs(1_000_000))
        };
        let mut table = lock(&gate.table);
        assert!(!idle(table.counted(Neighbourhood::of(peer(1, 1).ip()))));
        drop(table);
        drop(held);
        first.transfer().unwrap();
        assert_eq!(gate.gauges()[3], 0);
    }

    #[test]
    fn subscriptions_transfers_and_gifts_are_counted() {
        let limits = Limits { subscriptions: 5, transfers: 1, ..limits() };
        let (gate, _) = gate(limits.clone());
        let first = accepted(gate.arrive(peer(1, 1), true)).established();
        let second = accepted(gate.arrive(peer(1, 2), true)).established();
        assert_eq!(first.may_subscribe(0, 4), Ok(()));
        first.subscribed(4);
        assert_eq!(second.may_subscribe(0, 2), Err(ErrorCode::Busy));
        assert_eq!(second.may_subscribe(10_000, 1), Err(ErrorCode::LimitReached));
        drop(first);
        assert_eq!(second.may_subscribe(0, 5), Ok(()));
        let transfer = second.transfer().unwrap();
        assert_eq!(second.transfer().map(|_| ()), Err(ErrorCode::Busy));
        drop(transfer);
        second.transfer().unwrap();
        let today = Day::new(1);
        assert_eq!(second.may_make_without_token(today), Err(ErrorCode::NotAdmitted));
        gate.change(limits, &Deny::default(), true);
        assert_eq!(second.may_make_without_token(today), Ok(()));
        assert_eq!(second.may_make_without_token(today), Ok(()));
        assert_eq!(second.may_make_without_token(today), Err(ErrorCode::QuotaExceeded));
        assert_eq!(second.may_make_without_token(today.plus(1)), Ok(()));
        second.vouch();
        assert!(!second.vouched.load(Ordering::Relaxed), "everybody is a customer there");
    }
}
