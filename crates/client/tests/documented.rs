//! Every public item has an example. (That the examples compile, `cargo test --doc` shows.)
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

/// What begins a public item.
fn is_public_item(line: &str) -> bool {
    let Some(rest) = line.trim_start().strip_prefix("pub ") else { return false };
    let rest = ["const ", "async "]
        .iter()
        .fold(rest, |rest, word| rest.strip_prefix(word).unwrap_or(rest));
    ["fn ", "struct ", "enum ", "trait ", "type "].iter().any(|word| rest.starts_with(word))
        || rest.starts_with("use undertone_")
}

/// The documentation in front of a line, attributes left out.
fn documentation<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let above = lines.iter().rev().map(|line| line.trim_start());
    above
        .take_while(|line| {
            line.starts_with("///") || line.starts_with("#[") || line.ends_with(")]")
        })
        .filter(|line| line.starts_with("///"))
        .collect()
}

#[test]
fn every_public_item_has_an_example() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut items, mut without) = (0, Vec::new());
    for entry in fs::read_dir(sources).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_public_item(line)) {
            items += 1;
            if !documentation(lines.get(..at).unwrap()).iter().any(|doc| doc.contains("```")) {
                without.push(format!("{}:{}: {}", path.display(), at + 1, line.trim()));
            }
        }
    }
    assert!(items > 60, "{items}");
    assert!(without.is_empty(), "without an example:\n{}", without.join("\n"));
}
