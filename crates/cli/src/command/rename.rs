//! `rename`

use undertone::Client;

use super::view::contact_line;
use crate::args::Rename;
use crate::json;
use crate::output::{Output, Written};

pub(super) async fn run(rename: &Rename, client: &Client, output: &Output) -> Written {
    let contact = client.contact(&rename.contact).await?;
    let contact = client.rename(contact.id, &rename.name).await?;
    output.result(|| contact_line(&contact), || json::contact(&contact))
}
