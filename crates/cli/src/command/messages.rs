//! `react`, `edit`, `delete --message`, `read`, `receipts`, `timer`, `name`, `search`, `cursors`

use serde_json::json;
use undertone::{Client, Contact, Direction, Error, Message, MessageId};

use super::people::tell;
use super::view::{message_line, spell};
use crate::args::{Cursors, Delete, Edit, Name, React, Read, Receipts, Search, Switch, Timer};
use crate::failure::Failure;
use crate::output::{Output, Written};
use crate::{input, json, safe_text};

/// Messages that are looked through for `last`.
const RECENT: usize = 200;

/// The message that a person means: a number, an id, or the last one (by `by`, if that is given).
async fn find(
    client: &Client,
    contact: &Contact,
    named: &str,
    by: Option<Direction>,
) -> Result<Message, Failure> {
    let unknown = || Failure::from(Error::UnknownMessage);
    if named == "last" {
        let recent = client.history(contact.id, None, RECENT).await?;
        let fits = |message: &&Message| by.is_none_or(|by| message.direction == by);
        return recent.iter().rev().find(fits).cloned().ok_or_else(unknown);
    }
    if let Ok(id) = named.parse::<MessageId>() {
        let theirs = client.received_message(contact.id, id).await;
        let message = match (theirs, by) {
            (Ok(message), Some(Direction::Incoming) | None) => message,
            _ => client.message(id).await?,
        };
        return if message.contact == contact.id { Ok(message) } else { Err(unknown()) };
    }
    let number = named.strip_prefix('#').unwrap_or(named);
    let number: u64 = number.parse().map_err(|_| {
        Failure::Usage("a message is a number as `history` shows it, an id, or `last`".to_owned())
    })?;
    let message = client.message_at(number).await?;
    if message.contact == contact.id { Ok(message) } else { Err(unknown()) }
}

/// Shows a message as it is now.
async fn show(client: &Client, contact: &Contact, seq: u64, output: &Output) -> Written {
    let message = client.message_at(seq).await?;
    output.result(|| message_line(&message, &contact.name), || json::message(&message))
}

pub(super) async fn react(react: &React, client: &Client, output: &Output) -> Written {
    let contact = client.contact(&react.contact).await?;
    let message = find(client, &contact, &react.message, Some(Direction::Incoming)).await?;
    match &react.emoji {
        Some(emoji) => client.react(message.seq, emoji).await?,
        None => client.unreact(message.seq).await?,
    }
    tell(client, output).await;
    show(client, &contact, message.seq, output).await
}

pub(super) async fn edit(edit: Edit, client: &Client, output: &Output) -> Written {
    let contact = client.contact(&edit.contact).await?;
    let message = find(client, &contact, &edit.message, Some(Direction::Outgoing)).await?;
    let text = input::argument_or_stdin(edit.text)?;
    client.edit(message.seq, &text).await?;
    tell(client, output).await;
    show(client, &contact, message.seq, output).await
}

/// `delete` with `--message`.
pub(super) async fn delete(
    delete: &Delete,
    message: &str,
    client: &Client,
    output: &Output,
) -> Written {
    let contact = client.contact(&delete.contact).await?;
    if delete.here_only {
        let message = find(client, &contact, message, None).await?;
        client.erase_message(message.seq).await?;
        let said = "Deleted here; the contact keeps it.";
        return output.result(|| said.to_owned(), || json!({ "erased": message.seq }));
    }
    let message = find(client, &contact, message, Some(Direction::Outgoing)).await?;
    client.delete_message(message.seq).await?;
    tell(client, output).await;
    show(client, &contact, message.seq, output).await
}

pub(super) async fn read(read: &Read, client: &Client, output: &Output) -> Written {
    let contact = client.contact(&read.contact).await?;
    let up_to = match &read.up_to {
        Some(named) => Some(find(client, &contact, named, Some(Direction::Incoming)).await?.seq),
        None => None,
    };
    let count = client.mark_read(contact.id, up_to).await?;
    if client.read_receipts().await? {
        tell(client, output).await;
    }
    let name = safe_text::line(&contact.name);
    output.result(
        || format!("{count} new from {name}: marked as read."),
        || json!({ "contact": contact.id.get(), "read": count }),
    )
}

pub(super) async fn receipts(receipts: &Receipts, client: &Client, output: &Output) -> Written {
    if let Some(setting) = receipts.setting {
        client.set_read_receipts(setting == Switch::On).await?;
    }
    let on = client.read_receipts().await?;
    let said = if on {
        "Read receipts are on: contacts are told what you have read."
    } else {
        "Read receipts are off: contacts are not told what you have read."
    };
    output.result(|| said.to_owned(), || json!({ "read_receipts": on }))
}

pub(super) async fn timer(timer: &Timer, client: &Client, output: &Output) -> Written {
    let mut contact = client.contact(&timer.contact).await?;
    if let Some(seconds) = timer.time {
        client.set_timer(contact.id, seconds).await?;
        tell(client, output).await;
        contact = client.contact(&contact.id.to_string()).await?;
    }
    let name = safe_text::line(&contact.name);
    let said = match contact.timer_seconds {
        0 => format!("Messages with {name} stay."),
        seconds => format!("New messages with {name} disappear after {}.", spell(seconds)),
    };
    output.result(|| said, || json::contact(&contact))
}

pub(super) async fn name(name: &Name, client: &Client, output: &Output) -> Written {
    client.set_name(&name.name).await?;
    tell(client, output).await;
    let me = client.me();
    output.result(
        || format!("Your contacts see you as {}.", safe_text::line(&me.name)),
        || json::me(&me),
    )
}

pub(super) async fn search(search: &Search, client: &Client, output: &Output) -> Written {
    let contacts = client.contacts().await?;
    let contact = match &search.contact {
        Some(query) => Some(client.contact(query).await?.id),
        None => None,
    };
    let limit = usize::try_from(search.limit).unwrap_or(usize::MAX);
    let found = client.search(contact, &search.text, limit).await?;
    if found.is_empty() {
        output.remark("Nothing found.");
    }
    for message in found.iter().rev() {
        let with = contacts.iter().find(|contact| contact.id == message.contact);
        let name = with.map_or_else(String::new, |contact| contact.name.clone());
        // Who the conversation is with, where it can be any.
        let before = match message.direction {
            Direction::Outgoing if contact.is_none() => {
                format!("(to {}) ", safe_text::line(&name))
            }
            _ => String::new(),
        };
        output.result(
            || format!("{before}{}", message_line(message, &name)),
            || json::message(message),
        )?;
    }
    Ok(())
}

pub(super) async fn cursors(cursors: &Cursors, client: &Client, output: &Output) -> Written {
    if let Some(name) = &cursors.drop {
        let known = client.drop_cursor(name).await?;
        if !known {
            return Err(Failure::Usage(
                "there is no reader of this name: `cursors` lists them".into(),
            ));
        }
    }
    for cursor in client.cursors().await? {
        output.result(
            || format!("{}  {} events behind", safe_text::line(&cursor.name), cursor.behind),
            || json::cursor(&cursor),
        )?;
    }
    Ok(())
}
