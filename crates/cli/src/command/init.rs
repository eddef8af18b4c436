//! `init`

use undertone::{Error, JoinAddress, NewProfile};

use crate::args::Init;
use crate::output::{Output, Written};
use crate::profile::Access;
use crate::{input, json, safe_text};

/// What a profile is called if nobody says: the system's account name would tell contacts more
/// than was decided.
const UNNAMED: &str = "unnamed";

pub(super) async fn run(init: Init, access: &Access, output: &Output) -> Written {
    let text = input::argument_or_stdin(init.relay)?;
    let join: JoinAddress = text.trim().parse().map_err(Error::from)?;
    let name = match init.name {
        Some(name) => name,
        None => input::ask("What do you call yourself? Your contacts will see it: ")?
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| UNNAMED.to_owned()),
    };
    let builder = access.builder().secret(access.new_secret()?);
    let client = builder.create(NewProfile { name, join }).await?;
    let me = client.me();
    client.close().await;
    let directory = access.directory().display().to_string();
    output.result(
        || {
            format!(
                "Profile of {} created in {}\nFingerprint: {}\nRelay: {}\n\nNext: `undertone invite` \
                 makes a link for somebody, `undertone add LINK` uses theirs.",
                safe_text::line(&me.name),
                safe_text::line(&directory),
                me.account,
                me.relay,
            )
        },
        || {
            let mut value = json::me(&me);
            if let Some(object) = value.as_object_mut() {
                object.insert("profile".into(), directory.clone().into());
            }
            value
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    #[test]
    fn a_link_is_no_join_address() {
        let parsed = "undertone://i/#AAAA".parse::<JoinAddress>().map_err(Error::from);
        let failure = parsed.err().map(Failure::from);
        assert_eq!(failure.map(|failure| failure.code()), Some("address-malformed"));
    }
}
