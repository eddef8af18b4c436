//! `invite`

use serde_json::json;
use undertone::{Client, LinkKind};

use crate::args::Invite;
use crate::output::{Output, Written};
use crate::{qr, time};

pub(super) async fn run(invite: Invite, client: &Client, output: &Output) -> Written {
    let kind = if invite.reusable { LinkKind::Reusable } else { LinkKind::SingleUse };
    let invitation = client.invite(kind, invite.label.clone()).await?;
    let link = invitation.link.to_text();
    let expires = time::date(invitation.expires);
    if output.is_json() {
        return output.json(&json!({
            "link": *link,
            "kind": if invite.reusable { "reusable" } else { "single-use" },
            "label": invite.label,
            "expires": expires,
        }));
    }
    output.text(&link)?;
    let for_whom = if invite.reusable {
        "Everybody who holds the link can write to you"
    } else {
        "The first one who uses the link can write to you"
    };
    output
        .remark(&format!("\n{for_whom}, up to {expires}. Hand it over where nobody else sees it."));
    if invite.qr || output.is_terminal() {
        match qr::render(link.as_bytes(), output.is_terminal()) {
            Some(code) => output.text(&format!("\n{code}"))?,
            None => output.remark("The link is too long for a QR code."),
        }
    }
    Ok(())
}
