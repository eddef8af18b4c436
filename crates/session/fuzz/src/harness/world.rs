//! Three people who know each other, what they do, and the reference model: what each has said to
//! whom, and what of that has to be where.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use undertone_session::contact::ContactState;
use undertone_session::engine::{Engine, EngineError};
use undertone_session::ids::{ContactId, MessageId, UnixMillis};
use undertone_session::link::LinkKind;
use undertone_session::message::{Direction, Message, MessageKind, MessageState};
use undertone_session::store::MemoryStore;

use super::people::{DAY, Kill, NOW, Person, Rng, Shared, is_killed, join};
use super::relay::{Loss, Relay};

pub const PEOPLE: usize = 3;
const NAMES: [&str; PEOPLE] = ["Ada", "Bob", "Cyd"];

/// Rounds after which people who have nothing more to say must have come to rest.
const ROUNDS: usize = 40;

/// When every mailbox has served its time.
const MOVE_TIME: UnixMillis = UnixMillis::new(NOW.get() + 40 * DAY);

/// One step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Writes a text.
    Say { from: usize, to: usize },
    /// Some deliveries to one contact.
    Send { from: usize, to: usize, limit: usize, loss: Loss },
    /// Some envelopes of one mailbox.
    Push { to: usize, which: usize, limit: usize, loss: Loss },
    /// Queues the acknowledgements that are owed.
    Acknowledge { who: usize },
    /// Does what is due beside.
    Care { who: usize },
    /// The process ends at a write that is yet to come.
    Kill { who: usize, behind: u64, committed: bool },
    /// The process ends now, and starts anew.
    Restart { who: usize },
    /// Mailboxes have served their time.
    Move { who: usize },
    /// Keeps a copy of the store, or puts the store back to the copy that was kept.
    PutBack { who: usize },
    /// Somebody puts junk into a mailbox.
    Junk { to: usize, which: usize, byte: u8 },
    /// The relay pushes something once more, at another position.
    Repeat { to: usize, which: usize, at: usize },
    /// The person has compared the safety number.
    Verify { who: usize, of: usize },
}

impl Op {
    /// Any two bytes are a step.
    pub fn of([kind, arg]: [u8; 2]) -> Self {
        let arg_size = usize::from(arg);
        let who = arg_size % PEOPLE;
        let rest = arg_size / PEOPLE;
        let other = (who + 1 + rest % (PEOPLE - 1)) % PEOPLE;
        let limit = 1 + rest / 2 % 4;
        let loss = Loss(if kind >= 128 { 2 + kind / 16 % 3 } else { 0 });
        match kind % 16 {
            0..=2 => Self::Say { from: who, to: other },
            3..=5 => Self::Send { from: who, to: other, limit, loss },
            6..=8 => Self::Push { to: who, which: rest, limit, loss },
            9 => Self::Acknowledge { who },
            10 => Self::Care { who },
            11 => {
                let behind = (rest / 2) as u64 % 24;
                Self::Kill { who, behind, committed: rest % 2 == 1 }
            }
            12 => Self::Restart { who },
            13 if kind < 128 => Self::Move { who },
            13 => Self::Verify { who, of: other },
            14 => Self::PutBack { who },
            _ if kind < 128 => Self::Junk { to: who, which: rest, byte: arg },
            _ => Self::Repeat { to: who, which: rest, at: rest / 2 },
        }
    }

    pub fn all_of(bytes: &[u8]) -> Vec<Self> {
        bytes.as_chunks::<2>().0.iter().map(|pair| Self::of(*pair)).collect()
    }
}

/// Something that its sender's store remembers.
#[derive(Clone)]
struct Said {
    from: usize,
    to: usize,
    text: String,
    id: MessageId,
    /// How often the listener's store had been put back.
    listener: u32,
}

pub struct World {
    pub relay: Relay,
    stores: Vec<Shared>,
    rngs: Vec<Rng>,
    people: Vec<Person>,
    contacts: [[ContactId; PEOPLE]; PEOPLE],
    said: Vec<Said>,
    /// Everything that was ever said, also what nobody remembers.
    ever: BTreeSet<String>,
    words: u64,
    /// Copies of stores, and how much had been said then.
    kept: Vec<Option<(MemoryStore, usize)>>,
    put_back: [u32; PEOPLE],
    /// Whose mailboxes had served their time, as they have for an older copy of the store.
    moved: [bool; PEOPLE],
}

/// People who have met and have each other's reset links.
struct Base {
    relay: Relay,
    stores: Vec<MemoryStore>,
    contacts: [[ContactId; PEOPLE]; PEOPLE],
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let mut relay = Relay::default();
        let stores: Vec<Shared> = (0..PEOPLE).map(|_| Shared::default()).collect();
        let mut people: Vec<Person> = (0..PEOPLE)
            .map(|n| {
                let rng = Rng::new(n as u64 + 1);
                Engine::create(stores[n].clone(), rng, NOW, NAMES[n], &join()).unwrap()
            })
            .collect();
        let mut contacts = [[ContactId::new(0); PEOPLE]; PEOPLE];
        for (inviter, guest) in [(0, 1), (0, 2), (1, 2)] {
            let link = relay.invite(&mut people[inviter], LinkKind::SingleUse);
            contacts[guest][inviter] = relay.add(&mut people[guest], &link);
            settle(&mut relay, &mut people);
            contacts[inviter][guest] = people[inviter].find_contact(NAMES[guest]).unwrap().id;
        }
        settle(&mut relay, &mut people);
        let stores = stores.iter().map(Shared::snapshot).collect();
        Base { relay, stores, contacts }
    })
}

/// Until nobody has anything to say.
fn settle(relay: &mut Relay, people: &mut [Person]) {
    for _ in 0..ROUNDS {
        let mut any = false;
        for person in people.iter_mut() {
            any |= round(relay, person).unwrap();
        }
        if !any {
            return;
        }
    }
    panic!("they never stop talking");
}

fn round(relay: &mut Relay, person: &mut Person) -> Result<bool, EngineError> {
    let mut any = false;
    relay.care(person, NOW)?;
    for contact in person.contacts_to_send_to()? {
        any |= relay.send(person, contact, usize::MAX, Loss::default())?;
    }
    while relay.push(person, 0, usize::MAX, Loss::default())? {
        any = true;
    }
    any |= person.flush_acknowledgements(NOW)?;
    Ok(any)
}

impl World {
    pub fn new(seed: u64) -> Self {
        let Base { relay, stores, contacts } = base();
        let stores = stores.iter().map(|rows| Shared::of(rows.snapshot())).collect();
        let rngs = (0..PEOPLE as u64).map(|n| Rng::new(seed.wrapping_mul(10) + n)).collect();
        let mut world = Self {
            relay: relay.clone(),
            stores,
            rngs,
            people: Vec::new(),
            contacts: *contacts,
            said: Vec::new(),
            ever: BTreeSet::new(),
            words: 0,
            kept: (0..PEOPLE).map(|_| None).collect(),
            put_back: [0; PEOPLE],
            moved: [false; PEOPLE],
        };
        world.people = (0..PEOPLE).map(|who| world.open(who)).collect();
        world
    }

    /// Another world that is like this one, and goes on alike.
    pub fn fork(&self) -> Self {
        let kept = self.kept.iter();
        let mut world = Self {
            relay: self.relay.clone(),
            stores: self.stores.iter().map(|store| Shared::of(store.snapshot())).collect(),
            rngs: self.rngs.iter().map(Rng::twin).collect(),
            people: Vec::new(),
            contacts: self.contacts,
            said: self.said.clone(),
            ever: self.ever.clone(),
            words: self.words,
            kept: kept.map(|k| k.as_ref().map(|(rows, said)| (rows.snapshot(), *said))).collect(),
            put_back: self.put_back,
            moved: self.moved,
        };
        world.people = (0..PEOPLE).map(|who| world.open(who)).collect();
        world
    }

    fn open(&self, who: usize) -> Person {
        Engine::open(self.stores[who].clone(), self.rngs[who].clone()).unwrap()
    }

    /// A copy of somebody's store.
    pub fn rows_of(&self, who: usize) -> MemoryStore {
        self.stores[who].snapshot()
    }

    /// Somebody's profile.
    pub fn person(&mut self, who: usize) -> &mut Person {
        &mut self.people[who]
    }

    /// Writes so far of each.
    pub fn writes(&self) -> [u64; PEOPLE] {
        std::array::from_fn(|who| self.stores[who].writes())
    }

    pub fn kill(&self, who: usize, kill: Kill) {
        self.stores[who].kill(Some(kill));
    }

    /// A new process of the person: what was in memory is gone, and floors are compared first.
    fn restart(&mut self, who: usize) {
        self.stores[who].revive();
        self.people[who] = self.open(who);
        self.people[who].recover().unwrap();
        self.relay.check(&mut self.people[who]).unwrap();
    }

    /// What a process does, until it ends or is killed.
    fn attempt(
        &mut self,
        who: usize,
        work: impl FnOnce(&mut Relay, &mut Person) -> Result<(), EngineError>,
    ) {
        match work(&mut self.relay, &mut self.people[who]) {
            Ok(()) => {}
            Err(error) if is_killed(&error) => self.restart(who),
            Err(error) => panic!("{error:?}"),
        }
    }

    pub fn step(&mut self, op: Op) {
        match op {
            Op::Say { from, to } => self.say(from, to),
            Op::Send { from, to, limit, loss } => {
                let contact = self.contacts[from][to];
                self.attempt(from, |relay, person| {
                    relay.send(person, contact, limit, loss).map(drop)
                });
            }
            Op::Push { to, which, limit, loss } => {
                self.attempt(to, |relay, person| relay.push(person, which, limit, loss).map(drop));
            }
            Op::Acknowledge { who } => {
                self.attempt(who, |_, person| person.flush_acknowledgements(NOW).map(drop));
            }
            Op::Care { who } => self.attempt(who, |relay, person| relay.care(person, NOW)),
            Op::Kill { who, behind, committed } => {
                let at = self.stores[who].writes() + behind;
                self.kill(who, if committed { Kill::BehindCommit(at) } else { Kill::AtWrite(at) });
            }
            Op::Restart { who } => {
                self.restart(who);
                self.check();
            }
            Op::Move { who } => {
                self.moved[who] = true;
                self.attempt(who, |_, person| person.begin_moves(MOVE_TIME));
            }
            Op::PutBack { who } => self.keep_or_put_back(who),
            Op::Junk { to, which, byte } => {
                self.attempt(to, |relay, person| {
                    relay.inject(person, which, |_| Some(vec![byte; 1024]))
                });
            }
            Op::Repeat { to, which, at } => {
                self.attempt(to, |relay, person| {
                    relay.inject(person, which, |mailbox| {
                        mailbox.queue.get(at % mailbox.queue.len().max(1)).cloned()
                    })
                });
            }
            Op::Verify { who, of } => {
                let contact = self.contacts[who][of];
                self.attempt(who, |_, person| person.mark_verified(contact).map(drop));
            }
        }
    }

    fn say(&mut self, from: usize, to: usize) {
        self.words += 1;
        let text = format!("{} from {from} to {to}", self.words);
        let contact = self.contacts[from][to];
        self.ever.insert(text.clone());
        let mut id = None;
        self.attempt(from, |_, person| {
            id = Some(person.queue_text(contact, &text, NOW)?);
            Ok(())
        });
        if id.is_none() {
            // Killed: it is in the store or not, and nobody was told.
            id = self
                .texts(from, to, Direction::Outgoing)
                .into_iter()
                .rfind(|m| m.1 == text)
                .map(|m| m.0);
        }
        if let Some(id) = id {
            self.said.push(Said { from, to, text, id, listener: self.put_back[to] });
        }
    }

    fn keep_or_put_back(&mut self, who: usize) {
        let Some((rows, said)) = self.kept[who].take() else {
            self.kept[who] = Some((self.stores[who].snapshot(), self.said.len()));
            return;
        };
        self.stores[who] = Shared::of(rows);
        self.put_back[who] += 1;
        // What was said since is not in the store's history.
        let mut at = 0;
        self.said.retain(|one| {
            at += 1;
            one.from != who || at <= said
        });
        // The other copies count what is gone now.
        self.kept.iter_mut().for_each(|kept| *kept = None);
        self.restart(who);
    }

    fn texts(&mut self, who: usize, with: usize, direction: Direction) -> Vec<(MessageId, String)> {
        let contact = self.contacts[who][with];
        let history = self.people[who].history(contact, None, 100_000).unwrap();
        let of = |message: Message| match message.kind {
            MessageKind::Text { text } if message.direction == direction => {
                Some((message.id, text))
            }
            _ => None,
        };
        history.into_iter().filter_map(of).collect()
    }

    fn heard(&mut self, who: usize, from: usize) -> Vec<String> {
        let texts = self.texts(who, from, Direction::Incoming);
        texts.into_iter().map(|(_, text)| text).collect()
    }

    fn ever_put_back(&self) -> bool {
        self.put_back.iter().any(|times| *times > 0)
    }

    /// What holds at any time.
    fn check(&mut self) {
        for from in 0..PEOPLE {
            for to in (0..PEOPLE).filter(|to| *to != from) {
                let heard = self.heard(to, from);
                let once: BTreeSet<&String> = heard.iter().collect();
                assert_eq!(once.len(), heard.len(), "something twice: {heard:?}");
                assert!(once.iter().all(|text| self.ever.contains(*text)), "nobody said {heard:?}");
                let said: Vec<Said> =
                    self.said.iter().filter(|s| s.from == from && s.to == to).cloned().collect();
                if !self.ever_put_back() {
                    let begin = said.iter().map(|s| &s.text).take(heard.len());
                    assert!(heard.iter().eq(begin), "not in order: {heard:?}");
                }
                for one in said {
                    let state = self.people[from].message(one.id).unwrap().state;
                    let lost = self.put_back[to] > one.listener;
                    assert!(
                        state != MessageState::Delivered || lost || heard.contains(&one.text),
                        "shown as delivered, and missing: {}",
                        one.text
                    );
                }
            }
        }
    }

    /// All processes start anew and go on until everything has come to rest: then everybody has all,
    /// and knows that the others have.
    pub fn finish(&mut self) {
        for who in 0..PEOPLE {
            self.restart(who);
        }
        self.settle_and_consent();
        // Who was put back behind what they had sent, and says nothing, is noticed a day later; behind
        // a move, when the older copy moves as well.
        for who in 0..PEOPLE {
            let person = &mut self.people[who];
            if self.moved[who] && self.put_back[who] > 0 {
                person.begin_moves(MOVE_TIME).unwrap();
            }
            person.expire(UnixMillis::new(NOW.get() + DAY)).unwrap();
        }
        self.settle_and_consent();
        self.check();
        for at in 0..self.said.len() {
            let Said { from, to, text, id, listener } = self.said[at].clone();
            let state = self.people[from].message(id).unwrap().state;
            assert_eq!(state, MessageState::Delivered, "{text}");
            let lost = self.put_back[to] > listener;
            assert!(lost || self.heard(to, from).contains(&text), "lost: {text}");
        }
        if !self.ever_put_back() {
            for from in 0..PEOPLE {
                for to in (0..PEOPLE).filter(|to| *to != from) {
                    let said = self.said.iter().filter(|s| s.from == from && s.to == to);
                    let said: Vec<String> = said.map(|s| s.text.clone()).collect();
                    assert_eq!(self.heard(to, from), said);
                }
            }
        }
        self.check_talking();
    }

    /// Until all have come to rest; what waits for their consent is sent again.
    fn settle_and_consent(&mut self) {
        settle(&mut self.relay, &mut self.people);
        for who in 0..PEOPLE {
            for other in (0..PEOPLE).filter(|other| *other != who) {
                self.people[who].consent_to_resend(self.contacts[who][other], true).unwrap();
            }
        }
        settle(&mut self.relay, &mut self.people);
    }

    fn check_talking(&mut self) {
        let mut last = Vec::new();
        for from in 0..PEOPLE {
            for to in (0..PEOPLE).filter(|to| *to != from) {
                let contact = self.contacts[from][to];
                let id = self.people[from].queue_text(contact, "in the end", NOW).unwrap();
                last.push((from, contact, id));
            }
        }
        self.settle_and_consent();
        for (from, contact, id) in last {
            let state = self.people[from].message(id).unwrap().state;
            assert_eq!(state, MessageState::Delivered, "in the end");
            assert_eq!(self.people[from].contact(contact).unwrap().state, ContactState::Active);
        }
    }
}
