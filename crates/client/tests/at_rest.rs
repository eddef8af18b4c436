//! Whatever file this process has open while it works, those included that have no name any more:
//! nothing that people wrote stands in it in the clear.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use common::{Stage, acquainted};
use undertone::{LinkKind, RecoveryKey};

/// What must not be found, in two halves: this program's own file must not hold it either.
fn canary() -> Vec<u8> {
    ["a canary in ", "plain sight"].concat().into_bytes()
}

/// What was seen: files, and those of them that held the canary.
#[derive(Default)]
struct Seen {
    files: BTreeSet<PathBuf>,
    clear: BTreeSet<PathBuf>,
}

/// Reads every regular file that is open in this process.
fn look(seen: &mut Seen, canary: &[u8]) {
    for entry in fs::read_dir("/proc/self/fd").unwrap().flatten() {
        // Closed meanwhile.
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let Ok(meta) = fs::metadata(entry.path()) else { continue };
        if !meta.is_file() {
            continue;
        }
        // Through the descriptor, so that a file without a name is read, too.
        let Ok(bytes) = fs::read(entry.path()) else { continue };
        if bytes.windows(canary.len()).any(|part| part == canary) {
            seen.clear.insert(target.clone());
        }
        seen.files.insert(target);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_that_is_open_holds_anything_in_the_clear() {
    let done = Arc::new(AtomicBool::new(false));
    let over = done.clone();
    let looking = std::thread::spawn(move || {
        let mut seen = Seen::default();
        while !over.load(Ordering::SeqCst) {
            look(&mut seen, &canary());
        }
        look(&mut seen, &canary());
        seen
    });
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let (to_bob, to_ada) =
        (ada.contact("Bob").await.unwrap().id, bob.contact("Ada").await.unwrap().id);
    let text = String::from_utf8(canary()).unwrap().repeat(200);
    for _ in 0..60 {
        ada.send_text(to_bob, &text).await.unwrap();
    }
    ada.invite(LinkKind::Reusable, Some("a label".into())).await.unwrap();
    ada.sync().await.unwrap();
    bob.sync().await.unwrap();
    let (key, file) = (RecoveryKey::generate(), stage.dir("bob.backup"));
    bob.export_backup(&file, &key, |_, _| {}).await.unwrap();
    // In the middle of a restore there is a look for certain, however busy the machine.
    let during = Arc::new(Mutex::new(Seen::default()));
    let looks = during.clone();
    let restore = stage.builder("again").restore(&file, &key, move |_, _| {
        look(&mut looks.lock().unwrap(), &canary());
    });
    let (again, report) = restore.await.unwrap();
    assert_eq!(report.messages, 60);
    // The largest transactions there are.
    again.delete_contact(to_ada).await.unwrap();
    bob.delete_contact(to_ada).await.unwrap();
    for client in [ada, bob, again] {
        client.close().await;
    }
    stage.end().await;
    done.store(true, Ordering::SeqCst);
    let mut seen = looking.join().unwrap();
    let during = std::mem::take(&mut *during.lock().unwrap());
    seen.files.extend(during.files);
    seen.clear.extend(during.clear);
    let names: Vec<_> = seen.files.iter().map(|path| path.to_string_lossy()).collect();
    for expected in ["Bob/store.db", "Bob/store.db-wal", "creating/store.db"] {
        assert!(names.iter().any(|name| name.contains(expected)), "{expected}: {names:?}");
    }
    assert!(seen.clear.is_empty(), "{:?}", seen.clear);
}

/// That the search finds what is there, also without a name.
#[test]
fn the_search_finds_a_file_without_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clear");
    // Not the other test's, which may look at the same moment.
    let canary: Vec<u8> = canary().iter().rev().copied().collect();
    fs::write(&path, &canary).unwrap();
    let held = fs::File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let mut seen = Seen::default();
    look(&mut seen, &canary);
    drop(held);
    assert!(seen.clear.iter().any(|path| path.to_string_lossy().contains("clear")));
}
