//! Receiving chains behind the current one.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use zeroize::Zeroize;

use crate::bounds::{MAX_OLD_CHAINS, RETENTION_DAYS};
use crate::day::Day;
use crate::label;
use crate::primitives::hash::{sha256, truncate};

use super::core::Core;
use super::header::Header;
use super::keys::ReceivingHeaderKey;

/// Bytes of the hash over a chain's constants.
pub(crate) const CONSTANTS: usize = 16;

/// What is public of a chain that has ended.
#[derive(Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) serial: u32,
    pub(crate) constants: [u8; CONSTANTS],
    /// Its length, as the next chain announced it.
    pub(crate) end: u32,
    /// The day on which it ended.
    pub(crate) day: Day,
}

/// A chain that has ended: its header key still opens late messages, whose
/// keys are among the skipped.
pub(crate) struct OldChain {
    pub(crate) facts: Ended,
    pub(crate) header: ReceivingHeaderKey,
}

/// At most [`MAX_OLD_CHAINS`], the newest last. The chains are boxed, and the
/// boxes used again: no header key is moved, and a step allocates nothing.
pub(crate) struct OldChains {
    chains: VecDeque<Box<OldChain>>,
    #[allow(clippy::vec_box, reason = "a growing Vec would move header keys")]
    spare: Vec<Box<OldChain>>,
}

/// A short hash of what is constant in a chain.
pub(crate) fn constants(header: &Header) -> [u8; CONSTANTS] {
    let previous = header.previous.to_be_bytes();
    let epoch = header.epoch.to_be_bytes();
    truncate(&sha256(
        label::CHAIN_CONSTANTS,
        &[&header.key, &previous, &epoch, header.tag.as_bytes()],
    ))
}

impl Ended {
    /// The current chain of `core`, which ends with `end` messages.
    pub(crate) fn of(core: &Core, end: u32, day: Day) -> Option<Self> {
        let receiving = &core.receiving;
        if !receiving.exists() {
            return None;
        }
        let header = Header {
            key: *core.remote?.as_bytes(),
            previous: receiving.previous,
            number: 0,
            epoch: receiving.epoch,
            tag: receiving.tag,
        };
        Some(Self { serial: receiving.serial, constants: constants(&header), end, day })
    }

    /// Whether it may still be kept on `today`.
    pub(crate) fn lives(&self, today: Day) -> bool {
        self.day.plus(RETENTION_DAYS) >= today
    }
}

impl OldChain {
    fn blank() -> Box<Self> {
        let facts = Ended { serial: 0, constants: [0; CONSTANTS], end: 0, day: Day::new(0) };
        Box::new(Self { facts, header: ReceivingHeaderKey::blank() })
    }
}

impl OldChains {
    pub(crate) fn new() -> Self {
        Self {
            chains: VecDeque::with_capacity(MAX_OLD_CHAINS + 1),
            spare: (0..=MAX_OLD_CHAINS).map(|_| OldChain::blank()).collect(),
        }
    }

    /// Newest first: late messages are mostly of the chain before.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &OldChain> {
        self.chains.iter().rev().map(|chain| &**chain)
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &OldChain> {
        self.chains.iter().map(|chain| &**chain)
    }

    /// Adds a chain, and returns the serial number of the one that it pushes
    /// out.
    pub(crate) fn push(&mut self, facts: Ended, header: &ReceivingHeaderKey) -> Option<u32> {
        let mut chain = self.spare.pop().unwrap_or_else(OldChain::blank);
        chain.facts = facts;
        chain.header.expose_mut().copy_from_slice(header.expose());
        self.chains.push_back(chain);
        if self.chains.len() <= MAX_OLD_CHAINS {
            return None;
        }
        let forgotten = self.chains.pop_front()?;
        let serial = forgotten.facts.serial;
        self.keep_box(forgotten);
        Some(serial)
    }

    pub(crate) fn expire(&mut self, today: Day) {
        while let Some(at) = self.chains.iter().position(|chain| !chain.facts.lives(today)) {
            if let Some(expired) = self.chains.remove(at) {
                self.keep_box(expired);
            }
        }
    }

    fn keep_box(&mut self, mut chain: Box<OldChain>) {
        chain.header.zeroize();
        self.spare.push(chain);
    }
}
