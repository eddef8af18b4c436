//! Subscription tickets, as a running client keeps them: coming back to a relay costs one signature
//! for thousands of mailboxes.
//!
//! They are in memory only. A program that has just opened a profile compares the relay's floors with
//! the store first, which takes the mailboxes' keys anyway.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use undertone_wire::client::Ticket;
use undertone_wire::{MailboxId, RelayAddress};

/// A ticket that ends so soon is not presented: the request has to arrive in time.
const MARGIN: Duration = Duration::from_secs(60);

/// Tickets that are kept for a relay. Mailboxes come one by one, and each brings a small ticket;
/// beyond this many, all are given up, and the next subscription gets a few large ones.
const MAX_TICKETS: usize = 16;

/// Tickets by relay.
#[derive(Default)]
pub(crate) struct Tickets {
    held: Mutex<HashMap<RelayAddress, Vec<Held>>>,
}

/// A ticket, and until when it is good.
pub(crate) struct Held {
    pub(crate) ticket: Ticket,
    until: Instant,
}

impl Held {
    /// A ticket that was issued now.
    pub(crate) fn new(ticket: Ticket) -> Self {
        let until = Instant::now() + ticket.good_for();
        Self { ticket, until }
    }
}

impl Tickets {
    fn lock(&self) -> MutexGuard<'_, HashMap<RelayAddress, Vec<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keep(&self, relay: &RelayAddress, held: Held) {
        let mut all = self.lock();
        let tickets = all.entry(relay.clone()).or_default();
        tickets.push(held);
        if tickets.len() > MAX_TICKETS {
            tickets.clear();
        }
    }

    /// Takes the tickets for some of these mailboxes out. One that is for any other besides, which is
    /// not wanted any more, goes; so does one that has ended, and one for the same mailboxes as
    /// another.
    pub(crate) fn take(&self, relay: &RelayAddress, wanted: &HashSet<MailboxId>) -> Vec<Held> {
        let mut all = self.lock();
        let Some(tickets) = all.get_mut(relay) else { return Vec::new() };
        let now = Instant::now();
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        let mut covered = HashSet::new();
        for held in tickets.drain(..) {
            let mailboxes = held.ticket.mailboxes();
            let concerned = mailboxes.iter().filter(|one| wanted.contains(one)).count();
            if held.until.saturating_duration_since(now) < MARGIN {
                continue;
            }
            if concerned == 0 {
                left.push(held);
            } else if concerned == mailboxes.len()
                && mailboxes.iter().all(|one| covered.insert(*one))
            {
                taken.push(held);
            }
        }
        *tickets = left;
        taken
    }
}
