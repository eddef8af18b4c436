//! What the bytes of an input make the adversary do.

use core::convert::Infallible;

use undertone_core::bounds;

use super::deliver::HEADER;
use super::world::{Side, World};
use crate::harness::input::Input;

/// Steps of one run.
const MAX_STEPS: usize = 300;

/// Lengths of content at which something changes.
const LENGTHS: [usize; 8] =
    [0, 5, 280, 797, 798, 3_000, bounds::MAX_CONTENT, bounds::MAX_CONTENT + 1];

/// Where the fields of header and body stand in the ratchet's part, and how
/// long they are: with no encryption, each is open to be written over.
const FIELDS: [(usize, usize); 14] = [
    (12, 32),          // ratchet key
    (44, 4),           // previous length
    (48, 4),           // number
    (52, 4),           // epoch
    (56, 8),           // epoch tag
    (64, 1),           // flags
    (65, 16),          // header's tag
    (HEADER, 2),       // content length
    (HEADER + 2, 1),   // run's kind, where the content is empty
    (HEADER + 3, 4),   // run's epoch
    (HEADER + 7, 2),   // run's first block and count
    (HEADER + 9, 8),   // run's tag
    (HEADER + 17, 32), // first block
    (0, HEADER),       // nonce and sealed header
];

/// The numbers of the steps, for the seeds.
pub const SEND: u8 = 0;
pub const OLDEST: u8 = 1;
pub const NEWEST: u8 = 2;
pub const ANY: u8 = 3;
pub const EXCHANGE: u8 = 4;
pub const BURST: u8 = 5;
pub const FLIP: u8 = 6;
pub const MISCHIEF: u8 = 7;
pub const COPY: u8 = 8;
pub const ROLL_BACK: u8 = 9;
pub const RELOAD: u8 = 10;
pub const ABANDON_SEAL: u8 = 11;
pub const ABANDON_OPEN: u8 = 12;
pub const DAYS: u8 = 13;
pub const EXPIRE: u8 = 14;
pub const FORGE: u8 = 15;
/// Added to a step: it is Bob's.
pub const BOB: u8 = 16;

pub fn ratchet_ops(data: &[u8]) {
    let input = &mut Input::new(data);
    let mut world = World::new(input.u8() & 1 == 1);
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        world.step(input);
        world.check();
    }
    world.sides.iter_mut().for_each(Side::reload);
    world.check();
}

impl World {
    fn step(&mut self, input: &mut Input<'_>) {
        let step = input.u8();
        let side = usize::from(step / 16 % 2);
        match step % 16 {
            SEND => self.send(side, length(input)),
            OLDEST | NEWEST => self.deliver_one(side, step % 16 == NEWEST),
            ANY => self.deliver(input.below(self.messages.len())),
            EXCHANGE => {
                let (times, len) = (input.u8() % 32, length(input));
                (0..times).for_each(|i| self.exchange((side + usize::from(i)) % 2, len));
            }
            BURST => (0..=u16::from(input.u8()) * 8).for_each(|_| self.send(side, 5)),
            FLIP => {
                let number = input.below(self.messages.len());
                let at = input.below(self.messages[number].envelope.len());
                let bit = input.u8() % 8;
                self.deliver_altered(number, |envelope| envelope[at] ^= 1 << bit);
            }
            MISCHIEF => self.mischief(side, input),
            COPY => self.sides[side].copy(),
            ROLL_BACK => self.rolled |= self.sides[side].roll_back(usize::from(input.u8())),
            RELOAD => self.sides[side].reload(),
            ABANDON_SEAL => self.abandon_seal(side, input.u8()),
            ABANDON_OPEN => self.abandon_open(input.below(self.messages.len()), input.u8()),
            DAYS => {
                let by = input.u8();
                let days = u32::from(by % 128);
                self.today = if by < 128 {
                    self.today.saturating_add(days)
                } else {
                    self.today.saturating_sub(days)
                };
            }
            EXPIRE => self.expire(side, input.u8() & 1 == 1),
            _ => self.forge(input),
        }
    }

    fn deliver_one(&mut self, to: usize, newest: bool) {
        let pending = &mut self.sides[to].pending;
        if !pending.is_empty() {
            let number = pending.remove(if newest { pending.len() - 1 } else { 0 });
            self.deliver(number);
        }
    }

    fn exchange(&mut self, from: usize, len: usize) {
        self.send(from, len);
        self.deliver_one(1 - from, true);
    }

    fn mischief(&mut self, side: usize, input: &mut Input<'_>) {
        let kind = input.u8() % 5;
        let number = input.below(self.messages.len());
        match kind {
            0 => {
                let len = input.below(self.messages[number].envelope.len());
                self.deliver_altered(number, |envelope| envelope.truncate(len));
            }
            1 => {
                let more = usize::from(input.u16());
                let longer = |envelope: &mut Vec<u8>| envelope.resize(envelope.len() + more, 0);
                self.deliver_altered(number, longer);
            }
            2 => self.reflect(number),
            kind => self.deliver_pending(side, kind == 4),
        }
    }

    /// Writes over a field of header or body, with any bytes or with what
    /// stands there in another message.
    fn forge(&mut self, input: &mut Input<'_>) {
        let number = input.below(self.messages.len());
        let field = input.u8();
        let (at, len) = FIELDS[usize::from(field) % FIELDS.len()];
        let bytes = if field < 128 {
            input.take(len).to_vec()
        } else {
            let other = &self.messages[input.below(self.messages.len())];
            other.envelope[other.handshake + at..][..len].to_vec()
        };
        let start = self.messages[number].handshake + at;
        let write = |envelope: &mut Vec<u8>| {
            envelope[start..start + bytes.len()].copy_from_slice(&bytes);
        };
        if field < 128 {
            self.deliver_altered(number, write);
        } else {
            let _ = self.graft(number, write);
        }
    }

    /// Begins a send and drops it, fails to store it, or leaks it.
    fn abandon_seal(&mut self, from: usize, how: u8) {
        let session = &mut self.sides[from].session;
        let before = session.to_bytes();
        if let Ok(pending) = session.seal(b"never", &mut self.rng) {
            match how % 3 {
                0 => drop(pending),
                1 => assert_eq!(pending.commit(|_, _| Err("disk full")), Err("disk full")),
                _ => core::mem::forget(pending),
            }
        }
        assert_eq!(session.to_bytes(), before, "an abandoned send changed the state");
    }

    /// Begins to open a message and drops it, fails to store it, or leaks it.
    fn abandon_open(&mut self, number: usize, how: u8) {
        let message = &self.messages[number];
        let part = &message.envelope[message.handshake..];
        let today = self.day();
        let session = &mut self.sides[1 - message.from].session;
        let before = session.to_bytes();
        if let Ok(pending) = session.open(part, today) {
            match how % 3 {
                0 => drop(pending),
                1 => assert!(pending.commit(|_| Err("disk full")).is_err()),
                _ => core::mem::forget(pending),
            }
        }
        assert_eq!(session.to_bytes(), before, "an abandoned message changed the state");
    }

    fn expire(&mut self, side: usize, fails: bool) {
        let today = self.day();
        let Side { session, model, .. } = &mut self.sides[side];
        let before = session.to_bytes();
        if fails {
            assert!(session.expire(today, |_| Err(())).is_err());
            assert_eq!(session.to_bytes(), before);
            return;
        }
        let mut stored = None;
        let result = session.expire(today, |state| {
            stored = Some(state.to_bytes());
            Ok::<_, Infallible>(())
        });
        assert_eq!(result, Ok(()));
        assert_eq!(stored, Some(session.to_bytes()), "what was stored is what is");
        assert!(!session.has_expired(today));
        model.expire(today.get());
    }
}

fn length(input: &mut Input<'_>) -> usize {
    LENGTHS[usize::from(input.u8()) % LENGTHS.len()]
}
