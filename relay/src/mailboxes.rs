//! Who is subscribed to what, in memory only.
//!
//! A mailbox has at most one subscriber: the last one wins and the older one is told. Each
//! connection has a list of mailboxes that may have something for it; its pump takes envelopes
//! from the store as credit allows, so that a slow client costs no memory. To whoever is there and
//! reads, an envelope goes as soon as it is durable, without the detour over the store.

#[cfg(any(test, fuzzing))]
#[cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "a fuzzer calls it from outside"))]
pub mod fuzz;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use undertone_wire::frame::{EndReason, MailboxState, Push};
use undertone_wire::limits::MAX_CREDIT;
use undertone_wire::{Floor, MailboxId, Seq};

use crate::limits::{Held, Share};

/// A connection, for as long as the process runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// All subscriptions.
pub(crate) struct Hub {
    /// By mailbox, in parts: none of them stands still for long while it grows.
    parts: Vec<Mutex<HashMap<MailboxId, Arc<Subscriber>>>>,
    arrivals: Vec<AtomicU32>,
}

/// Parts of the table of subscribers.
const PARTS: usize = 64;

/// Counters of what came in. A mailbox shares its own with others, so that there are as many as make
/// it rare that another one's envelope is taken for news: 256 KiB.
const ARRIVALS: usize = 65_536;

/// What had come in when somebody began to look at a mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark(u32);

impl Default for Hub {
    fn default() -> Self {
        Self {
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            arrivals: (0..ARRIVALS).map(|_| AtomicU32::new(0)).collect(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one of these locks is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a mailbox stands in a table. Ids are hashes, so that their first bytes are spread evenly;
/// who makes them fall together makes nothing worse than a table without parts would be.
fn slot<T>(table: &[T], mailbox: MailboxId) -> Option<&T> {
    let first = mailbox.as_bytes().first_chunk().copied().unwrap_or_default();
    table.get(usize::from(u16::from_be_bytes(first)) % table.len().max(1))
}

impl Hub {
    fn part(
        &self,
        mailbox: MailboxId,
    ) -> Option<MutexGuard<'_, HashMap<MailboxId, Arc<Subscriber>>>> {
        slot(&self.parts, mailbox).map(lock)
    }

    /// This envelope is in the mailbox now, on stable storage.
    pub(crate) fn arrived(&self, mailbox: MailboxId, seq: Seq, envelope: Vec<u8>) {
        // Before the subscriber is looked for: see `subscribe`.
        if let Some(arrivals) = slot(&self.arrivals, mailbox) {
            arrivals.fetch_add(1, Ordering::Relaxed);
        }
        let subscriber = self.part(mailbox).and_then(|part| part.get(&mailbox).cloned());
        if let Some(subscriber) = subscriber {
            subscriber.arrived(mailbox, seq, envelope);
        }
    }

    /// To be taken before the store is asked for the state that [`Self::subscribe`] is given.
    pub(crate) fn mark(&self, mailbox: MailboxId) -> Mark {
        Mark(slot(&self.arrivals, mailbox).map_or(0, |arrivals| arrivals.load(Ordering::Relaxed)))
    }

    /// Makes the subscriber the only one of these mailboxes; what is behind their floors is pushed
    /// (again). A mailbox that was empty, and into which nothing can have come since, is not looked
    /// at: of many thousands that come back at once hardly any has something.
    pub(crate) fn subscribe(
        &self,
        subscriber: &Arc<Subscriber>,
        mailboxes: &[(MailboxId, MailboxState, Mark)],
        proof: Proof,
    ) {
        subscriber.begin(mailboxes, proof);
        let mut news = Vec::new();
        for (mailbox, state, mark) in mailboxes {
            let previous =
                self.part(*mailbox).and_then(|mut part| part.insert(*mailbox, subscriber.clone()));
            if let Some(previous) = previous.filter(|previous| previous.id != subscriber.id) {
                previous.end(*mailbox, EndReason::Replaced);
            }
            // Whatever arrived and did not find the subscriber was counted before, and the part's lock
            // makes that seen here.
            if state.head > state.acknowledged.max(state.expired) || self.mark(*mailbox) != *mark {
                news.push(*mailbox);
            }
        }
        subscriber.wake_all(&news);
    }

    /// The mailbox was deleted.
    pub(crate) fn deleted(&self, mailbox: MailboxId) {
        let subscriber = self.part(mailbox).and_then(|mut part| part.remove(&mailbox));
        if let Some(subscriber) = subscriber {
            subscriber.end(mailbox, EndReason::Deleted);
        }
    }

    /// All mailboxes that somebody is subscribed to.
    pub(crate) fn mailboxes(&self) -> Vec<MailboxId> {
        self.parts.iter().flat_map(|part| lock(part).keys().copied().collect::<Vec<_>>()).collect()
    }

    /// The connection is gone.
    pub(crate) fn leave(&self, subscriber: &Subscriber) {
        let mailboxes: Vec<_> = lock(&subscriber.state).cursors.keys().copied().collect();
        for mailbox in mailboxes {
            let Some(mut part) = self.part(mailbox) else { continue };
            if part.get(&mailbox).is_some_and(|current| current.id == subscriber.id) {
                part.remove(&mailbox);
            }
        }
    }
}

/// A connection as a subscriber.
pub(crate) struct Subscriber {
    id: ConnectionId,
    /// Room for what is ready, which it shares with all others.
    room: Arc<Share>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    cursors: HashMap<MailboxId, Cursor>,
    /// Mailboxes that may have something, each once, in the order in which they came up.
    waiting: VecDeque<MailboxId>,
    ended: VecDeque<(MailboxId, EndReason)>,
    /// What is pushed next, in order, without being fetched.
    ready: VecDeque<(MailboxId, Seq, Vec<u8>, Held)>,
    ready_bytes: usize,
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
    /// Whether it is among those that wait, or is being fetched from.
    waiting: bool,
    fetching: bool,
    proof: Proof,
    begun: Begun,
}

/// What the pump does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Send this.
    Send(Push),
    /// Send this envelope, which counts already.
    Ready(MailboxId, Seq, Vec<u8>, Held),
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

/// Bytes of envelopes that wait to be pushed without being fetched, for one connection: one of the
/// largest, or many of the smallest. More are fetched from the store when their turn comes.
const READY: usize = 64 * 1024;

/// Envelopes fetched at a time: at most 1 MiB of the largest ones.
const FETCH: u64 = 16;

impl Subscriber {
    pub(crate) fn new(id: ConnectionId, room: Arc<Share>) -> Self {
        Self { id, room, state: Mutex::default(), changed: Notify::new() }
    }

    fn arrived(&self, mailbox: MailboxId, seq: Seq, envelope: Vec<u8>) {
        lock(&self.state).arrived(mailbox, seq, envelope, &self.room);
        self.changed.notify_one();
    }

    /// Mailboxes that were subscribed to on this connection.
    pub(crate) fn subscriptions(&self) -> usize {
        lock(&self.state).cursors.len()
    }

    fn wake_all(&self, mailboxes: &[MailboxId]) {
        let mut state = lock(&self.state);
        for mailbox in mailboxes {
            state.enqueue(*mailbox);
        }
        drop(state);
        self.changed.notify_one();
    }

    fn begin(&self, mailboxes: &[(MailboxId, MailboxState, Mark)], proof: Proof) {
        let mut state = lock(&self.state);
        state.cursors.reserve(mailboxes.len());
        for (mailbox, at, _) in mailboxes {
            state.begun = state.begun.wrapping_add(1);
            let (floor, begun) = (at.acknowledged.max(at.expired).get(), Begun(state.begun));
            let mut cursor = Cursor {
                pushed: floor,
                floor,
                active: true,
                waiting: false,
                fetching: false,
                proof,
                begun,
            };
            if let Some(old) = state.cursors.get(mailbox).copied() {
                // It was lost and is had again before anybody was told.
                state.ended.retain(|(ended, _)| ended != mailbox);
                state.forget_ready(*mailbox);
                state.in_flight = state.in_flight.saturating_sub(old.in_flight());
                cursor.waiting = old.waiting;
                // What was proved once on this connection stays proved.
                if old.proof == Proof::Key {
                    cursor.proof = Proof::Key;
                }
            }
            state.cursors.insert(*mailbox, cursor);
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
            state.forget_ready(mailbox);
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

    /// What was fetched is pushed; there may be `more` than that.
    pub(crate) fn fetched(&self, mailbox: MailboxId, more: bool) {
        let mut state = lock(&self.state);
        if let Some(cursor) = state.cursors.get_mut(&mailbox) {
            cursor.fetching = false;
        }
        if more {
            state.enqueue(mailbox);
        }
    }
}

impl Cursor {
    fn in_flight(self) -> u64 {
        self.pushed.saturating_sub(self.floor)
    }
}

impl State {
    fn enqueue(&mut self, mailbox: MailboxId) {
        if let Some(cursor) = self.cursors.get_mut(&mailbox).filter(|cursor| !cursor.waiting) {
            cursor.waiting = true;
            self.waiting.push_back(mailbox);
        }
    }

    /// Whether it goes out at once: if it is what comes next of its mailbox, may be pushed, and finds
    /// room. Otherwise its mailbox is looked at when its turn comes.
    fn arrived(&mut self, mailbox: MailboxId, seq: Seq, envelope: Vec<u8>, all: &Arc<Share>) {
        let bytes = self.ready_bytes.saturating_add(envelope.len());
        let room = bytes <= READY && self.in_flight < self.credit;
        let next = self.cursors.get_mut(&mailbox).filter(|cursor| {
            let idle = cursor.active && !cursor.waiting && !cursor.fetching;
            idle && cursor.pushed.saturating_add(1) == seq.get()
        });
        let held = next.is_some() && room;
        match next.zip(held.then(|| all.try_take(envelope.len())).flatten()) {
            Some((cursor, held)) => {
                cursor.pushed = seq.get();
                self.in_flight = self.in_flight.saturating_add(1);
                self.ready_bytes = bytes;
                self.ready.push_back((mailbox, seq, envelope, held));
            }
            None => self.enqueue(mailbox),
        }
    }

    /// Another subscription to the mailbox begins, or none is left.
    fn forget_ready(&mut self, mailbox: MailboxId) {
        self.ready.retain(|(of, ..)| *of != mailbox);
        self.ready_bytes = self.ready.iter().map(|(_, _, envelope, _)| envelope.len()).sum();
    }

    fn next(&mut self) -> Option<Next> {
        if let Some((mailbox, reason)) = self.ended.pop_front() {
            return Some(Next::Send(Push::Ended { mailbox, reason }));
        }
        if let Some((mailbox, seq, envelope, held)) = self.ready.pop_front() {
            self.ready_bytes = self.ready_bytes.saturating_sub(envelope.len());
            if self.ready.is_empty() {
                self.ready = VecDeque::new();
            }
            return Some(Next::Ready(mailbox, seq, envelope, held));
        }
        let free = self.credit.saturating_sub(self.in_flight).min(FETCH);
        if free == 0 {
            return None;
        }
        while let Some(mailbox) = self.waiting.pop_front() {
            let Some(cursor) = self.cursors.get_mut(&mailbox) else { continue };
            cursor.waiting = false;
            if cursor.active {
                cursor.fetching = true;
                return Some(Next::Fetch {
                    mailbox,
                    begun: cursor.begun,
                    position: Seq::new(cursor.pushed),
                    count: usize::try_from(free).unwrap_or(1),
                });
            }
        }
        // Room for many, which nothing will need for long.
        self.waiting = VecDeque::new();
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use undertone_wire::Incarnation;
    use undertone_wire::frame::MailboxLimits;

    use super::*;
    use crate::limits::Outgoing;

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
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_was_fetched_for_an_earlier_subscription_is_not_pushed_in_the_next() {
        let (hub, subscriber) = (
            Hub::default(),
            Arc::new(Subscriber::new(ConnectionId(1), Outgoing::default().ready())),
        );
        subscriber.set_credit(64);
        hub.subscribe(&subscriber, &[(MAILBOX, acknowledged(0), hub.mark(MAILBOX))], Proof::Key);
        let (first, behind) = fetched_behind(&subscriber).await;
        assert_eq!(behind, 0);
        for seq in 1..=3 {
            assert!(subscriber.claim(MAILBOX, first, Seq::new(seq - 1), Seq::new(seq)));
        }
        subscriber.fetched(MAILBOX, true);
        assert_eq!(fetched_behind(&subscriber).await, (first, 3));
        // While 4 and 5 are being fetched, the client subscribes again on the same connection:
        // everything behind the floor must come again, 1 first.
        hub.subscribe(&subscriber, &[(MAILBOX, acknowledged(0), hub.mark(MAILBOX))], Proof::Key);
        assert!(!subscriber.claim(MAILBOX, first, Seq::new(3), Seq::new(4)));
        let (second, behind) = fetched_behind(&subscriber).await;
        assert!(behind == 0 && second != first);
        // What an older fetch found behind 0 may be of a mailbox that was deleted meanwhile.
        assert!(!subscriber.claim(MAILBOX, first, Seq::new(0), Seq::new(1)));
        assert!(subscriber.claim(MAILBOX, second, Seq::new(0), Seq::new(1)));
    }

    /// Whether there is nothing to do now.
    async fn is_idle(subscriber: &Subscriber) -> bool {
        tokio::select! {
            biased;
            _ = subscriber.next() => false,
            () = std::future::ready(()) => true,
        }
    }

    #[tokio::test]
    async fn an_empty_mailbox_is_not_looked_at() {
        let (hub, subscriber) = (
            Hub::default(),
            Arc::new(Subscriber::new(ConnectionId(1), Outgoing::default().ready())),
        );
        subscriber.set_credit(64);
        let empty = (MAILBOX, acknowledged(9), hub.mark(MAILBOX));
        hub.subscribe(&subscriber, &[empty], Proof::Ticket);
        assert!(is_idle(&subscriber).await);
        hub.arrived(MAILBOX, Seq::new(11), vec![1]);
        assert_eq!(fetched_behind(&subscriber).await.1, 9, "what is before it is not there yet");
    }

    /// A subscriber that is there and has everything up to 9.
    fn there(credit: u32) -> (Hub, Arc<Subscriber>) {
        let (hub, subscriber) = (
            Hub::default(),
            Arc::new(Subscriber::new(ConnectionId(1), Outgoing::default().ready())),
        );
        subscriber.set_credit(credit);
        let empty = (MAILBOX, acknowledged(9), hub.mark(MAILBOX));
        hub.subscribe(&subscriber, &[empty], Proof::Key);
        (hub, subscriber)
    }

    async fn ready(subscriber: &Subscriber) -> u64 {
        match subscriber.next().await {
            Next::Ready(_, seq, ..) => seq.get(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_arrives_in_order_goes_out_without_being_fetched_as_credit_allows() {
        let (hub, subscriber) = there(2);
        for seq in 10..=12 {
            hub.arrived(MAILBOX, Seq::new(seq), vec![0; 1024]);
        }
        assert_eq!((ready(&subscriber).await, ready(&subscriber).await), (10, 11));
        assert!(is_idle(&subscriber).await, "two are not acknowledged");
        subscriber.acknowledged(MAILBOX, Floor::new(11));
        let (begun, behind) = fetched_behind(&subscriber).await;
        assert_eq!(behind, 11);
        // While 12 is fetched, 13 must not overtake it.
        hub.arrived(MAILBOX, Seq::new(13), vec![0; 1024]);
        assert!(subscriber.claim(MAILBOX, begun, Seq::new(11), Seq::new(12)));
        subscriber.fetched(MAILBOX, false);
        assert_eq!(fetched_behind(&subscriber).await, (begun, 12));
    }

    #[tokio::test]
    async fn a_subscriber_that_does_not_read_keeps_no_more_than_its_room() {
        let (hub, subscriber) = there(MAX_CREDIT);
        for seq in 10..500 {
            hub.arrived(MAILBOX, Seq::new(seq), vec![0; 1024]);
        }
        assert_eq!(lock(&subscriber.state).ready.len(), 64);
        for seq in 10..74 {
            assert_eq!(ready(&subscriber).await, seq);
        }
        assert_eq!(fetched_behind(&subscriber).await.1, 73);
    }

    #[tokio::test]
    async fn what_is_ready_is_forgotten_with_its_subscription() {
        let (hub, subscriber) = there(64);
        hub.arrived(MAILBOX, Seq::new(10), vec![0; 1024]);
        hub.subscribe(&subscriber, &[(MAILBOX, acknowledged(0), hub.mark(MAILBOX))], Proof::Key);
        assert_eq!(fetched_behind(&subscriber).await.1, 0, "from the floor on, in order");
        hub.arrived(MAILBOX, Seq::new(11), vec![0; 1024]);
        hub.deleted(MAILBOX);
        assert!(matches!(subscriber.next().await, Next::Send(Push::Ended { .. })));
        assert!(is_idle(&subscriber).await);
    }

    #[tokio::test]
    async fn what_comes_between_the_look_and_the_subscription_is_pushed() {
        let (hub, subscriber) = (
            Hub::default(),
            Arc::new(Subscriber::new(ConnectionId(1), Outgoing::default().ready())),
        );
        subscriber.set_credit(64);
        let looked = (MAILBOX, acknowledged(9), hub.mark(MAILBOX));
        // Nobody is subscribed yet: this finds nobody.
        hub.arrived(MAILBOX, Seq::new(10), vec![0; 1024]);
        hub.subscribe(&subscriber, &[looked], Proof::Ticket);
        assert_eq!(fetched_behind(&subscriber).await.1, 9);
        assert!(is_idle(&subscriber).await);
    }
}
