//! Receiving chains behind the current one.

use crate::bounds::{MAX_OLD_CHAINS, RETENTION_DAYS};
use crate::day::Day;
use crate::primitives::hash::{sha256, truncate};

use super::core::Core;
use super::header::Header;
use super::keys::HeaderKey;

/// Bytes of the hash over a chain's constants.
pub(crate) const CONSTANTS: usize = 16;

/// A chain that has ended: its header key still opens late messages, whose
/// keys are among the skipped.
pub(crate) struct OldChain {
    pub(crate) serial: u32,
    pub(crate) header: HeaderKey,
    pub(crate) constants: [u8; CONSTANTS],
    /// Its length, as the next chain announced it.
    pub(crate) end: u32,
    /// The day on which it ended.
    pub(crate) day: Day,
}

/// At most [`MAX_OLD_CHAINS`], the newest last.
pub(crate) struct OldChains {
    chains: alloc::collections::VecDeque<OldChain>,
}

/// A short hash of what is constant in a chain.
pub(crate) fn constants(header: &Header) -> [u8; CONSTANTS] {
    let previous = header.previous.to_be_bytes();
    let epoch = header.epoch.to_be_bytes();
    truncate(&sha256(&[], &[&header.key, &previous, &epoch, header.tag.as_bytes()]))
}

impl OldChain {
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
        Some(Self {
            serial: receiving.serial,
            header: HeaderKey::from_array(receiving.header.expose()),
            constants: constants(&header),
            end,
            day,
        })
    }

    /// Whether it may still be kept on `today`.
    pub(crate) fn lives(&self, today: Day) -> bool {
        self.day.plus(RETENTION_DAYS) >= today
    }
}

impl OldChains {
    pub(crate) fn new() -> Self {
        // Room from the start: a growing buffer would leave keys behind.
        Self { chains: alloc::collections::VecDeque::with_capacity(MAX_OLD_CHAINS + 1) }
    }

    /// Newest first: late messages are mostly of the chain before.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &OldChain> {
        self.chains.iter().rev()
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &OldChain> {
        self.chains.iter()
    }

    pub(crate) fn push(&mut self, chain: OldChain) {
        self.chains.push_back(chain);
        if self.chains.len() > MAX_OLD_CHAINS {
            self.chains.pop_front();
        }
    }

    pub(crate) fn expire(&mut self, today: Day) {
        while self.chains.front().is_some_and(|oldest| !oldest.lives(today)) {
            self.chains.pop_front();
        }
    }
}
