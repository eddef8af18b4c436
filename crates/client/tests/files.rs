//! Files: what is fetched without being asked for, and what is cancelled. With a real relay on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Stage, acquainted, all_events};
use undertone::{
    Client, Clock, ContactId, EventKind, MessageId, MessageKind, MessageState, UnixMillis,
};

/// A clock that a test moves on.
struct Days(AtomicU64);

impl Clock for Days {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(self.0.load(Ordering::SeqCst))
    }
}

const DAY: u64 = 86_400_000;

fn today() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap() / DAY * DAY + DAY / 2
}

async fn send(client: &Client, to: ContactId, source: &Path, size: usize) -> MessageId {
    fs::write(source, vec![7; size]).unwrap();
    let id = client.send_file(to, source).await.unwrap();
    client.sync().await.unwrap();
    id
}

async fn path(client: &Client, contact: ContactId, id: MessageId) -> Option<std::path::PathBuf> {
    match client.received_message(contact, id).await.unwrap().kind {
        MessageKind::File(file) => file.path,
        other => panic!("{other:?}"),
    }
}

async fn waiting(client: &Client) -> Vec<(MessageId, u64)> {
    let waiting = |event: undertone::Event| match event.kind {
        EventKind::FileWaiting { id, size, .. } => Some((id, size)),
        _ => None,
    };
    all_events(client).await.into_iter().filter_map(waiting).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_or_too_much_waits_until_it_is_asked_for() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let (to_bob, to_ada) =
        (ada.contact("Bob").await.unwrap().id, bob.contact("Ada").await.unwrap().id);
    bob.close().await;
    let clock = Arc::new(Days(AtomicU64::new(today())));
    let bob = stage.builder("Bob").clock(clock.clone()).fetch_unasked(5_000, 8_000);
    let bob = bob.open().await.unwrap();
    let source = stage.dir("file");
    let small = send(&ada, to_bob, &source, 5_000).await;
    let large = send(&ada, to_bob, &source, 5_001).await;
    let too_much = send(&ada, to_bob, &source, 4_000).await;
    for _ in 0..2 {
        bob.sync().await.unwrap();
    }
    assert!(path(&bob, to_ada, small).await.is_some());
    assert_eq!(waiting(&bob).await, [(large, 5_001), (too_much, 4_000)], "each is told once");
    assert!(path(&bob, to_ada, large).await.is_none());

    bob.download(to_ada, large).await.unwrap();
    assert_eq!(bob.sync().await.unwrap().files, 1);
    let fetched = path(&bob, to_ada, large).await.unwrap();
    assert_eq!(fs::read(fetched).unwrap(), vec![7; 5_001]);
    // It is here already, and what is no file never comes.
    for id in [large, MessageId::from_bytes([1; 16])] {
        assert_eq!(bob.download(to_ada, id).await.unwrap_err().code(), "transfer-absent");
    }
    // What was too much that day comes the next.
    clock.0.fetch_add(DAY, Ordering::SeqCst);
    assert_eq!(bob.sync().await.unwrap().files, 1);
    assert!(path(&bob, to_ada, too_much).await.is_some());
    // Nothing at all without being asked.
    bob.close().await;
    let bob = stage.builder("Bob").clock(clock).fetch_unasked(0, u64::MAX).open().await.unwrap();
    send(&ada, to_bob, &source, 0).await;
    assert_eq!(bob.sync().await.unwrap().files, 0);
    assert_eq!(waiting(&bob).await.len(), 3);
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_file_leaves_nothing_and_can_be_asked_for_again() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let (to_bob, to_ada) =
        (ada.contact("Bob").await.unwrap().id, bob.contact("Ada").await.unwrap().id);
    bob.close().await;
    let bob = stage.builder("Bob").fetch_unasked(0, 0).open().await.unwrap();
    let source = stage.dir("file");
    let id = send(&ada, to_bob, &source, 300_000).await;
    bob.sync().await.unwrap();
    // As if it had come half way.
    let part = stage.dir("Bob").join("files").join(format!(".{to_ada}-{id}.part"));
    fs::write(&part, vec![0; 100_000]).unwrap();
    bob.cancel_download(to_ada, id).await.unwrap();
    assert!(!part.exists());
    assert_eq!(bob.sync().await.unwrap().files, 0);
    bob.download(to_ada, id).await.unwrap();
    assert_eq!(bob.sync().await.unwrap().files, 1);
    assert_eq!(bob.cancel_download(to_ada, id).await.unwrap_err().code(), "transfer-absent");

    // One that has not gone out: its message has failed, and what is behind it goes on.
    fs::write(&source, vec![1; 50_000]).unwrap();
    let unwanted = ada.send_file(to_bob, &source).await.unwrap();
    let behind = ada.send_text(to_bob, "behind it").await.unwrap();
    ada.cancel_upload(unwanted).await.unwrap();
    assert_eq!(fs::read_dir(stage.dir("Ada").join("blobs")).unwrap().count(), 0);
    ada.sync().await.unwrap();
    let state = ada.message(unwanted).await.unwrap().state;
    assert!(matches!(state, MessageState::Failed { .. }), "{state:?}");
    assert_eq!(ada.message(behind).await.unwrap().state, MessageState::Accepted);
    assert_eq!(ada.cancel_upload(unwanted).await.unwrap_err().code(), "transfer-absent");
    ada.close().await;
    bob.close().await;
    stage.end().await;
}
