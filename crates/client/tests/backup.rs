//! Backups, with a real relay on loopback: the device is lost, another one takes its place, and the
//! contacts do nothing for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Stage, acquainted, all_events, contact, settle, text, texts};
use undertone::{
    Client, ContactId, ContactState, EventKind, LinkKind, MessageState, RecoveryKey, ResetCause,
    Secret, check_backup,
};

async fn assert_talking(ada: &Client, to_bob: ContactId, bob: &Client, to_ada: ContactId) {
    let there = ada.send_text(to_bob, "there").await.unwrap();
    let back = bob.send_text(to_ada, "and back").await.unwrap();
    settle(&[ada, bob]).await;
    assert_eq!(ada.message(there).await.unwrap().state, MessageState::Delivered);
    assert_eq!(bob.message(back).await.unwrap().state, MessageState::Delivered);
}

/// What stands in a directory, with what is in the files.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_device_comes_back_from_its_backup_and_everybody_goes_on() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let carol = stage.person("Carol").await;
    let public = bob.invite(LinkKind::Reusable, Some("web page".into())).await.unwrap().link;
    let carol_to_bob = carol.add(&public, None).await.unwrap().id;
    settle(&[&ada, &bob, &carol]).await;
    let (to_bob, to_ada, to_carol) =
        (contact(&ada, "Bob").await, contact(&bob, "Ada").await, contact(&bob, "Carol").await);
    ada.send_text(to_bob, "before the backup").await.unwrap();
    bob.send_text(to_carol, "to Carol").await.unwrap();
    settle(&[&ada, &bob, &carol]).await;
    bob.mark_verified(to_carol).await.unwrap();

    let key = RecoveryKey::generate();
    let file = stage.dir("bob.backup");
    let mut told = Vec::new();
    let wrote =
        bob.export_backup(&file, &key, |done, total| told.push((done, total))).await.unwrap();
    assert_eq!((wrote.contacts, wrote.messages), (2, 2));
    assert_eq!(wrote.bytes, fs::metadata(&file).unwrap().len());
    let last = told.last().unwrap();
    assert_eq!(last.0, last.1);
    assert_eq!(check_backup(&file, &key, |_, _| {}).await.unwrap(), wrote);

    // Behind the backup, and before the loss is noticed.
    ada.send_text(to_bob, "nobody has seen this").await.unwrap();
    ada.sync().await.unwrap();
    let (me, device) = (bob.me(), bob.me().device);
    bob.close().await;
    fs::remove_dir_all(stage.dir("Bob")).unwrap();
    // A message while there is no Bob at all.
    ada.send_text(to_bob, "where are you?").await.unwrap();
    ada.sync().await.unwrap();

    let read = Arc::new(AtomicU64::new(0));
    let seen = read.clone();
    let builder = stage.builder("Bob again").secret(Secret::key([8; 32]));
    let (bob, back) = builder
        .restore(&file, &key, move |done, _| seen.store(done, Ordering::SeqCst))
        .await
        .unwrap();
    assert_eq!(back, wrote);
    assert_eq!(read.load(Ordering::SeqCst), wrote.bytes);
    assert_eq!(bob.me().account, me.account);
    assert_ne!(bob.me().device, device);
    assert_eq!(texts(&bob, to_ada).await, ["before the backup"]);
    assert!(bob.contacts().await.unwrap().iter().any(|c| c.id == to_carol && c.verified));
    let own = bob.send_text(to_ada, "I have a new device").await.unwrap();

    settle(&[&bob, &ada, &carol]).await;
    assert_eq!(bob.message(own).await.unwrap().state, MessageState::Delivered);
    let heard = texts(&bob, to_ada).await;
    let expected =
        ["before the backup", "I have a new device", "nobody has seen this", "where are you?"];
    assert_eq!(heard, expected);
    for (client, who) in [(&ada, to_bob), (&carol, carol_to_bob)] {
        let told = |e: &undertone::Event| {
            matches!(e.kind, EventKind::Reset { contact, cause: ResetCause::TheirStateLost }
                if contact == who)
        };
        assert!(all_events(client).await.iter().any(told));
    }
    assert_talking(&ada, to_bob, &bob, to_ada).await;
    assert_talking(&carol, carol_to_bob, &bob, to_carol).await;
    // The link on the web page leads to the new device.
    let dora = stage.person("Dora").await;
    let dora_to_bob = dora.add(&public, None).await.unwrap().id;
    settle(&[&dora, &bob]).await;
    let to_dora = contact(&bob, "Dora").await;
    assert_talking(&dora, dora_to_bob, &bob, to_dora).await;
    // It is a profile like any other: closed, opened, gone on with.
    bob.close().await;
    let bob = stage.builder("Bob again").secret(Secret::key([8; 32])).open().await.unwrap();
    assert_talking(&ada, to_bob, &bob, to_ada).await;
    for client in [ada, bob, carol, dora] {
        client.close().await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_client_that_stays_connected_goes_on_by_itself() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    settle(&[&ada, &bob]).await;
    let to_bob = contact(&ada, "Bob").await;
    let (key, file) = (RecoveryKey::generate(), stage.dir("bob.backup"));
    bob.export_backup(&file, &key, |_, _| {}).await.unwrap();
    bob.close().await;
    ada.start().unwrap();
    let (bob, _) = stage.builder("again").restore(&file, &key, |_, _| {}).await.unwrap();
    bob.start().unwrap();
    ada.send_text(to_bob, "are you back?").await.unwrap();
    let heard = common::next_message(&bob, "test").await;
    assert_eq!(text(&heard), "are you back?");
    bob.send_text(heard.contact, "I am").await.unwrap();
    assert_eq!(text(&common::next_message(&ada, "test").await), "I am");
    assert_eq!(ada.contact("Bob").await.unwrap().state, ContactState::Active);
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

/// Every way in which a backup can be no good is an error of its own, and leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_backup_is_told_apart_and_nothing_is_overwritten() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let to_ada = contact(&bob, "Ada").await;
    bob.send_text(to_ada, "a canary in the history").await.unwrap();
    let (key, file) = (RecoveryKey::generate(), stage.dir("bob.backup"));
    bob.export_backup(&file, &key, |_, _| {}).await.unwrap();
    let good = fs::read(&file).unwrap();
    assert!(!good.windows(8).any(|window| window == b"a canary"));

    // Nothing is overwritten, and no half of a backup stays.
    let before = contents(&stage.dir(""));
    let refused = bob.export_backup(&file, &key, |_, _| {}).await.unwrap_err();
    assert_eq!(refused.code(), "backup-exists");
    let nowhere = stage.dir("no such folder").join("bob.backup");
    let refused = bob.export_backup(nowhere, &key, |_, _| {}).await.unwrap_err();
    assert_eq!(refused.code(), "backup-failed");
    assert_eq!(contents(&stage.dir("")), before);

    let bad = stage.dir("bad.backup");
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut head = good.clone();
    head[20] ^= 1;
    let mut newer = good.clone();
    newer[9] = 2;
    let check = undertone_core::backup_head_check(&newer[..74]);
    newer[74..82].copy_from_slice(&check);
    let other = RecoveryKey::generate();
    for (bytes, key, code) in [
        (&good, &other, "backup-wrong-key"),
        (&good[..good.len() - 1].to_vec(), &key, "backup-truncated"),
        (&good[..60].to_vec(), &key, "backup-truncated"),
        (&flipped, &key, "backup-damaged"),
        (&head, &key, "backup-damaged"),
        (&[&good[..], b"more"].concat(), &key, "backup-damaged"),
        (&newer, &key, "backup-too-new"),
        (&b"hello".to_vec(), &key, "backup-not-recognised"),
    ] {
        fs::write(&bad, bytes).unwrap();
        let refused = stage.builder("new").restore(&bad, key, |_, _| {}).await.unwrap_err();
        assert_eq!(refused.code(), code);
        assert_eq!(check_backup(&bad, key, |_, _| {}).await.unwrap_err().code(), code);
        assert!(!stage.dir("new").exists(), "{code}: something was left behind");
    }
    let absent = stage.builder("new").restore(stage.dir("none"), &key, |_, _| {}).await;
    assert_eq!(absent.unwrap_err().code(), "backup-failed");
    let typo = key.to_text().replacen(|c: char| c != '0', "0", 1).parse::<RecoveryKey>();
    assert_eq!(typo.unwrap_err().code(), "recovery-key-malformed");

    // Over a profile that is there, nothing is restored.
    bob.close().await;
    let before = contents(&stage.dir("Bob"));
    let refused = stage.builder("Bob").restore(&file, &key, |_, _| {}).await.unwrap_err();
    assert_eq!(refused.code(), "profile-exists");
    assert_eq!(contents(&stage.dir("Bob")), before);
    let (back, _) = stage.builder("new").restore(&file, &key, |_, _| {}).await.unwrap();
    assert_eq!(texts(&back, to_ada).await, ["a canary in the history"]);
    back.close().await;
    ada.close().await;
    stage.end().await;
}
