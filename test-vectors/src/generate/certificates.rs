//! Family `relay`: the certificates that a relay shows (11 Transport).

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Files, about};
use crate::prim;
use crate::value::hex;

const FAMILY: &str = "relay";

/// 2023-11-14 22:13:20 UTC.
const NOW: u64 = 1_700_000_000;
const VALID: (&str, &str) = ("231114000000Z", "231214000000Z");
const NAME: &str = "relay.undertone.invalid";

/// Ed25519 seeds: the relay's root, another, the leaf's.
const ROOT: [u8; 32] = [0x41; 32];
const STRANGER: [u8; 32] = [0x42; 32];
const LEAF: [u8; 32] = [0x43; 32];

/// DER: a tag, a length and what is in it.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let short = u8::try_from(length).unwrap_or(u8::MAX);
    let head = match length {
        0..=0x7f => vec![tag, short],
        0x80..=0xff => vec![tag, 0x81, short],
        _ => [&[tag, 0x82][..], &u16::try_from(length).unwrap().to_be_bytes()].concat(),
    };
    [head, content].concat()
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    der(0x30, parts)
}

/// The algorithm Ed25519 (RFC 8410).
fn algorithm() -> Vec<u8> {
    sequence(&[&[6, 3, 0x2b, 0x65, 0x70]])
}

fn key_info(seed: &[u8; 32]) -> Vec<u8> {
    sequence(&[&algorithm(), &der(3, &[&[0], &prim::ed25519_public(seed)])])
}

/// A name of a common name alone.
fn name(common: &str) -> Vec<u8> {
    let entry = sequence(&[&[6, 3, 0x55, 4, 3], &der(0x0c, &[common.as_bytes()])]);
    sequence(&[&der(0x31, &[&entry])])
}

fn extension(id: [u8; 3], critical: bool, content: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    sequence(&[&der(6, &[&id]), critical, &der(4, &[content])])
}

struct Certificate<'a> {
    subject: &'a str,
    key: Vec<u8>,
    valid: (&'a str, &'a str),
    extensions: Vec<u8>,
}

impl Certificate<'_> {
    fn signed(&self, by: &[u8; 32]) -> Vec<u8> {
        let (from, to) = self.valid;
        let content = sequence(&[
            &[0xa0, 3, 2, 1, 2],
            &[2, 1, 1],
            &algorithm(),
            &name("undertone relay root"),
            &sequence(&[&der(0x17, &[from.as_bytes()]), &der(0x17, &[to.as_bytes()])]),
            &name(self.subject),
            &self.key,
            &der(0xa3, &[&sequence(&[&self.extensions])]),
        ]);
        let signature = prim::sign(by, &content);
        sequence(&[&content, &algorithm(), &der(3, &[&[0], &signature])])
    }
}

fn root_with(key: Vec<u8>, seed: &[u8; 32]) -> Vec<u8> {
    let authority = extension([0x55, 0x1d, 0x13], true, &sequence(&[&[1, 1, 0xff, 2, 1, 0]]));
    let usage = extension([0x55, 0x1d, 0x0f], true, &[3, 2, 2, 4]);
    let extensions = [authority, usage].concat();
    let valid = ("230101000000Z", "491231235959Z");
    Certificate { subject: "undertone relay root", key, valid, extensions }.signed(seed)
}

fn root(seed: &[u8; 32]) -> Vec<u8> {
    root_with(key_info(seed), seed)
}

fn leaf(by: &[u8; 32], dns: &str, valid: (&str, &str)) -> Vec<u8> {
    let names = sequence(&[&der(0x82, &[dns.as_bytes()])]);
    let extensions = extension([0x55, 0x1d, 0x11], false, &names);
    Certificate { subject: "undertone relay", key: key_info(&LEAF), valid, extensions }.signed(by)
}

/// What one root signs for its successor.
fn handover(from: &[u8; 32], to: &[u8; 32], valid: (&str, &str)) -> Vec<u8> {
    let authority = extension([0x55, 0x1d, 0x13], true, &sequence(&[&[1, 1, 0xff]]));
    let usage = extension([0x55, 0x1d, 0x0f], true, &[3, 2, 2, 4]);
    let extensions = [authority, usage].concat();
    Certificate { subject: "undertone relay root", key: key_info(to), valid, extensions }
        .signed(from)
}

fn input(chain: &[Vec<u8>], unix_seconds: u64) -> Value {
    pinned(&ROOT, chain, unix_seconds)
}

fn pinned(root: &[u8; 32], chain: &[Vec<u8>], unix_seconds: u64) -> Value {
    let chain: Vec<Value> = chain.iter().map(|der| hex(der)).collect();
    let root = Sha256::digest(key_info(root));
    json!({ "root": hex(&root), "chain": chain, "unix_seconds": unix_seconds })
}

/// An elliptic-curve key that is not Ed25519: P-256, uncompressed, the base point.
fn other_key_info() -> Vec<u8> {
    const BASE: &str = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
                        4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";
    let point = crate::value::unhex(BASE).unwrap();
    let curve: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let kind = sequence(&[&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], curve]);
    sequence(&[&kind, &der(3, &[&[0], &point])])
}

pub(super) fn make(files: &mut Files) {
    let spec = &["11 Transport"];
    let (good, own) = (leaf(&ROOT, NAME, VALID), root(&ROOT));
    for (name, says, now) in [
        ("certificates", "A leaf, and the root that signed it.", NOW),
        ("certificates-first-second", "The first second of the leaf's time.", 1_699_920_000),
        ("certificates-last-second", "The last second of the leaf's time.", 1_702_512_000),
    ] {
        let input = input(&[good.clone(), own.clone()], now);
        files.valid(&about(FAMILY, name, spec, says), "relay-certificates", input);
    }
    succession(files);
    let altered = |mut certificate: Vec<u8>| {
        let last = certificate.last_mut().unwrap();
        *last ^= 1;
        certificate
    };
    let passed = ("231001000000Z", "231101000000Z");
    for (name, rule, stage, says, chain, now) in [
        ("none", "R-1120", "read", "No certificate at all.", vec![], NOW),
        ("leaf-alone", "R-1120", "read", "The root is missing.", vec![good.clone()], NOW),
        (
            "three",
            "R-1120",
            "read",
            "The root twice.",
            vec![good.clone(), own.clone(), own.clone()],
            NOW,
        ),
        (
            "another-root",
            "R-1121",
            "compare",
            "Leaf and root are another relay's.",
            vec![leaf(&STRANGER, NAME, VALID), root(&STRANGER)],
            NOW,
        ),
        (
            "root-without-a-fingerprint",
            "R-1121",
            "compare",
            "The root's key is of P-256.",
            vec![good.clone(), root_with(other_key_info(), &ROOT)],
            NOW,
        ),
        (
            "another-signature",
            "R-1122",
            "verify",
            "Another root signed the leaf, under the pinned one's name.",
            vec![leaf(&STRANGER, NAME, VALID), own.clone()],
            NOW,
        ),
        (
            "leaf-altered",
            "R-1122",
            "verify",
            "One bit of the leaf's signature is another.",
            vec![altered(good.clone()), own.clone()],
            NOW,
        ),
        (
            "over",
            "R-1123",
            "compare",
            "The leaf's time has passed.",
            vec![leaf(&ROOT, NAME, passed), own.clone()],
            NOW,
        ),
        (
            "a-second-late",
            "R-1123",
            "compare",
            "The second after the leaf's last.",
            vec![good.clone(), own.clone()],
            1_702_512_001,
        ),
        (
            "a-second-early",
            "R-1123",
            "compare",
            "The second before the leaf's first.",
            vec![good.clone(), own.clone()],
            1_699_919_999,
        ),
        (
            "another-name",
            "R-1123",
            "compare",
            "A leaf for a host of the network.",
            vec![leaf(&ROOT, "relay.example.org", VALID), own.clone()],
            NOW,
        ),
    ] {
        let name = format!("certificates-{name}");
        let about = &about(FAMILY, &name, spec, says);
        files.refused(about, rule, stage, "relay-certificates", input(&chain, now));
    }
}

/// A relay that had two root keys before the present one.
fn succession(files: &mut Files) {
    const FIRST: [u8; 32] = [0x44; 32];
    const SECOND: [u8; 32] = [0x45; 32];
    const LONG: (&str, &str) = ("230101000000Z", "491231235959Z");
    let spec = &["11 Former roots"];
    let second = handover(&FIRST, &SECOND, LONG);
    let last = handover(&SECOND, &ROOT, LONG);
    let chain = |last: &[u8], second: &[u8]| {
        let leaf = leaf(&ROOT, NAME, VALID);
        vec![leaf, root(&ROOT), last.to_vec(), root(&SECOND), second.to_vec(), root(&FIRST)]
    };
    let good = chain(&last, &second);
    for (name, pin, says) in [
        ("of-the-first-root", FIRST, "Pinned is the first of three roots."),
        ("of-the-second-root", SECOND, "Pinned is the second of three roots."),
        (
            "of-the-present-root",
            ROOT,
            "Pinned is the root in use: what is behind it is passed over.",
        ),
    ] {
        let name = format!("certificates-{name}");
        let input = pinned(&pin, &good, NOW);
        files.valid(&about(FAMILY, &name, spec, says), "relay-certificates", input);
    }
    let passed = handover(&FIRST, &SECOND, ("230101000000Z", "231101000000Z"));
    let two = [good.clone(), good[2..].to_vec()].concat();
    for (name, rule, stage, says, pin, chain) in [
        ("five", "R-1120", "read", "The first root is missing.", FIRST, good[..5].to_vec()),
        ("ten", "R-1120", "read", "Ten certificates.", FIRST, two),
        ("of-no-root", "R-1121", "compare", "Pinned is none of them.", STRANGER, good.clone()),
        (
            "handover-of-another",
            "R-1122",
            "verify",
            "A stranger signed what leads from the first root.",
            FIRST,
            chain(&last, &handover(&STRANGER, &SECOND, LONG)),
        ),
        (
            "handover-to-another",
            "R-1122",
            "verify",
            "The second root handed over to a stranger.",
            FIRST,
            chain(&handover(&SECOND, &STRANGER, LONG), &second),
        ),
        (
            "handover-missing",
            "R-1122",
            "verify",
            "The first root's own certificate in place of its handover.",
            FIRST,
            chain(&last, &root(&FIRST)),
        ),
        (
            "handover-over",
            "R-1123",
            "compare",
            "The first handover's time has passed.",
            FIRST,
            chain(&last, &passed),
        ),
    ] {
        let name = format!("certificates-{name}");
        let about = &about(FAMILY, &name, spec, says);
        files.refused(about, rule, stage, "relay-certificates", pinned(&pin, &chain, NOW));
    }
}
