//! What of the store is kept in memory.

use std::collections::HashMap;

use undertone_wire::{MailboxId, WriteCapabilityHash};

use crate::store::rules::Mailbox;

/// Mailboxes kept in memory, in each of two generations. A mailbox costs a few hundred bytes.
const CACHED_MAILBOXES: usize = 20_000;

/// Entries of theirs, queued or remembered, in each of two generations. One costs some 90 bytes, so that
/// both generations take at most 180 MB; or a mailbox more, which holds 10,000 at most.
const CACHED_ENTRIES: usize = 1_000_000;

/// What is asked for often: two generations, the older of which is dropped when the newer is full.
#[derive(Default)]
pub(super) struct Cache {
    young: HashMap<MailboxId, Mailbox>,
    old: HashMap<MailboxId, Mailbox>,
    /// Entries of those in `young`.
    entries: usize,
    pub(super) capabilities: HashMap<WriteCapabilityHash, MailboxId>,
}

impl Cache {
    pub(super) fn take(&mut self, mailbox: MailboxId) -> Option<Mailbox> {
        match self.young.remove(&mailbox) {
            Some(found) => {
                self.entries = self.entries.saturating_sub(found.entries());
                Some(found)
            }
            None => self.old.remove(&mailbox),
        }
    }

    /// A mailbox that is there. Entries are neither put in nor taken out here.
    pub(super) fn get_mut(&mut self, mailbox: MailboxId) -> Option<&mut Mailbox> {
        match self.young.get_mut(&mailbox) {
            Some(found) => Some(found),
            None => self.old.get_mut(&mailbox),
        }
    }

    pub(super) fn put(&mut self, id: MailboxId, mailbox: Mailbox) {
        if self.young.len() >= CACHED_MAILBOXES || self.entries >= CACHED_ENTRIES {
            self.old = std::mem::take(&mut self.young);
            self.entries = 0;
        }
        self.entries = self.entries.saturating_add(mailbox.entries());
        if let Some(replaced) = self.young.insert(id, mailbox) {
            self.entries = self.entries.saturating_sub(replaced.entries());
        }
    }

    pub(super) fn remember(&mut self, capability: WriteCapabilityHash, mailbox: MailboxId) {
        if self.capabilities.len() >= CACHED_MAILBOXES {
            self.capabilities.clear();
        }
        self.capabilities.insert(capability, mailbox);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use undertone_wire::{Day, EnvelopeHash};

    use super::*;
    use crate::store::rules::{Entry, effective};

    /// A mailbox with so many envelopes.
    fn full(envelopes: u32) -> Mailbox {
        let mut mailbox = Mailbox::new(effective(None), Day::new(1), (0, 0), Vec::new());
        for number in 1..=envelopes {
            let mut hash = [0; 16];
            hash.first_chunk_mut().into_iter().for_each(|first| *first = number.to_be_bytes());
            let hash = EnvelopeHash::from_bytes(hash);
            mailbox.push(Entry { seq: number.into(), day: Day::new(1), bytes: 1024, hash });
        }
        mailbox
    }

    #[test]
    fn full_mailboxes_do_not_take_more_than_there_is_for_entries() {
        let mut cache = Cache::default();
        let id = |n: u16| {
            let mut id = [0; 32];
            id.first_chunk_mut().into_iter().for_each(|first| *first = n.to_be_bytes());
            MailboxId::from_bytes(id)
        };
        for number in 0..1000 {
            cache.put(id(number), full(5000));
            // Used again: neither counted twice nor forgotten.
            if let Some(mailbox) = cache.take(id(number)) {
                cache.put(id(number), mailbox);
            }
        }
        let held =
            cache.young.values().chain(cache.old.values()).map(Mailbox::entries).sum::<usize>();
        assert!(held <= 2 * CACHED_ENTRIES + 10_000, "{held}");
        assert!(held >= CACHED_ENTRIES, "{held}");
        assert_eq!(cache.entries, cache.young.values().map(Mailbox::entries).sum::<usize>());
    }
}
