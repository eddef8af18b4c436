//! What only shows inside: orders of commits, and what a crash between two steps leaves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use undertone_wire::frame::MailboxKind;
use undertone_wire::{Floor, ReadKey, WriteCapability};

use super::*;
use crate::store::TokenClass;

const TODAY: Day = Day::new(20_000);
const TOKEN: [u8; 32] = [9; 32];

fn key() -> ReadKey {
    ReadKey::from_bytes([1; 32])
}

fn deliver(n: u8) -> Command {
    let capability = WriteCapability::from_bytes([1; 32]).hash();
    Command::Deliver { capability, envelope: vec![n; 1024] }
}

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(directory, 30).unwrap().with_disk(Arc::new(crate::store::EndlessDisk))
}

fn acknowledge(store: &SqliteStore, floor: u64) -> Command {
    Command::Acknowledge(Acknowledgement {
        mailbox: key().mailbox(),
        incarnation: store.incarnation(),
        floor: Floor::new(floor),
    })
}

fn run(store: &mut SqliteStore, today: Day, batch: &[Command]) {
    for answer in store.commit(today, batch).unwrap() {
        answer.unwrap();
    }
}

/// A store with one mailbox, to which one envelope was delivered.
fn populated(directory: &Path) -> SqliteStore {
    let mut store = open(directory);
    let create = Command::CreateMailbox {
        key: key(),
        token: TOKEN,
        kind: MailboxKind::Queue,
        limits: None,
        capabilities: vec![WriteCapability::from_bytes([1; 32]).hash()],
    };
    let admit = Command::AddToken(TOKEN, TokenClass::Unlimited);
    run(&mut store, TODAY, &[admit, create, deliver(1)]);
    store
}

fn state(store: &mut SqliteStore, today: Day) -> undertone_wire::frame::MailboxState {
    match store.commit(today, &[Command::Status(key().mailbox())]).unwrap().pop() {
        Some(Ok(Outcome::Mailbox(state))) => state,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_floor_deletes_is_not_durable_before_the_floor() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = populated(directory.path());
    let tomorrow = TODAY.plus(1);
    run(&mut store, tomorrow, &[deliver(2)]);
    let acknowledged = acknowledge(&store, 1);
    assert!(store.execute(tomorrow, &acknowledged).unwrap().is_ok());
    // The newest file, in which the floor is, cannot commit: a constraint is checked only there.
    let newest = store.newest.unwrap();
    store.queues[&newest].break_commit();
    assert!(store.commit_all().is_err());
    drop(store);
    let mut store = open(directory.path());
    let state = state(&mut store, tomorrow);
    assert_eq!((state.acknowledged.get(), state.head.get(), state.bytes), (0, 2, 2048));
}

/// The files in a directory that belong to a day, and whether it has a key.
fn left_of(directory: &Path, day: Day) -> (usize, bool) {
    let name = Database::Queue(day).file_name();
    let files = std::fs::read_dir(directory).unwrap();
    let count = files
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(&name))
        .count();
    let keys = schema::open(directory, Database::Keys, Upgrading::No).unwrap();
    (count, queue::read_key(&keys, day).unwrap().is_some())
}

#[test]
fn a_removal_that_was_begun_is_finished_wherever_it_stopped() {
    let day = TODAY.plus(30);
    for stopped in 0..4 {
        let directory = tempfile::tempdir().unwrap();
        let mut store = populated(directory.path());
        let id = key().mailbox();
        store.records.raise_floors(id, 0, 1).unwrap();
        store.records.begin_removal(day).unwrap();
        store.records.commit().unwrap();
        if stopped >= 1 {
            store.key_database.execute("DELETE FROM day_key WHERE day = ?1", [day.get()]).unwrap();
        }
        drop(store);
        if stopped >= 2 {
            let name = Database::Queue(day).file_name();
            std::fs::remove_file(directory.path().join(&name)).unwrap();
            if stopped >= 3 {
                schema::remove_queue(directory.path(), day).unwrap();
            }
        }
        let mut store = open(directory.path());
        assert_eq!(left_of(directory.path(), day), (0, false), "stopped at {stopped}");
        assert_eq!(store.records.removals().unwrap(), []);
        let state = state(&mut store, TODAY.plus(40));
        assert_eq!((state.expired.get(), state.head.get(), state.bytes), (1, 1, 0));
        // The day can be had again: the clock was set back.
        run(&mut store, TODAY, &[deliver(1)]);
        drop(store);
        let store = open(directory.path());
        assert_eq!(
            store.reader().unwrap().after(id, undertone_wire::Seq::new(1), 9).unwrap().len(),
            1
        );
    }
}

#[test]
fn a_removal_waits_until_the_key_is_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = populated(directory.path());
    let day = TODAY.plus(30);
    let secret = queue::read_key(&store.key_database, day).unwrap().unwrap();
    let holds = |suffix: &str| {
        let path = directory.path().join(format!("keys.db{suffix}"));
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(32).any(|window| window == secret)
    };
    assert!(holds("-wal"));
    // A reader that looks at an earlier state, as `inspect` may.
    let mut reader = schema::open_read_only(directory.path(), Database::Keys).unwrap();
    let looking = reader.transaction().unwrap();
    assert!(queue::read_key(&looking, day).unwrap().is_some());
    store.key_database.busy_timeout(std::time::Duration::ZERO).unwrap();
    store.remove_queue(day).unwrap();
    assert_eq!(store.records.removals().unwrap(), [day]);
    drop(looking);
    store.expire(TODAY, 1).unwrap();
    assert_eq!(store.records.removals().unwrap(), []);
    assert!(!holds("-wal") && !holds(""));
}

/// Acknowledged envelopes leave more free pages in the newest file than go in one slice.
fn with_free_pages(directory: &Path) -> SqliteStore {
    let mut store = populated(directory);
    let capability = WriteCapability::from_bytes([1; 32]).hash();
    let large = |n: u8| Command::Deliver { capability, envelope: vec![n; 65_536] };
    let batch: Vec<Command> = (0..200).map(large).collect();
    run(&mut store, TODAY, &batch);
    let acknowledged = acknowledge(&store, 201);
    run(&mut store, TODAY, &[acknowledged]);
    store
}

#[test]
fn who_looks_for_long_stops_nobody_who_writes() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = with_free_pages(directory.path());
    let day = store.newest.unwrap();
    let mut looking = Vec::new();
    for database in [Database::Relay, Database::Keys, Database::Queue(day)] {
        let reader = schema::open_read_only(directory.path(), database).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").unwrap();
        looking.push(reader);
    }
    let begun = std::time::Instant::now();
    store.expire(TODAY, 1).unwrap();
    store.shrink().unwrap();
    // Another day: the file of today is retired.
    run(&mut store, TODAY.plus(1), &[deliver(2)]);
    let erased = Command::Audit(Action::Checked);
    let mut operator = SqliteStore::open_records_only(directory.path()).unwrap();
    operator.erase_mailbox(TODAY, key().mailbox(), erased).unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_secs(8), "{:?}", begun.elapsed());
    drop(looking);
}

#[test]
fn who_writes_for_long_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = populated(directory.path());
    let day = store.newest.unwrap();
    store.queues[&day].connection().busy_timeout(std::time::Duration::ZERO).unwrap();
    let other = schema::open_there(directory.path(), Database::Queue(day)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let writing = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        other.execute_batch("ROLLBACK").unwrap();
    });
    run(&mut store, TODAY, &[deliver(2)]);
    writing.join().unwrap();
    assert_eq!(state(&mut store, TODAY).head.get(), 2);
}

fn free_pages(store: &SqliteStore) -> u32 {
    let count = |queue: &Queue| -> u32 {
        queue.connection().pragma_query_value(None, "freelist_count", |row| row.get(0)).unwrap()
    };
    store.queues.values().map(count).sum()
}

#[test]
fn all_that_is_free_is_given_back_in_slices() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = with_free_pages(directory.path());
    // An older file is as full of nothing as the newest.
    run(&mut store, TODAY.plus(1), &[deliver(2)]);
    assert!(free_pages(&store) > 3000, "{}", free_pages(&store));
    let mut slices = 1;
    while store.shrink().unwrap() {
        slices += 1;
    }
    assert!(slices > 2, "{slices} slices");
    assert_eq!(free_pages(&store), 0);
}

/// So large, and with nothing on it but the store.
struct SmallDisk(u64);

impl Disk for SmallDisk {
    fn free(&self, path: &Path) -> std::io::Result<u64> {
        let files = std::fs::read_dir(path)?.map(|entry| Ok(entry?.metadata()?.len()));
        let used: u64 = files.collect::<std::io::Result<Vec<_>>>()?.iter().sum();
        Ok(self.0.saturating_sub(used))
    }
}

/// R-1209
#[test]
fn what_an_older_file_has_free_is_room_for_what_comes() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_free_pages(directory.path());
    let tomorrow = TODAY.plus(1);
    let mut store = store.with_disk(Arc::new(SmallDisk(14 << 20)));
    let disk = crate::store::DiskLimits { free_floor: 8 << 20, ..Default::default() };
    store.set_policy(&Policy { disk, ..Policy::default() });
    let mut refused = 0;
    while store.commit(tomorrow, &[deliver(2)]).unwrap().pop().unwrap().is_err() {
        refused += 1;
        assert!(refused < 20, "no room for ever");
    }
    assert!(refused > 0, "there was room from the first");
}

/// Writes rows with sums that are not theirs.
fn damage(directory: &Path, database: Database, sql: &str) {
    use rusqlite::functions::FunctionFlags;
    let connection = Connection::open(directory.join(database.file_name())).unwrap();
    let flags = FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("row_sum", -1, flags, |_| Ok(0_i64)).unwrap();
    assert!(connection.execute(sql, []).unwrap() > 0);
}

/// R-1206
#[test]
fn a_floor_that_is_damaged_gives_no_number_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = populated(directory.path());
    let all = acknowledge(&store, 3);
    run(&mut store, TODAY, &[deliver(2), deliver(3), all]);
    let day = store.newest.unwrap();
    damage(directory.path(), Database::Queue(day), "UPDATE floor SET acknowledged = 7");
    store.remove_queue(day).unwrap();
    assert_eq!(state(&mut store, TODAY).head.get(), 3);
}

#[test]
fn a_backup_waits_for_whichever_file_is_written_to() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = populated(directory.path());
    // A retention that became shorter: the file in use is not the last.
    store.retention = 1;
    run(&mut store, TODAY, &[deliver(2)]);
    assert!(store.newest < store.queues.keys().next_back().copied());
    store.current(TODAY).unwrap().begin().unwrap();
    assert!(backup::Snapshot::under_lock(directory.path()).unwrap().is_none());
    store.commit_all().unwrap();
    assert!(backup::Snapshot::under_lock(directory.path()).unwrap().is_some());
}

#[test]
fn what_is_deleted_in_the_records_is_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = populated(directory.path());
    store.records.checkpoint().unwrap();
    let id = key().mailbox();
    let holds = || {
        let bytes = std::fs::read(directory.path().join("relay.db")).unwrap();
        bytes.windows(32).any(|window| window == id.as_bytes())
    };
    assert!(holds());
    run(&mut store, TODAY, &[Command::DeleteMailbox(id)]);
    store.records.checkpoint().unwrap();
    assert!(!holds());
}

#[test]
fn a_store_of_which_a_part_is_missing_is_damaged_and_not_new() {
    let queue = Database::Queue(TODAY.plus(30)).file_name();
    for missing in ["relay.db", "keys.db", queue.as_str()] {
        for orderly in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let store = populated(directory.path());
            if orderly {
                Box::new(store).close().unwrap();
            } else {
                drop(store);
            }
            for suffix in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(directory.path().join(format!("{missing}{suffix}")));
            }
            let before = std::fs::read_dir(directory.path()).unwrap().count();
            let failure = SqliteStore::open(directory.path(), 30).map(|_| ()).unwrap_err();
            assert!(matches!(failure, StoreFailure::Damaged(_)), "{missing}: {failure}");
            if missing != queue {
                let after = std::fs::read_dir(directory.path()).unwrap().count();
                assert_eq!(before, after, "nothing was made in its place");
            }
        }
    }
}

#[test]
fn a_crash_between_a_day_s_key_and_its_file_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let insert = "INSERT INTO day_key (day, key) VALUES (20030, randomblob(32))";
    store.key_database.execute(insert, []).unwrap();
    drop(store);
    drop(populated(directory.path()));
    open(directory.path());
}

#[test]
fn restarts_do_not_hurry_a_clock_that_was_set_ahead() {
    let directory = tempfile::tempdir().unwrap();
    drop(populated(directory.path()));
    let ahead = TODAY.plus(3652);
    // Fifteen days of uptime make thirty; the envelope goes after 32.
    for _ in 0..15 {
        for _ in 0..10 {
            let mut store = open(directory.path());
            run(&mut store, ahead, &[Command::Status(key().mailbox())]);
            assert_eq!(store.expire(ahead, 0).unwrap(), Removed::default());
        }
        open(directory.path()).expire(ahead, 24).unwrap();
    }
    let mut store = open(directory.path());
    assert_eq!((state(&mut store, ahead).expired.get(), state(&mut store, ahead).bytes), (0, 1024));
    store.expire(ahead, 36).unwrap();
    assert_eq!(state(&mut store, ahead).expired.get(), 1);
}

#[test]
fn a_queue_file_of_the_version_before_is_brought_up_and_its_hashes_move() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = populated(directory.path());
    let acknowledged = acknowledge(&store, 2);
    run(&mut store, TODAY, &[deliver(2), deliver(3), acknowledged]);
    drop(store);
    // As that version left it: what is acknowledged stands among the others, without its bytes.
    for name in ["relay.db", "keys.db", &Database::Queue(TODAY.plus(30)).file_name()] {
        let db = Connection::open(directory.path().join(name)).unwrap();
        if name.starts_with("queue") {
            db.execute_batch(
                "INSERT INTO envelope (tag, seq, mark) SELECT tag, seq, mark FROM known;
                 DROP TABLE known;",
            )
            .unwrap();
        }
        db.pragma_update(None, "user_version", 2).unwrap();
    }
    let mut store = open(directory.path());
    let known = |store: &SqliteStore| -> u32 {
        let queue = store.queues.values().next().unwrap().connection();
        queue.query_row("SELECT count(*) FROM known", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(known(&store), 0);
    for n in [2, 3] {
        let again = store.commit(TODAY, &[deliver(n)]).unwrap().pop().unwrap();
        assert!(matches!(again, Ok(Outcome::Delivered { new: None, .. })));
    }
    let acknowledged = acknowledge(&store, 3);
    run(&mut store, TODAY, &[acknowledged]);
    assert_eq!(known(&store), 3);
    drop(store);
    let mut store = open(directory.path());
    let again = store.commit(TODAY, &[deliver(2)]).unwrap().pop().unwrap();
    assert!(matches!(again, Ok(Outcome::Delivered { new: None, .. })));
}

/// R-1205
#[test]
fn a_clock_that_is_behind_shortens_no_mailbox_s_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = populated(directory.path());
    // The machine's clock is 200 days behind when a mailbox is made and when its owner comes.
    let behind = Day::new(TODAY.get() - 200);
    let other = ReadKey::from_bytes([2; 32]);
    let create = Command::CreateMailbox {
        key: other,
        token: TOKEN,
        kind: MailboxKind::Queue,
        limits: None,
        capabilities: Vec::new(),
    };
    run(&mut store, behind, &[create, Command::Visit(key().mailbox())]);
    assert_eq!(store.expire(TODAY, 1).unwrap(), Removed::default());
    run(&mut store, TODAY, &[Command::Status(other.mailbox())]);
}

fn fill(owner: u8, expires: Day) -> Command {
    Command::FillDepot(crate::store::DepotFill {
        depot: undertone_wire::DepotId::from_bytes([3; 32]),
        owner: undertone_wire::DepotKey::from_bytes([owner; 32]),
        token: TOKEN,
        mode: undertone_wire::frame::FillMode::Add,
        one_time: vec![vec![owner; 4096]],
        last_resort: None,
        expires,
    })
}

/// R-1205, R-1208
#[test]
fn a_fill_removes_no_depot_by_a_clock_that_is_ahead_and_no_damaged_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = populated(directory.path());
    run(&mut store, TODAY, &[fill(1, TODAY.plus(20))]);
    let ahead = TODAY.plus(1000);
    let other = store.commit(ahead, &[fill(2, ahead.plus(20))]).unwrap().pop().unwrap();
    assert_eq!(other, Err(ErrorCode::Unknown));
    damage(directory.path(), Database::Relay, "UPDATE depot SET expires = 7");
    let damaged = store.commit(TODAY, &[fill(2, TODAY.plus(20))]).unwrap().pop().unwrap();
    assert_eq!(damaged, Err(ErrorCode::Damaged));
}

/// R-1208
#[test]
fn a_mailbox_that_is_damaged_while_it_is_remembered_stays_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = populated(directory.path());
    damage(directory.path(), Database::Relay, "UPDATE mailbox SET expired = 7");
    let id = key().mailbox();
    let limits = undertone_wire::frame::MailboxLimits { envelopes: 5, bytes: 1 << 20 };
    let answers = store.commit(TODAY, &[Command::SetLimits(id, limits)]).unwrap();
    assert_eq!(answers, [Err(ErrorCode::Damaged)]);
    run(&mut store, TODAY.plus(30), &[Command::Visit(id)]);
    drop(store);
    let answers = open(directory.path()).commit(TODAY, &[Command::Status(id)]).unwrap();
    assert_eq!(answers, [Err(ErrorCode::Damaged)]);
}

/// R-1209
#[test]
fn making_what_is_there_is_a_repetition_also_where_there_is_no_room() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = populated(directory.path()).with_disk(Arc::new(SmallDisk(0)));
    let create = |n| Command::CreateMailbox {
        key: ReadKey::from_bytes([n; 32]),
        token: TOKEN,
        kind: MailboxKind::Queue,
        limits: None,
        capabilities: Vec::new(),
    };
    let answers = store.commit(TODAY, &[create(1), create(2)]).unwrap();
    assert!(matches!(answers[0], Ok(Outcome::Mailbox(_))), "{answers:?}");
    assert_eq!(answers[1], Err(ErrorCode::StorageFull));
}

#[test]
fn beside_the_relay_no_store_of_another_version_is_opened() {
    for version in [2, 4] {
        let directory = tempfile::tempdir().unwrap();
        drop(populated(directory.path()));
        let queue = Database::Queue(TODAY.plus(30));
        for database in [Database::Relay, Database::Keys, queue] {
            let db = Connection::open(directory.path().join(database.file_name())).unwrap();
            if (version, database) == (2, queue) {
                db.execute_batch("DROP TABLE known").unwrap();
            }
            db.pragma_update(None, "user_version", version).unwrap();
            drop(db);
            let failure = schema::open_there(directory.path(), database).map(|_| ());
            let refused = matches!(
                (version, &failure),
                (2, Err(StoreFailure::NotUpgraded)) | (4, Err(StoreFailure::Version(4)))
            );
            assert!(refused, "{failure:?}");
        }
        assert!(SqliteStore::open_records_only(directory.path()).is_err());
        assert!(backup::Snapshot::take(directory.path()).is_err());
        for database in [Database::Relay, Database::Keys, queue] {
            let db = Connection::open(directory.path().join(database.file_name())).unwrap();
            let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(found, version);
        }
        assert_eq!(SqliteStore::open(directory.path(), 30).is_ok(), version == 2);
    }
}
