//! Those who came over QUIC while as many handshakes as may be were under way.
//!
//! When a relay starts anew, all its clients come back at once. Whoever is turned away comes again, after
//! a pause that grows each time: the relay would spend its time on turning away, and then stand still. So
//! those who have confirmed their address wait here, for nothing is computed for them until their turn.
//! Of one network no more wait than may be under way.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use quinn::Incoming;
use tokio::time::Instant;

use crate::limits::{Arrival, Gate, Handshake, Neighbourhood};
use crate::metrics::Counter;

/// Who waits at most: a minute's handshakes of a small machine is more than anybody waits for. Each
/// takes the packets of its first message, see [`undertone_wire::transport::server_config`].
const ROOM: usize = 8192;

/// How long anybody waits: less than clients do.
const PATIENCE: Duration = Duration::from_secs(10);

/// In the order in which they came.
pub(super) struct WaitingRoom {
    gate: Arc<Gate>,
    waiting: VecDeque<Waiting>,
    /// Who waits, by network.
    networks: HashMap<Neighbourhood, u32>,
}

struct Waiting {
    since: Instant,
    network: Option<Neighbourhood>,
    incoming: Incoming,
}

impl WaitingRoom {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { gate, waiting: VecDeque::new(), networks: HashMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Decides about a connection before anything is computed for it.
    pub(super) fn admit(&mut self, incoming: Incoming) -> Option<(Incoming, Handshake)> {
        let confirmed = incoming.remote_address_validated();
        match self.gate.arrive(incoming.remote_address(), confirmed) {
            Arrival::Accept(handshake) => return Some((incoming, handshake)),
            // Fails only if a retry came before, in which case the address is confirmed.
            Arrival::Retry => drop(incoming.retry()),
            Arrival::Wait => self.wait(incoming),
            Arrival::Refuse => incoming.refuse(),
            Arrival::Ignore => incoming.ignore(),
        }
        None
    }

    /// The next one, if a handshake may begin.
    pub(super) fn next(&mut self) -> Option<(Incoming, Handshake)> {
        while let Some(first) = self.waiting.pop_front() {
            if first.since.elapsed() > PATIENCE {
                self.leave(first.network);
                self.turn_away(first.incoming);
                continue;
            }
            let arrival = self.gate.arrive(first.incoming.remote_address(), true);
            if let Arrival::Wait = arrival {
                self.waiting.push_front(first);
                return None;
            }
            self.leave(first.network);
            match arrival {
                Arrival::Accept(handshake) => {
                    self.gate.look_again();
                    return Some((first.incoming, handshake));
                }
                Arrival::Ignore => first.incoming.ignore(),
                _ => first.incoming.refuse(),
            }
        }
        None
    }

    fn wait(&mut self, incoming: Incoming) {
        let who = self.gate.who_waits(incoming.remote_address().ip());
        let fits = who.is_none_or(|(network, most)| {
            self.networks.get(&network).is_none_or(|waiting| *waiting < most)
        });
        if self.waiting.len() >= ROOM || !fits {
            return self.turn_away(incoming);
        }
        let network = who.map(|(network, _)| network);
        if let Some(network) = network {
            let waiting = self.networks.entry(network).or_default();
            *waiting = waiting.saturating_add(1);
        }
        self.waiting.push_back(Waiting { since: Instant::now(), network, incoming });
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

    fn turn_away(&self, incoming: Incoming) {
        self.gate.metrics().count(Counter::TurnedAwayHandshakes);
        incoming.refuse();
    }
}
