//! `contacts`

use undertone::Client;

use super::view::contact_line;
use crate::json;
use crate::output::{Output, Written};

pub(super) async fn run(client: &Client, output: &Output) -> Written {
    let contacts = client.contacts().await?;
    if contacts.is_empty() {
        output
            .remark("No contacts yet: `undertone invite` makes a link, `undertone add` uses one.");
    }
    for contact in &contacts {
        output.result(|| contact_line(contact), || json::contact(contact))?;
    }
    Ok(())
}
