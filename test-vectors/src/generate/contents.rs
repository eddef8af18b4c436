//! Family `content`.

use serde_json::{Value, json};

use super::{Files, about, identities, links};
use crate::value::hex;

const FAMILY: &str = "content";

/// A content by hand: kind, the usual id and time, payload.
fn bytes(kind: &[u8], payload: &[u8]) -> Vec<u8> {
    [kind, &[7; 16], &1_700_000_000_123u64.to_be_bytes(), payload].concat()
}

fn ids(count: usize) -> Value {
    let id = |number: usize| hex(&[number as u8; 16]);
    json!({ "ids": (0..count).map(id).collect::<Vec<_>>() })
}

fn relay() -> Vec<u8> {
    links::address("relay.example.org", 4433)
}

fn attachment(name: Value, caption: Value) -> Value {
    json!({
        "blob_id": hex(&[1; 32]),
        "read_capability": hex(&[2; 32]),
        "file_key": hex(&[3; 32]),
        "commitment": hex(&[4; 32]),
        "sha256": hex(&[5; 32]),
        "size": 70_000,
        "relay": hex(&relay()),
        "name": name,
        "media_type": "image/png",
        "caption": caption,
    })
}

fn repeated(letter: &str, count: usize) -> Value {
    json!({ "repeat": hex(letter.as_bytes()), "count": count })
}

pub(super) fn make(files: &mut Files) {
    written(files);
    read(files);
    refused(files);
}

fn written(files: &mut Files) {
    let target = hex(&[9; 16]);
    for (name, kind, fields, says) in [
        ("text", 1, json!({ "text": "hi" }), "The example of the specification."),
        ("text-empty", 1, json!({ "text": "" }), "A text of no letter."),
        (
            "text-127",
            1,
            json!({ "text": repeated("a", 127) }),
            "The longest text whose length has one byte.",
        ),
        (
            "text-128",
            1,
            json!({ "text": repeated("a", 128) }),
            "The shortest text whose length has two bytes.",
        ),
        (
            "text-16384",
            1,
            json!({ "text": repeated("a", 16_384) }),
            "The shortest text whose length has three bytes.",
        ),
        ("text-longest", 1, json!({ "text": repeated("a", 49_152) }), "The longest text."),
        (
            "text-unicode",
            1,
            json!({ "text": "Grüße, 你好 👋🏽\u{200d}\n" }),
            "Letters of several bytes.",
        ),
        ("attachment", 2, attachment(json!("a picture.png"), json!("look")), "A file at a relay."),
        (
            "attachment-bare",
            2,
            attachment(json!(""), json!("")),
            "A file without name and caption.",
        ),
        (
            "attachment-longest-name",
            2,
            attachment(repeated("n", 255), json!("")),
            "The longest name.",
        ),
        ("delivery", 3, ids(2), "Two messages were delivered."),
        ("delivery-none", 3, ids(0), "An acknowledgement of nothing."),
        ("delivery-256", 3, ids(256), "As many as one acknowledgement holds."),
        ("read-receipt", 4, ids(1), "A message was read."),
        ("reaction", 5, json!({ "target": target, "removed": false, "text": "👍" }), "A reaction."),
        (
            "reaction-removed",
            5,
            json!({ "target": target, "removed": true, "text": "👍" }),
            "A reaction is taken back.",
        ),
        (
            "reaction-longest",
            5,
            json!({ "target": target, "removed": false, "text": repeated("x", 64) }),
            "The longest reaction.",
        ),
        ("edit", 6, json!({ "target": target, "text": "better" }), "Another text for a message."),
        ("delete", 7, json!({ "target": target }), "A message is taken back."),
        ("typing", 8, json!({ "active": true }), "The sender is writing."),
        ("typing-stopped", 8, json!({ "active": false }), "The sender has stopped."),
        ("profile", 9, json!({ "name": "Ada" }), "How the sender calls themselves."),
        (
            "profile-longest",
            9,
            json!({ "name": repeated("é", 64) }),
            "The longest name, in letters of two bytes.",
        ),
        ("timer", 10, json!({ "seconds": 86_400 }), "Messages disappear after a day."),
        ("timer-off", 10, json!({ "seconds": 0 }), "They no longer disappear."),
        ("timer-longest", 10, json!({ "seconds": u32::MAX }), "The longest time."),
        (
            "mailbox-move",
            11,
            json!({ "route": hex(&[relay(), vec![6; 32]].concat()) }),
            "Write there from now on.",
        ),
        ("mailbox-move-longest", 11, json!({ "route": hex(&[6; 320]) }), "The longest route."),
        (
            "device-list",
            12,
            json!({ "list": hex(&identities::example_list()) }),
            "A device list, carried as it is.",
        ),
        (
            "custom",
            13,
            json!({ "name": "org.example.poll", "data": "000102" }),
            "What another program adds.",
        ),
        (
            "reset-link",
            14,
            json!({ "link": hex(&links::payload(1, 3, &relay())) }),
            "Where to begin anew.",
        ),
        ("reset-link-longest", 14, json!({ "link": hex(&[3; 360]) }), "The longest."),
        (
            "reset-notice",
            15,
            json!({ "cause": 1, "sessions": [] }),
            "A conversation is begun anew, since a state was lost.",
        ),
        ("reset-notice-bare", 15, json!({ "cause": 0, "sessions": [] }), "The answer to a reset."),
        (
            "reset-notice-replaced",
            15,
            json!({ "cause": 4, "sessions": [hex(&[4; 32]), hex(&[5; 32])] }),
            "Two sessions have taken the place of the one in which this stands.",
        ),
        (
            "reset-notice-names-more",
            15,
            json!({ "cause": 255, "sessions": [hex(&[4; 32])] }),
            "A number that nobody knows, with a session that is not looked at: no error here.",
        ),
        (
            "reset-notice-longest",
            15,
            json!({ "cause": 4, "sessions": vec![hex(&[4; 32]); 32] }),
            "As many sessions as may be.",
        ),
        ("unknown-0", 0, json!({ "payload": "aabb" }), "Kind 0 is not known, and no error."),
        ("unknown-127", 127, json!({ "payload": "" }), "The largest kind of one byte."),
        ("unknown-128", 128, json!({ "payload": "00" }), "A kind of two bytes."),
        (
            "unknown-largest",
            u32::MAX,
            json!({ "payload": "ff" }),
            "The largest kind, of five bytes.",
        ),
        (
            "unknown-longest",
            99,
            json!({ "payload": { "repeat": "00", "count": 49_152 } }),
            "The longest unknown payload.",
        ),
    ] {
        let input = json!({
            "kind": kind, "id": hex(&[7; 16]), "sent_at": 1_700_000_000_123u64, "fields": fields,
        });
        let spec = &["09 §1", "09 §2"];
        let write = format!("write-{name}");
        let output = files.valid(&about(FAMILY, &write, spec, says), "content-write", input);
        let length = output["content"].as_str().unwrap().len() / 2;
        if length < 1000 {
            let read = format!("read-{name}");
            let input = json!({ "content": output["content"] });
            files.valid(&about(FAMILY, &read, spec, says), "content-read", input);
        }
    }
    let target = hex(&[9; 16]);
    for (name, kind, fields) in [
        ("text", 1, json!({ "text": repeated("a", 49_153) })),
        ("attachment-name", 2, attachment(repeated("n", 256), json!(""))),
        ("delivery", 3, ids(257)),
        ("read-receipt", 4, ids(257)),
        ("reaction", 5, json!({ "target": target, "removed": false, "text": repeated("x", 65) })),
        ("edit", 6, json!({ "target": target, "text": repeated("a", 49_153) })),
        ("profile", 9, json!({ "name": repeated("n", 129) })),
        ("mailbox-move", 11, json!({ "route": hex(&[6; 321]) })),
        ("device-list", 12, json!({ "list": { "repeat": "08", "count": 49_153 } })),
        ("custom-name", 13, json!({ "name": repeated("n", 129), "data": "" })),
        ("custom-data", 13, json!({ "name": "", "data": { "repeat": "00", "count": 49_153 } })),
        ("reset-link", 14, json!({ "link": hex(&[3; 361]) })),
        ("reset-notice", 15, json!({ "cause": 4, "sessions": vec![hex(&[4; 32]); 33] })),
        ("unknown", 99, json!({ "payload": { "repeat": "00", "count": 49_153 } })),
    ] {
        let input = json!({ "kind": kind, "id": hex(&[7; 16]), "sent_at": 0, "fields": fields });
        let name = format!("write-{name}-too-long");
        let says = "A part over its bound is refused where it is made, and not cut.";
        files.refused(
            &about(FAMILY, &name, &["09 §2", "09 §8"], says),
            "R-904",
            "make",
            "content-write",
            input,
        );
    }
}

fn read(files: &mut Files) {
    let input = json!({ "content": hex(&[&[1][..], &[0xff; 24], &[0]].concat()) });
    let says = "Any time is a time.";
    files.valid(&about(FAMILY, "read-largest-time", &["09 §1"], says), "content-read", input);
}

fn refused(files: &mut Files) {
    let mut refuse = |name: &str, rule: &str, says: &str, content: Value| {
        let input = json!({ "content": content });
        files.refused(&about(FAMILY, name, &["09 §8"], says), rule, "read", "content-read", input);
    };
    let text = bytes(&[1], b"\x02hi");
    refuse("read-empty", "R-901", "Nothing.", json!(""));
    refuse("read-cut-in-the-id", "R-901", "It ends in the id.", hex(&text[..10]));
    refuse("read-cut-in-the-time", "R-901", "It ends in the time.", hex(&text[..24]));
    refuse("read-cut-before-the-length", "R-901", "It ends before the text.", hex(&text[..25]));
    refuse("read-cut-in-the-text", "R-901", "It ends in the text.", hex(&text[..text.len() - 1]));
    refuse("read-cut-in-a-varint", "R-901", "It ends in a length.", hex(&bytes(&[1], &[0x82])));
    refuse("read-cut-in-the-kind", "R-901", "It ends in the kind.", json!("80"));
    refuse(
        "read-cut-in-an-id",
        "R-901",
        "It ends in an id of an acknowledgement.",
        hex(&bytes(&[3], &[0; 17])),
    );
    refuse(
        "read-cut-in-an-attachment",
        "R-901",
        "It ends in a file's hash.",
        hex(&bytes(&[2], &[0; 150])),
    );
    refuse(
        "read-cut-in-a-reset-notice",
        "R-901",
        "It ends in a session's id.",
        hex(&bytes(&[15], &[0; 40])),
    );
    refuse("read-reset-notice-empty", "R-901", "No cause.", hex(&bytes(&[15], &[])));
    refuse(
        "read-reset-notice-too-many",
        "R-904",
        "33 sessions.",
        hex(&bytes(&[15], &[0; 1 + 33 * 32])),
    );
    refuse(
        "read-reset-notice-replaced-cut",
        "R-901",
        "It ends in the id of a session that has taken another's place.",
        hex(&bytes(&[15], &[&[4][..], &[4; 32], &[5; 31]].concat())),
    );
    refuse(
        "read-reset-link-too-long",
        "R-904",
        "A link over its bound, all of which is there.",
        hex(&bytes(&[14], &[&[0xe9, 2][..], &[0; 361]].concat())),
    );
    refuse("read-cut-in-a-timer", "R-901", "It ends in a number.", hex(&bytes(&[10], &[0; 3])));
    for (name, kind, payload) in [
        ("text", 1, &b"\x02hi!"[..]),
        ("reaction", 5, &[&[9; 16][..], &[0, 1, b'x', 0]].concat()),
        ("delete", 7, &[9; 17]),
        ("typing", 8, &[1, 0]),
        ("timer", 10, &[0; 5]),
        ("custom", 13, &[0, 0, 0]),
        ("reset-link", 14, &[1, 0, 0]),
    ] {
        let name = format!("read-{name}-and-more");
        refuse(&name, "R-902", "A byte stands behind the layout.", hex(&bytes(&[kind], payload)));
    }
    refuse(
        "read-kind-not-shortest",
        "R-903",
        "The kind has a byte too many.",
        hex(&bytes(&[0x81, 0], b"\x02hi")),
    );
    refuse(
        "read-kind-over-32-bits",
        "R-903",
        "The kind has 33 bits.",
        hex(&bytes(&[0xff, 0xff, 0xff, 0xff, 0x1f], b"")),
    );
    refuse(
        "read-kind-of-six-bytes",
        "R-903",
        "The kind has six bytes.",
        hex(&bytes(&[0x80, 0x80, 0x80, 0x80, 0x80, 1], b"")),
    );
    refuse(
        "read-length-not-shortest",
        "R-903",
        "The length has a byte too many.",
        hex(&bytes(&[1], &[0x82, 0, b'h', b'i'])),
    );
    let long = |kind: u8, head: &[u8], length: &[u8], count: usize| json!({ "concat": [hex(&bytes(&[kind], &[head, length].concat())), { "repeat": "61", "count": count }] });
    refuse(
        "read-text-too-long",
        "R-904",
        "A text over its bound, all of which is there.",
        long(1, &[], &[0x81, 0x80, 3], 49_153),
    );
    refuse(
        "read-text-length-of-4-gib",
        "R-904",
        "A length that nothing can have: nothing is allocated for it.",
        long(1, &[], &[0xff, 0xff, 0xff, 0xff, 0x0f], 10),
    );
    refuse(
        "read-reaction-too-long",
        "R-904",
        "A reaction over its bound.",
        long(5, &[0; 17], &[65], 65),
    );
    refuse(
        "read-profile-too-long",
        "R-904",
        "A name over its bound.",
        long(9, &[], &[0x81, 1], 129),
    );
    refuse(
        "read-mailbox-move-too-long",
        "R-904",
        "A route over its bound.",
        long(11, &[], &[0xc1, 2], 321),
    );
    refuse(
        "read-device-list-too-long",
        "R-904",
        "A device list over its bound.",
        long(12, &[], &[0x81, 0x80, 3], 49_153),
    );
    refuse(
        "read-delivery-too-many",
        "R-904",
        "257 ids.",
        json!({ "concat": [hex(&bytes(&[3], &[])), { "repeat": "00", "count": 257 * 16 }] }),
    );
    refuse(
        "read-unknown-too-long",
        "R-904",
        "An unknown payload over its bound.",
        long(99, &[], &[], 49_153),
    );
    refuse(
        "read-text-not-utf-8",
        "R-905",
        "A text that is not UTF-8.",
        hex(&bytes(&[1], &[2, 0xff, 0xfe])),
    );
    refuse(
        "read-text-half-a-letter",
        "R-905",
        "The last letter is cut.",
        hex(&bytes(&[1], &[1, 0xc3])),
    );
    refuse(
        "read-text-surrogate",
        "R-905",
        "Half of a surrogate pair.",
        hex(&bytes(&[1], &[3, 0xed, 0xa0, 0x80])),
    );
    refuse(
        "read-text-overlong",
        "R-905",
        "A letter in a longer form.",
        hex(&bytes(&[1], &[2, 0xc0, 0x80])),
    );
    refuse("read-typing-2", "R-906", "A flag that is neither 0 nor 1.", hex(&bytes(&[8], &[2])));
    refuse(
        "read-reaction-removed-255",
        "R-906",
        "A flag that is neither 0 nor 1.",
        hex(&bytes(&[5], &[&[9; 16][..], &[255, 0]].concat())),
    );
}
