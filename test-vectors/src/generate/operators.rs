//! Family `relay`: the operator's log (12).

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Files, about};
use crate::value::{hex, unhex};

const FAMILY: &str = "relay";

fn entry(previous: &[u8; 32], number: u64, action: &str, detail: &str) -> (Value, [u8; 32]) {
    let day = 20_000 + u32::try_from(number).unwrap();
    let mut hash = Sha256::new()
        .chain_update("undertone relay audit")
        .chain_update(previous)
        .chain_update(number.to_be_bytes())
        .chain_update(day.to_be_bytes());
    for text in [action, detail] {
        hash.update(u16::try_from(text.len()).unwrap().to_be_bytes());
        hash.update(text);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let entry = json!({
        "number": number, "day": day, "action": action, "detail": detail, "hash": hex(&hash),
    });
    (entry, hash)
}

fn log(texts: &[(&str, &str)]) -> (Vec<Value>, Vec<[u8; 32]>) {
    let (mut entries, mut hashes) = (Vec::new(), vec![[0; 32]]);
    for (number, (action, detail)) in (1..).zip(texts) {
        let (entry, hash) = entry(hashes.last().unwrap(), number, action, detail);
        entries.push(entry);
        hashes.push(hash);
    }
    hashes.remove(0);
    (entries, hashes)
}

fn anchor(number: u64, hash: &[u8; 32]) -> Value {
    json!({ "number": number, "hash": hex(hash) })
}

pub(super) fn make(files: &mut Files) {
    let spec = &["12 The operator's log"];
    let (entries, hashes) =
        log(&[("add token", "number 1, class standard"), ("backup", ""), ("erase", "mailbox")]);
    let (longer, _) = log(&[
        ("add token", "number 1, class standard"),
        ("backup", ""),
        ("erase", "mailbox"),
        ("backup", ""),
    ]);
    let last = anchor(3, &hashes[2]);
    let input =
        |entries: &[Value], anchors: &[Value]| json!({ "entries": entries, "anchors": anchors });
    for (name, says, entries, anchors) in [
        ("log", "Three entries, and the anchor of the last.", entries.clone(), vec![last.clone()]),
        ("log-grown", "A fourth entry behind the anchor.", longer, vec![last.clone()]),
        ("log-empty", "No entry, no anchor.", vec![], vec![]),
    ] {
        let input = input(&entries, &anchors);
        files.valid(&about(FAMILY, &format!("operator-{name}"), spec, says), "operator-log", input);
    }
    let with = |at: usize, member: &str, value: Value| {
        let mut altered = entries.clone();
        altered[at][member] = value;
        altered
    };
    let mut other = unhex(entries[1]["hash"].as_str().unwrap()).unwrap();
    other[31] ^= 1;
    let swapped = vec![entries[1].clone(), entries[0].clone(), entries[2].clone()];
    for (name, says, entries, anchors) in [
        ("cut", "The last entry is missing.", entries[..2].to_vec(), vec![last.clone()]),
        ("all-gone", "Every entry is missing.", vec![], vec![last.clone()]),
        ("first-missing", "The first entry is missing.", entries[1..].to_vec(), vec![]),
        (
            "middle-missing",
            "The second entry is missing.",
            vec![entries[0].clone(), entries[2].clone()],
            vec![],
        ),
        ("exchanged", "Two entries are exchanged.", swapped, vec![]),
        ("action", "An action is another.", with(0, "action", json!("backup")), vec![]),
        ("detail", "A detail is another.", with(2, "detail", json!("depot")), vec![]),
        ("day", "A day is another.", with(1, "day", json!(20_003)), vec![]),
        ("hash", "A hash is another.", with(1, "hash", hex(&other)), vec![]),
        (
            "border",
            "A letter went from the action to the detail.",
            {
                let mut altered = with(0, "action", json!("add toke"));
                altered[0]["detail"] = json!("nnumber 1, class standard");
                altered
            },
            vec![],
        ),
        ("anchor", "The anchor has another hash.", entries.clone(), vec![anchor(3, &hashes[1])]),
        ("anchor-0", "There is no entry 0.", entries.clone(), vec![anchor(0, &[0; 32])]),
    ] {
        let name = format!("operator-log-{name}");
        let about = &about(FAMILY, &name, spec, says);
        files.refused(about, "R-1210", "compare", "operator-log", input(&entries, &anchors));
    }
}
