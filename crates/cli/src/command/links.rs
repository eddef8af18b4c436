//! `links`

use undertone::Client;

use crate::args::Links;
use crate::output::{Output, Written};
use crate::{json, safe_text, time};

pub(super) async fn run(links: &Links, client: &Client, output: &Output) -> Written {
    if let Some(number) = links.revoke {
        client.revoke_link(number).await?;
        // The relay hears of it now, or with the next command.
        if client.sync().await.is_err() {
            output
                .remark("The relay can't be reached now; it is told later. Here it holds already.");
        }
    }
    let all = client.links().await?;
    if all.is_empty() {
        output.remark("No links: `undertone invite` makes one.");
    }
    for link in &all {
        let line = || {
            let label = link
                .label
                .as_deref()
                .map_or_else(String::new, |label| format!("  \"{}\"", safe_text::line(label)));
            let state = if link.revoked {
                "withdrawn".to_owned()
            } else {
                format!("until {}", time::date(link.expires))
            };
            format!("{:>3}  {}{label}  {state}", link.number, json::link_kind(link.kind))
        };
        output.result(line, || json::link(link))?;
    }
    Ok(())
}
