//! `status`

use undertone::Client;

use crate::output::{Output, Written};
use crate::{json, safe_text};

pub(super) async fn run(client: &Client, output: &Output) -> Written {
    let me = client.me();
    let contacts = client.contacts().await?.len();
    let receipts = client.read_receipts().await?;
    output.result(
        || {
            format!(
                "Name:        {}\nFingerprint: {}\nDevice:      {}\nRelay:       {}\nContacts:    {contacts}\nReceipts:    {}",
                safe_text::line(&me.name),
                me.account,
                me.device,
                me.relay,
                if receipts { "contacts are told what you have read" } else { "off" },
            )
        },
        || {
            let mut value = json::me(&me);
            if let Some(object) = value.as_object_mut() {
                object.insert("contacts".into(), contacts.into());
                object.insert("read_receipts".into(), receipts.into());
            }
            value
        },
    )
}
