//! Reactions, edits, deletions, receipts, typing and timers, between two clients that run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{PATIENCE, Stage, acquainted, text};
use undertone::{
    Client, Clock, Direction, EventKind, Events, MessageKind, MessageState, SystemClock, UnixMillis,
};

/// Events in their order, until the one that is waited for.
async fn until(events: &mut Events, wanted: impl Fn(&EventKind) -> bool) -> EventKind {
    let waiting = async {
        loop {
            let event = events.next_event().await.unwrap();
            events.acknowledge(&event).await.unwrap();
            if wanted(&event.kind) {
                return event.kind;
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it did not happen")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_to_messages_reaches_the_other_side() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let (to_bob, to_ada) =
        (ada.contact("Bob").await.unwrap().id, bob.contact("Ada").await.unwrap().id);
    bob.set_read_receipts(true).await.unwrap();
    assert!(bob.read_receipts().await.unwrap());
    ada.start().unwrap();
    bob.start().unwrap();
    let (mut at_ada, mut at_bob) = (ada.events("screen"), bob.events("screen"));
    let id = ada.send_text(to_bob, "see you at eihgt").await.unwrap();
    let came = |e: &EventKind| matches!(e, EventKind::MessageReceived { .. });
    until(&mut at_bob, came).await;
    let sent = ada.message(id).await.unwrap();
    let got = bob.received_message(to_ada, id).await.unwrap();
    assert_eq!(bob.unread(to_ada).await.unwrap(), 1);

    ada.edit(sent.seq, "see you at eight").await.unwrap();
    until(&mut at_bob, |e| matches!(e, EventKind::MessageEdited { .. })).await;
    assert_eq!(text(&bob.message_at(got.seq).await.unwrap()), "see you at eight");

    bob.react(got.seq, "👍").await.unwrap();
    let reaction = until(&mut at_ada, |e| matches!(e, EventKind::ReactionChanged { .. })).await;
    let EventKind::ReactionChanged { by, emoji, direction, .. } = reaction else { panic!() };
    assert_eq!((by, direction), (Direction::Incoming, Direction::Outgoing));
    assert_eq!(emoji.as_deref(), Some("👍"));
    bob.unreact(got.seq).await.unwrap();
    until(&mut at_ada, |e| matches!(e, EventKind::ReactionChanged { emoji: None, .. })).await;

    assert_eq!(bob.mark_read(to_ada, None).await.unwrap(), 1);
    ada.wait(id, MessageState::Read, PATIENCE).await.unwrap();

    let refused = bob.edit(got.seq, "no").await.unwrap_err();
    assert_eq!(refused.code(), "not-yours");
    ada.delete_message(sent.seq).await.unwrap();
    until(&mut at_bob, |e| matches!(e, EventKind::MessageDeleted { .. })).await;
    assert_eq!(bob.message_at(got.seq).await.unwrap().kind, MessageKind::Deleted);
    assert_eq!(ada.react(sent.seq, "👍").await.unwrap_err().code(), "not-changeable");
    assert_eq!(ada.message_at(4711).await.unwrap_err().code(), "unknown-message");

    ada.set_timer(to_bob, 3600).await.unwrap();
    let timer = until(&mut at_bob, |e| matches!(e, EventKind::TimerChanged { .. })).await;
    assert!(matches!(
        timer,
        EventKind::TimerChanged { by: Direction::Incoming, seconds: 3600, .. }
    ));
    let poll = ada.send_custom(to_bob, "com.example.poll", b"\x00lunch?").await.unwrap();
    until(&mut at_bob, came).await;
    let poll = bob.received_message(to_ada, poll).await.unwrap();
    let MessageKind::Custom { name, payload } = &poll.kind else { panic!("{:?}", poll.kind) };
    assert_eq!((name.as_str(), payload.as_slice()), ("com.example.poll", &b"\x00lunch?"[..]));
    assert_eq!((poll.timer_seconds, poll.disappears_at), (3600, None));
    bob.erase_message(poll.seq).await.unwrap();
    assert_eq!(bob.message_at(poll.seq).await.unwrap_err().code(), "unknown-message");

    ada.set_name("Ada Lovelace").await.unwrap();
    assert_eq!(ada.me().name, "Ada Lovelace");
    until(&mut at_bob, |e| matches!(e, EventKind::ContactRenamed { .. })).await;

    let mut cursors: Vec<_> =
        bob.cursors().await.unwrap().into_iter().map(|cursor| cursor.name).collect();
    cursors.sort();
    assert_eq!(cursors, ["screen"]);
    assert!(bob.drop_cursor("screen").await.unwrap());
    let unnamed = bob.events("").next_event().await.unwrap_err();
    assert_eq!(unnamed.code(), "cursor-invalid");
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typing_is_told_while_both_are_there_and_never_later() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let to_bob = ada.contact("Bob").await.unwrap().id;
    // Not connected: it is not told, now or later.
    assert!(!ada.set_typing(to_bob, true).await.unwrap());
    ada.start().unwrap();
    bob.start().unwrap();
    let id = ada.send_text(to_bob, "are you there?").await.unwrap();
    ada.wait(id, MessageState::Delivered, PATIENCE).await.unwrap();
    let mut typing = bob.typing();
    let before = common::all_events(&bob).await.len();
    let heard = async {
        // It is not told while something else is being sent: a screen says it again.
        let mut on = true;
        loop {
            if ada.set_typing(to_bob, on).await.unwrap() {
                break;
            }
            on = !on;
            tokio::task::yield_now().await;
        }
        typing.next().await.unwrap()
    };
    let heard = tokio::time::timeout(PATIENCE, heard).await.unwrap();
    assert_eq!(heard.contact, bob.contact("Ada").await.unwrap().id);
    assert_eq!(common::all_events(&bob).await.len(), before);
    bob.close().await;
    assert_eq!(typing.next().await.unwrap_err().code(), "closed");
    ada.close().await;
    stage.end().await;
}

/// A bot that dies with an event in its hands sees it again; a screen reads all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_that_dies_sees_the_event_again_and_misses_none() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let to_bob = ada.contact("Bob").await.unwrap().id;
    let mut expected = Vec::new();
    for n in 0..6 {
        expected.push(ada.send_text(to_bob, &n.to_string()).await.unwrap());
    }
    ada.sync().await.unwrap();
    bob.sync().await.unwrap();
    let mut bob = bob;
    let mut handled = Vec::new();
    for life in 0..expected.len() {
        let mut events = bob.events("bot");
        while let Some(event) = events.try_next().await.unwrap() {
            if let EventKind::MessageReceived { id, .. } = event.kind {
                // It dies before it acknowledges in even lives, and behind it in odd ones.
                if life % 2 == 1 {
                    events.acknowledge(&event).await.unwrap();
                }
                handled.push(id);
                break;
            }
            events.acknowledge(&event).await.unwrap();
        }
        bob.close().await;
        bob = stage.again("Bob").await;
    }
    // Each twice, in order: none missed, and each seen again that was not acknowledged.
    let twice: Vec<_> = expected.iter().take(3).flat_map(|id| [*id, *id]).collect();
    assert_eq!(handled, twice);
    let mut seen = Vec::new();
    let mut screen = bob.events("screen");
    while let Some(event) = screen.try_next().await.unwrap() {
        if let EventKind::MessageReceived { id, .. } = event.kind {
            seen.push(id);
        }
    }
    assert_eq!(seen, expected);
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

#[derive(Clone)]
struct HandClock(Arc<AtomicU64>);

impl Clock for HandClock {
    fn now(&self) -> UnixMillis {
        UnixMillis::new(self.0.load(Ordering::SeqCst))
    }
}

/// With the message goes the file that came with it, and what was fetched of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_go_with_their_messages() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let (to_bob, to_ada) =
        (ada.contact("Bob").await.unwrap().id, bob.contact("Ada").await.unwrap().id);
    bob.close().await;
    let clock = HandClock(Arc::new(AtomicU64::new(SystemClock.now().get())));
    let open = || stage.builder("Bob").clock(Arc::new(clock.clone())).open();
    let bob = open().await.unwrap();
    let source = stage.dir("plan.txt");
    fs::write(&source, "the plan").unwrap();
    let back = ada.send_file_with_caption(to_bob, &source, "as agreed").await.unwrap();
    ada.set_timer(to_bob, 60).await.unwrap();
    let gone = ada.send_file(to_bob, &source).await.unwrap();
    ada.sync().await.unwrap();
    assert_eq!(bob.sync().await.unwrap().files, 2);
    let path = |client: Client, id| async move {
        match client.received_message(to_ada, id).await.unwrap().kind {
            MessageKind::File(info) => (info.path.unwrap(), info.caption),
            other => panic!("{other:?}"),
        }
    };
    let (first, caption) = path(bob.clone(), back).await;
    let (second, _) = path(bob.clone(), gone).await;
    assert_eq!(caption, "as agreed");
    assert!(first.exists() && second.exists());
    ada.delete_message(ada.message(back).await.unwrap().seq).await.unwrap();
    ada.sync().await.unwrap();
    bob.sync().await.unwrap();
    bob.sync().await.unwrap();
    assert!(!first.exists() && second.exists());
    bob.mark_read(to_ada, None).await.unwrap();
    bob.close().await;
    // Its time comes while the program does not run: it goes when the profile is opened.
    clock.0.fetch_add(61_000, Ordering::SeqCst);
    let bob = open().await.unwrap();
    assert!(!second.exists());
    assert_eq!(bob.history(to_ada, None, 9).await.unwrap().len(), 1);
    assert_eq!(fs::read_dir(stage.dir("Bob").join("files")).unwrap().count(), 0);
    assert!(source.exists(), "the sender's own file is not ours");
    ada.close().await;
    bob.close().await;
    stage.end().await;
}
