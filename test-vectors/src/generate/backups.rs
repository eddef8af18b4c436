//! Family `backup`.

use serde_json::{Value, json};

use super::{Files, about};
use crate::ops;
use crate::value::hex;

pub(super) const FAMILY: &str = "backup";
const SECRET: [u8; 32] = [7; 32];
const OTHER: [u8; 32] = [8; 32];
const SALT: [u8; 32] = [9; 32];
const HEAD: usize = 82;
const SEALED: usize = 65_552;

pub(super) fn make(files: &mut Files) {
    keys(files);
    written(files);
    whole(files);
    heads(files);
    chunks(files);
    layouts(files);
}

fn keys(files: &mut Files) {
    let spec = &["14 §1"];
    let spread: Vec<u8> = (0..32).map(|n: u8| n.wrapping_mul(37)).collect();
    for (name, secret, says) in [
        ("key-example", SECRET.to_vec(), "The example of the specification."),
        ("key", spread, "Another secret."),
        ("key-zeros", vec![0; 32], "The secret of zeros."),
        ("key-ones", vec![0xff; 32], "The secret of ones."),
    ] {
        let input = json!({ "secret": hex(&secret) });
        files.valid(&about(FAMILY, name, spec, says), "recovery-key-write", input);
    }
    let written = ops::run("recovery-key-write", &json!({ "secret": hex(&SECRET) })).unwrap();
    let text = written["text"].as_str().unwrap().to_owned();
    let bare = text.replace('-', "");
    let lines: Vec<&str> =
        bare.as_bytes().chunks(16).map(|line| core::str::from_utf8(line).unwrap()).collect();
    for (name, says, text) in [
        ("read", "As it is written.", text.clone()),
        ("read-bare", "Without hyphens.", bare.clone()),
        (
            "read-lines",
            "In lines, with spaces and small letters.",
            lines.join(" \n").to_lowercase(),
        ),
        ("read-dashes", "With other dashes.", text.replace('-', "\u{2013}")),
        (
            "read-alike",
            "O for 0, I and L for 1.",
            bare.replace('0', "O").replacen('1', "I", 1).replacen('1', "l", 1),
        ),
    ] {
        let name = format!("key-{name}");
        let about = about(FAMILY, &name, spec, says);
        files.valid(&about, "recovery-key-read", json!({ "text": text }));
    }
    let swapped = [lines[1], lines[0], lines[2], lines[3]].concat();
    for (name, rule, says, text) in [
        ("empty", "R-1401", "Nothing.", String::new()),
        ("letter", "R-1401", "There is no letter U.", bare.replacen('W', "U", 1)),
        ("short", "R-1401", "The last character is missing.", bare[..63].to_owned()),
        ("long", "R-1401", "A character too many.", format!("{bare}0")),
        ("typo", "R-1402", "One character is another.", bare.replacen('W', "X", 1)),
        ("lines-exchanged", "R-1402", "The first two lines are exchanged.", swapped),
    ] {
        let name = format!("key-refused-{name}");
        let about = about(FAMILY, &name, spec, says);
        files.refused(&about, rule, "read", "recovery-key-read", json!({ "text": text }));
    }
}

/// A record.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind][..], &length, body].concat()
}

fn end(records: u64) -> Vec<u8> {
    record(255, &records.to_be_bytes())
}

pub(super) fn string(bytes: &[u8]) -> Vec<u8> {
    let (low, high) = (bytes.len() % 128, u8::try_from(bytes.len() / 128).unwrap());
    assert!(high < 128);
    let low = u8::try_from(low).unwrap();
    match high {
        0 => [&[low], bytes].concat(),
        _ => [&[low | 128, high], bytes].concat(),
    }
}

pub(super) fn number(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

fn account() -> Vec<u8> {
    let numbers = [5, 6, 7, 1_700_000_000_123].map(number).concat();
    let (list, address) = (string(&[3; 100]), string(b"an address"));
    [&[1; 32][..], &[0], &list, &string(b"Ada"), &address, &[2; 32], &numbers].concat()
}

fn contact(flags: [u8; 3], name: &[u8]) -> Vec<u8> {
    let texts = [string(name), string(b""), string(&[5; 72]), string(b"")].concat();
    [&number(1)[..], &[4; 32], &flags, &texts, &number(0), &[0, 0, 14, 16], &number(0)].concat()
}

fn message(state: &[u8], what: &[u8], reactions: &[u8]) -> Vec<u8> {
    let head = [&number(3)[..], &number(1), &[6; 16], &number(1_700_000_000_000)].concat();
    [&head[..], state, what, &number(0), &[0, 0, 0, 0], &number(0), reactions].concat()
}

pub(super) fn text(text: &[u8]) -> Vec<u8> {
    [&[1], &string(text)[..]].concat()
}

fn reaction(by: u8) -> Vec<u8> {
    [&[by][..], &number(9), &string("👍".as_bytes())].concat()
}

/// One record of each type, and more messages.
fn records() -> Vec<(u8, Vec<u8>)> {
    let address = string(b"an address");
    let link = [&number(2)[..], &[2], &string(b"card"), &[7; 64], &address, &number(0)].concat();
    let mailbox = [&address[..], &[1], &[8; 32]].concat();
    let depot = [&address[..], &[2], &[8; 32], &[9; 32]].concat();
    let erased = [&number(1)[..], &[1; 16], &[0, 0, 0x4e, 0x20]].concat();
    let content = [&[1][..], &[7; 16], &number(1), &string(b"hi")].concat();
    let pending = [
        &number(1)[..],
        &number(1 << 63),
        &number(3),
        &[1],
        &[0, 0, 0x4e, 0x20],
        &string(&content),
    ]
    .concat();
    let file = [&[2][..], &string(b"a.txt"), &number(9), &string(b""), &string(b"look")].concat();
    let custom = [&[3][..], &string(b"org.example"), &string(&[0, 1])].concat();
    let unknown = [&[4][..], &[0, 0, 1, 0], &string(&[2])].concat();
    vec![
        (1, account()),
        (2, [&address[..], &[2; 32]].concat()),
        (3, contact([1, 0, 1], b"Bob")),
        (4, link),
        (5, mailbox),
        (5, depot),
        (6, erased),
        (7, pending),
        (8, message(&[1, 2], &text(b"hi"), &[reaction(0), reaction(1)].concat())),
        (8, message(&[1, 5, 3, b'w', b'h', b'y'], &file, &[])),
        (8, message(&[0, 6], &custom, &[])),
        (8, message(&[0, 3], &unknown, &[])),
        (8, message(&[0, 6], &[5], &[])),
    ]
}

pub(super) fn framed(records: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut out: Vec<u8> = records.iter().flat_map(|(kind, body)| record(*kind, body)).collect();
    out.extend(end(u64::try_from(records.len()).unwrap()));
    out
}

pub(super) fn input(records: &[u8], edits: &Value) -> Value {
    json!({
        "secret": hex(&SECRET),
        "file": {
            "secret": hex(&SECRET),
            "salt": hex(&SALT),
            "version": 1,
            "records": hex(records),
            "edits": edits,
        },
    })
}

/// What is sealed, and what comes from secret and salt on the way.
fn written(files: &mut Files) {
    let spec = &["14 §2"];
    let three = json!({ "concat": [hex(&record(1, &account())), long_messages(3), hex(&end(4))] });
    for (name, says, records) in [
        ("write", "An account alone.", json!(hex(&framed(&records()[..1])))),
        ("write-three-chunks", "Three chunks, the last of which says so.", three),
    ] {
        let input = json!({ "secret": hex(&SECRET), "salt": hex(&SALT), "records": records });
        files.valid(&about(FAMILY, name, spec, says), "backup-write", input);
    }
}

fn whole(files: &mut Files) {
    let spec = &["14 §2", "14 §3"];
    let says = "One record of each type, and messages of each kind.";
    let whole = input(&framed(&records()), &json!([]));
    files.valid(&about(FAMILY, "whole", spec, says), "backup-read", whole);
    let says = "An account alone.";
    let alone = input(&framed(&records()[..1]), &json!([]));
    files.valid(&about(FAMILY, "account-alone", spec, says), "backup-read", alone);
    // Three chunks; one record lies across the border of two.
    let mut many = records();
    many.truncate(8);
    let long = message(&[0, 6], &[&[1, 0x80, 0x80, 3][..], &[b'x'; 49_152]].concat(), &[]);
    many.extend((0..3).map(|_| (8, long.clone())));
    let says = "Records over the borders of chunks, of which there are three.";
    let many = json!({ "concat": [
        hex(&many[..8].iter().flat_map(|(kind, body)| record(*kind, body)).collect::<Vec<_>>()),
        long_messages(3),
        hex(&end(11)),
    ] });
    let mut input = input(&[], &json!([]));
    input["file"]["records"] = many;
    files.valid(&about(FAMILY, "three-chunks", spec, says), "backup-read", input);
}

/// Messages of 49,152 letters, without writing them out.
fn long_messages(count: usize) -> Value {
    let long = message(&[0, 6], &[&[1, 0x80, 0x80, 3][..], &[b'x'; 49_152]].concat(), &[]);
    let framed = record(8, &long);
    let (front, back) = (framed.split_at(5 + 40 + 2 + 4).0, &framed[framed.len() - 20..]);
    let one = [hex(front), json!({ "repeat": "78", "count": 49_152 }), hex(back)];
    json!({ "concat": core::iter::repeat_n(one, count).flatten().collect::<Vec<_>>() })
}

fn heads(files: &mut Files) {
    let spec = &["14 §2"];
    let records = framed(&records());
    let edited = |edits: Value| input(&records, &edits);
    for (name, rule, says, edits) in [
        ("empty", "R-1403", "No byte.", json!([{ "cut": 0 }])),
        ("magic-cut", "R-1403", "Seven bytes.", json!([{ "cut": 7 }])),
        ("magic", "R-1403", "Another first byte.", json!([{ "xor": "01", "at": 0 }])),
        ("head-cut", "R-1407", "The head is cut.", json!([{ "cut": HEAD - 1 }])),
        ("magic-alone", "R-1407", "The first eight bytes.", json!([{ "cut": 8 }])),
        (
            "version-altered",
            "R-1404",
            "The version, without its check.",
            json!([{ "xor": "02", "at": 9 }]),
        ),
        ("salt-altered", "R-1404", "A bit of the salt.", json!([{ "xor": "01", "at": 10 }])),
        ("check-altered", "R-1404", "A bit of the check.", json!([{ "xor": "80", "at": 81 }])),
    ] {
        let name = format!("refused-{name}");
        let about = about(FAMILY, &name, spec, says);
        files.refused(&about, rule, "read", "backup-read", edited(edits));
    }
    for (name, rule, version) in [
        ("version-0", "R-1404", 0),
        ("version-2", "R-1405", 2),
        ("version-65535", "R-1405", 65_535),
    ] {
        let mut input = edited(json!([]));
        input["file"]["version"] = json!(version);
        let name = format!("refused-{name}");
        let about = about(FAMILY, &name, spec, "Of another version, with a check that fits.");
        files.refused(&about, rule, "read", "backup-read", input);
    }
    let mut input = edited(json!([]));
    input["secret"] = hex(&OTHER);
    let about = about(FAMILY, "refused-key", spec, "Another recovery key.");
    files.refused(&about, "R-1406", "unseal", "backup-read", input);
}

fn chunks(files: &mut Files) {
    let spec = &["14 §2"];
    let mut three = input(&[], &json!([]));
    three["file"]["records"] =
        json!({ "concat": [hex(&record(1, &account())), long_messages(3), hex(&end(4))] });
    let whole = HEAD + 3 * SEALED;
    for (name, rule, says, edits) in [
        ("no-chunk", "R-1407", "The head alone.", json!([{ "cut": HEAD }])),
        ("chunk-cut", "R-1407", "A byte is missing.", json!([{ "cut": whole - 1 }])),
        (
            "chunk-missing",
            "R-1407",
            "The last chunk is missing.",
            json!([{ "cut": whole - SEALED }]),
        ),
        ("surplus", "R-1409", "A byte more.", json!([{ "append": "00" }])),
        ("altered", "R-1408", "A bit of the first chunk.", json!([{ "xor": "01", "at": HEAD }])),
        (
            "tag-altered",
            "R-1408",
            "A bit of the last tag.",
            json!([{ "xor": "01", "at": whole - 1 }]),
        ),
        ("exchanged", "R-1408", "The first two chunks are exchanged.", json!([{ "swap": [0, 1] }])),
    ] {
        let mut input = three.clone();
        input["file"]["edits"] = edits;
        let name = format!("refused-{name}");
        let about = about(FAMILY, &name, spec, says);
        let stage = if rule == "R-1408" { "unseal" } else { "read" };
        files.refused(&about, rule, stage, "backup-read", input);
    }
}

/// Whole files whose records are none.
fn layouts(files: &mut Files) {
    let spec = &["14 §3"];
    let first = || record(1, &account());
    let two = |kind: u8, body: &[u8]| [first(), record(kind, body), end(2)].concat();
    let with = |message: Vec<u8>| two(8, &message);
    let hi = text(b"hi");
    for (name, says, records) in [
        ("no-end", "There is no end record.", first()),
        ("count", "The end names another number.", [first(), end(2)].concat()),
        ("end-long", "The end record has nine bytes.", [first(), record(255, &[0; 9])].concat()),
        (
            "padding",
            "A byte of the padding is not zero.",
            [first(), end(1), vec![0, 0, 1]].concat(),
        ),
        ("type-0", "There is no type 0.", two(0, &[])),
        ("type-9", "There is no type 9.", two(9, &[])),
        (
            "order",
            "A contact behind a message.",
            [
                first(),
                record(8, &message(&[0, 6], &hi, &[])),
                record(3, &contact([0; 3], b"B")),
                end(3),
            ]
            .concat(),
        ),
        (
            "record-too-long",
            "A record claims a byte more than it may.",
            [first(), vec![8, 0, 2, 0, 1]].concat(),
        ),
        ("cut", "The account's record is a byte short.", {
            let body = account();
            [record(1, &body[..body.len() - 1]), end(1)].concat()
        }),
        ("behind", "A byte behind the account's last field.", {
            [record(1, &[account(), vec![0]].concat()), end(1)].concat()
        }),
        ("flag", "A flag of a contact is 2.", two(3, &contact([0, 2, 0], b"B"))),
        ("name", "A contact's name is not UTF-8.", two(3, &contact([0; 3], &[0xff]))),
        ("link-kind", "A link of kind 0.", {
            two(4, &[&number(2)[..], &[0], &[0], &[7; 64], &[0], &number(0)].concat())
        }),
        ("leftover", "A leftover that is neither mailbox nor depot.", {
            two(5, &[&[0, 3][..], &[8; 32]].concat())
        }),
        ("direction", "A message's direction is 2.", with(message(&[2, 6], &hi, &[]))),
        ("state", "A message's state is 7.", with(message(&[0, 7], &hi, &[]))),
        ("what", "A message is of no kind.", with(message(&[0, 6], &[6], &[]))),
        ("varint", "A length that is not in its shortest form.", {
            with(message(&[0, 6], &[1, 0x82, 0, b'h', b'i'], &[]))
        }),
        (
            "reactions",
            "Two reactions of one side.",
            with(message(&[0, 6], &hi, &[reaction(0), reaction(0)].concat())),
        ),
        ("reaction-cut", "A reaction ends early.", {
            with(message(&[0, 6], &hi, &reaction(0)[..12]))
        }),
    ] {
        let name = format!("refused-layout-{name}");
        let about = about(FAMILY, &name, spec, says);
        files.refused(&about, "R-1410", "read", "backup-read", input(&records, &json!([])));
    }
}
