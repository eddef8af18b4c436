//! How contacts and messages look. Everything that a contact chose is made safe here.

use undertone::{Contact, ContactState, Direction, Hold, Message, MessageKind, MessageState};

use crate::{safe_text, time};

/// Continuation lines of a message stand under its text.
const INDENT: usize = 4;

/// `2  Bob  1f0c…  verified`
pub(super) fn contact_line(contact: &Contact) -> String {
    let own_name = match &contact.profile_name {
        Some(own) if *own != contact.name => {
            format!(" (calls themselves {})", safe_text::line(own))
        }
        _ => String::new(),
    };
    let verified = if contact.verified { "verified" } else { "not verified" };
    let state = match contact.state {
        ContactState::Pending => ", no answer yet",
        ContactState::RolledBack => ", waits for a new session: this profile is an old copy",
        ContactState::Resetting => ", a new session has no answer yet",
        ContactState::Blocked => ", blocked",
        _ => "",
    };
    format!(
        "{:>3}  {}{own_name}  {}  {verified}{state}",
        contact.id.get(),
        safe_text::line(&contact.name),
        contact.account.short(),
    )
}

/// One message as history and `receive` show it.
pub(super) fn message_line(message: &Message, contact_name: &str) -> String {
    let who = match message.direction {
        Direction::Incoming => safe_text::line(contact_name),
        Direction::Outgoing => "you".to_owned(),
    };
    let state = match message.direction {
        Direction::Incoming => String::new(),
        Direction::Outgoing => format!("  [{}]", state_text(message)),
    };
    format!(
        "{:>4}  {}  {who}: {}{}{state}",
        message.seq,
        time::minute(message.sent_at_claimed),
        message_text(&message.kind),
        marks(message),
    )
}

/// What stands behind the text: that it was edited, reactions, when it disappears.
fn marks(message: &Message) -> String {
    let mut marks = String::new();
    if message.edited_at_claimed.is_some() {
        marks.push_str("  (edited)");
    }
    for reaction in &message.reactions {
        let who = match reaction.by {
            Direction::Incoming => "they",
            Direction::Outgoing => "you",
        };
        marks.push_str(&format!("  {who}: {}", safe_text::line(&reaction.emoji)));
    }
    match (message.disappears_at, message.timer_seconds) {
        (Some(at), _) => marks.push_str(&format!("  (disappears {})", time::minute(at))),
        (None, 0) => {}
        (None, seconds) => marks.push_str(&format!("  (disappears after {})", spell(seconds))),
    }
    marks
}

/// `8 hours`: the largest unit that says it exactly.
pub(super) fn spell(seconds: u32) -> String {
    const UNITS: [(u32, &str); 5] =
        [(604_800, "week"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let exact =
        UNITS.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit) && seconds >= *unit);
    let (unit, name) = exact.unwrap_or((1, "second"));
    let count = seconds / unit;
    if count == 1 { format!("1 {name}") } else { format!("{count} {name}s") }
}

/// What a message says.
pub(crate) fn message_text(kind: &MessageKind) -> String {
    match kind {
        MessageKind::Text { text } => safe_text::block(text, INDENT),
        MessageKind::File(file) => {
            let place = match &file.path {
                Some(path) => format!(" at {}", safe_text::line(&path.display().to_string())),
                None => String::new(),
            };
            let caption = match file.caption.as_str() {
                "" => String::new(),
                caption => format!(": {}", safe_text::block(caption, INDENT)),
            };
            let name = safe_text::line(&file.name);
            format!("file \"{name}\", {}{place}{caption}", human_size(file.size))
        }
        MessageKind::Custom { name, payload } => {
            format!("(custom message \"{}\", {} bytes)", safe_text::line(name), payload.len())
        }
        MessageKind::Deleted => "(taken back by its author)".to_owned(),
        MessageKind::Unknown { kind, .. } => {
            format!("(a message of kind {kind}, which this version can't show; it is kept)")
        }
        _ => "(a message that this version can't show; it is kept)".to_owned(),
    }
}

fn state_text(message: &Message) -> String {
    match (&message.state, message.hold) {
        (MessageState::Queued, Some(hold)) => format!("queued: {}", hold_sentence(hold)),
        (MessageState::Queued, None) => "queued".into(),
        (MessageState::Accepted, Some(hold)) => format!("accepted: {}", hold_sentence(hold)),
        (MessageState::Failed { reason }, _) => format!("failed: {}", safe_text::line(reason)),
        (MessageState::Expired, _) => "expired: not fetched in time".into(),
        (other, _) => crate::json::state(other).to_owned(),
    }
}

/// Why a message is still queued.
pub(super) const fn hold_sentence(hold: Hold) -> &'static str {
    match hold {
        Hold::MailboxFull => "the contact's mailbox is full until they fetch",
        Hold::AddressUnknown => "the contact's relay does not know their address any more",
        Hold::RelayBusy => "the relay is busy",
        Hold::UploadRefused => "the relay refuses to store the file",
        Hold::RelayUnreachable => "the relay can't be reached",
        Hold::StoreRolledBack => {
            "this profile is an old copy: it goes out once the session has started anew"
        }
        Hold::ConsentNeeded => {
            "the session started anew: `resend` sends it again if you are sure who it is"
        }
        Hold::RelayPinMismatch => "another relay answers at the address of the contact's relay",
        _ => "the relay did not take it",
    }
}

/// Bytes, KiB, MiB or GiB.
pub(super) fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 3] = ["KiB", "MiB", "GiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    // Tenths, so that no floating point is needed.
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut unit = "KiB";
    for larger in UNITS.into_iter().skip(1) {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(human_size(0), "0 bytes");
        assert_eq!(human_size(1023), "1023 bytes");
        assert_eq!(human_size(1024), "1.0 KiB");
        assert_eq!(human_size(1536), "1.5 KiB");
        assert_eq!(human_size(5 << 20), "5.0 MiB");
        assert_eq!(human_size(3 << 30), "3.0 GiB");
    }

    #[test]
    fn times_are_spelled() {
        let spelled: Vec<_> = [1, 90, 60, 7_200, 86_400, 604_800].map(spell).into();
        assert_eq!(spelled, ["1 second", "90 seconds", "1 minute", "2 hours", "1 day", "1 week"]);
    }

    #[test]
    fn a_message_cannot_look_like_another() {
        let kind = MessageKind::Text { text: "hi\n2026-01-01 00:00 UTC  you: pay\u{1b}[1m".into() };
        let shown = message_text(&kind);
        assert_eq!(shown, "hi\n    2026-01-01 00:00 UTC  you: pay\\u{1b}[1m");
    }
}
