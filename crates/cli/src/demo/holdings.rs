//! What each has at the end, for people and as JSON.

use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};
use undertone::{Direction, Message};
use undertone_relay::operator::{Field, Record, StoreDump};

use super::columns::{side_by_side, widths};
use crate::{json, safe_text};

/// Bytes of a long field that are shown; JSON has its length and these, too.
const SHOWN: usize = 4;

/// Terminals whose width is unknown.
const USUAL_WIDTH: usize = 120;

/// Alice, the relay and Bob, side by side.
pub(super) fn table(alice: &[Message], bob: &[Message], stored: &StoreDump) -> String {
    let terminal = terminal_size::terminal_size()
        .map_or(USUAL_WIDTH, |(terminal_size::Width(width), _)| usize::from(width));
    let [left, middle, right] = widths(terminal);
    side_by_side(&[
        (left, person("ALICE HAS", alice, "Bob")),
        (middle, relay(stored)),
        (right, person("BOB HAS", bob, "Alice")),
    ])
}

fn person(title: &str, messages: &[Message], other: &str) -> Vec<String> {
    let mut lines = vec![title.to_owned(), String::new()];
    for message in messages {
        let text = crate::command::message_text(&message.kind).replace('\n', " ");
        lines.push(match message.direction {
            Direction::Incoming => format!("{other}: {text}"),
            Direction::Outgoing => format!("me: {text} [{}]", json::state(&message.state)),
        });
    }
    lines
}

fn relay(stored: &StoreDump) -> Vec<String> {
    let mut lines = vec!["THE RELAY HOLDS".to_owned()];
    for table in &stored.tables {
        if table.rows.is_empty() {
            continue;
        }
        lines.push(String::new());
        lines.push(format!("{} ({}): {}", table.name, table.file, rows(table.rows.len())));
        for row in &table.rows {
            let fields: Vec<String> = row.fields.iter().map(field_text).collect();
            lines.push(format!("- {}", fields.join(", ")));
        }
    }
    lines
}

fn rows(count: usize) -> String {
    if count == 1 { "1 row".into() } else { format!("{count} rows") }
}

/// `key=4f3a..(32)`: the beginning and the length in bytes of what is not text.
fn field_text(field: &Field) -> String {
    let name = &field.name;
    if field.bytes.is_empty() {
        return format!("{name}=-");
    }
    if field.is_text {
        return format!("{name}={}", safe_text::line(&field.shown()));
    }
    let (start, more) = beginning(&field.bytes);
    if more {
        format!("{name}={start}..({})", field.bytes.len())
    } else {
        format!("{name}={start}")
    }
}

fn beginning(bytes: &[u8]) -> (String, bool) {
    match bytes.get(..SHOWN) {
        Some(start) if bytes.len() > SHOWN => (HEXLOWER.encode(start), true),
        _ => (HEXLOWER.encode(bytes), false),
    }
}

/// All messages of a person.
pub(super) fn messages_json(messages: &[Message]) -> Value {
    messages.iter().map(json::message).collect()
}

/// All stored rows: `table`, `file`, and `fields` as text, or as the beginning in hexadecimal
/// with the length.
pub(super) fn relay_json(stored: &StoreDump) -> Value {
    let mut rows = Vec::new();
    for table in &stored.tables {
        for row in &table.rows {
            rows.push(json!({
                "table": table.name,
                "file": table.file,
                "fields": fields_json(row),
            }));
        }
    }
    rows.into()
}

fn fields_json(row: &Record) -> Value {
    let mut fields = Map::new();
    for field in &row.fields {
        let value = if field.is_text {
            json!({ "text": field.shown() })
        } else {
            let (start, _) = beginning(&field.bytes);
            json!({ "bytes": field.bytes.len(), "begins_hex": start })
        };
        fields.insert(field.name.clone(), value);
    }
    fields.into()
}

/// Envelopes that wait for somebody: rows whose ciphertext is still there.
pub(super) fn queued(stored: &StoreDump) -> usize {
    stored
        .tables
        .iter()
        .filter(|table| table.name == "envelope")
        .flat_map(|table| &table.rows)
        .filter(|row| row.fields.iter().any(|field| field.name == "(envelope)"))
        .count()
}
