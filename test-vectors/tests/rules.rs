//! Every numbered rule of the specification has a negative vector, or stands
//! in the README's table of those that can have none.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use undertone_vectors::files;

fn text(path: &str) -> String {
    let path = files::home().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first cells of the table rows that begin with a rule.
fn rows(text: &str) -> BTreeMap<String, Vec<String>> {
    text.lines()
        .filter(|line| line.starts_with("| R-"))
        .map(|line| {
            let cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
            let cells: Vec<String> = cells.collect();
            (cells[0].clone(), cells)
        })
        .collect()
}

/// Rules that a chapter states in bold.
fn bold(text: &str) -> BTreeSet<String> {
    let at = text.match_indices("**R-").map(|(at, _)| at);
    at.filter_map(|at| {
        let rest = &text[at + 2..];
        let rule = &rest[..rest.find("**")?];
        rule[2..].chars().all(|c| c.is_ascii_digit()).then(|| rule.to_owned())
    })
    .collect()
}

/// The rules of chapters 01 to 11.
fn stated() -> BTreeSet<String> {
    let mut out: BTreeSet<String> = rows(&text("../protocol-spec/rules.md")).into_keys().collect();
    for chapter in ["03-links", "09-content"] {
        out.extend(bold(&text(&format!("../protocol-spec/{chapter}.md"))));
    }
    // The relay's chapter has a second table, in which rules stand together.
    let relay = text("../protocol-spec/11-relay-protocol.md");
    let single = |rule: &String| rule[2..].chars().all(|c| c.is_ascii_digit());
    out.extend(rows(&relay).into_keys().filter(single));
    assert!(out.len() > 100, "{}", out.len());
    out
}

/// The rules that a file shows, its own and those of its steps.
fn shown(file: &Value) -> BTreeSet<String> {
    let own = file.get("rule").and_then(Value::as_str);
    let steps = file.get("steps").and_then(Value::as_array).into_iter().flatten();
    let steps = steps.filter_map(|step| step.get("refused")?.as_str());
    own.into_iter().chain(steps).map(str::to_owned).collect()
}

fn vectors() -> BTreeMap<String, BTreeSet<String>> {
    let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (place, text) in files::found(&files::vectors()).unwrap() {
        for rule in shown(&files::json(&text).unwrap()) {
            out.entry(rule).or_default().insert(place.trim_end_matches(".json").to_owned());
        }
    }
    out
}

#[test]
fn every_rule_has_a_negative_vector_or_a_reason_why_not() {
    let (stated, vectors) = (stated(), vectors());
    let without = rows(&text("README.md"));
    for (rule, cells) in &without {
        assert!(stated.contains(rule), "{rule} is no rule");
        assert!(!vectors.contains_key(rule), "{rule} has a vector: {:?}", vectors[rule]);
        assert!(cells.len() == 2 && cells[1].len() > 20, "{rule} has no reason");
    }
    let missing: Vec<&String> = stated
        .iter()
        .filter(|rule| !vectors.contains_key(*rule) && !without.contains_key(*rule))
        .collect();
    assert!(missing.is_empty(), "without a vector: {missing:?}");
    let unknown: Vec<&String> = vectors.keys().filter(|rule| !stated.contains(*rule)).collect();
    assert!(unknown.is_empty(), "vectors of rules that are none: {unknown:?}");
}

#[test]
fn the_table_of_rules_names_vectors_that_show_them() {
    let vectors = vectors();
    for (rule, cells) in rows(&text("../protocol-spec/rules.md")) {
        assert_eq!(cells.len(), 5, "{rule}");
        let named: Vec<&str> = cells[4].split('`').skip(1).step_by(2).collect();
        let Some(shown) = vectors.get(&rule) else {
            assert!(named.is_empty() && cells[4].starts_with("none"), "{rule}: {}", cells[4]);
            continue;
        };
        assert!(!named.is_empty(), "{rule} names no vector");
        for name in named {
            assert!(shown.contains(name), "{name} does not show {rule}");
        }
    }
}
