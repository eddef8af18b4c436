//! The two sides, and everything that was ever sent.

use core::convert::Infallible;
use std::collections::BTreeSet;

use undertone_core::{Day, SealError, Session, SessionId, bounds};

use super::model::{Model, Position};
use crate::common::TestRng;
use crate::harness::fixture::{HELLO, fixture};

/// Copies kept of each side's state.
const MAX_COPIES: usize = 4;
/// What one run may send; a seal costs some twenty microseconds.
const MAX_MESSAGES: usize = 3_000;
/// And in bytes.
const MAX_BYTES: usize = 8 << 20;

/// A message, as its sender made it.
pub struct Message {
    pub from: usize,
    pub content: Vec<u8>,
    pub envelope: Vec<u8>,
    /// Bytes of the handshake in front of the ratchet's part.
    pub handshake: usize,
    pub at: Position,
}

/// A state, as the side's disk has it, and what its history has received.
pub struct Copy {
    bytes: Vec<u8>,
    received: BTreeSet<usize>,
    model: Model,
}

pub struct Side {
    pub session: Session,
    pub received: BTreeSet<usize>,
    pub model: Model,
    copies: Vec<Copy>,
    /// Messages for this side that were not delivered yet.
    pub pending: Vec<usize>,
    epoch: u32,
}

pub struct World {
    pub rng: TestRng,
    pub sides: [Side; 2],
    pub messages: Vec<Message>,
    bytes: usize,
    pub today: u32,
    /// One side has been put back: positions say nothing more for certain.
    pub rolled: bool,
    /// An altered message was accepted, which only happens without
    /// encryption: whose words are whose is lost too.
    pub tainted: bool,
}

impl Side {
    fn new(bytes: &[u8], model: Model) -> Self {
        Self {
            session: Session::from_bytes(bytes).unwrap(),
            received: BTreeSet::new(),
            model,
            copies: Vec::new(),
            pending: Vec::new(),
            epoch: 0,
        }
    }

    /// The stored form, which must read back as itself.
    pub fn reload(&mut self) {
        let bytes = self.session.to_bytes();
        self.session = Session::from_bytes(&bytes).unwrap();
        assert_eq!(self.session.to_bytes(), bytes, "a reload changed the state");
    }

    pub fn copy(&mut self) {
        self.copies.truncate(MAX_COPIES - 1);
        self.copies.insert(
            0,
            Copy {
                bytes: self.session.to_bytes().to_vec(),
                received: self.received.clone(),
                model: self.model.clone(),
            },
        );
    }

    /// Puts the side back; returns whether that changed anything.
    pub fn roll_back(&mut self, which: usize) -> bool {
        let Some(copy) = self.copies.get(which % self.copies.len().max(1)) else {
            return false;
        };
        let changed = self.session.to_bytes().to_vec() != copy.bytes;
        self.session = Session::from_bytes(&copy.bytes).unwrap();
        self.received.clone_from(&copy.received);
        self.model = copy.model.clone();
        if changed {
            self.epoch = self.session.epoch();
        }
        changed
    }
}

impl World {
    /// After the first message, whose envelope is still about.
    pub fn new(confirmed: bool) -> Self {
        let fixture = fixture();
        let (mut alice, mut bob) = (Model::initiator(), Model::default());
        let at = alice.send();
        bob.receive(at, crate::common::TODAY.get());
        let mut sides = [Side::new(&fixture.greeted, alice), Side::new(&fixture.accepted, bob)];
        sides[1].received.insert(0);
        let mut world = Self {
            rng: TestRng::new(5),
            sides,
            messages: Vec::new(),
            bytes: 0,
            today: crate::common::TODAY.get(),
            rolled: false,
            tainted: false,
        };
        world.keep(Message {
            from: 0,
            content: HELLO.to_vec(),
            envelope: fixture.hello.clone(),
            handshake: world.handshake(0),
            at,
        });
        if confirmed {
            world.send(1, 2);
            world.deliver_pending(0, false);
        }
        world
    }

    pub fn strict(&self) -> bool {
        !self.rolled && !self.tainted
    }

    pub fn day(&self) -> Day {
        Day::new(self.today)
    }

    pub fn id(&self) -> SessionId {
        self.sides[1].session.id()
    }

    fn keep(&mut self, message: Message) {
        self.bytes += message.envelope.len() + message.content.len();
        self.messages.push(message);
    }

    /// Bytes of handshake that a side's envelopes begin with now.
    fn handshake(&self, from: usize) -> usize {
        if self.sides[from].session.confirmed() { 0 } else { fixture().handshake }
    }

    /// Seals, commits, and lets the envelope fly.
    pub fn send(&mut self, from: usize, len: usize) {
        if self.messages.len() >= MAX_MESSAGES || self.bytes + len > MAX_BYTES {
            return;
        }
        let mut content = vec![from as u8; len];
        let number = self.messages.len().to_be_bytes();
        content.iter_mut().zip(number).for_each(|(to, byte)| *to = byte);
        let handshake = self.handshake(from);
        let strict = self.strict();
        let side = &mut self.sides[from];
        let before = side.session.to_bytes();
        let mut stored = None;
        let result = side.session.seal(&content, &mut self.rng).map(|pending| {
            pending.commit(|state, envelope| {
                stored = Some((state.to_bytes(), envelope.to_vec()));
                Ok::<_, Infallible>(())
            })
        });
        match result {
            Ok(Ok(envelope)) => {
                assert_eq!(stored.unwrap(), (side.session.to_bytes(), envelope.clone()));
                assert!(len <= bounds::MAX_CONTENT);
                let at = side.model.send();
                self.sides[1 - from].pending.push(self.messages.len());
                self.keep(Message { from, content, envelope, handshake, at });
            }
            Ok(Err(never)) => match never {},
            Err(error) => {
                assert_eq!(side.session.to_bytes(), before, "{error} changed the state");
                let expected = len > bounds::MAX_CONTENT && error == SealError::ContentTooLong;
                assert!(expected || !strict, "{error}");
            }
        }
    }

    /// What holds after every step.
    pub fn check(&mut self) {
        let strict = self.strict();
        let today = self.day();
        for side in &mut self.sides {
            let session = &side.session;
            assert!(session.skipped_keys() <= bounds::MAX_SKIPPED_KEYS);
            assert!(session.header_keys() <= bounds::MAX_OLD_CHAINS + 2);
            assert!(session.epoch() >= side.epoch, "an epoch fell");
            side.epoch = session.epoch();
            if strict {
                assert_eq!(session.skipped_keys(), side.model.skipped_keys());
                assert_eq!(session.header_keys(), side.model.header_keys());
                assert_eq!(session.has_expired(today), side.model.has_expired(today.get()));
            }
        }
        if strict {
            let [alice, bob] = &self.sides;
            assert!(alice.epoch.abs_diff(bob.epoch) <= 1, "epochs drifted apart");
            assert_eq!(alice.session.confirmed(), alice.model.has_received());
            assert!(bob.session.confirmed() && bob.model.can_send());
        }
    }
}
