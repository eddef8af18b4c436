//! The vectors of what a relay keeps (chapter 12): their reader does not know the relay's code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;

use serde_json::Value;
use undertone_relay::store::audit::{AuditAnchor, AuditEntry, verify};
use undertone_wire::Day;

fn hash(value: &Value) -> [u8; 32] {
    let text = value["hash"].as_str().unwrap();
    let bytes = (0..32).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap());
    bytes.collect::<Vec<_>>().try_into().unwrap()
}

fn entry(value: &Value) -> AuditEntry {
    AuditEntry {
        number: value["number"].as_u64().unwrap(),
        day: Day::new(value["day"].as_u64().unwrap().try_into().unwrap()),
        action: value["action"].as_str().unwrap().to_owned(),
        detail: value["detail"].as_str().unwrap().to_owned(),
        hash: hash(value),
    }
}

fn anchor(value: &Value) -> AuditAnchor {
    AuditAnchor { number: value["number"].as_u64().unwrap(), hash: hash(value) }
}

/// R-1210
#[test]
fn the_operator_s_log_verifies_as_its_vectors_say() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../test-vectors/vectors/relay");
    let (mut good, mut bad) = (0, 0);
    for file in std::fs::read_dir(vectors).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("operator-log") {
            continue;
        }
        let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let list = |name: &str| file["input"][name].as_array().unwrap().clone();
        let entries: Vec<_> = list("entries").iter().map(entry).collect();
        let anchors: Vec<_> = list("anchors").iter().map(anchor).collect();
        let verified = verify(&entries, &anchors).is_ok();
        assert_eq!(verified, file["result"] == "valid", "{name}");
        *(if verified { &mut good } else { &mut bad }) += 1;
    }
    assert!(good > 2 && bad > 10, "{good} {bad}");
}
