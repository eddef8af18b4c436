//! The table of the core's rejection rules in `protocol-spec/rules.md` says the
//! truth: it has every rule of the code and of the specification, and whatever
//! it names exists.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The documents that state rules of the core.
const CHAPTERS: [&str; 9] = [
    "01-primitives.md",
    "02-identity.md",
    "03-prekeys.md",
    "04-handshake.md",
    "05-double-ratchet.md",
    "06-pq-ratchet.md",
    "07-envelopes.md",
    "08-attachments.md",
    "10-state.md",
];

fn crate_root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn specification(name: &str) -> String {
    read(&crate_root().join("../../protocol-spec").join(name))
}

/// A row of the table.
struct Row {
    rule: u32,
    functions: Vec<String>,
    tests: Vec<String>,
}

/// What stands between backticks.
fn code_spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The core's rows. Those of the other crates are compared by `test-vectors/tests/rules.rs`.
fn table() -> Vec<Row> {
    let text = specification("rules.md");
    let core = text.split("\n## Outside the core\n").next().unwrap();
    let rows = core.lines().filter(|line| line.starts_with("| R-"));
    rows.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 5, "five cells: {line}");
        Row {
            rule: cells[0].trim_start_matches("R-").parse().unwrap(),
            functions: code_spans(cells[2]),
            tests: code_spans(cells[3]),
        }
    })
    .collect()
}

fn rules_of_table() -> BTreeSet<u32> {
    table().iter().map(|row| row.rule).collect()
}

/// Every `R-nnn` that stands in a text between `before` and `after`.
fn rules_in(text: &str, before: &str, after: &str) -> BTreeSet<u32> {
    let start = format!("{before}R-");
    text.match_indices(&start)
        .filter_map(|(at, _)| {
            let rest = &text[at + start.len()..];
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let rule = rest[..digits].parse().ok()?;
            rest[digits..].starts_with(after).then_some(rule)
        })
        .collect()
}

/// Every source of the core, with its path below `src`.
fn sources() -> BTreeMap<PathBuf, String> {
    fn walk(folder: &Path, into: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(crate_root().join("src")).unwrap().to_owned();
                into.insert(below, read(&path));
            }
        }
    }
    let mut sources = BTreeMap::new();
    walk(&crate_root().join("src"), &mut sources);
    assert!(sources.len() > 40);
    sources
}

/// The bodies of the functions that return a rule's number.
fn codes(source: &str) -> impl Iterator<Item = &str> {
    source.match_indices("fn code(self) -> &'static str {").map(|(at, _)| {
        let body = &source[at..];
        let mut depth = 0usize;
        let end = body.find(|c: char| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => return false,
            }
            depth == 0
        });
        &body[..end.unwrap()]
    })
}

#[test]
fn the_table_has_the_rules_of_the_code() {
    let mut rules = BTreeSet::new();
    for source in sources().values() {
        for body in codes(source) {
            let found = rules_in(body, "\"", "\"");
            assert_eq!(body.matches("\"R-").count(), body.matches("R-").count());
            rules.extend(found);
        }
        // The primitives' refusals become the code of what holds the key; they
        // have a type each, and its documentation the number.
        rules.extend(rules_in(source, "/// Rule ", ":"));
    }
    assert!(rules.len() > 70);
    assert_eq!(rules, rules_of_table());
}

#[test]
fn no_source_speaks_of_a_rule_that_is_none() {
    let known = rules_of_table();
    for (path, source) in sources() {
        let unknown: Vec<_> = rules_in(&source, "", "").difference(&known).copied().collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", path.display());
    }
}

#[test]
fn the_table_has_the_rules_of_the_specification() {
    let stated: BTreeSet<u32> =
        CHAPTERS.iter().flat_map(|name| rules_in(&specification(name), "**", "**")).collect();
    assert_eq!(stated, rules_of_table());
}

#[test]
fn the_table_is_in_order_and_has_each_rule_once() {
    let rules: Vec<_> = table().iter().map(|row| row.rule).collect();
    assert!(rules.is_sorted_by(|a, b| a < b), "{rules:?}");
}

/// The file in which the module of a path stands, and the rest of the path.
fn module<'p>(
    sources: &BTreeMap<PathBuf, String>,
    path: &'p [&str],
) -> Option<(PathBuf, &'p [&'p str])> {
    (1..path.len()).rev().find_map(|len| {
        let folder: PathBuf = path[..len].iter().collect();
        [folder.with_extension("rs"), folder.join("mod.rs")]
            .into_iter()
            .find(|file| sources.contains_key(file))
            .map(|file| (file, &path[len..]))
    })
}

/// Whether a source has a function of this name; where there is a type in
/// front, in an `impl` of that type.
fn has_function(source: &str, rest: &[&str]) -> bool {
    let (name, before) = rest.split_last().unwrap();
    let owner = before.iter().find(|part| part.starts_with(char::is_uppercase));
    let mut inside = owner.is_none();
    source.lines().map(str::trim_start).any(|line| {
        if line.starts_with("impl") {
            let words = || line.split(|c: char| !c.is_alphanumeric());
            inside = owner.is_none_or(|owner| words().any(|word| word == *owner));
        }
        let (_, after) = line.split_once("fn ").unwrap_or_default();
        inside && after.strip_prefix(name).is_some_and(|end| end.starts_with(['(', '<']))
    })
}

/// Whether a source has a test of this name.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let function = format!("fn {name}() {{");
    lines.iter().position(|line| *line == function).is_some_and(|at| {
        let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
        attributes.copied().any(|line| line == "#[test]")
    })
}

#[test]
fn every_function_of_the_table_exists() {
    let sources = sources();
    for row in table() {
        assert!(!row.functions.is_empty(), "R-{} names no function", row.rule);
        for function in row.functions {
            let path: Vec<_> = function.split("::").collect();
            let (file, rest) = module(&sources, &path)
                .unwrap_or_else(|| panic!("R-{}: no module for {function}", row.rule));
            assert!(has_function(&sources[&file], rest), "R-{}: no {function}", row.rule);
        }
    }
}

#[test]
fn every_rule_has_a_test_that_exists() {
    let sources = sources();
    for row in table() {
        assert!(!row.tests.is_empty(), "R-{} has no test", row.rule);
        for test in row.tests {
            let path: Vec<_> = test.split("::").collect();
            let name = path.last().unwrap();
            let source = if test.starts_with("tests/") {
                read(&crate_root().join(path[0]))
            } else {
                let (file, _) = module(&sources, &path)
                    .unwrap_or_else(|| panic!("R-{}: no module for {test}", row.rule));
                sources[&file].clone()
            };
            assert!(has_test(&source, name), "R-{}: no test {test}", row.rule);
        }
    }
}

/// The row of a table that begins with this code span.
fn row_of<'t>(text: &'t str, name: &str) -> &'t str {
    let start = format!("| `{name}` |");
    let mut rows = text.lines().filter(|line| line.starts_with(&start));
    let row = rows.next().unwrap_or_else(|| panic!("01-primitives.md has no {name}"));
    assert_eq!(rows.next(), None, "{name} stands there twice");
    row
}

#[test]
fn the_specification_has_every_label() {
    let text = specification("01-primitives.md");
    let source = read(&crate_root().join("src/label.rs"));
    let labels: Vec<_> =
        source.lines().filter_map(|line| line.trim().split_once(" = \"")).collect();
    assert!(labels.len() > 20);
    assert_eq!(text.matches("\n| `LABEL_").count(), labels.len());
    for (name, rest) in labels {
        let label = rest.trim_end_matches("\";");
        assert_eq!(code_spans(row_of(&text, &format!("LABEL_{name}")))[1], label);
    }
}

#[test]
fn the_specification_has_every_bound() {
    let text = specification("01-primitives.md");
    let source = read(&crate_root().join("src/bounds.rs"));
    let (mut named, mut compared) = (0, 0);
    for line in source.lines().filter_map(|line| line.strip_prefix("pub const ")) {
        let (name, rest) = line.split_once(':').unwrap();
        let row = row_of(&text, name);
        named += 1;
        // A number; what is computed from others is compared by its name alone.
        let value = rest.split_once(" = ").map_or("", |(_, value)| value.trim_end_matches(';'));
        if let Ok(value) = value.replace('_', "").parse::<u64>() {
            let cell = row.split('|').nth(2).unwrap().trim().replace(',', "");
            assert_eq!(cell.parse(), Ok(value), "{name}");
            compared += 1;
        }
    }
    assert!(named > 20 && compared > 18);
}
