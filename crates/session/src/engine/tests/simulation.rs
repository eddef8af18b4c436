//! Long random conversations of three people with a relay whose answers get lost, processes that are
//! killed at any write, mailboxes that move and stores that are put back: all converge.
//!
//! `UNDERTONE_SEEDS=1000 cargo test -p undertone-session simulation` runs more of them,
//! `UNDERTONE_SEEDS=45..46` those.

use super::*;
use crate::message::Direction;

const PEOPLE: usize = 3;

/// When every mailbox has served its time.
const MOVE_TIME: UnixMillis = UnixMillis::new(NOW.get() + 40 * 86_400_000);

/// What may happen beside talking.
#[derive(Clone, Copy)]
struct Chaos {
    /// Answers of the relay and acknowledgements get lost.
    loss: bool,
    /// Transactions break, on either side of the commit, and processes start anew.
    kills: bool,
    /// Mailboxes move.
    moves: bool,
    /// Stores are put back to an earlier state.
    rollbacks: bool,
    /// Sessions start anew, messages are erased, and answers of the relay come late.
    resets: bool,
}

/// Something that was said, and what the speaker's store was then.
struct Said {
    from: usize,
    to: usize,
    text: String,
    id: MessageId,
    /// How often the listener's store had been put back.
    listener: u32,
    /// It was erased where it was written: it arrives or not.
    erased: bool,
}

struct World {
    relay: Relay,
    people: Vec<Person>,
    contacts: [[ContactId; PEOPLE]; PEOPLE],
    rng: TestRng,
    said: Vec<Said>,
    /// How much was said in all, also what nobody remembers.
    words: u64,
    /// Earlier states of each store, and what had been said then.
    kept: Vec<Option<(FaultyStore, usize)>>,
    put_back: [u32; PEOPLE],
    /// Whose mailboxes had served their time, as they have for an older copy of the store.
    moved: [bool; PEOPLE],
    /// Deliveries whose answers are yet to come.
    flying: Vec<(usize, DeliveryId)>,
    seed: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut relay = Relay::default();
        let mut people: Vec<Person> = (0..PEOPLE as u64)
            .map(|n| person(["Ada", "Bob", "Cyd"][n as usize], seed * 10 + n + 1))
            .collect();
        let mut contacts = [[ContactId::new(0); PEOPLE]; PEOPLE];
        for (inviter, guest) in [(0, 1), (0, 2), (1, 2)] {
            let link = relay.invite(&mut people[inviter], LinkKind::SingleUse);
            contacts[guest][inviter] = relay.add(&mut people[guest], &link);
            relay.settle(&mut people.iter_mut().collect::<Vec<_>>());
            let guest_name = people[guest].name().to_owned();
            contacts[inviter][guest] = people[inviter].find_contact(&guest_name).unwrap().id;
        }
        relay.settle(&mut people.iter_mut().collect::<Vec<_>>());
        let kept = (0..PEOPLE).map(|_| None).collect();
        let rng = TestRng(seed ^ 0x5151);
        Self {
            relay,
            people,
            contacts,
            rng,
            said: Vec::new(),
            words: 0,
            kept,
            put_back: [0; 3],
            moved: [false; 3],
            flying: Vec::new(),
            seed,
        }
    }

    fn roll(&mut self, below: usize) -> usize {
        (self.rng.try_next_u64().unwrap() % below as u64) as usize
    }

    /// As a new process of the person: whatever was in memory is gone, and floors are compared
    /// before anything else.
    fn restart(&mut self, who: usize) {
        self.flying.retain(|(of, _)| *of != who);
        let mut store = std::mem::take(&mut self.people[who].store);
        store.once = None;
        let seed = self.rng.try_next_u64().unwrap();
        self.people[who] = Engine::open(store, TestRng(seed)).unwrap();
        self.relay.check(&mut self.people[who]);
    }

    fn say(&mut self) {
        let from = self.roll(PEOPLE);
        let to = (from + 1 + self.roll(PEOPLE - 1)) % PEOPLE;
        self.words += 1;
        let text = format!("{} from {from} to {to}", self.words);
        // A caller who is told of a failure does not count on it; that is another test's.
        let once = self.people[from].store.once.take();
        let id = self.people[from].queue_text(self.contacts[from][to], &text, NOW).unwrap();
        self.people[from].store.once = once;
        let listener = self.put_back[to];
        self.said.push(Said { from, to, text, id, listener, erased: false });
    }

    /// Some deliveries to one contact.
    fn send_some(&mut self, chaos: Chaos) {
        let who = self.roll(PEOPLE);
        let to = (who + 1 + self.roll(PEOPLE - 1)) % PEOPLE;
        let contact = self.contacts[who][to];
        for _ in 0..=self.roll(4) {
            let Some(delivery) = again(|| self.people[who].next_delivery(contact)) else { return };
            if !self.relay.deliver(&delivery) {
                let hold = crate::message::Hold::AddressUnknown;
                again(|| self.people[who].refused(delivery.id, hold));
                return;
            }
            if chaos.resets && self.roll(3) == 0 {
                // The answer comes later.
                self.flying.push((who, delivery.id));
                return;
            }
            if chaos.loss && self.roll(5) == 0 {
                // The relay has it, and the answer is lost.
                return;
            }
            again(|| self.people[who].accepted(delivery.id, NOW));
        }
    }

    /// Some envelopes of one mailbox, those of earlier phases first.
    fn push_some(&mut self, chaos: Chaos) {
        let who = self.roll(PEOPLE);
        let subscriptions = again(|| self.people[who].subscriptions());
        let mut waiting: Vec<(u32, MailboxId)> =
            subscriptions.iter().map(|one| (one.phase, one.secret.mailbox())).collect();
        waiting.retain(|(_, id)| {
            let mailbox = self.relay.mailboxes.get(id);
            mailbox.is_some_and(|m| m.queue.len() as u64 > m.acknowledged)
        });
        let Some(phase) = waiting.iter().map(|(phase, _)| *phase).min() else { return };
        let ids: Vec<MailboxId> =
            waiting.into_iter().filter(|(of, _)| *of == phase).map(|(_, id)| id).collect();
        let id = ids[self.roll(ids.len())];
        let count = 1 + self.roll(4);
        let mailbox = &self.relay.mailboxes[&id];
        let from = mailbox.acknowledged as usize;
        let envelopes: Vec<_> = mailbox.queue.iter().skip(from).take(count).cloned().collect();
        for (at, envelope) in envelopes.iter().enumerate() {
            let seq = Seq::new((from + at) as u64 + 1);
            let person = &mut self.people[who];
            let received = again(|| person.receive(&id, INCARNATION, seq, envelope, NOW));
            let told = !chaos.loss || self.roll(4) != 0;
            if let (Some(received), true) = (received, told) {
                let mailbox = self.relay.mailboxes.get_mut(&id).unwrap();
                mailbox.acknowledged = received.acknowledgement.floor.get();
            }
        }
    }

    fn disturb(&mut self, chaos: Chaos) {
        let who = self.roll(PEOPLE);
        match self.roll(if chaos.resets { 7 } else { 4 }) {
            0 if chaos.kills => {
                let fault = if self.roll(2) == 0 { Fault::Before } else { Fault::After };
                let at = self.people[who].store.count + 1 + self.roll(6) as u64;
                self.people[who].store.once = Some((at, fault));
            }
            1 if chaos.kills => self.restart(who),
            2 if chaos.moves => {
                self.moved[who] = true;
                again(|| self.people[who].begin_moves(MOVE_TIME));
            }
            3 if chaos.rollbacks => match self.kept[who].take() {
                None => {
                    self.kept[who] = Some((self.people[who].store.snapshot(), self.said.len()));
                }
                Some((store, said)) => {
                    self.people[who].store = store;
                    self.put_back[who] += 1;
                    // What was said since is not in the store's history.
                    let mut at = 0;
                    self.said.retain(|one| {
                        at += 1;
                        one.from != who || at <= said
                    });
                    // Places in `kept` of others count what is gone now; they are dropped.
                    self.kept.iter_mut().for_each(|kept| *kept = None);
                    self.restart(who);
                }
            },
            4 => {
                let other = (who + 1 + self.roll(PEOPLE - 1)) % PEOPLE;
                let lost = self.contacts[who][other];
                again(|| {
                    let store = &mut self.people[who].store;
                    store.transaction(|tx| super::super::healing::contact_is_lost(tx, lost))
                });
            }
            5 => self.erase_one(who),
            6 => {
                for (who, id) in std::mem::take(&mut self.flying) {
                    again(|| self.people[who].accepted(id, NOW));
                }
            }
            _ => {}
        }
    }

    /// The newest of somebody's, which may be sealed and on its way.
    fn erase_one(&mut self, who: usize) {
        let of = |one: &&mut Said| one.from == who && !one.erased;
        let Some(one) = self.said.iter_mut().rev().find(of) else { return };
        one.erased = true;
        let person = &mut self.people[who];
        let place = again(|| person.message(one.id)).seq;
        match person.erase_message(place, NOW) {
            // Broken behind the commit, it is gone.
            Ok(()) | Err(EngineError::Store(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    fn run(&mut self, steps: usize, chaos: Chaos) {
        for _ in 0..steps {
            match self.roll(12) {
                0..=2 => self.say(),
                3..=5 => self.send_some(chaos),
                6..=8 => self.push_some(chaos),
                9 => {
                    let who = self.roll(PEOPLE);
                    again(|| self.people[who].flush_acknowledgements(NOW));
                }
                10 => {
                    let who = self.roll(PEOPLE);
                    self.relay.care(&mut self.people[who], NOW);
                }
                _ => self.disturb(chaos),
            }
        }
        for who in 0..PEOPLE {
            self.people[who].store.once = None;
            self.restart(who);
        }
        self.settle();
        if chaos.rollbacks {
            // Who was put back behind what they had sent, and says nothing, is noticed a day later;
            // behind a move, when the older copy moves as well.
            let later = UnixMillis::new(NOW.get() + 86_400_000);
            for who in 0..PEOPLE {
                let person = &mut self.people[who];
                if self.moved[who] && self.put_back[who] > 0 {
                    again(|| person.begin_moves(MOVE_TIME));
                }
                again(|| person.expire(later));
            }
            self.settle();
        }
    }

    fn settle(&mut self) {
        self.relay.settle(&mut self.people.iter_mut().collect::<Vec<_>>());
    }

    /// Texts that came from a contact.
    fn heard(&mut self, who: usize, from: usize) -> Vec<String> {
        let history = self.people[who].history(self.contacts[who][from], None, 100_000).unwrap();
        let incoming = history.into_iter().filter(|m| m.direction == Direction::Incoming);
        incoming
            .filter_map(|m| match m.kind {
                MessageKind::Text { text } => Some(text),
                _ => None,
            })
            .collect()
    }

    /// Everything arrived once, in order, and is known to have arrived.
    fn check_all(&mut self) {
        for from in 0..PEOPLE {
            for to in (0..PEOPLE).filter(|to| *to != from) {
                let said = self.said.iter().filter(|s| s.from == from && s.to == to);
                let (erased, said): (Vec<_>, Vec<_>) = said.partition(|s| s.erased);
                let erased: Vec<String> = erased.iter().map(|s| s.text.clone()).collect();
                let said: Vec<String> = said.iter().map(|s| s.text.clone()).collect();
                let mut heard = self.heard(to, from);
                heard.retain(|text| !erased.contains(text));
                assert_eq!(heard, said, "seed {}", self.seed);
            }
        }
        for at in (0..self.said.len()).filter(|at| !self.said[*at].erased).collect::<Vec<_>>() {
            let (from, id) = (self.said[at].from, self.said[at].id);
            let state = state(&mut self.people[from], id);
            assert_eq!(state, MessageState::Delivered, "seed {}", self.seed);
        }
    }

    /// After stores were put back: nothing twice, nothing that its sender remembers is missing where
    /// the listener's store is not older than it, and everybody can talk with everybody.
    fn check_healed(&mut self) {
        for at in 0..self.said.len() {
            let Said { from, to, ref text, id, listener, erased } = self.said[at];
            if erased {
                continue;
            }
            let text = text.clone();
            let state = state(&mut self.people[from], id);
            assert_eq!(state, MessageState::Delivered, "seed {}: {text}", self.seed);
            let heard = self.heard(to, from);
            let times = heard.iter().filter(|t| **t == text).count();
            let lost = self.put_back[to] > listener;
            assert!(times == 1 || (lost && times == 0), "seed {}: {text} {times}", self.seed);
        }
        for from in 0..PEOPLE {
            for to in (0..PEOPLE).filter(|to| *to != from) {
                let contact = self.contacts[from][to];
                let id = self.people[from].queue_text(contact, "in the end", NOW).unwrap();
                self.settle();
                let state = state(&mut self.people[from], id);
                assert_eq!(state, MessageState::Delivered, "seed {}", self.seed);
                assert_eq!(
                    self.people[from].contact(contact).unwrap().state,
                    ContactState::Active,
                    "seed {}",
                    self.seed
                );
            }
        }
    }
}

/// As many as the environment says, or these.
fn seeds(few: u64) -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("UNDERTONE_SEEDS") else { return 1..few + 1 };
    let number = |text: &str| text.parse::<u64>().unwrap();
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => 1..number(&text) + 1,
    }
}

#[test]
fn lost_answers_lose_and_repeat_nothing() {
    for seed in seeds(4) {
        let mut world = World::new(seed);
        let chaos =
            Chaos { loss: true, kills: false, moves: false, rollbacks: false, resets: false };
        world.run(250, chaos);
        world.check_all();
    }
}

#[test]
fn kills_moves_and_losses_lose_and_repeat_nothing() {
    for seed in seeds(6) {
        let mut world = World::new(seed);
        let chaos = Chaos { loss: true, kills: true, moves: true, rollbacks: false, resets: false };
        world.run(350, chaos);
        world.check_all();
    }
}

/// Whatever is in flight when a session starts anew, and whatever is erased meanwhile.
#[test]
fn resets_beside_answers_that_come_late_lose_and_repeat_nothing() {
    for seed in seeds(8) {
        let mut world = World::new(seed);
        let chaos = Chaos { loss: true, kills: true, moves: true, rollbacks: false, resets: true };
        world.run(350, chaos);
        world.check_all();
    }
}

#[test]
fn stores_that_are_put_back_heal_with_everybody() {
    // Beside the first: both stores put back while a reset between them is under way; a mailbox that
    // is replaced while it moves; a move that waits in a store that is put back; an address that only
    // an old store knows.
    for seed in seeds(6).chain([45, 46, 151, 536]) {
        let mut world = World::new(seed);
        let chaos = Chaos { loss: true, kills: true, moves: true, rollbacks: true, resets: false };
        world.run(350, chaos);
        world.check_healed();
    }
}

/// A short conversation with a move and a reset in it, broken at each of its transactions in turn,
/// before the commit and behind it.
#[test]
fn broken_at_every_single_write_it_comes_to_the_same_end() {
    let story = |fault: Option<(usize, u64, Fault)>| {
        let mut world = World::new(3);
        let base: Vec<u64> = world.people.iter().map(|person| person.store.count).collect();
        if let Some((who, at, fault)) = fault {
            world.people[who].store.once = Some((base[who] + at, fault));
        }
        world.said_by(0, 1, "one");
        world.settle();
        let later = UnixMillis::new(NOW.get() + 40 * 86_400_000);
        again(|| world.people[1].begin_moves(later));
        world.said_by(0, 1, "two");
        world.said_by(1, 0, "three");
        world.settle();
        // Its own store is old: only told so, so that the history stays comparable.
        let lost = world.contacts[1][0];
        again(|| {
            let store = &mut world.people[1].store;
            store.transaction(|tx| super::super::healing::contact_is_lost(tx, lost))
        });
        world.said_by(1, 0, "four");
        world.said_by(0, 1, "five");
        world.settle();
        world.settle();
        world.people.iter_mut().for_each(|person| person.store.once = None);
        world.check_all();
        let counts = world.people.iter().zip(base).map(|(person, base)| person.store.count - base);
        counts.collect::<Vec<u64>>()
    };
    let counts = story(None);
    // Every write of both, or each so manieth where that takes too long.
    let every = if std::env::var_os("UNDERTONE_SEEDS").is_some() { 1 } else { 13 };
    for (who, count) in counts.into_iter().enumerate().take(2) {
        for at in (1..=count).step_by(every) {
            for fault in [Fault::Before, Fault::After] {
                story(Some((who, at, fault)));
            }
        }
    }
}

impl World {
    fn said_by(&mut self, from: usize, to: usize, text: &str) {
        let contact = self.contacts[from][to];
        let once = self.people[from].store.once.take();
        let id = self.people[from].queue_text(contact, text, NOW).unwrap();
        self.people[from].store.once = once;
        let listener = self.put_back[to];
        self.said.push(Said { from, to, text: text.to_owned(), id, listener, erased: false });
    }
}
