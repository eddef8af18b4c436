//! Those who came over QUIC while as many handshakes as may be were under way.
//!
//! When a relay starts anew, all its clients come back at once. Whoever is turned away comes again, after
//! a pause that grows each time: the relay would spend its time on turning away, and then stand still. So
//! those who have confirmed their address wait here, for nothing is computed for them until their turn.
//! Of one network no more wait than may be under way.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::Incoming;
use tokio::time::Instant;

use crate::limits::{Arrival, Gate, Handshake, Neighbourhood};
use crate::metrics::Counter;

/// Who waits at most: a minute's handshakes of a small machine is more than anybody waits for. Each
/// takes the packets of its first message, see [`undertone_wire::transport::server_config`].
const ROOM: usize = 8192;

/// How long anybody waits: less than our clients do, who give up after ten seconds, so that no handshake
/// is begun for somebody who has left and come again.
const PATIENCE: Duration = Duration::from_secs(8);

/// Somebody who comes, before anything is computed.
pub(super) trait Guest {
    fn address(&self) -> SocketAddr;
    /// Whether the address has answered from where it says it is.
    fn confirmed(&self) -> bool;
    fn retry(self);
    fn refuse(self);
    fn ignore(self);
}

impl Guest for Incoming {
    fn address(&self) -> SocketAddr {
        self.remote_address()
    }

    fn confirmed(&self) -> bool {
        self.remote_address_validated()
    }

    fn retry(self) {
        // Fails only if a retry came before, in which case the address is confirmed.
        drop(Self::retry(self));
    }

    fn refuse(self) {
        Self::refuse(self);
    }

    fn ignore(self) {
        Self::ignore(self);
    }
}

/// In the order in which they came.
pub(super) struct WaitingRoom<G = Incoming> {
    gate: Arc<Gate>,
    waiting: VecDeque<Waiting<G>>,
    /// Who waits, by network.
    networks: HashMap<Neighbourhood, u32>,
}

struct Waiting<G> {
    until: Instant,
    network: Option<Neighbourhood>,
    guest: G,
}

impl<G: Guest> WaitingRoom<G> {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { gate, waiting: VecDeque::new(), networks: HashMap::new() }
    }

    /// Waits until [`Self::next`] may have something to do. Can be given up and begun again without harm.
    pub(super) async fn stirs(&self) {
        let Some(first) = self.waiting.front() else { return std::future::pending().await };
        tokio::select! {
            () = self.gate.over() => {}
            // All handshakes may be held by somebody who says nothing; who waits is told in time.
            () = tokio::time::sleep_until(first.until) => {}
        }
    }

    /// Decides about somebody before anything is computed.
    pub(super) fn admit(&mut self, guest: G) -> Option<(G, Handshake)> {
        let confirmed = guest.confirmed();
        if confirmed && !self.waiting.is_empty() {
            // Nobody overtakes those who wait.
            self.wait(guest);
            return self.next();
        }
        match self.gate.arrive(guest.address(), confirmed) {
            Arrival::Accept(handshake) => return Some((guest, handshake)),
            Arrival::Retry => guest.retry(),
            Arrival::Wait => self.wait(guest),
            Arrival::Refuse => guest.refuse(),
            Arrival::Ignore => guest.ignore(),
        }
        None
    }

    /// The next one, if a handshake may begin.
    pub(super) fn next(&mut self) -> Option<(G, Handshake)> {
        while let Some(first) = self.waiting.pop_front() {
            if first.until <= Instant::now() {
                self.leave(first.network);
                self.turn_away(first.guest);
                continue;
            }
            let arrival = self.gate.arrive(first.guest.address(), true);
            if let Arrival::Wait = arrival {
                self.waiting.push_front(first);
                return None;
            }
            self.leave(first.network);
            match arrival {
                Arrival::Accept(handshake) => {
                    self.gate.look_again();
                    return Some((first.guest, handshake));
                }
                Arrival::Ignore => first.guest.ignore(),
                _ => first.guest.refuse(),
            }
        }
        None
    }

    fn wait(&mut self, guest: G) {
        let who = self.gate.who_waits(guest.address().ip());
        let fits = who.is_none_or(|(network, most)| {
            self.networks.get(&network).is_none_or(|waiting| *waiting < most)
        });
        if self.waiting.len() >= ROOM || !fits {
            return self.turn_away(guest);
        }
        let network = who.map(|(network, _)| network);
        if let Some(network) = network {
            let waiting = self.networks.entry(network).or_default();
            *waiting = waiting.saturating_add(1);
        }
        self.waiting.push_back(Waiting { until: Instant::now() + PATIENCE, network, guest });
    }

    fn leave(&mut self, network: Option<Neighbourhood>) {
        let Some(network) = network else { return };
        if let Some(waiting) = self.networks.get_mut(&network) {
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0 {
                self.networks.remove(&network);
            }
        }
    }

    fn turn_away(&self, guest: G) {
        self.gate.metrics().count(Counter::TurnedAwayHandshakes);
        guest.refuse();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::net::Ipv4Addr;
    use std::sync::Mutex;

    use tokio::time::{advance, timeout};

    use super::*;
    use crate::limits::{Deny, Limits};
    use crate::metrics::Metrics;

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Fate {
        Retry,
        Refused,
        Ignored,
    }

    const NOBODY: [u16; 0] = [];

    type Fates = Arc<Mutex<Vec<(u16, Fate)>>>;

    /// Somebody with a number, who notes what becomes of it.
    struct Somebody {
        number: u16,
        address: SocketAddr,
        confirmed: bool,
        fates: Fates,
    }

    impl Somebody {
        fn note(&self, fate: Fate) {
            self.fates.lock().unwrap().push((self.number, fate));
        }
    }

    impl Guest for Somebody {
        fn address(&self) -> SocketAddr {
            self.address
        }

        fn confirmed(&self) -> bool {
            self.confirmed
        }

        fn retry(self) {
            self.note(Fate::Retry);
        }

        fn refuse(self) {
            self.note(Fate::Refused);
        }

        fn ignore(self) {
            self.note(Fate::Ignored);
        }
    }

    /// A room, what became of those who came, and the handshakes that are under way.
    struct House {
        gate: Arc<Gate>,
        metrics: Arc<Metrics>,
        room: WaitingRoom<Somebody>,
        fates: Fates,
        under_way: Vec<Handshake>,
    }

    fn limits(handshakes: u32) -> Limits {
        let mut limits = Limits { handshakes, ..Limits::default() };
        limits.prefix.handshakes = 64;
        limits
    }

    impl House {
        /// A relay that is full: guests 0 to `handshakes` have begun.
        fn full(handshakes: u16) -> Self {
            let metrics = Arc::<Metrics>::default();
            let gate =
                Gate::new(limits(handshakes.into()), &Deny::default(), false, metrics.clone());
            let (room, fates) = (WaitingRoom::new(gate.clone()), Fates::default());
            let mut house = Self { gate, metrics, room, fates, under_way: Vec::new() };
            for number in 0..handshakes {
                assert_eq!(house.comes(number), Some(number));
            }
            house
        }

        /// Somebody from a network of its own; who begins because of that.
        fn comes(&mut self, number: u16) -> Option<u16> {
            let [high, low] = number.to_be_bytes();
            self.comes_from(number, Ipv4Addr::new(10, high, low, 1), true)
        }

        fn comes_from(&mut self, number: u16, from: Ipv4Addr, confirmed: bool) -> Option<u16> {
            let fates = self.fates.clone();
            let address = SocketAddr::from((from, 4433));
            let begun = self.room.admit(Somebody { number, address, confirmed, fates });
            self.begins(begun)
        }

        fn begins(&mut self, begun: Option<(Somebody, Handshake)>) -> Option<u16> {
            begun.map(|(guest, handshake)| {
                self.under_way.push(handshake);
                guest.number
            })
        }

        /// Whether the room stirs without anybody coming, and without that time passes.
        async fn stirs(&self) -> bool {
            timeout(Duration::ZERO, self.room.stirs()).await.is_ok()
        }

        /// All who begin now, as the accepting task lets them in.
        async fn let_in(&mut self) -> Vec<u16> {
            let mut all = Vec::new();
            while self.stirs().await {
                let begun = self.room.next();
                all.extend(self.begins(begun));
            }
            all
        }

        fn fates(&self) -> Vec<(u16, Fate)> {
            std::mem::take(&mut self.fates.lock().unwrap())
        }

        fn turned_away(&self) -> u64 {
            self.metrics.get(Counter::TurnedAwayHandshakes)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_begins_in_order_as_others_end() {
        let mut house = House::full(2);
        for number in 10..14 {
            assert_eq!(house.comes(number), None);
        }
        assert_eq!(house.let_in().await, NOBODY, "nothing has ended");
        house.under_way.remove(0);
        assert_eq!(house.let_in().await, [10]);
        drop(house.under_way.remove(0).established());
        assert_eq!(house.let_in().await, [11], "however it ended");
        house.under_way.clear();
        assert_eq!(house.let_in().await, [12, 13], "one call is enough for two ends");
        assert_eq!(house.fates(), []);
        assert_eq!(house.gate.gauges()[1], 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_nobody_was_waiting_for_is_not_forgotten() {
        let mut house = House::full(1);
        // It ends between the question whether a handshake may begin and the waiting.
        house.comes(10);
        assert!(!house.stirs().await);
        house.under_way.clear();
        assert!(house.stirs().await);
        let begun = house.room.next();
        assert_eq!(house.begins(begun), Some(10));
        // It ends while the room is empty; who comes then begins at once.
        house.under_way.clear();
        assert_eq!(house.comes(11), Some(11));
        assert_eq!(house.comes(12), None);
        assert_eq!(house.let_in().await, NOBODY, "the old end says nothing about this one");
        house.under_way.clear();
        assert_eq!(house.let_in().await, [12]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_overtakes_those_who_wait() {
        let mut house = House::full(2);
        house.comes(10);
        house.comes(11);
        house.under_way.clear();
        assert_eq!(house.comes(12), Some(10), "the place is that of the first");
        assert_eq!(house.let_in().await, [11]);
        house.under_way.clear();
        assert_eq!(house.let_in().await, [12]);
        assert_eq!(house.comes(13), Some(13), "nobody waits any more");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_too_long_is_told_although_nothing_ends() {
        let mut house = House::full(2);
        house.comes(10);
        advance(Duration::from_secs(3)).await;
        house.comes(11);
        assert_eq!(house.let_in().await, NOBODY);
        timeout(Duration::from_secs(6), house.room.stirs()).await.unwrap();
        assert_eq!(house.let_in().await, NOBODY);
        assert_eq!(house.fates(), [(10, Fate::Refused)], "and not who came later");
        timeout(Duration::from_secs(6), house.room.stirs()).await.unwrap();
        assert_eq!(house.let_in().await, NOBODY);
        assert_eq!(house.fates(), [(11, Fate::Refused)]);
        assert_eq!(house.turned_away(), 2);
        assert!(house.room.networks.is_empty(), "and nobody is counted any more");
        house.under_way.clear();
        assert_eq!(house.comes(12), Some(12));
    }

    #[tokio::test(start_paused = true)]
    async fn no_handshake_is_begun_for_somebody_who_has_left() {
        let mut house = House::full(1);
        house.comes(10);
        advance(Duration::from_secs(5)).await;
        house.comes(11);
        advance(Duration::from_secs(4)).await;
        house.under_way.clear();
        assert_eq!(house.let_in().await, [11]);
        assert_eq!(house.fates(), [(10, Fate::Refused)]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_one_network_no_more_wait_than_may_be_under_way() {
        let mut house = House::full(1);
        let office = Ipv4Addr::new(192, 0, 2, 7);
        for number in 100..164 {
            house.comes_from(number, office, true);
        }
        assert_eq!(house.fates(), []);
        house.comes_from(164, office, true);
        assert_eq!(house.fates(), [(164, Fate::Refused)]);
        house.comes(10);
        house.comes_from(11, Ipv4Addr::LOCALHOST, true);
        assert_eq!(house.fates(), [], "others are not punished for that, nor who is exempt");
        house.under_way.clear();
        assert_eq!(house.let_in().await, [100]);
        house.comes_from(165, office, true);
        assert_eq!(house.fates(), [], "one of them has left");
        house.comes_from(166, office, true);
        assert_eq!(house.fates(), [(166, Fate::Refused)]);
        let mut begun = Vec::new();
        while !house.under_way.is_empty() {
            house.under_way.clear();
            begun.extend(house.let_in().await);
        }
        let expected: Vec<u16> = (101..164).chain([10, 11, 165]).collect();
        assert_eq!(begun, expected, "nobody is left behind");
        assert!(house.room.networks.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_room_has_a_bound() {
        let mut house = House::full(1);
        let room = u16::try_from(ROOM).unwrap();
        for number in 100..100 + room {
            house.comes(number);
        }
        assert_eq!(house.fates(), []);
        house.comes(100 + room);
        assert_eq!(house.fates(), [(100 + room, Fate::Refused)]);
        assert_eq!(house.turned_away(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_confirmed_takes_no_place() {
        let mut house = House::full(1);
        let from = Ipv4Addr::new(192, 0, 2, 7);
        assert_eq!(house.comes_from(10, from, false), None);
        assert_eq!(house.fates(), [(10, Fate::Retry)]);
        house.comes(11);
        assert_eq!(house.comes_from(12, from, false), None);
        assert_eq!(house.fates(), [(12, Fate::Retry)]);
        house.under_way.clear();
        assert_eq!(house.let_in().await, [11]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_reloaded_holds_for_those_who_wait() {
        let mut house = House::full(1);
        for number in 10..14 {
            house.comes(number);
        }
        let deny = Deny { prefixes: vec!["10.0.10.0/24".parse().unwrap()], ..Deny::default() };
        house.gate.change(limits(3), &deny, false);
        assert_eq!(house.let_in().await, [11, 12], "although no handshake has ended");
        assert_eq!(house.fates(), [(10, Fate::Ignored)]);
        // No connections at all any more.
        house.gate.change(Limits { connections: 0, ..limits(3) }, &deny, false);
        assert_eq!(house.let_in().await, NOBODY);
        assert_eq!(house.fates(), [(13, Fate::Refused)]);
    }
}
