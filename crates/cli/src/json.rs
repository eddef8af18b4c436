//! The shapes of JSON output. Field names are stable; more may be added.

use serde_json::{Map, Value, json};
use undertone::{
    BackupReport, Carrier, ConnectionState, ConnectionStatus, Contact, ContactId, ContactState,
    CursorView, Direction, Event, EventKind, HealthReport, Latency, LinkKind, LinkView, Me,
    Message, MessageId, MessageKind, MessageState, ResetCause, Typing,
};

/// `contact` (number), `name`, `profile_name`, `account` (fingerprint), `verified`, `state`,
/// `timer_seconds` (0 if messages stay).
#[must_use]
pub fn contact(contact: &Contact) -> Value {
    json!({
        "contact": contact.id.get(),
        "name": contact.name,
        "profile_name": contact.profile_name,
        "account": contact.account.to_string(),
        "verified": contact.verified,
        "state": contact_state(contact.state),
        "timer_seconds": contact.timer_seconds,
    })
}

/// `pending`, `active`, `rolled-back`, `resetting` or `blocked`.
#[must_use]
pub const fn contact_state(state: ContactState) -> &'static str {
    match state {
        ContactState::Pending => "pending",
        ContactState::Active => "active",
        ContactState::RolledBack => "rolled-back",
        ContactState::Resetting => "resetting",
        ContactState::Blocked => "blocked",
        _ => "unknown",
    }
}

/// `name`, `account`, `device`, `relay`.
#[must_use]
pub fn me(me: &Me) -> Value {
    json!({
        "name": me.name,
        "account": me.account.to_string(),
        "device": me.device,
        "relay": me.relay,
    })
}

/// `path`, `contacts`, `messages`, `bytes`, `made_ms`.
#[must_use]
pub fn backup(path: &std::path::Path, report: &BackupReport) -> Value {
    let BackupReport { contacts, messages, bytes, made } = report;
    json!({
        "path": path.to_string_lossy(),
        "contacts": contacts,
        "messages": messages,
        "bytes": bytes,
        "made_ms": made.get(),
    })
}

/// `post_quantum_share`, `oldest_healing_ms`, `opened`, `unopenable`, `unopenable_share`, `parked`,
/// `unverified`, `seal_us` and `open_us` (`median`, `slowest`), `conversations` (`contact`, `name`,
/// `verified`, `state`, `epochs`, `healed_at_ms`). Shares are null where there is nothing to share.
#[must_use]
pub fn health(health: &HealthReport) -> Value {
    let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let latency =
        |one: Latency| json!({ "median": micros(one.median), "slowest": micros(one.slowest) });
    let conversations: Vec<Value> = health
        .conversations
        .iter()
        .map(|one| {
            json!({
                "contact": one.contact.get(),
                "name": one.name,
                "verified": one.verified,
                "state": contact_state(one.state),
                "epochs": one.epochs,
                "healed_at_ms": one.healed_at.map(|at| at.get()),
            })
        })
        .collect();
    json!({
        "post_quantum_share": health.post_quantum_share(),
        "oldest_healing_ms": health.oldest_healing().map(millis),
        "opened": health.opened,
        "unopenable": health.unopenable,
        "unopenable_share": health.unopenable_share(),
        "parked": health.parked,
        "unverified": health.unverified,
        "seal_us": latency(health.seal),
        "open_us": latency(health.open),
        "conversations": conversations,
    })
}

/// `seq`, `id`, `contact` (number), `direction`, `sent_at_claimed_ms`, `state`, `reason` (of a
/// failure), `hold` (why it is still queued), `kind` and what belongs to the kind; where there is one:
/// `edited_at_claimed_ms`, `reactions` (each with `by`, a direction, and `emoji`), `timer_seconds`,
/// `disappears_at_ms`.
#[must_use]
pub fn message(message: &Message) -> Value {
    let mut object = Map::new();
    object.insert("seq".into(), message.seq.into());
    object.insert("id".into(), message.id.to_string().into());
    object.insert("contact".into(), message.contact.get().into());
    object.insert("direction".into(), direction(message.direction).into());
    object.insert("sent_at_claimed_ms".into(), message.sent_at_claimed.get().into());
    object.insert("state".into(), state(&message.state).into());
    if let MessageState::Failed { reason } = &message.state {
        object.insert("reason".into(), reason.clone().into());
    }
    if let Some(hold) = message.hold {
        object.insert("hold".into(), hold.code().into());
    }
    insert_kind(&mut object, &message.kind);
    if let Some(at) = message.edited_at_claimed {
        object.insert("edited_at_claimed_ms".into(), at.get().into());
    }
    if !message.reactions.is_empty() {
        let reactions = message.reactions.iter();
        let shown = reactions.map(|one| json!({ "by": direction(one.by), "emoji": one.emoji }));
        object.insert("reactions".into(), shown.collect());
    }
    if message.timer_seconds > 0 {
        object.insert("timer_seconds".into(), message.timer_seconds.into());
    }
    if let Some(at) = message.disappears_at {
        object.insert("disappears_at_ms".into(), at.get().into());
    }
    Value::Object(object)
}

/// `incoming` or `outgoing`.
#[must_use]
pub const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Incoming => "incoming",
        Direction::Outgoing => "outgoing",
    }
}

/// `event` (`typing`), `contact` (number), `active`. It has no place in the log, and no `seq`.
#[must_use]
pub fn typing(update: Typing) -> Value {
    json!({ "event": "typing", "contact": update.contact.get(), "active": update.active })
}

/// `event` (`connection`), `relay`, `state`, what belongs to the state, `refused` (an error's name, or
/// null), `earlier` (each with `relay`, `state` and what belongs to it). No event of the log, and no
/// `seq`.
#[must_use]
pub fn connection(status: &ConnectionStatus) -> Value {
    let earlier: Vec<Value> =
        status.earlier.iter().map(|one| relay_state(&one.relay, &one.state).into()).collect();
    let mut object = relay_state(&status.relay, &status.state);
    object.insert("event".into(), "connection".into());
    object.insert("refused".into(), status.refused.as_ref().map(undertone::Error::code).into());
    object.insert("earlier".into(), earlier.into());
    Value::Object(object)
}

/// `state` is `not-started`, `connecting`, `connected` (with `over`: `quic` or `tcp`), `waiting` (with
/// `error`, `message` and `until_ms`), `replaced` or `closed`.
fn relay_state(relay: &str, state: &ConnectionState) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("relay".into(), relay.into());
    let name = match state {
        ConnectionState::NotStarted => "not-started",
        ConnectionState::Connecting => "connecting",
        ConnectionState::Connected { over } => {
            let over = if *over == Carrier::Tcp { "tcp" } else { "quic" };
            object.insert("over".into(), over.into());
            "connected"
        }
        ConnectionState::Waiting { reason, until } => {
            object.insert("error".into(), reason.code().into());
            object.insert("message".into(), reason.to_string().into());
            object.insert("until_ms".into(), until.get().into());
            "waiting"
        }
        ConnectionState::Replaced => "replaced",
        ConnectionState::Closed => "closed",
        _ => "unknown",
    };
    object.insert("state".into(), name.into());
    object
}

/// `name`, `place` (the last event that it acknowledged), `behind` (events).
#[must_use]
pub fn cursor(cursor: &CursorView) -> Value {
    json!({ "name": cursor.name, "place": cursor.place.get(), "behind": cursor.behind })
}

fn insert_kind(object: &mut Map<String, Value>, kind: &MessageKind) {
    match kind {
        MessageKind::Text { text } => {
            object.insert("kind".into(), "text".into());
            object.insert("text".into(), text.clone().into());
        }
        MessageKind::File(file) => {
            object.insert("kind".into(), "file".into());
            object.insert("file_name".into(), file.name.clone().into());
            object.insert("size".into(), file.size.into());
            object.insert("media_type".into(), file.media_type.clone().into());
            let path = file.path.as_ref().map(|path| path.to_string_lossy().into_owned());
            object.insert("path".into(), path.into());
            object.insert("caption".into(), file.caption.clone().into());
        }
        MessageKind::Custom { name, payload } => {
            object.insert("kind".into(), "custom".into());
            object.insert("custom_kind".into(), name.clone().into());
            object.insert("payload_hex".into(), hex(payload).into());
        }
        MessageKind::Deleted => {
            object.insert("kind".into(), "deleted".into());
        }
        MessageKind::Unknown { kind, payload } => {
            object.insert("kind".into(), "unknown".into());
            object.insert("kind_number".into(), (*kind).into());
            object.insert("payload_hex".into(), hex(payload).into());
        }
        _ => {
            object.insert("kind".into(), "unknown".into());
        }
    }
}

/// `queued`, `accepted`, `delivered`, `read`, `expired`, `failed` or `received`.
#[must_use]
pub const fn state(state: &MessageState) -> &'static str {
    match state {
        MessageState::Queued => "queued",
        MessageState::Accepted => "accepted",
        MessageState::Delivered => "delivered",
        MessageState::Read => "read",
        MessageState::Expired => "expired",
        MessageState::Failed { .. } => "failed",
        MessageState::Received => "received",
        _ => "unknown",
    }
}

/// `event` (a name), `seq`, and what belongs to the event; `message` is the whole message of a
/// `message-received`, which the caller has looked up. Events about a message that is in the history
/// have `contact`, `direction` and `message_seq` (its `seq`).
#[must_use]
pub fn event(event: &Event, received: Option<&Message>) -> Value {
    let (name, fields) = event_fields(&event.kind);
    let mut object = Map::new();
    object.insert("event".into(), name.into());
    object.insert("seq".into(), event.seq.get().into());
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    if let Some(about) = event.message {
        object.insert("contact".into(), about.contact.get().into());
        object.insert("direction".into(), direction(about.direction).into());
        object.insert("message_seq".into(), about.seq.into());
    }
    if let Some(received) = received {
        object.insert("message".into(), message(received));
    }
    Value::Object(object)
}

fn event_fields(kind: &EventKind) -> (&'static str, Value) {
    match kind {
        EventKind::MessageReceived { contact, id } => {
            ("message-received", json!({ "contact": contact.get(), "id": id.to_string() }))
        }
        EventKind::MessageStateChanged { contact, id, state: new } => (
            "message-state-changed",
            json!({ "contact": contact.get(), "id": id.to_string(), "state": state(new) }),
        ),
        EventKind::ContactAdded { contact, by_them } => {
            ("contact-added", json!({ "contact": contact.get(), "by_them": by_them }))
        }
        EventKind::ContactRenamed { contact, name } => {
            ("contact-renamed", json!({ "contact": contact.get(), "name": name }))
        }
        EventKind::LinkUsedTwice { label } => ("link-used-twice", json!({ "label": label })),
        EventKind::FileProgress { id, done, total } => {
            ("file-progress", json!({ "id": id.to_string(), "done": done, "total": total }))
        }
        EventKind::FileReceived { contact, id, path } => (
            "file-received",
            json!({ "contact": contact.get(), "id": id.to_string(), "path": path.to_string_lossy() }),
        ),
        EventKind::FileFailed { contact, id, reason } => (
            "file-failed",
            json!({ "contact": contact.get(), "id": id.to_string(), "reason": reason }),
        ),
        EventKind::FileWaiting { contact, id, size } => (
            "file-waiting",
            json!({ "contact": contact.get(), "id": id.to_string(), "size": size }),
        ),
        EventKind::StoreRolledBack { contact } => {
            ("store-rolled-back", json!({ "contact": contact.get() }))
        }
        EventKind::Reset { contact, cause } => {
            ("reset", json!({ "contact": contact.get(), "cause": reset_cause(*cause) }))
        }
        EventKind::EnvelopeParked { contact } => ("envelope-parked", json!({ "contact": contact })),
        EventKind::ContentRefused { contact, code } => {
            ("content-refused", json!({ "contact": contact.get(), "code": code }))
        }
        EventKind::ReactionChanged { contact, id, direction: of, by, emoji } => (
            "reaction-changed",
            json!({
                "contact": contact.get(), "id": id.to_string(), "direction": direction(*of),
                "by": direction(*by), "emoji": emoji,
            }),
        ),
        EventKind::MessageEdited { contact, id, direction: of } => {
            ("message-edited", about_message(*contact, *id, *of))
        }
        EventKind::MessageDeleted { contact, id, direction: of } => {
            ("message-deleted", about_message(*contact, *id, *of))
        }
        EventKind::MessageErased { contact, id, direction: of } => {
            ("message-erased", about_message(*contact, *id, *of))
        }
        EventKind::TimerChanged { contact, by, seconds } => (
            "timer-changed",
            json!({ "contact": contact.get(), "by": direction(*by), "timer_seconds": seconds }),
        ),
        EventKind::EventsLost { first, last } => {
            ("events-lost", json!({ "first": first.get(), "last": last.get() }))
        }
        EventKind::Other { contact, kind, content } => (
            "other",
            json!({ "contact": contact.get(), "kind_number": kind, "content_hex": hex(content) }),
        ),
        EventKind::ResetStalled { contact, cause } => {
            ("reset-stalled", json!({ "contact": contact.get(), "cause": reset_cause(*cause) }))
        }
        EventKind::ResendNeedsConsent { contact, count } => {
            ("resend-needs-consent", json!({ "contact": contact.get(), "count": count }))
        }
        EventKind::KeyChanged { contact, account } => {
            ("key-changed", json!({ "contact": contact.get(), "account": account.to_string() }))
        }
        EventKind::Superseded => ("superseded", json!({})),
        _ => ("unknown", json!({})),
    }
}

fn about_message(contact: ContactId, id: MessageId, of: Direction) -> Value {
    json!({ "contact": contact.get(), "id": id.to_string(), "direction": direction(of) })
}

/// `number`, `kind`, `label`, `expires` (a date), `revoked`.
#[must_use]
pub fn link(link: &LinkView) -> Value {
    json!({
        "number": link.number,
        "kind": link_kind(link.kind),
        "label": link.label,
        "expires": crate::time::date(link.expires),
        "revoked": link.revoked,
    })
}

/// `single-use`, `reusable` or `reset`.
#[must_use]
pub const fn link_kind(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::SingleUse => "single-use",
        LinkKind::Reusable => "reusable",
        LinkKind::Reset => "reset",
    }
}

/// Why a session started anew: a stable name.
#[must_use]
pub const fn reset_cause(cause: ResetCause) -> &'static str {
    match cause {
        ResetCause::OwnStateLost => "own-state-lost",
        ResetCause::PeerRolledBack => "peer-rolled-back",
        ResetCause::GapTooLarge => "gap-too-large",
        ResetCause::ByContact => "by-contact",
        ResetCause::TheirStateLost => "their-state-lost",
        ResetCause::TheySawUsRolledBack => "they-saw-us-rolled-back",
        ResetCause::TheyMissTooMany => "they-miss-too-many",
        ResetCause::NewLink => "new-link",
        _ => "unknown",
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
