//! The story of the README, through the public SDK, with a real relay on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;

use common::{PATIENCE, Stage, acquainted, all_events, text};
use undertone::{
    Client, ContactId, ContactState, EventKind, Link, LinkKind, Message, MessageKind, MessageState,
    NewProfile, RelayAddress, Secret,
};
use undertone_wire::RootFingerprint;

/// A file of this many bytes that no compression or padding could stand for.
fn write_file(path: &Path, size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(size)
    .collect();
    fs::write(path, &bytes).unwrap();
    bytes
}

async fn history(client: &Client, contact: ContactId) -> Vec<Message> {
    client.history(contact, None, 10_000).await.unwrap()
}

async fn texts(client: &Client, contact: ContactId) -> Vec<String> {
    let texts = history(client, contact).await;
    let texts = texts.iter().filter(|m| matches!(m.kind, MessageKind::Text { .. }));
    texts.map(|m| text(m).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_meet_over_a_link_and_talk_both_ways() {
    let stage = Stage::new().await;
    let (ada, bob) = (stage.person("Ada").await, stage.person("Bob").await);
    let invitation = bob.invite(LinkKind::SingleUse, None).await.unwrap();
    // The link travels as text.
    let link: Link = invitation.link.to_text().parse().unwrap();
    let at_ada = ada.add(&link, None).await.unwrap();
    assert_eq!(at_ada.state, ContactState::Pending);
    let hello = ada.send_text(at_ada.id, "Hello Bob").await.unwrap();
    assert_eq!(ada.message(hello).await.unwrap().state, MessageState::Queued);
    let report = ada.sync().await.unwrap();
    assert_eq!((report.accepted, report.queued), (1, 0));
    assert_eq!(ada.message(hello).await.unwrap().state, MessageState::Accepted);

    let report = bob.sync().await.unwrap();
    assert_eq!(report.received, 1);
    let at_bob = bob.contact("Ada").await.unwrap();
    assert_eq!(texts(&bob, at_bob.id).await, ["Hello Bob"]);
    let answer = bob.send_text(at_bob.id, "Hello Ada").await.unwrap();
    bob.sync().await.unwrap();
    ada.sync().await.unwrap();
    assert_eq!(ada.message(hello).await.unwrap().state, MessageState::Delivered);
    assert_eq!(texts(&ada, at_ada.id).await, ["Hello Bob", "Hello Ada"]);
    bob.sync().await.unwrap();
    assert_eq!(bob.message(answer).await.unwrap().state, MessageState::Delivered);

    let (ada_sees, bob_sees) = (ada.contact("bob").await.unwrap(), bob.contact("1").await.unwrap());
    assert_eq!((ada_sees.state, bob_sees.state), (ContactState::Active, ContactState::Active));
    assert_eq!(
        ada.safety_number(ada_sees.id).await.unwrap(),
        bob.safety_number(bob_sees.id).await.unwrap()
    );
    assert!(ada.mark_verified(ada_sees.id).await.unwrap().verified);
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

/// Nothing lost, nothing twice, order kept: the recipient is away while three messages and a file
/// of 5 MiB are sent, and the relay is killed and comes back before they do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_relay_loses_nothing_that_it_accepted() {
    let mut stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let at_bob = bob.contact("Ada").await.unwrap().id;
    let to_bob = ada.contact("Bob").await.unwrap().id;
    bob.close().await;

    let source = stage.dir("plan.bin");
    let original = write_file(&source, 5 * 1024 * 1024);
    let mut sent = Vec::new();
    sent.push(ada.send_text(to_bob, "one").await.unwrap());
    sent.push(ada.send_text(to_bob, "two").await.unwrap());
    sent.push(ada.send_file(to_bob, &source).await.unwrap());
    sent.push(ada.send_text(to_bob, "three").await.unwrap());
    // The file is not needed any more once it is queued.
    fs::remove_file(&source).unwrap();
    let report = ada.sync().await.unwrap();
    assert_eq!((report.accepted, report.queued), (4, 0));

    stage.kill_relay().await;
    // With the relay away, writing goes on and is queued.
    sent.push(ada.send_text(to_bob, "four").await.unwrap());
    assert_eq!(ada.sync().await.unwrap_err().code(), "unreachable");
    assert_eq!(ada.message(sent[4]).await.unwrap().state, MessageState::Queued);
    stage.start_relay().await;

    let bob = stage.again("Bob").await;
    let report = bob.sync().await.unwrap();
    assert_eq!((report.received, report.files, report.parked), (4, 1, 0));
    assert_eq!(ada.sync().await.unwrap().accepted, 1);
    assert_eq!(bob.sync().await.unwrap().received, 1);
    ada.sync().await.unwrap();

    let got = history(&bob, at_bob).await;
    let ids: Vec<_> = got.iter().map(|message| message.id).collect();
    assert_eq!(ids, sent);
    assert_eq!(texts(&bob, at_bob).await, ["one", "two", "three", "four"]);
    let MessageKind::File(file) = &got[2].kind else { panic!("not a file") };
    assert_eq!((file.name.as_str(), file.size), ("plan.bin", 5 * 1024 * 1024));
    let path = file.path.as_ref().unwrap();
    assert!(fs::read(path).unwrap() == original, "the file differs");
    for id in sent {
        assert_eq!(ada.message(id).await.unwrap().state, MessageState::Delivered);
    }
    // A further pass has nothing to do.
    assert_eq!(bob.sync().await.unwrap().received, 0);
    let received = |e: &undertone::Event| matches!(e.kind, EventKind::MessageReceived { .. });
    assert_eq!(all_events(&bob).await.iter().filter(|e| received(e)).count(), 5);
    // Nothing is left lying about: no ciphertext at the sender, no parts at the recipient.
    assert_eq!(fs::read_dir(stage.dir("Ada").join("blobs")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(stage.dir("Bob").join("files")).unwrap().count(), 1);
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_every_awkward_size_arrive_bit_for_bit() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let to_bob = ada.contact("Bob").await.unwrap().id;
    let sizes = [0, 1, 65_535, 65_536, 65_537, 200_000];
    let mut originals = Vec::new();
    for size in sizes {
        let source = stage.dir(&format!("f{size}"));
        originals.push(write_file(&source, size));
        ada.send_file(to_bob, &source).await.unwrap();
    }
    assert_eq!(ada.sync().await.unwrap().accepted, 6);
    assert_eq!(bob.sync().await.unwrap().files, 6);
    let at_bob = bob.contact("Ada").await.unwrap().id;
    for (message, original) in history(&bob, at_bob).await.iter().zip(originals) {
        let MessageKind::File(file) = &message.kind else { panic!("not a file") };
        assert!(fs::read(file.path.as_ref().unwrap()).unwrap() == original, "{}", file.name);
    }
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn started_clients_talk_by_themselves_through_a_restart_of_the_relay() {
    let mut stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let to_bob = ada.contact("Bob").await.unwrap().id;
    ada.start().unwrap();
    bob.start().unwrap();
    ada.start().unwrap();
    let first = ada.send_text(to_bob, "first").await.unwrap();
    ada.wait(first, MessageState::Delivered, PATIENCE).await.unwrap();
    stage.kill_relay().await;
    let second = ada.send_text(to_bob, "second").await.unwrap();
    stage.start_relay().await;
    ada.wait(second, MessageState::Delivered, PATIENCE).await.unwrap();
    let at_bob = bob.contact("Ada").await.unwrap().id;
    assert_eq!(texts(&bob, at_bob).await, ["first", "second"]);
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_goes_wrong_has_its_own_error_and_does_no_damage() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let to_bob = ada.contact("Bob").await.unwrap().id;

    // A single-use link that has been used, and one that was cut.
    let link = bob.invite(LinkKind::SingleUse, None).await.unwrap().link;
    let carol = stage.person("Carol").await;
    carol.add(&link, None).await.unwrap();
    let dan = stage.person("Dan").await;
    assert_eq!(dan.add(&link, None).await.unwrap_err().code(), "link-used-up");
    assert!(dan.contacts().await.unwrap().is_empty());
    let link_text = link.to_text();
    let cut = link_text[..link_text.len() - 7].parse::<Link>().unwrap_err();
    assert_eq!(undertone::Error::from(cut).code(), "link-truncated");
    assert_eq!(bob.add(&link, None).await.unwrap_err().code(), "link-own");

    // A link whose depot the relay has never heard of.
    let other = Link::new(LinkKind::Reusable, [5; 32], [6; 32], stage.relay_address());
    assert_eq!(dan.add(&other, None).await.unwrap_err().code(), "link-unknown");

    // Nobody of this name; a file that is not there; a directory; nothing to say.
    assert_eq!(ada.contact("Nobody").await.unwrap_err().code(), "unknown-contact");
    let nobody = ContactId::new(99);
    assert_eq!(ada.send_text(nobody, "x").await.unwrap_err().code(), "unknown-contact");
    for path in [stage.dir("absent.txt"), stage.dir("Ada")] {
        assert_eq!(ada.send_file(to_bob, &path).await.unwrap_err().code(), "file-unreadable");
    }
    assert_eq!(ada.send_text(to_bob, "").await.unwrap_err().code(), "message-empty");
    let long = "x".repeat(60_000);
    assert_eq!(ada.send_text(to_bob, &long).await.unwrap_err().code(), "message-too-long");
    assert!(history(&ada, to_bob).await.is_empty());

    // Another relay at the address: its fingerprint differs.
    let real = stage.relay_address();
    let root = RootFingerprint::from_bytes([1; 32]);
    let false_address = RelayAddress::new(real.host(), real.port(), root).unwrap();
    let eve = stranger(&stage, "Eve", false_address).await;
    let refused = eve.invite(LinkKind::SingleUse, None).await.unwrap_err();
    assert_eq!(refused.code(), "relay-pin-mismatch");

    // A token that nobody gave out.
    let frank = stranger(&stage, "Frank", real).await;
    let refused = frank.invite(LinkKind::SingleUse, None).await.unwrap_err();
    assert_eq!(refused.code(), "admission-refused");

    // Everything still works.
    let id = ada.send_text(to_bob, "and yet").await.unwrap();
    ada.sync().await.unwrap();
    bob.sync().await.unwrap();
    ada.sync().await.unwrap();
    assert_eq!(ada.message(id).await.unwrap().state, MessageState::Delivered);
    for client in [ada, bob, carol, dan, eve, frank] {
        client.close().await;
    }
    stage.end().await;
}

/// A profile with an admission token that its relay does not know.
async fn stranger(stage: &Stage, name: &str, relay: RelayAddress) -> Client {
    let token = undertone_wire::AdmissionToken::from_bytes([3; 32]);
    let join = undertone::JoinAddress::new(relay, token);
    Client::builder(stage.dir(name))
        .secret(Secret::key([7; 32]))
        .create(NewProfile { name: name.to_owned(), join })
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_relay_keeps_what_is_written() {
    let mut stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let to_bob = ada.contact("Bob").await.unwrap().id;
    ada.close().await;
    stage.kill_relay().await;
    let ada = stage.again("Ada").await;
    let id = ada.send_text(to_bob, "later").await.unwrap();
    assert_eq!(ada.sync().await.unwrap_err().code(), "unreachable");
    let invite = ada.invite(LinkKind::SingleUse, None).await;
    assert_eq!(invite.unwrap_err().code(), "unreachable");
    stage.start_relay().await;
    assert_eq!(ada.sync().await.unwrap().accepted, 1);
    assert_eq!(bob.sync().await.unwrap().received, 1);
    assert_eq!(ada.message(id).await.unwrap().state, MessageState::Accepted);
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_a_contacts_relay_holds_up_says_which_relay_that_is() {
    let (stage, mut far) = (Stage::new().await, Stage::new().await);
    let (ada, bob) = (stage.person("Ada").await, far.person("Bob Far").await);
    let link = bob.invite(LinkKind::SingleUse, None).await.unwrap().link;
    let to_bob = ada.add(&link, None).await.unwrap().id;
    far.kill_relay().await;
    let id = ada.send_text(to_bob, "later").await.unwrap();
    assert_eq!(ada.sync().await.unwrap().queued, 1);
    let held = ada.wait(id, MessageState::Accepted, PATIENCE).await.unwrap_err();
    assert_eq!(held, undertone::Error::Unreachable { relay: far.relay_address().authority() });
    far.start_relay().await;
    assert_eq!(ada.sync().await.unwrap().accepted, 1);
    ada.close().await;
    bob.close().await;
    stage.end().await;
    far.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_mailbox_is_told_and_what_waits_goes_out_later_in_order() {
    let stage = Stage::new().await;
    let ada = stage.person("Ada").await;
    let profile = NewProfile { name: "Bob".to_owned(), join: stage.join() };
    let bob = stage.builder("Bob").mailbox_limits(4, 1 << 20).create(profile).await.unwrap();
    let link = bob.invite(LinkKind::SingleUse, None).await.unwrap().link;
    let to_bob = ada.add(&link, None).await.unwrap().id;
    for _ in 0..3 {
        ada.sync().await.unwrap();
        bob.sync().await.unwrap();
    }
    let mut sent = Vec::new();
    for n in 0..7 {
        sent.push(ada.send_text(to_bob, &n.to_string()).await.unwrap());
    }
    let report = ada.sync().await.unwrap();
    assert_eq!((report.accepted, report.queued), (4, 3));
    for id in &sent[4..] {
        let refused = ada.wait(*id, MessageState::Accepted, PATIENCE).await.unwrap_err();
        assert_eq!(refused.code(), "mailbox-full");
    }
    assert_eq!(bob.sync().await.unwrap().received, 4);
    let report = ada.sync().await.unwrap();
    assert_eq!((report.accepted, report.queued), (3, 0));
    for id in &sent[4..] {
        ada.wait(*id, MessageState::Accepted, PATIENCE).await.unwrap();
    }
    assert_eq!(bob.sync().await.unwrap().received, 3);
    let at_bob = bob.contact("Ada").await.unwrap().id;
    assert_eq!(texts(&bob, at_bob).await, ["0", "1", "2", "3", "4", "5", "6"]);
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_survive_the_process() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let to_bob = ada.contact("Bob").await.unwrap().id;
    for word in ["one", "two"] {
        ada.send_text(to_bob, word).await.unwrap();
    }
    ada.sync().await.unwrap();
    bob.sync().await.unwrap();
    assert_eq!(text(&common::next_message(&bob, "bot").await), "one");
    bob.close().await;
    let bob = stage.again("Bob").await;
    assert_eq!(text(&common::next_message(&bob, "bot").await), "two");
    // Another name has a place of its own.
    assert_eq!(text(&common::next_message(&bob, "other").await), "one");
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_goes_on_where_it_stopped_and_survives_a_damaged_part() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let to_bob = ada.contact("Bob").await.unwrap().id;
    let source = stage.dir("plan.bin");
    let original = write_file(&source, 1 << 20);
    for damaged in [false, true] {
        let id = ada.send_file(to_bob, &source).await.unwrap();
        // The ciphertext lies ready at the sender: what a broken download would have left.
        let blob = fs::read_dir(stage.dir("Ada").join("blobs")).unwrap().next().unwrap().unwrap();
        let mut part = fs::read(blob.path()).unwrap();
        part.truncate(700_000);
        if damaged {
            part[600_000..].fill(0);
        }
        ada.sync().await.unwrap();
        fs::write(stage.dir("Bob").join("files").join(format!(".1-{id}.part")), part).unwrap();
        assert_eq!(bob.sync().await.unwrap().files, 1);
        let MessageKind::File(file) = bob.message(id).await.unwrap().kind else {
            panic!("not a file")
        };
        assert!(fs::read(file.path.unwrap()).unwrap() == original, "the file differs");
        let first = all_events(&bob).await.into_iter().find_map(|event| match event.kind {
            EventKind::FileProgress { id: of, done, .. } if of == id => Some(done),
            _ => None,
        });
        assert!(first.unwrap() > 700_000, "it began anew");
    }
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_of_a_started_client_says_that_the_relay_is_away() {
    let mut stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    ada.close().await;
    stage.kill_relay().await;
    let ada = stage.again("Ada").await;
    ada.start().unwrap();
    assert_eq!(ada.sync().await.unwrap_err().code(), "unreachable");
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

/// Every file below a directory.
fn walk(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

/// At rest a profile is ciphertext, but for the files that were received: they are the person's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_at_rest_in_a_profile_is_ciphertext() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let to_bob = ada.contact("Bob").await.unwrap().id;
    let source = stage.dir("plan.txt");
    fs::write(&source, "the canary in the file").unwrap();
    ada.send_text(to_bob, "the canary in the text").await.unwrap();
    ada.send_file(to_bob, &source).await.unwrap();
    let label = Some("the canary on the link".to_owned());
    let link = ada.invite(LinkKind::Reusable, label).await.unwrap().link;
    let secret = *link.secret();
    // Both while it is open (with its log not folded back) and when it is closed.
    for closed in [false, true] {
        if closed {
            ada.clone().close().await;
        }
        let mut files = Vec::new();
        walk(&stage.dir("Ada"), &mut files);
        assert!(files.len() >= 4, "{files:?}");
        for path in files {
            let bytes = fs::read(&path).unwrap();
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|part| part == needle);
            assert!(!holds(b"canary") && !holds(b"plan.txt"), "{}", path.display());
            assert!(!holds(&secret) && !holds(b"SQLite format"), "{}", path.display());
        }
    }
    bob.close().await;
    stage.end().await;
}

/// Polls a future a few times and drops it.
async fn poll_some<F: Future>(future: F, times: u32) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut left = times;
    std::future::poll_fn(|context| {
        let Some(less) = left.checked_sub(1) else { return std::task::Poll::Ready(None) };
        left = less;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Wherever a pass is dropped, what was pushed comes again and nothing behind it is told first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_that_is_dropped_on_its_way_loses_nothing() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let to_bob = ada.contact("Bob").await.unwrap().id;
    let at_bob = bob.contact("Ada").await.unwrap().id;
    let mut said = Vec::new();
    for times in 0..24 {
        for part in ["a", "b"] {
            said.push(format!("{times}{part}"));
            ada.send_text(to_bob, said.last().unwrap()).await.unwrap();
        }
        ada.sync().await.unwrap();
        poll_some(bob.sync(), times).await;
    }
    bob.sync().await.unwrap();
    assert_eq!(texts(&bob, at_bob).await, said);
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

/// What interrupts waiting (new mailboxes, acknowledgements that are due) never interrupts work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_mailboxes_amid_arrivals_disturb_nothing() {
    let stage = Stage::new().await;
    let (ada, bob) = acquainted(&stage).await;
    let to_bob = ada.contact("Bob").await.unwrap().id;
    let at_bob = bob.contact("Ada").await.unwrap().id;
    ada.start().unwrap();
    bob.start().unwrap();
    let mut said = Vec::new();
    let mut last = None;
    for round in 0..12 {
        for part in ["a", "b", "c"] {
            said.push(format!("{round}{part}"));
            last = Some(ada.send_text(to_bob, said.last().unwrap()).await.unwrap());
        }
        bob.invite(LinkKind::SingleUse, None).await.unwrap();
    }
    ada.wait(last.unwrap(), MessageState::Delivered, PATIENCE).await.unwrap();
    assert_eq!(texts(&bob, at_bob).await, said);
    ada.close().await;
    bob.close().await;
    stage.end().await;
}

/// A relay that does not answer is asked for files once in a pass, not once for each file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_relay_is_asked_once_in_a_pass() {
    let stage = Stage::new().await;
    let mut far = Stage::new().await;
    let bob = stage.person("Bob").await;
    // Ada's files lie at a relay of her own.
    let ada = far.person("Ada Far").await;
    let link = bob.invite(LinkKind::SingleUse, None).await.unwrap().link;
    let to_bob = ada.add(&link, None).await.unwrap().id;
    for _ in 0..3 {
        ada.sync().await.unwrap();
        bob.sync().await.unwrap();
    }
    let source = stage.dir("plan.bin");
    write_file(&source, 1000);
    for _ in 0..3 {
        ada.send_file(to_bob, &source).await.unwrap();
    }
    assert_eq!(ada.sync().await.unwrap().accepted, 3);
    let port = far.relay_address().port();
    far.kill_relay().await;
    bob.close().await;
    // Who takes packets and never answers; every connection has a port of its own.
    let silent = std::net::UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let bob = stage.builder("Bob").timeout(std::time::Duration::from_secs(2)).open().await.unwrap();
    assert_eq!(bob.sync().await.unwrap().files_waiting, 3);
    bob.close().await;
    silent.set_nonblocking(true).unwrap();
    let mut ports = std::collections::BTreeSet::new();
    while let Ok((_, from)) = silent.recv_from(&mut [0; 2000]) {
        ports.insert(from.port());
    }
    // Once to tell that the messages came, once for the files.
    assert_eq!(ports.len(), 2);
    ada.close().await;
    stage.end().await;
    far.end().await;
}
