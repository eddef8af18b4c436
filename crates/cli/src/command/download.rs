//! `download`

use undertone::{Client, MessageId, MessageKind};

use crate::args::Download;
use crate::failure::Failure;
use crate::output::{Output, Written};
use crate::{json, safe_text};

pub(super) async fn run(download: &Download, client: &Client, output: &Output) -> Written {
    let contact = client.contact(&download.contact).await?;
    let id: MessageId = download.id.parse().map_err(|error| Failure::Usage(format!("{error}")))?;
    if download.cancel {
        client.cancel_download(contact.id, id).await?;
    } else {
        client.download(contact.id, id).await?;
        client.sync().await?;
    }
    let message = client.received_message(contact.id, id).await?;
    output.result(
        || match &message.kind {
            MessageKind::File(file) => match &file.path {
                Some(path) => format!("Saved: {}", safe_text::line(&path.display().to_string())),
                None if download.cancel => "It is not fetched.".into(),
                None => {
                    "It can't be fetched now, and is tried again with the next `receive`.".into()
                }
            },
            _ => "This message has no file.".into(),
        },
        || json::message(&message),
    )
}
