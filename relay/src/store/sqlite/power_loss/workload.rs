//! What the child does, and what it must find again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use undertone_wire::frame::{Acknowledgement, FillMode, MailboxKind};
use undertone_wire::{
    Day, DepotId, DepotKey, ErrorCode, Floor, MailboxId, ReadKey, Seq, TakeId, WriteCapability,
};

use super::disk::Random;
use crate::store::sqlite::{GRACE_DAYS, SqliteStore};
use crate::store::{Command, DepotFill, EndlessDisk, Outcome, Prekey, Store as _, TokenClass};

const START: Day = Day::new(20_000);
const RETENTION: u32 = 2;
const TOKEN: [u8; 32] = [9; 32];
const MAILBOXES: u8 = 4;
const BATCHES: usize = 90;

fn key(n: u8) -> ReadKey {
    ReadKey::from_bytes([n; 32])
}

fn mailbox(n: u8) -> MailboxId {
    key(n).mailbox()
}

/// Some are large, so that the WAL comes to be moved into the database.
fn envelope(number: u32) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(if number.is_multiple_of(4) { 65_536 } else { 1024 }, 7);
    bytes
}

fn number(envelope: &[u8]) -> u32 {
    u32::from_be_bytes(*envelope.first_chunk().unwrap())
}

fn depot() -> DepotId {
    DepotId::from_bytes([1; 32])
}

fn take(n: u32) -> TakeId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    TakeId::from_bytes(bytes)
}

fn bundle(n: u32) -> Vec<u8> {
    let mut bytes = n.to_be_bytes().to_vec();
    bytes.resize(4096, 3);
    bytes
}

/// Says what is about to be done, and what was answered, where the record of the disk holds it.
struct Notes(std::fs::File);

impl Notes {
    fn write(&mut self, lines: &[String]) {
        if !lines.is_empty() {
            self.0.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
        }
    }
}

fn first(store: &mut SqliteStore) {
    let mut batch = vec![Command::AddToken(TOKEN, TokenClass::Unlimited)];
    batch.extend((0..MAILBOXES).map(create));
    batch.push(Command::FillDepot(DepotFill {
        depot: depot(),
        owner: DepotKey::from_bytes([2; 32]),
        token: TOKEN,
        mode: FillMode::Add,
        one_time: (0..50).map(bundle).collect(),
        last_resort: None,
        expires: START.plus(30),
    }));
    for answer in store.commit(START, &batch).unwrap() {
        answer.unwrap();
    }
}

fn open(root: &Path) -> SqliteStore {
    SqliteStore::open(root, RETENTION).unwrap().with_disk(Arc::new(EndlessDisk))
}

fn create(n: u8) -> Command {
    Command::CreateMailbox {
        key: key(n),
        token: TOKEN,
        kind: MailboxKind::Queue,
        limits: None,
        capabilities: vec![WriteCapability::from_bytes([n; 32]).hash()],
    }
}

/// Deletes a mailbox and makes another with the same key, in one batch or in two.
fn replace(store: &mut SqliteStore, today: Day, n: u8, at_once: bool, notes: &mut Notes) {
    notes.write(&[format!("replace {n}")]);
    let (delete, create) = (Command::DeleteMailbox(mailbox(n)), create(n));
    let batches =
        if at_once { vec![vec![delete, create]] } else { vec![vec![delete], vec![create]] };
    for batch in batches {
        for answer in store.commit(today, &batch).unwrap() {
            answer.unwrap();
        }
    }
    notes.write(&[format!("ok replace {n}")]);
}

/// Works on a store, and ends without closing it.
pub(super) fn run(root: &Path, seed: u64) {
    let options = std::fs::OpenOptions::new().create(true).append(true).open(root.join("NOTES"));
    let (mut notes, mut random) = (Notes(options.unwrap()), Random(seed));
    let mut store = open(root);
    first(&mut store);
    notes.write(&["ok begun".into()]);
    let (mut today, mut next, mut takes) = (START, 0_u32, 0_u32);
    let mut heads = [0_u64; MAILBOXES as usize];
    for _ in 0..BATCHES {
        match random.below(30) {
            0 => today = today.plus(1),
            1 => {
                today = today.plus(1);
                notes.write(&[format!("expire {}", today.get())]);
                store.expire(today, 24).unwrap();
                continue;
            }
            2 => {
                if random.below(2) == 0 {
                    Box::new(store).close().unwrap();
                } else {
                    drop(store);
                }
                store = open(root);
                continue;
            }
            _ => {}
        }
        if random.below(12) == 0 {
            let n = random.below(usize::from(MAILBOXES));
            heads[n] = 0;
            replace(&mut store, today, n as u8, random.below(2) == 0, &mut notes);
            continue;
        }
        let (mut batch, mut lines) = (Vec::new(), Vec::new());
        for _ in 0..=random.below(7) {
            let n = random.below(usize::from(MAILBOXES));
            let to = n as u8;
            match random.below(8) {
                0 if heads[n] > 0 => {
                    let floor = random.below(heads[n] as usize + 1) as u64;
                    lines.push(format!("ack {to} {floor}"));
                    batch.push(Command::Acknowledge(Acknowledgement {
                        mailbox: mailbox(to),
                        incarnation: store.incarnation(),
                        floor: Floor::new(floor),
                    }));
                }
                1 if takes < 40 => {
                    takes += 1;
                    lines.push(format!("take {takes}"));
                    batch.push(Command::TakePrekey(depot(), take(takes)));
                }
                _ => {
                    next += 1;
                    heads[n] += 1;
                    lines.push(format!("deliver {to} {} {next} {}", heads[n], today.get()));
                    let capability = WriteCapability::from_bytes([to; 32]).hash();
                    batch.push(Command::Deliver { capability, envelope: envelope(next) });
                }
            }
        }
        notes.write(&lines);
        let answers = store.commit(today, &batch).unwrap();
        let mut done = Vec::new();
        for (answer, line) in answers.into_iter().zip(lines) {
            match answer.unwrap() {
                Outcome::Prekey(Prekey::OneTime(sealed)) => {
                    done.push(format!("ok {line} {}", number(&sealed)));
                }
                _ => done.push(format!("ok {line}")),
            }
        }
        notes.write(&done);
    }
}

/// What was tried and what was answered, up to a moment.
#[derive(Default)]
pub(super) struct Answered {
    begun: bool,
    mailboxes: BTreeMap<u8, Mailbox>,
    /// Bundles that were handed out.
    taken: BTreeSet<u32>,
    /// The day by which expired things may have been removed.
    expired: u32,
}

#[derive(Default)]
struct Mailbox {
    /// By position: number and day of what was tried, and whether it was answered.
    delivered: BTreeMap<u64, (u32, u32, bool)>,
    tried_floor: u64,
    floor: u64,
    /// It is being deleted and made anew: it may be as it was, gone, or new.
    replacing: bool,
}

impl Answered {
    pub(super) fn note(&mut self, line: &str) {
        let (is_answer, line) = line.strip_prefix("ok ").map_or((false, line), |line| (true, line));
        let words: Vec<&str> = line.split(' ').collect();
        let at = |index: usize| words[index].parse::<u64>().unwrap();
        match words[0] {
            "begun" => self.begun = true,
            "replace" => {
                let mailbox = self.mailboxes.entry(at(1) as u8).or_default();
                *mailbox = if is_answer {
                    Mailbox::default()
                } else {
                    Mailbox { replacing: true, ..std::mem::take(mailbox) }
                };
            }
            "expire" => self.expired = at(1) as u32,
            "deliver" => {
                let mailbox = self.mailboxes.entry(at(1) as u8).or_default();
                mailbox.delivered.insert(at(2), (at(3) as u32, at(4) as u32, is_answer));
            }
            "ack" => {
                let mailbox = self.mailboxes.entry(at(1) as u8).or_default();
                mailbox.tried_floor = mailbox.tried_floor.max(at(2));
                if is_answer {
                    mailbox.floor = mailbox.floor.max(at(2));
                }
            }
            "take" if is_answer => {
                assert!(self.taken.insert(at(2) as u32), "one bundle for two");
            }
            "take" => {}
            other => panic!("{other}"),
        }
    }

    /// Opens what is left of the store, and compares.
    pub(super) fn check(&self, directory: &Path) -> Result<(), String> {
        let mut store = SqliteStore::open(directory, RETENTION).map_err(|f| f.to_string())?;
        if !self.begun {
            return Ok(());
        }
        let none = Mailbox::default();
        for n in 0..MAILBOXES {
            let expected = self.mailboxes.get(&n).unwrap_or(&none);
            if expected.replacing {
                continue;
            }
            self.check_mailbox(&mut store, n, expected).map_err(|f| format!("mailbox {n}: {f}"))?;
        }
        // Somebody else's take gets what nobody was given.
        let today = Day::new(self.expired).max(START);
        let other = Command::TakePrekey(depot(), TakeId::from_bytes([0xff; 16]));
        let answer = store.commit(today, &[other]).map_err(|f| f.to_string())?;
        match answer.into_iter().next() {
            Some(Ok(Outcome::Prekey(Prekey::OneTime(sealed))))
                if self.taken.contains(&number(&sealed)) =>
            {
                Err(format!("bundle {} is handed out again", number(&sealed)))
            }
            Some(Ok(Outcome::Prekey(_)) | Err(ErrorCode::Unknown)) => Ok(()),
            other => Err(format!("a take is answered by {other:?}")),
        }
    }

    fn check_mailbox(
        &self,
        store: &mut SqliteStore,
        n: u8,
        expected: &Mailbox,
    ) -> Result<(), String> {
        let status = Command::Status(mailbox(n));
        let today = Day::new(self.expired).max(START);
        let answer = store.commit(today, &[status]).map_err(|f| f.to_string())?;
        let Some(Ok(Outcome::Mailbox(state))) = answer.into_iter().next() else {
            return Err("it is gone".into());
        };
        let (acknowledged, expired) = (state.acknowledged.get(), state.expired.get());
        if acknowledged < expected.floor || acknowledged > expected.tried_floor {
            return Err(format!("its floor is {acknowledged}, answered {}", expected.floor));
        }
        let may_expire = |day: u32| day + RETENTION + GRACE_DAYS < self.expired;
        let passed = expected.delivered.iter().filter(|(_, (_, day, _))| may_expire(*day));
        if expired > passed.map(|(seq, _)| *seq).max().unwrap_or(0) {
            return Err(format!("{expired} has expired too early"));
        }
        let floor = acknowledged.max(expired);
        let mut reader = store.reader().map_err(|f| f.to_string())?;
        let found = reader.after(mailbox(n), Seq::new(floor), 10_000).map_err(|f| f.to_string())?;
        for (position, queued) in (floor + 1..).zip(&found) {
            let bytes = queued.envelope.as_ref().ok_or_else(|| format!("{position} is damaged"))?;
            let tried = expected.delivered.get(&position).map(|(number, ..)| *number);
            if queued.seq.get() != position
                || tried != Some(number(bytes))
                || *bytes != envelope(number(bytes))
            {
                return Err(format!("{position} is not what was delivered there"));
            }
        }
        let head = floor + found.len() as u64;
        match expected.delivered.iter().find(|(seq, (.., answered))| *answered && **seq > head) {
            Some((seq, _)) => Err(format!("{seq} was answered and is lost; the head is {head}")),
            None => Ok(()),
        }
    }
}
