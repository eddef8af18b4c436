//! The literal examples of the specification are values of vectors: what a reader of the text
//! computes by hand is what two implementations compute.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use undertone_vectors::files;

/// Shorter words are offsets, lengths and the like.
const SHORTEST: usize = 16;

/// Hexadecimal digits of what stands in a content in front of its payload, where the kind has one byte.
const FRAME: usize = 2 * (1 + 16 + 8);

/// Chapters, each with its text.
fn chapters() -> BTreeMap<String, String> {
    let folder = files::home().join("../protocol-spec");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let chapters = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let name = |path: &std::path::Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    chapters.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect()
}

fn is_hex(word: &str) -> bool {
    word.len().is_multiple_of(2)
        && word.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Hexadecimal words in the text's examples: in indented or fenced blocks.
fn words(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut out = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            out.extend(line.split_whitespace().map(str::to_owned));
        }
    }
    out.retain(|word| word.len() >= SHORTEST && is_hex(word));
    out
}

#[test]
fn every_literal_value_of_the_text_stands_in_a_vector() {
    let vectors: String = files::found(&files::vectors()).unwrap().into_values().collect();
    let mut count = 0;
    for (chapter, text) in chapters() {
        for word in words(&text) {
            assert!(vectors.contains(&word), "{chapter}: {word}");
            count += 1;
        }
    }
    assert!(count > 130, "{count} values");
}

/// An example that is of one vector.
struct Example {
    /// `family/name`.
    vector: String,
    /// Its lines, without their margin.
    lines: Vec<String>,
}

/// The vector that a paragraph names.
fn vector_in(paragraph: &str) -> Option<String> {
    let spans = paragraph.split('`').skip(1).step_by(2);
    let mut places = spans.filter(|span| {
        span.split_once('/').is_some_and(|(_, name)| {
            name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
    });
    places.next().map(str::to_owned)
}

/// Paragraphs that begin with "Example" and name a vector, with the indented block behind each; and
/// the rows of tables whose second column names a vector, with what stands in the third.
fn examples(text: &str) -> Vec<Example> {
    let mut out = Vec::new();
    let blocks: Vec<&str> = text.split("\n\n").collect();
    for pair in blocks.windows(2) {
        let [paragraph, block] = pair else { continue };
        let margin = |text: &str| text.len() - text.trim_start().len();
        let Some(vector) = vector_in(paragraph) else { continue };
        let is_example = paragraph.trim_start().starts_with("Example");
        if is_example && margin(block) >= margin(paragraph) + 4 {
            let lines = block.lines().map(|line| line.trim().to_owned()).collect();
            out.push(Example { vector, lines });
        }
    }
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        if let [_, vector, payload] = cells[..]
            && let Some(vector) = vector_in(vector)
        {
            out.push(Example { vector, lines: vec![payload.trim_matches('`').to_owned()] });
        }
    }
    out
}

impl Example {
    /// The values, one for each line that begins with a label; lines without one go on with the value.
    fn values(&self) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for line in &self.lines {
            let (label, value) = match line.rsplit_once("  ") {
                Some((label, value)) => (Some(label), value),
                None => (None, line.as_str()),
            };
            let value: String = value.split(' ').collect();
            match out.last_mut() {
                Some(last) if label.is_none() => last.push_str(&value),
                _ => out.push(value),
            }
        }
        out
    }

    /// Whether all of it together, or each value, is one of the vector's.
    fn is_of(&self, vector: &Value) -> bool {
        let mut strings = BTreeSet::new();
        collect(vector, &mut strings);
        let values = self.values();
        let whole = values.concat();
        let is_there = |value: &String| is_hex(value) && strings.contains(value.as_str());
        let is_payload = |content: &str| content.get(FRAME..) == Some(&whole);
        let is_record = |records: &str| whole.len() >= SHORTEST && records.contains(&whole);
        is_there(&whole)
            || values.iter().all(is_there)
            || vector["family"] == "content"
                && vector["output"]["content"].as_str().is_some_and(is_payload)
            || vector["op"] == "backup-read"
                && strings.iter().any(|one| is_hex(one) && is_record(one))
            || vector["op"] == "recovery-key-write"
                && strings.contains(self.lines.join("-").as_str())
    }
}

/// Every string in a value.
fn collect<'a>(value: &'a Value, into: &mut BTreeSet<&'a str>) {
    match value {
        Value::String(text) => drop(into.insert(text)),
        Value::Array(list) => list.iter().for_each(|one| collect(one, into)),
        Value::Object(members) => members.values().for_each(|one| collect(one, into)),
        _ => {}
    }
}

#[test]
fn an_example_that_names_a_vector_is_of_that_vector() {
    let vectors = files::found(&files::vectors()).unwrap();
    let mut kinds = BTreeSet::new();
    let mut named = BTreeSet::new();
    for (chapter, text) in chapters() {
        if !["09-content", "13-session", "14-backup"].contains(&chapter.as_str()) {
            continue;
        }
        for example in examples(&text) {
            let file = vectors.get(&format!("{}.json", example.vector));
            let file = file.unwrap_or_else(|| panic!("{chapter}: no vector {}", example.vector));
            let file = files::json(file).unwrap();
            assert!(example.is_of(&file), "{chapter}: {}: {:?}", example.vector, example.values());
            if file["op"] == "content-write" {
                kinds.extend(file["input"]["kind"].as_u64());
            }
            named.insert(example.vector);
        }
    }
    // Every kind that the text knows, and one that it does not.
    assert_eq!(kinds, (0..=15).collect());
    for of_backups in ["key-example", "write", "write-three-chunks", "whole"] {
        assert!(named.contains(&format!("backup/{of_backups}")), "no example of {of_backups}");
    }
}

#[test]
fn an_altered_example_is_noticed() {
    let vectors = files::found(&files::vectors()).unwrap();
    let chapters = chapters();
    let mut count = 0;
    for chapter in ["09-content", "13-session", "14-backup"] {
        for mut example in examples(&chapters[chapter]) {
            let file = files::json(&vectors[&format!("{}.json", example.vector)]).unwrap();
            let last = example.lines.last_mut().unwrap();
            let other = if last.ends_with('0') { "1" } else { "0" };
            last.replace_range(last.len() - 1.., other);
            assert!(!example.is_of(&file), "{chapter}: {}", example.vector);
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}
