//! The parser, the exit codes and the JSON shapes: what scripts rely on.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{CommandFactory, Parser};
use serde_json::json;
use undertone::{
    AccountId, Carrier, ConnectionState, ConnectionStatus, Contact, ContactId, ContactState,
    CursorView, Direction, Error, Event, EventKind, EventMessage, EventSeq, FileInfo, Hold, Link,
    Message, MessageId, MessageKind, MessageReaction, MessageState, RelayConnection, Typing,
    UnixMillis,
};
use undertone_cli::args::{Arguments, Command, WaitFor};
use undertone_cli::exit::{self, Exit};
use undertone_cli::failure::Failure;
use undertone_cli::{json as shape, output};

fn parse(words: &[&str]) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from([&["undertone"], words].concat())
}

#[test]
fn the_parser_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn global_options_stand_before_or_behind_the_command() {
    for words in
        [["--json", "--profile", "d", "contacts"], ["contacts", "--json", "--profile", "d"]]
    {
        let parsed = parse(&words).unwrap();
        assert!(parsed.json && parsed.profile == Some(PathBuf::from("d")));
        assert!(matches!(parsed.command, Command::Contacts));
    }
}

#[test]
fn a_message_is_a_text_or_a_file() {
    assert!(parse(&["send", "Bob"]).is_err());
    assert!(parse(&["send", "Bob", "text", "--file", "f"]).is_err());
    assert!(parse(&["send", "Bob", "text", "--timeout", "5"]).is_err());
    let words = ["send", "Bob", "--file", "f", "--wait", "accepted", "--timeout", "5"];
    let Command::Send(send) = parse(&words).unwrap().command else { panic!("send") };
    assert_eq!((send.wait, send.timeout, send.text), (Some(WaitFor::Accepted), 5, None));
}

#[test]
fn whoami_is_status_and_confirm_excludes_scanned() {
    assert!(matches!(parse(&["whoami"]).unwrap().command, Command::Status));
    assert!(parse(&["verify", "Bob", "--confirm", "--scanned", "1"]).is_err());
    assert!(parse(&["history", "Bob", "--limit", "0"]).is_err());
}

#[test]
fn the_help_teaches() {
    let help = Arguments::command().render_long_help().to_string();
    for exit in Exit::ALL {
        assert!(help.contains(exit.meaning()), "{}", exit.meaning());
    }
    assert!(help.contains("undertone demo") && help.contains("UNDERTONE_PASSPHRASE"));
    assert!(!help.contains("__relay"));
}

#[test]
fn exit_codes_are_distinct() {
    let codes: BTreeSet<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
    assert_eq!(codes.len(), Exit::ALL.len());
}

#[test]
fn each_error_of_the_list_has_its_own_exit_code() {
    let dir = PathBuf::from("d");
    let reason = || "r".to_owned();
    let relay = || "r:1".to_owned();
    let truncated: Error = "undertone://i/#AQ".parse::<Link>().err().unwrap().into();
    let errors = [
        (Error::ProfileAbsent { dir: dir.clone() }, 3),
        (Error::PassphraseEmpty, 22),
        (Error::WrongPassphrase, 4),
        (Error::Unreachable { relay: relay() }, 5),
        (Error::RelayPinMismatch { relay: relay() }, 6),
        (Error::LinkUsedUp, 7),
        (truncated, 8),
        (Error::UnknownContact { query: reason() }, 9),
        (Error::FileUnreadable { path: dir.clone(), reason: reason() }, 10),
        (Error::MailboxFull, 11),
        (Error::StoreLocked, 12),
        (Error::StoreCorrupt { reason: reason() }, 13),
        (Error::ProfileExists { dir }, 14),
        (Error::LinkUnknown, 15),
        (Error::AdmissionRefused, 16),
        (Error::RelayRefused { relay: relay(), code: reason() }, 17),
        (Error::Timeout, 18),
        (Error::StoreFailed { reason: reason() }, 19),
        (Error::AddressMalformed { reason: reason() }, 21),
        (Error::StoreTooNew { found: 2, known: 1 }, 23),
        (Error::AddressUnknown, 24),
        (Error::StoreRolledBack, 25),
        (Error::Internal { reason: reason() }, 1),
        (Error::MessageEmpty, 2),
        (Error::NotYours, 32),
        (Error::UnknownMessage, 33),
    ];
    let mut seen = BTreeSet::new();
    for (error, code) in errors {
        assert_eq!(exit::of_sdk(&error).code(), code, "{error}");
        assert!(seen.insert(code), "{code} twice");
    }
}

#[test]
fn a_failure_as_json() {
    let failure = Failure::from(Error::WrongPassphrase);
    let value = output::failure_json(&failure);
    assert_eq!(value["error"], "wrong-passphrase");
    assert_eq!(value["exit"], 4);
    assert!(value["message"].as_str().unwrap().contains("passphrase"));
}

fn message(kind: MessageKind, state: MessageState, hold: Option<Hold>) -> Message {
    Message {
        seq: 3,
        id: MessageId::from_bytes([0xab; 16]),
        contact: ContactId::new(2),
        direction: Direction::Outgoing,
        kind,
        sent_at_claimed: UnixMillis::new(1_700_000_000_123),
        state,
        hold,
        edited_at_claimed: None,
        reactions: Vec::new(),
        timer_seconds: 0,
        disappears_at: None,
    }
}

#[test]
fn messages_as_json() {
    let text = MessageKind::Text { text: "hi".into() };
    assert_eq!(
        shape::message(&message(text.clone(), MessageState::Queued, Some(Hold::MailboxFull))),
        json!({
            "seq": 3, "id": "ab".repeat(16), "contact": 2, "direction": "outgoing",
            "sent_at_claimed_ms": 1_700_000_000_123_u64, "state": "queued",
            "hold": "mailbox-full", "kind": "text", "text": "hi",
        })
    );
    let failed = MessageState::Failed { reason: "gone".into() };
    assert_eq!(shape::message(&message(text, failed, None))["reason"], "gone");
    let file = MessageKind::File(FileInfo {
        name: "a.pdf".into(),
        size: 5,
        media_type: "application/pdf".into(),
        path: Some("/d/a.pdf".into()),
        caption: "as agreed".into(),
    });
    let value = shape::message(&message(file, MessageState::Delivered, None));
    assert_eq!(
        (&value["kind"], &value["file_name"], &value["size"], &value["path"], &value["caption"]),
        (&json!("file"), &json!("a.pdf"), &json!(5), &json!("/d/a.pdf"), &json!("as agreed"))
    );
    let unknown = MessageKind::Unknown { kind: 99, payload: vec![1, 255] };
    let value = shape::message(&message(unknown, MessageState::Received, None));
    assert_eq!((&value["kind_number"], &value["payload_hex"]), (&json!(99), &json!("01ff")));
}

#[test]
fn what_was_done_to_a_message_as_json() {
    let mut edited = message(MessageKind::Deleted, MessageState::Read, None);
    assert_eq!(shape::message(&edited)["kind"], "deleted");
    edited.edited_at_claimed = Some(UnixMillis::new(7));
    edited.reactions = vec![MessageReaction { by: Direction::Incoming, emoji: "+".into() }];
    edited.timer_seconds = 60;
    edited.disappears_at = Some(UnixMillis::new(9));
    let value = shape::message(&edited);
    assert_eq!(value["edited_at_claimed_ms"], 7);
    assert_eq!(value["reactions"], json!([{ "by": "incoming", "emoji": "+" }]));
    assert_eq!((&value["timer_seconds"], &value["disappears_at_ms"]), (&json!(60), &json!(9)));

    let (contact, id, direction) = (ContactId::new(2), edited.id, Direction::Outgoing);
    let seq = EventSeq::new(7);
    let shape_of = |kind| shape::event(&Event { seq, kind, message: None }, None);
    let about = json!({ "contact": 2, "id": "ab".repeat(16), "direction": "outgoing", "seq": 7 });
    for (kind, name) in [
        (EventKind::MessageEdited { contact, id, direction }, "message-edited"),
        (EventKind::MessageDeleted { contact, id, direction }, "message-deleted"),
        (EventKind::MessageErased { contact, id, direction }, "message-erased"),
    ] {
        let mut expected = about.clone();
        expected["event"] = name.into();
        assert_eq!(shape_of(kind), expected);
    }
    let by = Direction::Incoming;
    let reaction = EventKind::ReactionChanged { contact, id, direction, by, emoji: None };
    let mut expected = about;
    expected["event"] = "reaction-changed".into();
    expected["by"] = "incoming".into();
    expected["emoji"] = json!(null);
    assert_eq!(shape_of(reaction), expected);
    let timer = EventKind::TimerChanged { contact, by, seconds: 60 };
    assert_eq!(
        shape_of(timer),
        json!({ "event": "timer-changed", "seq": 7, "contact": 2, "by": "incoming", "timer_seconds": 60 })
    );
    let lost = EventKind::EventsLost { first: EventSeq::new(3), last: seq };
    assert_eq!(shape_of(lost), json!({ "event": "events-lost", "seq": 7, "first": 3, "last": 7 }));
    let cursor = CursorView { name: "bot".into(), place: seq, behind: 3 };
    assert_eq!(shape::cursor(&cursor), json!({ "name": "bot", "place": 7, "behind": 3 }));
    let typing = Typing { contact, active: true };
    assert_eq!(shape::typing(typing), json!({ "event": "typing", "contact": 2, "active": true }));
}

#[test]
fn how_it_stands_with_the_relays_as_json() {
    let reason = Error::Unreachable { relay: "old:1".into() };
    let message = reason.to_string();
    let waiting = ConnectionState::Waiting { reason, until: UnixMillis::new(9) };
    let status = ConnectionStatus {
        relay: "new:2".into(),
        state: ConnectionState::Connected { over: Carrier::Tcp },
        refused: Some(Error::AdmissionRefused),
        earlier: vec![RelayConnection { relay: "old:1".into(), state: waiting }],
    };
    assert_eq!(
        shape::connection(&status),
        json!({
            "event": "connection", "relay": "new:2", "state": "connected", "over": "tcp",
            "refused": "admission-refused", "earlier": [{
                "relay": "old:1", "state": "waiting", "error": "unreachable", "message": message,
                "until_ms": 9,
            }],
        })
    );
}

#[test]
fn a_message_or_a_contact_is_deleted_and_never_both_by_mistake() {
    assert!(parse(&["delete", "Bob"]).is_err());
    assert!(parse(&["delete", "Bob", "--yes", "--message", "1"]).is_err());
    assert!(parse(&["delete", "Bob", "--yes", "--here-only"]).is_err());
    let words = ["delete", "Bob", "--message", "1", "--here-only"];
    let Command::Delete(delete) = parse(&words).unwrap().command else { panic!("delete") };
    assert!(!delete.yes && delete.here_only);
    assert!(parse(&["react", "Bob", "1"]).is_err());
    assert!(parse(&["react", "Bob", "1", "+", "--remove"]).is_err());
    assert!(parse(&["send", "Bob", "text", "--caption", "c"]).is_err());
    assert!(parse(&["receipts", "maybe"]).is_err());
}

#[test]
fn contacts_and_events_as_json() {
    let contact = Contact {
        id: ContactId::new(2),
        name: "Bob".into(),
        profile_name: None,
        account: AccountId::from_bytes([0x0f; 32]),
        verified: true,
        state: ContactState::Active,
        timer_seconds: 3600,
    };
    assert_eq!(
        shape::contact(&contact),
        json!({
            "contact": 2, "name": "Bob", "profile_name": null, "account": "0f".repeat(32),
            "verified": true, "state": "active", "timer_seconds": 3600,
        })
    );
    let received = message(MessageKind::Text { text: "hi".into() }, MessageState::Received, None);
    let event = Event {
        seq: EventSeq::new(7),
        kind: EventKind::MessageReceived { contact: contact.id, id: received.id },
        message: None,
    };
    let value = shape::event(&event, Some(&received));
    assert_eq!(
        (&value["event"], &value["seq"], &value["contact"], &value["message"]["text"]),
        (&json!("message-received"), &json!(7), &json!(2), &json!("hi"))
    );
    let kind = EventKind::FileProgress { id: received.id, done: 1, total: 2 };
    let about = EventMessage { contact: contact.id, direction: Direction::Outgoing, seq: 12 };
    let value = shape::event(&Event { seq: EventSeq::new(8), kind, message: Some(about) }, None);
    assert_eq!(
        (&value["contact"], &value["direction"], &value["message_seq"]),
        (&json!(2), &json!("outgoing"), &json!(12))
    );
}
