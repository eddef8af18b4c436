//! Three people who know each other, what they do, and the reference model: what each has said to
//! whom, and what of that has to be where.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use undertone_session::contact::ContactState;
use undertone_session::engine::{DeliveryId, Engine, EngineError};
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

/// How long messages stay where they disappear.
const TIMER_SECONDS: u32 = 60;
const TIMER_MILLIS: u64 = 60_000;

fn is_there(state: &MessageState) -> bool {
    matches!(state, MessageState::Delivered | MessageState::Read)
}

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
    /// Changes one of the texts that it has sent.
    Edit { from: usize, to: usize, which: usize },
    /// Takes one of the texts back that it has sent.
    Delete { from: usize, to: usize, which: usize },
    /// Erases one of the texts that it has sent, or that came.
    Erase { who: usize, with: usize, which: usize },
    /// A delivery of which there is no answer yet.
    Launch { from: usize, to: usize },
    /// All answers come that are outstanding.
    Land { who: usize },
    /// New messages disappear, or stay.
    Timer { who: usize, with: usize, on: bool },
    /// Reads what came, and time passes.
    Read { who: usize },
    /// Two meet once more over a link, so that a session begins that takes the place of the others.
    Meet { guest: usize, inviter: usize },
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
        // Not what a sixteenth is given to: so that inputs found earlier stay much the same.
        match kind {
            0x82 | 0x92 => return Self::Edit { from: who, to: other, which: rest / 2 },
            0xa2 => return Self::Delete { from: who, to: other, which: rest / 2 },
            0xb2 | 0xc2 => return Self::Erase { who, with: other, which: rest / 2 },
            0x85 | 0x95 | 0xa5 | 0xb5 => return Self::Launch { from: who, to: other },
            0x88 | 0x98 | 0xa8 => return Self::Land { who },
            0xb8 => return Self::Timer { who, with: other, on: (rest / 2).is_multiple_of(2) },
            0xc8 | 0xd8 => return Self::Read { who },
            0xe5 | 0xf5 => return Self::Meet { guest: who, inviter: other },
            _ => {}
        }
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
    /// What it said, and what it was changed to, the newest last.
    texts: Vec<String>,
    id: MessageId,
    /// How often the listener's store had been put back.
    listener: u32,
    /// It was taken back or erased, or it may have disappeared: it may be there, here and there, or not.
    gone: bool,
    /// It was taken back: nobody shows it in the end.
    deleted: bool,
}

impl Said {
    fn says(&self, text: &str) -> bool {
        self.texts.iter().any(|one| one == text)
    }
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
    /// Deliveries that have no answer yet.
    flying: [Vec<DeliveryId>; PEOPLE],
    /// Between whom messages disappear, or did.
    timed: [[bool; PEOPLE]; PEOPLE],
    /// Two have met once more, so that what waits for somebody's consent comes out of its order.
    met: bool,
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
            flying: std::array::from_fn(|_| Vec::new()),
            timed: [[false; PEOPLE]; PEOPLE],
            met: false,
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
            flying: self.flying.clone(),
            timed: self.timed,
            met: self.met,
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
        self.flying[who].clear();
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
            Op::Edit { from, to, which } => self.edit(from, to, which),
            Op::Delete { from, to, which } => self.delete(from, to, which),
            Op::Erase { who, with, which } => self.erase(who, with, which),
            Op::Launch { from, to } => {
                let contact = self.contacts[from][to];
                let mut launched = None;
                self.attempt(from, |relay, person| {
                    launched = relay.launch(person, contact)?;
                    Ok(())
                });
                self.flying[from].extend(launched);
            }
            Op::Land { who } => {
                for id in std::mem::take(&mut self.flying[who]) {
                    self.attempt(who, |_, person| person.accepted(id, NOW));
                }
            }
            Op::Timer { who, with, on } => self.set_timer(who, with, on),
            Op::Read { who } => {
                let contacts = self.contacts[who];
                self.attempt(who, |_, person| {
                    for with in (0..PEOPLE).filter(|with| *with != who) {
                        person.mark_read(contacts[with], None, NOW)?;
                    }
                    person.erase_due(UnixMillis::new(NOW.get() + 2 * TIMER_MILLIS)).map(drop)
                });
            }
            Op::Meet { guest, inviter } => self.meet(guest, inviter),
        }
    }

    /// One of the texts that somebody has sent, if it is in the store: its place there, and in `said`.
    fn pick(&mut self, from: usize, to: usize, which: usize) -> Option<(u64, usize)> {
        let of = |one: &Said| one.from == from && one.to == to && !one.deleted;
        let all: Vec<usize> = (0..self.said.len()).filter(|at| of(&self.said[*at])).collect();
        // The newest are those that are on their way.
        let at = *all.get(all.len().checked_sub(1 + which % all.len().max(1))?)?;
        let message = self.people[from].message(self.said[at].id).ok()?;
        (message.kind != MessageKind::Deleted).then_some((message.seq, at))
    }

    fn edit(&mut self, from: usize, to: usize, which: usize) {
        let Some((place, at)) = self.pick(from, to, which) else { return };
        self.words += 1;
        let text = format!("{} from {from} to {to}, changed", self.words);
        self.ever.insert(text.clone());
        let id = self.said[at].id;
        self.attempt(from, |_, person| person.edit(place, &text, NOW));
        // Killed, it has happened or not.
        let now = self.people[from].message(id).map(|message| message.kind);
        if now == Ok(MessageKind::Text { text: text.clone() }) {
            self.said[at].texts.push(text);
        }
    }

    fn delete(&mut self, from: usize, to: usize, which: usize) {
        let Some((place, at)) = self.pick(from, to, which) else { return };
        let id = self.said[at].id;
        self.attempt(from, |_, person| person.delete_message(place, NOW));
        let done = self.people[from].message(id).is_ok_and(|m| m.kind == MessageKind::Deleted);
        self.said[at].gone |= done;
        self.said[at].deleted |= done;
    }

    fn erase(&mut self, who: usize, with: usize, which: usize) {
        let own = which.is_multiple_of(2);
        let (from, to) = if own { (who, with) } else { (with, who) };
        let Some((mut place, at)) = self.pick(from, to, which / 2) else { return };
        if !own {
            let (contact, id) = (self.contacts[who][with], self.said[at].id);
            let Ok(message) = self.people[who].received_message(contact, id) else { return };
            place = message.seq;
        }
        self.attempt(who, |_, person| person.erase_message(place, NOW));
        self.said[at].gone = true;
    }

    fn set_timer(&mut self, who: usize, with: usize, on: bool) {
        let contact = self.contacts[who][with];
        let seconds = if on { TIMER_SECONDS } else { 0 };
        self.attempt(who, |_, person| person.set_timer(contact, seconds, NOW));
        for (from, to) in [(who, with), (with, who)] {
            self.timed[from][to] = true;
            let of = self.said.iter_mut().filter(|one| one.from == from && one.to == to);
            of.for_each(|one| one.gone = true);
        }
    }

    /// Not beside stores that are put back: what waits in the mailbox of a link that only a lost store
    /// knew of is begun anew after days, and no time passes here.
    fn meet(&mut self, guest: usize, inviter: usize) {
        if self.ever_put_back() || self.kept.iter().any(Option::is_some) {
            return;
        }
        self.met = true;
        let [one, other] = self.people.get_disjoint_mut([inviter, guest]).unwrap();
        let (invited, added) = self.relay.meet_again(one, other);
        for (who, result) in [(inviter, invited), (guest, added)] {
            self.attempt(who, |_, _| result);
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
            self.said.push(Said {
                from,
                to,
                texts: vec![text],
                id,
                listener: self.put_back[to],
                gone: self.timed[from][to],
                deleted: false,
            });
        }
    }

    fn keep_or_put_back(&mut self, who: usize) {
        if self.met {
            return;
        }
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
                let at = |text: &String| said.iter().position(|one| one.says(text));
                let places: Vec<usize> = heard.iter().filter_map(at).collect();
                let distinct: BTreeSet<usize> = places.iter().copied().collect();
                assert_eq!(distinct.len(), places.len(), "one in two forms: {heard:?}");
                if !self.ever_put_back() && !self.met {
                    assert!(places.is_sorted(), "not in order: {heard:?}");
                    let last = places.last().copied().unwrap_or_default();
                    let before = said.iter().enumerate().take(last);
                    for (place, one) in before.filter(|(_, one)| !one.gone) {
                        assert!(places.contains(&place), "passed over: {:?}", one.texts);
                    }
                }
                for one in said.iter().filter(|one| !one.gone) {
                    let state = self.people[from].message(one.id).unwrap().state;
                    let lost = self.put_back[to] > one.listener;
                    let there = heard.iter().any(|text| one.says(text));
                    assert!(
                        state != MessageState::Delivered || lost || there,
                        "shown as delivered, and missing: {:?}",
                        one.texts
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
            let one = self.said[at].clone();
            let (from, to) = (one.from, one.to);
            let heard = self.heard(to, from);
            let form = heard.iter().find(|text| one.says(text));
            if one.deleted && !self.ever_put_back() {
                assert_eq!(form, None, "taken back, and still there");
            }
            if one.gone {
                continue;
            }
            let state = self.people[from].message(one.id).unwrap().state;
            assert!(is_there(&state), "{:?} {state:?}", one.texts);
            let lost = self.put_back[to] > one.listener;
            assert!(lost || form.is_some(), "lost: {:?}", one.texts);
            if !self.ever_put_back() {
                assert_eq!(form, one.texts.last(), "not what it was changed to");
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
            assert!(is_there(&state), "in the end: {state:?}");
            assert_eq!(self.people[from].contact(contact).unwrap().state, ContactState::Active);
        }
    }
}
