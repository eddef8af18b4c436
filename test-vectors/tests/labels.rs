//! The labels of `protocol-spec/01-primitives.md`, section 3: none of one use is the beginning of
//! another.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;

use undertone_vectors::files;

/// Each label's text, with what it is used as.
fn stated() -> Vec<(String, Vec<String>)> {
    let path = files::home().join("../protocol-spec/01-primitives.md");
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .filter(|line| line.starts_with("| `LABEL_"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let text = format!("Undertone v1 {}", cells[1].trim_matches('`'));
            (text, cells[2].split(", and ").map(str::to_owned).collect())
        })
        .collect()
}

#[test]
fn labels_of_one_use_begin_no_other() {
    let mut uses = BTreeMap::<String, Vec<String>>::new();
    for (label, used_as) in stated() {
        for one in used_as {
            uses.entry(one).or_default().push(label.clone());
        }
    }
    assert!(uses.values().map(Vec::len).sum::<usize>() > 30);
    let names: Vec<&str> = uses.keys().map(String::as_str).collect();
    let expected = ["associated data", "hash", "info of Expand", "start of a signed message"];
    assert_eq!(names, expected);
    for (used_as, labels) in &uses {
        for (at, one) in labels.iter().enumerate() {
            for (other_at, other) in labels.iter().enumerate() {
                assert!(at == other_at || !one.starts_with(other), "{used_as}: {one}, {other}");
            }
        }
    }
}
