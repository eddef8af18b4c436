//! The literal examples of the specification are values of vectors: what a reader of the text
//! computes by hand is what two implementations compute.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::fs;

use undertone_vectors::files;

/// Shorter words are offsets, lengths and the like.
const SHORTEST: usize = 16;

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
    out.retain(|word| {
        word.len() >= SHORTEST
            && word.len().is_multiple_of(2)
            && word.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    });
    out
}

#[test]
fn every_literal_value_of_the_text_stands_in_a_vector() {
    let vectors: String = files::found(&files::vectors()).unwrap().into_values().collect();
    let chapters = files::home().join("../protocol-spec");
    let mut count = 0;
    for entry in fs::read_dir(chapters).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        for word in words(&fs::read_to_string(&path).unwrap()) {
            assert!(vectors.contains(&word), "{}: {word}", path.display());
            count += 1;
        }
    }
    assert!(count > 70, "{count} values");
}
