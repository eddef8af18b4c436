//! Two who have said of messages all that can be said of them, frozen in the midst of it.

use super::frozen::{file, place, relay_of, thaw};
use super::*;
use crate::content::{Body, Content, Reaction};
use crate::engine::transfers::FetchLimits;
use crate::message::{Direction, MessageReaction};

const NONE: FetchLimits = FetchLimits { file: 0, day: 0 };

/// The message that grace has heard of and does not have.
const MISSING: MessageId = MessageId::from_bytes([0x51; 16]);

fn later(millis: u64) -> UnixMillis {
    UnixMillis::new(NOW.get() + millis)
}

fn elsewhere() -> RelayAddress {
    RelayAddress::new("elsewhere.example", 443, RootFingerprint::from_bytes([8; 32])).unwrap()
}

fn place_of(person: &mut Person, contact: ContactId, text: &str) -> u64 {
    let all = person.history(contact, None, 100).unwrap().into_iter();
    let mut found =
        all.filter(|message| matches!(&message.kind, MessageKind::Text { text: is } if is == text));
    found.next().unwrap().seq
}

/// Frank has sent files, reacted, edited, deleted, set a timer and moved to another relay; grace has
/// reacted, erased, not yet said what came, and waits for a message and two files.
pub(super) fn much() -> (Person, Person) {
    let mut relay = Relay::default();
    let (mut frank, mut grace) = (person("Frank", 7), person("Grace", 8));
    let link = relay.invite(&mut grace, LinkKind::Reusable);
    let to_grace = relay.add(&mut frank, &link);
    relay.settle(&mut [&mut frank, &mut grace]);
    let to_frank = only(&mut grace);
    grace.set_read_receipts(true).unwrap();
    // Files: not wanted, waiting, not looked at; and one that came and whose message is gone.
    send_files(&mut relay, &mut frank, &mut grace);
    for text in ["liked", "with a tpyo"] {
        frank.queue_text(to_grace, text, NOW).unwrap();
    }
    relay.settle(&mut [&mut frank, &mut grace]);
    let liked = place_of(&mut grace, to_frank, "liked");
    grace.react(liked, Some("👍"), NOW).unwrap();
    let liked = place_of(&mut frank, to_grace, "liked");
    frank.react(liked, Some("🎉"), NOW).unwrap();
    let typo = place_of(&mut frank, to_grace, "with a tpyo");
    frank.edit(typo, "without a typo", later(5)).unwrap();
    frank.set_timer(to_grace, 60, NOW).unwrap();
    relay.settle(&mut [&mut frank, &mut grace]);
    // One that has disappeared at grace, one whose clock runs on both sides.
    for text in ["gone", "here for a minute"] {
        frank.queue_text(to_grace, text, NOW).unwrap();
    }
    relay.settle(&mut [&mut frank, &mut grace]);
    let gone = place_of(&mut grace, to_frank, "gone");
    grace.erase_message(gone, NOW).unwrap();
    grace.mark_read(to_frank, None, NOW).unwrap();
    grace.erase_due(NOW).unwrap();
    relay.settle(&mut [&mut frank, &mut grace]);
    // Came and was read, and frank has not been told of either.
    frank.queue_text(to_grace, "owed", NOW).unwrap();
    relay.send(&mut frank);
    relay.hand_over(&mut grace);
    grace.mark_read(to_frank, None, NOW).unwrap();
    let body = Body::Reaction(Reaction { target: MISSING, emoji: "🕰".into(), removed: false });
    let early = Content { id: MessageId::from_bytes([0x52; 16]), sent_at: NOW, body };
    take(&mut grace, to_frank, &early.encode().unwrap());
    // Requests and addresses of relays.
    let link = grace.links().unwrap().into_iter().find(|link| link.kind == LinkKind::Reusable);
    grace.revoke_link(link.unwrap().number, NOW).unwrap();
    let token = AdmissionToken::from_bytes([4; 32]);
    frank.move_home(&JoinAddress::new(elsewhere(), token)).unwrap();
    frank.remember_relays_over_tcp(&[elsewhere()]).unwrap();
    (frank, grace)
}

fn send_files(relay: &mut Relay, frank: &mut Person, grace: &mut Person) {
    let (to_grace, to_frank) = (only(frank), only(grace));
    let mut send = |frank: &mut Person, grace: &mut Person| {
        let id = frank.queue_file(to_grace, file(), NOW).unwrap();
        for upload in frank.uploads().unwrap() {
            frank.uploaded(upload.message, &upload.relay).unwrap();
        }
        relay.settle(&mut [frank, grace]);
        id
    };
    let unwanted = send(frank, grace);
    grace.cancel_download(to_frank, unwanted).unwrap();
    let deleted = send(frank, grace);
    let at_grace = grace.ask_for_file(to_frank, deleted).unwrap();
    assert!(grace.downloaded(at_grace, std::path::Path::new("/home/grace/plan.pdf")).unwrap());
    let at_frank = frank.message(deleted).unwrap().seq;
    frank.delete_message(at_frank, NOW).unwrap();
    send(frank, grace);
    assert!(grace.downloads(&NONE, NOW).unwrap().is_empty());
    send(frank, grace);
}

#[test]
fn what_was_said_of_messages_in_a_store_of_an_earlier_version_holds_in_this_one() {
    for version in 2..=SCHEMA_VERSION {
        if version == SCHEMA_VERSION && !place(version, "grace").exists() {
            continue;
        }
        let open = |name: &str, seed| Engine::open(thaw(version, name), TestRng(seed)).unwrap();
        go_on(open("frank", 17), open("grace", 18));
    }
}

/// Of both stores just made: so the test of the frozen ones is known to hold before they are frozen.
#[test]
fn what_was_said_of_messages_goes_on_in_this_version() {
    let (frank, grace) = much();
    go_on(frank, grace);
}

fn go_on(mut frank: Person, mut grace: Person) {
    let (to_grace, to_frank) = (only(&mut frank), only(&mut grace));
    let owed = place_of(&mut frank, to_grace, "owed");
    assert_eq!(frank.message_at(owed).unwrap().state, MessageState::Accepted);
    conversation(&mut frank, to_grace, Direction::Outgoing);
    conversation(&mut grace, to_frank, Direction::Incoming);
    assert_eq!(
        texts(&mut grace, to_frank),
        ["liked", "without a typo", "here for a minute", "owed"]
    );
    assert_eq!(grace.unread(to_frank).unwrap(), 0);
    files(&mut grace);
    assert_eq!(frank.relays_over_tcp().unwrap(), [elsewhere()]);
    assert_eq!(frank.token_for(&relay_address()).unwrap().as_bytes(), &[1; 32]);
    assert_eq!(frank.token_for(&elsewhere()).unwrap().as_bytes(), &[4; 32]);
    assert_eq!(grace.chores().unwrap().len(), 1);

    // The reaction finds its message.
    let body = Body::Text("missing".to_owned());
    let missing = Content { id: MISSING, sent_at: NOW, body }.encode().unwrap();
    assert!(take(&mut grace, to_frank, &missing).message);
    let reactions = grace.received_message(to_frank, MISSING).unwrap().reactions;
    assert_eq!(reactions, [MessageReaction { by: Direction::Incoming, emoji: "🕰".into() }]);

    // What is owed is told.
    let mut relay = relay_of(&mut [&mut frank, &mut grace]);
    relay.settle(&mut [&mut frank, &mut grace]);
    assert_eq!(frank.message_at(owed).unwrap().state, MessageState::Read);

    // What disappears does.
    assert_eq!(grace.next_erasure().unwrap(), Some(later(60_000)));
    frank.erase_due(later(60_000)).unwrap();
    grace.erase_due(later(60_000)).unwrap();
    assert_eq!(texts(&mut frank, to_grace), ["liked", "without a typo"]);
    assert_eq!(texts(&mut grace, to_frank), ["liked", "without a typo", "missing"]);
}

/// What both have alike.
fn conversation(person: &mut Person, with: ContactId, frank_wrote: Direction) {
    let grace_wrote = match frank_wrote {
        Direction::Outgoing => Direction::Incoming,
        Direction::Incoming => Direction::Outgoing,
    };
    assert_eq!(person.contact(with).unwrap().timer_seconds, 60);
    let liked = place_of(person, with, "liked");
    let mut reactions = person.message_at(liked).unwrap().reactions;
    reactions.sort_by_key(|one| one.by == frank_wrote);
    let shown = |by, emoji: &str| MessageReaction { by, emoji: emoji.to_owned() };
    assert_eq!(reactions, [shown(grace_wrote, "👍"), shown(frank_wrote, "🎉")]);
    let edited = place_of(person, with, "without a typo");
    assert_eq!(person.message_at(edited).unwrap().edited_at_claimed, Some(later(5)));
    let brief = place_of(person, with, "here for a minute");
    let brief = person.message_at(brief).unwrap();
    assert_eq!((brief.timer_seconds, brief.disappears_at), (60, Some(later(60_000))));
    let all = person.history(with, None, 100).unwrap();
    assert_eq!(all.iter().filter(|message| message.kind == MessageKind::Deleted).count(), 1);
}

/// Of three files that can be fetched one is not wanted, one waits, and of one nothing is decided.
fn files(grace: &mut Person) {
    assert_eq!(grace.files_to_remove().unwrap().len(), 1);
    let enough = FetchLimits { file: 4711, day: 2 * 4711 };
    assert_eq!(grace.downloads(&enough, NOW).unwrap().len(), 2);
    // Not every place is there: the log does not tell of the file whose message is gone.
    let (mut at, mut waiting) = (EventSeq::START, 0);
    while let Some(event) = grace.event_after(at).unwrap() {
        at = event.seq;
        waiting += usize::from(matches!(event.kind, EventKind::FileWaiting { .. }));
    }
    assert_eq!(waiting, 1);
}
