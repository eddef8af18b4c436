//! `protocol-spec/claims.md` names nothing that does not exist: every test,
//! every query of a model, every family of vectors.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between backticks in the rows of the tables.
fn evidence() -> Vec<String> {
    let text = read(&root().join("protocol-spec/claims.md"));
    let rows = text.lines().filter(|line| line.starts_with("| "));
    rows.flat_map(|row| row.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Whether a test function of this name is in the file.
fn has_test(file: &str, name: &str) -> bool {
    let source = read(&root().join(file));
    let declared = format!("fn {name}(");
    let attributed = ["#[test]", "#[tokio::test"];
    source.match_indices(&declared).any(|(at, _)| {
        let lines = source[..at].lines().rev().map(str::trim);
        // Behind the line of the function itself: its attributes and what is said of it.
        let own = |line: &&str| ["#[", "///", "async"].iter().any(|start| line.starts_with(start));
        let mut own = lines.skip_while(|line| line.is_empty() || *line == "async").take_while(own);
        own.any(|line| attributed.iter().any(|start| line.starts_with(start)))
    })
}

/// Whether `models/expected` has a query of a model, and its answer.
fn answer(model: &str, query: &str) -> Option<String> {
    let text = read(&root().join("protocol-spec/models/expected"));
    let mut inside = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("model ") {
            inside = rest.split_whitespace().next() == Some(model);
        } else if inside && line.split_whitespace().next() == Some(query) {
            return line.split_whitespace().nth(1).map(str::to_owned);
        }
    }
    None
}

#[test]
fn every_claim_names_what_shows_it() {
    let text = read(&root().join("protocol-spec/claims.md"));
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| claim "));
    for row in rows {
        let shown = row.split(" | ").nth(1).unwrap_or_default();
        let named = shown.split('`').skip(1).step_by(2);
        let shows = |item: &str| {
            item.contains("::") || item.starts_with("model ") || item.starts_with("vectors ")
        };
        assert!(named.into_iter().any(shows), "nothing shows: {row}");
    }
}

#[test]
fn whatever_is_named_exists() {
    let evidence = evidence();
    assert!(evidence.len() > 60, "the tables are there: {}", evidence.len());
    for item in &evidence {
        if let Some((file, test)) = item.split_once("::") {
            assert!(has_test(file, test), "no test {item}");
        } else if let Some(name) = item.strip_prefix("model ") {
            let (model, query) = name.split_once('/').unwrap();
            assert!(answer(model, query).is_some(), "no query {name}");
        } else if let Some(family) = item.strip_prefix("vectors ") {
            let directory = root().join("test-vectors/vectors").join(family);
            assert!(directory.is_dir(), "no vectors {family}");
        } else {
            panic!("neither test, model nor vectors: {item}");
        }
    }
}

#[test]
fn what_a_model_refutes_stands_under_not_claimed_alone() {
    let text = read(&root().join("protocol-spec/claims.md"));
    for row in text.lines().filter(|line| line.starts_with("| ") && line.contains("`model ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        assert_eq!(cells.len(), 3, "{row}");
        for (cell, expected) in [(cells[1], "true"), (cells[2], "false")] {
            for item in cell.split('`').skip(1).step_by(2) {
                let Some(name) = item.strip_prefix("model ") else { continue };
                let (model, query) = name.split_once('/').unwrap();
                let answer = answer(model, query);
                assert_eq!(answer.as_deref(), Some(expected), "{name} in this column");
            }
        }
    }
}
