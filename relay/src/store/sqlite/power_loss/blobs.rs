//! The same for blobs: what was answered as stored is there, whole, under its name.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use undertone_wire::ids::BlobCapabilityHash;
use undertone_wire::{BlobHash, BlobId, Day};

use super::disk::{Disk, Luck, Operation, Random};
use super::{long, recorded, scratch, seed};
use crate::store::{BlobRecord, EndlessDisk, Room};
use crate::transport::BlobDirectory;

const BLOBS: u8 = 12;

fn content(n: u8) -> Vec<u8> {
    vec![n; 1000 + 30_000 * usize::from(n)]
}

fn record(n: u8) -> BlobRecord {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content(n));
    BlobRecord {
        blob: BlobId::from_bytes([n; 32]),
        read: BlobCapabilityHash::from_bytes([0; 32]),
        delete: BlobCapabilityHash::from_bytes([0; 32]),
        length: content(n).len() as u64,
        hash: BlobHash::from_bytes(digest.as_ref().try_into().unwrap()),
        expires: Day::new(0),
    }
}

#[tokio::test]
#[ignore = "the child of the other test; alone it does nothing"]
async fn the_child_that_stores_blobs() {
    let Some(root) = std::env::var_os("UNDERTONE_TEST_CHILD") else { return };
    let root = Path::new(&root);
    let mut options = std::fs::OpenOptions::new();
    let mut notes = options.create(true).append(true).open(root.join("NOTES")).unwrap();
    let blobs =
        BlobDirectory::open(root, Arc::new(Room::new(root, Arc::new(EndlessDisk)))).unwrap();
    for n in 0..BLOBS {
        assert!(blobs.store(&record(n), &content(n)).await);
        notes.write_all(format!("ok blob {n}\n").as_bytes()).unwrap();
    }
}

#[test]
fn a_blob_that_was_answered_as_stored_survives_a_power_failure() {
    let directory = scratch();
    let operations = recorded(directory.path(), "blobs::the_child_that_stores_blobs", false);
    let (mut disk, mut stored, mut random) = (Disk::default(), BTreeSet::new(), Random(seed()));
    let mut states = 0;
    for operation in &operations {
        disk.perform(operation);
        let is_answer = matches!(operation, Operation::Note(_));
        if let Operation::Note(line) = operation {
            stored.insert(line.strip_prefix("ok blob ").unwrap().parse::<u8>().unwrap());
        }
        if !is_answer && !long() && random.below(10) > 0 {
            continue;
        }
        for luck in [Luck::Nothing, Luck::Everything, Luck::Some(random.0)] {
            let left = scratch();
            disk.fail(luck, left.path());
            for n in &stored {
                let file = std::fs::read(left.path().join(record(*n).blob.to_string()));
                assert!(file.is_ok_and(|file| file == content(*n)), "{luck:?}: blob {n} is lost");
            }
            // What has the name of a whole blob is one, answered or not.
            for n in 0..BLOBS {
                if let Ok(file) = std::fs::read(left.path().join(record(n).blob.to_string())) {
                    assert!(file == content(n), "{luck:?}: blob {n} is not whole");
                }
            }
            states += 1;
        }
    }
    assert_eq!(stored.len(), usize::from(BLOBS));
    assert!(states > 36, "{states}");
}
