//! What of the store is kept in memory.

use std::collections::HashMap;

use undertone_wire::{MailboxId, WriteCapabilityHash};

use crate::store::rules::Mailbox;

/// Mailboxes kept in memory, in each of two generations. A mailbox costs a few hundred bytes, and
/// some 50 for each envelope it holds.
const CACHED_MAILBOXES: usize = 20_000;

/// What is asked for often: two generations, the older of which is dropped when the newer is full.
#[derive(Default)]
pub(super) struct Cache {
    young: HashMap<MailboxId, Mailbox>,
    old: HashMap<MailboxId, Mailbox>,
    pub(super) capabilities: HashMap<WriteCapabilityHash, MailboxId>,
}

impl Cache {
    pub(super) fn take(&mut self, mailbox: MailboxId) -> Option<Mailbox> {
        self.young.remove(&mailbox).or_else(|| self.old.remove(&mailbox))
    }

    pub(super) fn get_mut(&mut self, mailbox: MailboxId) -> Option<&mut Mailbox> {
        match self.young.get_mut(&mailbox) {
            Some(found) => Some(found),
            None => self.old.get_mut(&mailbox),
        }
    }

    pub(super) fn put(&mut self, id: MailboxId, mailbox: Mailbox) {
        if self.young.len() >= CACHED_MAILBOXES {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, mailbox);
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
