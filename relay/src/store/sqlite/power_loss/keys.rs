//! Day keys that have gone: what stood where they were written.

use std::collections::BTreeMap;
use std::path::Path;

use undertone_wire::{Day, ReadKey, WriteCapability};

use super::disk::Operation;
use super::{recorded, scratch};
use crate::store::sqlite::{SqliteStore, queue};
use crate::store::{Command, Store as _, TokenClass};

const TODAY: Day = Day::new(20_000);

#[test]
#[ignore = "the child of the other test; alone it does nothing"]
fn the_child_that_removes_a_day() {
    let Some(root) = std::env::var_os("UNDERTONE_TEST_CHILD") else { return };
    let root = Path::new(&root);
    let mut store = SqliteStore::open(root, 2).unwrap();
    let token = [9; 32];
    let capability = WriteCapability::from_bytes([1; 32]).hash();
    let create = Command::CreateMailbox {
        key: ReadKey::from_bytes([1; 32]),
        token,
        kind: undertone_wire::frame::MailboxKind::Queue,
        limits: None,
        capabilities: vec![capability],
    };
    store.commit(TODAY, &[Command::AddToken(token, TokenClass::Unlimited), create]).unwrap();
    let mut noted = Vec::new();
    for day in 0..3 {
        let today = TODAY.plus(day);
        store.commit(today, &[Command::Deliver { capability, envelope: vec![1; 1024] }]).unwrap();
        let key = queue::read_key(&store.key_database, today.plus(2)).unwrap().unwrap();
        noted.push(key.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        // A stop in order cuts the WAL off while the keys are in use.
        if day == 1 {
            Box::new(store).close().unwrap();
            store = SqliteStore::open(root, 2).unwrap();
        }
    }
    for day in 0..3 {
        store.remove_queue(TODAY.plus(day + 2)).unwrap();
        assert_eq!(store.records.removals().unwrap(), []);
    }
    std::fs::write(root.join("NOTES"), noted.join("\n") + "\n").unwrap();
}

/// R-1204: all that was ever written to a file, where nothing was written over it: also behind its
/// present end, in blocks that went back to the file system.
#[test]
fn a_key_that_has_gone_is_overwritten_wherever_it_was_written() {
    let directory = scratch();
    let operations = recorded(directory.path(), "keys::the_child_that_removes_a_day", false);
    let mut sectors = BTreeMap::<&str, Vec<u8>>::new();
    let mut ever = Vec::new();
    let mut keys = Vec::<[u8; 32]>::new();
    for operation in &operations {
        match operation {
            Operation::Write { path, offset, data } => {
                ever.extend_from_slice(data);
                let file = sectors.entry(path).or_default();
                let end = offset + data.len();
                file.resize(file.len().max(end), 0);
                file[*offset..end].copy_from_slice(data);
            }
            Operation::Note(line) => keys.push(crate::operator::hex(line).unwrap()),
            _ => {}
        }
    }
    assert_eq!(keys.len(), 3);
    let holds = |bytes: &[u8], key: &[u8]| bytes.windows(32).any(|window| window == key);
    for key in &keys {
        assert!(holds(&ever, key), "it was never written");
        let found: Vec<_> =
            sectors.iter().filter(|(_, bytes)| holds(bytes, key)).map(|(name, _)| name).collect();
        assert!(found.is_empty(), "in {found:?}");
    }
}
