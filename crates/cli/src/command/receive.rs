//! `receive`

use undertone::{
    Client, ConnectionState, ConnectionStatus, ContactId, Direction, Error, Event, EventKind,
    Events, Message, ResetCause, Typing,
};

use super::view::{human_size, message_line, message_text, spell};
use crate::args::Receive;
use crate::failure::Failure;
use crate::output::{Output, Written};
use crate::{json, safe_text};

/// Where this command stands in the event log. An event is acknowledged once it is printed, so
/// that each is printed at least once, and once unless the program is killed just between.
const CURSOR: &str = "cli-receive";

pub(super) async fn run(receive: &Receive, client: &Client, output: &Output) -> Written {
    let mut events = client.events(CURSOR);
    if receive.follow {
        return follow(receive, client, &mut events, output).await;
    }
    let synced = tokio::select! {
        synced = client.sync() => synced,
        () = interrupted() => return print_waiting(receive, client, &mut events, output).await,
    };
    // What came before the relay failed is shown all the same.
    print_waiting(receive, client, &mut events, output).await?;
    let report = synced?;
    if report.queued > 0 {
        output.remark(&format!("{} still queued, see `history`.", messages(report.queued)));
    }
    if report.parked > 0 {
        output.remark(&format!(
            "{} came that nothing here can open; kept, and tried again later.",
            messages(report.parked)
        ));
    }
    Ok(())
}

fn messages(count: u64) -> String {
    if count == 1 { "1 message".into() } else { format!("{count} messages") }
}

async fn follow(
    receive: &Receive,
    client: &Client,
    events: &mut Events,
    output: &Output,
) -> Written {
    client.start()?;
    let (mut typing, mut connection) = (client.typing(), client.connection());
    let mut said = None;
    output.remark("Connected as long as the relay can be reached; Ctrl-C ends.");
    // One listener for the whole time: Ctrl-C while something is printed counts, too.
    let interrupted = interrupted();
    tokio::pin!(interrupted);
    loop {
        tokio::select! {
            event = events.next_event() => show(receive, client, events, &event?, output).await?,
            update = typing.next() => show_typing(client, update?, output).await?,
            status = connection.changed() => show_connection(&status?, &mut said, output)?,
            () = &mut interrupted => return Ok(()),
        }
    }
}

async fn print_waiting(
    receive: &Receive,
    client: &Client,
    events: &mut Events,
    output: &Output,
) -> Written {
    while let Some(event) = events.try_next().await? {
        show(receive, client, events, &event, output).await?;
    }
    Ok(())
}

/// Not an event: it has no place in the log, and is printed when it comes or not at all.
async fn show_typing(client: &Client, update: Typing, output: &Output) -> Written {
    if output.is_json() {
        return output.json(&json::typing(update));
    }
    if update.active {
        let name = safe_text::line(&name_of(client, update.contact).await?);
        output.remark(&format!("* {name} is writing"));
    }
    Ok(())
}

/// No event either. To a person the same is not said with every attempt.
fn show_connection(
    status: &ConnectionStatus,
    said: &mut Option<String>,
    output: &Output,
) -> Written {
    if output.is_json() {
        return output.json(&json::connection(status));
    }
    let line = match (&status.state, &status.refused) {
        (ConnectionState::Connected { .. }, None) => {
            format!("* connected to {}", safe_text::line(&status.relay))
        }
        (ConnectionState::Connected { .. }, Some(refused)) => {
            format!("* connected to {}, but {refused}", safe_text::line(&status.relay))
        }
        (ConnectionState::Waiting { reason, .. }, _) => {
            format!("* not connected, and tried again: {}", safe_text::line(&reason.to_string()))
        }
        _ => return Ok(()),
    };
    if said.as_ref() != Some(&line) {
        output.remark(&line);
        *said = Some(line);
    }
    Ok(())
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler Ctrl-C ends the program by itself.
        std::future::pending::<()>().await;
    }
}

async fn show(
    receive: &Receive,
    client: &Client,
    events: &mut Events,
    event: &Event,
    output: &Output,
) -> Written {
    let received = match event.kind {
        EventKind::MessageReceived { contact, id } => {
            match client.received_message(contact, id).await {
                // Erased since.
                Err(Error::UnknownMessage) => None,
                message => Some(message?),
            }
        }
        _ => None,
    };
    if output.is_json() {
        output.json(&json::event(event, received.as_ref()))?;
    } else if let Some(text) = describe(client, &event.kind, received.as_ref()).await? {
        output.text(&text)?;
    }
    events.acknowledge(event).await?;
    if let Some(message) = received
        && !receive.keep_unread
    {
        client.mark_read(message.contact, Some(message.seq)).await?;
    }
    Ok(())
}

/// What a contact did to a message, as a line.
async fn changed(client: &Client, kind: &EventKind) -> Result<Option<String>, Failure> {
    let (contact, id, direction, by) = match kind {
        EventKind::ReactionChanged { contact, id, direction, by, .. } => {
            (*contact, *id, *direction, *by)
        }
        EventKind::MessageEdited { contact, id, direction }
        | EventKind::MessageDeleted { contact, id, direction } => {
            (*contact, *id, *direction, *direction)
        }
        _ => return Ok(None),
    };
    // What was done here, the person here knows.
    if by == Direction::Outgoing {
        return Ok(None);
    }
    let message = match direction {
        Direction::Incoming => client.received_message(contact, id).await,
        Direction::Outgoing => client.message(id).await,
    };
    let message = match message {
        Err(Error::UnknownMessage) => return Ok(None),
        message => message?,
    };
    let name = safe_text::line(&name_of(client, contact).await?);
    let seq = message.seq;
    Ok(Some(match kind {
        EventKind::ReactionChanged { emoji: Some(emoji), .. } => {
            format!("* {name} reacts to message {seq}: {}", safe_text::line(emoji))
        }
        EventKind::ReactionChanged { .. } => {
            format!("* {name} took the reaction to message {seq} back")
        }
        EventKind::MessageEdited { .. } => {
            format!("* {name} edited message {seq}: {}", message_text(&message.kind))
        }
        _ => format!("* {name} took message {seq} back"),
    }))
}

/// The event as a line; `None` for what a person need not see.
async fn describe(
    client: &Client,
    kind: &EventKind,
    received: Option<&Message>,
) -> Result<Option<String>, Failure> {
    Ok(match kind {
        EventKind::MessageReceived { contact, .. } => {
            let name = name_of(client, *contact).await?;
            received.map(|message| message_line(message, &name))
        }
        EventKind::ContactAdded { contact, by_them: true } => {
            let name = safe_text::line(&name_of(client, *contact).await?);
            Some(format!("* {name} used your link and is a contact now (number {contact})"))
        }
        EventKind::ContactRenamed { contact, name } => {
            let known = safe_text::line(&name_of(client, *contact).await?);
            Some(format!("* {known} calls themselves \"{}\" now", safe_text::line(name)))
        }
        EventKind::LinkUsedTwice { label } => Some(link_used_twice(label.as_deref())),
        EventKind::FileReceived { contact, path, .. } => {
            let name = safe_text::line(&name_of(client, *contact).await?);
            let size = std::fs::metadata(path).map_or(0, |data| data.len());
            let path = safe_text::line(&path.display().to_string());
            Some(format!("* file from {name} saved ({}): {path}", human_size(size)))
        }
        EventKind::FileFailed { contact, reason, .. } => {
            let name = safe_text::line(&name_of(client, *contact).await?);
            Some(format!("* a file from {name} can't be had: {}", safe_text::line(reason)))
        }
        EventKind::FileWaiting { contact, id, size } => {
            let name = safe_text::line(&name_of(client, *contact).await?);
            Some(format!(
                "* a file of {size} bytes from {name} waits to be asked for: `undertone download \
                 {contact} {id}`"
            ))
        }
        EventKind::StoreRolledBack { contact } => {
            let name = safe_text::line(&name_of(client, *contact).await?);
            Some(format!(
                "* this profile is an old copy: nothing is sent to {name} before the session with \
                 them has started anew"
            ))
        }
        EventKind::Reset { contact, cause } => {
            let name = safe_text::line(&name_of(client, *contact).await?);
            Some(format!("* the session with {name} started anew: {}", why_reset(*cause)))
        }
        EventKind::ResetStalled { contact, cause } => {
            let name = safe_text::line(&name_of(client, *contact).await?);
            Some(format!(
                "* the session with {name} has to start anew and can't ({}): meet again over a new \
                 link",
                json::reset_cause(*cause)
            ))
        }
        EventKind::ResendNeedsConsent { contact, count } => {
            let name = safe_text::line(&name_of(client, *contact).await?);
            Some(format!(
                "* {} to {name} may not have arrived before the session started anew. {name} was \
                 verified: make sure that it is them, then `undertone resend {contact}`, or \
                 `undertone resend {contact} --give-up`",
                messages(*count)
            ))
        }
        EventKind::KeyChanged { contact, account } => {
            let name = safe_text::line(&name_of(client, *contact).await?);
            Some(format!(
                "* somebody with another key ({}) calls as {name}. Nothing was accepted. Ask {name} \
                 by another way, then `undertone key {contact} --accept {account}` or \
                 `--refuse`",
                account.short()
            ))
        }
        EventKind::ReactionChanged { .. }
        | EventKind::MessageEdited { .. }
        | EventKind::MessageDeleted { .. } => changed(client, kind).await?,
        EventKind::TimerChanged { contact, by: Direction::Incoming, seconds } => {
            let name = safe_text::line(&name_of(client, *contact).await?);
            Some(match seconds {
                0 => format!("* {name} lets new messages stay"),
                seconds => {
                    format!("* {name} lets new messages disappear after {}", spell(*seconds))
                }
            })
        }
        EventKind::EventsLost { first, last } => Some(format!(
            "* this command was not run for so long that events {first} to {last} are gone; \
             `history` has all messages"
        )),
        EventKind::Superseded => Some(
            "* a copy of this profile runs somewhere else and has taken over: this one has stopped"
                .into(),
        ),
        EventKind::EnvelopeParked { .. } => {
            Some("* something came that nothing here can open; it is kept and tried again".into())
        }
        EventKind::ContentRefused { contact, code } => {
            let name = safe_text::line(&name_of(client, *contact).await?);
            let what = match code.as_str() {
                "R-908" => "tried to change a message that is not theirs",
                _ => "sent something malformed",
            };
            Some(format!("* {name}'s program {what} ({})", safe_text::line(code)))
        }
        _ => None,
    })
}

fn why_reset(cause: ResetCause) -> &'static str {
    match cause {
        ResetCause::OwnStateLost => "this profile is an old copy",
        ResetCause::PeerRolledBack => "their profile seems to be an old copy",
        ResetCause::GapTooLarge => "too many of their messages are missing",
        ResetCause::TheirStateLost => "they say that their profile is an old copy",
        ResetCause::TheySawUsRolledBack => "they say that this profile seems to be an old copy",
        ResetCause::TheyMissTooMany => "they say that too many of our messages are missing",
        ResetCause::NewLink => "you used a new link of theirs",
        _ => "they asked for it",
    }
}

fn link_used_twice(label: Option<&str>) -> String {
    let which = label.map_or_else(String::new, |label| format!(" \"{}\"", safe_text::line(label)));
    format!(
        "* your link{which} was used a second time: somebody else may have seen it. Nothing was \
         accepted from the second user; verify the contact who used it first"
    )
}

/// The name of a contact, or its number if it is gone since.
async fn name_of(client: &Client, id: ContactId) -> Result<String, Failure> {
    let contacts = client.contacts().await?;
    let name = contacts.into_iter().find(|contact| contact.id == id).map(|found| found.name);
    Ok(name.unwrap_or_else(|| format!("contact {id}")))
}
