//! Any interleaving of sends and deliveries within the bounds decrypts to
//! exactly what was sent, once each.

use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use rand_core::Rng;

use super::*;
use crate::bounds::MAX_OLD_CHAINS;

/// How the network and the people behave.
#[derive(Clone, Copy)]
struct Weather {
    /// Of a hundred envelopes, so many are lost, repeated, delayed.
    lost: u64,
    repeated: u64,
    delayed: u64,
    /// A message is the first of a burst of up to so many.
    burst: u64,
    /// Of a hundred turns, so many are Alice's.
    alice: u64,
    /// The longest text, in bytes.
    text: u64,
}

const CALM: Weather = Weather { lost: 0, repeated: 0, delayed: 0, burst: 1, alice: 50, text: 280 };
const STORM: Weather =
    Weather { lost: 30, repeated: 20, delayed: 40, burst: 9, alice: 50, text: 3_000 };
const MONOLOGUE: Weather =
    Weather { lost: 10, repeated: 5, delayed: 30, burst: 40, alice: 97, text: 100 };

struct Party {
    session: Session,
    /// Chains that it has begun, counted at its sends.
    chain: u64,
    received: BTreeMap<u64, u32>,
}

struct InFlight {
    to: usize,
    number: u64,
    text: Vec<u8>,
    envelope: Vec<u8>,
    due: u64,
    /// The sender's chain.
    chain: u64,
}

struct World {
    rng: TestRng,
    weather: Weather,
    parties: [Party; 2],
    flying: Vec<InFlight>,
    now: u64,
    sent: u64,
    /// Messages whose chain had been forgotten when they came in.
    forgotten: u64,
    log: String,
}

impl World {
    fn new(seed: u64, weather: Weather) -> Self {
        let mut rng = TestRng::new(seed);
        let (alice, bob) = pair(&mut rng);
        let party = |session| Party { session, chain: 0, received: BTreeMap::new() };
        Self {
            rng,
            weather,
            parties: [party(alice), party(bob)],
            flying: Vec::new(),
            now: 0,
            sent: 0,
            forgotten: 0,
            log: format!("seed {seed}"),
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        below(&mut self.rng, 100) < percent
    }

    fn turn(&mut self) {
        self.now += 1;
        let who = usize::from(!self.chance(self.weather.alice));
        // Bob has nothing to send on before Alice's first message came in.
        let session = &self.parties[who].session;
        if session.inner.core.live().remote.is_some() {
            for _ in 0..1 + below(&mut self.rng, self.weather.burst) {
                self.send(who);
            }
        }
        self.deliver_due();
        if self.chance(5) {
            let who = index(&mut self.rng, 2);
            self.parties[who].session = copy(&self.parties[who].session);
        }
    }

    fn send(&mut self, from: usize) {
        let len = usize::try_from(below(&mut self.rng, self.weather.text + 1)).unwrap();
        let mut text = std::vec![0; len];
        self.rng.fill_bytes(&mut text);
        let party = &mut self.parties[from];
        party.chain += u64::from(party.session.inner.core.live().sending_due);
        let chain = party.chain;
        let envelope = seal(&mut party.session, &text, &mut self.rng);
        let number = self.sent;
        self.sent += 1;
        let copies = 1 + u64::from(self.chance(self.weather.repeated));
        for _ in 0..copies {
            if self.chance(self.weather.lost) {
                continue;
            }
            let delay =
                if self.chance(self.weather.delayed) { below(&mut self.rng, 25) } else { 0 };
            self.flying.push(InFlight {
                to: 1 - from,
                number,
                text: text.clone(),
                envelope: envelope.clone(),
                due: self.now + delay,
                chain,
            });
        }
    }

    fn deliver_due(&mut self) {
        while let Some(at) = self.flying.iter().position(|flying| flying.due <= self.now) {
            let flying = self.flying.swap_remove(at);
            self.deliver(&flying);
        }
    }

    fn deliver(&mut self, flying: &InFlight) {
        let party = &mut self.parties[flying.to];
        let serial = u64::from(party.session.inner.core.live().receiving.serial);
        let seen = party.received.get(&flying.number).copied().unwrap_or(0);
        match open(&mut party.session, &flying.envelope) {
            Ok(text) => {
                assert_eq!(text, flying.text, "{}", self.log);
                assert_eq!(seen, 0, "{}: received twice", self.log);
                *party.received.entry(flying.number).or_default() += 1;
            }
            Err(OpenError::Duplicate | OpenError::KeyGone) => {
                assert_eq!(seen, 1, "{}: refused the first copy", self.log);
            }
            Err(OpenError::NotForThisSession) => {
                // Only what lies further back than the chains remembered.
                let age = serial - flying.chain;
                assert!(age > MAX_OLD_CHAINS as u64, "{}: {age} chains back", self.log);
                self.forgotten += 1;
            }
            Err(error) => panic!("{}: {error}", self.log),
        }
    }
}

#[test]
fn calm() {
    for seed in seeds(5) {
        let mut world = World::new(seed, CALM);
        for _ in 0..200 {
            world.turn();
        }
        let received: usize = world.parties.iter().map(|party| party.received.len()).sum();
        assert_eq!(received as u64, world.sent);
        assert!(world.parties[0].session.epoch() > 5);
    }
}

#[test]
fn storm() {
    let (mut sent, mut forgotten) = (0, 0);
    for seed in seeds(10) {
        let mut world = World::new(1_000 + seed, STORM);
        for _ in 0..150 {
            world.turn();
        }
        let [alice, bob] = &world.parties;
        assert!(alice.session.epoch().abs_diff(bob.session.epoch()) <= 1);
        assert!(alice.session.epoch() > 3, "seed {seed}: {}", alice.session.epoch());
        sent += world.sent;
        forgotten += world.forgotten;
    }
    // The bound on old chains is seldom met, even in this weather.
    assert!(forgotten * 20 < sent, "{forgotten} of {sent}");
}

#[test]
fn monologue() {
    for seed in seeds(3) {
        let mut world = World::new(2_000 + seed, MONOLOGUE);
        for _ in 0..120 {
            world.turn();
        }
        assert!(world.sent > 1_000);
    }
}
