//! What of a mailbox came with which capability: in memory only, so that one sender can't fill a
//! mailbox for the others, and nothing that is stored says who wrote.
//!
//! Counted is what came since the relay was started. A capability of a mailbox that has others may
//! take a part of the mailbox's limits, see [`Policy::share`](super::Policy::share); one envelope it
//! may always have there.

use std::collections::{HashMap, VecDeque};

use undertone_wire::frame::MailboxLimits;
use undertone_wire::{MailboxId, WriteCapabilityHash};

/// Runs that are kept at most, over all mailboxes: some 20 MiB. One sender's envelopes of one size
/// that follow each other are one run, so that most mailboxes have one or two.
const RUNS: usize = 262_144;

/// Envelopes of one size that follow each other and came with one capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    first: u64,
    count: u32,
    /// Bytes of each.
    size: u32,
}

impl Run {
    /// The position behind the last one.
    fn end(self) -> u64 {
        self.first.saturating_add(self.count.into())
    }
}

/// What of a mailbox came with one capability, in order.
#[derive(Default)]
struct Share {
    runs: VecDeque<Run>,
    count: u64,
    bytes: u64,
}

impl Share {
    fn push(&mut self, seq: u64, size: u32) {
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(size.into());
        match self.runs.back_mut() {
            Some(run) if run.end() == seq && run.size == size && run.count < u32::MAX => {
                run.count = run.count.saturating_add(1);
            }
            _ => self.runs.push_back(Run { first: seq, count: 1, size }),
        }
    }

    /// Forgets what is not behind the floor.
    fn release(&mut self, floor: u64) {
        while let Some(run) = self.runs.front_mut()
            && run.first <= floor
        {
            let gone = floor.saturating_add(1).saturating_sub(run.first);
            let gone = u32::try_from(gone).unwrap_or(u32::MAX).min(run.count);
            self.count = self.count.saturating_sub(gone.into());
            let bytes = u64::from(gone).saturating_mul(run.size.into());
            self.bytes = self.bytes.saturating_sub(bytes);
            run.first = run.first.saturating_add(gone.into());
            run.count = run.count.saturating_sub(gone);
            if run.count == 0 {
                self.runs.pop_front();
            }
        }
    }
}

/// The shares of all mailboxes in which something is counted.
#[derive(Default)]
pub(super) struct Shares {
    mailboxes: HashMap<MailboxId, HashMap<WriteCapabilityHash, Share>>,
    runs: usize,
}

fn runs(shares: &HashMap<WriteCapabilityHash, Share>) -> usize {
    shares.values().map(|share| share.runs.len()).sum()
}

impl Shares {
    /// Whether so many bytes more with this capability would be more than its part of the mailbox,
    /// in percent (R-1127).
    pub(super) fn exceeds(
        &self,
        mailbox: MailboxId,
        capability: WriteCapabilityHash,
        bytes: u64,
        limits: MailboxLimits,
        percent: u32,
    ) -> bool {
        if percent >= 100 {
            return false;
        }
        let share = self.mailboxes.get(&mailbox).and_then(|shares| shares.get(&capability));
        let Some(share) = share.filter(|share| share.count > 0) else { return false };
        let envelopes = u64::from(limits.envelopes).saturating_mul(percent.into()) / 100;
        let most = limits.bytes.saturating_mul(percent.into()) / 100;
        share.count >= envelopes || share.bytes.saturating_add(bytes) > most
    }

    /// An envelope came in at this position.
    pub(super) fn push(
        &mut self,
        mailbox: MailboxId,
        capability: WriteCapabilityHash,
        seq: u64,
        bytes: u64,
    ) {
        // Envelopes are at most 64 KiB.
        let size = u32::try_from(bytes).unwrap_or(u32::MAX);
        let share = self.mailboxes.entry(mailbox).or_default().entry(capability).or_default();
        let before = share.runs.len();
        share.push(seq, size);
        self.runs = self.runs.saturating_add(share.runs.len().saturating_sub(before));
        if self.runs > RUNS {
            self.make_room(RUNS);
        }
    }

    /// Nothing at or before the floor is in the mailbox any more.
    pub(super) fn release(&mut self, mailbox: MailboxId, floor: u64) {
        let Some(shares) = self.mailboxes.get_mut(&mailbox) else { return };
        let before = runs(shares);
        shares.retain(|_, share| {
            share.release(floor);
            share.count > 0
        });
        self.runs = self.runs.saturating_sub(before.saturating_sub(runs(shares)));
        if shares.is_empty() {
            self.mailboxes.remove(&mailbox);
        }
    }

    /// The mailbox is gone, or begins anew.
    pub(super) fn forget(&mut self, mailbox: MailboxId) {
        if let Some(shares) = self.mailboxes.remove(&mailbox) {
            self.runs = self.runs.saturating_sub(runs(&shares));
        }
    }

    /// Forgets the mailboxes that take the most room, until half of it is free: whoever fills the
    /// table on purpose does it with mailboxes of their own.
    fn make_room(&mut self, bound: usize) {
        let mut sizes: Vec<_> =
            self.mailboxes.iter().map(|(id, shares)| (runs(shares), *id)).collect();
        sizes.sort_unstable_by_key(|(runs, _)| core::cmp::Reverse(*runs));
        for (_, id) in sizes {
            if self.runs <= bound / 2 {
                return;
            }
            self.forget(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: MailboxLimits = MailboxLimits { envelopes: 8, bytes: 64 << 10 };

    fn mailbox(n: u8) -> MailboxId {
        MailboxId::from_bytes([n; 32])
    }

    fn capability(n: u8) -> WriteCapabilityHash {
        WriteCapabilityHash::from_bytes([n; 32])
    }

    #[test]
    fn what_is_counted_follows_the_floor_exactly() {
        let mut shares = Shares::default();
        // Another size begins a run, and so does another sender in between.
        for (seq, n, bytes) in
            [(1, 1, 1024), (2, 1, 1024), (3, 1, 2048), (4, 2, 1024), (5, 1, 2048), (6, 1, 2048)]
        {
            shares.push(mailbox(1), capability(n), seq, bytes);
        }
        let found = |shares: &Shares, n| {
            let share = shares.mailboxes.get(&mailbox(1)).and_then(|m| m.get(&capability(n)));
            share.map(|share| (share.count, share.bytes, share.runs.len()))
        };
        assert_eq!(found(&shares, 1), Some((5, 8192, 3)));
        assert_eq!(found(&shares, 2), Some((1, 1024, 1)));
        assert_eq!(shares.runs, 4);
        shares.release(mailbox(1), 1);
        assert_eq!(found(&shares, 1), Some((4, 7168, 3)));
        shares.release(mailbox(1), 5);
        assert_eq!((found(&shares, 1), found(&shares, 2)), (Some((1, 2048, 1)), None));
        shares.release(mailbox(1), 5);
        assert_eq!(shares.runs, 1);
        shares.release(mailbox(1), u64::MAX);
        assert_eq!((shares.runs, shares.mailboxes.len()), (0, 0));
    }

    /// R-1127
    #[test]
    fn a_part_by_count_and_by_bytes_and_one_envelope_always() {
        let mut shares = Shares::default();
        let exceeds = |shares: &Shares, bytes, percent| {
            shares.exceeds(mailbox(1), capability(1), bytes, LIMITS, percent)
        };
        // Larger than the part, and yet the first.
        assert!(!exceeds(&shares, 64 << 10, 25));
        shares.push(mailbox(1), capability(1), 1, 1024);
        assert!(!exceeds(&shares, 15 << 10, 25));
        assert!(exceeds(&shares, 16 << 10, 25));
        shares.push(mailbox(1), capability(1), 2, 1024);
        assert!(exceeds(&shares, 1024, 25));
        assert!(!exceeds(&shares, 1024, 50));
        assert!(exceeds(&shares, 1024, 1));
        assert!(!exceeds(&shares, 64 << 20, 100));
        assert!(!shares.exceeds(mailbox(1), capability(2), 1024, LIMITS, 25));
        assert!(!shares.exceeds(mailbox(2), capability(1), 1024, LIMITS, 25));
    }

    #[test]
    fn a_full_table_forgets_the_mailboxes_that_fill_it() {
        let mut shares = Shares::default();
        shares.push(mailbox(1), capability(1), 1, 1024);
        for seq in 1..=10 {
            shares.push(mailbox(2), capability(u8::try_from(seq % 2).unwrap_or(0)), seq, 1024);
        }
        assert_eq!(shares.runs, 11);
        shares.make_room(11);
        assert_eq!((shares.runs, shares.mailboxes.len()), (1, 1));
        assert!(shares.mailboxes.contains_key(&mailbox(1)));
    }
}
