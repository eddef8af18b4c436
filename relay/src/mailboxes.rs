//! Who is subscribed to what, in memory only.
//!
//! A mailbox has at most one subscriber: the last one wins and the older one is told. Each
//! connection has a list of mailboxes that may have something for it; its pump takes envelopes
//! from the store as credit allows, so that a slow client costs no memory.

#[cfg(any(test, fuzzing))]
#[cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "a fuzzer calls it from outside"))]
pub mod fuzz;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use undertone_wire::frame::{EndReason, MailboxState, Push};
use undertone_wire::limits::MAX_CREDIT;
use undertone_wire::{Floor, MailboxId, Seq};

/// A connection, for as long as the process runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// All subscriptions.
#[derive(Default)]
pub(crate) struct Hub {
    subscribers: Mutex<HashMap<MailboxId, Arc<Subscriber>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one of these locks is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Something new is in the mailbox.
    pub(crate) fn wake(&self, mailbox: MailboxId) {
        let subscriber = lock(&self.subscribers).get(&mailbox).cloned();
        if let Some(subscriber) = subscriber {
            subscriber.wake(mailbox);
        }
    }

    /// Makes the subscriber the only one; what is behind the floor is pushed (again).
    pub(crate) fn subscribe(
        &self,
        subscriber: &Arc<Subscriber>,
        mailbox: MailboxId,
        state: &MailboxState,
        proof: Proof,
    ) {
        subscriber.begin(mailbox, state.acknowledged.max(state.expired), proof);
        let previous = lock(&self.subscribers).insert(mailbox, subscriber.clone());
        if let Some(previous) = previous.filter(|previous| previous.id != subscriber.id) {
            previous.end(mailbox, EndReason::Replaced);
        }
        subscriber.wake(mailbox);
    }

    /// The mailbox was deleted.
    pub(crate) fn deleted(&self, mailbox: MailboxId) {
        let subscriber = lock(&self.subscribers).remove(&mailbox);
        if let Some(subscriber) = subscriber {
            subscriber.end(mailbox, EndReason::Deleted);
        }
    }

    /// All mailboxes that somebody is subscribed to.
    pub(crate) fn mailboxes(&self) -> Vec<MailboxId> {
        lock(&self.subscribers).keys().copied().collect()
    }

    /// The connection is gone.
    pub(crate) fn leave(&self, subscriber: &Subscriber) {
        let mailboxes: Vec<_> = lock(&subscriber.state).cursors.keys().copied().collect();
        let mut subscribers = lock(&self.subscribers);
        for mailbox in mailboxes {
            if subscribers.get(&mailbox).is_some_and(|current| current.id == subscriber.id) {
                subscribers.remove(&mailbox);
            }
        }
    }
}

/// A connection as a subscriber.
pub(crate) struct Subscriber {
    id: ConnectionId,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    cursors: HashMap<MailboxId, Cursor>,
    /// Mailboxes that may have something, each once, in the order in which they came up.
    waiting: VecDeque<MailboxId>,
    is_waiting: HashSet<MailboxId>,
    ended: VecDeque<(MailboxId, EndReason)>,
    credit: u64,
    /// Pushed and not acknowledged, over all mailboxes.
    in_flight: u64,
    /// Subscriptions that were begun on this connection.
    begun: u64,
}

/// A subscription, among those that were begun on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Begun(u64);

/// How a client showed that a mailbox is its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Proof {
    /// It signed with the read key on this connection.
    Key,
    /// It had a ticket, from which no further ticket comes.
    Ticket,
}

/// How far a mailbox has been pushed on this connection.
#[derive(Clone, Copy)]
struct Cursor {
    pushed: u64,
    floor: u64,
    active: bool,
    proof: Proof,
    begun: Begun,
}

/// What the pump does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Send this.
    Send(Push),
    /// Fetch at most `count` envelopes behind this position.
    Fetch {
        /// From which mailbox.
        mailbox: MailboxId,
        /// For which subscription.
        begun: Begun,
        /// Behind which position.
        position: Seq,
        /// How many at most.
        count: usize,
    },
}

/// Envelopes fetched at a time: at most 1 MiB of the largest ones.
const FETCH: u64 = 16;

impl Subscriber {
    pub(crate) fn new(id: ConnectionId) -> Self {
        Self { id, state: Mutex::default(), changed: Notify::new() }
    }

    fn wake(&self, mailbox: MailboxId) {
        lock(&self.state).enqueue(mailbox);
        self.changed.notify_one();
    }

    /// Mailboxes that were subscribed to on this connection.
    pub(crate) fn subscriptions(&self) -> usize {
        lock(&self.state).cursors.len()
    }

    fn begin(&self, mailbox: MailboxId, floor: Floor, proof: Proof) {
        let mut state = lock(&self.state);
        // It was lost and is had again before anybody was told.
        state.ended.retain(|(ended, _)| *ended != mailbox);
        state.begun = state.begun.wrapping_add(1);
        let (floor, begun) = (floor.get(), Begun(state.begun));
        let cursor = Cursor { pushed: floor, floor, active: true, proof, begun };
        if let Some(old) = state.cursors.insert(mailbox, cursor) {
            state.in_flight = state.in_flight.saturating_sub(old.in_flight());
            // What was proved once on this connection stays proved.
            if old.proof == Proof::Key
                && let Some(cursor) = state.cursors.get_mut(&mailbox)
            {
                cursor.proof = Proof::Key;
            }
        }
    }

    /// Whether the owner of every one of them signed with its key on this connection.
    pub(crate) fn proved_all(&self, mailboxes: &[MailboxId]) -> bool {
        let state = lock(&self.state);
        mailboxes.iter().all(|id| state.cursors.get(id).is_some_and(|c| c.proof == Proof::Key))
    }

    fn end(&self, mailbox: MailboxId, reason: EndReason) {
        let mut state = lock(&self.state);
        if let Some(cursor) = state.cursors.get_mut(&mailbox) {
            cursor.active = false;
            // What was pushed of it takes no credit any more: it can't be acknowledged if the mailbox
            // is gone, and comes again elsewhere if it is not.
            let freed = cursor.in_flight();
            cursor.floor = cursor.floor.max(cursor.pushed);
            state.in_flight = state.in_flight.saturating_sub(freed);
            state.ended.push_back((mailbox, reason));
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The latest value holds.
    pub(crate) fn set_credit(&self, credit: u32) {
        lock(&self.state).credit = u64::from(credit.clamp(1, MAX_CREDIT));
        self.changed.notify_one();
    }

    /// Whether there was a subscription on this connection.
    pub(crate) fn has(&self, mailbox: MailboxId) -> bool {
        lock(&self.state).cursors.contains_key(&mailbox)
    }

    /// Frees the credit of what was acknowledged.
    pub(crate) fn acknowledged(&self, mailbox: MailboxId, floor: Floor) {
        let mut state = lock(&self.state);
        let Some(cursor) = state.cursors.get_mut(&mailbox) else { return };
        let before = cursor.in_flight();
        cursor.floor = cursor.floor.max(floor.get());
        // Acknowledged beyond what was pushed here: no need to push it.
        cursor.pushed = cursor.pushed.max(cursor.floor);
        let freed = before.saturating_sub(cursor.in_flight());
        state.in_flight = state.in_flight.saturating_sub(freed);
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for something to do.
    pub(crate) async fn next(&self) -> Next {
        loop {
            if let Some(next) = lock(&self.state).next() {
                return next;
            }
            self.changed.notified().await;
        }
    }

    /// Whether an envelope that was fetched is to be pushed; counts it if so. `previous` is what
    /// it was fetched behind, or the one before it in what was fetched. If that is not what was
    /// pushed last any more, because the subscription began anew or ended meanwhile, then what was
    /// fetched is worth nothing (it may be another mailbox's with the same key), and the mailbox is
    /// looked at again.
    pub(crate) fn claim(&self, mailbox: MailboxId, begun: Begun, previous: Seq, seq: Seq) -> bool {
        let mut state = lock(&self.state);
        let Some(cursor) = state.cursors.get_mut(&mailbox) else { return false };
        if !cursor.active {
            return false;
        }
        if cursor.begun != begun || cursor.pushed != previous.get() || seq <= previous {
            state.enqueue(mailbox);
            return false;
        }
        let before = cursor.in_flight();
        cursor.pushed = seq.get();
        let more = cursor.in_flight().saturating_sub(before);
        state.in_flight = state.in_flight.saturating_add(more);
        true
    }

    /// There may be more than was fetched.
    pub(crate) fn more(&self, mailbox: MailboxId) {
        lock(&self.state).enqueue(mailbox);
    }
}

impl Cursor {
    fn in_flight(self) -> u64 {
        self.pushed.saturating_sub(self.floor)
    }
}

impl State {
    fn enqueue(&mut self, mailbox: MailboxId) {
        if self.is_waiting.insert(mailbox) {
            self.waiting.push_back(mailbox);
        }
    }

    fn next(&mut self) -> Option<Next> {
        if let Some((mailbox, reason)) = self.ended.pop_front() {
            return Some(Next::Send(Push::Ended { mailbox, reason }));
        }
        let free = self.credit.saturating_sub(self.in_flight).min(FETCH);
        if free == 0 {
            return None;
        }
        while let Some(mailbox) = self.waiting.pop_front() {
            self.is_waiting.remove(&mailbox);
            if let Some(cursor) = self.cursors.get(&mailbox).filter(|cursor| cursor.active) {
                return Some(Next::Fetch {
                    mailbox,
                    begun: cursor.begun,
                    position: Seq::new(cursor.pushed),
                    count: usize::try_from(free).unwrap_or(1),
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use undertone_wire::Incarnation;
    use undertone_wire::frame::MailboxLimits;

    use super::*;

    const MAILBOX: MailboxId = MailboxId::from_bytes([1; 32]);

    fn acknowledged(floor: u64) -> MailboxState {
        MailboxState {
            incarnation: Incarnation::from_bytes([0; 16]),
            acknowledged: Floor::new(floor),
            expired: Floor::NONE,
            head: Floor::new(9),
            bytes: 0,
            limits: MailboxLimits { envelopes: 9, bytes: 9 },
        }
    }

    async fn fetched_behind(subscriber: &Subscriber) -> (Begun, u64) {
        match subscriber.next().await {
            Next::Fetch { position, begun, .. } => (begun, position.get()),
            Next::Send(push) => panic!("{push:?}"),
        }
    }

    #[tokio::test]
    async fn what_was_fetched_for_an_earlier_subscription_is_not_pushed_in_the_next() {
        let (hub, subscriber) = (Hub::default(), Arc::new(Subscriber::new(ConnectionId(1))));
        subscriber.set_credit(64);
        hub.subscribe(&subscriber, MAILBOX, &acknowledged(0), Proof::Key);
        let (first, behind) = fetched_behind(&subscriber).await;
        assert_eq!(behind, 0);
        for seq in 1..=3 {
            assert!(subscriber.claim(MAILBOX, first, Seq::new(seq - 1), Seq::new(seq)));
        }
        hub.wake(MAILBOX);
        assert_eq!(fetched_behind(&subscriber).await, (first, 3));
        // While 4 and 5 are being fetched, the client subscribes again on the same connection:
        // everything behind the floor must come again, 1 first.
        hub.subscribe(&subscriber, MAILBOX, &acknowledged(0), Proof::Key);
        assert!(!subscriber.claim(MAILBOX, first, Seq::new(3), Seq::new(4)));
        let (second, behind) = fetched_behind(&subscriber).await;
        assert!(behind == 0 && second != first);
        // What an older fetch found behind 0 may be of a mailbox that was deleted meanwhile.
        assert!(!subscriber.claim(MAILBOX, first, Seq::new(0), Seq::new(1)));
        assert!(subscriber.claim(MAILBOX, second, Seq::new(0), Seq::new(1)));
    }
}
