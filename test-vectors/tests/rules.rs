//! Every numbered rule stands in `protocol-spec/rules.md`, with what applies it, a test that names
//! it, and a negative vector or the reason why there can be none; and nothing else stands there.
//!
//! The core's rows are compared with its code by `crates/core/tests/rules.rs`; the others here.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use undertone_vectors::files;

/// Chapters that state their rules in bold, each with the numbers that are its own.
const BOLD: [(&str, std::ops::RangeInclusive<u32>); 4] = [
    ("03-links", 300..=349),
    ("09-content", 900..=999),
    ("13-session", 1300..=1399),
    ("14-backup", 1400..=1499),
];

/// Chapters that state their rules in a table.
const TABLED: [(&str, std::ops::RangeInclusive<u32>); 2] =
    [("11-relay-protocol", 1100..=1199), ("12-relay-retention", 1200..=1299)];

/// Where rules may be named that are not the core's.
const SOURCES: [&str; 5] =
    ["crates/wire", "crates/session", "crates/client", "crates/cli", "relay"];

/// What separates the core's rows from the others.
const OTHERS: &str = "\n## Outside the core\n";

fn root() -> PathBuf {
    files::home().join("..")
}

fn text(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A row of a table that begins with a rule.
struct Row {
    rule: u32,
    cells: Vec<String>,
}

impl Row {
    fn spans(&self, cell: usize) -> Vec<String> {
        self.cells[cell].split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }
}

fn rows(text: &str) -> Vec<Row> {
    let lines = text.lines().filter(|line| line.starts_with("| R-"));
    lines
        .map(|line| {
            let cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
            let cells: Vec<String> = cells.collect();
            let rule = cells[0].trim_start_matches("R-").parse();
            let rule = rule.unwrap_or_else(|_| panic!("not one rule: {}", cells[0]));
            Row { rule, cells }
        })
        .collect()
}

/// The numbers of all rules that a text names.
fn named(text: &str) -> BTreeSet<u32> {
    text.match_indices("R-")
        .filter_map(|(at, _)| {
            let rest = &text[at + 2..];
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest[..end].parse().ok().filter(|_| (3..=4).contains(&end))
        })
        .collect()
}

/// Rules that a chapter states in bold.
fn bold(text: &str) -> BTreeSet<u32> {
    let spans = text.split("**").skip(1).step_by(2);
    spans.filter_map(|span| span.strip_prefix("R-")?.parse().ok()).collect()
}

/// The rules that the chapters outside the core state.
fn stated() -> BTreeSet<u32> {
    let mut out = BTreeSet::new();
    for (chapter, own) in BOLD {
        let rules = bold(&text(&format!("protocol-spec/{chapter}.md")));
        assert!(rules.iter().all(|rule| own.contains(rule)), "{chapter}: {rules:?}");
        out.extend(rules);
    }
    for (chapter, own) in TABLED {
        let table = rows(&text(&format!("protocol-spec/{chapter}.md")));
        let rules: Vec<u32> = table.iter().map(|row| row.rule).collect();
        assert!(rules.is_sorted_by(|a, b| a < b), "{chapter}: {rules:?}");
        assert!(rules.iter().all(|rule| own.contains(rule)), "{chapter}: {rules:?}");
        out.extend(rules);
    }
    assert!(out.len() > 50, "{}", out.len());
    out
}

/// The core's rows, and the others.
fn tables() -> (Vec<Row>, Vec<Row>) {
    let text = text("protocol-spec/rules.md");
    let (core, others) = text.split_once(OTHERS).unwrap();
    (rows(core), rows(others))
}

fn others() -> Vec<Row> {
    tables().1
}

/// Every Rust source below the folders, with its path from the repository's root.
fn sources() -> BTreeMap<String, String> {
    fn walk(folder: &Path, into: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                into.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut out = BTreeMap::new();
    for folder in SOURCES {
        for part in ["src", "tests"] {
            let folder = root().join(folder).join(part);
            if folder.is_dir() {
                walk(&folder, &mut out);
            }
        }
    }
    assert!(out.len() > 200, "{}", out.len());
    out
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// A function with the comments and attributes in front of it, if the source has it. Where the path
/// names a type, it is one in an `impl` of that type.
fn function(source: &str, path: &[&str]) -> Option<String> {
    let (name, owner) = path.split_last()?;
    let owner = owner.last();
    let lines: Vec<&str> = source.lines().collect();
    let mut inside = owner.is_none();
    for (at, line) in lines.iter().enumerate() {
        if line.starts_with("impl") {
            let mut words = line.split(|c: char| !c.is_alphanumeric());
            inside = owner.is_none_or(|owner| words.any(|word| word == *owner));
        }
        let after = line.split_once("fn ").and_then(|(_, rest)| rest.strip_prefix(name));
        if !inside || !after.is_some_and(|rest| rest.starts_with(['(', '<'])) {
            continue;
        }
        let depth = indent(line);
        let is_front = |line: &&&str| {
            let line = line.trim_start();
            line.starts_with("//") || line.starts_with("#[") || line.starts_with(')')
        };
        let front = lines[..at].iter().rev().take_while(is_front).count();
        let mut body = lines[at..].iter();
        let end = body.position(|line| indent(line) == depth && line.trim_end().ends_with('}'))?;
        return Some(lines[at - front..=at + end].join("\n"));
    }
    None
}

/// `folder/file.rs::Type::function`, as text.
fn find(sources: &BTreeMap<String, String>, what: &str) -> Option<String> {
    let mut parts = what.split("::");
    let source = sources.get(parts.next()?)?;
    function(source, &parts.collect::<Vec<_>>())
}

#[test]
fn the_table_has_the_rules_of_the_chapters_in_order_and_once() {
    let rules: Vec<u32> = others().iter().map(|row| row.rule).collect();
    assert!(rules.is_sorted_by(|a, b| a < b), "{rules:?}");
    assert_eq!(rules.into_iter().collect::<BTreeSet<_>>(), stated());
}

#[test]
fn every_row_names_a_function_that_names_its_rule() {
    let sources = sources();
    for row in others() {
        let functions = row.spans(2);
        let found: Vec<String> = functions
            .iter()
            .map(|path| {
                find(&sources, path).unwrap_or_else(|| panic!("{}: no {path}", row.cells[0]))
            })
            .collect();
        assert!(
            found.iter().any(|text| named(text).contains(&row.rule)),
            "{}: named in none of {functions:?}",
            row.cells[0]
        );
    }
}

#[test]
fn every_row_names_a_test_that_names_its_rule() {
    let sources = sources();
    for row in others() {
        let tests = row.spans(3);
        let mut shown = false;
        for path in &tests {
            let test = find(&sources, path);
            let test = test.unwrap_or_else(|| panic!("{}: no {path}", row.cells[0]));
            let is_test = ["#[test]", "#[tokio::test"].iter().any(|mark| test.contains(mark));
            assert!(is_test, "{}: {path} is no test", row.cells[0]);
            let in_name = path.contains(&format!("r_{}", row.rule));
            shown |= in_name || named(&test).contains(&row.rule);
        }
        assert!(shown, "{}: named in none of {tests:?}", row.cells[0]);
    }
}

#[test]
fn no_source_names_a_rule_that_is_none() {
    let (core, others) = tables();
    let known: BTreeSet<u32> = core.iter().chain(&others).map(|row| row.rule).collect();
    for (path, source) in sources() {
        let unknown: Vec<u32> = named(&source).difference(&known).copied().collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
    }
}

#[test]
fn every_rule_outside_the_core_is_named_where_it_is_applied() {
    let sources = sources();
    let mut applied = BTreeSet::new();
    for (path, source) in &sources {
        let is_test = path.contains("/tests/") || path.ends_with("/tests.rs");
        if !is_test {
            // What stands behind the first module of tests is none of the code.
            let code = source.split("\n#[cfg(test)]\nmod ").next().unwrap();
            applied.extend(named(code));
        }
    }
    let missing: Vec<u32> = stated().difference(&applied).copied().collect();
    assert!(missing.is_empty(), "not named in any code: {missing:?}");
}

/// The rules that a chapter states, in bold or in a table of single rules.
fn rules_of_chapter(text: &str) -> BTreeSet<u32> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| R-")?.split(' ').next());
    bold(text).into_iter().chain(rows.filter_map(|number| number.parse().ok())).collect()
}

#[test]
fn the_list_of_documents_is_complete_and_says_which_rules_each_states() {
    let list = text("protocol-spec/README.md");
    let mut documents = 0;
    for entry in fs::read_dir(root().join("protocol-spec")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".md") || name == "README.md" {
            continue;
        }
        let row = list.lines().find(|line| line.starts_with(&format!("| [{name}]({name}) |")));
        let row = row.unwrap_or_else(|| panic!("{name} is not on the list"));
        documents += 1;
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            let said = named(row.trim_end_matches('|').rsplit('|').next().unwrap());
            let stated = rules_of_chapter(&text(&format!("protocol-spec/{name}")));
            let ends = |rules: &BTreeSet<u32>| (rules.first().copied(), rules.last().copied());
            assert_eq!(ends(&said), ends(&stated), "{name}");
        }
    }
    assert!(documents > 15, "{documents}");
}

/// The rules that a vector shows, its own and those of its steps.
fn shown(file: &Value) -> BTreeSet<u32> {
    let own = file.get("rule").and_then(Value::as_str);
    let steps = file.get("steps").and_then(Value::as_array).into_iter().flatten();
    let steps = steps.filter_map(|step| step.get("refused")?.as_str());
    own.into_iter().chain(steps).flat_map(named).collect()
}

fn vectors() -> BTreeMap<u32, BTreeSet<String>> {
    let mut out: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for (place, text) in files::found(&files::vectors()).unwrap() {
        for rule in shown(&files::json(&text).unwrap()) {
            out.entry(rule).or_default().insert(place.trim_end_matches(".json").to_owned());
        }
    }
    out
}

#[test]
fn every_rule_names_negative_vectors_or_why_there_are_none() {
    let (vectors, (core, others)) = (vectors(), tables());
    let scenarios = text("test-vectors/python/undertone_ref/relay_scenarios.py");
    for row in core.iter().chain(&others) {
        let rule = &row.cells[0];
        assert_eq!(row.cells.len(), 5, "{rule}");
        let spans = row.spans(4);
        if let Some(shown) = vectors.get(&row.rule) {
            assert!(!spans.is_empty(), "{rule} names no vector, and has {shown:?}");
            for name in &spans {
                assert!(shown.contains(name), "{name} does not show {rule}");
            }
            continue;
        }
        let reason = row.cells[4].strip_prefix("none: ");
        assert!(
            reason.is_some_and(|reason| reason.len() > 15),
            "{rule}: neither vector nor reason"
        );
        for span in &spans {
            let name = span.strip_prefix("scenario ").unwrap_or_else(|| panic!("{rule}: {span}"));
            let start = format!("\ndef {name}(");
            let body = scenarios.split(&start).nth(1);
            let body = body.unwrap_or_else(|| panic!("{rule}: no scenario {name}"));
            let body = body.split("\ndef ").next().unwrap();
            assert!(named(body).contains(&row.rule), "{rule}: not named in the scenario {name}");
        }
    }
    let known: BTreeSet<u32> = core.iter().chain(&others).map(|row| row.rule).collect();
    let unknown: Vec<&u32> = vectors.keys().filter(|rule| !known.contains(rule)).collect();
    assert!(unknown.is_empty(), "vectors of rules that are none: {unknown:?}");
}

#[test]
fn every_label_of_the_text_has_a_vector_and_no_other() {
    let chapter = text("protocol-spec/01-primitives.md");
    let rows = chapter.lines().filter_map(|line| line.strip_prefix("| `LABEL_"));
    let stated: BTreeSet<String> =
        rows.filter_map(|row| Some(format!("LABEL_{}", row.split('`').next()?))).collect();
    let mut shown = BTreeSet::new();
    for (place, text) in files::found(&files::vectors()).unwrap() {
        if place.starts_with("labels/") {
            let file = files::json(&text).unwrap();
            shown.insert(file["input"]["label"].as_str().unwrap().to_owned());
        }
    }
    assert!(stated.len() > 25, "{}", stated.len());
    assert_eq!(shown, stated);
}
