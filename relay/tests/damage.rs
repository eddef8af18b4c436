//! A disk that gives back something else than was written: it is reported, and never served.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use undertone_relay::operator::check;
use undertone_relay::store::sqlite::SqliteStore;
use undertone_relay::store::{
    Command, DepotFill, EndlessDisk, Outcome, Prekey, Store, StoreFailure, TokenClass,
};
use undertone_wire::frame::{Acknowledgement, FillMode, MailboxKind, MailboxState};
use undertone_wire::*;

const TODAY: Day = Day::new(20_000);
const TOKEN: [u8; 32] = [9; 32];
const MAILBOXES: u8 = 3;

fn key(n: u8) -> ReadKey {
    ReadKey::from_bytes([n; 32])
}

fn envelope(n: u8, number: u8) -> Vec<u8> {
    let mut bytes = vec![n, number];
    bytes.resize(1024, 0x5a);
    bytes
}

fn capability(n: u8) -> WriteCapabilityHash {
    WriteCapability::from_bytes([n; 32]).hash()
}

fn take(n: u8) -> Command {
    Command::TakePrekey(DepotId::from_bytes([1; 32]), TakeId::from_bytes([n; 16]))
}

/// A relay's directory as far as the store goes: closed in order if wanted.
fn populate(directory: &Path, close: bool) {
    let path = directory.join("store");
    std::fs::create_dir(&path).unwrap();
    std::fs::create_dir(directory.join("blobs")).unwrap();
    let store = SqliteStore::open(&path, 30).unwrap();
    let mut store = store.with_disk(Arc::new(EndlessDisk));
    let mut batch = vec![Command::AddToken(TOKEN, TokenClass::Unlimited)];
    for n in 0..MAILBOXES {
        batch.push(Command::CreateMailbox {
            key: key(n),
            token: TOKEN,
            kind: MailboxKind::Queue,
            limits: None,
            capabilities: vec![capability(n)],
        });
    }
    batch.push(Command::FillDepot(DepotFill {
        depot: DepotId::from_bytes([1; 32]),
        owner: DepotKey::from_bytes([2; 32]),
        token: TOKEN,
        mode: FillMode::Add,
        one_time: vec![vec![0xb1; 4096], vec![0xb2; 4096]],
        last_resort: None,
        expires: TODAY.plus(20),
    }));
    for answer in store.commit(TODAY, &batch).unwrap() {
        answer.unwrap();
    }
    for number in 0..12 {
        let deliver =
            |n| Command::Deliver { capability: capability(n), envelope: envelope(n, number) };
        for answer in store.commit(TODAY, &(0..MAILBOXES).map(deliver).collect::<Vec<_>>()).unwrap()
        {
            answer.unwrap();
        }
    }
    let floor = Acknowledgement {
        mailbox: key(1).mailbox(),
        incarnation: store.incarnation(),
        floor: Floor::new(4),
    };
    store.commit(TODAY, &[Command::Acknowledge(floor), take(1)]).unwrap();
    if close {
        Box::new(store).close().unwrap();
    }
}

/// What a store shows of itself, as far as clients see it.
#[derive(PartialEq, Eq, Debug)]
struct Shown {
    states: Vec<Result<MailboxState, ErrorCode>>,
    envelopes: BTreeMap<(u8, u64), Option<Vec<u8>>>,
    delivered: Vec<Result<Outcome, ErrorCode>>,
    prekey: Result<Outcome, ErrorCode>,
}

fn look(directory: &Path) -> Result<Shown, StoreFailure> {
    let store = SqliteStore::open(&directory.join("store"), 30)?;
    let mut store = store.with_disk(Arc::new(EndlessDisk));
    let mut shown = Shown {
        states: Vec::new(),
        envelopes: BTreeMap::new(),
        delivered: Vec::new(),
        prekey: Err(ErrorCode::Internal),
    };
    let mut reader = store.reader()?;
    for n in 0..MAILBOXES {
        let state = match store.commit(TODAY, &[Command::Status(key(n).mailbox())])?.remove(0) {
            Ok(Outcome::Mailbox(state)) => Ok(state),
            Err(code) => Err(code),
            other => panic!("{other:?}"),
        };
        if let Ok(state) = state {
            let floor = state.acknowledged.get().max(state.expired.get());
            for queued in reader.after(key(n).mailbox(), Seq::new(floor), 100)? {
                shown.envelopes.insert((n, queued.seq.get()), queued.envelope);
            }
        }
        shown.states.push(state);
        // A repeat, and with it the capability and the mark.
        let repeat = Command::Deliver { capability: capability(n), envelope: envelope(n, 11) };
        shown.delivered.push(store.commit(TODAY, &[repeat])?.remove(0));
    }
    shown.prekey = store.commit(TODAY, &[take(2)])?.remove(0);
    Ok(shown)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn long() -> bool {
    std::env::var_os("UNDERTONE_LONG").is_some()
}

/// What is wrong with what a damaged store shows; nothing if it is reported or as it was.
fn judge(good: &Shown, found: &Result<Shown, StoreFailure>, reported: bool) -> Option<String> {
    let Ok(found) = found else { return None };
    for (place, envelope) in &found.envelopes {
        if envelope.is_some() && good.envelopes.get(place) != Some(envelope) {
            return Some(format!("{place:?} is served and is not what was written"));
        }
    }
    if let Ok(Outcome::Prekey(Prekey::OneTime(sealed))) = &found.prekey
        && *sealed != vec![0xb2; 4096]
    {
        return Some("a bundle is served that is not what was written".into());
    }
    (found != good && !reported)
        .then(|| format!("something else is shown, and not reported: {found:?}"))
}

/// R-1208
#[test]
fn a_flipped_byte_anywhere_is_reported_and_never_served() {
    let original = scratch();
    populate(original.path(), true);
    let looked = scratch();
    copy(original.path(), looked.path());
    let good = look(looked.path()).unwrap();
    assert_eq!(good.envelopes.len(), 12 * 3 - 4);
    let (mut tried, mut harmless) = (0, 0);
    for name in ["relay.db", "keys.db", "queue-20030.db"] {
        let bytes = std::fs::read(original.path().join("store").join(name)).unwrap();
        // Coprime with the sizes of pages and rows.
        let step = if long() { 1 } else { bytes.len() / 60 + 1 } | 1;
        for at in (0..bytes.len()).step_by(step) {
            let damaged = scratch();
            copy(original.path(), damaged.path());
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(damaged.path().join("store").join(name), flipped).unwrap();
            let reported = check(damaged.path()).map_or(true, |faults| !faults.is_empty());
            let found = look(damaged.path());
            let same = found.as_ref().is_ok_and(|found| *found == good);
            (tried, harmless) = (tried + 1, harmless + usize::from(same));
            if let Some(fault) = judge(&good, &found, reported) {
                panic!("byte {at} of {name}: {fault}");
            }
        }
    }
    println!("{tried} bytes, {harmless} of them where nothing is");
    assert!(tried > 100 && harmless < tried);
}

#[test]
fn a_torn_or_truncated_last_write_loses_nothing_that_was_answered() {
    let original = scratch();
    populate(original.path(), false);
    let looked = scratch();
    copy(original.path(), looked.path());
    let good = look(looked.path()).unwrap();
    for name in ["relay.db-wal", "queue-20030.db-wal"] {
        let whole = std::fs::read(original.path().join("store").join(name)).unwrap();
        // Part of a frame that was being written, of which the rest may be anything.
        for torn in [1, 23, 24, 25, 2000, 4096 + 24, 9000] {
            for fill in [0_u8, 0xff] {
                let damaged = scratch();
                copy(original.path(), damaged.path());
                let mut longer = whole.clone();
                longer.extend(
                    whole[32..32 + torn.min(whole.len() - 32)].iter().map(|byte| byte ^ fill),
                );
                std::fs::write(damaged.path().join("store").join(name), longer).unwrap();
                assert_eq!(look(damaged.path()).unwrap(), good, "{torn} bytes behind {name}");
                assert_eq!(check(damaged.path()).unwrap(), Vec::<String>::new());
            }
        }
    }
}
