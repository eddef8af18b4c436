//! Family `relay`: frames and what stands around them.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::primitives::bad_signatures;
use super::{Files, about, put};
use crate::ops;
use crate::prim;
use crate::value::{hex, unhex};

const FAMILY: &str = "relay";

fn b(byte: u8) -> Value {
    hex(&[byte; 32])
}

fn b16(byte: u8) -> Value {
    hex(&[byte; 16])
}

pub(super) fn make(files: &mut Files) {
    for (kind, name, frame) in frames() {
        let says = "A frame, and its bytes.";
        let input = json!({ "type": kind, "frame": frame });
        let spec: &[&str] = &["11 The encoding of frames"];
        let write = format!("write-{name}");
        let output = files.valid(&about(FAMILY, &write, spec, says), "frame-write", input);
        if output["bytes"].as_str().unwrap().len() < 1000 {
            let read = format!("read-{name}");
            let input = json!({ "type": kind, "bytes": output["bytes"] });
            files.valid(&about(FAMILY, &read, spec, says), "frame-read", input);
        }
    }
    refused(files);
    lengths(files);
    identifiers(files);
    addresses(files);
    signatures(files);
}

fn client(request: Value) -> Value {
    json!({ "request_id": 300, "request": request })
}

fn owner(operation: Value) -> Value {
    json!({ "request_id": 5, "operation": operation })
}

fn reply(response: Value) -> Value {
    json!({
        "kind": "reply", "request_id": u64::MAX,
        "result": { "kind": "response", "response": response },
    })
}

fn frames() -> Vec<(&'static str, &'static str, Value)> {
    let envelope = hex(&[0xee; 40]);
    let state = json!({
        "incarnation": b16(1), "acknowledged": 127, "expired": 128, "head": 16_384, "bytes": u64::MAX,
        "limits": { "envelopes": 10_000, "bytes": 67_108_864 },
    });
    let bundle = hex(&[0xbb; 30]);
    let queue = json!({ "kind": "queue" });
    let limits = json!({ "envelopes": 7, "bytes": 8 });
    vec![
        (
            "client",
            "client-owner",
            client(json!({ "kind": "owner", "body": "0100", "signatures": [hex(&[3; 64])] })),
        ),
        (
            "client",
            "client-deliver",
            client(json!({ "kind": "deliver", "write_capability": b(4), "envelope": envelope })),
        ),
        (
            "client",
            "client-take",
            json!({ "request_id": 5, "request": { "kind": "take", "fetch_capability": b(5), "take_id": b16(6) } }),
        ),
        (
            "client",
            "client-acknowledge",
            client(json!({ "kind": "acknowledge", "acknowledgements": [
            { "mailbox": b(7), "incarnation": b16(8), "floor": 1 },
            { "mailbox": b(9), "incarnation": b16(8), "floor": u64::MAX },
        ] })),
        ),
        (
            "client",
            "client-acknowledge-nothing",
            client(json!({ "kind": "acknowledge", "acknowledgements": [] })),
        ),
        (
            "client",
            "client-delete-blob",
            client(json!({ "kind": "delete-blob", "blob_id": b(10), "delete_capability": b(11) })),
        ),
        (
            "client",
            "client-ticket",
            client(json!({ "kind": "ticket", "session_key": b(12), "mailboxes": [b(13), b(14)] })),
        ),
        (
            "client",
            "client-resume",
            client(json!({ "kind": "resume", "body": "00", "signature": hex(&[15; 64]) })),
        ),
        (
            "client",
            "client-padding",
            json!({ "request_id": 0, "request": { "kind": "padding", "zeros": "000000" } }),
        ),
        (
            "owner-body",
            "owner-create-mailbox",
            owner(
                json!({ "kind": "create-mailbox", "read_key": b(1), "token": b(2), "mailbox_kind": queue, "limits": null, "capability_hashes": [b(3)] }),
            ),
        ),
        (
            "owner-body",
            "owner-create-mailbox-with-limits",
            owner(
                json!({ "kind": "create-mailbox", "read_key": b(1), "token": b(2), "mailbox_kind": queue, "limits": limits, "capability_hashes": [] }),
            ),
        ),
        (
            "owner-body",
            "owner-set-limits",
            owner(
                json!({ "kind": "set-limits", "read_key": b(1), "limits": { "envelopes": u32::MAX, "bytes": u64::MAX } }),
            ),
        ),
        (
            "owner-body",
            "owner-add-capabilities",
            owner(
                json!({ "kind": "add-capabilities", "read_key": b(1), "capability_hashes": [b(4), b(5)] }),
            ),
        ),
        (
            "owner-body",
            "owner-revoke-capabilities",
            owner(
                json!({ "kind": "revoke-capabilities", "read_key": b(1), "capability_hashes": [b(4)] }),
            ),
        ),
        (
            "owner-body",
            "owner-subscribe",
            owner(json!({ "kind": "subscribe", "read_keys": [b(1), b(2)], "credit": 1_024 })),
        ),
        ("owner-body", "owner-status", owner(json!({ "kind": "status", "read_keys": [b(1)] }))),
        (
            "owner-body",
            "owner-delete-mailbox",
            owner(json!({ "kind": "delete-mailbox", "read_key": b(1) })),
        ),
        (
            "owner-body",
            "owner-fill-depot",
            owner(
                json!({ "kind": "fill-depot", "depot_key": b(1), "depot_id": b(2), "token": b(3), "mode": { "kind": "add" }, "one_time": [bundle, bundle], "last_resort": bundle, "expiry": 20_030 }),
            ),
        ),
        (
            "owner-body",
            "owner-fill-depot-anew",
            owner(
                json!({ "kind": "fill-depot", "depot_key": b(1), "depot_id": b(2), "token": b(3), "mode": { "kind": "replace" }, "one_time": [], "last_resort": null, "expiry": u32::MAX }),
            ),
        ),
        (
            "owner-body",
            "owner-depot-status",
            owner(json!({ "kind": "depot-status", "depot_key": b(1), "depot_id": b(2) })),
        ),
        (
            "owner-body",
            "owner-delete-depot",
            owner(json!({ "kind": "delete-depot", "depot_key": b(1), "depot_id": b(2) })),
        ),
        ("resume-body", "resume-body", json!({ "request_id": 9, "credit": 64, "ticket": "0a0b" })),
        ("server", "server-done", reply(json!({ "kind": "done" }))),
        (
            "server",
            "server-mailboxes",
            reply(json!({ "kind": "mailboxes", "states": [state, null] })),
        ),
        (
            "server",
            "server-prekey-one-time",
            reply(json!({ "kind": "prekey", "answer": { "kind": "one-time", "bundle": bundle } })),
        ),
        (
            "server",
            "server-prekey-last-resort",
            reply(
                json!({ "kind": "prekey", "answer": { "kind": "last-resort", "bundle": bundle } }),
            ),
        ),
        (
            "server",
            "server-prekey-used-up",
            reply(json!({ "kind": "prekey", "answer": { "kind": "used-up" } })),
        ),
        (
            "server",
            "server-depot",
            reply(
                json!({ "kind": "depot", "one_time": 50, "last_resort": true, "expiry": 20_030, "incarnation": b16(1) }),
            ),
        ),
        (
            "server",
            "server-ticket",
            reply(json!({ "kind": "ticket", "ticket": "0c0d", "seconds": 86_400 })),
        ),
        (
            "server",
            "server-error",
            json!({ "kind": "reply", "request_id": 0, "result": { "kind": "error", "code": 22 } }),
        ),
        (
            "server",
            "server-error-unknown",
            json!({ "kind": "reply", "request_id": 1, "result": { "kind": "error", "code": 65_535 } }),
        ),
        (
            "server",
            "server-push-envelope",
            json!({ "kind": "push", "push": { "kind": "envelope", "mailbox": b(1), "incarnation": b16(2), "number": 1, "envelope": envelope } }),
        ),
        (
            "server",
            "server-push-damaged",
            json!({ "kind": "push", "push": { "kind": "damaged", "mailbox": b(1), "incarnation": b16(2), "number": 2 } }),
        ),
        (
            "server",
            "server-push-replaced",
            json!({ "kind": "push", "push": { "kind": "ended", "mailbox": b(1), "reason": { "kind": "replaced" } } }),
        ),
        (
            "server",
            "server-push-deleted",
            json!({ "kind": "push", "push": { "kind": "ended", "mailbox": b(1), "reason": { "kind": "deleted" } } }),
        ),
        ("server", "server-padding", json!({ "kind": "padding", "zeros": "" })),
        (
            "blob-request",
            "blob-put",
            json!({ "kind": "put", "blob_id": b(1), "token": b(2), "read_hash": b(3), "delete_hash": b(4), "length": 70_000, "sha256": b(5), "expiry": 20_030 }),
        ),
        (
            "blob-request",
            "blob-get",
            json!({ "kind": "get", "blob_id": b(1), "read_capability": b(2), "offset": 65_568 }),
        ),
        ("blob-reply", "blob-ready", json!({ "kind": "ready", "offset": 0 })),
        ("blob-reply", "blob-stored", json!({ "kind": "stored" })),
        (
            "blob-reply",
            "blob-content",
            json!({ "kind": "content", "length": 70_000, "sha256": b(5) }),
        ),
        ("blob-reply", "blob-refused", json!({ "kind": "refused", "code": 13 })),
    ]
}

fn refused(files: &mut Files) {
    let mut refuse = |name: &str, rule: &str, kind: &str, says: &str, frame: Vec<u8>| {
        let input = json!({ "type": kind, "bytes": hex(&frame) });
        let name = format!("refused-{name}");
        let spec = &["11 Rejection rules"];
        files.refused(&about(FAMILY, &name, spec, says), rule, "read", "frame-read", input);
    };
    let take = [&[5, 2][..], &[1; 48]].concat();
    refuse("empty", "R-1102", "client", "Nothing.", vec![]);
    refuse("cut", "R-1102", "client", "The last byte is missing.", take[..49].to_vec());
    refuse(
        "byte-behind",
        "R-1102",
        "client",
        "A byte stands behind the frame.",
        [&take[..], &[0]].concat(),
    );
    refuse("unknown-request", "R-1102", "client", "There is no request 8.", vec![5, 8]);
    refuse(
        "unknown-operation",
        "R-1102",
        "owner-body",
        "There is no operation 10.",
        [&[5, 10][..], &[1; 32]].concat(),
    );
    refuse("unknown-server-frame", "R-1102", "server", "There is no server frame 3.", vec![3]);
    refuse("unknown-response", "R-1102", "server", "There is no response 5.", vec![0, 1, 0, 5]);
    refuse(
        "unknown-push",
        "R-1102",
        "server",
        "There is no push 3.",
        [&[1, 3][..], &[1; 32]].concat(),
    );
    refuse(
        "unknown-blob-request",
        "R-1102",
        "blob-request",
        "There is no blob request 2.",
        vec![2],
    );
    refuse("unknown-blob-reply", "R-1102", "blob-reply", "There is no blob reply 4.", vec![4]);
    refuse("varint-cut", "R-1102", "client", "A request id that ends early.", vec![0x85]);
    refuse(
        "id-not-shortest",
        "R-1103",
        "client",
        "The request id has a byte too many.",
        [&[0x85, 0, 2][..], &[1; 48]].concat(),
    );
    refuse(
        "id-over-64-bits",
        "R-1103",
        "client",
        "The request id has 65 bits.",
        [&[0xff; 9][..], &[3, 2], &[1; 48]].concat(),
    );
    refuse(
        "choice-not-shortest",
        "R-1103",
        "client",
        "The kind of request has a byte too many.",
        [&[5, 0x82, 0][..], &[1; 48]].concat(),
    );
    refuse(
        "code-over-16-bits",
        "R-1103",
        "server",
        "An error code has 17 bits.",
        vec![0, 1, 1, 0x80, 0x80, 4],
    );
    refuse(
        "credit-over-32-bits",
        "R-1103",
        "owner-body",
        "A credit has 33 bits.",
        vec![5, 4, 0, 0x80, 0x80, 0x80, 0x80, 0x10],
    );
    refuse(
        "flag-2",
        "R-1103",
        "server",
        "A flag that is neither 0 nor 1.",
        [&[0, 1, 0, 3, 1, 2, 1][..], &[1; 16]].concat(),
    );
    refuse(
        "option-2",
        "R-1103",
        "owner-body",
        "An option that is neither there nor not there.",
        [&[5, 0][..], &[1; 64], &[0, 2]].concat(),
    );
    refuse(
        "envelope-too-long",
        "R-1106",
        "client",
        "An envelope's length is one above the bound.",
        [&[5, 1][..], &[1; 32], &[0x81, 0x80, 4]].concat(),
    );
    refuse(
        "envelope-longer-than-there-is",
        "R-1106",
        "client",
        "An envelope's length is above what is there.",
        [&[5, 1][..], &[1; 32], &[10, 1, 2, 3]].concat(),
    );
    refuse(
        "length-largest",
        "R-1106",
        "client",
        "A length that nothing can have: nothing is allocated for it.",
        [&[5, 1][..], &[1; 32], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]]
            .concat(),
    );
    refuse("too-many-acknowledgements", "R-1106", "client", "A count of 257.", vec![5, 3, 0x81, 2]);
    refuse(
        "too-many-signatures",
        "R-1106",
        "client",
        "A count of 257 signatures.",
        vec![5, 0, 0, 0x81, 2],
    );
    refuse(
        "too-many-capabilities",
        "R-1106",
        "owner-body",
        "A count of 65.",
        [&[5, 2][..], &[1; 32], &[65]].concat(),
    );
    refuse(
        "too-many-bundles",
        "R-1106",
        "owner-body",
        "A count of 51.",
        [&[5, 7][..], &[1; 96], &[0, 51]].concat(),
    );
    refuse(
        "padding-not-zero",
        "R-1108",
        "client",
        "Padding that says something.",
        vec![0, 7, 3, 0, 0, 1],
    );
    refuse(
        "padding-of-a-relay-not-zero",
        "R-1108",
        "server",
        "Padding that says something.",
        vec![2, 1, 0x80],
    );
}

fn lengths(files: &mut Files) {
    let spec = &["11 Streams and messages"];
    for (name, stream, length, rule) in [
        ("control-1", "control", 1u32, None),
        ("control-longest", "control", 262_144, None),
        ("blob-longest", "blob", 1_024, None),
        ("control-0", "control", 0, Some("R-1101")),
        ("control-too-long", "control", 262_145, Some("R-1101")),
        ("control-largest", "control", u32::MAX, Some("R-1101")),
        ("blob-0", "blob", 0, Some("R-1101")),
        ("blob-too-long", "blob", 1_025, Some("R-1101")),
    ] {
        let input = json!({ "stream": stream, "prefix": hex(&length.to_be_bytes()) });
        let name = format!("length-{name}");
        let about = about(FAMILY, &name, spec, "The length in front of a message.");
        match rule {
            None => drop(files.valid(&about, "message-length", input)),
            Some(rule) => files.refused(&about, rule, "read", "message-length", input),
        }
    }
    exact_bounds(files);
    judged(files);
    for (name, kind, head, length, fits) in [
        ("take", "client", vec![5, 2], 50, true),
        ("take-too-long", "client", vec![5, 2], 300, false),
        ("acknowledge-too-long", "client", vec![5, 3], 20_000, false),
        ("deliver-too-long", "client", vec![5, 1], 70_000, false),
        ("push-too-long", "server", vec![1, 0], 70_000, false),
        ("unknown-request", "client", vec![5, 8], 100, false),
    ] {
        let input = json!({ "type": kind, "head": hex(&head), "length": length });
        let name = format!("bound-{name}");
        let about = about(FAMILY, &name, spec, "What a message can be that begins like this.");
        if fits {
            files.valid(&about, "frame-bound", input);
        } else {
            files.refused(&about, "R-1107", "read", "frame-bound", input);
        }
    }
}

/// The longest message of each kind, and one that is longer by a byte; request ids of one byte, of two
/// and of ten.
fn exact_bounds(files: &mut Files) {
    let (long, longer) = ([0xac, 2], [&[0xff; 9][..], &[1]].concat());
    for (name, kind, head, longest) in [
        ("client-owner", "client", vec![5, 0], 262_144),
        ("client-deliver", "client", vec![5, 1], 65_580),
        ("client-deliver-long-id", "client", [&long[..], &[1]].concat(), 65_581),
        ("client-deliver-longest-id", "client", [&longer[..], &[1]].concat(), 65_589),
        ("client-take", "client", vec![5, 2], 50),
        ("client-acknowledge", "client", vec![5, 3], 14_860),
        ("client-delete-blob", "client", vec![5, 4], 66),
        ("client-ticket", "client", vec![5, 5], 65_580),
        ("client-resume", "client", vec![5, 6], 66_668),
        ("client-padding", "client", vec![5, 7], 2_316),
        ("server-reply", "server", vec![0, 5], 262_144),
        ("server-push", "server", vec![1, 0], 65_606),
        ("server-padding", "server", vec![2, 0], 2_315),
    ] {
        let input = |length: u32| json!({ "type": kind, "head": hex(&head), "length": length });
        let spec: &[&str] = &["11 Streams and messages"];
        let says = "The longest message of its kind.";
        let name = format!("bound-{name}");
        files.valid(&about(FAMILY, &name, spec, says), "frame-bound", input(longest));
        let name = format!("{name}-exceeded");
        let about = about(FAMILY, &name, spec, "Longer by a byte.");
        files.refused(&about, "R-1107", "read", "frame-bound", input(longest + 1));
    }
}

/// What is judged by a number alone.
fn judged(files: &mut Files) {
    for byte in [1u8, 2, 0, 3, 0xff] {
        let (input, name) = (json!({ "byte": hex(&[byte]) }), format!("stream-kind-{byte}"));
        let about = about(FAMILY, &name, &["11 Streams and messages"], "A stream's first byte.");
        match byte {
            1 | 2 => drop(files.valid(&about, "stream-kind", input)),
            _ => files.refused(&about, "R-1104", "read", "stream-kind", input),
        }
    }
    let sizes = [1024u32, 2048, 4096, 8192, 16_384, 32_768, 65_536];
    let cases = [
        (
            "envelope-size",
            "length",
            "R-1110",
            sizes.to_vec(),
            vec![0, 1, 512, 1023, 1025, 3072, 65_535, 65_537, 131_072],
        ),
        ("bundle-size", "length", "R-1111", vec![4096], vec![0, 4095, 4097, 8192]),
        ("credit", "credit", "R-1115", vec![1, 1024], vec![0, 1025, u32::MAX]),
    ];
    for (op, member, rule, good, bad) in cases {
        for (number, is_good) in
            good.iter().map(|n| (n, true)).chain(bad.iter().map(|n| (n, false)))
        {
            let (mut input, name) = (json!({}), format!("{op}-{number}"));
            put(&mut input, member, json!(number));
            let says = "A number that a relay takes or refuses.";
            let about = about(FAMILY, &name, &["11 Bounds", "11 Rejection rules"], says);
            if is_good {
                files.valid(&about, op, input);
            } else {
                files.refused(&about, rule, "read", op, input);
            }
        }
    }
}

fn identifiers(files: &mut Files) {
    for (of, length) in [
        ("mailbox id", 32),
        ("write capability", 32),
        ("depot id", 32),
        ("admission token", 32),
        ("blob read", 32),
        ("blob delete", 32),
        ("envelope", 1_024),
    ] {
        let name = format!("identifier-{}", of.replace(' ', "-"));
        let says =
            "What a relay knows of something in place of it; of an envelope the first 16 bytes.";
        let input = json!({ "of": of, "value": { "repeat": "5a", "count": length } });
        let spec = &["11 Identifiers and capabilities"];
        files.valid(&about(FAMILY, &name, spec, says), "identifier", input);
    }
}

fn address(prefix: &str, host: &str, port: &str, key: &[u8]) -> String {
    let front = format!("{prefix}{host}:{port}:");
    let check = Sha256::new()
        .chain_update("undertone/1 address")
        .chain_update(&front)
        .chain_update(key)
        .finalize();
    format!("{front}{}", BASE64URL_NOPAD.encode(&[key, &check[..4]].concat()))
}

fn addresses(files: &mut Files) {
    let spec = &["11 Addresses"];
    let (relay, join) = ("ut-relay:", "ut-join:");
    let both = [[7; 32], [8; 32]].concat();
    for (name, kind, text, says) in [
        (
            "relay",
            "relay",
            address(relay, "relay.example.org", "4433", &[7; 32]),
            "A relay's address.",
        ),
        (
            "relay-ipv4",
            "relay",
            address(relay, "192.0.2.7", "1", &[7; 32]),
            "An IPv4 address as the host.",
        ),
        (
            "relay-ipv6",
            "relay",
            address(relay, "[2001:db8::7]", "65535", &[7; 32]),
            "An IPv6 address in brackets.",
        ),
        ("join", "join", address(join, "relay.example.org", "4433", &both), "A join address."),
    ] {
        let name = format!("address-{name}");
        let input = json!({ "kind": kind, "text": text });
        files.valid(&about(FAMILY, &name, spec, says), "address-read", input);
    }
    let honest = address(relay, "relay.example.org", "4433", &[7; 32]);
    let mut altered = honest.clone().into_bytes();
    let at = altered.len() - 10;
    altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
    for (name, rule, text, says) in [
        (
            "port-0",
            "R-1130",
            address(relay, "relay.example.org", "0", &[7; 32]),
            "There is no port 0.",
        ),
        (
            "port-zeros",
            "R-1130",
            address(relay, "relay.example.org", "04433", &[7; 32]),
            "A port with a leading zero.",
        ),
        (
            "port-too-large",
            "R-1130",
            address(relay, "relay.example.org", "65536", &[7; 32]),
            "A port of 17 bits.",
        ),
        (
            "altered",
            "R-1131",
            String::from_utf8(altered).unwrap(),
            "A letter of the key is another one.",
        ),
        (
            "other-host",
            "R-1131",
            honest.replace("example", "exampel"),
            "A host that was mistyped: the check does not fit.",
        ),
        ("cut", "R-1131", honest[..honest.len() - 5].to_owned(), "The end is missing."),
        ("behind", "R-1131", format!("{honest}AAAA"), "Letters stand behind the key."),
    ] {
        let name = format!("address-{name}");
        let input = json!({ "kind": "relay", "text": text });
        files.refused(&about(FAMILY, &name, spec, says), rule, "read", "address-read", input);
    }
}

fn signatures(files: &mut Files) {
    let spec = &["11 Owner requests"];
    let secrets: [[u8; 32]; 2] = [[0x21; 32], [0x22; 32]];
    let public = |secret: &[u8; 32]| hex(&prim::ed25519_public(secret));
    let body = |frame: Value| {
        let output =
            ops::run("frame-write", &json!({ "type": "owner-body", "frame": frame })).unwrap();
        output["bytes"].clone()
    };
    let status = body(owner(
        json!({ "kind": "status", "read_keys": [public(&secrets[0]), public(&secrets[1])] }),
    ));
    let sign = |body: &Value, secrets: &[[u8; 32]]| json!({ "exporter": b(0x31), "body": body, "secrets": secrets.iter().map(|s| hex(s)).collect::<Vec<_>>() });
    let says = "What the keys of a request sign, and their signatures.";
    let output = files.valid(
        &about(FAMILY, "owner-sign", spec, says),
        "owner-sign",
        sign(&status, &secrets),
    );
    let verify = |body: &Value, signatures: &Value| json!({ "exporter": b(0x31), "request_id": 5, "body": body, "signatures": signatures });
    let honest = verify(&status, &output["signatures"]);
    files.valid(&about(FAMILY, "owner-verify", spec, says), "owner-verify", honest.clone());
    let edited = |name: &str, value: Value| {
        let mut input = honest.clone();
        put(&mut input, name, value);
        input
    };
    let (first, second) = (output["signatures"][0].clone(), output["signatures"][1].clone());
    let none = body(owner(json!({ "kind": "status", "read_keys": [] })));
    let key = public(&secrets[0]);
    let twice = body(owner(json!({ "kind": "status", "read_keys": [key, key] })));
    let twice_signed = ops::run("owner-sign", &sign(&twice, &[secrets[0], secrets[0]])).unwrap();
    for (name, rule, stage, says, input) in [
        (
            "other-request-id",
            "R-1112",
            "compare",
            "The frame has another request id.",
            edited("request_id", json!(6)),
        ),
        ("no-key", "R-1113", "compare", "The operation names no key.", verify(&none, &json!([]))),
        (
            "signature-missing",
            "R-1113",
            "compare",
            "One signature for two keys.",
            edited("signatures", json!([first])),
        ),
        (
            "signature-too-many",
            "R-1113",
            "compare",
            "Three signatures for two keys.",
            edited("signatures", json!([first, second, second])),
        ),
        (
            "key-twice",
            "R-1116",
            "compare",
            "The same key twice.",
            verify(&twice, &twice_signed["signatures"]),
        ),
        (
            "signatures-swapped",
            "R-1114",
            "verify",
            "The signatures stand in another order.",
            edited("signatures", json!([second, first])),
        ),
        (
            "other-exporter",
            "R-1114",
            "verify",
            "The signatures were made on another connection.",
            edited("exporter", b(0x32)),
        ),
    ] {
        let name = format!("owner-{name}");
        files.refused(&about(FAMILY, &name, spec, says), rule, stage, "owner-verify", input);
    }
    let message = unhex(output["signed"].as_str().unwrap()).unwrap();
    for (name, signature, says) in bad_signatures(&secrets[0], &message) {
        let name = format!("owner-signature-{name}");
        let input = edited("signatures", json!([hex(&signature), second]));
        files.refused(&about(FAMILY, &name, spec, says), "R-1114", "verify", "owner-verify", input);
    }

    let spec = &["11 Tickets"];
    let resume = ops::run(
        "frame-write",
        &json!({
            "type": "resume-body", "frame": { "request_id": 9, "credit": 64, "ticket": "0a0b" },
        }),
    )
    .unwrap()["bytes"]
        .clone();
    let bytes = unhex(resume.as_str().unwrap()).unwrap();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    let message = [&b"undertone/1 resume"[..], &[0x31; 32], &length, &bytes].concat();
    let honest = json!({
        "exporter": b(0x31), "request_id": 9, "session_key": public(&secrets[0]), "body": resume,
        "signature": hex(&prim::sign(&secrets[0], &message)),
    });
    let says = "One signature under a ticket's session key.";
    files.valid(&about(FAMILY, "resume-verify", spec, says), "resume-verify", honest.clone());
    for (name, rule, stage, says, member, value) in [
        (
            "other-request-id",
            "R-1112",
            "compare",
            "The frame has another request id.",
            "request_id",
            json!(10),
        ),
        (
            "other-exporter",
            "R-1118",
            "verify",
            "Signed on another connection.",
            "exporter",
            b(0x32),
        ),
        (
            "other-key",
            "R-1118",
            "verify",
            "Another session key.",
            "session_key",
            public(&secrets[1]),
        ),
    ] {
        let mut input = honest.clone();
        put(&mut input, member, value);
        let name = format!("resume-{name}");
        files.refused(&about(FAMILY, &name, spec, says), rule, stage, "resume-verify", input);
    }
}
