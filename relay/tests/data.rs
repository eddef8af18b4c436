//! What operators do with the relay's data, beside a relay that serves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::path::{Path, PathBuf};

use common::*;
use undertone_relay::clock::{Clock as _, SystemClock};
use undertone_relay::operator::*;
use undertone_relay::store::audit::{Action, AuditAnchor, AuditFault, Thing};
use undertone_relay::store::{DiskLimits, Store as _};
use undertone_relay::{Config, Relay, RunningRelay};
use undertone_wire::blob::BlobAnnouncement;
use undertone_wire::client::Connection;
use undertone_wire::frame::*;
use undertone_wire::limits::SEALED_BUNDLE;
use undertone_wire::*;

type Test = Result<(), Box<dyn std::error::Error>>;

fn today() -> Day {
    SystemClock.today()
}

const FETCH: [u8; 32] = [0x71; 32];
const BLOB: [u8; 32] = [0x72; 32];
const BLOB_READ: [u8; 32] = [0x73; 32];
const CONTENT: [u8; 5000] = [0x74; 5000];

fn depot_owner() -> DepotSecret {
    DepotSecret::from_seed(&[5; 32])
}

/// A mailbox with five envelopes of which two are acknowledged, a depot, a blob.
async fn populate(relay: &RunningRelay) -> (Connection, MailboxState) {
    use sha2::Digest as _;
    let connection = connect(relay.address()).await;
    let (alice, token) = (mailbox(1), token(relay));
    connection.owner(create(&alice, &token, &[10, 11]), &[&alice]).await.unwrap();
    for number in 0..5 {
        connection.deliver(&capability(10), envelope(number)).await.unwrap();
    }
    let state = connection.mailboxes(subscribe(&alice, 64), &[&alice]).await.unwrap()[0].unwrap();
    connection.acknowledge(ack(&alice, &state, 2)).await.unwrap();
    let fill = OwnerOperation::FillDepot {
        key: depot_owner().public(),
        depot: FetchCapability::from_bytes(FETCH).depot(),
        token: token.duplicate(),
        mode: FillMode::Add,
        one_time: Bounded::one(SealedBundle::new(vec![8; SEALED_BUNDLE]).unwrap()),
        last_resort: None,
        expires: today().plus(20),
    };
    connection.depot(fill, &depot_owner()).await.unwrap();
    let announcement = BlobAnnouncement {
        blob: BlobId::from_bytes(BLOB),
        token,
        read: BlobReadCapability::from_bytes(BLOB_READ).hash(),
        delete: BlobDeleteCapability::from_bytes([0x75; 32]).hash(),
        length: CONTENT.len() as u64,
        hash: BlobHash::from_bytes(sha2::Sha256::digest(CONTENT).into()),
        expires: today().plus(9),
    };
    let mut upload = connection.put_blob(announcement).await.unwrap();
    upload.write(&CONTENT).await.unwrap();
    upload.finish().await.unwrap();
    (connection, state)
}

async fn download(connection: &Connection) -> Vec<u8> {
    let read = BlobReadCapability::from_bytes(BLOB_READ);
    let mut download = connection.get_blob(BlobId::from_bytes(BLOB), &read, 0).await.unwrap();
    let (mut all, mut piece) = (Vec::new(), vec![0; 10_000]);
    loop {
        match download.next(&mut piece).await.unwrap() {
            0 => return all,
            count => all.extend_from_slice(&piece[..count]),
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn holds(directory: &Path, needle: &[u8]) -> bool {
    files(directory).iter().any(|path| {
        std::fs::read(path).unwrap().windows(needle.len()).any(|window| window == needle)
    })
}

/// On a thread of its own, as another process would.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// R-1206, R-1207
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_becomes_another_incarnation_elsewhere() -> Test {
    let (directory, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (to, new) = (elsewhere.path().join("backup"), elsewhere.path().join("relay"));
    let relay = start(directory.path()).await;
    let (connection, before) = populate(&relay).await;
    let alice = mailbox(1);
    let marked = vec![0xa7; 1024];
    connection.deliver(&capability(10), marked.clone()).await?;
    // Deliveries go on while it is made; those answered before it began must be in it.
    let sender = connect(relay.address()).await;
    let load = tokio::spawn(async move {
        let mut number = 100;
        while sender.deliver(&capability(11), envelope(number)).await.is_ok() {
            number += 1;
        }
    });
    while state(&connection, &alice).await.unwrap().head.get() < 20 {}
    let answered = state(&connection, &alice).await.unwrap().head.get();
    let (from, target) = (directory.path().to_owned(), to.clone());
    let made = beside(move || backup(&from, &target, today())).await?;
    assert!(made.identity && made.keys == 1 && made.files == 3, "{made:?}");
    while state(&connection, &alice).await.unwrap().head.get() < answered + 20 {}
    relay.shutdown().await.unwrap();
    load.await?;

    // The data alone shows no envelope and not whose they are; the records say which mailboxes are.
    let queue =
        files(&to.join("data")).into_iter().find(|f| f.to_str().unwrap().contains("queue-"));
    let queue = std::fs::read(queue.unwrap())?;
    assert!(!queue.windows(16).any(|window| window == &marked[..16]));
    assert!(!queue.windows(32).any(|window| window == alice.mailbox().as_bytes()));
    assert!(holds(&to.join("data"), alice.mailbox().as_bytes()));
    // A busy directory and a backup that was altered are refused, and nothing is made.
    let (source, occupied) = (Source::whole(&to), directory.path());
    assert!(matches!(restore(&source, occupied, today()), Err(BackupError::NotEmpty(_))));
    let relay_db = to.join("data/relay.db");
    let whole = std::fs::read(&relay_db)?;
    let mut altered = whole.clone();
    altered[5000] ^= 1;
    std::fs::write(&relay_db, altered)?;
    let result = restore(&source, &new, today());
    assert!(matches!(result, Err(BackupError::Damaged(_))), "{result:?}");
    assert!(!new.exists());
    std::fs::write(&relay_db, whole)?;

    let restored = restore(&source, &new, today())?;
    assert_eq!((restored.days, restored.unreadable_days, restored.depots), (1, 0, 1));
    assert_eq!(check(&new)?, Vec::<String>::new());
    let moved = start(&new).await;
    assert_eq!(moved.address().root(), relay_root(directory.path()), "links stay good");
    let connection = connect(moved.address()).await;
    let after = state(&connection, &alice).await.unwrap();
    assert_ne!(after.incarnation, before.incarnation);
    assert_eq!(after.acknowledged.get(), 2);
    assert!(after.head.get() >= answered, "{} of {answered}", after.head.get());
    let mut pushes = connection.pushes().unwrap();
    let state = connection.mailboxes(subscribe(&alice, 1024), &[&alice]).await?[0].unwrap();
    for expected in 3..=after.head.get() {
        assert_eq!(next_envelope(&mut pushes, &alice).await.0, expected);
    }
    // A floor of the old incarnation is none of the new.
    refused(connection.acknowledge(ack(&alice, &before, 3)).await, ErrorCode::OtherIncarnation);
    connection.acknowledge(ack(&alice, &state, 3)).await?;
    let fetch = FetchCapability::from_bytes(FETCH);
    let taken = connection.take_prekey(&fetch, TakeId::from_bytes([1; 16])).await?;
    assert_eq!(taken, PrekeyAnswer::UsedUp, "depots are empty until they are filled again");
    assert!(download(&connection).await == CONTENT);
    connection.deliver(&capability(10), envelope(99)).await?;
    moved.shutdown().await.unwrap();
    let actions: Vec<_> = audit_log(&new)?.into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, ["backup", "restore"]);
    Ok(())
}

fn relay_root(directory: &Path) -> &'static RootFingerprint {
    let address = undertone_relay::known_address(directory).unwrap().unwrap();
    Box::leak(Box::new(*address.root()))
}

/// R-1204
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_day_s_key_is_gone_its_envelopes_are_gone_from_backups_too() -> Test {
    let (directory, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let clock = TestClock::now();
    let config = Config { clock: clock.clone(), ..config(directory.path()) };
    let relay = Relay::start(config).await?;
    populate(&relay).await;
    let to = elsewhere.path().join("backup");
    let (from, target) = (directory.path().to_owned(), to.clone());
    beside(move || backup(&from, &target, today())).await?;
    let bundle = std::fs::read_to_string(to.join("keys/day-keys"))?;
    let secret: Vec<u8> = {
        let digits = bundle.lines().next().unwrap().split(' ').nth(1).unwrap();
        (0..32).map(|n| u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).unwrap()).collect()
    };
    assert!(
        holds(&directory.path().join("store"), &secret),
        "the key is there while the day lasts"
    );
    clock.pass_days(33);
    for _ in 0..17 {
        relay.maintain().await;
    }
    relay.shutdown().await.unwrap();
    assert!(
        !holds(directory.path(), &secret),
        "and nowhere when it has passed: no file, no free page"
    );
    let names: Vec<_> = files(directory.path());
    assert!(!names.iter().any(|name| name.to_str().unwrap().contains("queue-")), "{names:?}");

    // From the backup of the data, without the bundle of keys: nothing.
    let source = Source { keys: elsewhere.path().join("none"), ..Source::whole(&to) };
    let without = elsewhere.path().join("without");
    let restored = restore(&source, &without, today())?;
    assert_eq!((restored.days, restored.unreadable_days), (0, 1));
    assert!(!files(&without).iter().any(|name| name.to_str().unwrap().contains("queue-")));
    // With it, everything: that is why it is kept apart and not for long.
    let with = elsewhere.path().join("with");
    assert_eq!(restore(&Source::whole(&to), &with, today())?.days, 1);
    let store = undertone_relay::store::sqlite::SqliteStore::open(&with.join("store"), 30)?;
    let found = store.reader()?.after(mailbox(1).mailbox(), Seq::new(2), 9)?;
    let found: Vec<_> = found.into_iter().map(|queued| queued.envelope.unwrap()).collect();
    assert_eq!(found, [envelope(2), envelope(3), envelope(4)]);
    Ok(())
}

fn claim(bytes: &[u8; 32]) -> Claim {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Claim::capability(&digits).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_somebody_s_is_handed_out_and_removed_beside_the_running_relay() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    let (connection, _) = populate(&relay).await;
    let alice = mailbox(1);
    let bob = mailbox(2);
    connection.owner(create(&bob, &token(&relay), &[20]), &[&bob]).await?;
    connection.deliver(&capability(20), envelope(77)).await?;
    let at = directory.path().to_owned();
    let export_of = |claim: Claim| export(&at, today(), &claim);
    let (thing, dump) = export_of(claim(capability(11).as_bytes()))?;
    assert_eq!(thing, Thing::Mailbox);
    let all: Vec<_> = dump.tables.iter().flat_map(|t| &t.rows).flat_map(|r| &r.fields).collect();
    let has = |bytes: &[u8]| all.iter().any(|field| field.bytes == bytes);
    assert!(has(alice.public().as_bytes()) && has(capability(10).hash().as_bytes()));
    assert!(has(&envelope(3)) && !has(&envelope(77)) && !has(bob.mailbox().as_bytes()));
    let key: String = alice.public().to_string();
    assert_eq!(export_of(Claim::key(&key).unwrap())?.0, Thing::Mailbox);
    assert_eq!(export_of(claim(&FETCH))?.0, Thing::Depot);
    assert_eq!(export_of(claim(&BLOB_READ))?.0, Thing::Blob);
    assert_eq!(export_of(claim(&[0; 32]))?.0, Thing::Nothing);

    let mut pushes = connection.pushes().unwrap();
    let path = at.clone();
    let erased = beside(move || erase(&path, today(), &claim(capability(10).as_bytes()))).await?;
    assert_eq!(erased, Thing::Mailbox);
    // The relay had both in memory.
    for write in [10, 11] {
        refused(connection.deliver(&capability(write), envelope(9)).await, ErrorCode::Unknown);
    }
    assert!(state(&connection, &alice).await.is_none());
    loop {
        match next(&mut pushes).await {
            Push::Envelope { .. } => {}
            push => {
                let reason = EndReason::Deleted;
                assert_eq!(push, Push::Ended { mailbox: alice.mailbox(), reason });
                break;
            }
        }
    }
    for (secret, expected) in
        [(FETCH, Thing::Depot), (BLOB_READ, Thing::Blob), (FETCH, Thing::Nothing)]
    {
        let path = at.clone();
        assert_eq!(beside(move || erase(&path, today(), &claim(&secret))).await?, expected);
    }
    let fetch = FetchCapability::from_bytes(FETCH);
    let taken = connection.take_prekey(&fetch, TakeId::from_bytes([1; 16]));
    refused(taken.await, ErrorCode::Unknown);
    // Others are as they were.
    connection.deliver(&capability(20), envelope(78)).await?;
    assert_eq!(state(&connection, &bob).await.unwrap().head.get(), 2);
    relay.shutdown().await.unwrap();
    // Gone from the files, free pages included.
    for gone in [alice.mailbox().as_bytes().as_slice(), &[8; 64], &CONTENT[..64]] {
        assert!(!holds(&at, gone));
    }
    assert_eq!(check(&at)?, Vec::<String>::new());

    // The log says that it happened, and not to whom.
    let log = verify_audit(&at, &[])??;
    let text: Vec<String> = log.iter().map(|e| format!("{} {}", e.action, e.detail)).collect();
    assert_eq!(text[..2], ["export mailbox", "export mailbox"]);
    assert_eq!(text[5..], ["erase mailbox", "erase depot", "erase blob", "erase nothing found"]);
    let whole = text.join("\n");
    for secret in [alice.mailbox().to_string(), key, "7171".into(), "7373".into()] {
        assert!(!whole.contains(&secret));
    }
    Ok(())
}

/// R-1210
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_altered_or_cut_does_not_verify() -> Test {
    let directory = tempfile::tempdir()?;
    let at = directory.path();
    start(at).await.shutdown().await.unwrap();
    for _ in 0..5 {
        record(at, today(), Action::Inspected)?;
    }
    let noted: AuditAnchor = audit_log(at)?[3].anchor().to_string().parse()?;
    assert_eq!(verify_audit(at, &[noted])??.len(), 5);
    let path = at.join("store/relay.db");
    let head = std::fs::read(at.join("store/audit.head"))?;
    // So that the database is one file.
    Box::new(undertone_relay::store::sqlite::SqliteStore::open(&at.join("store"), 30)?).close()?;
    let whole = std::fs::read(&path)?;
    let after = |sql: &str| {
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch(sql).unwrap();
        db.close().unwrap();
        let found = verify_audit(at, &[noted]).unwrap().map(|_| ());
        std::fs::write(&path, &whole).unwrap();
        found
    };
    let altered = "UPDATE audit SET action = 'address' WHERE number = 2";
    assert_eq!(after(altered), Err(AuditFault::Altered(2)));
    assert_eq!(
        after("UPDATE audit SET day = day + 1 WHERE number = 5"),
        Err(AuditFault::Altered(5))
    );
    assert_eq!(after("DELETE FROM audit WHERE number = 3"), Err(AuditFault::Missing(4)));
    assert_eq!(after("DELETE FROM audit WHERE number = 1"), Err(AuditFault::Missing(2)));
    assert_eq!(after("DELETE FROM audit WHERE number > 4"), Err(AuditFault::Truncated(5)));
    assert_eq!(after("DELETE FROM audit WHERE number > 2"), Err(AuditFault::Truncated(4)));
    assert_eq!(after("DELETE FROM audit"), Err(AuditFault::Truncated(4)));
    // Whoever can write to the directory can cut both; not what was noted down elsewhere.
    std::fs::remove_file(at.join("store/audit.head"))?;
    assert_eq!(verify_audit(at, &[])?.map(|_| ()), Err(AuditFault::NoHead));
    std::fs::write(at.join("store/audit.head"), head)?;
    assert_eq!(after("SELECT 1"), Ok(()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inventory_describes_every_table_and_column() -> Test {
    let directory = tempfile::tempdir()?;
    let relay = start(directory.path()).await;
    populate(&relay).await;
    let inventory = inventory(directory.path())?;
    for entry in &inventory.entries {
        for text in [entry.purpose, entry.kept] {
            assert_ne!(text, UNDESCRIBED, "{} / {}", entry.file, entry.table);
        }
        for (name, what) in &entry.fields {
            assert_ne!(*what, UNDESCRIBED, "{} / {}.{name}", entry.file, entry.table);
        }
    }
    let rows = |table: &str| {
        inventory.entries.iter().find(|entry| entry.table == table).map(|entry| entry.rows)
    };
    let counted = ["mailbox", "capability", "envelope", "known", "blobs"].map(rows);
    assert_eq!(counted, [1, 2, 3, 2, 1].map(Some));
    relay.shutdown().await.unwrap();
    Ok(())
}

/// R-1209
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_frees_room_works_when_nothing_more_comes_in() -> Test {
    let directory = tempfile::tempdir()?;
    let disk = DiskLimits { quota: Some(2 << 20), free_floor: 0 };
    let relay = Relay::start(Config { disk, ..config(directory.path()) }).await?;
    let (connection, _) = populate(&relay).await;
    let alice = mailbox(1);
    let large = |number: u32| {
        let mut bytes = envelope(number);
        bytes.resize(65_536, 9);
        bytes
    };
    let mut number = 100;
    let end = loop {
        match connection.deliver(&capability(10), large(number)).await {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
        assert!(number < 200, "the quota holds");
    };
    assert_eq!(end, client::ClientError::Refused(ErrorCode::StorageFull));
    // Repeats are recognised, and others are refused as well: blobs, mailboxes, depots.
    connection.deliver(&capability(10), large(number - 1)).await?;
    let full = ErrorCode::StorageFull;
    let bob = mailbox(2);
    refused(connection.deliver(&capability(10), envelope(5000)).await, full);
    refused(connection.owner(create(&bob, &token(&relay), &[20]), &[&bob]).await, full);
    let announcement = BlobAnnouncement {
        blob: BlobId::from_bytes([0x99; 32]),
        token: token(&relay),
        read: BlobReadCapability::from_bytes([1; 32]).hash(),
        delete: BlobDeleteCapability::from_bytes([2; 32]).hash(),
        length: 100_000,
        hash: BlobHash::from_bytes([0; 32]),
        expires: today().plus(9),
    };
    refused(connection.put_blob(announcement).await.map(|_| ()), full);
    // Fetching, acknowledging and deleting go on.
    let state0 = connection.mailboxes(subscribe(&alice, 1024), &[&alice]).await?[0].unwrap();
    connection.acknowledge(ack(&alice, &state0, state0.head.get())).await?;
    let mut delivered = false;
    for attempt in 0..20 {
        delivered = connection.deliver(&capability(10), large(900 + attempt)).await.is_ok();
        if delivered {
            break;
        }
    }
    assert!(delivered, "what was acknowledged makes room");
    connection
        .delete_blob(BlobId::from_bytes(BLOB), &BlobDeleteCapability::from_bytes([0x75; 32]))
        .await?;
    connection.owner(OwnerOperation::DeleteMailbox { key: alice.public() }, &[&alice]).await?;
    relay.shutdown().await.unwrap();
    Ok(())
}
