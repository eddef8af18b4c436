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
    SqliteStore::open(directory, 30).unwrap()
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
    let ack = Acknowledgement {
        mailbox: key().mailbox(),
        incarnation: store.incarnation(),
        floor: Floor::new(1),
    };
    assert!(store.execute(tomorrow, &Command::Acknowledge(ack)).unwrap().is_ok());
    // The newest file, in which the floor is, cannot commit: a constraint is checked only there.
    let newest = store.newest.unwrap();
    store.queues[&newest].break_commit();
    assert!(store.commit_all().is_err());
    drop(store);
    let mut store = open(directory.path());
    let state = state(&mut store, tomorrow);
    assert_eq!((state.acknowledged.get(), state.head.get(), state.bytes), (0, 2, 2048));
}
