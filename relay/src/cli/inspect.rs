//! `inspect`: everything that is stored.

use std::path::Path;

use undertone_relay::clock::{Clock as _, SystemClock};
use undertone_relay::operator::{StoreDump, inspect, record};
use undertone_relay::store::audit::Action;

use super::{Result, has_store, print};

pub(super) fn run(directory: &Path, json: bool) -> Result {
    has_store(directory)?;
    record(directory, SystemClock.today(), Action::Inspected)?;
    let dump = inspect(directory)?;
    print(&if json { as_json(&dump)? } else { as_text(&dump) })
}

/// The relay's own secret: shown by its length, so that a dump can be handed on.
const SECRET: (&str, &str) = ("day_key", "key");

/// Longest value that the text shows in full.
const SHOWN: usize = 80;

fn as_text(dump: &StoreDump) -> String {
    let mut text = String::new();
    for table in &dump.tables {
        text.push_str(&format!("{} / {}: {} rows\n", table.file, table.name, table.rows.len()));
        for row in &table.rows {
            for field in &row.fields {
                let secret = (table.name.as_str(), field.name.as_str()) == SECRET;
                let shown = field.shown();
                let value = if secret || shown.len() > SHOWN {
                    let front: String =
                        if secret { "".into() } else { shown.chars().take(32).collect() };
                    format!("{front}... ({} bytes)", field.bytes.len())
                } else {
                    shown
                };
                text.push_str(&format!("  {}: {value}\n", field.name));
            }
            text.push('\n');
        }
    }
    text
}

pub(super) fn as_json(dump: &StoreDump) -> Result<String> {
    let tables: Vec<_> = dump
        .tables
        .iter()
        .map(|table| {
            let rows: Vec<serde_json::Map<_, _>> = table
                .rows
                .iter()
                .map(|row| {
                    let field = |field: &undertone_relay::operator::Field| {
                        let secret = (table.name.as_str(), field.name.as_str()) == SECRET;
                        let value = if secret { "(secret)".into() } else { field.shown() };
                        (field.name.clone(), serde_json::Value::String(value))
                    };
                    row.fields.iter().map(field).collect()
                })
                .collect();
            serde_json::json!({ "file": table.file, "table": table.name, "rows": rows })
        })
        .collect();
    Ok(serde_json::to_string_pretty(&tables)? + "\n")
}
