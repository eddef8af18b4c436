//! `history`

use undertone::Client;

use super::view::message_line;
use crate::args::History;
use crate::json;
use crate::output::{Output, Written};

pub(super) async fn run(history: &History, client: &Client, output: &Output) -> Written {
    let contact = client.contact(&history.contact).await?;
    let limit = usize::try_from(history.limit).unwrap_or(usize::MAX);
    let messages = client.history(contact.id, history.before, limit).await?;
    if messages.is_empty() {
        output.remark("No messages.");
    }
    for message in &messages {
        output.result(|| message_line(message, &contact.name), || json::message(message))?;
    }
    Ok(())
}
