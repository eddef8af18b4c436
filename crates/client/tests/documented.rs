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

/// Every file of the source, with its lines.
fn sources() -> Vec<(String, Vec<String>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.display().to_string(), text.lines().map(str::to_owned).collect())
        })
        .collect()
}

/// Every public item up to its body, with its place.
fn public_items() -> Vec<(String, String)> {
    let mut items = Vec::new();
    for (path, lines) in sources() {
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| is_public_item(line)) {
            let head = lines.iter().skip(at).map(|line| line.trim());
            let mut item = String::new();
            for line in head {
                item.push_str(line);
                if line.ends_with(['{', ';', '}']) {
                    break;
                }
            }
            items.push((format!("{path}:{}", at + 1), item));
        }
    }
    items
}

#[test]
fn every_public_item_has_an_example() {
    let (mut items, mut without) = (0, Vec::new());
    for (path, lines) in sources() {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_public_item(line)) {
            items += 1;
            if !documentation(lines.get(..at).unwrap()).iter().any(|doc| doc.contains("```")) {
                without.push(format!("{}:{}: {}", path, at + 1, line.trim()));
            }
        }
    }
    assert!(items > 90, "{items}");
    assert!(without.is_empty(), "without an example:\n{}", without.join("\n"));
}

/// What the SDK is built with can be replaced without its users noticing.
#[test]
fn no_public_item_names_a_type_of_what_it_is_built_with() {
    for (place, item) in public_items() {
        for inner in ["quinn", "rusqlite", "rustls", "tokio::", "postcard"] {
            assert!(!item.contains(inner), "{place}: {item}");
        }
    }
}
