//! `send`

use std::time::Duration;

use undertone::{Client, Error, Hold, Message, MessageId, MessageState};

use super::view::hold_sentence;
use crate::args::{Send, WaitFor};
use crate::failure::Failure;
use crate::output::{Output, Written};
use crate::{input, json, safe_text};

pub(super) async fn run(send: Send, client: &Client, output: &Output) -> Written {
    let contact = client.contact(&send.contact).await?;
    let id = match (&send.file, send.text) {
        (Some(path), _) => {
            let caption = send.caption.unwrap_or_default();
            client.send_file_with_caption(contact.id, path, &caption).await?
        }
        (None, text) => {
            let text = input::argument_or_stdin(text.unwrap_or_default())?;
            match &send.custom {
                Some(kind) => client.send_custom(contact.id, kind, text.as_bytes()).await?,
                None => client.send_text(contact.id, &text).await?,
            }
        }
    };
    // From here on the message is safe on this disk: nothing that fails below loses it.
    let first = client.sync().await.err();
    let message = match send.wait {
        Some(wait) => {
            let timeout = Duration::from_secs(send.timeout.into());
            wait_for(client, id, wait, timeout, first).await?
        }
        None => {
            let message = client.message(id).await?;
            must_be_told(&message, first.as_ref())?;
            message
        }
    };
    output.result(|| said(&message, &contact.name), || json::message(&message))
}

async fn wait_for(
    client: &Client,
    id: MessageId,
    wait: WaitFor,
    timeout: Duration,
    first: Option<Error>,
) -> Result<Message, Failure> {
    let state = match wait {
        WaitFor::Accepted => MessageState::Accepted,
        WaitFor::Delivered => MessageState::Delivered,
    };
    client.start()?;
    match client.wait(id, state, timeout).await {
        // "Not in time" says less than why the first attempt failed.
        Err(Error::Timeout) => Err(first.unwrap_or(Error::Timeout).into()),
        other => Ok(other?),
    }
}

/// A relay that can't be reached is no failure: the message waits. What would not change by
/// waiting, or may be an attack, is one.
fn must_be_told(message: &Message, first: Option<&Error>) -> Result<(), Failure> {
    if let MessageState::Failed { reason } = &message.state {
        return Err(Error::MessageFailed { reason: reason.clone() }.into());
    }
    if message.state != MessageState::Queued {
        return Ok(());
    }
    match (message.hold, first) {
        (Some(Hold::MailboxFull), _) => Err(Error::MailboxFull.into()),
        (Some(Hold::AddressUnknown), _) => Err(Error::AddressUnknown.into()),
        (Some(Hold::StoreRolledBack), _) => Err(Error::StoreRolledBack.into()),
        (Some(Hold::ConsentNeeded), _) => Err(Error::ConsentNeeded.into()),
        (Some(Hold::RelayPinMismatch), _) => {
            Err(Error::RelayPinMismatch { relay: "the contact's address".into() }.into())
        }
        (Some(Hold::UploadRefused), _) => {
            let relay = "this profile's address".into();
            Err(Error::RelayRefused { relay, code: Hold::UploadRefused.code().into() }.into())
        }
        (_, Some(Error::RelayPinMismatch { relay })) => {
            Err(Error::RelayPinMismatch { relay: relay.clone() }.into())
        }
        _ => Ok(()),
    }
}

fn said(message: &Message, contact: &str) -> String {
    let contact = safe_text::line(contact);
    match message.state {
        MessageState::Queued => {
            let why = message.hold.map_or("the relay can't be reached now", hold_sentence);
            format!(
                "Queued for {contact}: {why}. The message is kept and goes out with the next \
                 `send` or `receive`."
            )
        }
        MessageState::Accepted => format!("Accepted by the relay, for {contact}."),
        MessageState::Delivered | MessageState::Read => format!("Delivered to {contact}."),
        _ => format!("Sent to {contact}."),
    }
}

#[cfg(test)]
mod tests {
    use undertone::{ContactId, Direction, MessageKind, UnixMillis};

    use super::*;
    use crate::exit::{self, Exit};

    fn queued(hold: Option<Hold>) -> Message {
        Message {
            seq: 1,
            id: MessageId::from_bytes([1; 16]),
            contact: ContactId::new(1),
            direction: Direction::Outgoing,
            kind: MessageKind::Text { text: "hi".into() },
            sent_at_claimed: UnixMillis::new(0),
            state: MessageState::Queued,
            hold,
            edited_at_claimed: None,
            reactions: Vec::new(),
            timer_seconds: 0,
            disappears_at: None,
        }
    }

    fn exit(message: &Message, first: Option<&Error>) -> Exit {
        must_be_told(message, first).map_or_else(|failure| exit::of(&failure), |()| Exit::Ok)
    }

    #[test]
    fn offline_is_no_failure_and_a_full_mailbox_is_one() {
        let unreachable = Error::Unreachable { relay: "r:1".into() };
        let other = Error::RelayPinMismatch { relay: "r:1".into() };
        assert_eq!(exit(&queued(None), Some(&unreachable)), Exit::Ok);
        assert_eq!(exit(&queued(Some(Hold::RelayUnreachable)), None), Exit::Ok);
        assert_eq!(exit(&queued(Some(Hold::RelayBusy)), None), Exit::Ok);
        assert_eq!(exit(&queued(Some(Hold::MailboxFull)), None), Exit::MailboxFull);
        assert_eq!(exit(&queued(Some(Hold::AddressUnknown)), None), Exit::NotSendable);
        assert_eq!(exit(&queued(Some(Hold::RelayPinMismatch)), None), Exit::PinMismatch);
        assert_eq!(exit(&queued(Some(Hold::UploadRefused)), None), Exit::RelayRefused);
        assert_eq!(exit(&queued(Some(Hold::StoreRolledBack)), None), Exit::RolledBack);
        assert_eq!(exit(&queued(None), Some(&other)), Exit::PinMismatch);
    }

    #[test]
    fn what_went_out_is_no_failure_whatever_else_failed() {
        let other = Error::RelayPinMismatch { relay: "r:1".into() };
        let mut message = queued(None);
        message.state = MessageState::Accepted;
        assert_eq!(exit(&message, Some(&other)), Exit::Ok);
        message.state = MessageState::Failed { reason: "gone".into() };
        assert_eq!(exit(&message, None), Exit::NotSendable);
    }
}
