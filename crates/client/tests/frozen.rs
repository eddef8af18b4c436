//! Profile directories of earlier versions, as they were written then: opened, migrated, read.
//!
//! `fixtures/vN/` is committed and never written again. Before the version is raised, the
//! directories of the present one are made by `cargo test -p undertone --test frozen -- --ignored`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Stage, acquainted, all_events, text};
use undertone::{Client, LinkKind, MessageKind, MessageState, Secret};

/// What makes a profile; everything else in the directory comes with use.
const FILES: [&str; 2] = ["keyslot", "store.db"];

fn place(version: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(version).join(name)
}

/// Set `FREEZE` to the version's number, so that nothing is written by accident.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes the directories of the present version, once, before the store changes"]
async fn freeze() {
    let version = std::env::var("FREEZE").expect("FREEZE=vN says which version this is");
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let to_bob = ada.contact("Bob").await.unwrap().id;
    let to_ada = bob.contact("Ada").await.unwrap().id;
    let source = stage.dir("plan.txt");
    fs::write(&source, "the plan").unwrap();
    ada.send_text(to_bob, "first").await.unwrap();
    ada.send_file(to_bob, &source).await.unwrap();
    ada.sync().await.unwrap();
    bob.sync().await.unwrap();
    bob.mark_verified(to_ada).await.unwrap();
    bob.rename(to_ada, "Ada from work").await.unwrap();
    bob.invite(LinkKind::SingleUse, Some("for Carol".into())).await.unwrap();
    bob.send_text(to_ada, "accepted").await.unwrap();
    bob.sync().await.unwrap();
    // Read, and nobody told; a reaction and a timer that have not gone out.
    bob.set_read_receipts(true).await.unwrap();
    bob.mark_read(to_ada, None).await.unwrap();
    let first = bob.history(to_ada, None, 10).await.unwrap()[0].seq;
    bob.react(first, "👍").await.unwrap();
    bob.set_timer(to_ada, 3600).await.unwrap();
    bob.send_text(to_ada, "queued").await.unwrap();
    let mut events = bob.events("bot");
    let event = events.next_event().await.unwrap();
    events.acknowledge(&event).await.unwrap();
    ada.close().await;
    bob.close().await;
    for name in ["Ada", "Bob"] {
        let to = place(&version, name);
        assert!(!to.exists(), "frozen profiles are not written twice");
        fs::create_dir_all(&to).unwrap();
        for file in FILES {
            fs::copy(stage.dir(name).join(file), to.join(file)).unwrap();
        }
    }
    stage.end().await;
}

async fn open(dir: &Path) -> Client {
    Client::builder(dir).secret(Secret::key([7; 32])).offline().open().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profiles_of_every_version_open_and_have_all_that_they_had() {
    let mut seen = 0;
    for entry in fs::read_dir(place("", "")).unwrap() {
        let version = entry.unwrap().file_name().into_string().unwrap();
        let temp = tempfile::tempdir().unwrap();
        for file in FILES {
            fs::copy(place(&version, "Bob").join(file), temp.path().join(file)).unwrap();
        }
        // A second time, too: what the first migrated is whole.
        for _ in 0..2 {
            let bob = open(temp.path()).await;
            assert_eq!(bob.me().name, "Bob");
            let ada = bob.contact("Ada from work").await.unwrap();
            assert!(ada.verified);
            let history = bob.history(ada.id, None, 10).await.unwrap();
            assert_eq!(history.len(), 4, "{version}");
            assert_eq!(text(&history[0]), "first");
            let MessageKind::File(file) = &history[1].kind else { panic!("not a file") };
            assert_eq!((file.name.as_str(), file.size), ("plan.txt", 8));
            assert_eq!(history[2].state, MessageState::Accepted);
            assert_eq!(history[3].state, MessageState::Queued);
            if version != "v1" {
                // Version 1 had none of these.
                assert!(bob.read_receipts().await.unwrap());
                let first = &history[0];
                assert_eq!(first.state, MessageState::Read);
                let emoji: Vec<_> = first.reactions.iter().map(|one| one.emoji.as_str()).collect();
                assert_eq!(emoji, ["👍"]);
                assert_eq!(ada.timer_seconds, 3600);
                assert_eq!((history[2].timer_seconds, history[3].timer_seconds), (0, 3600));
            }
            assert!(all_events(&bob).await.len() >= 4);
            let rest = bob.events("bot").try_next().await.unwrap().unwrap();
            assert!(rest.seq.get() > 1, "the cursor is where it was");
            bob.close().await;
        }
        seen += 1;
    }
    assert!(seen >= 1);
}
