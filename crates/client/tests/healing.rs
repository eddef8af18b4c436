//! Copies of stores: put back, and run beside each other. With a real relay on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;

use common::{PATIENCE, Stage, acquainted, all_events, contact, copy, settle, texts};
use undertone::{Client, ContactId, ContactState, EventKind, LinkKind, MessageState, ResetCause};

async fn resets(client: &Client) -> Vec<ResetCause> {
    let reset = |event: undertone::Event| match event.kind {
        EventKind::Reset { cause, .. } => Some(cause),
        _ => None,
    };
    all_events(client).await.into_iter().filter_map(reset).collect()
}

/// Both ways, once each, with what was said known to have arrived.
async fn assert_talking(ada: &Client, to_bob: ContactId, bob: &Client, to_ada: ContactId) {
    let there = ada.send_text(to_bob, "there").await.unwrap();
    let back = bob.send_text(to_ada, "and back").await.unwrap();
    settle(&[ada, bob]).await;
    assert_eq!(ada.message(there).await.unwrap().state, MessageState::Delivered);
    assert_eq!(bob.message(back).await.unwrap().state, MessageState::Delivered);
    for (client, id) in [(ada, to_bob), (bob, to_ada)] {
        let contacts = client.contacts().await.unwrap();
        let state = contacts.iter().find(|c| c.id == id).unwrap().state;
        assert_eq!(state, ContactState::Active);
    }
}

/// The store is put back to an earlier state: nothing is sealed before the sessions have started
/// anew, which they do by themselves, and what was not known to be delivered arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_put_back_heals_by_itself() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    settle(&[&ada, &bob]).await;
    let (to_bob, to_ada) = (contact(&ada, "Bob").await, contact(&bob, "Ada").await);
    bob.close().await;
    let store = stage.dir("Bob").join("store.db");
    let old = fs::read(&store).unwrap();
    ada.send_text(to_bob, "seen by the newer store").await.unwrap();
    ada.sync().await.unwrap();
    let bob = stage.again("Bob").await;
    assert_eq!(bob.sync().await.unwrap().received, 1);
    bob.close().await;

    fs::write(&store, old).unwrap();
    let bob = stage.again("Bob").await;
    let id = bob.send_text(to_ada, "from the old copy").await.unwrap();
    bob.sync().await.unwrap();
    let told = |e: &undertone::Event| matches!(e.kind, EventKind::StoreRolledBack { .. });
    assert!(all_events(&bob).await.iter().any(told));
    assert_eq!(resets(&bob).await, [ResetCause::OwnStateLost]);
    settle(&[&ada, &bob]).await;
    assert_eq!(bob.message(id).await.unwrap().state, MessageState::Delivered);
    assert_eq!(resets(&ada).await, [ResetCause::TheirStateLost]);
    assert_eq!(texts(&ada, to_bob).await, ["seen by the newer store", "from the old copy"]);
    assert_talking(&ada, to_bob, &bob, to_ada).await;
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

/// Two copies of one profile run at once: the older subscriber is told and stops; nothing that
/// either showed as delivered is missing at the contacts; the survivor heals with all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_copies_one_stops_and_the_other_heals_with_everybody() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let carol = stage.person("Carol").await;
    let link = bob.invite(LinkKind::SingleUse, None).await.unwrap().link;
    let carol_to_bob = carol.add(&link, None).await.unwrap().id;
    settle(&[&carol, &bob, &ada]).await;
    let (to_bob, to_ada, to_carol) =
        (contact(&ada, "Bob").await, contact(&bob, "Ada").await, contact(&bob, "Carol").await);
    bob.close().await;
    let second = stage.dir("Copy");
    copy(&stage.dir("Bob"), &second);

    // The first goes on, shows things as delivered, and stays connected.
    let first = stage.again("Bob").await;
    let shown = first.send_text(to_ada, "from the first").await.unwrap();
    settle(&[&first, &ada]).await;
    assert_eq!(first.message(shown).await.unwrap().state, MessageState::Delivered);
    first.start().unwrap();
    first.sync().await.unwrap();

    let survivor = stage.builder("Copy").open().await.unwrap();
    let wrote = survivor.send_text(to_ada, "from the second").await.unwrap();
    let also = survivor.send_text(to_carol, "to Carol").await.unwrap();
    survivor.sync().await.unwrap();
    // The first hears of it and stops: nothing more goes out, whatever is asked of it.
    let superseded = async {
        let mut events = first.events("watch");
        loop {
            if events.next_event().await.unwrap().kind == EventKind::Superseded {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, superseded).await.expect("the first was not told");
    first.send_text(to_ada, "too late").await.unwrap();
    assert_eq!(first.sync().await.unwrap_err().code(), "superseded");

    settle(&[&survivor, &ada, &carol]).await;
    for id in [wrote, also] {
        assert_eq!(survivor.message(id).await.unwrap().state, MessageState::Delivered);
    }
    let heard = texts(&ada, to_bob).await;
    for text in ["from the first", "from the second"] {
        assert_eq!(heard.iter().filter(|t| *t == text).count(), 1, "{text}: {heard:?}");
    }
    assert!(!heard.contains(&"too late".to_owned()));
    assert_eq!(texts(&carol, carol_to_bob).await, ["to Carol"]);
    assert_talking(&ada, to_bob, &survivor, to_ada).await;
    assert_talking(&carol, carol_to_bob, &survivor, to_carol).await;
    for client in [first, survivor, ada, carol] {
        client.close().await;
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_contact_is_refused_at_the_relay_and_comes_back_when_unblocked() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    settle(&[&ada, &bob]).await;
    let (to_bob, to_ada) = (contact(&ada, "Bob").await, contact(&bob, "Ada").await);
    assert_eq!(bob.block(to_ada).await.unwrap().state, ContactState::Blocked);
    bob.sync().await.unwrap();
    let id = ada.send_text(to_bob, "let me in").await.unwrap();
    assert_eq!(ada.sync().await.unwrap().queued, 1);
    let refused = ada.wait(id, MessageState::Accepted, PATIENCE).await.unwrap_err();
    assert_eq!(refused.code(), "address-unknown");
    assert_eq!(bob.send_text(to_ada, "no").await.unwrap_err().code(), "contact-blocked");
    assert_eq!(bob.sync().await.unwrap().received, 0);

    bob.unblock(to_ada).await.unwrap();
    settle(&[&bob, &ada]).await;
    assert_eq!(texts(&bob, to_ada).await, ["let me in"]);
    assert_talking(&ada, to_bob, &bob, to_ada).await;
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_contact_leaves_nothing_behind() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    settle(&[&ada, &bob]).await;
    let (to_bob, to_ada) = (contact(&ada, "Bob").await, contact(&bob, "Ada").await);
    let source = stage.dir("plan.txt");
    fs::write(&source, "the plan").unwrap();
    ada.send_text(to_bob, "a word").await.unwrap();
    ada.send_file(to_bob, &source).await.unwrap();
    settle(&[&ada, &bob]).await;
    assert_eq!(fs::read_dir(stage.dir("Bob").join("files")).unwrap().count(), 1);
    bob.delete_contact(to_ada).await.unwrap();
    assert!(bob.contacts().await.unwrap().is_empty());
    assert_eq!(fs::read_dir(stage.dir("Bob").join("files")).unwrap().count(), 0);
    assert!(all_events(&bob).await.iter().all(|event| event.kind.contact().is_none()));
    assert_eq!(bob.history(to_ada, None, 9).await.unwrap_err().code(), "unknown-contact");
    bob.sync().await.unwrap();
    ada.send_text(to_bob, "anybody there?").await.unwrap();
    assert_eq!(ada.sync().await.unwrap().queued, 1);
    assert_eq!(bob.sync().await.unwrap().received, 0);
    // They may meet again.
    let link = bob.invite(LinkKind::SingleUse, None).await.unwrap().link;
    ada.add(&link, None).await.unwrap();
    settle(&[&ada, &bob]).await;
    let again = contact(&bob, "Ada").await;
    assert_ne!(again, to_ada);
    assert_eq!(texts(&bob, again).await, ["anybody there?"]);
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_link_lets_nobody_in_and_takes_nobody_away() {
    let stage = Stage::new().await;
    let bob = stage.person("Bob").await;
    let link = bob.invite(LinkKind::Reusable, Some("web page".into())).await.unwrap().link;
    let ada = stage.person("Ada").await;
    let to_bob = ada.add(&link, None).await.unwrap().id;
    settle(&[&ada, &bob]).await;
    let links = bob.links().await.unwrap();
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].label.as_deref(), Some("web page"));
    bob.revoke_link(links[0].number).await.unwrap();
    bob.sync().await.unwrap();
    assert!(bob.links().await.unwrap()[0].revoked);
    let carol = stage.person("Carol").await;
    assert_eq!(carol.add(&link, None).await.unwrap_err().code(), "link-unknown");
    let to_ada = contact(&bob, "Ada").await;
    assert_talking(&ada, to_bob, &bob, to_ada).await;
    for client in [ada, bob, carol] {
        client.close().await;
    }
    stage.end().await;
}

/// To another relay, in the middle of a conversation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_moves_to_another_relay_and_nothing_in_flight_is_lost() {
    let mut stage = Stage::new().await;
    let other = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    settle(&[&ada, &bob]).await;
    let (to_bob, to_ada) = (contact(&ada, "Bob").await, contact(&bob, "Ada").await);
    ada.send_text(to_bob, "in flight").await.unwrap();
    ada.sync().await.unwrap();
    bob.move_to(other.join()).await.unwrap();
    assert_eq!(bob.me().relay, other.relay_address().to_string());
    bob.sync().await.unwrap();
    ada.send_text(to_bob, "before Ada knows").await.unwrap();
    settle(&[&ada, &bob]).await;
    ada.send_text(to_bob, "and after").await.unwrap();
    settle(&[&ada, &bob]).await;
    assert_eq!(texts(&bob, to_ada).await, ["in flight", "before Ada knows", "and after"]);
    bob.close().await;
    // The old relay is gone: everything goes over the new one, also with a store opened afresh.
    stage.kill_relay().await;
    let bob = stage.again("Bob").await;
    assert_eq!(bob.me().relay, other.relay_address().to_string());
    bob.sync().await.unwrap();
    ada.close().await;
    bob.close().await;
    other.end().await;
}
