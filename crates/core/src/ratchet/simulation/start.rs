//! Two people who start a session with each other at the same time, over a
//! network that loses, repeats and delays: real handshakes, and each side does
//! what `protocol-spec/04-handshake.md`, sections 6 and 8, say.

use std::collections::BTreeSet;
use std::vec::Vec;

use super::*;
use crate::handshake::{Greeting, initiate};
use crate::prekey::tests::Inviter;
use crate::routing::Routing;

/// Of a hundred envelopes: lost, repeated, delayed.
const WEATHER: [u64; 3] = [25, 20, 40];
/// The longest delay in turns: fewer chains than a session remembers.
const DELAY: u64 = 10;

struct Side {
    me: Inviter,
    sessions: Vec<Session>,
    /// The session to send on: where the other was last heard, at first the
    /// one that was started.
    current: usize,
    accepted: usize,
    received: BTreeSet<u64>,
}

struct InFlight {
    to: usize,
    number: u64,
    envelope: Vec<u8>,
    due: u64,
}

struct Start {
    rng: TestRng,
    sides: [Side; 2],
    flying: Vec<InFlight>,
    now: u64,
    sent: u64,
}

/// The text of a message, which names it.
fn text(number: u64) -> Vec<u8> {
    std::vec![7; 8 + usize::try_from(number % 500).unwrap()]
        .into_iter()
        .zip(number.to_be_bytes().into_iter().chain(std::iter::repeat(7)))
        .map(|(_, byte)| byte)
        .collect()
}

impl Side {
    fn start(me: Inviter, other: &Inviter, rng: &mut TestRng) -> Self {
        let bundle = other.open(&other.sealed).unwrap().check(None).unwrap();
        let reply = Routing::new(b"mailbox").unwrap();
        let session = initiate(&me.person.device, bundle, &other.link, &reply, rng).unwrap();
        Self { me, sessions: [session].into(), current: 0, accepted: 0, received: BTreeSet::new() }
    }

    /// What a device does with an envelope: a greeting or a repeat of one
    /// first, then every session. Returns the content.
    fn receive(&mut self, envelope: &[u8]) -> Result<Vec<u8>, OpenError> {
        let Ok(greeting) = Greeting::open(&self.me.link.hello_key(), envelope) else {
            return self.try_sessions(envelope);
        };
        let id = greeting.session_id(&self.me.prekey.digest());
        if let Some(at) = self.sessions.iter().position(|session| session.id() == id) {
            let content = open(&mut self.sessions[at], greeting.envelope())?;
            self.current = at;
            return Ok(content);
        }
        let Inviter { person, prekey, link, .. } = &self.me;
        let known = |seen: &SessionId| self.sessions.iter().any(|session| session.id() == *seen);
        let pending = greeting
            .accept(&person.device, prekey, link, TODAY, known)
            .unwrap()
            .open(None, TODAY)
            .unwrap();
        let content = pending.content().to_vec();
        self.sessions.push(pending.commit(|_| Ok::<_, Infallible>(())).unwrap());
        self.current = self.sessions.len() - 1;
        self.accepted += 1;
        Ok(content)
    }

    fn try_sessions(&mut self, envelope: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut refusal = OpenError::NotForThisSession;
        for (at, session) in self.sessions.iter_mut().enumerate() {
            match open(session, envelope) {
                Ok(content) => {
                    self.current = at;
                    return Ok(content);
                }
                Err(OpenError::NotForThisSession | OpenError::Size) => {}
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }
}

impl Start {
    fn new(seed: u64) -> Self {
        let mut rng = TestRng::new(seed);
        let (alice, bob) = (Inviter::new(&mut rng), Inviter::new(&mut rng));
        let (for_alice, for_bob) = (alice.again(), bob.again());
        let alice = Side::start(alice, &for_bob, &mut rng);
        let bob = Side::start(bob, &for_alice, &mut rng);
        Self { rng, sides: [alice, bob], flying: Vec::new(), now: 0, sent: 0 }
    }

    fn chance(&mut self, percent: u64) -> bool {
        below(&mut self.rng, 100) < percent
    }

    fn send(&mut self, from: usize) -> InFlight {
        let number = self.sent;
        self.sent += 1;
        let side = &mut self.sides[from];
        let envelope = seal(&mut side.sessions[side.current], &text(number), &mut self.rng);
        InFlight { to: 1 - from, number, envelope, due: self.now }
    }

    fn send_into_weather(&mut self, from: usize) {
        let [lost, repeated, delayed] = WEATHER;
        let message = self.send(from);
        for _ in 0..1 + u64::from(self.chance(repeated)) {
            if self.chance(lost) {
                continue;
            }
            let delay = if self.chance(delayed) { below(&mut self.rng, DELAY) } else { 0 };
            let (due, envelope) = (self.now + delay, message.envelope.clone());
            self.flying.push(InFlight { due, envelope, ..message });
        }
    }

    fn deliver_due(&mut self, until: u64) {
        while let Some(at) = self.flying.iter().position(|flying| flying.due <= until) {
            let flying = self.flying.swap_remove(at);
            self.deliver(&flying);
        }
    }

    fn deliver(&mut self, flying: &InFlight) {
        let side = &mut self.sides[flying.to];
        match side.receive(&flying.envelope) {
            Ok(content) => {
                assert_eq!(content, text(flying.number));
                assert!(side.received.insert(flying.number), "received twice");
            }
            Err(error) => {
                assert!(matches!(error, OpenError::Duplicate | OpenError::KeyGone), "{error}");
                assert!(side.received.contains(&flying.number), "the first copy was refused");
            }
        }
    }
}

#[test]
fn both_start_at_once() {
    let mut crossed = 0;
    for seed in seeds(12) {
        let mut world = Start::new(4_000 + seed);
        // Both have said something before either has heard anything.
        world.send_into_weather(0);
        world.send_into_weather(1);
        for _ in 0..80 {
            world.now += 1;
            world.deliver_due(world.now);
            let who = index(&mut world.rng, 2);
            world.send_into_weather(who);
            if world.chance(10) {
                let side = &mut world.sides[who];
                let at = index(&mut world.rng, side.sessions.len());
                side.sessions[at] = copy(&side.sessions[at]);
            }
        }
        world.deliver_due(u64::MAX);
        for side in &world.sides {
            assert!(side.accepted <= 1, "a handshake was accepted twice");
            assert!(side.received.len() > 10, "seed {seed}: nothing came through");
        }
        crossed += u64::from(world.sides.iter().all(|side| side.accepted == 1));

        // Messages do not cross any more: one session is used, and heals.
        for turn in 0..2 {
            let message = world.send(turn);
            world.deliver(&message);
        }
        let [alice, bob] = &world.sides;
        let (used, other) = (&alice.sessions[alice.current], &bob.sessions[bob.current]);
        assert_eq!(used.id(), other.id(), "seed {seed}: they send on different sessions");
        let (id, before) = (used.id(), used.epoch());
        for turn in 0..42 {
            let message = world.send(turn % 2);
            world.deliver(&message);
        }
        let [alice, bob] = &world.sides;
        for side in [alice, bob] {
            let used = &side.sessions[side.current];
            assert_eq!(used.id(), id);
            assert!(used.epoch() >= before + 2 && used.confirmed());
        }
    }
    assert!(crossed > 0, "both handshakes were accepted in no world");
}
