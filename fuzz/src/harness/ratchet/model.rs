//! What a session ought to do with an envelope, said by positions alone: a
//! second account of the bounds, with no key in it.

use std::collections::VecDeque;

use undertone_core::OpenError;
use undertone_core::bounds::{
    MAX_OLD_CHAINS, MAX_SKIP, MAX_SKIPPED_KEYS, REMEMBERED_POSITIONS, RETENTION_DAYS,
};

/// Where a message stands: the sender's chain (from 1), its number in it, and
/// the length of the chain before.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    pub chain: u32,
    pub number: u32,
    pub previous: u32,
}

/// One side of a session.
#[derive(Clone, Default)]
pub struct Model {
    /// The peer's chain that is current (0: none), and its next number.
    chain: u32,
    next: u32,
    /// Chain, length, and the day on which it ended.
    old: VecDeque<(u32, u32, u32)>,
    /// Chain, number, and since when it is missing.
    skipped: VecDeque<(u32, u32, u32)>,
    recent: VecDeque<(u32, u32)>,
    /// Our own chain and numbers; `due`: the next send begins a chain.
    sending: u32,
    number: u32,
    previous: u32,
    due: bool,
}

fn lives(since: u32, today: u32) -> bool {
    since.saturating_add(RETENTION_DAYS) >= today
}

impl Model {
    /// A fresh initiator.
    pub fn initiator() -> Self {
        Self { due: true, ..Self::default() }
    }

    pub fn can_send(&self) -> bool {
        self.due || self.sending > 0
    }

    pub fn has_received(&self) -> bool {
        self.chain > 0
    }

    pub fn send(&mut self) -> Position {
        if self.due {
            self.sending += 1;
            self.previous = core::mem::take(&mut self.number);
            self.due = false;
        }
        self.number += 1;
        Position { chain: self.sending, number: self.number - 1, previous: self.previous }
    }

    /// What opening has to say.
    pub fn expects(&self, at: Position, today: u32) -> Result<(), OpenError> {
        if at.chain > self.chain {
            let missing = at.previous.saturating_sub(self.next).max(at.number);
            return if missing > MAX_SKIP { Err(OpenError::GapTooLarge) } else { Ok(()) };
        }
        if at.chain == self.chain {
            return match at.number.checked_sub(self.next) {
                None => self.expects_past(at, today),
                Some(missing) if missing > MAX_SKIP => Err(OpenError::GapTooLarge),
                Some(_) => Ok(()),
            };
        }
        let known = |old: &&(u32, u32, u32)| old.0 == at.chain && lives(old.2, today);
        match self.old.iter().find(known) {
            None => Err(OpenError::NotForThisSession),
            Some(_) => self.expects_past(at, today),
        }
    }

    fn expects_past(&self, at: Position, today: u32) -> Result<(), OpenError> {
        let here = (at.chain, at.number);
        let waits = |key: &(u32, u32, u32)| (key.0, key.1) == here && lives(key.2, today);
        if self.skipped.iter().any(waits) {
            Ok(())
        } else if self.recent.contains(&here) {
            Err(OpenError::Duplicate)
        } else {
            Err(OpenError::KeyGone)
        }
    }

    /// Takes in a message that opened.
    pub fn receive(&mut self, at: Position, today: u32) {
        self.expire(today);
        let added = if at.chain > self.chain { self.step(at, today) } else { self.go_on(at) };
        self.skipped.extend(added.into_iter().map(|(chain, number)| (chain, number, today)));
        let over = self.skipped.len().saturating_sub(MAX_SKIPPED_KEYS);
        self.skipped.drain(..over);
        self.recent.push_back((at.chain, at.number));
        let over = self.recent.len().saturating_sub(REMEMBERED_POSITIONS);
        self.recent.drain(..over);
    }

    fn go_on(&mut self, at: Position) -> Vec<(u32, u32)> {
        if at.chain < self.chain || at.number < self.next {
            self.skipped.retain(|key| (key.0, key.1) != (at.chain, at.number));
            return Vec::new();
        }
        let from = core::mem::replace(&mut self.next, at.number + 1);
        (from..at.number).map(|number| (at.chain, number)).collect()
    }

    fn step(&mut self, at: Position, today: u32) -> Vec<(u32, u32)> {
        let mut added = Vec::new();
        if self.chain > 0 {
            added.extend((self.next..at.previous).map(|number| (self.chain, number)));
            self.old.push_back((self.chain, at.previous, today));
        }
        if self.old.len() > MAX_OLD_CHAINS {
            let forgotten = self.old.pop_front().map(|old| old.0);
            self.skipped.retain(|key| Some(key.0) != forgotten);
        }
        added.extend((0..at.number).map(|number| (at.chain, number)));
        (self.chain, self.next, self.due) = (at.chain, at.number + 1, true);
        added
    }

    pub fn expire(&mut self, today: u32) {
        self.old.retain(|old| lives(old.2, today));
        self.skipped.retain(|key| lives(key.2, today));
    }

    pub fn has_expired(&self, today: u32) -> bool {
        self.old.iter().any(|old| !lives(old.2, today))
            || self.skipped.iter().any(|key| !lives(key.2, today))
    }

    pub fn skipped_keys(&self) -> usize {
        self.skipped.len()
    }

    pub fn header_keys(&self) -> usize {
        1 + usize::from(self.chain > 0) + self.old.len()
    }
}
