//! Family `backup`: whole files whose records a new device takes, and those that contradict each
//! other.

use serde_json::{Value, json};

use super::backups::{FAMILY, framed, input, number, string, text};
use super::{Files, about, links};
use crate::forge::{self, Entry};
use crate::prim;

const MADE: u64 = 1_700_000_000_123;
/// Some minutes later.
const NOW: u64 = 1_700_000_300_000;
/// The secrets of the account's own key and of those of two contacts.
const OWN: [u8; 32] = [1; 32];
const BOB: [u8; 32] = [2; 32];
const CAROL: [u8; 32] = [3; 32];

type Records = Vec<(u8, Vec<u8>)>;

fn relay() -> Vec<u8> {
    links::address("relay.example.org", 4433)
}

fn key(secret: &[u8; 32]) -> Vec<u8> {
    prim::ed25519_public(secret).to_vec()
}

/// A list of one device.
fn list(secret: &[u8; 32]) -> Vec<u8> {
    let keys = [prim::ed25519_public(&[11; 32]), prim::x25519_public(&[12; 32])].concat();
    forge::list(secret, 1_700_000_000, &[Entry::of(keys.try_into().unwrap())])
}

fn list_record(secret: &[u8; 32]) -> Vec<u8> {
    let list = list(secret);
    [&list[..40], &prim::hash("list hash", &[&list])].concat()
}

/// The payload of a link of this kind to this account.
fn link_to(secret: &[u8; 32], kind: u8) -> Vec<u8> {
    links::payload_to(&prim::hash("account fingerprint", &[&key(secret)]), kind, &relay())
}

struct Account {
    device: u8,
    list: Vec<u8>,
    name: &'static str,
    relay: Vec<u8>,
    /// The numbers that the next contact, message and link get.
    next: [u64; 3],
}

impl Account {
    fn new() -> Self {
        Self { device: 0, list: list(&OWN), name: "Ada", relay: relay(), next: [5, 9, 7] }
    }

    fn record(&self) -> (u8, Vec<u8>) {
        let numbers = [&self.next[..], &[MADE]].concat().into_iter().flat_map(number);
        let names = [string(&self.list), string(self.name.as_bytes()), string(&self.relay)];
        let parts = [&OWN[..], &[self.device], &names.concat(), &[9; 32]].concat();
        (1, parts.into_iter().chain(numbers).collect())
    }
}

fn former() -> (u8, Vec<u8>) {
    (2, [string(&links::address("old.example.org", 443)), vec![8; 32]].concat())
}

#[derive(Clone)]
struct Contact {
    number: u64,
    account: Vec<u8>,
    name: &'static str,
    calls_themselves: &'static str,
    list_record: Vec<u8>,
    gave: Vec<u8>,
    was_given: u64,
}

impl Contact {
    /// With a reset link of both.
    fn bob() -> Self {
        Self {
            number: 1,
            account: key(&BOB),
            name: "Bob",
            calls_themselves: "Robert",
            list_record: list_record(&BOB),
            gave: link_to(&BOB, 3),
            was_given: 2,
        }
    }

    /// Of whom little is known.
    fn carol() -> Self {
        Self {
            number: 4,
            account: key(&CAROL),
            name: "Carol",
            calls_themselves: "",
            list_record: Vec::new(),
            gave: Vec::new(),
            was_given: 0,
        }
    }

    fn record(&self) -> (u8, Vec<u8>) {
        let texts = [self.name.as_bytes(), self.calls_themselves.as_bytes()].map(string).concat();
        let known = [string(&self.list_record), string(&self.gave)].concat();
        let parts = [&number(self.number)[..], &self.account, &[1, 0, 1], &texts, &known];
        let rest = [&number(self.was_given)[..], &[0, 1, 0x51, 0x80], &number(MADE)];
        (3, [parts.concat(), rest.concat()].concat())
    }
}

struct Link {
    number: u64,
    kind: u8,
    label: &'static str,
    relay: Vec<u8>,
    contact: u64,
}

impl Link {
    fn reset() -> Self {
        Self { number: 2, kind: 3, label: "", relay: relay(), contact: 1 }
    }

    fn reusable() -> Self {
        Self { number: 6, kind: 2, label: "card", relay: relay(), contact: 0 }
    }

    fn record(&self) -> (u8, Vec<u8>) {
        let label = string(self.label.as_bytes());
        let parts = [&number(self.number)[..], &[self.kind], &label, &[7; 64]].concat();
        (4, [parts, string(&self.relay), number(self.contact).to_vec()].concat())
    }
}

/// A mailbox.
fn leftover(relay: &[u8]) -> (u8, Vec<u8>) {
    (5, [&string(relay)[..], &[1], &[5; 32]].concat())
}

fn erased(contact: u64) -> (u8, Vec<u8>) {
    (6, [&number(contact)[..], &[6; 16], &[0, 0, 0x4c, 0xdb]].concat())
}

struct Pending {
    contact: u64,
    place: u64,
    message: u64,
    sent: bool,
    content: Vec<u8>,
}

/// A content of this kind.
fn content(kind: u8, id: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind][..], &[id; 16], &number(MADE), payload].concat()
}

impl Pending {
    fn new(place: u64, sent: bool, id: u8) -> Self {
        let content = content(1, id, b"\x02hi");
        Self { contact: 1, place, message: 0, sent, content }
    }

    fn record(&self) -> (u8, Vec<u8>) {
        let numbers = [self.contact, self.place, self.message].map(number).concat();
        let parts = [&numbers[..], &[u8::from(self.sent)], &[0, 0, 0x4c, 0xdb]].concat();
        (7, [parts, string(&self.content)].concat())
    }
}

#[derive(Clone, Copy)]
struct Message {
    place: u64,
    contact: u64,
    id: u8,
    /// 0 incoming, 1 outgoing; then the state.
    state: [u8; 2],
    disappears: u64,
}

impl Message {
    const fn new(place: u64, id: u8, state: [u8; 2]) -> Self {
        Self { place, contact: 1, id, state, disappears: 0 }
    }

    fn record(&self) -> (u8, Vec<u8>) {
        let head = [&number(self.place)[..], &number(self.contact), &[self.id; 16], &number(MADE)];
        let rest = [number(0).to_vec(), vec![0; 4], number(self.disappears).to_vec()].concat();
        (8, [&head.concat()[..], &self.state, &text(b"hi"), &rest].concat())
    }
}

/// One of each, all of which fits together.
fn whole() -> Records {
    let mut pending = Pending::new(3, false, 21);
    pending.message = 3;
    vec![
        Account::new().record(),
        former(),
        Contact::bob().record(),
        Contact::carol().record(),
        Link::reset().record(),
        Link::reusable().record(),
        leftover(&relay()),
        erased(1),
        pending.record(),
        Pending::new(2, true, 22).record(),
        Message::new(1, 31, [0, 6]).record(),
        Message::new(3, 21, [1, 0]).record(),
        Message { disappears: NOW + 1, ..Message::new(4, 32, [0, 3]) }.record(),
        Message { contact: 4, ..Message::new(5, 33, [1, 2]) }.record(),
    ]
}

fn given(records: &[(u8, Vec<u8>)]) -> Value {
    let mut input = input(&framed(records), &json!([]));
    input["now"] = json!(NOW);
    input
}

pub(super) fn make(files: &mut Files) {
    let spec = &["14 §3", "14 §5"];
    let over = Message { disappears: NOW, ..Message::new(6, 34, [0, 3]) };
    let longest = (1..=8).map(|n| (2, [string(&relay()), vec![n; 32]].concat()));
    let with = |more: Records| [vec![Account::new().record()], more].concat();
    for (name, says, records) in [
        ("whole", "One record of each type, all of which fits together.", whole()),
        ("account-alone", "An account alone.", with(Vec::new())),
        (
            "message-over",
            "The time of the last message has come: it does not come back.",
            [whole(), vec![over.record()]].concat(),
        ),
        ("eight-relays", "As many former relays as may be.", with(longest.collect())),
        (
            "reset-link-that-was-replaced",
            "A reset link that no contact holds any more.",
            with(vec![Contact::carol().record(), Link { contact: 4, ..Link::reset() }.record()]),
        ),
        ("pending-of-one-id", "The contents for two contacts have one id and one place.", {
            let one = |contact| Pending { contact, ..Pending::new(2, false, 21) }.record();
            let contacts = [Contact { was_given: 0, ..Contact::bob() }, Contact::carol()];
            let contacts = contacts.iter().map(Contact::record);
            with(contacts.chain([one(1), one(4)]).collect())
        }),
        ("pending-sent-meanwhile", "A content was sent while the backup was made.", {
            let one = |sent| Pending { contact: 4, ..Pending::new(2, sent, 21) }.record();
            with(vec![Contact::carol().record(), one(false), one(true)])
        }),
    ] {
        let name = format!("restore-{name}");
        files.valid(&about(FAMILY, &name, spec, says), "backup-restore", given(&records));
    }
    let mut refuse = |name: &str, says: &str, records: &[(u8, Vec<u8>)]| {
        let name = format!("restore-refused-{name}");
        let about = about(FAMILY, &name, &["14 §3"], says);
        files.refused(&about, "R-1411", "compare", "backup-restore", given(records));
    };
    accounts(&mut refuse);
    contacts(&mut refuse);
    held(&mut refuse);
    said(&mut refuse);
    let about = about(FAMILY, "restore-refused-layout", &["14 §3"], "The layout is broken first.");
    let records = [Account::new().record(), (4, vec![0]), erased(9)];
    files.refused(&about, "R-1410", "read", "backup-restore", given(&records));
}

/// What the cases below are told to.
type Refuse<'a> = dyn FnMut(&str, &str, &[(u8, Vec<u8>)]) + 'a;

fn accounts(refuse: &mut Refuse<'_>) {
    refuse("no-record", "There is no record at all.", &[]);
    refuse("no-account", "A contact stands in front.", &whole()[2..]);
    let two = [Account::new().record(), Account::new().record()];
    refuse("two-accounts", "There are two accounts.", &two);
    let mut altered = list(&OWN);
    *altered.last_mut().unwrap() ^= 1;
    for (name, says, account) in [
        (
            "list-altered",
            "The device list does not verify.",
            Account { list: altered, ..Account::new() },
        ),
        (
            "list-of-another",
            "The device list is another account's.",
            Account { list: list(&BOB), ..Account::new() },
        ),
        ("device", "The list has no second device.", Account { device: 1, ..Account::new() }),
        ("name-empty", "The person has no name.", Account { name: " ", ..Account::new() }),
        (
            "name-control",
            "The name has a control character.",
            Account { name: "A\u{7}da", ..Account::new() },
        ),
        ("address", "The relay has no address.", Account { relay: Vec::new(), ..Account::new() }),
        (
            "address-long",
            "A byte behind the relay's address.",
            Account { relay: [relay(), vec![0]].concat(), ..Account::new() },
        ),
    ] {
        refuse(name, says, &[account.record()]);
    }
    let nine = (0..9).map(|_| former());
    let nine: Records = core::iter::once(Account::new().record()).chain(nine).collect();
    refuse("nine-relays", "There are nine former relays.", &nine);
    let former = (2, [string(b""), vec![8; 32]].concat());
    refuse("former-address", "A former relay has no address.", &[Account::new().record(), former]);
}

fn contacts(refuse: &mut Refuse<'_>) {
    let bob = || Contact { was_given: 0, ..Contact::bob() };
    for (name, says, contacts) in [
        ("contact-0", "No contact has the number 0.", vec![Contact { number: 0, ..bob() }]),
        ("contact-next", "The number is yet to be given.", vec![Contact { number: 5, ..bob() }]),
        ("contact-order", "The numbers do not ascend.", vec![Contact::carol(), bob()]),
        (
            "contact-number-twice",
            "Two have one number.",
            vec![bob(), Contact { number: 1, ..Contact::carol() }],
        ),
        ("contact-twice", "Two have one account.", vec![bob(), Contact { number: 2, ..bob() }]),
        (
            "contact-oneself",
            "The account is one's own.",
            vec![Contact { account: key(&OWN), ..Contact::carol() }],
        ),
        (
            "contact-key",
            "The account key is none.",
            vec![Contact { account: vec![0; 32], ..Contact::carol() }],
        ),
        (
            "contact-name",
            "The name turns the direction.",
            vec![Contact { name: "B\u{202e}ob", ..bob() }],
        ),
        ("contact-without-a-name", "The name is empty.", vec![Contact { name: "", ..bob() }]),
        (
            "contact-calls-themselves",
            "So does what they call themselves.",
            vec![Contact { calls_themselves: "\u{2066}", ..bob() }],
        ),
        (
            "list-record-short",
            "What is known of the list is a byte short.",
            vec![Contact { list_record: list_record(&BOB)[..71].to_vec(), ..bob() }],
        ),
        (
            "list-record-of-another",
            "The list that is known is another's.",
            vec![Contact { list_record: list_record(&CAROL), ..bob() }],
        ),
        ("reset-link-cut", "The reset link is cut.", vec![Contact { gave: vec![1, 3], ..bob() }]),
        (
            "reset-link-kind",
            "The reset link is a reusable one.",
            vec![Contact { gave: link_to(&BOB, 2), ..bob() }],
        ),
        (
            "reset-link-of-another",
            "The reset link is another's.",
            vec![Contact { gave: link_to(&CAROL, 3), ..bob() }],
        ),
        ("reset-link-gone", "The link that was given is not there.", vec![Contact::bob()]),
    ] {
        let records = contacts.iter().map(Contact::record);
        let records: Records = core::iter::once(Account::new().record()).chain(records).collect();
        refuse(name, says, &records);
    }
}

fn held(refuse: &mut Refuse<'_>) {
    let front = || vec![Account::new().record(), Contact::carol().record()];
    for (name, says, links) in [
        ("link-0", "No link has the number 0.", vec![Link { number: 0, ..Link::reusable() }]),
        (
            "link-next",
            "The number is yet to be given.",
            vec![Link { number: 7, ..Link::reusable() }],
        ),
        (
            "link-order",
            "The numbers do not ascend.",
            vec![Link::reusable(), Link { number: 6, ..Link::reusable() }],
        ),
        (
            "link-single-use",
            "A single-use link ends with a backup.",
            vec![Link { kind: 1, ..Link::reusable() }],
        ),
        (
            "link-reusable-of-a-contact",
            "A reusable link is nobody's.",
            vec![Link { contact: 4, ..Link::reusable() }],
        ),
        (
            "link-reset-of-nobody",
            "A reset link is somebody's.",
            vec![Link { contact: 0, ..Link::reset() }],
        ),
        ("link-reset-of-a-stranger", "Its contact is not there.", vec![Link::reset()]),
        (
            "link-label",
            "The label has a line break.",
            vec![Link { label: "a\nb", ..Link::reusable() }],
        ),
        (
            "link-address",
            "The relay has no address.",
            vec![Link { relay: Vec::new(), ..Link::reusable() }],
        ),
    ] {
        let records: Records = front().into_iter().chain(links.iter().map(Link::record)).collect();
        refuse(name, says, &records);
    }
    let with = |one: (u8, Vec<u8>)| [front(), vec![one]].concat();
    refuse("leftover-address", "The relay has no address.", &with(leftover(b"")));
    refuse("erased-of-a-stranger", "Its contact is not there.", &with(erased(1)));
}

fn said(refuse: &mut Refuse<'_>) {
    let front = || {
        let bob = Contact { was_given: 0, ..Contact::bob() };
        vec![Account::new().record(), bob.record(), Contact::carol().record()]
    };
    let with = |more: Records| [front(), more].concat();
    let one = |pending: Pending| with(vec![pending.record()]);
    let new = || Pending::new(2, false, 21);
    refuse(
        "pending-of-a-stranger",
        "Its contact is not there.",
        &one(Pending { contact: 2, ..new() }),
    );
    refuse(
        "pending-unreadable",
        "The content ends early.",
        &one(Pending { content: content(1, 21, b"\x03hi"), ..new() }),
    );
    for (kind, payload) in [
        (3, vec![1; 16]),
        (4, vec![1; 16]),
        (8, vec![1]),
        (11, string(&[6; 84])),
        (12, string(&list(&OWN))),
        (14, string(&link_to(&OWN, 3))),
        (15, vec![1]),
    ] {
        let name = format!("pending-kind-{kind}");
        let pending = Pending { content: content(kind, 21, &payload), ..new() };
        refuse(&name, "The new device has present ones, or owes none.", &one(pending));
    }
    refuse(
        "pending-place",
        "The place of its message is yet to be given.",
        &one(Pending { message: 9, ..new() }),
    );
    let two = |a: Pending, b: Pending| with(vec![a.record(), b.record()]);
    let twice = two(new(), Pending::new(2, true, 22));
    refuse("pending-place-twice", "Two have one place.", &twice);
    let twice = two(new(), Pending::new(3, true, 21));
    refuse("pending-id-twice", "Two have one id.", &twice);

    let message = Message::new(3, 31, [0, 6]);
    for (name, says, messages) in [
        (
            "message-of-a-stranger",
            "Its contact is not there.",
            vec![Message { contact: 2, ..message }],
        ),
        ("message-0", "No message has the place 0.", vec![Message { place: 0, ..message }]),
        ("message-next", "The place is yet to be given.", vec![Message { place: 9, ..message }]),
        (
            "message-order",
            "The places do not ascend.",
            vec![message, Message { place: 2, id: 32, ..message }],
        ),
        (
            "message-incoming-queued",
            "It came, and waits to go out.",
            vec![Message { state: [0, 0], ..message }],
        ),
        (
            "message-incoming-delivered",
            "It came, and was delivered.",
            vec![Message { state: [0, 2], ..message }],
        ),
        (
            "message-outgoing-received",
            "It was sent, and received.",
            vec![Message { state: [1, 6], ..message }],
        ),
        (
            "message-twice",
            "Two of one contact have one id.",
            vec![message, Message { place: 4, ..message }],
        ),
        (
            "message-sent-twice",
            "Two that were sent have one id.",
            vec![
                Message { state: [1, 2], ..message },
                Message { state: [1, 2], place: 4, contact: 4, ..message },
            ],
        ),
    ] {
        let records: Records = messages.iter().map(Message::record).collect();
        refuse(name, says, &with(records));
    }
}
