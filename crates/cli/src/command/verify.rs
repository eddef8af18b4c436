//! `verify`

use serde_json::json;
use undertone::{Client, Contact, SafetyNumberView};

use crate::args::Verify;
use crate::failure::Failure;
use crate::output::{Output, Written};
use crate::{qr, safe_text};

/// Digits of a safety number.
const DIGITS: usize = 60;

pub(super) async fn run(verify: Verify, client: &Client, output: &Output) -> Written {
    let contact = client.contact(&verify.contact).await?;
    let number = client.safety_number(contact.id).await?;
    let contact = match &verify.scanned {
        Some(scanned) => {
            let scanned = digits(scanned)?;
            if scanned != only_digits(&number.digits) {
                return Err(Failure::NumbersDiffer { contact: contact.name });
            }
            client.mark_verified(contact.id).await?
        }
        None if verify.confirm => client.mark_verified(contact.id).await?,
        None => contact,
    };
    if output.is_json() {
        return output.json(&json!({
            "contact": contact.id.get(),
            "name": contact.name,
            "safety_number": only_digits(&number.digits),
            "qr_hex": data_encoding::HEXLOWER.encode(&number.qr),
            "verified": contact.verified,
        }));
    }
    show(&verify, &contact, &number, output)
}

fn show(verify: &Verify, contact: &Contact, number: &SafetyNumberView, output: &Output) -> Written {
    let name = safe_text::line(&contact.name);
    output.text(&groups(&only_digits(&number.digits)))?;
    if (verify.qr || output.is_terminal())
        && let Some(code) = qr::render(&number.qr, output.is_terminal())
    {
        output.text(&format!("\n{code}"))?;
    }
    output.remark(&if contact.verified {
        format!("\n{name} is verified.")
    } else {
        format!(
            "\n{name} is not verified. Compare these digits with theirs, in person or in a call. \
             If they are the same: `undertone verify {} --confirm`.",
            contact.id
        )
    });
    Ok(())
}

/// What was typed, without the spaces between groups.
fn digits(typed: &str) -> Result<String, Failure> {
    let digits: String = typed.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    if digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(digits)
    } else {
        Err(Failure::Usage(format!(
            "a safety number has {DIGITS} digits: type all of them, with or without spaces"
        )))
    }
}

fn only_digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// Four lines of three groups of five digits: easy to read out.
fn groups(digits: &str) -> String {
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        match at {
            0 => {}
            at if at % 15 == 0 => text.push('\n'),
            at if at % 5 == 0 => text.push(' '),
            _ => {}
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_digits() {
        let spaced = "12345 ".repeat(12);
        assert_eq!(digits(&spaced).ok(), Some("12345".repeat(12)));
        assert!(digits("12345").is_err());
        assert!(digits(&"x".repeat(60)).is_err());
    }

    #[test]
    fn groups_are_read_in_threes() {
        let text = groups(&"1234567890".repeat(6));
        assert_eq!(text.lines().count(), 4);
        assert_eq!(text.lines().next(), Some("12345 67890 12345"));
    }
}
