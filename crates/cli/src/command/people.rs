//! `block`, `unblock`, `delete`, `resend`, `key`, `move`

use serde_json::json;
use undertone::{Client, Error, JoinAddress};

use super::view::contact_line;
use crate::args::{Delete, Key, Move, Resend, Who};
use crate::output::{Output, Written};
use crate::{input, json, safe_text};

/// Tells the relays, if they can be reached.
pub(super) async fn tell(client: &Client, output: &Output) {
    if let Err(error) = client.sync().await {
        let why = safe_text::line(&error.to_string());
        output.remark(&format!("Recorded here; the relay is told with the next command: {why}"));
    }
}

pub(super) async fn block(who: &Who, client: &Client, output: &Output) -> Written {
    let contact = client.contact(&who.contact).await?;
    let contact = client.block(contact.id).await?;
    tell(client, output).await;
    output.result(|| contact_line(&contact), || json::contact(&contact))
}

pub(super) async fn unblock(who: &Who, client: &Client, output: &Output) -> Written {
    let contact = client.contact(&who.contact).await?;
    let contact = client.unblock(contact.id).await?;
    tell(client, output).await;
    output.result(|| contact_line(&contact), || json::contact(&contact))
}

pub(super) async fn delete(delete: &Delete, client: &Client, output: &Output) -> Written {
    let contact = client.contact(&delete.contact).await?;
    client.delete_contact(contact.id).await?;
    tell(client, output).await;
    output.result(
        || format!("Deleted: {}", safe_text::line(&contact.name)),
        || json!({ "deleted": contact.id.get() }),
    )
}

pub(super) async fn resend(resend: &Resend, client: &Client, output: &Output) -> Written {
    let contact = client.contact(&resend.contact).await?;
    let count = client.consent_to_resend(contact.id, !resend.give_up).await?;
    tell(client, output).await;
    let what = if resend.give_up { "given up" } else { "sent again" };
    output.result(
        || format!("{count} messages to {}: {what}.", safe_text::line(&contact.name)),
        || json!({ "contact": contact.id.get(), "count": count, "again": !resend.give_up }),
    )
}

pub(super) async fn key(key: &Key, client: &Client, output: &Output) -> Written {
    let contact = client.contact(&key.contact).await?;
    let contact = match key.accept {
        Some(account) => client.accept_key_change(contact.id, account).await?,
        None => client.refuse_key_change(contact.id).await?,
    };
    tell(client, output).await;
    output.result(|| contact_line(&contact), || json::contact(&contact))
}

pub(super) async fn move_to(moving: Move, client: &Client, output: &Output) -> Written {
    let text = input::argument_or_stdin(moving.relay)?;
    let join: JoinAddress = text.trim().parse().map_err(Error::from)?;
    client.move_to(join).await?;
    tell(client, output).await;
    let me = client.me();
    output.result(|| format!("Reached at {} from now on.", me.relay), || json::me(&me))
}
