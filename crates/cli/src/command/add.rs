//! `add`

use undertone::{Client, Error, Link};

use super::view::contact_line;
use crate::args::Add;
use crate::output::{Output, Written};
use crate::{input, json, safe_text};

pub(super) async fn run(add: Add, client: &Client, output: &Output) -> Written {
    let text = input::argument_or_stdin(add.link)?;
    let link: Link = text.parse().map_err(Error::from)?;
    let contact = client.add(&link, add.name).await?;
    // The greeting is queued; if it can't go out now, the next command takes it along.
    let greeted = client.sync().await;
    output.result(
        || {
            format!(
                "Added: {}\nCompare keys with `undertone verify {}` before you trust who it is.",
                contact_line(&contact),
                contact.id
            )
        },
        || {
            let mut value = json::contact(&contact);
            if let Some(object) = value.as_object_mut() {
                let why_queued = greeted.as_ref().err().map(undertone::Error::code);
                object.insert("greeting_queued".into(), why_queued.into());
            }
            value
        },
    )?;
    if let Err(error) = greeted {
        output.remark(&format!("The greeting is queued: {}", safe_text::line(&error.to_string())));
    }
    Ok(())
}
