//! The store: conformance of both backends, operations against the model, the schema.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use proptest::prelude::*;
use undertone_relay::store::sqlite::SqliteStore;
use undertone_relay::store::{
    Answer, Command, EndlessDisk, MemoryStore, Outcome, Store, TokenClass, conformance,
};
use undertone_wire::frame::{Acknowledgement, MailboxKind, MailboxLimits};
use undertone_wire::{Day, Floor, Incarnation, ReadKey, Seq, WriteCapability};

fn check(result: Result<(), conformance::Finding>) {
    if let Err(conformance::Finding(what)) = result {
        panic!("{what}");
    }
}

#[test]
fn the_model_conforms() {
    check(conformance::run(|| Ok(Box::new(MemoryStore::new()?))));
}

/// R-1205, among others: clocks that jump, and that are set back.
#[test]
fn sqlite_conforms() {
    let directory = tempfile::tempdir().unwrap();
    let mut number = 0;
    check(conformance::run(|| {
        number += 1;
        let path = directory.path().join(number.to_string());
        std::fs::create_dir(&path).unwrap();
        Ok(Box::new(SqliteStore::open(&path, 30)?.with_disk(Arc::new(EndlessDisk))))
    }));
}

/// Every column of every table, with what of the design's list it is. Nothing else may be stored.
const ALLOWED: &[(&str, &str, &str, &str)] = &[
    ("relay.db", "meta", "name", "of the relay itself"),
    (
        "relay.db",
        "meta",
        "value",
        "incarnation; maintenance clock; how often the operator erased something; of queue files: high-water marks, removals under way",
    ),
    ("relay.db", "mailbox", "id", "hash of the read key"),
    ("relay.db", "mailbox", "key", "read key"),
    ("relay.db", "mailbox", "kind", "kind"),
    ("relay.db", "mailbox", "expires", "expiry day"),
    ("relay.db", "mailbox", "max_envelopes", "limits"),
    ("relay.db", "mailbox", "max_bytes", "limits"),
    ("relay.db", "mailbox", "acknowledged", "floor"),
    ("relay.db", "mailbox", "expired", "floor"),
    ("relay.db", "capability", "hash", "capability: hash"),
    ("relay.db", "capability", "mailbox", "capability: mailbox"),
    ("relay.db", "depot", "id", "hash of fetch capability"),
    ("relay.db", "depot", "owner", "owner key"),
    ("relay.db", "depot", "expires", "expiry day"),
    ("relay.db", "depot", "last_resort", "sealed bundle"),
    ("relay.db", "depot", "last_take", "the last take's request id"),
    ("relay.db", "depot", "last_bundle", "sealed bundle that the last take got"),
    ("relay.db", "bundle", "position", "order of sealed bundles"),
    ("relay.db", "bundle", "depot", "which depot"),
    ("relay.db", "bundle", "sealed", "sealed bundle"),
    ("relay.db", "blob", "id", "blob: id"),
    ("relay.db", "blob", "read", "hash of capability"),
    ("relay.db", "blob", "del", "hash of capability"),
    ("relay.db", "blob", "length", "of the ciphertext"),
    ("relay.db", "blob", "hash", "of the ciphertext"),
    ("relay.db", "blob", "expires", "expiry day"),
    ("relay.db", "token", "id", "the operator's number for it"),
    ("relay.db", "token", "verifier", "token verifier"),
    ("relay.db", "token", "class", "class"),
    ("relay.db", "token", "day", "what day the counters are of"),
    ("relay.db", "token", "mailboxes", "counter"),
    ("relay.db", "token", "blob_bytes", "counter"),
    ("relay.db", "meta", "sum", "a sum over the row"),
    ("relay.db", "meta", "intact", "computed: whether the sum fits"),
    ("relay.db", "mailbox", "sum", "a sum over the row"),
    ("relay.db", "mailbox", "intact", "computed: whether the sum fits"),
    ("relay.db", "capability", "sum", "a sum over the row"),
    ("relay.db", "capability", "intact", "computed: whether the sum fits"),
    ("relay.db", "depot", "sum", "a sum over the row"),
    ("relay.db", "depot", "intact", "computed: whether the sum fits"),
    ("relay.db", "bundle", "sum", "a sum over the row"),
    ("relay.db", "bundle", "intact", "computed: whether the sum fits"),
    ("relay.db", "blob", "sum", "a sum over the row"),
    ("relay.db", "blob", "intact", "computed: whether the sum fits"),
    ("relay.db", "token", "sum", "a sum over the row"),
    ("relay.db", "token", "intact", "computed: whether the sum fits"),
    ("relay.db", "audit", "number", "operator's entry"),
    ("relay.db", "audit", "day", "operator's entry"),
    ("relay.db", "audit", "action", "operator's entry"),
    ("relay.db", "audit", "detail", "operator's entry: no client data"),
    ("relay.db", "audit", "hash", "operator's entry: chain"),
    ("keys.db", "day_key", "sum", "a sum over the row"),
    ("keys.db", "day_key", "intact", "computed: whether the sum fits"),
    ("queue.db", "floor", "sum", "a sum over the row"),
    ("queue.db", "floor", "intact", "computed: whether the sum fits"),
    ("relay.db", "sqlite_sequence", "name", "SQLite's own: tables"),
    ("relay.db", "sqlite_sequence", "seq", "SQLite's own: largest row number"),
    ("keys.db", "day_key", "day", "expiry day"),
    ("keys.db", "day_key", "key", "of the relay itself"),
    ("queue.db", "envelope", "arrival", "row number"),
    ("queue.db", "envelope", "tag", "mailbox, under the day key"),
    ("queue.db", "envelope", "seq", "sequence number"),
    ("queue.db", "envelope", "mark", "16-byte hash and 8 bytes to check it by, under the day key"),
    ("queue.db", "envelope", "sealed", "ciphertext"),
    ("queue.db", "known", "tag", "mailbox, under the day key"),
    ("queue.db", "known", "seq", "sequence number"),
    ("queue.db", "known", "mark", "16-byte hash and 8 bytes to check it by, under the day key"),
    ("queue.db", "floor", "tag", "mailbox, under the day key"),
    ("queue.db", "floor", "acknowledged", "floor"),
    ("queue.db", "sqlite_sequence", "name", "SQLite's own: tables"),
    ("queue.db", "sqlite_sequence", "seq", "SQLite's own: largest row number"),
];

/// R-1201
#[test]
fn nothing_is_stored_that_is_not_on_the_list() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    populate(&mut store);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let kind = match name.as_str() {
            "relay.db" | "keys.db" => name.clone(),
            queue if queue.starts_with("queue-") && queue.ends_with(".db") => "queue.db".into(),
            wal if wal.ends_with("-wal") || wal.ends_with("-shm") => continue,
            other => panic!("a file that is not on the list: {other}"),
        };
        let db = rusqlite::Connection::open(directory.path().join(&name)).unwrap();
        let mut tables = db
            .prepare("SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_xinfo(m.name) c WHERE m.type IN ('table', 'view')")
            .unwrap();
        let rows = tables.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        for row in rows {
            let (table, column): (String, String) = row.unwrap();
            found.push((kind.clone(), table, column));
        }
    }
    for (file, table, column) in &found {
        assert!(
            ALLOWED.iter().any(|(f, t, c, _)| f == file && t == table && c == column),
            "{file}: {table}.{column} is not on the list of what the relay may hold"
        );
    }
    for (file, table, column, _) in ALLOWED {
        let there = (file.to_string(), table.to_string(), column.to_string());
        assert!(found.contains(&there), "{there:?} is on the list and does not exist");
    }
}

/// What is in the tables, without what is random in it.
fn stored(directory: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    for table in undertone_relay::operator::inspect(directory).unwrap().tables {
        for row in table.rows {
            let random = |name: &str| ["tag", "mark", "sealed", "key", "sum"].contains(&name);
            let fields = row.fields.iter().filter(|field| !random(&field.name));
            let fields: Vec<_> =
                fields.map(|field| format!("{}={}", field.name, field.shown())).collect();
            let row = format!("{} {}: {}", table.file, table.name, fields.join(" "));
            // Incarnations differ, and files that are no row.
            if !row.contains("incarnation") {
                found.push(row);
            }
        }
    }
    found
}

#[test]
fn what_is_stored_does_not_tell_who_wrote() {
    let senders = [[1, 2, 1, 2], [1, 1, 2, 2], [2, 2, 2, 2]];
    let stores = senders.map(|senders| {
        let directory = tempfile::tempdir().unwrap();
        let layout = undertone_relay::operator::Layout::new(directory.path());
        std::fs::create_dir(layout.store()).unwrap();
        std::fs::create_dir(layout.blobs()).unwrap();
        let mut store = open(&layout.store());
        let batch = [Command::AddToken(TOKEN, TokenClass::Unlimited), create(1, &[1, 2])];
        store.commit(TODAY, &batch).unwrap();
        for (n, sender) in (0..).zip(senders) {
            let answer = store.commit(TODAY, &[deliver(sender, n)]).unwrap().remove(0);
            assert!(matches!(answer, Ok(Outcome::Delivered { new: Some(_), .. })), "{answer:?}");
        }
        Box::new(store).close().unwrap();
        stored(directory.path())
    });
    let envelopes = stores[0].iter().filter(|row| row.contains(" envelope: ")).count();
    assert_eq!(envelopes, 4, "{:?}", stores[0]);
    assert_eq!(stores[0], stores[1]);
    assert_eq!(stores[0], stores[2]);
}

fn open(directory: &std::path::Path) -> SqliteStore {
    SqliteStore::open(directory, 30).unwrap().with_disk(Arc::new(EndlessDisk))
}

const TOKEN: [u8; 32] = [9; 32];
const TODAY: Day = Day::new(20_000);

fn key(n: u8) -> ReadKey {
    ReadKey::from_bytes([n; 32])
}

fn hash(n: u8) -> undertone_wire::WriteCapabilityHash {
    WriteCapability::from_bytes([n; 32]).hash()
}

fn create(n: u8, capabilities: &[u8]) -> Command {
    Command::CreateMailbox {
        key: key(n),
        token: TOKEN,
        kind: MailboxKind::Queue,
        limits: None,
        capabilities: capabilities.iter().map(|n| hash(*n)).collect(),
    }
}

fn deliver(to: u8, n: u8) -> Command {
    Command::Deliver { capability: hash(to), envelope: vec![n; 1024] }
}

fn populate(store: &mut dyn Store) {
    let batch =
        [Command::AddToken(TOKEN, TokenClass::Unlimited), create(1, &[1]), deliver(1, 0xab)];
    for answer in store.commit(TODAY, &batch).unwrap() {
        answer.unwrap();
    }
}

#[test]
fn a_queue_file_is_unintelligible_without_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    populate(&mut store);
    let contains = |name: &str, needle: &[u8]| {
        let bytes = std::fs::read(directory.path().join(name)).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    };
    let id = key(1).mailbox();
    let (queue, wal) = ("queue-20030.db", "queue-20030.db-wal");
    for file in [queue, wal] {
        assert!(!contains(file, &[0xab; 16]), "the envelope is wrapped");
        assert!(!contains(file, id.as_bytes()), "the mailbox is not named");
        assert!(!contains(file, undertone_wire::EnvelopeHash::of(&[0xab; 1024]).as_bytes()));
    }
    // The same search finds what is stored plainly elsewhere, so it can find something.
    assert!(contains("relay.db-wal", id.as_bytes()));
    // With the key it opens.
    let found = store.reader().unwrap().after(id, Seq::new(0), 9).unwrap();
    assert_eq!(found[0].envelope.as_deref(), Some([0xab; 1024].as_slice()));
}

#[test]
fn a_changed_byte_is_reported_and_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    populate(&mut store);
    Box::new(store).close().unwrap();
    let db = rusqlite::Connection::open(directory.path().join("queue-20030.db")).unwrap();
    db.execute("UPDATE envelope SET sealed = zeroblob(length(sealed))", []).unwrap();
    db.close().unwrap();
    let store = open(directory.path());
    let found = store.reader().unwrap().after(key(1).mailbox(), Seq::new(0), 9).unwrap();
    assert_eq!((found[0].seq.get(), &found[0].envelope), (1, &None));
}

#[test]
fn a_lost_key_and_an_older_queue_file_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = open(directory.path());
    populate(&mut store);
    Box::new(store).close().unwrap();
    let queue = directory.path().join("queue-20030.db");
    let older = std::fs::read(&queue).unwrap();
    let mut store = open(directory.path());
    store.commit(TODAY, &[deliver(1, 2)]).unwrap();
    Box::new(store).close().unwrap();
    let newer = std::fs::read(&queue).unwrap();
    std::fs::write(&queue, older).unwrap();
    let failure = SqliteStore::open(directory.path(), 30).map(|_| ()).unwrap_err();
    assert!(failure.to_string().contains("older than the rest"), "{failure}");
    std::fs::write(&queue, newer).unwrap();
    SqliteStore::open(directory.path(), 30).unwrap();

    let keys = rusqlite::Connection::open(directory.path().join("keys.db")).unwrap();
    keys.execute("DELETE FROM day_key", []).unwrap();
    keys.close().unwrap();
    let failure = SqliteStore::open(directory.path(), 30).map(|_| ()).unwrap_err();
    assert!(failure.to_string().contains("key of a queue file is missing"), "{failure}");
}

#[derive(Clone, Debug)]
enum Step {
    Run(Op),
    NextDay(u8),
    Expire,
    Reopen,
}

#[derive(Clone, Debug)]
enum Op {
    Create(u8, Vec<u8>),
    Deliver(u8, u8),
    /// So many different ones in a row.
    Burst(u8, u8, u8),
    Acknowledge(u8, u64),
    Limits(u8, u32),
    Revoke(u8, u8),
    Delete(u8),
    Visit(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_u8, prop::collection::vec(0..5_u8, 0..3)).prop_map(|(m, c)| Step::Run(Op::Create(m, c))),
        12 => (0..5_u8, any::<u8>()).prop_map(|(c, n)| Step::Run(Op::Deliver(c, n))),
        4 => (0..5_u8, any::<u8>(), 0..90_u8).prop_map(|(c, n, count)| Step::Run(Op::Burst(c, n, count))),
        6 => (0..3_u8, prop_oneof![0..30_u64, 0..300_u64]).prop_map(|(m, f)| Step::Run(Op::Acknowledge(m, f))),
        1 => (0..3_u8, prop_oneof![0..20_u32, 60..200_u32]).prop_map(|(m, n)| Step::Run(Op::Limits(m, n))),
        1 => (0..3_u8, 0..5_u8).prop_map(|(m, c)| Step::Run(Op::Revoke(m, c))),
        1 => (0..3_u8).prop_map(|m| Step::Run(Op::Delete(m))),
        1 => (0..3_u8).prop_map(|m| Step::Run(Op::Visit(m))),
        2 => (0..20_u8).prop_map(Step::NextDay),
        2 => Just(Step::Expire),
        2 => Just(Step::Reopen),
    ]
}

fn commands(op: &Op, incarnation: Incarnation) -> Vec<Command> {
    let id = |m: &u8| key(*m).mailbox();
    vec![match op {
        Op::Burst(c, n, count) => {
            return (0..*count).map(|more| deliver(*c, n.wrapping_add(more))).collect();
        }
        Op::Create(m, c) => create(*m, c),
        Op::Deliver(c, n) => deliver(*c, *n),
        Op::Acknowledge(m, floor) => Command::Acknowledge(Acknowledgement {
            mailbox: id(m),
            incarnation,
            floor: Floor::new(*floor),
        }),
        Op::Limits(m, n) => {
            Command::SetLimits(id(m), MailboxLimits { envelopes: *n, bytes: 199_999 })
        }
        Op::Revoke(m, c) => Command::RevokeCapabilities(id(m), vec![hash(*c)]),
        Op::Delete(m) => Command::DeleteMailbox(id(m)),
        Op::Visit(m) => Command::Visit(id(m)),
    }]
}

/// Incarnations differ between two stores; everything else must be equal.
fn comparable(answer: Answer) -> Answer {
    answer.map(|outcome| match outcome {
        Outcome::Mailbox(mut state) => {
            state.incarnation = Incarnation::from_bytes([0; 16]);
            Outcome::Mailbox(state)
        }
        other => other,
    })
}

fn incarnation_of(store: &mut dyn Store) -> Incarnation {
    match store.commit(TODAY, &[create(100, &[])]).unwrap().pop() {
        Some(Ok(Outcome::Mailbox(state))) => state.incarnation,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// SQLite answers like the model whatever happens, reopened without having been closed (R-1206).
    #[test]
    fn sqlite_behaves_like_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let directory = tempfile::tempdir().unwrap();
        let mut sqlite = Box::new(open(directory.path()));
        let mut model = MemoryStore::new().unwrap();
        let mut today = TODAY;
        for store in [&mut *sqlite as &mut dyn Store, &mut model] {
            store.commit(today, &[Command::AddToken(TOKEN, TokenClass::Unlimited)]).unwrap();
        }
        let incarnations = (incarnation_of(&mut *sqlite), incarnation_of(&mut model));
        for step in &steps {
            match step {
                Step::Run(op) => {
                    let left = sqlite.commit(today, &commands(op, incarnations.0)).unwrap();
                    let right = model.commit(today, &commands(op, incarnations.1)).unwrap();
                    let left: Vec<_> = left.into_iter().map(comparable).collect();
                    let right: Vec<_> = right.into_iter().map(comparable).collect();
                    prop_assert_eq!(left, right, "{:?}", op);
                }
                Step::NextDay(days) => today = today.plus(u32::from(*days)),
                Step::Expire => {
                    // As many times as it takes: only some files go at a time.
                    for _ in 0..32 {
                        sqlite.expire(today, u32::MAX).unwrap();
                        model.expire(today, u32::MAX).unwrap();
                    }
                }
                Step::Reopen => {
                    drop(sqlite);
                    sqlite = Box::new(open(directory.path()));
                    model.restart();
                }
            }
            for n in 0..3 {
                let id = key(n).mailbox();
                let left = sqlite.commit(today, &[Command::Status(id)]).unwrap().remove(0);
                let right = model.commit(today, &[Command::Status(id)]).unwrap().remove(0);
                prop_assert_eq!(comparable(left.clone()), comparable(right));
                if let Ok(Outcome::Mailbox(state)) = left {
                    let floor = Seq::new(state.acknowledged.get().max(state.expired.get()));
                    let left = sqlite.reader().unwrap().after(id, floor, 999).unwrap();
                    let right = model.reader().unwrap().after(id, floor, 999).unwrap();
                    let contiguous = (floor.get() + 1..=state.head.get()).map(Seq::new);
                    prop_assert!(left.iter().map(|q| q.seq).eq(contiguous));
                    prop_assert_eq!(left, right);
                }
            }
        }
    }
}
