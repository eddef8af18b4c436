//! Family `links`.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Files, about};
use crate::value::hex;

const FAMILY: &str = "links";
const PREFIX: &str = "undertone://i/#";

/// A relay's address.
pub(super) fn address(host: &str, port: u16) -> Vec<u8> {
    [&[u8::try_from(host.len()).unwrap()], host.as_bytes(), &port.to_be_bytes(), &[7; 32]].concat()
}

pub(super) fn payload(version: u8, kind: u8, address: &[u8]) -> Vec<u8> {
    checked([&[version, kind][..], &[1; 32], &[2; 32], address].concat())
}

/// That of a link to an account with this fingerprint.
pub(super) fn payload_to(account: &[u8; 32], kind: u8, address: &[u8]) -> Vec<u8> {
    checked([&[1, kind][..], &[1; 32], account, address].concat())
}

fn checked(mut payload: Vec<u8>) -> Vec<u8> {
    let sum = Sha256::digest(&payload);
    payload.extend(&sum[..4]);
    payload
}

fn text(payload: &[u8]) -> String {
    format!("{PREFIX}{}", BASE64URL_NOPAD.encode(payload))
}

pub(super) fn make(files: &mut Files) {
    valid(files);
    refused(files);
    routes(files);
    used(files);
}

/// Links in the hands of somebody who is not just anybody.
fn used(files: &mut Files) {
    let here = address("relay.example.org", 4433);
    let spec = &["03 §3"];
    let use_by = |kind: u8, own: u8| json!({ "text": text(&payload(1, kind, &here)), "own": hex(&[own; 32]) });
    let says = "Somebody else's link.";
    files.valid(&about(FAMILY, "use", spec, says), "link-use", use_by(1, 3));
    for (name, kind, says) in [
        ("use-own", 2, "The fingerprint in the link is the reader's."),
        ("use-own-reset", 3, "The same, and a reset link."),
    ] {
        let about = &about(FAMILY, name, spec, says);
        files.refused(about, "R-307", "compare", "link-use", use_by(kind, 2));
    }

    let spec = &["13 §3"];
    let given = |payload: &[u8], contact: u8| json!({ "payload": hex(payload), "contact": hex(&[contact; 32]) });
    let reset = payload(1, 3, &here);
    let says = "A reset link that a contact gave inside a session.";
    files.valid(&about(FAMILY, "reset", spec, says), "link-from-contact", given(&reset, 2));
    for (name, rule, stage, says, payload, contact) in [
        ("single-use", "R-1301", "compare", "A link for one person.", payload(1, 1, &here), 2),
        ("reusable", "R-1301", "compare", "A link for many.", payload(1, 2, &here), 2),
        (
            "another-account",
            "R-1302",
            "compare",
            "The link leads to another account than the contact's.",
            reset.clone(),
            3,
        ),
        (
            "reusable-of-another-account",
            "R-1301",
            "compare",
            "Both: the kind is looked at first.",
            payload(1, 2, &here),
            3,
        ),
        ("cut", "R-302", "read", "The last byte is missing.", reset[..reset.len() - 1].to_vec(), 2),
        ("version-2", "R-304", "read", "Of another version.", payload(2, 3, &here), 2),
    ] {
        let name = format!("reset-{name}");
        let about = &about(FAMILY, &name, spec, says);
        files.refused(about, rule, stage, "link-from-contact", given(&payload, contact));
    }
}

/// A host name of 253 letters.
fn longest() -> String {
    format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61))
}

fn valid(files: &mut Files) {
    let description = |kind: &str, host: &str, port: u16| {
        json!({
            "kind": kind,
            "link_secret": hex(&[1; 32]),
            "fingerprint": hex(&[2; 32]),
            "host": host,
            "port": port,
            "root": hex(&[7; 32]),
        })
    };
    let longest = longest();
    for (name, kind, host, port, says) in [
        ("example", "single-use", "relay.example.org", 4433, "The example of the specification."),
        ("reusable", "reusable", "relay.example.org", 1, "A link for many, and the lowest port."),
        (
            "reset",
            "reset",
            "relay.example.org",
            65_535,
            "A link inside a session, and the highest port.",
        ),
        ("ipv4", "single-use", "192.0.2.7", 4433, "An IPv4 address as the host."),
        (
            "ipv6",
            "single-use",
            "2001:db8::7",
            4433,
            "An IPv6 address as the host, without brackets.",
        ),
        ("shortest-host", "single-use", "a", 4433, "A host of one letter."),
        ("longest-host", "single-use", &longest, 4433, "A host of 253 letters."),
    ] {
        let input = description(kind, host, port);
        let write = format!("write-{name}");
        let output = files.valid(
            &about(FAMILY, &write, &["03-links §1", "03-links §2"], says),
            "link-write",
            input,
        );
        let input = json!({ "text": output["text"] });
        let read = format!("read-{name}");
        files.valid(&about(FAMILY, &read, &["03-links §3"], says), "link-read", input);
    }
    let link = text(&payload(1, 1, &address("relay.example.org", 4433)));
    let says = "White space around the text is passed over.";
    let input = json!({ "text": format!(" \t\r\n{link}\n ") });
    files.valid(&about(FAMILY, "read-white-space", &["03-links §3"], says), "link-read", input);
}

fn refused(files: &mut Files) {
    let honest = payload(1, 1, &address("relay.example.org", 4433));
    let link = text(&honest);
    let mut refuse = |name: &str, rule: &str, says: &str, text: String| {
        let input = json!({ "text": text });
        let about = about(FAMILY, name, &["03-links §3"], says);
        files.refused(&about, rule, "read", "link-read", input);
    };
    refuse("read-other-text", "R-301", "A text that is no link.", "hello".into());
    refuse("read-empty", "R-301", "Nothing.", String::new());
    refuse("read-other-scheme", "R-301", "Another scheme.", link.replace("undertone", "https"));
    refuse(
        "read-upper-case-scheme",
        "R-301",
        "The scheme in upper case.",
        link.replace("undertone", "UNDERTONE"),
    );
    refuse("read-cut-in-the-prefix", "R-302", "A beginning of the prefix.", "undertone://i".into());
    refuse("read-cut-after-the-prefix", "R-302", "The prefix alone.", PREFIX.into());
    for length in [2, 3, 40, 100, 150, link.len() - PREFIX.len() - 6, link.len() - PREFIX.len() - 1]
    {
        let name = format!("read-cut-after-{length}-letters");
        let cut = link[..PREFIX.len() + length].to_owned();
        refuse(&name, "R-302", "The end of the link is missing.", cut);
    }
    refuse(
        "read-version-2",
        "R-304",
        "Another version.",
        text(&payload(2, 1, &address("relay.example.org", 4433))),
    );
    refuse(
        "read-version-2-cut",
        "R-304",
        "The version is looked at first.",
        format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&[2, 1, 1, 1])),
    );
    refuse(
        "read-version-0",
        "R-304",
        "Version zero.",
        text(&payload(0, 1, &address("relay.example.org", 4433))),
    );
    for kind in [0, 4, 255] {
        let name = format!("read-kind-{kind}");
        let says = "An unknown kind behind a checksum that fits.";
        refuse(&name, "R-305", says, text(&payload(1, kind, &address("relay.example.org", 4433))));
    }
    let mut altered = honest.clone();
    altered[10] ^= 1;
    refuse("read-altered", "R-303", "A changed byte: the checksum does not fit.", text(&altered));
    let mut altered = honest.clone();
    altered[1] = 4;
    refuse(
        "read-unknown-kind-and-checksum",
        "R-303",
        "An unknown kind behind a checksum that does not fit is damage.",
        text(&altered),
    );
    refuse(
        "read-byte-behind",
        "R-303",
        "A byte stands behind the checksum.",
        text(&[&honest[..], &[0]].concat()),
    );
    refuse(
        "read-too-long",
        "R-303",
        "More letters than any link has.",
        format!("{PREFIX}{}", "A".repeat(700)),
    );
    let letter = |at: usize, with: &str| {
        let mut link = link.clone();
        link.replace_range(PREFIX.len() + at..=PREFIX.len() + at, with);
        link
    };
    refuse(
        "read-letter-of-plain-base64",
        "R-303",
        "A letter of base64 that base64url has not.",
        letter(30, "+"),
    );
    refuse("read-padded", "R-303", "Padding letters at the end.", format!("{link}=="));
    refuse("read-space-inside", "R-303", "A space between letters.", letter(30, " "));
    let last = link.len() - PREFIX.len() - 1;
    assert_ne!(honest.len() % 3, 0, "the last letter has surplus bits");
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let place = alphabet.find(link.chars().last().unwrap()).unwrap();
    refuse(
        "read-surplus-bits",
        "R-303",
        "Surplus bits of the last letter are not zero, and nothing is missing.",
        letter(last, &alphabet[place + 1..place + 2]),
    );
    let groups = payload(1, 1, &address("relay.example.info", 4433));
    assert_eq!(groups.len() % 3, 0, "the text ends with a whole group");
    refuse(
        "read-surplus-bits-behind",
        "R-303",
        "Behind a whole payload stand letters with surplus bits that are not zero.",
        format!("{}AB", text(&groups)),
    );
    for (name, says, address) in [
        (
            "read-host-upper-case",
            "A host in upper case has a second spelling.",
            address("Relay.example.org", 4433),
        ),
        (
            "read-host-ip-not-canonical",
            "An IPv6 address that is not in its canonical form.",
            address("2001:db8:0::7", 4433),
        ),
        ("read-host-brackets", "An IPv6 address in brackets.", address("[2001:db8::7]", 4433)),
        ("read-port-0", "There is no port 0.", address("relay.example.org", 0)),
        ("read-host-space", "A host with a space.", address("relay example", 4433)),
    ] {
        refuse(name, "R-303", says, text(&payload(1, 1, &address)));
    }
    refuse(
        "read-host-empty",
        "R-303",
        "A host of no letter.",
        text(&payload(1, 1, &[&[0][..], &[0x11, 0x51], &[7; 32]].concat())),
    );
}

fn routes(files: &mut Files) {
    let spec = &["03-links §5"];
    let route = |host: &str, port: u16| [address(host, port), vec![8; 32]].concat();
    let longest = longest();
    for (name, host) in [
        ("route", "relay.example.org"),
        ("route-ipv6", "2001:db8::7"),
        ("route-longest", longest.as_str()),
    ] {
        let says = "A route: a relay's address and a write capability.";
        let input = json!({
            "host": host, "port": 4433, "root": hex(&[7; 32]), "write_capability": hex(&[8; 32]),
        });
        let write = format!("{name}-write");
        let output = files.valid(&about(FAMILY, &write, spec, says), "route-write", input);
        assert_eq!(output["route"], hex(&route(host, 4433)));
        let read = format!("{name}-read");
        let input = json!({ "route": output["route"] });
        files.valid(&about(FAMILY, &read, spec, says), "route-read", input);
    }
    let honest = route("relay.example.org", 4433);
    let whole = |bytes: &[u8]| -> Value { json!({ "route": hex(bytes) }) };
    for (name, says, bytes) in [
        ("route-read-empty", "Nothing.", vec![]),
        ("route-read-cut", "The last byte is missing.", honest[..honest.len() - 1].to_vec()),
        ("route-read-byte-behind", "A byte too many.", [&honest[..], &[0]].concat()),
        ("route-read-port-0", "There is no port 0.", route("relay.example.org", 0)),
        (
            "route-read-host-upper-case",
            "A second spelling of a host.",
            route("RELAY.example.org", 4433),
        ),
    ] {
        files.refused(
            &about(FAMILY, name, spec, says),
            "R-306",
            "read",
            "route-read",
            whole(&bytes),
        );
    }
}
